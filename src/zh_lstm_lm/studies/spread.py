"""Means over seeds, their spread, and whether a difference is more than that."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["STANDARD_ERRORS", "Difference", "Spread", "by_setting", "compare", "spread_of"]

STANDARD_ERRORS = 3.0
"""A difference of means beyond so many of its standard errors is settled: about 95 % with three seeds a side, where
Student's distribution has four degrees of freedom."""


@dataclass(frozen=True)
class Spread:
    """What the seeds of one setting gave.

    Attributes:
        mean: The mean.
        deviation: The standard deviation over the seeds; 0 for a single one.
        count: Number of seeds.
    """

    mean: float
    deviation: float
    count: int

    def __format__(self, spec: str) -> str:
        """The mean, and the deviation where there is one."""
        return f"{self.mean:{spec}} ± {self.deviation:{spec}}" if self.deviation else f"{self.mean:{spec}}"


@dataclass(frozen=True)
class Difference:
    """One setting against another.

    Attributes:
        first: What the one gave.
        second: What the other gave.
    """

    first: Spread
    second: Spread

    @property
    def value(self) -> float:
        """The second mean less the first."""
        return self.second.mean - self.first.mean

    @property
    def bound(self) -> float:
        """Three standard errors of the difference: what it has to exceed to be settled."""
        return STANDARD_ERRORS * math.sqrt(sum(side.deviation**2 / side.count for side in (self.first, self.second)))

    @property
    def sign(self) -> int:
        """1 if the second is larger, -1 if it is smaller, 0 where the spread over the seeds does not settle it."""
        if abs(self.value) <= self.bound:
            return 0
        return 1 if self.value > 0 else -1


def spread_of(values: Iterable[float]) -> Spread:
    """The mean and standard deviation of some values."""
    values = list(values)
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))


def by_setting(rows: Iterable[Mapping[str, Any]], *fields: str) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    """The rows of each setting, in the order of its first one."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[field] for field in fields), []).append(row)
    return groups


def compare(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]], field: str) -> Difference:
    """A figure of the rows of one setting against those of another."""
    return Difference(spread_of(row[field] for row in first), spread_of(row[field] for row in second))
