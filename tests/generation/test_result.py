"""Results, states, limits and what is done to the scores: what a caller of the sampler gets back."""

import asyncio
import gc
import itertools
import json
import math
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from zh_lstm_lm import (
    CheckpointError,
    ConfigError,
    GenerationState,
    LSTMLanguageModel,
    ModelConfig,
    NonFiniteError,
    Sampler,
    SamplerConfig,
    Vocabulary,
)


@pytest.fixture(params=["adaptive", "full"])
def lm(request: pytest.FixtureRequest, vocabulary: Vocabulary) -> LSTMLanguageModel:
    sizes: dict[str, Any] = {"output": "adaptive", "cutoffs": (20, 60)} if request.param == "adaptive" else {}
    return LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=12, hidden_size=16, num_layers=2, **sizes)).eval()


def test_result_tells_words_and_the_models_own_log_probabilities(lm: LSTMLanguageModel) -> None:
    result = Sampler(lm, SamplerConfig(temperature=0.5, top_k=9)).generate(
        "展昭", max_new_tokens=12, return_results=True
    )
    assert result.text == "展昭" + "".join(result.tokens)
    assert result.tokens == tuple(map(lm.vocabulary.id_to_token, result.ids))
    assert result.finish_reason == "max_new_tokens"
    ids = [lm.vocabulary.bos_id, *lm.vocabulary.encode("展昭"), *result.ids]
    with torch.no_grad():
        log_probs = lm(torch.tensor([ids[:-1]]))[0][0].log_softmax(-1)
    expected = [float(log_probs[place - 1, ids[place]]) for place in range(3, len(ids))]
    assert result.log_probs == pytest.approx(expected, abs=1e-4)
    assert result.log_prob == pytest.approx(sum(expected), abs=1e-3)
    assert result.mean_log_prob == pytest.approx(sum(expected) / 12, abs=1e-4)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"repetition_penalty": 1.3},
    {"frequency_penalty": 0.5, "penalty_window": 5},
    {"no_repeat_ngram_size": 2},
    {"banned_words": ["展昭", "雪！"]},
    {"temperature": 0.0},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_generation_goes_on_from_a_state_as_if_not_interrupted(lm: LSTMLanguageModel, options: dict[str, Any]) -> None:
    sampler = Sampler(lm, SamplerConfig(**{"temperature": 1.0, "seed": 3, "balanced_pairs": False, **options}))
    whole = sampler.generate("展昭道：", max_new_tokens=60, return_results=True)
    for cut in (0, 1, 23, 59):
        first = sampler.generate("展昭道：", max_new_tokens=cut, return_results=True)
        tensors = first.state.to_tensors()  # to a file and back
        state = GenerationState.from_tensors(tensors, lm)
        second = sampler.generate(state=state, max_new_tokens=60 - cut, return_results=True)
        assert first.ids + second.ids == whole.ids
        assert first.text + second.text == whole.text
        assert second.state.before is not None
        assert whole.state.before is not None
        assert torch.equal(second.state.before.tensors()[0], whole.state.before.tensors()[0])


def test_text_that_ends_of_itself_goes_on_with_the_rules_too(lm: LSTMLanguageModel) -> None:
    sampler = Sampler(lm, SamplerConfig(temperature=1.0, top_p=1.0))
    whole = sampler.generate("展昭道：", max_paragraphs=6)
    state, text = None, ""
    for number in range(6):
        result = sampler.generate("" if number else "展昭道：", state=state, max_paragraphs=1, return_results=True)
        state, text = result.state, text + result.text
    assert text == whole


def test_words_of_ones_own_may_follow_a_state(lm: LSTMLanguageModel) -> None:
    sampler = Sampler(lm, SamplerConfig(temperature=0.0))
    first = sampler.generate("展昭", max_new_tokens=5, return_results=True)
    second = sampler.generate("白玉堂", state=first.state, max_new_tokens=5, return_results=True)
    assert second.text.startswith("白玉堂")
    assert first.text + second.text == sampler.generate(first.text + "白玉堂", max_new_tokens=5)


@pytest.mark.parametrize("config", [SamplerConfig(top_p=0.9), SamplerConfig(temperature=0.0), SamplerConfig(min_p=0.1)])
def test_each_prompts_result_is_the_same_alone_and_in_a_batch(lm: LSTMLanguageModel, config: SamplerConfig) -> None:
    sampler = Sampler(lm, config)
    prompts = ["", "展昭", "二人推门进了酒店，\n", "龘 hello", "白玉堂道：“", *["雪" * size for size in range(1, 6)]]
    together = sampler.generate(prompts, num_samples=2, max_new_tokens=20, return_results=True)
    for prompt, results in zip(prompts, zip(*[iter(together)] * 2, strict=True), strict=True):
        alone = sampler.generate([prompt], num_samples=2, max_new_tokens=20, return_results=True)
        assert [result.text for result in results] == [result.text for result in alone]
        assert results[0].text == sampler.generate(prompt, max_new_tokens=20)
        assert results[0].log_probs == pytest.approx(alone[0].log_probs, abs=1e-4)


def test_state_of_another_model_is_refused(lm: LSTMLanguageModel, model: LSTMLanguageModel) -> None:
    state = Sampler(model).generate(max_new_tokens=2, return_results=True).state
    with pytest.raises(ConfigError, match=r"state is that of another model: a state of shape \(1, 1, 16\)"):
        Sampler(lm).generate(state=state, return_results=True)
    with pytest.raises(ConfigError, match="state must be a TextState or None"):
        Sampler(lm).generate(state=state.before, return_results=True)  # type: ignore[call-overload]


# ---- limits and their reasons


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_new_tokens": 7}, "max_new_tokens"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"max_characters": 30}, "max_characters"),
        ({"max_characters": 2}, "max_characters"),
        ({"max_sentences": 2}, "max_sentences"),
        ({"max_paragraphs": 2}, "max_paragraphs"),
        ({"stop": ["。", "，", "\n"], "max_new_tokens": 500}, "stop"),
        ({"stop_when": lambda text: len(text) >= 10}, "stop_when"),
    ],
)
def test_reason_is_the_limit_that_ended_the_text(lm: LSTMLanguageModel, limits: dict[str, Any], reason: str) -> None:
    result = Sampler(lm, SamplerConfig(temperature=1.0, top_p=1.0)).generate("展昭", **limits, return_results=True)
    assert result.finish_reason == reason


def test_sentences_and_paragraphs_are_counted(lm: LSTMLanguageModel) -> None:
    sampler = Sampler(lm, SamplerConfig(temperature=1.0, top_p=1.0))
    for number in (1, 3):
        text = sampler.generate("雪", max_paragraphs=number)
        assert text.endswith("\n")
        assert text.count("\n") == number
        text = sampler.generate("雪", max_sentences=number)
        ends = sum(1 for end, _ in itertools.groupby(text, key=lambda character: character in "。！？\n") if end)
        assert ends == number


def test_time_ends_the_text(lm: LSTMLanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5.0

    def take_a_second(ids: Tensor, logits: Tensor) -> Tensor:
        nonlocal now
        now += 1.0
        return logits

    monkeypatch.setattr(time, "monotonic", lambda: now)
    sampler = Sampler(lm, SamplerConfig(balanced_pairs=False), processors=[take_a_second])
    result = sampler.generate(max_time=10, return_results=True)
    assert result.finish_reason == "max_time"
    assert len(result.tokens) == 10


def test_nothing_but_the_length_ends_a_text_before_its_minimum(lm: LSTMLanguageModel) -> None:
    sampler = Sampler(lm, SamplerConfig(temperature=1.0, top_p=1.0))
    for limits in ({"stop": ["。", "，", "\n"]}, {"max_sentences": 1}, {"stop_when": lambda text: True}):
        assert (
            len(sampler.generate("雪", min_new_tokens=40, max_new_tokens=400, **limits, return_results=True).tokens)
            >= 40
        )


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"min_new_tokens": 5, "max_new_tokens": 4}, "min_new_tokens must be at most max_new_tokens=4, got 5"),
        ({"min_new_tokens": 5, "max_characters": 6}, "leaves room for 4 characters .* fewer than min_new_tokens=5"),
        ({"min_new_tokens": -1}, "min_new_tokens"),
        ({"max_sentences": 0}, "max_sentences"),
        ({"max_paragraphs": 1.5}, "max_paragraphs"),
        ({"max_time": 0}, "max_time"),
        ({"max_time": math.nan}, "max_time"),
        ({"stop_when": "。"}, "stop_when"),
    ],
)
def test_contradictions_are_refused_at_the_call(lm: LSTMLanguageModel, limits: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Sampler(lm).stream("展昭", **limits)


# ---- processors


def test_processors_of_ones_own_change_the_scores(lm: LSTMLanguageModel) -> None:
    only = lm.vocabulary.token_to_id("雪")
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = []

    def snow(ids: Tensor, logits: Tensor) -> Tensor:
        shapes.append((tuple(ids.shape), tuple(logits.shape)))
        assert ids[0, 0] == lm.vocabulary.bos_id
        logits[..., only] += 100.0  # its own copy
        return logits

    sampler = Sampler(lm, SamplerConfig(), processors=[snow])
    assert sampler.generate("展昭", max_new_tokens=4) == "展昭雪雪雪雪"
    assert shapes == [((1, length), (1, len(lm.vocabulary))) for length in (3, 4, 5, 6)]
    assert sampler.generate(["展", "昭道"], max_new_tokens=2) == ["展雪雪", "昭道雪雪"]


@pytest.mark.parametrize(
    "processor",
    [lambda ids, logits: logits[..., :3], lambda ids, logits: None, lambda ids, logits: logits * math.nan, "not one"],
)
def test_processors_that_return_something_else_are_named(lm: LSTMLanguageModel, processor: Any) -> None:
    with pytest.raises(ConfigError, match="processor"):
        Sampler(lm, processors=[processor]).generate("展昭", max_new_tokens=2)


def test_best_word_stays_where_nothing_is_left(lm: LSTMLanguageModel) -> None:
    def nothing(ids: Tensor, logits: Tensor) -> Tensor:
        return torch.full_like(logits, -math.inf)

    free: dict[str, Any] = {"balanced_pairs": False, "tidy_paragraphs": False}
    best = Sampler(lm, SamplerConfig(temperature=0.0, **free)).generate("展昭", max_new_tokens=9)
    for temperature in (0.0, 1.0):
        config = SamplerConfig(temperature=temperature, **free)
        assert Sampler(lm, config, processors=[nothing]).generate("展昭", max_new_tokens=9) == best


# ---- damage, streams, prompts


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_damaged_weights_are_told_of(lm: LSTMLanguageModel, value: float) -> None:
    sampler = Sampler(lm)
    with torch.no_grad():
        lm.embedding.weight[:, 0] = value
    with pytest.raises(NonFiniteError, match=r"embedding\.weight holds values that are not finite"):
        Sampler(lm)
    with torch.no_grad():
        lm.embedding.weight.fill_(math.nan)
    # Damaged since the sampler was made.
    with pytest.raises(NonFiniteError, match="weights are damaged"):
        sampler.generate("展昭", max_new_tokens=3)


def test_reader_that_stops_leaves_nothing_behind(lm: LSTMLanguageModel) -> None:
    stream = Sampler(lm).stream("展昭", max_new_tokens=50)
    next(stream), next(stream)
    left = weakref.ref(stream)
    tensors = sum(type(thing) is Tensor for thing in gc.get_objects())
    del stream
    gc.collect()
    assert left() is None
    assert sum(type(thing) is Tensor for thing in gc.get_objects()) < tensors


def test_stream_for_async_loops(lm: LSTMLanguageModel) -> None:
    sampler = Sampler(lm, SamplerConfig(seed=4))

    async def read(most: int) -> list[str]:
        pieces: list[str] = []
        async for piece in sampler.astream("展昭", max_new_tokens=20):
            pieces.append(piece)
            if len(pieces) == most:
                break
        return pieces

    expected = list(sampler.stream("展昭", max_new_tokens=20))
    assert asyncio.run(read(99)) == expected
    assert asyncio.run(read(5)) == expected[:5]
    with pytest.raises(ConfigError, match="max_new_tokens"):
        sampler.astream(max_new_tokens=-1)


def test_long_prompt_is_read_in_windows(lm: LSTMLanguageModel, texts: list[str]) -> None:
    prompt = ("".join(texts) * 999)[:100_000]
    longest = 0

    def watch(module: object, inputs: tuple[Tensor, ...]) -> None:
        nonlocal longest
        longest = max(longest, inputs[0].shape[-1])

    handle = lm.embedding.register_forward_pre_hook(watch)
    text = Sampler(lm).generate(prompt, max_new_tokens=2)
    handle.remove()
    assert text.startswith(prompt)
    assert longest == 1024


def test_what_a_text_keeps_does_not_grow(lm: LSTMLanguageModel) -> None:
    config = SamplerConfig(penalty_window=20, repetition_penalty=1.1, no_repeat_ngram_size=3, banned_words=["展昭"])
    assert len(Sampler(lm, config).generate(max_new_tokens=330, return_results=True).state.ids) < 100
    assert (
        len(
            Sampler(lm, SamplerConfig(presence_penalty=0.1)).generate(max_new_tokens=330, return_results=True).state.ids
        )
        == 331
    )


def test_samples_are_numbered(lm: LSTMLanguageModel) -> None:
    sampler = Sampler(lm, SamplerConfig(temperature=1.0))
    results = sampler.generate(["展昭"], num_samples=6, max_new_tokens=8, return_results=True)
    numbered = sampler.generate("展昭", num_samples=2, first_sample=3, max_new_tokens=8, return_results=True)
    assert [result.text for result in numbered] == [result.text for result in results[3:5]]


# ---- a model's own defaults


def test_models_own_defaults_are_saved_and_taken(lm: LSTMLanguageModel, tmp_path: Path) -> None:
    lm.save_pretrained(tmp_path / "plain")
    assert not (tmp_path / "plain" / "generation_config.json").exists()
    config = SamplerConfig(temperature=0.3, top_k=7, banned_words=["雪"], word_bias={"展": 1.0})
    lm.generation_config = config.to_dict()
    lm.save_pretrained(tmp_path / "own")
    loaded = LSTMLanguageModel.from_pretrained(tmp_path / "own")
    assert Sampler(loaded).config == config
    assert Sampler(loaded, SamplerConfig()).config == SamplerConfig()
    (tmp_path / "own" / "generation_config.json").write_text(json.dumps({"temperature": 0, "top_k": 50}))
    (tmp_path / "own" / "manifest.json").unlink()
    assert Sampler(LSTMLanguageModel.from_pretrained(tmp_path / "own")).config.temperature == 0
    (tmp_path / "own" / "generation_config.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"generation_config\.json"):
        LSTMLanguageModel.from_pretrained(tmp_path / "own")
