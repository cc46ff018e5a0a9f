"""The result of a study: a row for each setting and seed, the claims, and JSON on disk."""

from dataclasses import asdict, dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any

from zh_lstm_lm._config import check_path
from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.storage.atomic import write_json
from zh_lstm_lm.storage.safe_reading import read_versioned, versioned
from zh_lstm_lm.studies.claims import Claim, by_setting, spread_of
from zh_lstm_lm.studies.kinds import KINDS

__all__ = ["STUDY_FILE", "StudyResult"]

STUDY_FILE = "study.json"
_FORMAT = 1


@dataclass(frozen=True)
class StudyResult:
    """A complete or unfinished study; ``pandas.DataFrame(result.rows)`` makes a data frame of it.

    Attributes:
        kind: ``"seq-len"``, ``"epochs"`` or ``"vocabulary"``.
        title: Its title.
        equality: What all settings have in common: ``"tokens"``, ``"updates"`` or ``"minutes"``.
        corpus: Sizes, checksum and reading options of the corpus.
        environment: Versions, device, threads and the date.
        options: Budget, settings, sizes of the model and options of training.
        seeds: The seeds that every setting is trained with.
        complete: Whether all settings and seeds are there.
        rows: A row for each setting and seed; its fields are described in `zh_lstm_lm.studies.cells` and, for each kind,
            in the class of that kind.
        claims: Common claims with their verdicts; empty until the study is complete.
    """

    kind: str
    title: str
    equality: str
    corpus: dict[str, Any]
    environment: dict[str, Any]
    options: dict[str, Any]
    seeds: list[int]
    complete: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    def table(self) -> str:
        """Returns a Markdown table with a line for each setting: mean ± standard deviation over its seeds."""
        kind = KINDS[self.kind]
        lines = [[*kind.setting_fields, *(column.heading.en for column in kind.columns)]]
        for setting, group in by_setting(self.rows, *kind.setting_fields).items():
            cells = []
            for column in kind.columns:
                values = [row[column.field] for row in group if row.get(column.field) is not None]
                cells.append(format(spread_of(values), column.form) if values else "-")
            lines.append([*map(str, setting), *cells])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        lines.insert(1, [f"{'-' * (width - 1)}:" for width in widths])
        padded = ([cell.rjust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
        return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)

    def __str__(self) -> str:
        """Returns the table and each claim with its verdict and numbers."""
        claims = (f"{claim['verdict']:<14} {claim['claim']['en']} ({claim['figure']['en']})" for claim in self.claims)
        return "\n".join([f"{self.title}, equal {self.equality}", self.table(), *claims])

    def _repr_markdown_(self) -> str:
        """Shows the study in a notebook."""
        claims = "\n".join(
            f"- {claim['claim']['en']} **{claim['verdict']}**: {claim['figure']['en']}" for claim in self.claims
        )
        return f"**{self.title}**, equal {self.equality}\n\n{self.table()}\n\n{claims}"

    def save(self, folder: str | PathLike[str]) -> None:
        """Writes ``study.json`` into a folder atomically.

        Raises:
            CheckpointError: The file cannot be written.
        """
        check_path("folder", folder)
        write_json(Path(folder) / STUDY_FILE, versioned(_FORMAT, asdict(self)))

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> "StudyResult":
        """Reads a study that `save` wrote.

        Raises:
            CheckpointError: The folder holds no study, a damaged one, or one of a newer version.
        """
        check_path("folder", folder)
        path = Path(folder) / STUDY_FILE
        result = cls(**read_versioned(path, _FORMAT, required=[known.name for known in fields(cls)]))
        if result.kind not in tuple(KINDS) or not isinstance(result.rows, list):
            raise CheckpointError(
                f"{path}: its kind is {result.kind!r:.80}, expected one of {', '.join(KINDS)} with a list of rows; the "
                "file is damaged, or of a newer version"
            )
        return result
