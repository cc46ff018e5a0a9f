"""The learning rate as a function of the step, and a time budget as a number of updates."""

import math
from collections.abc import Callable

import torch

from zh_lstm_lm.corpus.batches import Batch
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.training.state import TrainerState

__all__ = ["TimeBudget", "default_learning_rate", "estimate_evaluation", "learning_rate_at"]

_RATE, _STEPS_AT_RATE = 5e-3, 3_000

_MEASURED_STEPS, _MEASURED_SHARE = 20, 0.02  # of the time: what a machine does in a few seconds is chance


def default_learning_rate(planned_steps: int | None) -> float:
    """The highest rate where none is given: 5e-3, and for runs of more than 3,000 updates less, by their cube root.

    Args:
        planned_steps: Updates of the whole run; None while they are not yet known.
    """
    return _RATE * min(1.0, (_STEPS_AT_RATE / planned_steps) ** (1 / 3)) if planned_steps else _RATE


def learning_rate_at(step: int, *, peak: float, schedule: str, warmup_steps: int, planned_steps: int | None) -> float:
    """The learning rate of an update.

    Args:
        step: Updates made before it.
        peak: The highest rate.
        schedule: ``"cosine"`` falls to a hundredth of it at the end, ``"constant"`` stays.
        warmup_steps: Updates over which the rate rises from zero.
        planned_steps: Updates of the whole run; None while they are not yet known.
    """
    rate = peak * min(1.0, (step + 1) / max(1, warmup_steps))
    if schedule == "constant" or planned_steps is None:
        return rate
    progress = min(1.0, step / max(1, planned_steps))
    return rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress)))


class TimeBudget:
    """How long a run may take, and how many updates that is; what was timed is part of the run's state.

    Args:
        minutes: Wall time of the whole run; None sets no bound.
        warming_steps: Updates that are not timed, since they are slower than the rest.
    """

    def __init__(self, minutes: float | None, *, warming_steps: int = 3) -> None:
        self._warming_steps = warming_steps
        self._seconds = None if minutes is None else 60 * minutes

    def spent(self, state: TrainerState, elapsed: float) -> bool:
        """Whether the time that has gone by leaves no more than the last evaluation needs."""
        return self._seconds is not None and elapsed + state.evaluation_seconds >= self._seconds

    def time_update(self, state: TrainerState, seconds: float) -> bool:
        """Counts one update with its callbacks; returns whether enough of them were timed to plan with."""
        if self._seconds is None:
            return False
        state.timed_seconds += seconds * (state.timed_updates >= self._warming_steps)
        state.timed_updates += 1
        enough = state.timed_updates >= self._warming_steps + _MEASURED_STEPS
        return enough and state.timed_seconds > _MEASURED_SHARE * self._seconds  # so a coarse clock is no harm

    def updates_left(self, state: TrainerState, elapsed: float) -> int:
        """The updates for which there is time, at least one, with an evaluation every epoch and at the end."""
        assert self._seconds is not None
        each = state.timed_seconds / (state.timed_updates - self._warming_steps)
        each += state.evaluation_seconds / state.steps_per_epoch
        return max(1, int(0.98 * (self._seconds - elapsed - state.evaluation_seconds) / each))


def estimate_evaluation(model: LSTMLanguageModel, window: Batch, num_ids: int, *, clock: Callable[[], float]) -> float:
    """About how many seconds an evaluation of `num_ids` ids will take, from that of one window."""
    inputs, targets = window.inputs.to(model.device), window.targets.to(model.device)
    with torch.inference_mode():
        for _ in range(3):  # the first ones are slower
            began = clock()
            float(model.target_log_probs(model.read(inputs)[0], targets.flatten()).sum())
            seconds = clock() - began
    return 1.3 * seconds * num_ids / inputs.numel()  # the last segments leave rows empty
