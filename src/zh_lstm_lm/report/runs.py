"""Run folders as plain values; values that are missing or of another type are not shown."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zh_lstm_lm.errors import CheckpointError, DataError
from zh_lstm_lm.storage.safe_reading import read_json
from zh_lstm_lm.storage.strict_json import MAX_VOCABULARY_BYTES, VOCABULARY_LIMITS
from zh_lstm_lm.training.history import History, comparable

__all__ = ["Run", "distinct_names", "finite", "number", "read_run", "section"]


@dataclass(frozen=True)
class Run:
    """The contents of a run's folder, with its name in the report.

    `history` has at least one record. `curve` may be empty, as may `counts`, the frequencies of the vocabulary in the
    training set, descending.
    """

    name: str
    description: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    curve: Sequence[Mapping[str, Any]] = ()
    counts: Sequence[int] = ()

    @property
    def best(self) -> Mapping[str, Any]:
        """The record with the lowest validation loss; the last one without a validation set."""
        measured = comparable(record for record in self.history if number(record, "valid_loss") is not None)
        return min(measured, key=lambda record: record["valid_loss"]) if measured else self.history[-1]

    def test(self, metric: str) -> float | None:
        """Returns a metric on the test set; None if it was not evaluated."""
        found = (number(record, f"test_{metric}") for record in reversed(self.history))
        return next((value for value in found if value is not None), None)

    @property
    def parts(self) -> tuple[str, list[Mapping[str, Any]]]:
        """The results of the parts of a mixture, the whole last, and the text that they are of: ``"test"`` or ``"valid"``.

        They are those of the last record that has any; an empty list if there is none.
        """
        for text in ("test", "valid"):
            for record in reversed(self.history):
                parts = record.get(f"{text}_parts")
                if isinstance(parts, list) and parts and all(map(_is_part, parts)):
                    return text, parts
        return "test", []

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of training, with the values that were chosen where an option was left open."""
        options = dict(section(self.description, "options"))
        chosen = dict(section(self.description, "chosen"))
        rates = [rate for record in self.curve if (rate := number(record, "learning_rate")) is not None]
        if rates:
            chosen.setdefault("learning_rate", max(rates))
        for name, value in chosen.items():
            if options.get(name) is None:
                options[name] = f"{value:g} (auto)" if number(chosen, name) is not None else f"{value} (auto)"
        return options

    def points(self, x: str, y: str) -> list[tuple[float, float]]:
        """Returns two fields of each record of the history that has both."""
        pairs = ((number(record, x), number(record, y)) for record in self.history)
        return [(a, b) for a, b in pairs if a is not None and b is not None]


def read_run(folder: Path, name: str) -> Run:
    """Reads a run's folder; raises DataError without a run or an evaluation, CheckpointError for a damaged file."""
    if not (folder / "run.json").is_file():
        # The folder may be given as "." or "/".
        named = folder if folder.name else Path(os.path.realpath(folder))
        beside = named.parent / f"{named.name}.run"
        hint = f"its run is in {beside}" if beside.is_dir() else "a run's folder holds run.json, a study's study.json"
        raise DataError(f"{folder}: not the folder of a run or of a study; {hint}")
    description = read_json(folder / "run.json", max_bytes=1 << 20)
    if not isinstance(description, dict):
        raise CheckpointError(f"{folder / 'run.json'}: not a description of a run; the file is damaged or foreign")
    history = History.load(folder / "history.jsonl") if (folder / "history.jsonl").is_file() else History()
    if not history:
        raise DataError(f"{folder}: has no history, since no epoch has ended; resume training, and report then")
    curve = History.load(folder / "curve.jsonl") if (folder / "curve.jsonl").is_file() else History()
    return Run(name, description, history, curve, _counts(folder / "best" / "vocabulary.json"))


def _counts(path: Path) -> list[int]:
    """Reads the frequencies of a saved vocabulary, descending; returns an empty list without the file."""
    if not path.is_file():
        return []
    vocabulary = read_json(path, max_bytes=MAX_VOCABULARY_BYTES, limits=VOCABULARY_LIMITS)
    counts = vocabulary.get("counts") if isinstance(vocabulary, dict) else None
    if not isinstance(counts, list) or not all(isinstance(count, int) for count in counts):
        raise CheckpointError(f"{path}: not a vocabulary with its counts; the file is damaged or foreign")
    return sorted((count for count in counts if count > 0), reverse=True)


def _is_part(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str)


def number(record: Mapping[str, Any], name: str) -> float | None:
    """Returns a number of a record; None if it is missing, of another type or not finite."""
    return finite(record.get(name))


def finite(value: object) -> float | None:
    """Returns a value that is a finite number as a float; None for any other."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        # JSON has integers beyond all floats.
        return None


def section(values: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Returns a nested mapping; an empty one if there is none."""
    for name in names:
        inner = values.get(name)
        values = inner if isinstance(inner, dict) else {}
    return values


def distinct_names(folders: Sequence[Path]) -> list[str]:
    """Returns the shortest endings of paths that distinguish them."""
    paths = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, paths), default=0) + 1):
        names = ["/".join(parts[-length:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{parts[-1]} ({index})" for index, parts in enumerate(paths, 1)]
