"""Runs with a time budget under random loads, with a clock that follows the load: how much of the budget they use.

    python benchmarks/time_budget.py [--times 200] [--seed 0]

Every run trains a tiny model with the real trainer, between half a minute and an hour of simulated time. Printed is, for
each kind of load and of run, the least and the most of the budget that was used, the highest last learning rate over the peak, and
the number of evaluations. A run is to end between 0.97 and 1.02 of its budget with its rate below 0.02 of the peak.
"""

import argparse
import math
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from zh_lstm_lm import (
    Callback,
    LSTMLanguageModel,
    ModelConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    TrainerState,
    Vocabulary,
    sample_novel,
)

LOADS = (
    "steady", "slow start", "slow end", "busy now and then", "ever slower", "noisy", "waves", "uneven updates",
    "pause", "clock jumps", "clock goes back", "slow evaluation", "slow first evaluation",
)  # fmt: skip


class Load(NamedTuple):
    """The load of a machine.

    Attributes:
        factor: Time that work takes, over that on a quiet machine, as a function of the time.
        jump: The time at which the clock jumps, and by how much.
        noise: Standard deviation of the logarithm of the time that work takes.
        evaluation: Time of an evaluation over that on a quiet machine.
        first_evaluation: The same of the first one.
        lengths: Time of one update after the other, over and over again, over that of a usual one.
    """

    factor: Callable[[float], float] = lambda now: 1.0
    jump: tuple[float, float] = (math.inf, 0.0)
    noise: float = 0.05
    evaluation: float = 1.0
    first_evaluation: float = 1.0
    lengths: tuple[float, ...] = (1.0,)


class Setup(NamedTuple):
    """A run.

    Attributes:
        characters: Length of the corpus.
        valid: Proportion of the validation set.
        windows: Number of batch rows, and length of a BPTT segment.
        minutes: The budget; None for a random one.
        speeds: Time of an update between one interruption and the next, over that at the start.
        options: More options of `TrainerConfig`.
    """

    characters: int = 20_000
    valid: float = 0.001
    windows: tuple[int, int] = (1, 2)
    minutes: float | None = None
    speeds: tuple[float, ...] = (1.0,)
    options: dict[str, Any] = {}  # noqa: RUF012


SETUPS = {
    "many epochs": Setup(characters=1_500, valid=0.1, windows=(4, 8)),
    "large validation set": Setup(valid=0.5, windows=(4, 8)),
    "more validation than training": Setup(valid=0.8, windows=(4, 8)),
    "evaluated after every update": Setup(options={"eval_steps": 1}),
    "evaluated at its end": Setup(valid=0.004, options={"eval_steps": 10**6}),
    "resumed on another machine": Setup(speeds=(1.0, 0.3)),
    "resumed often": Setup(speeds=(1.0, 3.0, 0.3, 1.0, 10.0, 0.3)),
    "three seconds": Setup(minutes=0.05),
}
KINDS = (*LOADS, *SETUPS)


def make_load(kind: str, budget: float, chance: random.Random) -> Load:
    """Makes a random load over a budget in seconds."""
    slow = chance.uniform(2, 8)
    switch = chance.uniform(0.02, 0.9) * budget
    begins = sorted(chance.uniform(0, budget) for _ in range(6))
    match kind:
        case "slow start":
            return Load(lambda now: slow if now < switch else 1.0)
        case "slow end":
            return Load(lambda now: slow if now > switch else 1.0)
        case "busy now and then":
            return Load(lambda now: slow if sum(begin < now for begin in begins) % 2 else 1.0)
        case "ever slower":
            return Load(lambda now: 1 + (slow - 1) * now / budget)
        case "noisy":
            return Load(noise=0.7)
        case "pause":
            return Load(jump=(chance.uniform(0, 0.98) * budget, 60.0))
        case "clock jumps":
            return Load(jump=(chance.uniform(0, 0.98) * budget, 1e5))
        case "clock goes back":
            return Load(jump=(chance.uniform(0, 0.98) * budget, -chance.uniform(0, 2) * budget))
        case "waves":
            period = chance.uniform(0.001, 0.3) * budget
            return Load(lambda now: slow if now % period < period / 2 else 1.0)
        case "uneven updates":
            return Load(lengths=tuple(chance.uniform(0.2, 4) for _ in range(chance.randint(2, 60))))
        case "slow evaluation":
            return Load(evaluation=chance.uniform(3, 20))
        case "slow first evaluation":
            return Load(first_evaluation=chance.uniform(2, 3))
    return Load()


class Machine(Callback):
    """A clock that moves with the work of a model: an update takes a time, and tokens that are only read a third."""

    def __init__(self, model: LSTMLanguageModel, load: Load, update: float, chance: random.Random) -> None:
        self.load, self.update, self.chance = load, update, chance
        self.now = self.jumped = 0.0
        self.updates = self.evaluations = self.window = 0
        self.interrupted_at = math.inf
        self.rates: list[float] = []
        model.embedding.register_forward_hook(self._work)

    def __call__(self) -> float:
        """Returns the time that the clock shows."""
        return 1e4 + self.now + self.jumped

    def _work(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: object) -> None:
        tokens = inputs[0].numel()
        if torch.is_inference_mode_enabled():
            first = self.load.first_evaluation if not self.evaluations else 1.0
            share = 0.3 * tokens / self.window * self.load.evaluation * first
        else:
            share = self.load.lengths[self.updates % len(self.load.lengths)]
            self.updates, self.window = self.updates + 1, max(tokens, self.window)
        noise = math.exp(self.chance.gauss(0, self.load.noise))
        self.now += self.update * share * self.load.factor(self.now) * noise
        if self.now > self.load.jump[0]:
            self.jumped = self.load.jump[1]

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Keeps the learning rate, and interrupts the run at its time."""
        self.rates.append(state.learning_rate)
        if state.seconds > self.interrupted_at:
            state.request_stop("interrupted")

    def on_evaluate(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        """Counts the evaluations."""
        self.evaluations += 1


class End(NamedTuple):
    """The end of a run.

    Attributes:
        used: Time used over the budget, by the run's own account.
        rate: Last learning rate over the peak.
        evaluations: Number of evaluations.
    """

    used: float
    rate: float
    evaluations: int


def run(kind: str, number: int, *, num_updates: int = 1_000) -> End:
    """Trains under a random load; `num_updates` is about how many updates a quiet machine makes."""
    chance = random.Random(f"{kind} {number}")
    setup = SETUPS.get(kind, Setup())
    minutes = setup.minutes or 0.5 * 120 ** chance.random()
    update = 60 * minutes / num_updates
    corpus = TokenStream.from_texts([sample_novel()[: setup.characters]], tokenizer="characters")
    train, valid, _ = corpus.split(valid=setup.valid, test=0.0)
    model = LSTMLanguageModel(Vocabulary.from_stream(corpus), ModelConfig(embedding_dim=4, hidden_size=4, dropout=0.0))
    machine = Machine(model, make_load(kind, 60 * minutes, chance), update, chance)
    rows, length = setup.windows
    options = {"max_minutes": minutes, "batch_size": rows, "bptt_len": length, "learning_rate": 1e-3, **setup.options}
    before = time.monotonic
    time.monotonic = machine
    try:
        with tempfile.TemporaryDirectory() as place:
            config = TrainerConfig(**options, run_dir=Path(place, "run") if len(setup.speeds) > 1 else None)
            for part, speed in enumerate(setup.speeds, 1):
                machine.update = update * speed
                last = part == len(setup.speeds)
                machine.interrupted_at = math.inf if last else 60 * minutes * part / len(setup.speeds)
                trainer = Trainer(model, train, valid, config, callbacks=[machine], progress=False)
                history = trainer.fit(resume=part > 1)
    finally:
        time.monotonic = before
    return End(trainer.state.seconds / (60 * minutes), machine.rates[-1] / 1e-3, len(history))


def main() -> None:
    """Runs all kinds of load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    kept = 0
    for kind in KINDS:
        ends = [run(kind, options.seed + number) for number in range(options.times // len(KINDS))]
        used, rates, evaluations = zip(*ends, strict=True)
        kept += sum(0.97 <= end.used <= 1.02 and end.rate < 0.02 for end in ends)
        print(
            f"{kind:<30} budget used {min(used):.3f} to {max(used):.3f}  last rate at most {max(rates):.4f}  "
            f"evaluations {min(evaluations)} to {max(evaluations)}",
            flush=True,
        )
    print(f"{kept} of {len(KINDS) * (options.times // len(KINDS))} runs kept their budget")


if __name__ == "__main__":
    main()
