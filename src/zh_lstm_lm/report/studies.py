"""Study folders as plain values: the rows of each setting, and means over their seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zh_lstm_lm.errors import CheckpointError, DataError
from zh_lstm_lm.report.runs import number
from zh_lstm_lm.studies.result import STUDY_FILE, StudyResult
from zh_lstm_lm.studies.spread import Spread, spread_of
from zh_lstm_lm.studies.tables import SETTINGS

__all__ = ["Setting", "Study", "list_means", "means", "read_study"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """One setting of a study.

    Attributes:
        values: What was set, by name.
        rows: A row for each seed.
    """

    values: Mapping[str, Any]
    rows: Sequence[Row]


@dataclass(frozen=True)
class Study:
    """What a study's folder tells.

    Attributes:
        name: What it is called in the report.
        result: What ``study.json`` holds.
        settings: The rows by setting, in the order of the file.
    """

    name: str
    result: StudyResult
    settings: Sequence[Setting]


def read_study(folder: Path, name: str) -> Study:
    """Reads a study's folder.

    Args:
        folder: The folder; it holds ``study.json``.
        name: What to call the study.

    Raises:
        CheckpointError: The file is damaged or foreign.
        DataError: The study has no row yet.
    """
    path, result = folder / STUDY_FILE, StudyResult.load(folder)
    if result.kind not in tuple(SETTINGS) or not isinstance(result.rows, list):
        raise CheckpointError(f"{path}: not a study of {', '.join(SETTINGS)}; it is foreign, or of a newer version")
    settings: dict[str, Setting] = {}
    for row in result.rows:
        if isinstance(row, dict):
            values = {field: row.get(field) for field in SETTINGS[result.kind]}
            before = settings.get(repr(values), Setting(values, ()))
            settings[repr(values)] = Setting(values, (*before.rows, row))
    if not settings:
        raise DataError(f"{path}: the study has no result yet; let it go on, and report then")
    return Study(name, result, list(settings.values()))


def means(setting: Setting, field: str) -> Spread | None:
    """The mean of a figure over the seeds and its deviation; None where no row has it."""
    return _spread([value for row in setting.rows if (value := number(row, field)) is not None])


def list_means(setting: Setting, field: str) -> list[Spread | None]:
    """The same for each place of a list of figures, as far as every row's reaches."""
    lists = [row[field] for row in setting.rows if isinstance(row.get(field), list)]
    return [
        _spread([value for item in place if (value := number({field: item}, field)) is not None])
        for place in zip(*lists, strict=False)
    ]


def _spread(values: Sequence[float]) -> Spread | None:
    return spread_of(values) if values else None
