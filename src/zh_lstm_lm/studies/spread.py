"""Means over seeds, their standard deviations, and the significance of differences."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["STANDARD_ERRORS", "Difference", "Spread", "by_setting", "compare", "spread_of"]

STANDARD_ERRORS = 3.0
"""Number of standard errors that a difference has to exceed: about 95 % confidence with three seeds a side, where
Student's distribution has four degrees of freedom."""


@dataclass(frozen=True)
class Spread:
    """The mean of a metric over the seeds of a setting, with its standard deviation.

    Attributes:
        mean: The mean.
        deviation: The standard deviation over the seeds; 0 for a single one.
        count: Number of seeds.
    """

    mean: float
    deviation: float
    count: int

    def __format__(self, spec: str) -> str:
        """Formats the mean, and the deviation if there is one."""
        return f"{self.mean:{spec}} ± {self.deviation:{spec}}" if self.deviation else f"{self.mean:{spec}}"


@dataclass(frozen=True)
class Difference:
    """A metric of one setting against that of another.

    Attributes:
        first: The metric of the first setting.
        second: The metric of the second setting.
    """

    first: Spread
    second: Spread

    @property
    def sign(self) -> int:
        """1 if the second is larger, -1 if it is smaller, 0 within three standard errors of the difference."""
        difference = self.second.mean - self.first.mean
        variance = sum(side.deviation**2 / side.count for side in (self.first, self.second))
        if abs(difference) <= STANDARD_ERRORS * math.sqrt(variance):
            return 0
        return 1 if difference > 0 else -1


def spread_of(values: Iterable[float]) -> Spread:
    """Returns the mean and standard deviation of some values."""
    values = list(values)
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))


def by_setting(rows: Iterable[Mapping[str, Any]], *fields: str) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    """Groups rows by the values of some fields, in the order of each group's first row."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[field] for field in fields), []).append(row)
    return groups


def compare(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]], field: str) -> Difference:
    """Compares a field of the rows of one setting with that of another."""
    return Difference(spread_of(row[field] for row in first), spread_of(row[field] for row in second))
