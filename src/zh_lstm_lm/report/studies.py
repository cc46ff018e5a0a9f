"""Study folders as plain values: the rows of each setting and means over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.report.markup import Label
from zh_lstm_lm.report.runs import number
from zh_lstm_lm.studies.base import Study as StudyKind
from zh_lstm_lm.studies.kinds import KINDS
from zh_lstm_lm.studies.result import StudyResult
from zh_lstm_lm.studies.spread import Spread, spread_of

__all__ = ["Setting", "Study", "list_means", "means", "read_study"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """One setting of a study.

    Attributes:
        name: Its name.
        line: The name of its line in plots; empty if there is one line only.
        rows: A row for each seed.
    """

    name: Label
    line: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Study:
    """The contents of a study's folder.

    Attributes:
        name: Its name in the report.
        kind: Its kind, which declares columns and plots.
        result: The contents of ``study.json``.
        settings: The settings, in the order of the file.
    """

    name: str
    kind: type[StudyKind]
    result: StudyResult
    settings: Sequence[Setting]


def read_study(folder: Path, name: str) -> Study:
    """Reads a study's folder.

    Args:
        folder: The folder; it holds ``study.json``.
        name: The name of the study in the report.

    Raises:
        CheckpointError: The file is damaged or foreign.
        DataError: The study has no row yet.
    """
    result = StudyResult.load(folder)
    kind = KINDS[result.kind]
    groups: dict[str, tuple[Row, list[Row]]] = {}
    for row in result.rows:
        if isinstance(row, dict):
            values = {field: row.get(field) for field in kind.setting_fields}
            groups.setdefault(repr(values), (values, []))[1].append(row)
    if not groups:
        raise DataError(f"{folder}: the study has no result yet; let it go on, and report then")
    settings = [
        Setting(Label(**kind.name_setting(values)), kind.name_line(values), rows) for values, rows in groups.values()
    ]
    return Study(name, kind, result, settings)


def means(setting: Setting, field: str) -> Spread | None:
    """Returns mean and deviation of a field over the seeds; None if no row has it."""
    return _spread([value for row in setting.rows if (value := number(row, field)) is not None])


def list_means(setting: Setting, field: str) -> list[Spread | None]:
    """Returns mean and deviation at each position of a list field, as far as the shortest list reaches."""
    lists = [row[field] for row in setting.rows if isinstance(row.get(field), list)]
    return [
        _spread([value for item in items if (value := number({field: item}, field)) is not None])
        for items in zip(*lists, strict=False)
    ]


def _spread(values: Sequence[float]) -> Spread | None:
    return spread_of(values) if values else None
