"""A text among others is the one that is written alone, to the last bit of its scores and its state."""

from typing import Any

import pytest
import torch

from zh_lstm_lm import (
    ContinuousCache,
    Ensemble,
    GenerationResult,
    LanguageModel,
    LSTMLanguageModel,
    Mixture,
    ModelConfig,
    Sampler,
    SamplerConfig,
    Vocabulary,
)

PROMPTS = ["展昭道：“", "", "白玉堂笑道：“雪大，", "夜里三更，", "展昭", "夜里三更，", "酒"]

pytestmark = pytest.mark.usefixtures("exact_products")


def make(vocabulary: Vocabulary, kind: str) -> LanguageModel:
    """A model whose clusters all count: its weights are large, as those of a trained one are."""
    if kind == "mixture":
        models = [make(vocabulary, part) for part in ["adaptive", "full", "tied", "full", "adaptive"]]
        return Mixture(models, [0.1, 0.2, 0.3, 0.15, 0.25])
    if kind == "cache":
        return ContinuousCache(make(vocabulary, "adaptive"), cache_size=30, cache_weight=0.3, theta=0.4)
    if kind == "unigram cache":
        return ContinuousCache(make(vocabulary, "full"), cache_size=30, cache_weight=0.3, theta=0.0)
    if kind == "cache of a mixture":
        return ContinuousCache(Mixture([make(vocabulary, "full"), make(vocabulary, "cache")]), theta=0.4)
    sizes: dict[str, Any] = {"output": "full", "hidden_size": 16}
    if kind == "adaptive":
        sizes = {"output": "adaptive", "cutoffs": (8, 20, 45), "hidden_size": 13}
    elif kind == "tied, adaptive":
        sizes = {"output": "adaptive", "cutoffs": (8, 20, 45), "hidden_size": 13, "tie_weights": True}
    elif kind == "tied":
        sizes |= {"tie_weights": True, "num_layers": 2}
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=11, seed=4, **sizes)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3.0)
    return model


def assert_equal(model: LanguageModel, one: GenerationResult, other: GenerationResult) -> None:
    assert one.text == other.text
    assert one.ids == other.ids
    assert one.log_probs == other.log_probs
    assert one.finish_reason == other.finish_reason
    following = []
    with torch.inference_mode():
        for state in (one.state, other.state):
            context, _ = model.read(torch.tensor([[state.last_id]]), state.before)
            following.append(model.log_probs(context))
    assert torch.equal(*following)
    assert one.state.random is not None
    assert other.state.random is not None
    assert torch.equal(one.state.random, other.state.random)


KINDS = ["full", "tied", "tied, adaptive", "mixture", "cache", "unigram cache", "cache of a mixture"]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"temperature": 1.0, "top_p": 1.0},
    {"repetition_penalty": 1.2, "penalty_window": 16, "no_repeat_ngram_size": 3},
    {"temperature": 1.4, "top_p": 0.9},
    {"temperature": 0.7, "top_p": 0.3},
    {"temperature": 0.9, "top_p": 1.0, "top_k": 5},
    {"temperature": 1.2, "top_p": 0.8, "top_k": 12},
    {"temperature": 0.9, "top_p": 1.0, "min_p": 0.05},
    {"temperature": 0.0},
]


@pytest.mark.parametrize(
    ("kind", "options"),
    [*(("adaptive", options) for options in OPTIONS), *((kind, options) for kind in KINDS for options in OPTIONS[:3])],
)
def test_a_text_among_others_is_the_text_alone(vocabulary: Vocabulary, kind: str, options: dict[str, Any]) -> None:
    sampler = Sampler(make(vocabulary, kind), SamplerConfig(seed=7, **options))
    limits: dict[str, Any] = {"max_new_tokens": 30, "max_sentences": 3}
    together = sampler.generate(PROMPTS, num_samples=3, **limits, return_results=True)
    for number, result in enumerate(together):
        prompt, sample = PROMPTS[number // 3], number % 3
        [alone] = sampler.generate([prompt], first_sample=sample, **limits, return_results=True)
        assert_equal(sampler.model, alone, result)
    few = sampler.generate(PROMPTS[2:4], num_samples=2, **limits, return_results=True)
    for result, other in zip(few, [*together[6:8], *together[9:11]], strict=True):
        assert_equal(sampler.model, result, other)


@pytest.mark.parametrize("options", [{}, {"temperature": 1.0, "top_p": 1.0}, {"repetition_penalty": 1.2}])
def test_a_text_at_its_limit_leaves_the_others_alone(options: dict[str, Any]) -> None:
    """Near the limit only words that fit are drawn, which is another way to draw."""
    words = ["展昭", "白玉堂", "雪", "笑道", "夜行衣", "酒店", "如飞而去", "，", "。", "好", "大"]
    sampler = Sampler(make(Vocabulary([*words, *range(256)]), "adaptive"), SamplerConfig(seed=2, **options))
    prompts = ["展昭笑道，白玉堂笑道，" * 2, "雪", "展昭，", "白玉堂如飞而去，酒店", ""]
    together = sampler.generate(prompts, num_samples=3, max_characters=60, return_results=True)
    for number, result in enumerate(together):
        [alone] = sampler.generate(
            [prompts[number // 3]], first_sample=number % 3, max_characters=60, return_results=True
        )
        assert_equal(sampler.model, alone, result)
    assert {len(result.text) for result in together} == {60}


def test_a_step_that_is_parted_among_threads_has_the_same_bits(vocabulary: Vocabulary) -> None:
    """PyTorch parts what has over 32,768 values wherever it comes, in the middle of a row or of a vector."""
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=5, hidden_size=650, output="full")).eval()
    sampler, before = Sampler(model), torch.get_num_threads()
    torch.set_num_threads(2)
    together = sampler.generate(["雪"], num_samples=23, max_new_tokens=6, return_results=True)
    torch.set_num_threads(1)
    for number, result in enumerate(together):
        [alone] = sampler.generate(["雪"], first_sample=number, max_new_tokens=6, return_results=True)
        assert_equal(sampler.model, alone, result)
    torch.set_num_threads(before)


@pytest.mark.parametrize("models", [5, 8])
def test_many_models_have_the_same_mean_for_a_text_among_many(vocabulary: Vocabulary, models: int) -> None:
    sampler = Sampler(Ensemble([make(vocabulary, "full") for _ in range(models)]), SamplerConfig(balanced_pairs=False))
    together = sampler.generate(PROMPTS, num_samples=11, max_new_tokens=5, return_results=True)
    for number in range(0, len(together), 3):
        [alone] = sampler.generate(
            [PROMPTS[number // 11]], first_sample=number % 11, max_new_tokens=5, return_results=True
        )
        assert_equal(sampler.model, alone, together[number])
