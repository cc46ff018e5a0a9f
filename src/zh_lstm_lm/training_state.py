"""Where a training run stands, and the records of where it was: plain values, and JSON."""

import json
import math
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.storage import atomic_write

__all__ = ["History", "LearningCurve", "TrainerState"]

_MAX_RECORDS = 512  # even, so that each has another to join
_SUMS = ("updates", "clipped_updates", "num_targets", "num_characters", "loss_sum", "gradient_norm_sum", "seconds")


class History(list[dict[str, Any]]):
    """A record of plain values for every evaluation, in order; JSON lines on disk.

    Losses are in nats a token, ``train_perplexity`` and ``valid_perplexity`` are per token, ``…bits_per_character``
    say their unit, ``seconds`` counts from the start of the run and ``tokens_per_second`` is of training alone. Gradient norms are those
    before clipping, ``clipped_share`` is that of the updates whose gradients were scaled down.
    """

    def save(self, path: str | PathLike[str]) -> None:
        """Writes one JSON object a line."""
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in self)
        atomic_write(Path(path), "".join(lines).encode("utf-8"))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "History":
        """Reads what `save` wrote.

        Raises:
            DataError: There is no such file, or it holds something else.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").split("\n")
            records = [json.loads(line) for line in lines if line]
            if not all(isinstance(record, dict) for record in records):
                raise ValueError("a line is not an object")
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path}: not a history of training ({error}); give a run's history.jsonl") from error
        return cls(records)


class LearningCurve(History):
    """Records of a few updates each, over the whole run; where there are more than 512, each two become one.

    A record holds sums, so that joining two loses nothing but resolution: ``step`` after its last update, its number of
    ``updates`` and ``clipped_updates``, ``num_targets`` and ``num_characters``, ``loss_sum`` in nats, ``gradient_norm_sum`` and
    ``gradient_norm_max`` before clipping, ``learning_rate`` of the last update, and ``seconds``.
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

    @property
    def epoch(self) -> float:
        """Epochs trained, with the begun part of the current one."""
        return self.step / max(self.steps_per_epoch, 1)

    def request_stop(self, reason: str) -> None:
        """Ends the run after the current update or evaluation."""
        self.stop_reason = self.stop_reason or reason

    def count_update(
        self,
        *,
        loss_sum: float,
        num_targets: int,
        num_characters: int,
        gradient_norm: float,
        clipped: bool,
        seconds: float,
    ) -> None:
        """Adds one update, whose rate is `learning_rate`, to the epoch's sums and to the curve."""
        self.step += 1
        self.window += 1
        self.updates += 1
        self.loss_sum += loss_sum
        self.num_targets += num_targets
        self.num_characters += num_characters
        self.gradient_norm_sum += gradient_norm
        self.largest_gradient_norm = max(self.largest_gradient_norm, gradient_norm)
        self.clipped_updates += clipped
        self.training_seconds += seconds
        self.curve.add(
            {
                "step": self.step,
                "updates": 1,
                "clipped_updates": int(clipped),
                "num_targets": num_targets,
                "num_characters": num_characters,
                "loss_sum": loss_sum,
                "gradient_norm_sum": gradient_norm,
                "gradient_norm_max": gradient_norm,
                "learning_rate": self.learning_rate,
                "seconds": seconds,
            }
        )

    def begin_epoch(self) -> None:
        """Sets the epoch's sums and position back."""
        self.window = self.num_targets = self.num_characters = self.updates = self.clipped_updates = 0
        self.loss_sum = self.training_seconds = self.gradient_norm_sum = self.largest_gradient_norm = 0.0
