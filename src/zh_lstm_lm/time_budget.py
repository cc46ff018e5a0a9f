"""A time budget as a number of updates, so that the learning rate can be a function of the step."""

from collections.abc import Callable

import torch

from zh_lstm_lm.corpus.batches import Batch
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.training.state import TrainerState

__all__ = ["TimeBudget", "estimate_evaluation"]

_MEASURED_STEPS, _MEASURED_SHARE = 20, 0.02  # of the time: what a machine does in a few seconds is chance


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
            float(model.target_log_probs(inputs, targets)[0].sum())
            seconds = clock() - began
    return 1.3 * seconds * num_ids / inputs.numel()  # the last segments leave rows empty
