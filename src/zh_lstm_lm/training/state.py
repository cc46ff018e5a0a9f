"""The state of a training run as plain values, and the records and the summary that are made of it."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.errors import DataError
from zh_lstm_lm.evaluation.result import EvaluationResult
from zh_lstm_lm.training.history import History, LearningCurve, is_curve_record, is_record

__all__ = ["TrainerState", "make_record", "make_summary"]


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
                check = is_record if kind is History else is_curve_record
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


def make_record(state: TrainerState, *, spells: bool, valid: EvaluationResult | None, seconds: float) -> dict[str, Any]:
    """The record of an evaluation, from the epoch's sums.

    Args:
        state: Where the run stands.
        spells: Whether the vocabulary spells what it does not know, so that characters can be counted.
        valid: What was measured on the held-out text; None without.
        seconds: Time since the start of the run.
    """
    train = EvaluationResult(-state.loss_sum, state.num_targets, state.num_characters if spells else None)
    return {
        "epoch": round(state.epoch, 4),
        "step": state.step,
        "learning_rate": state.learning_rate,
        "gradient_norm": state.gradient_norm_sum / state.updates,
        "largest_gradient_norm": state.largest_gradient_norm,
        "clipped_share": state.clipped_updates / state.updates,
        **_figures("train", train),
        **(_figures("valid", valid) if valid is not None else {}),
        "tokens_per_second": round(state.num_targets / max(state.training_seconds, 1e-9), 1),
        "seconds": round(seconds, 3),
    }


def make_summary(state: TrainerState, train: TokenStream) -> dict[str, Any]:
    """What a reader of the saved model wants to know of its training."""
    best = state.best_record
    figures = {name: best[name] for name in best if name.endswith(("perplexity", "bits_per_character"))}
    return {
        "documents": train.num_documents,
        "characters": train.num_characters,
        "clean": train.clean,
        "epochs": round(state.epoch, 4),
        "best_epoch": best.get("epoch"),
        "best_step": state.best_step,
        **{name: value and round(value, 4) for name, value in figures.items()},
    }


def _figures(part: str, result: EvaluationResult) -> dict[str, Any]:
    """The figures of a record; JSON has no infinity, so a perplexity beyond all floats is None."""
    perplexity = result.perplexity if math.isfinite(result.perplexity) else None
    return {
        f"{part}_loss": result.loss,
        f"{part}_perplexity": perplexity,
        f"{part}_bits_per_character": result.bits_per_character,
    }
