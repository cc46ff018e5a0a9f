"""Confidence intervals by the bootstrap, for metrics that are ratios of sums over paragraphs."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zh_lstm_lm._config import check_integer, check_number
from zh_lstm_lm.errors import DataError

__all__ = ["ErrorBars", "bootstrap", "paired_bootstrap"]


@dataclass(frozen=True)
class ErrorBars:
    """Confidence intervals of the metrics of a text, for other text of its kind.

    Attributes:
        perplexity: Low and high end of the interval.
        bits_per_character: Low and high end of the interval; None with ``unknown="unk"``.
        confidence: Proportion of the resamples whose metrics lie in the intervals.
        num_paragraphs: Paragraphs that were resampled.
        num_resamples: Number of resamples.
    """

    perplexity: tuple[float, float]
    bits_per_character: tuple[float, float] | None
    confidence: float
    num_paragraphs: int
    num_resamples: int


def bootstrap(
    sums: Tensor, *, num_resamples: int = 1000, confidence: float = 0.95, seed: int = 0, has_characters: bool = True
) -> ErrorBars:
    """Computes percentile intervals by the bootstrap (Efron, 1979), resampling paragraphs with replacement.

    Paragraphs are resampled, not tokens, because the tokens of a paragraph are far from independent. Text whose
    paragraphs depend on each other has wider intervals than these. The sums are the log-probability in nats, number of
    tokens and number of characters of each paragraph, **Shape:** (paragraphs, 3), float64; paragraphs without a token
    do not count, and with fewer than two others a DataError is raised.
    """
    sums = sums[sums[:, 1] > 0]
    totals = _resampled_totals(sums, num_resamples, confidence, seed)
    losses, bits = -totals[:, 0] / totals[:, 1], -totals[:, 0] / totals[:, 2] / math.log(2)
    low, high = _interval(losses.clamp(max=700).exp(), confidence)
    return ErrorBars(
        (low, high), _interval(bits, confidence) if has_characters else None, confidence, len(sums), num_resamples
    )


def paired_bootstrap(
    a: Tensor, b: Tensor, *, num_resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Computes the percentile interval of a difference in bits per character, *b* minus *a*, on the same paragraphs.

    Both models are measured on the same resampled paragraphs, so what makes a paragraph hard for both cancels out.
    Arguments and errors are those of `bootstrap`.
    """
    both = torch.cat([a, b], dim=1)[a[:, 1] > 0]
    totals = _resampled_totals(both, num_resamples, confidence, seed)
    return _interval((totals[:, 0] / totals[:, 2] - totals[:, 3] / totals[:, 5]) / math.log(2), confidence)


def _resampled_totals(sums: Tensor, num_resamples: int, confidence: float, seed: int) -> Tensor:
    """Returns the sums over the paragraphs of each resample. **Shape:** (resamples, columns of `sums`)."""
    check_integer("num_resamples", num_resamples, minimum=1, maximum=1_000_000)
    check_integer("seed", seed, minimum=0, maximum=2**63 - 1)
    check_number("confidence", confidence, maximum=1.0, exclusive=True)
    if len(sums) < 2:
        raise DataError(f"error bars need at least two paragraphs, got {len(sums)}; give a longer text")
    generator = torch.Generator().manual_seed(seed)
    return torch.stack(
        [sums[torch.randint(len(sums), (len(sums),), generator=generator)].sum(0) for _ in range(num_resamples)]
    )


def _interval(values: Tensor, confidence: float) -> tuple[float, float]:
    ends = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=values.dtype)
    low, high = torch.quantile(values, ends).tolist()
    return low, high
