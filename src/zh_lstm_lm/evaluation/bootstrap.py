"""Error bars of figures that are ratios of sums over paragraphs."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zh_lstm_lm._config import check_integer, check_number
from zh_lstm_lm.errors import DataError

__all__ = ["ErrorBars", "bootstrap", "check_resampling"]


@dataclass(frozen=True)
class ErrorBars:
    """How far the figures of a text may lie from those of other text of its kind.

    Attributes:
        perplexity: Low and high end of the interval.
        bits_per_character: Low and high end of the interval; None with ``unknown="unk"``.
        confidence: Share of the resamples whose figures lie in the intervals.
        num_paragraphs: Paragraphs that were drawn from.
        num_resamples: Times that as many were drawn.
    """

    perplexity: tuple[float, float]
    bits_per_character: tuple[float, float] | None
    confidence: float
    num_paragraphs: int
    num_resamples: int


def check_resampling(num_resamples: int, seed: int) -> None:
    """Holds the options of error bars to their ranges, before the text is read; 0 resamples are none.

    Raises:
        ConfigError: One is out of range.
    """
    check_integer("num_resamples", num_resamples, minimum=0, maximum=1_000_000)
    check_integer("seed", seed, minimum=0, maximum=2**63 - 1)


def bootstrap(
    sums: Tensor, *, num_resamples: int = 1000, confidence: float = 0.95, seed: int = 0, has_characters: bool = True
) -> ErrorBars:
    """Percentile intervals by the bootstrap (Efron, 1979): paragraphs are drawn with replacement, again and again.

    Paragraphs are what is drawn because tokens within one are far from independent; text whose paragraphs depend on each
    other still has wider intervals than these.

    Args:
        sums: Of each paragraph the log-probability in nats, the tokens, and the characters.
            **Shape:** (paragraphs, 3), float64. Paragraphs without a token do not count.
        num_resamples: How often as many paragraphs as there are are drawn.
        confidence: Share of the resamples in the interval.
        seed: What they are drawn from.
        has_characters: Whether characters were counted at all.

    Raises:
        ConfigError: An option is out of range.
        DataError: There are fewer than two paragraphs.
    """
    check_integer("num_resamples", num_resamples, minimum=1)
    check_resampling(num_resamples, seed)
    check_number("confidence", confidence, maximum=1.0, exclusive=True)
    sums = sums[sums[:, 1] > 0]
    if len(sums) < 2:
        raise DataError(
            f"error bars need at least two paragraphs, got {len(sums)}; give a longer text, or num_resamples=0"
        )
    generator = torch.Generator().manual_seed(seed)
    totals = torch.stack(
        [sums[torch.randint(len(sums), (len(sums),), generator=generator)].sum(0) for _ in range(num_resamples)]
    )  # (resamples, 3)
    losses, bits = -totals[:, 0] / totals[:, 1], -totals[:, 0] / totals[:, 2] / math.log(2)
    low, high = _interval(losses.clamp(max=700).exp(), confidence)
    return ErrorBars(
        (low, high),
        _interval(bits, confidence) if has_characters else None,
        confidence,
        len(sums),
        num_resamples,
    )


def _interval(values: Tensor, confidence: float) -> tuple[float, float]:
    ends = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=values.dtype)
    low, high = torch.quantile(values, ends).tolist()
    return low, high
