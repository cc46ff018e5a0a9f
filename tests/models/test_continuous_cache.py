"""The continuous cache against the formula of its paper, token by token."""

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
    Sampler,
    SamplerConfig,
    TokenStream,
    Vocabulary,
    evaluate,
    score,
)


@pytest.fixture(params=["full", "adaptive"])
def lm(vocabulary: Vocabulary, request: pytest.FixtureRequest) -> LSTMLanguageModel:
    """A model in training mode, where dropout must not act."""
    config = ModelConfig(embedding_dim=8, hidden_size=12, dropout=0.3, output=request.param)
    return LSTMLanguageModel(vocabulary, config)


def by_the_formula(lm: LSTMLanguageModel, text: str, size: int, weight: float, theta: float) -> float:
    """The sum over tokens of log((1 - w) p(x) + w * sum over earlier i of [x_i = x] exp(theta h·h_i) / all of them)."""
    ids = [0, *lm.vocabulary.encode(text)]
    with torch.inference_mode():
        hidden = lm.read(torch.tensor([ids[:-1]]))[0].hidden.double()
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


CASES = [(2000, 0.1, 0.3), (7, 0.5, 3.0), (1, 0.2, 0.0), (9, 0.0, 1.0)]


@pytest.mark.parametrize(("size", "weight", "theta"), CASES)
def test_probabilities_are_those_of_the_paper(
    lm: LSTMLanguageModel, texts: list[str], size: int, weight: float, theta: float
) -> None:
    stream = TokenStream.from_texts(texts, tokenizer="characters")
    # A new cache for every document.
    expected = sum(by_the_formula(lm, text, size, weight, theta) for text in texts)
    cache = ContinuousCache(lm, cache_size=size, cache_weight=weight, theta=theta)
    for batch_size in (1, 64):
        found = evaluate(cache, stream, batch_size=batch_size)
        assert found.log_prob == pytest.approx(expected, rel=1e-5)
    assert lm.training
    assert found.num_tokens == evaluate(lm, stream).num_tokens
    assert found.error_bars(20).num_paragraphs == 12


@pytest.mark.parametrize("size", [2000, 30])
def test_probabilities_of_a_long_text_are_those_of_the_paper(
    lm: LSTMLanguageModel, texts: list[str], size: int
) -> None:
    text = ("".join(texts) * 9)[:499] + "\n"
    expected = by_the_formula(lm, text, size, 0.3, 1.0)
    cache = ContinuousCache(lm, cache_size=size, cache_weight=0.3, theta=1.0)
    found = evaluate(cache, TokenStream.from_texts([text], tokenizer="characters"))
    assert found.log_prob == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("size", "weight", "theta"), CASES)
def test_generated_tokens_have_the_probabilities_of_the_paper(
    lm: LSTMLanguageModel, size: int, weight: float, theta: float
) -> None:
    cache = ContinuousCache(lm, cache_size=size, cache_weight=weight, theta=theta)
    result = Sampler(cache, SamplerConfig(balanced_pairs=False)).generate(
        "展昭", max_new_tokens=25, return_results=True
    )
    both, before = (by_the_formula(lm, text, size, weight, theta) for text in (result.text, "展昭"))
    assert result.log_prob == pytest.approx(both - before, rel=1e-4)


def test_a_cache_in_a_cache_counts_both(lm: LSTMLanguageModel) -> None:
    text = "展昭笑道：“展昭"
    inner = ContinuousCache(lm, cache_size=3, cache_weight=0.3, theta=0.0)
    outer = ContinuousCache(inner, cache_size=50, cache_weight=0.2, theta=0.0)
    before = text[:-1]
    earlier = [*before].count("昭") / len(before)
    expected = 0.8 * math.exp(score(inner, text).log_probs[-1]) + 0.2 * earlier
    assert math.exp(score(outer, text).log_probs[-1]) == pytest.approx(expected, rel=1e-5)


def test_a_cache_around_a_mixture_uses_the_hidden_states_of_its_first_model(
    lm: LSTMLanguageModel, vocabulary: Vocabulary
) -> None:
    other = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=5, hidden_size=7, seed=9))
    texts = "展昭笑道：“展昭"
    alone = ContinuousCache(lm, cache_weight=0.4, theta=2.0)
    both = ContinuousCache(Mixture([lm, other], [0.99999999, 1e-8]), cache_weight=0.4, theta=2.0)
    assert score(both, texts).log_probs == pytest.approx(score(alone, texts).log_probs, abs=1e-5)


def test_text_that_repeats_itself_is_predicted_better(lm: LSTMLanguageModel) -> None:
    stream = TokenStream.from_texts(["展昭笑道：“好大的雪！”\n" * 20], tokenizer="characters")
    plain, cached = evaluate(lm, stream).perplexity, evaluate(ContinuousCache(lm), stream).perplexity
    assert cached < 0.7 * plain
    assert evaluate(ContinuousCache(Mixture([lm, lm])), stream).perplexity < 0.7 * plain


class Uniform:
    """A predictor without hidden states."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary, self.device = vocabulary, torch.device("cpu")

    def initial_state(self, batch_size: int) -> Any:
        return None

    def read(self, ids: torch.Tensor, state: Any = None) -> tuple[Any, Any]:
        return range(ids.numel()), state

    def log_probs(self, context: Any) -> torch.Tensor:
        return torch.full((len(context), len(self.vocabulary)), -math.log(len(self.vocabulary)))

    def target_log_probs(self, context: Any, targets: torch.Tensor) -> torch.Tensor:
        return self.log_probs(context)[:, 0]


def test_similarity_needs_hidden_states(vocabulary: Vocabulary) -> None:
    cache = ContinuousCache(Uniform(vocabulary))
    with pytest.raises(ConfigError, match=r"Uniform has none of; give theta=0"):
        score(cache, "展昭")


def test_options_out_of_range_are_refused(lm: LSTMLanguageModel, stream: TokenStream) -> None:
    for name, value in (("cache_size", 0), ("cache_weight", 1.0), ("theta", -1.0), ("theta", math.inf)):
        with pytest.raises(ConfigError, match=name):
            ContinuousCache(lm, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="model must be a LanguageModel"):
        ContinuousCache("wuxia-lstm")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="nothing to evaluate"):
        evaluate(ContinuousCache(lm), stream.split(valid=0.0, test=0.3)[1])
