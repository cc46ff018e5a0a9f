"""Axes of plots: range, ticks and tick labels."""

import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Axis", "format_number", "make_axis"]

_STEPS, _MOST_TICKS = (1.0, 2.0, 2.5, 5.0, 10.0), 6
# Proportion of the axis that is left free at either end.
_MARGIN = 0.04


@dataclass(frozen=True)
class Axis:
    """The range of an axis, and its ticks with their labels."""

    low: float
    high: float
    log: bool
    ticks: tuple[float, ...]
    labels: tuple[str, ...]

    def __call__(self, value: float) -> float:
        """Maps a value to the axis: 0 at the beginning, 1 at the end."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def make_axis(
    values: Iterable[float], *, log: bool = False, whole: bool = False, ticks: Sequence[tuple[float, str]] = ()
) -> Axis:
    """Creates an axis that shows all values; `ticks` are values and labels, empty for round numbers."""
    shown = list(values) or [1.0]
    low, high = min(shown), max(shown)
    # Ticks would differ by rounding errors alone.
    if math.isclose(low, high):
        low = high
    if log:
        room = max(math.log(high / low) * _MARGIN, 0.05)
        low, high = low * math.exp(-room), high * math.exp(room)
        marked = _log_ticks(low, high)
    else:
        room = (high - low) * _MARGIN or abs(high) * 0.1 or 1.0
        low, high = (0.0 if 0 <= low < room else low - room), high + room
        marked = _linear_ticks(low, high, at_least=1.0 if whole and math.floor(high) >= low else 0.0)
    if ticks:
        marked = [value for value, _ in ticks]
    labels = [text for _, text in ticks] or _labels(marked)
    return Axis(low, high, log, tuple(marked), tuple(labels))


def _linear_ticks(low: float, high: float, *, at_least: float = 0.0) -> list[float]:
    rough = (high - low) / (_MOST_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = max(at_least, power * min(step for step in _STEPS if step * power >= rough * 0.85))
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = math.log10(high / low)
    # On so short a range, round numbers at equal distances are clearer.
    if decades < 0.7:
        return [tick for tick in _linear_ticks(low, high) if tick > 0]
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, math.ceil(decades / 6))
    mantissas = (1, 2, 5) if decades < 2 else (1, 3) if decades < 3 else (1,)
    exponents = range(first - first % every, last + 1, every)
    marked = [mantissa * 10.0**exponent for exponent in exponents for mantissa in mantissas]
    return [tick for tick in marked if low <= tick <= high]


def _labels(ticks: Sequence[float]) -> list[str]:
    """Formats the numbers of one axis, with as many decimals as distinguish them."""
    largest = max(map(abs, ticks), default=0.0)
    gaps = [abs(b - a) for a, b in itertools.pairwise(ticks)]
    if 1e-3 <= largest < 1e6 and gaps:
        close = functools.partial(math.isclose, rel_tol=1e-9, abs_tol=1e-12)
        decimals = next((n for n in range(7) if all(close(round(tick, n), tick) for tick in ticks)), 7)
        if decimals < 5:
            return [f"{tick:,.{decimals}f}" for tick in ticks] if min(gaps) >= 0.01 else [f"{tick:g}" for tick in ticks]
    return [format_number(tick) for tick in ticks]


def format_number(value: float) -> str:
    """Formats a number with four significant digits, separated thousands, and an exponent where it is short."""
    size = abs(value)
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if size >= 1e9 or size < 1e-3:
        mantissa, exponent = f"{value:.3e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    if size >= 1e6:
        return f"{value / 1e6:.4g}M"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
