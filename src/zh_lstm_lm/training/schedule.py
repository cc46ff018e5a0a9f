"""The learning-rate schedule, and the progress of a run through its time budget."""

import logging
import math
import time
from collections.abc import Callable
from typing import TypeAlias

import torch

from zh_lstm_lm._config import check_number, shown
from zh_lstm_lm.corpus.batches import Batch
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.runtime.control_characters import get_logger
from zh_lstm_lm.training.state import TrainerState

__all__ = [
    "RunClock", "Schedule", "StepBudget", "TimeBudget", "check_schedule", "default_learning_rate", "describe_schedule",
    "estimate_evaluation", "evaluation_is_due", "factor_at", "learning_rate_at", "make_budget", "warn_if_short",
]  # fmt: skip

logger: logging.Logger = get_logger(__name__)

Schedule: TypeAlias = Callable[[int, int], float]
"""Takes the number of updates made and that of the run; returns the factor of the peak learning rate."""

# Until a time budget tells the number of updates.
_UNPLANNED_STEPS = 1_000_000
# Where a schedule is compared with that of a resumed run, of a run of so many updates.
_COMPARED_STEPS, _COMPARED_AT = 1_000, (0, 1, 10, 50, 100, 250, 500, 750, 999)
# A run of few updates, or one that ends a little before its time, ends with the lowest rate as well.
_END_OF_FALL = 0.95
# The average of the weights takes out the noise of high rates, so the rate falls slowly until there.
_BEND, _AT_BEND, _LOWEST = 0.85, 0.5, 0.01
_RATE, _STEPS_AT_RATE = 5e-3, 3_000

# The first updates of a run are slower than the rest and are not timed; those after an evaluation tell of its speed.
_WARMING_STEPS = 3
# Updates that the mean time of an update is taken over, and those needed to plan with it.
_RECENT, _FEWEST = 50, 20
# The part of the budget that a run aims at, as an update or evaluation may take longer than the one before it.
_AIM = 0.99
# Two updates in a row that are slower than the mean by this factor show that the machine has slowed down.
_SLOWDOWN = 2.0
# A single update counts at most so many times the mean, or so many seconds, towards the mean.
_OUTLIER, _OUTLIER_SECONDS = 4.0, 0.1
# A pause lasts at least so many times as long as what it interrupted, and so many seconds.
_PAUSE, _PAUSE_SECONDS = 20.0, 5.0
# Default number of evaluations in a run, and the least number of updates between two of them.
_EVALUATIONS, _LEAST_BETWEEN = 10, 100
# The rate falls at most so many times as fast as planned when the rest of the time has suddenly gone.
_FASTEST = 50.0


def default_learning_rate(planned_steps: int | None) -> float:
    """Returns the default peak learning rate: 5e-3, for runs of more than 3,000 updates less by their cube root."""
    return _RATE * min(1.0, (_STEPS_AT_RATE / planned_steps) ** (1 / 3)) if planned_steps else _RATE


def learning_rate_at(step: int, *, peak: float, schedule: str, warmup_steps: int, progress: float) -> float:
    """Returns the learning rate of an update, after so many steps and that part of the budget, from 0 to 1.

    ``"linear"`` falls to half of the peak at 85 % of the budget and from there to a hundredth at 95 %, each in a straight
    line; ``"cosine"`` falls to a hundredth at the end, and ``"constant"`` stays. Before, the rate rises from zero over the
    steps of the warm-up.
    """
    rate = peak * min(1.0, (step + 1) / max(1, warmup_steps))
    if schedule == "constant":
        return rate
    if schedule == "cosine":
        return rate * (_LOWEST + (1.0 - _LOWEST) * 0.5 * (1.0 + math.cos(math.pi * progress)))
    if progress < _BEND:
        return rate * (1.0 - (1.0 - _AT_BEND) * progress / _BEND)
    left = (_END_OF_FALL - progress) / (_END_OF_FALL - _BEND)
    return rate * (_LOWEST + (_AT_BEND - _LOWEST) * max(0.0, left))


def check_schedule(schedule: object) -> None:
    """Raises ConfigError for what is not a schedule function."""
    if schedule is not None and not callable(schedule):
        raise ConfigError(
            "schedule must be a function, such as lambda step, num_steps: 1 - step / num_steps; the names are options of "
            f"TrainerConfig; got {shown(schedule)}"
        )


def factor_at(schedule: Schedule, step: int, num_steps: int | None) -> float:
    """Returns the factor of a custom schedule, which must be a finite number of at least 0."""
    factor = schedule(step, num_steps or _UNPLANNED_STEPS)
    check_number(f"schedule({step}, {num_steps or _UNPLANNED_STEPS})", factor)
    return factor


def describe_schedule(schedule: Schedule) -> dict[str, list[float | None]]:
    """Returns a custom schedule as some of its values; None where it has none."""
    values: list[float | None] = []
    for step in _COMPARED_AT:
        try:
            values.append(factor_at(schedule, step, _COMPARED_STEPS))
        # It may be a table of as many steps as the run has.
        except Exception:
            values.append(None)
    return {"function": values}


def evaluation_is_due(state: TrainerState, eval_steps: int | None, *, cost: float) -> bool:
    """Decides on an evaluation: at the end of an epoch, by default about ten in a run, none shortly before the next one.

    `cost` is the number of ids that an evaluation reads, in updates. By default at least as many are made in between.
    """
    if state.window == state.steps_per_epoch:
        return True
    if eval_steps is not None:
        return state.step % eval_steps == 0
    if state.planned_steps is None:
        return False
    between = max(_LEAST_BETWEEN, state.planned_steps / _EVALUATIONS, cost)
    left = min(state.steps_per_epoch - state.window, state.planned_steps - state.step)
    return state.step - state.last_evaluated_step >= between and left >= between / 2


def make_budget(
    *, max_minutes: float | None, max_steps: int | None, eval_steps: int | None
) -> "StepBudget | TimeBudget":
    """Returns the budget of a run; at least one of the two bounds is given."""
    if max_minutes is not None:
        return TimeBudget(max_minutes, max_steps, eval_steps)
    assert max_steps is not None
    return StepBudget(max_steps)


def warn_if_short(state: TrainerState, max_minutes: float | None) -> None:
    """Warns of a time budget that was used up before the run could be planned."""
    if state.stop_reason == "finished" and not state.planned_steps:
        logger.warning(
            "max_minutes=%g was over after %d updates, too few to learn anything; give more", max_minutes, state.step
        )


class RunClock:
    """A stopwatch for the time spent in `fit`; it never runs backwards, even if the system's clock does."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds: float = seconds
        self._last = time.monotonic()

    def __call__(self) -> float:
        """Returns the seconds that have passed."""
        now = time.monotonic()
        self.seconds += _rounded(max(0.0, now - self._last))
        self._last = now
        return self.seconds


def _rounded(seconds: float) -> float:
    """Rounds to a binary fraction, about a microsecond, so that sums of times do not depend on where they start."""
    return round(seconds * 2**20) / 2**20


class StepBudget:
    """The progress of a run through a number of updates."""

    def __init__(self, max_steps: int) -> None:
        self._max_steps = max_steps

    def used(self, state: TrainerState) -> float:
        """Returns the used part of the budget, from 0 to 1."""
        return min(1.0, state.step / self._max_steps)

    def count_update(self, state: TrainerState, seconds: float) -> None:
        """Moves the progress on after an update, however long it took."""
        state.progress = self.used(state)

    def pause(self, state: TrainerState, seconds: float, *, expected: float) -> float:
        """Returns 0: time does not matter."""
        return 0.0

    def affords_evaluation(self, state: TrainerState) -> bool:
        """Returns True: time does not matter."""
        return True


class TimeBudget:
    """The progress of a run through a time budget, and a number of updates if there is one, planned again after each.

    Progress moves from where it is to 1 in equal steps over the updates for which there is time, so the learning rate
    always reaches the end of its schedule, however the speed of the machine changes. All that it depends on is part of
    the run's state, so a resumed run follows the same plan.
    """

    def __init__(self, minutes: float, max_steps: int | None, eval_steps: int | None = None) -> None:
        self._seconds = 60 * minutes
        self._max_steps, self._eval_steps = max_steps, eval_steps
        self._paused_step = -_RECENT

    def used(self, state: TrainerState) -> float:
        """Returns the used part of the budget, from 0 to 1, for a run whose budget was another one before."""
        return min(1.0, state.seconds / self._seconds)

    def count_update(self, state: TrainerState, seconds: float) -> None:
        """Takes in the time of one update with its callbacks, and plans the rest of the run."""
        if state.step > _WARMING_STEPS:
            _add_time(state, seconds)
        left = self._updates_left(state)
        if left is None:
            return
        state.progress = 1.0 if left < 0.5 else state.progress + (1.0 - state.progress) / (left + 1)
        if state.timed_updates >= _FEWEST or state.planned_steps is not None:
            state.planned_steps = state.step + round(left)

    def pause(self, state: TrainerState, seconds: float, *, expected: float) -> float:
        """Returns how much of a span of time was a pause that does not count; the expected span may be infinite.

        A pause, such as that of a laptop that slept, counts as long as the time left is enough to end the run as
        planned. One that would take all of it does not, unless it follows another one closely: then the machine is
        slow.
        """
        long = seconds > max(_PAUSE * expected, _PAUSE_SECONDS)
        needed = self._seconds * (1.0 - state.progress) / _FASTEST
        if not long or self._remaining(state) > needed or state.step - self._paused_step < _RECENT:
            return 0.0
        self._paused_step = state.step
        return seconds - expected

    def affords_evaluation(self, state: TrainerState) -> bool:
        """Returns True if there is time for an evaluation now besides the last one."""
        return self._remaining(state) >= state.evaluation_seconds

    def _remaining(self, state: TrainerState) -> float:
        """Returns the seconds left for updates, and for evaluations before the last one."""
        return _AIM * self._seconds - state.evaluation_seconds - state.seconds

    def _updates_left(self, state: TrainerState) -> float | None:
        """Returns the number of updates for which there is time; None if it cannot be told."""
        remaining, mean = self._remaining(state), state.update_seconds
        left = 0.0 if remaining <= 0 else math.inf
        if mean > 0 and remaining > 0:
            # Evaluations take time as well: there is one after each round of so many updates.
            size, made = state.steps_per_epoch, state.window
            if self._eval_steps is not None and self._eval_steps < size:
                size, made = self._eval_steps, (state.step - 1) % self._eval_steps + 1
            rounds, rest = divmod(remaining + made * mean, size * mean + state.evaluation_seconds)
            left = rounds * size + rest / mean - made
        if state.planned_steps is not None and state.progress < _END_OF_FALL:
            left = max(left, 1.0, (1.0 - state.progress) * state.planned_steps / _FASTEST)
        if self._max_steps is not None:
            left = min(left, self._max_steps - state.step)
        return left if left < math.inf else None


def _add_time(state: TrainerState, seconds: float) -> None:
    """Adds the time of an update to the running mean, and scales the expected time of an evaluation with it."""
    before = state.update_seconds
    slowest = min(seconds, state.last_update_seconds)
    state.last_update_seconds = seconds
    if before > 0 and slowest > _SLOWDOWN * before:
        state.timed_updates, state.timed_seconds = 1.0, slowest
    else:
        if before > 0:
            seconds = min(seconds, max(_OUTLIER * before, _OUTLIER_SECONDS))
        kept = min(1.0, (_RECENT - 1) / max(state.timed_updates, 1.0))
        state.timed_updates = kept * state.timed_updates + 1.0
        state.timed_seconds = kept * state.timed_seconds + seconds
    # An evaluation just before was as slow as this update already.
    if before > 0 and state.step - state.last_evaluated_step > _WARMING_STEPS:
        state.evaluation_seconds *= state.update_seconds / before


def estimate_evaluation(model: LSTMLanguageModel, window: Batch, num_ids: int) -> float:
    """Estimates the seconds that an evaluation of `num_ids` ids takes from the time of one training window."""
    inputs, targets = window.inputs.to(model.device), window.targets.to(model.device)
    with torch.inference_mode():
        # The first ones are slower.
        for _ in range(3):
            began = time.monotonic()
            float(model.target_log_probs(model.read(inputs)[0], targets.flatten()).sum())
            seconds = time.monotonic() - began
    # The last segments leave rows of a batch empty.
    return 1.3 * _rounded(max(0.0, seconds)) * num_ids / inputs.numel()
