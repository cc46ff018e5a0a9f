"""Claims about the rows of a study: means over seeds, differences between settings, and verdicts."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from zh_lstm_lm.studies.presentation import Label

__all__ = [
    "SETTLED", "STANDARD_ERRORS", "Change", "Claim", "Difference", "Rows", "Spread", "Verdict", "by_setting",
    "compare", "judge_all", "judge_sign", "make_claim", "spread_of",
]  # fmt: skip

Rows: TypeAlias = Sequence[Mapping[str, Any]]
"""The rows of a study, or of one of its settings."""

Claim: TypeAlias = dict[str, Any]
"""A claim as plain values; see `make_claim`. ``name`` and ``verdict`` are strings, the rest is ``{"en": …, "zh": …}``."""

Verdict = Literal["holds", "does not hold", "depends"]

STANDARD_ERRORS = 3.0
"""Number of standard errors that a difference has to exceed: about 95 % confidence with three seeds a side, where
Student's distribution has four degrees of freedom."""

SETTLED = Label("差异超过其标准误的三倍才算数", "a difference counts if it exceeds three of its standard errors")
"""The rule of `Difference.sign` in words."""


@dataclass(frozen=True)
class Spread:
    """The mean of a metric over the seeds of a setting, with its standard deviation, 0 for a single seed."""

    mean: float
    deviation: float
    count: int

    def __format__(self, spec: str) -> str:
        """Formats the mean, and the deviation if there is one."""
        return f"{self.mean:{spec}} ± {self.deviation:{spec}}" if self.deviation else f"{self.mean:{spec}}"


@dataclass(frozen=True)
class Difference:
    """A metric of two settings."""

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


def compare(first: Rows, second: Rows, field: str) -> Difference:
    """Compares a field of the rows of two settings."""
    return Difference(spread_of(row[field] for row in first), spread_of(row[field] for row in second))


def make_claim(name: str, claim: Label, verdict: Verdict, figure: Label, rule: Label) -> Claim:
    """Creates a claim; its name is the same in every language."""
    texts = {"claim": claim, "figure": figure, "rule": rule}
    return {"name": name, "verdict": verdict, **{key: text._asdict() for key, text in texts.items()}}


def judge_sign(name: str, claim: Label, sign: int, figure: Label, rule: Label) -> Claim:
    """Judges by a sign: 1 holds, -1 does not hold, 0 depends."""
    verdicts: dict[int, Verdict] = {1: "holds", 0: "depends", -1: "does not hold"}
    rule = Label(f"{rule.zh}；{SETTLED.zh}", f"{rule.en}; {SETTLED.en}")
    return make_claim(name, claim, verdicts[sign], figure, rule)


def judge_all(name: str, claim: Label, outcomes: Sequence[bool], figure: Label, rule: Label) -> Claim:
    """Judges by outcomes: all true holds, none does not hold, some depends."""
    verdict: Verdict = "holds" if all(outcomes) else "depends" if any(outcomes) else "does not hold"
    return make_claim(name, claim, verdict, figure, rule)


class Change(NamedTuple):
    """A claim that a metric, of a unit and format, differs between two settings.

    It holds if the metric of the second setting is larger, for `holds` of 1, or smaller, for -1. A `rule` of None
    compares the two metrics.
    """

    name: str
    claim: Label
    unit: Label
    form: str
    holds: int
    rule: Label | None = None

    def judge(
        self, difference: Difference, first: Label | str, second: Label | str, *, sign: int | None = None
    ) -> Claim:
        """Judges the claim by the metrics of two named settings; `sign` replaces that of the difference."""
        one, other = (Label(name, name) if isinstance(name, str) else name for name in (first, second))
        a, b = (format(side, self.form) for side in (difference.first, difference.second))
        figure = Label(
            f"{self.unit.zh}：{a}（{one.zh}），{b}（{other.zh}）", f"{self.unit.en}: {a} ({one.en}), {b} ({other.en})"
        )
        rule = self.rule or Label(
            f"{self.unit.zh}，{other.zh}与{one.zh}相比", f"{self.unit.en}, {other.en} against {one.en}"
        )
        return judge_sign(self.name, self.claim, self.holds * difference.sign if sign is None else sign, figure, rule)
