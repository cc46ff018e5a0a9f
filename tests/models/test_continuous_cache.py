"""The continuous cache against the formula of its paper, token by token."""

import math

import pytest
import torch

from zh_lstm_lm import (
    ConfigError,
    DataError,
    Ensemble,
    LSTMLanguageModel,
    ModelConfig,
    TokenStream,
    Vocabulary,
    evaluate,
    evaluate_with_cache,
)
from zh_lstm_lm.evaluation import neural_cache


@pytest.fixture(params=["full", "adaptive"])
def lm(vocabulary: Vocabulary, request: pytest.FixtureRequest) -> LSTMLanguageModel:
    config = ModelConfig(embedding_dim=8, hidden_size=12, dropout=0.3, output=request.param)
    return LSTMLanguageModel(vocabulary, config)  # in training mode: nothing may be dropped


def by_the_formula(lm: LSTMLanguageModel, text: str, size: int, weight: float, theta: float) -> float:
    """The sum over tokens of log((1 - w) p(x) + w * sum over earlier i of [x_i = x] exp(theta h·h_i) / all of them)."""
    ids = [0, *lm.vocabulary.encode(text)]
    with torch.inference_mode():
        hidden = lm.hidden_states(torch.tensor([ids[:-1]]))[0][0].double()
        of_model = lm(torch.tensor([ids[:-1]]))[0][0].double().softmax(-1)
    total = 0.0
    for place, target in enumerate(ids[1:]):
        probability = float(of_model[place, target])
        earlier = range(max(0, place - size), place)
        if earlier:
            likeness = {i: math.exp(theta * float(hidden[place] @ hidden[i])) for i in earlier}
            of_cache = sum(value for i, value in likeness.items() if ids[i + 1] == target) / sum(likeness.values())
            probability = (1 - weight) * probability + weight * of_cache
        total += math.log(probability)
    return total


@pytest.mark.parametrize(("size", "weight", "theta"), [(2000, 0.1, 0.3), (7, 0.5, 3.0), (1, 0.2, 0.0), (9, 0.0, 1.0)])
def test_probabilities_are_those_of_the_paper(
    lm: LSTMLanguageModel, texts: list[str], monkeypatch: pytest.MonkeyPatch, size: int, weight: float, theta: float
) -> None:
    stream = TokenStream.from_texts(texts, tokenizer="characters")
    expected = sum(by_the_formula(lm, text, size, weight, theta) for text in texts)  # a new cache for every document
    for window in (256, 5):
        monkeypatch.setattr(neural_cache, "_WINDOW_LEN", window)
        found = evaluate_with_cache(lm, stream, cache_size=size, cache_weight=weight, theta=theta, num_resamples=20)
        assert found.log_prob == pytest.approx(expected, rel=1e-5)
    assert lm.training
    assert found.num_tokens == evaluate(lm, stream).num_tokens
    assert found.error_bars is not None


def test_text_that_repeats_itself_is_foretold_better(lm: LSTMLanguageModel) -> None:
    stream = TokenStream.from_texts(["展昭笑道：“好大的雪！”\n" * 20], tokenizer="characters")
    plain, cached = evaluate(lm, stream).perplexity, evaluate_with_cache(lm, stream).perplexity
    assert cached < 0.7 * plain
    assert evaluate_with_cache(Ensemble([lm, lm]), stream).perplexity < 0.7 * plain


def test_what_cannot_be_is_refused(lm: LSTMLanguageModel, stream: TokenStream) -> None:
    for name, value in (("cache_size", 0), ("cache_weight", 1.0), ("theta", -1.0), ("num_resamples", -1)):
        with pytest.raises(ConfigError, match=name):
            evaluate_with_cache(lm, stream, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(DataError, match="nothing to evaluate"):
        evaluate_with_cache(lm, stream.split(valid=0.0, test=0.3)[1])
