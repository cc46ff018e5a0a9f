"""The n-gram model, mixtures and caches in every function that measures text."""

import math
from collections.abc import Callable

import pytest

from zh_lstm_lm import (
    ContinuousCache,
    LanguageModel,
    LSTMLanguageModel,
    Mixture,
    ModelConfig,
    NGramLanguageModel,
    TokenStream,
    Vocabulary,
    evaluate,
    heat_map,
    rescore,
    score,
    score_batch,
    suggest,
)
from zh_lstm_lm.evaluation import kenlm


def lstm(vocabulary: Vocabulary) -> LSTMLanguageModel:
    return LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=6, hidden_size=8)).eval()


KINDS: dict[str, Callable[[Vocabulary, TokenStream], LanguageModel]] = {
    "ngram": lambda vocabulary, stream: NGramLanguageModel.from_stream(stream, vocabulary),
    "mixture": lambda vocabulary, stream: Mixture(
        [lstm(vocabulary), NGramLanguageModel.from_stream(stream, vocabulary)], [0.4, 0.6]
    ),
    "cache": lambda vocabulary, stream: ContinuousCache(
        Mixture([lstm(vocabulary), NGramLanguageModel.from_stream(stream, vocabulary)]), theta=0.0, cache_size=9
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_measures_agree(vocabulary: Vocabulary, stream: TokenStream, kind: str) -> None:
    model = KINDS[kind](vocabulary, stream)
    whole = score(model, "展昭道：好雪龘\n", end=False)
    result = evaluate(model, TokenStream.from_texts(["展昭道：好雪龘\n"], tokenizer="characters"))
    assert result.log_prob == pytest.approx(whole.log_prob, abs=1e-4)
    first = score(model, "展昭道：")
    assert first.log_prob + score(model, "好雪龘\n", state=first.state).log_prob == pytest.approx(
        whole.log_prob, abs=1e-4
    )
    texts = ["展昭大喜", "白玉堂", "昭展"]
    alone = [score(model, text, end=True).log_prob for text in texts]
    assert [each.log_prob for each in score_batch(model, texts, end=True)] == pytest.approx(alone, abs=1e-4)
    assert {each.text: each.log_prob for each in rescore(model, texts)} == pytest.approx(
        dict(zip(texts, alone, strict=True)), abs=1e-4
    )
    best, *_ = suggest(model, "展昭", "道", k=3)
    assert best.log_prob == pytest.approx(
        score(model, f"展昭{best.word}道").log_prob - score(model, "展昭").log_prob, abs=1e-4
    )
    assert kenlm.Model(model).score("展 昭 大 喜") == pytest.approx(alone[0] / math.log(10), abs=1e-4)
    assert "展" in heat_map(whole)


def test_a_mixture_reports_its_parts(vocabulary: Vocabulary, stream: TokenStream) -> None:
    neural, ngram = lstm(vocabulary), NGramLanguageModel.from_stream(stream, vocabulary)
    cached = ContinuousCache(Mixture([neural, ngram]), theta=0.0)
    parts = evaluate(cached, stream).parts
    assert list(parts) == ["LSTM", "4-gram", "LSTM + 4-gram"]
    models: tuple[LanguageModel, ...] = (neural, ngram, Mixture([neural, ngram]))
    for name, model in zip(parts, models, strict=True):
        assert parts[name].log_prob == pytest.approx(evaluate(model, stream).log_prob, rel=1e-6)
