"""How a claim is judged: by functions of the rows and nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from zh_lstm_lm.studies.result import Claim, Text, Verdict

__all__ = ["SETTLED", "Rows", "judge_all", "judge_sign"]

Rows: TypeAlias = Sequence[Mapping[str, Any]]
"""The rows of a study, or of one setting of it."""

SETTLED = Text(
    en="a difference counts where it is more than three of its standard errors",
    zh="差异超过其标准误的三倍才算数",
)
"""What `Difference.sign` asks of a difference, in words."""


def judge_sign(name: str, claim: Text, sign: int, figure: Text, rule: Text) -> Claim:
    """Holds where the sign is 1, does not where it is -1, depends where the spread leaves it open."""
    verdicts: dict[int, Verdict] = {1: "holds", 0: "depends", -1: "does not hold"}
    rule = Text(en=f"{rule['en']}; {SETTLED['en']}", zh=f"{rule['zh']}；{SETTLED['zh']}")
    return Claim(name=name, claim=claim, verdict=verdicts[sign], figure=figure, rule=rule)


def judge_all(name: str, claim: Text, outcomes: Sequence[bool], figure: Text, rule: Text) -> Claim:
    """Holds where every seed says so, does not where none does."""
    verdict: Verdict = "holds" if all(outcomes) else "depends" if any(outcomes) else "does not hold"
    return Claim(name=name, claim=claim, verdict=verdict, figure=figure, rule=rule)
