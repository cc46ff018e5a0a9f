"""Every option over its whole range, for full and adaptive models: it runs, or it is refused by name."""

import itertools
import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zh_lstm_lm import (
    ConfigError,
    LSTMLanguageModel,
    ModelConfig,
    NonFiniteError,
    Sampler,
    SamplerConfig,
    Vocabulary,
    evaluate,
    score,
)
from zh_lstm_lm.corpus.token_stream import TokenStream

SETTINGS = settings(max_examples=120, deadline=None, derandomize=True, database=None)
PROMPTS = ["展昭", "雪", "二人“"]
LARGEST, TINIEST = sys.float_info.max, 5e-324


def numbers(low: float, high: float, *, exclude_low: bool = False) -> st.SearchStrategy[float]:
    """Numbers of a range, its ends and extremes above all."""
    edges = [low, high, 0.0, 1.0, TINIEST, 1e-300, 1e-40, 1e-12, 1 - 2**-53, 1e6, 1e30, 1e300, LARGEST, -1e6, -1e-300]
    inside = [edge for edge in edges if low <= edge <= high and not (exclude_low and edge == low)]
    return st.sampled_from(inside) | st.floats(low, high, exclude_min=exclude_low)


def integers(low: int) -> st.SearchStrategy[int]:
    return st.sampled_from([low, 1, 2, 3, 2**31, 2**62, 2**63 - 1]) | st.integers(low, 50)


OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "temperature": numbers(0.0, LARGEST),
    "top_k": integers(0),
    "top_p": numbers(0.0, 1.0, exclude_low=True),
    "min_p": numbers(0.0, 1.0),
    "repetition_penalty": numbers(0.0, LARGEST, exclude_low=True),
    "frequency_penalty": numbers(-1e6, LARGEST),
    "presence_penalty": numbers(-1e6, LARGEST),
    "penalty_window": st.none() | integers(1),
    "no_repeat_ngram_size": integers(0),
    "banned_words": st.lists(st.text("展昭雪，。“”\n", min_size=1, max_size=3), max_size=4),
    "word_bias": st.dictionaries(st.sampled_from("展昭雪，。“”\n"), numbers(-1e6, LARGEST), max_size=4),
    "rename": st.dictionaries(
        st.sampled_from(["展", "昭", "雪", "，", "不在"]), st.sampled_from(["李", "展", "雪花"]), max_size=3
    ),
    "cache_weight": st.none() | numbers(0.0, 0.999),
    "balanced_pairs": st.booleans(),
    "tidy_paragraphs": st.booleans(),
    "seed": integers(0),
}


@pytest.fixture(scope="module", params=["full", "adaptive"])
def lm(request: pytest.FixtureRequest, vocabulary: Vocabulary) -> LSTMLanguageModel:
    sizes: dict[str, Any] = {"output": "adaptive", "cutoffs": (20, 60)} if request.param == "adaptive" else {}
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=12, **sizes)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3.0)
    return model


def test_every_option_is_looked_at() -> None:
    assert set(OPTIONS) == set(SamplerConfig.option_names())


def generates(lm: LSTMLanguageModel, options: dict[str, Any]) -> None:
    sampler = Sampler(lm, SamplerConfig(**options))
    for prompt, result in zip(PROMPTS, sampler.generate(PROMPTS, max_new_tokens=6, return_results=True), strict=True):
        assert result.text.startswith(prompt)
        assert result.finish_reason == "no_token" or len(result.ids) == 6
        assert all(-math.inf < log_prob <= 1e-5 for log_prob in result.log_probs)
        assert not any(word in result.text[len(prompt) :] for word in options.get("banned_words", ()))
    (beam,) = sampler.beam_search("展昭", num_beams=2, max_new_tokens=3)
    assert beam.text.startswith("展昭")


@pytest.mark.parametrize("name", OPTIONS)
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_an_option_alone(lm: LSTMLanguageModel, name: str, data: st.DataObject) -> None:
    generates(lm, {name: data.draw(OPTIONS[name])})


@SETTINGS
@given(options=st.fixed_dictionaries({}, optional=OPTIONS))
@example(options={"repetition_penalty": 1e-300})
@example(options={"word_bias": {"雪": 1e308}, "temperature": 1e-300})
@example(options={"temperature": 1e308, "min_p": 0.5})
@example(options={"temperature": 10**30, "frequency_penalty": 10**30, "presence_penalty": 10**30})
@example(options={"repetition_penalty": 10**30, "word_bias": {"展": 10**30}})
@example(options={"word_bias": {"展": 1e308}, "top_k": 1})
@example(options={"temperature": 0.01, "top_p": 0.5})
@example(
    options={"frequency_penalty": 1e300, "presence_penalty": 1e300, "repetition_penalty": 1e300, "temperature": 5e-324}
)
def test_options_together(lm: LSTMLanguageModel, options: dict[str, Any]) -> None:
    generates(lm, options)


LIMITS: dict[str, st.SearchStrategy[Any]] = {
    "max_new_tokens": st.none() | st.sampled_from([0, 1, 2**62]) | st.integers(0, 9),
    "min_new_tokens": st.sampled_from([0, 1, 2**62]) | st.integers(0, 9),
    "max_characters": st.none() | st.sampled_from([1, 3, 2**62]) | st.integers(1, 12),
    "end": st.sampled_from([None, "sentence"]),
    "max_sentences": st.none() | st.sampled_from([1, 2**62]),
    "max_paragraphs": st.none() | st.sampled_from([1, 2**62]),
    "max_chapters": st.none() | st.sampled_from([1, 2**62]),
    "max_time": st.none() | numbers(0.0, LARGEST, exclude_low=True),
    "stop": st.none() | st.text(min_size=1, max_size=3) | st.lists(st.text("展昭。\n", min_size=1), max_size=3),
}


@SETTINGS
@given(limits=st.fixed_dictionaries({}, optional=LIMITS))
def test_limits_together(lm: LSTMLanguageModel, limits: dict[str, Any]) -> None:
    sampler = Sampler(lm, SamplerConfig(temperature=1.0, top_p=1.0))
    try:
        stream = sampler.stream("展昭", **limits)
    except ConfigError:
        contradicts = limits.get("min_new_tokens", 0) > 0 or (limits.get("max_characters") or 2) < 2
        assert contradicts, limits
        return
    pieces = list(itertools.islice(stream, 15))
    assert pieces[0] == "展昭"
    assert len("".join(pieces)) <= (limits.get("max_characters") or 10**9)
    assert len(pieces) - 1 <= (10**9 if limits.get("max_new_tokens") is None else limits["max_new_tokens"])


@pytest.mark.parametrize(
    "name", ["max_new_tokens", "min_new_tokens", "max_characters", "max_sentences", "max_paragraphs"]
)
def test_limits_beyond_all_numbers_are_refused(lm: LSTMLanguageModel, name: str) -> None:
    for value in (2**62 + 1, 10**5000, -1, -(10**5000)):
        with pytest.raises(ConfigError, match=f"^{name} must be"):
            Sampler(lm).generate("展昭", **{name: value})  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["num_samples", "first_sample", "num_beams"])
def test_numbers_beyond_all_numbers_are_refused(lm: LSTMLanguageModel, name: str) -> None:
    call: Any = Sampler(lm).beam_search if name == "num_beams" else Sampler(lm).generate
    for value in (10**5000, -1):
        with pytest.raises(ConfigError, match=f"^{name} must be"):
            call("展昭", **{name: value})


def test_sampling_options_are_not_limits(lm: LSTMLanguageModel) -> None:
    with pytest.raises(ConfigError, match=r"seed is not a limit .* Sampler\(model, SamplerConfig\(seed=…\)\)"):
        Sampler(lm).generate("展昭", seed=3)  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="no option 'max_token'; did you mean 'max_new_tokens'"):
        Sampler(lm).stream("展昭", max_token=3)  # type: ignore[call-arg]


def damaged(call: Callable[[], object]) -> bool:
    """Whether a call says that the weights are damaged."""
    with pytest.raises(NonFiniteError) as caught:
        call()
    return "weights are damaged" in str(caught.value)


@pytest.mark.parametrize("value", [1e38, -1e38, 3e38, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("one", [True, False])
def test_writing_and_scoring_agree_on_damaged_weights(vocabulary: Vocabulary, value: float, one: bool) -> None:
    for sizes in (
        {"output": "full"},
        {"tie_weights": True},
        {"output": "adaptive", "cutoffs": (20, 60)},
        {"tie_weights": True, "output": "adaptive", "cutoffs": (20, 60)},
    ):
        config = ModelConfig(embedding_dim=6, hidden_size=8, **sizes)
        for name in dict(LSTMLanguageModel(vocabulary, config).named_parameters()) if one else [""]:
            model = LSTMLanguageModel(vocabulary, config).eval()
            with torch.no_grad():
                for each, weight in model.named_parameters():
                    if each.startswith(name):
                        weight.view(-1)[:: 7 if one else 1] = value
            assert damaged(lambda: score(model, "展昭道"))  # noqa: B023
            assert damaged(lambda: Sampler(model).generate("展昭", max_new_tokens=3))  # noqa: B023
            stream = TokenStream.from_texts(["展昭道"], tokenizer="characters")
            assert damaged(lambda: evaluate(model, stream))  # noqa: B023


def test_thousands_of_words_and_strings_are_taken(texts: list[str]) -> None:
    """Their work grows with their characters, not with their product with the vocabulary: else this takes minutes."""
    letters = [chr(0x4E00 + number) for number in range(200)]
    words = ["".join(pair) for pair in itertools.product(letters, repeat=2)]
    vocabulary = Vocabulary([*letters, *words, *range(256)], tokenizer="characters")
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=4)).eval()
    text = "".join(texts * 5)
    strings = [f"{number:04}" for number in range(10_000)]
    for banned in (
        [text[start : start + 100] for start in range(500)],
        strings,
        ["一" * 100_000],
        ["一" * size for size in range(1, 440)],
        words[:30_000],
    ):
        sampler = Sampler(model, SamplerConfig(banned_words=banned, word_bias=dict.fromkeys(words, 0.5)))
        written = sampler.generate("一二", max_new_tokens=20, stop=strings)
        assert written.startswith("一二")
        assert not any(word in written[2:] for word in banned)
