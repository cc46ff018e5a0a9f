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
    """The sum over tokens of log((1 - w) p(x) + w * sum over earlier i of [x_i = x] exp(theta h·h_i) / all of them).

    Each h consists of integers from -127 to 127 times a number.
    """
    ids = [0, *lm.vocabulary.encode(text)]
    with torch.inference_mode():
        exact = lm.read(torch.tensor([ids[:-1]]))[0].hidden
        unit = exact.abs().max(dim=1, keepdim=True).values / 127
        hidden = (exact / unit).round().double() * unit.double()
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


class Stretched:
    """A model whose hidden states are multiplied by a number."""

    def __init__(self, model: LSTMLanguageModel, factor: float) -> None:
        self.model, self.factor, self.vocabulary, self.device = model, factor, model.vocabulary, model.device
        self.initial_state, self.hidden = model.initial_state, torch.empty(0)

    def read(self, ids: torch.Tensor, state: Any = None) -> tuple[Any, Any]:
        context, state = self.model.read(ids, state)
        return StretchedContext(context, context.hidden * self.factor), state

    def log_probs(self, context: Any) -> torch.Tensor:
        return self.model.log_probs(context.own)

    def target_log_probs(self, context: Any, targets: torch.Tensor) -> torch.Tensor:
        return self.model.target_log_probs(context.own, targets)


class StretchedContext:
    def __init__(self, own: Any, hidden: torch.Tensor) -> None:
        self.own, self.hidden = own, hidden

    def rows(self, index: Any) -> "StretchedContext":
        return StretchedContext(self.own.rows(index), self.hidden[index])

    def __len__(self) -> int:
        return len(self.hidden)


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**12])
def test_hidden_states_of_any_range_are_compared(lm: LSTMLanguageModel, factor: float) -> None:
    text = "展昭笑道：“展昭笑道：“好大的雪！”"
    plain = score(ContinuousCache(lm, cache_weight=0.5, theta=3.0), text).log_probs
    stretched = ContinuousCache(Stretched(lm, factor), cache_weight=0.5, theta=3.0 / factor**2)
    assert score(stretched, text).log_probs == plain
    # States of zeros are all alike.
    flat, unigram = ContinuousCache(Stretched(lm, 0.0), theta=3.0), ContinuousCache(lm, theta=0.0)
    assert score(flat, text).log_probs == score(unigram, text).log_probs


def test_a_state_takes_a_byte_for_each_number_and_is_no_other_models(lm: LSTMLanguageModel) -> None:
    cache = ContinuousCache(lm.eval(), cache_size=500)
    _, state = cache.read(torch.ones(2, 800, dtype=torch.int64))
    width = lm.config.hidden_size
    own = state.tensors()[:-2]
    assert sum(tensor.nbytes for tensor in own) == 2 * (501 * (width + 4) + 500 * 8)
    restored = state.restored(state.tensors())
    assert all(torch.equal(*pair) for pair in zip(restored.tensors(), state.tensors(), strict=True))
    floats = [tensor.float() if tensor.dtype == torch.int8 else tensor for tensor in state.tensors()]
    other = ContinuousCache(LSTMLanguageModel(lm.vocabulary, ModelConfig(embedding_dim=8, hidden_size=13)))
    for tensors, into in (
        *((floats, state), (state.tensors()[1:], state), (state.tensors()[:4], state)),
        (state.tensors(), other.initial_state(2)),
    ):
        with pytest.raises(ValueError, match="tensors"):
            into.restored(tensors)
