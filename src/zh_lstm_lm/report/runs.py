"""Run folders as plain values, each checked: what is missing or of another type is simply not shown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zh_lstm_lm.errors import CheckpointError, DataError
from zh_lstm_lm.model_folder import MAX_VOCABULARY_BYTES, VOCABULARY_LIMITS
from zh_lstm_lm.saved_files import read_json
from zh_lstm_lm.training_state import History

__all__ = ["Run", "distinct_names", "number", "read_run", "section"]


@dataclass(frozen=True)
class Run:
    """What a run's folder tells.

    Attributes:
        name: What it is called in the report.
        description: What ``run.json`` holds.
        history: A record for each evaluation, at least one.
        curve: A record for every few updates; empty in runs that kept none.
        counts: How often each token of the vocabulary occurs in the training text, falling; empty where not known.
    """

    name: str
    description: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    curve: Sequence[Mapping[str, Any]]
    counts: Sequence[int]

    @property
    def best(self) -> Mapping[str, Any]:
        """The record with the lowest held-out loss; the last one without held-out text."""
        measured = [record for record in self.history if number(record, "valid_loss") is not None]
        return min(measured, key=lambda record: record["valid_loss"]) if measured else self.history[-1]

    def points(self, x: str, y: str) -> list[tuple[float, float]]:
        """Two figures of each record of the history that has them both."""
        pairs = ((number(record, x), number(record, y)) for record in self.history)
        return [(a, b) for a, b in pairs if a is not None and b is not None]


def read_run(folder: Path, name: str) -> Run:
    """Reads a run's folder.

    Args:
        folder: The folder.
        name: What to call the run.

    Raises:
        DataError: It is no run's folder, or no epoch of the run has ended yet.
        CheckpointError: A file in it is damaged.
    """
    if not (folder / "run.json").is_file():
        beside = folder.with_name(f"{folder.name}.run")
        hint = f"its run is in {beside}" if beside.is_dir() else "a run's folder holds run.json, a study's study.json"
        raise DataError(f"{folder}: not the folder of a run or of a study; {hint}")
    description = read_json(folder / "run.json", max_bytes=1 << 20)
    if not isinstance(description, dict):
        raise CheckpointError(f"{folder / 'run.json'}: not a description of a run")
    history = History.load(folder / "history.jsonl") if (folder / "history.jsonl").is_file() else History()
    if not history:
        raise DataError(f"{folder}: has no history, since no epoch of it has ended; train on, and report then")
    curve = History.load(folder / "curve.jsonl") if (folder / "curve.jsonl").is_file() else History()
    return Run(name, description, history, curve, _counts(folder / "best" / "vocabulary.json"))


def _counts(path: Path) -> list[int]:
    """The counts of a saved vocabulary's tokens, falling; none where it is not there."""
    if not path.is_file():
        return []
    vocabulary = read_json(path, max_bytes=MAX_VOCABULARY_BYTES, limits=VOCABULARY_LIMITS)
    counts = vocabulary.get("counts") if isinstance(vocabulary, dict) else None
    if not isinstance(counts, list) or not all(isinstance(count, int) for count in counts):
        raise CheckpointError(f"{path}: not a vocabulary with its counts; the file is damaged or foreign")
    return sorted((count for count in counts if count > 0), reverse=True)


def number(record: Mapping[str, Any], name: str) -> float | None:
    """A figure of a record; None where it is missing, not a number or not finite."""
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond all floats
        return None


def section(values: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """A mapping inside of mappings; empty where there is none."""
    for name in names:
        inner = values.get(name)
        values = inner if isinstance(inner, dict) else {}
    return values


def distinct_names(folders: Sequence[Path]) -> list[str]:
    """As many last parts of each path as tell them apart."""
    paths = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, paths), default=0) + 1):
        names = ["/".join(parts[-length:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{parts[-1]} ({number})" for number, parts in enumerate(paths, 1)]
