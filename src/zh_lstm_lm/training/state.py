"""The state of a training run as plain values, and the records and the summary made from it."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, get_type_hints

from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.errors import DataError
from zh_lstm_lm.evaluation.result import EvaluationResult
from zh_lstm_lm.training.history import History, LearningCurve, comparable, is_curve_record, is_number, is_record

__all__ = ["TrainerState", "UpdateMetrics", "make_record", "make_summary"]

# The largest numbers in a saved state: integers that are exact as floats, and sums that cannot overflow.
_LARGEST_INT, _LARGEST = 1 << 53, 1e100


class UpdateMetrics(NamedTuple):
    """The metrics of one update: the mean loss of its targets in nats, and the gradient's norm before clipping."""

    step: int
    learning_rate: float
    loss: float
    gradient_norm: float
    num_targets: int
    num_characters: int
    clipped: bool = False
    seconds: float = 0.0


@dataclass
class TrainerState:
    """The state of a run; callbacks read it and may ask the run to stop.

    Attributes:
        step: Number of updates made.
        window: Number of BPTT segments of the current epoch already trained on.
        steps_per_epoch: Number of BPTT segments in an epoch.
        planned_steps: Number of updates after which the run ends. Under a time budget it is an estimate that changes
            as the run goes, and None at its start.
        progress: The used part of the budget, from 0 to 1; the learning rate follows it, and the run ends at 1.
        seconds: Time spent in `fit`, over all resumes.
        timed_updates: Number of recent updates in `timed_seconds`, under a time budget.
        timed_seconds: Time that they took.
        last_update_seconds: Time of the last update, under a time budget.
        evaluation_seconds: Expected time of the next evaluation and its checkpoint; 0 if unknown.
        rollbacks: Rollbacks after a non-finite loss; each halved the learning rate.
        loss_sum: Sum of the losses of this epoch's targets so far, in nats.
        num_targets: Number of targets of this epoch so far.
        num_characters: Number of characters that they stand for.
        training_seconds: Time spent in updates this epoch.
        gradient_norm_sum: Sum of the gradient norms of this epoch before clipping.
        largest_gradient_norm: The largest of them.
        clipped_updates: Number of updates of this epoch whose gradients were scaled down.
        updates: Number of updates of this epoch so far.
        learning_rate: Learning rate of the last update; in `Callback.on_step_begin` that of the coming one, which may be
            changed.
        best_loss: Lowest validation loss so far, in nats per token.
        history: The records of the evaluations so far.
        curve: The learning curve so far.
        stop_reason: The reason why the run ended, or None: ``"finished"``, ``"interrupted"``, or what a callback gave.
    """

    step: int = 0
    window: int = 0
    steps_per_epoch: int = 0
    planned_steps: int | None = None
    progress: float = 0.0
    seconds: float = 0.0
    timed_updates: float = 0.0
    timed_seconds: float = 0.0
    last_update_seconds: float = 0.0
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
        """Returns the names of all fields."""
        return [field.name for field in fields(cls)]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainerState":
        """Builds the state from plain values by name; missing ones are those of the start of a run.

        Raises:
            DataError: A name is unknown, or a value has a wrong type or is out of range.
        """
        values = dict(values)
        # JSON has no infinity.
        if values.get("best_loss") is None:
            values["best_loss"] = math.inf
        kinds = get_type_hints(cls)
        for name, value in values.items():
            kind = kinds.get(name)
            if kind in (History, LearningCurve):
                check = is_record if kind is History else is_curve_record
                fits = isinstance(value, list) and all(map(check, value))
                values[name] = kind(value) if fits else None
            else:
                fits = kind is not None and isinstance(value, (int, float) if kind is float else kind)
                if fits and isinstance(value, (int, float)):
                    endless = name == "best_loss" and value == math.inf
                    fits = endless or (
                        is_number(value, least=0) and value <= (_LARGEST if kind is float else _LARGEST_INT)
                    )
            if not fits:
                raise DataError(f"{name}={value!r:.80} is no value of a run's state")
        state = cls(**values)
        # Progress was not saved at first.
        if "progress" not in values and state.planned_steps:
            state.progress = min(1.0, state.step / state.planned_steps)
        return state

    @property
    def best_record(self) -> dict[str, Any]:
        """The record with the lowest validation loss; without a validation set the last one; empty if there is none."""
        measured = comparable(self.history)
        return min(measured or self.history[-1:], key=lambda record: record.get("valid_loss", 0.0), default={})

    @property
    def best_step(self) -> int | None:
        """The update after which the validation loss was lowest; None if there is none."""
        return self.best_step_until(math.inf)

    def best_step_until(self, step: float) -> int | None:
        """Returns the update, up to `step`, after which the validation loss was lowest; None if there is none."""
        measured = comparable(record for record in self.history if record["step"] <= step)
        best = min(measured, key=lambda record: record["valid_loss"], default=None)
        return None if best is None else best["step"]

    @property
    def last_evaluated_step(self) -> int:
        """The update after which the last evaluation was made; 0 if there was none."""
        return self.history[-1]["step"] if self.history else 0

    @property
    def epoch(self) -> float:
        """Number of epochs trained, with the begun part of the current one."""
        return self.step / max(self.steps_per_epoch, 1)

    @property
    def inside_epoch(self) -> bool:
        """True before the end of an epoch and of the run."""
        return 0 < self.window < self.steps_per_epoch and self.progress < 1.0 and self.stop_reason is None

    @property
    def update_seconds(self) -> float:
        """Mean time of recent updates, under a time budget; 0 if unknown."""
        return self.timed_seconds / self.timed_updates if self.timed_updates else 0.0

    def request_stop(self, reason: str) -> None:
        """Ends the run after the current update or evaluation."""
        self.stop_reason = self.stop_reason or reason

    def advance(self) -> None:
        """Moves on to the next BPTT segment; `count_update` adds the metrics of this one later."""
        self.step += 1
        self.window += 1
        self.updates += 1

    def count_update(self, metrics: UpdateMetrics) -> None:
        """Adds the metrics of one update to the epoch's sums and to the curve."""
        loss_sum = metrics.loss * metrics.num_targets
        self.loss_sum += loss_sum
        self.num_targets += metrics.num_targets
        self.num_characters += metrics.num_characters
        self.gradient_norm_sum += metrics.gradient_norm
        self.largest_gradient_norm = max(self.largest_gradient_norm, metrics.gradient_norm)
        self.clipped_updates += metrics.clipped
        self.training_seconds += metrics.seconds
        self.curve.add(
            {
                "step": metrics.step,
                "updates": 1,
                "clipped_updates": int(metrics.clipped),
                "num_targets": metrics.num_targets,
                "num_characters": metrics.num_characters,
                "loss_sum": loss_sum,
                "gradient_norm_sum": metrics.gradient_norm,
                "gradient_norm_max": metrics.gradient_norm,
                "learning_rate": metrics.learning_rate,
                "seconds": metrics.seconds,
            }
        )

    def begin_epoch(self) -> None:
        """Resets the epoch's sums and position."""
        self.window = self.num_targets = self.num_characters = self.updates = self.clipped_updates = 0
        self.loss_sum = self.training_seconds = self.gradient_norm_sum = self.largest_gradient_norm = 0.0


def make_record(state: TrainerState, *, open_vocabulary: bool, valid: EvaluationResult | None) -> dict[str, Any]:
    """Makes the record of an evaluation from the epoch's sums; characters are counted in an open vocabulary."""
    train = EvaluationResult(-state.loss_sum, state.num_targets, state.num_characters if open_vocabulary else None)
    return {
        "epoch": round(state.epoch, 4),
        "step": state.step,
        "learning_rate": state.learning_rate,
        "gradient_norm": state.gradient_norm_sum / state.updates,
        "largest_gradient_norm": state.largest_gradient_norm,
        "clipped_share": state.clipped_updates / state.updates,
        **_metrics("train", train),
        **({**_metrics("valid", valid), "valid_tokens": valid.num_tokens} if valid is not None else {}),
        "tokens_per_second": round(state.num_targets / max(state.training_seconds, 1e-9), 1),
        "seconds": round(state.seconds, 3),
    }


def make_summary(state: TrainerState, train: TokenStream) -> dict[str, Any]:
    """Summarises the training for readers of the saved model."""
    best = state.best_record
    metrics = {name: best[name] for name in best if name.endswith(("perplexity", "bits_per_character"))}
    return {
        "documents": train.num_documents,
        "characters": train.num_characters,
        "clean": train.clean,
        "epochs": round(state.epoch, 4),
        "best_epoch": best.get("epoch"),
        "best_step": state.best_step,
        **{name: value and round(value, 4) for name, value in metrics.items()},
    }


def _metrics(part: str, result: EvaluationResult) -> dict[str, Any]:
    """Returns the metrics of a record; JSON has no infinity, so a perplexity beyond all floats is None."""
    perplexity = result.perplexity if math.isfinite(result.perplexity) else None
    return {
        f"{part}_loss": result.loss,
        f"{part}_perplexity": perplexity,
        f"{part}_bits_per_character": result.bits_per_character,
    }
