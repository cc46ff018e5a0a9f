"""A time budget is kept, and the schedule reaches its end, whatever the machine does meanwhile."""

import importlib.util
import math
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from zh_lstm_lm import TrainerState
from zh_lstm_lm.training.schedule import TimeBudget, evaluation_is_due, learning_rate_at

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "time_budget.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script with the random loads, and with real runs under them."""
    if not SCRIPT.is_file():
        pytest.skip("the script is not here")
    spec = importlib.util.spec_from_file_location("time_budget", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class End(NamedTuple):
    """What came of a simulated run, in parts of the budget and of the highest rate.

    The time is that without a pause that could not be made up for.
    """

    used: float
    last_rate: float
    evaluations: int
    steps: int


def simulate(budget_minutes: float, load: Any, chance: random.Random) -> End:
    """The loop of a trainer with a clock of its own: updates, about ten evaluations, and the last one."""
    budget = 60 * budget_minutes
    update = budget / chance.randint(1_000, 4_000)
    evaluation = update * chance.uniform(1, 5)
    state, plan = TrainerState(steps_per_epoch=10**9), TimeBudget(budget_minutes, None)
    state.seconds = chance.uniform(0, 0.02) * budget
    paused = rate = 0.0
    evaluations = 0

    def take(seconds: float) -> float:
        taken: float = seconds * load.factor(state.seconds) * math.exp(chance.gauss(0, load.noise))
        state.seconds += taken
        return taken

    while state.progress < 1.0:
        rate = learning_rate_at(state.step, peak=1.0, schedule="linear", warmup_steps=50, progress=state.progress)
        seconds = take(update * load.lengths[state.step % len(load.lengths)])
        state.step += 1
        if not paused and state.seconds > load.jump[0]:
            # A clock that goes back does not move.
            paused = max(1e-9, load.jump[1])
            state.seconds += paused
            seconds += paused
        skipped = plan.pause(state, seconds, expected=state.update_seconds)
        state.seconds -= skipped
        plan.count_update(state, seconds - skipped)
        if state.timed_updates and not state.evaluation_seconds:
            state.evaluation_seconds = evaluation
        if evaluation_is_due(state, None, cost=1.0) or state.progress >= 1.0:
            state.evaluation_seconds = take(
                evaluation * (load.evaluation if evaluations else load.evaluation * load.first_evaluation)
            )
            state.history.append({"step": state.step})
            evaluations += 1
    return End(state.seconds / budget, rate, evaluations, state.step)


def test_a_time_budget_is_kept_under_any_load(script: ModuleType) -> None:
    """Hundreds of runs, of half a minute to an hour."""
    assert len(script.LOADS) == 13
    for kind in script.LOADS:
        for number in range(20):
            chance = random.Random(f"{kind} {number}")
            minutes = 0.5 * 120 ** chance.random()
            end = simulate(minutes, script.make_load(kind, 60 * minutes, chance), chance)
            assert 0.97 <= end.used <= 1.02, (kind, number, minutes, end)
            assert end.last_rate < 0.02, (kind, number, minutes, end)
            assert 4 <= end.evaluations <= 16, (kind, number, minutes, end)


@pytest.mark.usefixtures("one_thread")
def test_a_trainer_keeps_its_time_budget_under_any_load_and_in_any_run(script: ModuleType) -> None:
    assert len(script.KINDS) == 21
    for number, kind in enumerate(script.KINDS):
        end = script.run(kind, number)
        assert 0.97 <= end.used <= 1.02, (kind, end)
        assert end.rate < 0.03, (kind, end)


def test_the_rate_follows_the_time_that_is_used() -> None:
    state, plan = TrainerState(steps_per_epoch=10), TimeBudget(10.0, None)
    while state.seconds < 300:
        state.step += 1
        state.seconds += 1.0
        plan.count_update(state, 1.0)
    assert state.progress == pytest.approx(0.5, abs=0.02)
    while state.seconds < 400:
        state.step += 1
        state.seconds += 4.0
        plan.count_update(state, 4.0)
    assert state.progress == pytest.approx(2 / 3, abs=0.03)
    assert state.planned_steps == pytest.approx(300 + 300 / 4, abs=5)


def test_the_first_budget_ends_the_run() -> None:
    state, plan = TrainerState(steps_per_epoch=10), TimeBudget(1e6, 30)
    progress = []
    for step in range(1, 31):
        state.step, state.seconds = step, float(step)
        plan.count_update(state, 1.0)
        progress.append(state.progress)
    assert progress[-2] < 1.0
    assert progress[-1] == 1.0
    assert state.planned_steps == 30


def test_a_clock_that_is_too_coarse_ends_nothing() -> None:
    """Some systems' clocks move every 16 milliseconds only."""
    state, plan = TrainerState(steps_per_epoch=10), TimeBudget(0.1, None)
    time = 0.0
    while state.progress < 1.0:
        state.step += 1
        time += 0.002
        before, state.seconds = state.seconds, 0.016 * (time // 0.016)
        plan.count_update(state, state.seconds - before)
    assert time == pytest.approx(6.0, rel=0.03)


def test_what_was_timed_is_part_of_the_run() -> None:
    """Otherwise a resumed run would follow another plan, and be another run."""
    whole, resumed = TrainerState(steps_per_epoch=10), TrainerState(steps_per_epoch=10)
    chance = random.Random(0)
    plans = TimeBudget(1.0, None), TimeBudget(1.0, None)
    for step in range(1, 200):
        seconds = chance.uniform(0.1, 0.9)
        if step % 13 == 0:
            plain = {name: getattr(resumed, name) for name in TrainerState.names()}
            resumed, plans = TrainerState.from_dict(plain), (plans[0], TimeBudget(1.0, None))
        for state, plan in zip((whole, resumed), plans, strict=True):
            state.step, state.seconds = step, state.seconds + seconds
            plan.count_update(state, seconds)
        if whole.progress == 1.0:
            break
    assert whole == resumed
    assert whole.progress == 1.0


@pytest.mark.parametrize(
    ("steps", "epoch", "cost", "expected"),
    [
        (1_000, 10**9, 0.0, 10),
        (1_000, 1_000, 0.0, 10),
        (3_000, 1_000, 0.0, 9),
        (300, 100, 0.0, 3),
        (10_000, 100, 0.0, 100),
        (400, 10**9, 0.0, 4),
        (150, 10**9, 0.0, 2),
        (1_000, 10**9, 500.0, 2),
        (7, 10**9, 0.0, 1),
    ],
)
def test_a_run_is_evaluated_about_ten_times(steps: int, epoch: int, cost: float, expected: int) -> None:
    state = TrainerState(steps_per_epoch=epoch, planned_steps=steps)
    for step in range(1, steps + 1):
        state.step, state.window = step, (step - 1) % epoch + 1
        if state.window == epoch or step == steps or evaluation_is_due(state, None, cost=cost):
            state.history.append({"step": step})
    assert len(state.history) == expected


def test_evaluations_are_made_at_the_steps_asked_for() -> None:
    states = [TrainerState(steps_per_epoch=100, step=step) for step in range(1, 31)]
    assert [state.step for state in states if evaluation_is_due(state, 7, cost=1e9)] == [7, 14, 21, 28]
