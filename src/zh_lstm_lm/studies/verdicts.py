"""Claims and their verdicts, computed from the rows of a study alone."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict

__all__ = ["SETTLED", "Claim", "Rows", "Text", "Verdict", "judge_all", "judge_sign"]

Rows: TypeAlias = Sequence[Mapping[str, Any]]
"""The rows of a study, or of one of its settings."""

Verdict = Literal["holds", "does not hold", "depends"]


class Text(TypedDict):
    """A text in two languages."""

    en: str
    zh: str


class Claim(TypedDict):
    """A claim and the verdict of the rows on it.

    Attributes:
        name: Its identifier, the same in every language.
        claim: The claim.
        verdict: The verdict; ``"depends"`` also if the spread over the seeds does not settle it.
        figure: The numbers behind the verdict.
        rule: The rule of the verdict.
    """

    name: str
    claim: Text
    verdict: Verdict
    figure: Text
    rule: Text


SETTLED = Text(
    en="a difference counts if it exceeds three of its standard errors",
    zh="差异超过其标准误的三倍才算数",
)
"""The rule of `Difference.sign` in words."""


def judge_sign(name: str, claim: Text, sign: int, figure: Text, rule: Text) -> Claim:
    """Judges by a sign: 1 holds, -1 does not hold, 0 depends."""
    verdicts: dict[int, Verdict] = {1: "holds", 0: "depends", -1: "does not hold"}
    rule = Text(en=f"{rule['en']}; {SETTLED['en']}", zh=f"{rule['zh']}；{SETTLED['zh']}")
    return Claim(name=name, claim=claim, verdict=verdicts[sign], figure=figure, rule=rule)


def judge_all(name: str, claim: Text, outcomes: Sequence[bool], figure: Text, rule: Text) -> Claim:
    """Judges by outcomes: all true holds, none does not hold, some depends."""
    verdict: Verdict = "holds" if all(outcomes) else "depends" if any(outcomes) else "does not hold"
    return Claim(name=name, claim=claim, verdict=verdict, figure=figure, rule=rule)
