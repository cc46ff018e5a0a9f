"""Where a training run stands, and the records of where it was: plain values, and JSON."""

import io
import json
import math
from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any, get_type_hints

from zh_lstm_lm.errors import CheckpointError, DataError
from zh_lstm_lm.history_plot import plot_history
from zh_lstm_lm.saved_files import read_bytes
from zh_lstm_lm.strict_json import parse_json
from zh_lstm_lm.user_files import write_file

__all__ = ["History", "LearningCurve", "TrainerState"]

_MAX_RECORDS = 512  # even, so that each has another to join
_SUMS = ("updates", "clipped_updates", "num_targets", "num_characters", "loss_sum", "gradient_norm_sum", "seconds")
_MAX_HISTORY_BYTES = 1 << 26
_MAX_HISTORY_LINES = 1 << 17


class History(list[dict[str, Any]]):
    """A record of plain values for every evaluation, in order; JSON lines on disk.

    Losses are in nats a token, ``train_perplexity`` and ``valid_perplexity`` are per token, ``…bits_per_character``
    say their unit, ``seconds`` counts from the start of the run and ``tokens_per_second`` is of training alone. Gradient norms are those
    before clipping, ``clipped_share`` is that of the updates whose gradients were scaled down.
    """

    def to_json_lines(self) -> bytes:
        """One JSON object a line."""
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in self).encode("utf-8")

    def save(self, path: str | PathLike[str]) -> None:
        """Writes one JSON object a line, into a file that is there whole or not at all.

        Raises:
            DataError: It cannot be written; a file that was there stays.
        """
        write_file(path, self.to_json_lines())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "History":
        """Reads what `save` wrote.

        Raises:
            DataError: There is no such file, or it holds something else.
        """
        try:
            data = read_bytes(Path(path), max_bytes=_MAX_HISTORY_BYTES)
            if (number := data.count(b"\n")) > _MAX_HISTORY_LINES:
                raise CheckpointError(f"{number:,} lines, more than the {_MAX_HISTORY_LINES:,} expected at most")
            lines = data.split(b"\n")
            records = [parse_json(line, name=f"line {number}") for number, line in enumerate(lines, 1) if line]
            if not all(isinstance(record, dict) for record in records):
                raise CheckpointError("a line is not an object")
        except CheckpointError as error:
            raise DataError(f"{path}: not a history of training ({error}); give a run's history.jsonl") from error
        return cls(records)

    def plot(self, path: str | PathLike[str] | None = None) -> Any:
        """Draws perplexity and bits per character over the epochs, with matplotlib.

        Labels are in Chinese where this machine has a font for them, else in English. Matplotlib's settings and backend
        stay as they are.

        Args:
            path: A file to save the figure in as well, such as ``"history.png"``; None saves nothing.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            MissingDependencyError: matplotlib is not installed; it comes with the extra ``plot``.
            DataError: The file cannot be written.
        """
        figure = plot_history(self)
        if path is not None:
            drawn = io.BytesIO()
            try:
                figure.savefig(drawn, dpi=150, format=Path(path).suffix[1:] or None)
            except ValueError as error:  # a kind of file that there is not
                raise DataError(f"{path}: the figure cannot be saved there ({error})") from error
            write_file(path, drawn.getvalue())
        return figure


class LearningCurve(History):
    """Records of a few updates each, over the whole run; where there are more than 512, each two become one.

    A record holds sums, so that joining two loses nothing but resolution: ``step`` after its last update, its number of
    ``updates`` and ``clipped_updates``, ``num_targets`` and ``num_characters``, ``loss_sum`` in nats,
    ``gradient_norm_sum`` and ``gradient_norm_max`` before clipping, ``learning_rate`` of the last update, and
    ``seconds``.
    """

    def add(self, update: dict[str, Any]) -> None:
        """Takes in the record of one update."""
        span = self[0]["updates"] if self else 1
        if not self or self[-1]["updates"] >= span:
            if len(self) >= _MAX_RECORDS:
                self[:] = map(_joined, self[::2], self[1::2])
            self.append(update)
        else:
            self[-1] = _joined(self[-1], update)


def _joined(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    sums = {name: first[name] + second[name] for name in _SUMS}
    highest = max(first["gradient_norm_max"], second["gradient_norm_max"])
    return {**second, **sums, "gradient_norm_max": highest}


@dataclass
class TrainerState:
    """Where a run stands; callbacks read it, and may ask it to stop.

    Attributes:
        step: Updates made.
        window: Windows of the current epoch already trained on.
        steps_per_epoch: Windows of an epoch.
        planned_steps: Updates after which the run ends; None while a time budget is not yet planned.
        seconds: Time spent in `fit`, over all resumes.
        timed_updates: Updates that were timed while a time budget was not yet planned.
        timed_seconds: What they took, without the first few.
        evaluation_seconds: What the last evaluation took; 0 while it is not known.
        rollbacks: Times that the run went back after a loss that was no number; each halved the rate.
        loss_sum: Training loss summed over this epoch's targets, in nats.
        num_targets: Targets of this epoch so far.
        num_characters: Characters that they stand for.
        training_seconds: Time spent in updates this epoch.
        gradient_norm_sum: Gradient norms before clipping, summed over this epoch's updates.
        largest_gradient_norm: The largest of them.
        clipped_updates: Updates of this epoch whose gradients were scaled down.
        updates: Updates of this epoch so far.
        learning_rate: The rate of the last update.
        best_loss: Lowest held-out loss so far, in nats a token.
        history: The records so far.
        curve: What a few updates at a time came to.
        stop_reason: Why the run ended, or None: ``"finished"``, ``"interrupted"``, or what a callback gave.
    """

    step: int = 0
    window: int = 0
    steps_per_epoch: int = 0
    planned_steps: int | None = None
    seconds: float = 0.0
    timed_updates: int = 0
    timed_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    rollbacks: int = 0
    loss_sum: float = 0.0
    num_targets: int = 0
    num_characters: int = 0
    training_seconds: float = 0.0
    gradient_norm_sum: float = 0.0
    largest_gradient_norm: float = 0.0
    clipped_updates: int = 0
    updates: int = 0
    learning_rate: float = 0.0
    best_loss: float = math.inf
    history: History = field(default_factory=History)
    curve: LearningCurve = field(default_factory=LearningCurve)
    stop_reason: str | None = None

    @classmethod
    def names(cls) -> list[str]:
        """The names of all fields."""
        return [field.name for field in fields(cls)]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainerState":
        """Builds the state from plain values by name; what is missing is as at the start of a run.

        Raises:
            DataError: A name is not known, or a value is of a wrong type or out of range.
        """
        values = dict(values)
        if values.get("best_loss") is None:  # JSON has no infinity
            values["best_loss"] = math.inf
        kinds = get_type_hints(cls)
        for name, value in values.items():
            kind = kinds.get(name)
            if kind in (History, LearningCurve):
                check = _is_record if kind is History else _is_curve_record
                fits = isinstance(value, list) and all(map(check, value))
                values[name] = kind(value) if fits else None
            else:
                number = kind is float and isinstance(value, int)
                fits = kind is not None and (number or isinstance(value, kind)) and not isinstance(value, bool)
                fits = fits and not (isinstance(value, (int, float)) and value < 0)
            if not fits:
                raise DataError(f"{name}={value!r:.80} is no value of a run's state")
        return cls(**values)

    @property
    def best_record(self) -> dict[str, Any]:
        """The record with the lowest held-out loss; without held-out text the last one; empty while there is none."""
        measured = [record for record in self.history if "valid_loss" in record]
        return min(measured or self.history[-1:], key=lambda record: record.get("valid_loss", 0.0), default={})

    @property
    def best_step(self) -> int | None:
        """The update after which the held-out loss was lowest; None while there is none."""
        return self.best_step_until(math.inf)

    def best_step_until(self, step: float) -> int | None:
        """The update, up to one, after which the held-out loss was lowest so far; None where there is none."""
        measured = [record for record in self.history if "valid_loss" in record and record["step"] <= step]
        best = min(measured, key=lambda record: record["valid_loss"], default=None)
        return None if best is None else best["step"]

    @property
    def epoch(self) -> float:
        """Epochs trained, with the begun part of the current one."""
        return self.step / max(self.steps_per_epoch, 1)

    def request_stop(self, reason: str) -> None:
        """Ends the run after the current update or evaluation."""
        self.stop_reason = self.stop_reason or reason

    def advance(self) -> None:
        """Goes on to the next window; `count_update` tells later what came of this one."""
        self.step += 1
        self.window += 1
        self.updates += 1

    def count_update(
        self,
        *,
        step: int,
        learning_rate: float,
        loss_sum: float,
        num_targets: int,
        num_characters: int,
        gradient_norm: float,
        clipped: bool,
        seconds: float,
    ) -> None:
        """Adds one update to the epoch's sums and to the curve."""
        self.loss_sum += loss_sum
        self.num_targets += num_targets
        self.num_characters += num_characters
        self.gradient_norm_sum += gradient_norm
        self.largest_gradient_norm = max(self.largest_gradient_norm, gradient_norm)
        self.clipped_updates += clipped
        self.training_seconds += seconds
        self.curve.add(
            {
                "step": step,
                "updates": 1,
                "clipped_updates": int(clipped),
                "num_targets": num_targets,
                "num_characters": num_characters,
                "loss_sum": loss_sum,
                "gradient_norm_sum": gradient_norm,
                "gradient_norm_max": gradient_norm,
                "learning_rate": learning_rate,
                "seconds": seconds,
            }
        )

    def begin_epoch(self) -> None:
        """Sets the epoch's sums and position back."""
        self.window = self.num_targets = self.num_characters = self.updates = self.clipped_updates = 0
        self.loss_sum = self.training_seconds = self.gradient_norm_sum = self.largest_gradient_norm = 0.0


def _is_record(value: object) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("step"), int):
        return False
    return isinstance(value.get("valid_loss", 0.0), (int, float))


def _is_curve_record(value: object) -> bool:
    needed = ("step", "learning_rate", "gradient_norm_max", *_SUMS)
    return isinstance(value, dict) and all(isinstance(value.get(name), (int, float)) for name in needed)
