from zh_lstm_lm import TokenStream, Vocabulary
from zh_lstm_lm.run_description import describe_texts


def test_the_sum_of_the_held_out_text_does_not_depend_on_how_it_is_cut(texts: list[str]) -> None:
    described = []
    for tokenizer, kept in (("characters", texts), ("jieba", texts), ("jieba", texts[:2])):
        stream = TokenStream.from_texts(kept, tokenizer=tokenizer)
        described.append(describe_texts(Vocabulary.from_stream(stream), stream, stream))
    characters, jieba, shorter = described
    assert characters["tokenizer"] != jieba["tokenizer"]
    assert characters["train"]["tokens"] > jieba["train"]["tokens"]
    assert characters["train"]["characters"] == jieba["train"]["characters"] == sum(map(len, texts))
    assert characters["valid"]["sha256"] == jieba["valid"]["sha256"] != shorter["valid"]["sha256"]


def test_without_held_out_text_there_is_none(stream: TokenStream, vocabulary: Vocabulary) -> None:
    assert "valid" not in describe_texts(vocabulary, stream, None)
    assert describe_texts(vocabulary, stream, None)["vocab_size"] == len(vocabulary)
