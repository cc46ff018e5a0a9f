"""A time budget as a number of updates, so that the learning rate can be a function of the step."""

from collections.abc import Callable

from zh_lstm_lm.batches import Batch
from zh_lstm_lm.evaluation import evaluation_mode
from zh_lstm_lm.model import LSTMLanguageModel

__all__ = ["TimeBudget", "estimate_evaluation"]

_WARMING_STEPS = 3  # updates that are slower than the rest
_MEASURED_STEPS = 20


class TimeBudget:
    """How long a run may take, and how many updates that is.

    Args:
        minutes: Wall time of the whole run; None sets no bound.

    Attributes:
        evaluation_seconds: What an evaluation takes; 0 while it is not known.
    """

    def __init__(self, minutes: float | None) -> None:
        self.evaluation_seconds = 0.0
        self._seconds = None if minutes is None else 60 * minutes
        self._updates = 0
        self._timed = 0.0  # seconds of the updates after the first few

    def spent(self, elapsed: float) -> bool:
        """Whether the time that has gone by leaves no more than the last evaluation needs."""
        return self._seconds is not None and elapsed + self.evaluation_seconds >= self._seconds

    def time_update(self, seconds: float) -> bool:
        """Counts one update with its callbacks; returns whether enough of them were timed to plan with."""
        if self._seconds is None:
            return False
        self._timed += seconds * (self._updates >= _WARMING_STEPS)
        self._updates += 1
        return self._updates >= _WARMING_STEPS + _MEASURED_STEPS and self._timed > 0  # or the clock is too coarse yet

    def updates_left(self, elapsed: float, *, steps_per_epoch: int) -> int:
        """The updates for which there is time, at least one, with an evaluation every epoch and at the end."""
        assert self._seconds is not None
        each = self._timed / (self._updates - _WARMING_STEPS) + self.evaluation_seconds / steps_per_epoch
        return max(1, int(0.98 * (self._seconds - elapsed - self.evaluation_seconds) / each))


def estimate_evaluation(model: LSTMLanguageModel, window: Batch, num_ids: int, *, clock: Callable[[], float]) -> float:
    """About how many seconds an evaluation of `num_ids` ids will take, from that of one window."""
    inputs, targets = window.inputs.to(model.device), window.targets.to(model.device)
    with evaluation_mode(model):
        for _ in range(3):  # the first ones are slower
            began = clock()
            float(model.target_log_probs(inputs, targets)[0].sum())
            seconds = clock() - began
    return 1.3 * seconds * num_ids / inputs.numel()  # the last segments leave rows empty
