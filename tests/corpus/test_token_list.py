"""Vocabularies with the ids of a recogniser: the ids are exactly those of its list, and models of them work throughout."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zh_lstm_lm import (
    LSTMLanguageModel,
    ModelConfig,
    NGramLanguageModel,
    Sampler,
    SamplerConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
    evaluate,
    from_pretrained,
    score,
)
from zh_lstm_lm.errors import ConfigError, DataError, VocabularyError

ICEFALL = ["<blk>", "<sos/eos>", "<unk>", *"展昭道好雪白玉堂笑", "#0", "#1"]
WENET = ["<blank>", "<unk>", *"展昭道好雪白玉堂笑", "<sos/eos>"]
KALDI = ["<eps>", "!SIL", "<SPOKEN_NOISE>", "<UNK>", "展昭", "好", "大雪", "#0", "<s>", "</s>"]
UNLISTED = ["展", "昭", "笑"]
QUICK = settings(max_examples=50, deadline=None, derandomize=True, database=None)


def written(folder: Path, tokens: list[str]) -> Path:
    path = folder / "tokens.txt"
    path.write_text("".join(f"{token} {token_id}\n" for token_id, token in enumerate(tokens)), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("tokens", "bos", "end", "unk"),
    [(ICEFALL, 14, 1, 2), (WENET, 12, 11, 1), (KALDI, 8, 9, 3), (UNLISTED, 3, 4, 5)],
)
@pytest.mark.parametrize("tokenizer", ["characters", "whitespace"])
def test_every_token_has_its_id(
    tmp_path: Path, tokens: list[str], bos: int, end: int, unk: int, tokenizer: str
) -> None:
    vocabulary = Vocabulary.from_token_list(written(tmp_path, tokens), tokenizer=tokenizer)

    assert list(vocabulary)[: len(tokens)] == tokens
    assert [vocabulary.token_to_id(token) for token in tokens] == list(range(len(tokens)))
    assert (vocabulary.bos_id, vocabulary.paragraph_end_id, vocabulary.unk_id) == (bos, end, unk)
    assert len(vocabulary) == max(len(tokens), bos + 1, end + 1, unk + 1)
    assert vocabulary.token_to_id("无") == unk
    assert vocabulary.unknown == "unk"


@pytest.mark.parametrize("tokens", [ICEFALL, WENET])
def test_text_is_written_with_the_ids_of_the_list(tmp_path: Path, tokens: list[str]) -> None:
    vocabulary = Vocabulary.from_token_list(written(tmp_path, tokens))
    end, unk = vocabulary.paragraph_end_id, tokens.index("<unk>")

    expected = [*map(tokens.index, "展昭道"), end, unk, tokens.index("好"), unk]
    assert vocabulary.encode("展昭道\n#好!") == expected
    assert vocabulary.decode(expected) == "展昭道\n<unk>好<unk>"
    stream = TokenStream.from_texts(["展昭道", "#好!"], tokenizer="characters")
    ids = vocabulary.encode_stream(stream).tolist()
    assert ids == [vocabulary.bos_id, *expected[:3], end, vocabulary.bos_id, *expected[4:], end]
    counts = vocabulary.count_ids(stream)
    assert [counts[token_id] for token_id in range(len(vocabulary))] == [ids.count(n) for n in range(len(vocabulary))]


def test_words_of_kaldi_are_those_of_segmented_text(tmp_path: Path) -> None:
    vocabulary = Vocabulary.from_token_list(written(tmp_path, KALDI), tokenizer="whitespace")
    assert vocabulary.encode("展昭 大雪 <UNK> 无") == [4, 6, 3, 3]
    assert vocabulary.decode([4, 6]) == "展昭 大雪"


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_layouts_of_lists(tmp_path: Path, line_end: str) -> None:
    path = tmp_path / "units.txt"
    lines = ["\ufeff▁ 2", "展\t0", "昭  1", "", "  3", "\u3000 4"]
    path.write_bytes(line_end.join(lines).encode())
    assert list(Vocabulary.from_token_list(str(path)))[:5] == ["展", "昭", "▁", " ", "\u3000"]


@QUICK
@given(
    st.lists(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=3), unique=True, min_size=1),
    st.randoms(),
)
def test_any_list_is_read_as_it_is_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, tokens: list[str], random: Any
) -> None:
    path = tmp_path_factory.mktemp("list") / "tokens.txt"
    lines = [f"{token} {token_id}" for token_id, token in enumerate(tokens)]
    random.shuffle(lines)
    path.write_text("\n".join(lines), encoding="utf-8")

    vocabulary = Vocabulary.from_token_list(path)

    assert [vocabulary.token_to_id(token) for token in tokens] == list(range(len(tokens)))
    restored = Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())))
    assert list(restored) == list(vocabulary)
    assert restored.fingerprint() == vocabulary.fingerprint() == copy.deepcopy(vocabulary).fingerprint()
    assert restored.encode("展\n雪") == vocabulary.encode("展\n雪")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("展 0\n昭\n", "line 2: expected a token, a space and its id, got '昭'"),
        ("展 0\n昭 one\n", "line 2: expected a token, a space and its id"),
        ("展 0\n昭 -1\n", "line 2: expected a token, a space and its id"),
        ("展 0\n昭 1.5\n", "line 2: expected a token, a space and its id"),
        ("展 昭 0\n", "line 1: expected a token, a space and its id"),
        ("展 0\n昭 99999999999999999999\n", "line 2: expected a token"),
        ("展 0\n展 1\n", "line 2: the token '展' occurs twice"),
        ("展 0\n昭 0\n", "line 2: the id 0 occurs twice"),
        ("展 0\n昭 2\n", "no token has the id 1, and ids go up to 2"),
        ("展 1\n昭 2\n", "no token has the id 0"),
        ("展 0\n昭 999999999\n", "no token has the id 1, and ids go up to 999999999"),
        ("", "holds no token"),
        (" \n\n", "holds no token"),
    ],
)
def test_a_broken_list_is_refused_with_its_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "tokens.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(VocabularyError, match=r"tokens\.txt") as caught:
        Vocabulary.from_token_list(path)
    assert said in str(caught.value)


def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gb.txt").write_bytes("展昭道 0".encode("gb18030"))
    for name in ("gb.txt", "none.txt", "."):
        with pytest.raises(DataError, match=r"cannot be read .*; give a list of tokens"):
            Vocabulary.from_token_list(tmp_path / name)


def test_given_ids_have_a_full_softmax(tmp_path: Path) -> None:
    tokens = ["<blk>", *map(chr, range(0x4E00, 0x4E00 + 5000)), "<unk>"]
    vocabulary = Vocabulary.from_token_list(written(tmp_path, tokens))
    sizes: dict[str, Any] = {"embedding_dim": 4, "hidden_size": 4}

    assert LSTMLanguageModel(vocabulary, ModelConfig(**sizes)).config.output == "full"
    for options in ({"output": "adaptive"}, {"cutoffs": (10, 100)}):
        with pytest.raises(ConfigError, match=r"order of frequency.*output='full'"):
            LSTMLanguageModel(vocabulary, ModelConfig(**sizes, **options))


@pytest.mark.parametrize("tokens", [ICEFALL, WENET, ["<unk>", *UNLISTED]])
def test_a_model_of_given_ids_is_trained_saved_loaded_and_evaluated(tmp_path: Path, tokens: list[str]) -> None:
    vocabulary = Vocabulary.from_token_list(written(tmp_path, tokens))
    stream = TokenStream.from_texts(["展昭道好雪", "白玉堂笑道好\n展昭笑"] * 10, tokenizer="characters")
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=16, dropout=0.0))
    config = TrainerConfig(max_steps=60, batch_size=4, bptt_len=8, learning_rate=0.03)
    before = evaluate(model, stream)
    Trainer(model, stream, stream, config, progress=False).fit()
    after = evaluate(model, stream)

    ids = vocabulary.encode_stream(stream)
    assert after.num_tokens == int((ids != vocabulary.bos_id).sum()) == len(stream)
    assert after.perplexity < before.perplexity / 3
    # The sum over each document by the plain interface.
    first = torch.tensor(vocabulary.encode("展昭道好雪\n"))
    with torch.inference_mode():
        logits, _ = model(torch.tensor([[vocabulary.bos_id, *first[:-1]]]))
    expected = float(logits[0].log_softmax(1)[range(len(first)), first].sum())
    whole = evaluate(model, TokenStream.from_texts(["展昭道好雪"], tokenizer="characters"))
    assert whole.log_prob == pytest.approx(expected, rel=1e-4)
    assert whole.unknown_rate == pytest.approx(first.tolist().count(vocabulary.unk_id or 0) / len(first))

    model.save_pretrained(tmp_path / "model")
    loaded = from_pretrained(tmp_path / "model")
    assert list(loaded.vocabulary)[: len(tokens)] == tokens
    assert evaluate(loaded, stream).log_prob == pytest.approx(after.log_prob)
    assert math.isfinite(score(loaded, "展昭道\n好").log_prob)
    text = Sampler(loaded, SamplerConfig(temperature=0.5, seed=0)).generate("展", max_new_tokens=5)
    assert set(text) <= {*"".join(tokens), "\n"}


def test_an_n_gram_model_of_given_ids(tmp_path: Path) -> None:
    vocabulary = Vocabulary.from_token_list(written(tmp_path, WENET))
    stream = TokenStream.from_texts(["展昭道好雪", "白玉堂笑道"] * 10, tokenizer="characters")
    ngram = NGramLanguageModel.from_stream(stream, vocabulary, 3)
    ngram.save_pretrained(tmp_path / "model")
    result = evaluate(from_pretrained(tmp_path / "model"), stream)
    assert result.num_tokens == len(stream)
    assert result.perplexity < 3


@pytest.mark.parametrize(
    "special", [[["<s>", 0]], [["a", 0], ["b", 1], ["c", "2"]], [["a", 0], ["b", 0], ["c", 1]], [["a", 0], ["b", 1], ["c", 9]], 3, [1, 2, 3],
                [["a", -1], ["b", 0], ["c", 1]], [["a", True], ["b", 0], ["c", 2]], [["a", 0], ["b", 1], ["c", 10**5000]]]
)  # fmt: skip
def test_a_damaged_saved_vocabulary_is_refused(tmp_path: Path, special: Any) -> None:
    values = Vocabulary.from_token_list(written(tmp_path, UNLISTED)).to_dict()
    with pytest.raises(VocabularyError):
        Vocabulary.from_dict({**values, "special_tokens": special})
