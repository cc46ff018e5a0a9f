"""Sampling seen from outside: a mock model of known probabilities, and what a sampler makes of them."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from zh_lstm_lm import ConfigError, NonFiniteError, Sampler, SamplerConfig, Vocabulary, score

SAMPLES = 4000
LETTERS = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏"


class Nothing(NamedTuple):
    """A state, and a context of so many rows; the mock model remembers nothing."""

    batch: int

    def rows(self, index: Any) -> "Nothing":
        return Nothing(len(torch.arange(self.batch)[index]))

    @classmethod
    def cat(cls, states: Any) -> "Nothing":
        return cls(sum(state.batch for state in states))

    def detach(self) -> "Nothing":
        return self

    def to(self, device: torch.device) -> "Nothing":
        return self

    def tensors(self) -> list[Tensor]:
        return []

    def restored(self, tensors: Any) -> "Nothing":
        return self

    def __len__(self) -> int:
        return self.batch


class Mock:
    """A model that gives every position the same log-probabilities; uniform ones unless others are given."""

    def __init__(self, weights: dict[str, float] | None = None, letters: Iterable[str] = LETTERS) -> None:
        words = [letter for letter in letters if letter != "\n"]
        self.vocabulary = Vocabulary([*words, *range(256)], tokenizer="characters")
        values = torch.ones(len(self.vocabulary)) if weights is None else torch.zeros(len(self.vocabulary))
        for letter, weight in (weights or {}).items():
            values[self.vocabulary.token_to_id(letter)] = weight
        self.values = (values / values.sum()).log()

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def initial_state(self, batch_size: int) -> Nothing:
        return Nothing(batch_size)

    def read(self, ids: Tensor, state: Any = None) -> tuple[Nothing, Nothing]:
        return Nothing(ids.numel()), Nothing(len(ids))

    def log_probs(self, context: Nothing) -> Tensor:
        return self.values.repeat(len(context), 1)

    def target_log_probs(self, context: Nothing, targets: Tensor) -> Tensor:
        return self.values[targets]


def free(**options: Any) -> SamplerConfig:
    """Options without rules of punctuation, temperature and cut-offs, but for those given."""
    neutral: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "balanced_pairs": False, "tidy_paragraphs": False}
    return SamplerConfig(**{**neutral, **options})


def sampled(model: Mock, config: SamplerConfig, **options: Any) -> Counter[str]:
    """One token from each of many samples."""
    return Counter(Sampler(model, config, **options).generate("", num_samples=SAMPLES, max_new_tokens=1))


def assert_follows(counts: Counter[str], expected: dict[str, float]) -> None:
    """A chi-square test; for a right sampler the chance of a false alarm is below 1 in 10^5, and the seeds are fixed."""
    assert set(counts) <= {letter for letter, probability in expected.items() if probability > 0}
    total = sum(expected.values())
    wanted = {letter: SAMPLES * probability / total for letter, probability in expected.items() if probability > 0}
    if len(wanted) == 1:
        return
    assert all(count >= 5 for count in wanted.values()), "too few for a chi-square test"
    statistic = sum((counts[letter] - count) ** 2 / count for letter, count in wanted.items())
    freedom = len(wanted) - 1
    assert statistic < freedom + 4 * math.sqrt(2 * freedom) + 12


# Six letters of falling probability; the entropy is 1.5 nats.
SIX = {"天": 0.4, "地": 0.25, "玄": 0.15, "黄": 0.1, "宇": 0.07, "宙": 0.03}
MARKED = {**SIX, "“": 0.3, "”": 0.05, "，": 0.2, "\n": 0.1}


def test_uniform_probabilities_are_sampled_uniformly() -> None:
    assert_follows(sampled(Mock(), free()), dict.fromkeys([*LETTERS, "\n"], 1.0))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_is_a_power_of_the_probabilities(temperature: float) -> None:
    expected = {letter: probability ** (1 / temperature) for letter, probability in SIX.items()}
    assert_follows(sampled(Mock(SIX), free(temperature=temperature)), expected)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"top_k": 1}, 1),
        ({"top_k": 4}, 4),
        ({"top_k": 99}, 6),
        ({"top_p": 0.399}, 1),
        ({"top_p": 0.401}, 2),
        ({"top_p": 0.66}, 3),
        ({"top_p": 0.99}, 6),
        ({"top_k": 3, "top_p": 0.9}, 3),
        # Of the three that top-k keeps, two have 0.65 / 0.8 of the probability.
        ({"top_k": 3, "top_p": 0.8}, 2),
        ({"min_p": 0.2}, 4),
        ({"min_p": 1.0}, 1),
        ({"top_p": 0.9, "min_p": 0.5}, 2),
    ],
)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_cutoffs_keep_the_likeliest(options: dict[str, Any], kept: int, temperature: float) -> None:
    """The temperature comes first, as in Hugging Face's library, so the probabilities are made those after it."""
    model = Mock({letter: probability**temperature for letter, probability in SIX.items()})
    counts = sampled(model, free(temperature=temperature, **options))
    assert_follows(counts, dict(list(SIX.items())[:kept]))
    assert len(counts) == kept


def test_ties_are_kept_as_documented() -> None:
    tied = {"天": 0.2, "地": 0.4, "玄": 0.2, "黄": 0.2}
    # Top-k keeps all that tie with the last one, top-p those with the lowest ids.
    assert_follows(sampled(Mock(tied), free(top_k=2)), tied)
    assert_follows(sampled(Mock(tied), free(top_p=0.7)), {"地": 0.4, "天": 0.2, "玄": 0.2})
    assert_follows(sampled(Mock(), free(top_p=3.5 / 25)), dict.fromkeys(["\n", *LETTERS[:3]], 1.0))
    assert_follows(sampled(Mock(), free(top_k=3)), dict.fromkeys([*LETTERS, "\n"], 1.0))


def test_biases_and_processors_change_the_scores() -> None:
    biased = sampled(Mock(SIX), free(word_bias={"天": math.log(0.25), "宙": math.log(10)}))
    assert_follows(biased, {**SIX, "天": 0.1, "宙": 0.3})
    assert sampled(Mock(SIX), free(word_bias={"宙": 1e308})) == {"宙": SAMPLES}
    model = Mock(SIX)

    def square(ids: Tensor, logits: Tensor) -> Tensor:
        return 2 * logits

    squares = {letter: probability**2 for letter, probability in SIX.items()}
    assert_follows(sampled(model, free(), processors=[square]), squares)


def test_a_penalty_is_taken_for_each_occurrence() -> None:
    config = free(frequency_penalty=math.log(2), presence_penalty=math.log(3))
    counts = Counter(
        text[-1] for text in Sampler(Mock(SIX), config).generate("天天地", num_samples=SAMPLES, max_new_tokens=1)
    )
    assert_follows(counts, {**SIX, "天": 0.4 / 12, "地": 0.25 / 6})


def test_temperature_zero_takes_the_likeliest_and_of_equals_the_first() -> None:
    assert Sampler(Mock(SIX), free(temperature=0.0)).generate(max_new_tokens=3) == "天天天"
    assert Sampler(Mock({"玄": 1.0, "黄": 1.0}), free(temperature=0.0)).generate(max_new_tokens=3) == "玄玄玄"


def test_tokens_follow_each_other_independently() -> None:
    """One text of many tokens: each is sampled with a random number of its own."""
    text = Sampler(Mock(SIX), free()).generate(max_new_tokens=SAMPLES)
    assert_follows(Counter(text), SIX)
    pairs = Counter(text[place] + text[place + 1] for place in range(0, SAMPLES, 2))
    for pair in ("天天", "天地", "地天"):
        expected = SIX[pair[0]] * SIX[pair[1]] * SAMPLES / 2
        assert abs(pairs[pair] - expected) < 5 * math.sqrt(expected)


CONFIGS = [free(), SamplerConfig(), free(top_k=5), free(temperature=0.6, min_p=0.1)]
NEUTRAL: list[dict[str, Any]] = [
    {"temperature": 1.0},
    {"top_k": 0},
    {"top_p": 1.0},
    {"min_p": 0.0},
    {"repetition_penalty": 1.0},
    {"frequency_penalty": 0.0, "presence_penalty": 0.0},
    {"penalty_window": 3},
    {"no_repeat_ngram_size": 0},
    {"banned_words": ["无此字"]},
    {"word_bias": {"天": 0.0}},
]


# Those that leave the cut-offs in use as they are.
NEUTRAL_CASES = [
    (config, options)
    for config in CONFIGS
    for options in NEUTRAL
    if all(getattr(config, name) in (value, None, ()) for name, value in options.items())
]


@pytest.mark.parametrize(("config", "options"), NEUTRAL_CASES)
def test_a_neutral_option_does_not_change_the_text_of_a_seed(config: SamplerConfig, options: dict[str, Any]) -> None:
    texts = [
        Sampler(Mock(MARKED, MARKED), each).generate("天", num_samples=4, max_new_tokens=60)
        for each in (config, SamplerConfig.from_dict({**config.to_dict(), **options}))
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_processor_that_returns_its_input_does_not_change_the_text_of_a_seed(config: SamplerConfig) -> None:
    model = Mock(MARKED, MARKED)
    plain = Sampler(model, config).generate("天", num_samples=4, max_new_tokens=60)
    same = Sampler(model, config, processors=[lambda ids, logits: logits])
    assert same.generate("天", num_samples=4, max_new_tokens=60) == plain


@pytest.mark.parametrize(
    "config", [*CONFIGS, free(temperature=0.0), free(repetition_penalty=1.2), SamplerConfig(top_p=0.5)]
)
def test_each_token_takes_one_random_number(config: SamplerConfig) -> None:
    """After as many tokens the random numbers stand where they stand with any other options, forced tokens included."""
    states = [
        Sampler(Mock(MARKED, MARKED), each).generate("天", max_new_tokens=40, return_results=True).state.random
        for each in (config, free())
    ]
    assert states[0] is not None
    assert states[1] is not None
    assert torch.equal(states[0], states[1])


def test_seeds_and_samples_have_random_numbers_of_their_own() -> None:
    texts = [
        Sampler(Mock(), free(seed=seed)).generate("", num_samples=3, first_sample=first, max_new_tokens=30)
        for seed, first in ((0, 0), (0, 0), (1, 0), (0, 2), (2**63 - 1, 0))
    ]
    assert texts[0] == texts[1]
    assert texts[3][0] == texts[0][2]
    assert len({text for group in texts for text in group}) == 11


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("config", [free(), SamplerConfig(), free(temperature=0.0)])
def test_log_probabilities_that_are_not_finite_are_named(value: float, config: SamplerConfig) -> None:
    model = Mock(SIX)
    model.values[7] = value
    with pytest.raises(NonFiniteError, match="log-probabilities are not finite"):
        Sampler(model, config).generate(max_new_tokens=3)


def test_the_mock_is_scored_too() -> None:
    assert score(Mock(SIX), "天宙").log_probs == pytest.approx([math.log(0.4), math.log(0.03)])
    with pytest.raises(ConfigError, match="without target_log_probs"):
        Sampler(type("Half", (), dict.fromkeys(("vocabulary", "device", "initial_state", "read", "log_probs")))())
