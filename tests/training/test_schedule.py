from zh_lstm_lm import TrainerState
from zh_lstm_lm.training.schedule import TimeBudget


def timed(state: TrainerState, budget: TimeBudget, updates: int, seconds: float) -> list[bool]:
    return [budget.time_update(state, seconds) for _ in range(updates)]


def test_without_a_budget_nothing_is_timed_and_nothing_spent() -> None:
    state, budget = TrainerState(), TimeBudget(None)
    assert timed(state, budget, 100, 1.0) == [False] * 100
    assert not budget.spent(state, 1e9)
    assert state == TrainerState()


def test_updates_are_planned_from_twenty_after_the_first_three() -> None:
    state, budget = TrainerState(steps_per_epoch=10), TimeBudget(1.0)
    assert timed(state, budget, 3, 100.0) == [False] * 3  # slow ones, which do not count
    assert timed(state, budget, 20, 1.0) == [False] * 19 + [True]
    assert budget.updates_left(state, 23.0) == int(0.98 * 37)
    state.evaluation_seconds = 5.0  # half a second an update, and one at the end
    assert budget.updates_left(state, 23.0) == int(0.98 * 32 / 1.5)
    assert budget.updates_left(state, 59.9) == 1


def test_time_is_spent_when_only_the_last_evaluation_is_left() -> None:
    state, budget = TrainerState(evaluation_seconds=5.0), TimeBudget(1.0)
    assert not budget.spent(state, 54.9)
    assert budget.spent(state, 55.0)


def test_a_fiftieth_of_the_time_is_looked_at_before_it_is_planned() -> None:
    state, budget = TrainerState(steps_per_epoch=10), TimeBudget(100.0)
    assert timed(state, budget, 3, 100.0) == [False] * 3
    assert timed(state, budget, 241, 0.5) == [False] * 240 + [True]


def test_clock_that_is_too_coarse_plans_nothing() -> None:
    state, budget = TrainerState(steps_per_epoch=10), TimeBudget(1.0)
    assert timed(state, budget, 50, 0.0) == [False] * 50
    assert timed(state, budget, 1, 2.0) == [True]


def test_what_was_timed_is_part_of_the_run() -> None:
    """Otherwise a run that is resumed before it was planned would be planned anew, and be another one."""
    whole, first = TrainerState(steps_per_epoch=10), TrainerState(steps_per_epoch=10)
    for state in (whole, first):
        timed(state, TimeBudget(1.0), 12, 0.5)
    again = TrainerState.from_dict({"timed_updates": first.timed_updates, "timed_seconds": first.timed_seconds})
    assert timed(again, TimeBudget(1.0), 11, 0.5) == timed(whole, TimeBudget(1.0), 11, 0.5) == [False] * 10 + [True]
