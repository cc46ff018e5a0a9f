"""Pre-segmented text: the given words are kept, the spaces between them are implied, and nothing is lost."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from zh_lstm_lm import (
    LSTMLanguageModel,
    ModelConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
    evaluate,
    get_tokenizer,
    novelty,
    score,
)
from zh_lstm_lm.corpus.training_ids import training_ids
from zh_lstm_lm.errors import ConfigError

QUICK = settings(max_examples=150, deadline=None, derandomize=True, database=None)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
WORDS = ["展昭", "白玉堂", "雪", "昭", "<unk>", "<bos>", "##昭", "a", "爨", "🐑", "é", "\u3000", "\t"]
SPACED_TEXT = st.lists(st.sampled_from([*WORDS, " ", " ", " ", "  ", "\n", "\n "])).map("".join)
LEARNED = "展昭 笑 道\n雪  大 ， 展昭 笑 <unk>\n\n 昭 雪 a \n##昭 展昭 雪"
TEXT = "今天 天气 很 好 ， 我们 去 公园 。\n他 说 今天 很 好 。\n"
with_each = pytest.mark.parametrize("separator", [" ", "  ", "\t"])


def read(text: str, separator: str = " ") -> TokenStream:
    return TokenStream.from_texts([text], tokenizer=get_tokenizer("whitespace", separator=separator))


def characters(text: str) -> int:
    """The characters of a text, one more for every paragraph that is not empty."""
    return sum(len(line) + 1 for line in text.split("\n") if line)


def test_the_words_are_those_that_were_given() -> None:
    stream = TokenStream.from_texts([TEXT], tokenizer="whitespace")
    vocabulary = Vocabulary.from_stream(stream)

    assert list(stream) == [word for line in TEXT.splitlines() for word in (*line.split(" "), "\n")]
    assert "公园" in vocabulary
    assert vocabulary.id_to_token(vocabulary.token_to_id("公园")) == "公园"
    assert len(vocabulary.encode("今天 天气 很 好")) == 4
    assert [vocabulary.id_to_token(token_id) for token_id in vocabulary.encode("很 好\n今天")] == [
        "很",
        "好",
        "\n",
        "今天",
    ]
    assert vocabulary.decode([vocabulary.token_to_id("很"), vocabulary.token_to_id("好")]) == "很 好"
    assert list(stream.texts()) == [TEXT]
    assert stream.num_characters == len(TEXT)


@with_each
@pytest.mark.parametrize("min_freq", [1, 2])
@QUICK
@given(text=ANY_TEXT | SPACED_TEXT, learned=SPACED_TEXT.filter(lambda text: text.strip("\n")))
@example(text=" 爨龘  雪 \n \n\n  展昭", learned=LEARNED)
def test_decoding_restores_every_text(separator: str, min_freq: int, text: str, learned: str) -> None:
    for source in (learned, learned.replace(" ", separator)):
        vocabulary = Vocabulary.from_stream(read(source, separator), min_freq=min_freq)
        assert vocabulary.decode(vocabulary.encode(text)) == text
        assert vocabulary.decode(vocabulary.encode(text.replace(" ", separator))) == text.replace(" ", separator)


@pytest.mark.parametrize("unknown", ["characters", "unk"])
@QUICK
@given(text=SPACED_TEXT)
def test_a_stream_has_the_ids_and_characters_of_its_text(unknown: str, text: str) -> None:
    vocabulary = Vocabulary.from_stream(read(LEARNED), min_freq=2, unknown=unknown)  # type: ignore[arg-type]
    if not text.strip("\n"):
        return
    stream = read(text)
    whole = "".join(stream.texts())

    ids = vocabulary.encode_stream(stream).tolist()

    assert ids[1:] == vocabulary.encode(whole)
    assert whole.removesuffix("\n") == text.removesuffix("\n")
    assert stream.num_characters == characters(whole)
    assert vocabulary.count_ids(stream) == [ids.count(token_id) for token_id in range(len(vocabulary))]
    if vocabulary.characters_per_id is not None:
        assert int(vocabulary.characters_per_id[ids].sum()) == stream.num_characters


@QUICK
@given(text=SPACED_TEXT, cut=st.integers(0, 20))
def test_the_texts_of_ids_continue_a_text(text: str, cut: int) -> None:
    vocabulary = Vocabulary.from_stream(read(LEARNED))
    tokenizer, texts = vocabulary.tokenizer, list(vocabulary.texts())
    ids = [token_id for token_id in vocabulary.encode(text) if texts[token_id]]
    # A separator at the start of a paragraph is its first token, and no text until another one follows.
    assume(not ids[:cut] or ids[:cut][-1] != vocabulary.token_to_id(" "))
    before = vocabulary.decode(ids[:cut])
    following = "".join(texts[token_id] for token_id in ids[cut:])

    assert before + tokenizer.strip_separators(following, before=before) == vocabulary.decode(ids)


@pytest.mark.parametrize("unknown", ["characters", "unk"])
def test_a_saved_vocabulary_is_the_same_vocabulary(unknown: str) -> None:
    vocabulary = Vocabulary.from_stream(read(LEARNED, "  "), unknown=unknown)  # type: ignore[arg-type]
    new = vocabulary.add_token("白玉堂")

    again = Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())))

    assert list(again) == list(vocabulary)
    assert again.token_to_id("白玉堂") == again.add_token("白玉堂") == new
    assert again.encode("展昭  白玉堂  爨") == vocabulary.encode("展昭  白玉堂  爨")
    assert again.encode("展昭  白玉堂")[-1] == new
    assert again.tokenizer.separator == "  "
    assert again.fingerprint() == vocabulary.fingerprint()
    assert vocabulary.fingerprint() != Vocabulary.from_stream(read(LEARNED), unknown=unknown).fingerprint()  # type: ignore[arg-type]


def test_a_word_of_one_character_is_not_a_character_inside_a_word() -> None:
    vocabulary = Vocabulary.from_stream(read("雪 大 雪 大 雪人"), min_freq=2)

    names = [vocabulary.id_to_token(token_id) for token_id in vocabulary.encode("雪 大雪")]

    assert names == ["雪", " ", "##大", "##雪"]
    assert [vocabulary.token_to_id(name) for name in names] == vocabulary.encode("雪 大雪")
    assert "雪人" not in vocabulary
    assert len(set(vocabulary)) == len(vocabulary)


def test_the_corpus_s_own_unknown_word_is_the_special_token() -> None:
    text = "the <unk> sat\nthe cat <unk>"
    closed = Vocabulary.from_stream(read(text), unknown="unk")

    assert list(closed) == ["<bos>", "\n", "<unk>", "the", "cat", "sat"]
    assert closed.encode(text) == [3, 2, 5, 1, 3, 4, 2]
    assert closed.decode(closed.encode(text)) == text
    assert closed.counts[2] == 2
    assert closed.token_to_id("<unk>") == closed.add_token("<unk>") == closed.unk_id == 2
    assert (
        score(LSTMLanguageModel(closed, ModelConfig(embedding_dim=4, hidden_size=4)), "the <unk>").unknown_rate == 0.5
    )


def test_with_fallback_the_unknown_word_of_the_corpus_is_a_word() -> None:
    vocabulary = Vocabulary.from_stream(read("the <unk> sat"))

    assert vocabulary.unk_id is None
    assert len(vocabulary.encode("<unk>")) == 1
    assert vocabulary.token_to_id("<unk>") == vocabulary.encode("<unk>")[0]


def test_coverage_counts_words() -> None:
    vocabulary = Vocabulary.from_stream(read("雪 大 雪 大 雪人 雪人 龘"), min_freq=2)

    report = vocabulary.report(read("雪 大 雪人 龘 爨爨"))

    assert report.num_tokens == 5
    assert report.sizes[-1].num_words == 3
    assert report.sizes[-1].spelled_in_characters == pytest.approx(1 / 5)
    assert report.sizes[-1].spelled_in_bytes == pytest.approx(1 / 5)
    assert report.spelled_words == (("龘", 1), ("爨爨", 1))


@pytest.mark.parametrize("text", [TEXT, "展昭 爨龘 雪人\n爨爨爨 好", "展昭  雪 "])
def test_a_score_divides_the_text_among_its_words(text: str) -> None:
    vocabulary = Vocabulary.from_stream(read(TEXT + LEARNED), min_freq=2)
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=4))

    result = score(model, text)

    assert "".join(word.text for word in result.words) == text
    given_words = [word.text.strip(" ") for word in result.words]
    assert [word for word in given_words if word not in ("", "\n")] == text.split()
    assert sum(result.character_surprisals) == pytest.approx(sum(result.surprisals))
    assert result.num_characters == characters(text)


def test_rare_characters_of_spelled_words_are_trained_as_bytes() -> None:
    rare = [chr(0x3400 + number) for number in range(80)]
    text = "\n".join(f"展昭 大喜 {'' if number >= 80 else rare[number] + '客'} 道" for number in range(5_000))
    stream = read(text)
    vocabulary = Vocabulary.from_stream(stream, min_freq=2)

    ids = training_ids(stream, vocabulary).tolist()

    assert vocabulary.decode(ids) == "".join(stream.texts())
    assert len(ids) > len(vocabulary.encode_stream(stream))


def test_copied_passages_are_found_across_words() -> None:
    stream = read("展昭 笑 道 ： 好 大 的 雪\n" + TEXT)

    found = novelty("白玉堂 道 ： 好 大 的 雪 ， 雪", stream, max_n=4)

    assert found.passages[0].text == " 道 ： 好 大 的 雪"


def test_the_separator_is_white_space() -> None:
    for wrong in ("", "-", "\n", " a", None, 5, " " * 9):
        with pytest.raises(ConfigError, match="separator must be 1 to 8 spaces or tabs, got"):
            get_tokenizer("whitespace", separator=wrong)


def test_wikitext_has_the_tokens_that_are_published(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "wikitext-2"
    counts = {"valid.txt": 217_646, "test.txt": 245_569}
    for name, count in counts.items():
        stream = TokenStream.from_files(folder / name, tokenizer="whitespace", clean="indents", cache_dir=tmp_path)
        assert stream.num_tokens == count
        assert not {token for token in stream.lexicon if token != "\n" and token.strip(" ") != token}


def test_wikitext_trains_as_it_is(shared_data: Path, tmp_path: Path) -> None:
    text = (shared_data / "wikitext-2" / "valid.txt").read_text(encoding="utf-8")
    (tmp_path / "part.txt").write_text("".join(text.splitlines(keepends=True)[:200]), encoding="utf-8")
    corpus = TokenStream.from_files(
        tmp_path / "part.txt", tokenizer="whitespace", clean="none", cache_dir=tmp_path / "cache"
    )
    train, valid, test = corpus.split(valid=0.1, test=0.1)
    vocabulary = Vocabulary.from_stream(train, min_freq=2)
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=16, hidden_size=16))

    before = evaluate(model, test).bits_per_character
    Trainer(model, train, valid, TrainerConfig(max_epochs=1), progress=False).fit()
    after = evaluate(model, test)

    assert before is not None
    assert after.bits_per_character is not None
    assert after.bits_per_character < before
    assert after.num_characters == test.num_characters
    assert "".join(corpus.texts()) == (tmp_path / "part.txt").read_text(encoding="utf-8")


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING, logger="zh_lstm_lm"):
        yield caplog


@pytest.mark.parametrize(("separator", "option"), [(" ", "'whitespace')"), ("  ", "'whitespace', separator='  ')")])
def test_segmented_chinese_given_to_a_segmenter_is_warned_of(
    told: pytest.LogCaptureFixture, tmp_path: Path, separator: str, option: str
) -> None:
    (tmp_path / "a.txt").write_text((TEXT * 3).replace(" ", separator), encoding="utf-8")
    # The second stream is loaded from the cache.
    for _ in range(2):
        told.clear()
        TokenStream.from_files(tmp_path / "a.txt", tokenizer="jieba", cache_dir=tmp_path / "cache")
        assert "segmented already" in told.text
        assert f"get_tokenizer({option}" in told.text
    told.clear()
    TokenStream.from_files(
        tmp_path / "a.txt",
        tokenizer=get_tokenizer("whitespace", separator=separator),
        cache_dir=tmp_path / "cache",
    )
    assert not told.records


@pytest.mark.parametrize(
    ("separator", "step"),
    [
        ("\t", r"get_tokenizer('whitespace', separator='\t')"),
        ("\u3000", r"get_tokenizer('whitespace', separator='\u3000')"),
        ("\xa0", "replace these signs by single spaces"),
        ("/n ", "'/n '"),
        ("_v ", "'_v '"),
        ("/", "'/'"),
        (" / ", "' / '"),
        (" | ", "' | '"),
        ("#NN ", "'#NN '"),
        ("|n ", "'|n '"),
        ("@@ ", "'@@ '"),
        (" ##", "' ##'"),
        ("▁", "'▁'"),
    ],
)
def test_every_kind_of_segmented_chinese_is_noticed(told: pytest.LogCaptureFixture, separator: str, step: str) -> None:
    text = (TEXT * 3).replace(" ", separator)

    TokenStream.from_texts([text], tokenizer="jieba")
    assert "segmented already" in told.text
    assert step in told.text
    if separator.isspace():
        told.clear()
        TokenStream.from_texts([text], tokenizer="whitespace")
        assert step in told.text


def test_running_text_given_to_the_whitespace_tokenizer_is_warned_of(
    told: pytest.LogCaptureFixture, texts: list[str]
) -> None:
    TokenStream.from_texts(texts, tokenizer="whitespace")

    assert "use a segmenter such as 'jieba'" in told.text


def test_running_text_is_not_warned_of(told: pytest.LogCaptureFixture, texts: list[str]) -> None:
    TokenStream.from_texts([*texts, "第一回 锦毛鼠 夜探 冲霄楼\n" + texts[0]], tokenizer="jieba")
    TokenStream.from_texts(["the cat sat on the mat and looked at the other cat . " * 9], tokenizer="jieba")
    TokenStream.from_texts(texts, tokenizer="characters")

    assert not told.records


def test_another_separator_is_suggested_where_gaps_are_wider(told: pytest.LogCaptureFixture) -> None:
    TokenStream.from_texts([TEXT.replace(" ", "  ")], tokenizer="whitespace")

    assert "get_tokenizer('whitespace', separator='  ')" in told.text
