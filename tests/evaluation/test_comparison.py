"""Comparisons of two models against their single evaluations and a bootstrap by hand."""

import math
from typing import Any

import pytest
import torch

from zh_lstm_lm import (
    ConfigError,
    ContinuousCache,
    DataError,
    LSTMLanguageModel,
    Mixture,
    ModelConfig,
    NGramLanguageModel,
    TokenStream,
    Vocabulary,
    compare_models,
    evaluate,
)

UNKNOWN = {"cleaning": (None, None), "characters of training text": (None, None)}


@pytest.fixture
def ngram(stream: TokenStream, vocabulary: Vocabulary) -> NGramLanguageModel:
    return NGramLanguageModel.from_stream(stream, vocabulary, order=2)


def make_lstm(vocabulary: Vocabulary, seed: int = 0) -> LSTMLanguageModel:
    return LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=8, seed=seed)).eval()


def test_the_difference_is_that_of_two_evaluations(
    model: LSTMLanguageModel, ngram: NGramLanguageModel, stream: TokenStream
) -> None:
    for b in (ngram, Mixture([model, ngram]), ContinuousCache(model)):
        compared = compare_models(model, b, stream)
        first, second = evaluate(model, stream), evaluate(b, stream)
        assert compared.a.log_prob == pytest.approx(first.log_prob)
        assert compared.b.log_prob == pytest.approx(second.log_prob)
        assert compared.difference == pytest.approx((second.bits_per_character or 0) - (first.bits_per_character or 0))
        back = compare_models(b, model, stream)
        assert back.interval == pytest.approx([-end for end in reversed(compared.interval)])
    assert compare_models(model, ngram, stream).better == "b"
    assert compare_models(ngram, model, stream).better == "a"


def test_the_interval_is_that_of_a_bootstrap_by_hand(
    model: LSTMLanguageModel, vocabulary: Vocabulary, stream: TokenStream
) -> None:
    other = make_lstm(vocabulary, seed=1)
    compared = compare_models(model, other, stream, num_resamples=300, confidence=0.8, seed=5)
    sums = [evaluate(each, stream).paragraph_sums.tolist() for each in (model, other)]  # type: ignore[union-attr]
    paragraphs = [(a, b) for a, b in zip(*sums, strict=True) if a[1]]
    assert compared.num_paragraphs == len(paragraphs) == 12
    generator = torch.Generator().manual_seed(5)
    differences = []
    for _ in range(300):
        chosen = [paragraphs[i] for i in torch.randint(12, (12,), generator=generator).tolist()]
        bits = [-sum(pair[n][0] for pair in chosen) / math.log(2) / sum(pair[n][2] for pair in chosen) for n in (0, 1)]
        differences.append(bits[1] - bits[0])
    differences.sort()
    # The quantiles 0.1 and 0.9 of 300 values, by linear interpolation.
    low = differences[29] + 0.9 * (differences[30] - differences[29])
    high = differences[269] + 0.1 * (differences[270] - differences[269])
    assert compared.interval == pytest.approx((low, high))
    assert compared.confidence == 0.8


def test_pairs_of_paragraphs_tell_more_than_two_error_bars(model: LSTMLanguageModel, stream: TokenStream) -> None:
    compared = compare_models(model, ContinuousCache(model, cache_weight=0.05), stream)
    low, high = compared.interval
    low_a, high_a = compared.a.error_bars().bits_per_character or (0, 0)
    assert high - low < high_a - low_a


def test_a_model_does_not_differ_from_itself(model: LSTMLanguageModel, stream: TokenStream) -> None:
    compared = compare_models(model, model, stream)
    assert (compared.difference, compared.interval, compared.better) == (0.0, (0.0, 0.0), None)
    assert compared.same_characters
    assert compared.differences == UNKNOWN
    assert "cleaning: A not known, B not known" in str(compared)
    model.training_summary = {"clean": "novel", "characters": 1000}
    assert compare_models(model, model, stream).differences == {}
    assert "no clear difference" in str(compared)
    assert "characters the same" in str(compared)


def test_each_model_reads_its_own_tokens_of_the_same_text(texts: list[str], vocabulary: Vocabulary) -> None:
    words = Vocabulary.from_stream(TokenStream.from_texts(texts, tokenizer="jieba"))
    a, b = make_lstm(vocabulary), make_lstm(words)
    for tokenizer in ("characters", "jieba", "whitespace"):
        compared = compare_models(a, b, TokenStream.from_texts(texts, tokenizer=tokenizer))
        assert compared.a == evaluate(a, TokenStream.from_texts(texts, tokenizer="characters"))
        assert compared.b == evaluate(b, TokenStream.from_texts(texts, tokenizer="jieba"))
        assert compared.a.num_characters == compared.b.num_characters
        assert compared.same_characters
        assert compared.differences == {"tokenizer": ("characters", "jieba"), **UNKNOWN}
    assert "tokenizer: A characters, B jieba" in str(compared)


def test_a_part_that_ends_inside_a_paragraph_gets_no_paragraph_end(vocabulary: Vocabulary) -> None:
    long = "展昭笑道。白玉堂不答。" * 400
    part, _, _ = TokenStream.from_texts([long + "\n" + long], tokenizer="characters").split(valid=0.1, test=0.1)
    assert not next(iter(part.texts())).endswith("\n")
    words = Vocabulary.from_stream(TokenStream.from_texts([long], tokenizer="jieba"))
    compared = compare_models(make_lstm(vocabulary), make_lstm(words), part)
    assert compared.same_characters
    assert compared.a.num_characters == compared.b.num_characters == part.num_characters


def test_other_normalisations_and_cleanings_are_told(texts: list[str], tmp_path: Any) -> None:
    marked = [text + "ＡＢＣ大喜\n" for text in texts]
    (tmp_path / "text.txt").write_text("".join(marked), encoding="utf-8")
    plain = TokenStream.from_files(tmp_path, tokenizer="characters", normalize="none")
    folded = TokenStream.from_files(tmp_path, tokenizer="characters", normalize="width")
    a, b = make_lstm(Vocabulary.from_stream(plain)), make_lstm(Vocabulary.from_stream(folded))
    a.training_summary = {"clean": "novel", "characters": 1000}
    b.training_summary = {"clean": "none", "characters": 2000}
    compared = compare_models(a, b, plain)
    assert not compared.same_characters
    assert compared.differences == {
        "normalisation": ("none", "width"),
        "cleaning": ("novel", "none"),
        "characters of training text": (1000, 2000),
    }
    assert compared.b.log_prob == pytest.approx(evaluate(b, folded).log_prob)
    assert "cleaning novel, characters different" in str(compared)
    assert "characters of training text: A 1,000, B 2,000" in str(compared)
    # A mixture is described by the part that was trained.
    mixed = Mixture([b, NGramLanguageModel.from_stream(folded, b.vocabulary)])
    assert compare_models(a, mixed, plain).differences == compared.differences


def test_what_cannot_be_compared_is_refused(model: LSTMLanguageModel, stream: TokenStream) -> None:
    closed = make_lstm(Vocabulary.from_stream(stream, unknown="unk"))
    with pytest.raises(ConfigError, match="b has a vocabulary with unknown='unk'"):
        compare_models(model, closed, stream)
    with pytest.raises(DataError, match="at least two paragraphs, got 1"):
        compare_models(model, model, TokenStream.from_texts(["展昭"], tokenizer="characters"))
    with pytest.raises(ConfigError, match="stream must be a TokenStream"):
        compare_models(model, model, "展昭")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="b must be a LanguageModel"):
        compare_models(model, "wuxia", stream)  # type: ignore[arg-type]
    for option in ({"num_resamples": 0}, {"confidence": 1.0}, {"seed": -1}, {"batch_size": 0}):
        with pytest.raises(ConfigError, match=next(iter(option))):
            compare_models(model, model, stream, **option)
