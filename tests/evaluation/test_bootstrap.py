"""Error bars against what is known of them by other ways."""

import math

import pytest
import torch

from zh_lstm_lm import ConfigError, DataError
from zh_lstm_lm.evaluation.bootstrap import bootstrap


def paragraphs(number: int, seed: int = 0) -> torch.Tensor:
    """Paragraphs of 20 to 60 tokens, two characters each, whose losses are spread around 5 nats a token."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(20, 60, (number,), generator=generator).double()
    losses = 5 + torch.randn(number, generator=generator, dtype=torch.float64)
    return torch.stack([-losses * tokens, tokens, 2 * tokens], dim=1)


def test_the_interval_is_that_of_a_ratio_of_means() -> None:
    sums = paragraphs(2000)
    loss = float(-sums[:, 0].sum() / sums[:, 1].sum())
    residuals = -sums[:, 0] - loss * sums[:, 1]  # the linearised variance of a ratio (Cochran, 1977)
    error = float(residuals.std() / len(sums) ** 0.5 / sums[:, 1].mean())
    bars = bootstrap(sums, num_resamples=2000, confidence=0.9)
    low, high = map(math.log, bars.perplexity)
    assert low == pytest.approx(loss - 1.645 * error, abs=0.2 * error)
    assert high == pytest.approx(loss + 1.645 * error, abs=0.2 * error)
    assert bars.bits_per_character is not None
    assert bars.bits_per_character == pytest.approx((low / 2 / math.log(2), high / 2 / math.log(2)))
    assert (bars.num_paragraphs, bars.num_resamples, bars.confidence) == (2000, 2000, 0.9)


def test_paragraphs_that_are_all_alike_leave_no_doubt() -> None:
    bars = bootstrap(torch.tensor([[-10.0, 2.0, 4.0]] * 5, dtype=torch.float64))
    assert bars.perplexity == pytest.approx((math.exp(5), math.exp(5)))


def test_more_confidence_and_less_text_make_them_wider() -> None:
    def width(sums: torch.Tensor, confidence: float) -> float:
        low, high = bootstrap(sums, confidence=confidence).perplexity
        return high - low

    assert width(paragraphs(100), 0.5) < width(paragraphs(100), 0.95) < width(paragraphs(30), 0.95)


def test_the_seed_decides_and_empty_paragraphs_do_not_count() -> None:
    sums = paragraphs(40)
    assert bootstrap(sums, seed=1) == bootstrap(torch.cat([sums, torch.zeros(9, 3)]), seed=1)
    assert bootstrap(sums, seed=1) != bootstrap(sums, seed=2)
    assert bootstrap(sums, has_characters=False).bits_per_character is None


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match="at least two paragraphs, got 1"):
        bootstrap(paragraphs(1))
    for option in ({"num_resamples": 0}, {"confidence": 1.0}, {"confidence": 0}, {"seed": -1}):
        with pytest.raises(ConfigError, match=next(iter(option))):
            bootstrap(paragraphs(3), **option)
