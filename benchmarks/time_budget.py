"""Runs with a time budget under random loads, with a clock that follows the load: how much of the budget they use.

    python benchmarks/time_budget.py [--times 200] [--seed 0]

Every run trains a tiny model with the real trainer, between half a minute and an hour of simulated time. Printed is, for
each kind of load, the least and the most of the budget that was used, the highest last learning rate over the peak, and
the number of evaluations. A run is to end between 0.97 and 1.02 of its budget with its rate below 0.02 of the peak.
"""

import argparse
import math
import random
import time
from collections.abc import Callable
from typing import NamedTuple

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

KINDS = (
    "steady", "slow start", "slow end", "busy now and then", "ever slower", "noisy",
    "pause", "clock jumps", "clock goes back", "slow evaluation",
)  # fmt: skip


class Load(NamedTuple):
    """The load of a machine.

    Attributes:
        factor: Time that work takes, over that on a quiet machine, as a function of the time.
        jump: The time at which the clock jumps, and by how much.
        noise: Standard deviation of the logarithm of the time that work takes.
        evaluation: Time of an evaluation over that on a quiet machine.
    """

    factor: Callable[[float], float] = lambda now: 1.0
    jump: tuple[float, float] = (math.inf, 0.0)
    noise: float = 0.05
    evaluation: float = 1.0


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
        case "slow evaluation":
            return Load(evaluation=chance.uniform(3, 20))
    return Load()


class Machine(Callback):
    """A clock that moves with the work of a model: an update takes a time, and so does a token that is only read."""

    def __init__(self, model: LSTMLanguageModel, load: Load, update: float, chance: random.Random) -> None:
        self.load, self.update, self.chance = load, update, chance
        self.now = self.jumped = 0.0
        self.rates: list[float] = []
        model.output.register_forward_hook(self._work)
        model.embedding.register_forward_hook(self._work)

    def __call__(self) -> float:
        """Returns the time that the clock shows."""
        return 1e4 + self.now + self.jumped

    def _work(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: object) -> None:
        evaluation = torch.is_inference_mode_enabled()
        share = 0.01 * self.load.evaluation if evaluation else 1.0
        noise = math.exp(self.chance.gauss(0, self.load.noise))
        self.now += self.update * share * self.load.factor(self.now) * noise
        if self.now > self.load.jump[0]:
            self.jumped = self.load.jump[1]

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Keeps the learning rate."""
        self.rates.append(state.learning_rate)


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


CORPUS = TokenStream.from_texts([sample_novel()[:20_000]], tokenizer="characters")
WORDS = Vocabulary.from_stream(CORPUS)


def run(kind: str, number: int, *, num_updates: int = 1_000) -> End:
    """Trains under a random load; `num_updates` is about how many updates a quiet machine makes."""
    chance = random.Random(f"{kind} {number}")
    minutes = 0.5 * 120 ** chance.random()
    train, valid, _ = CORPUS.split(valid=0.004, test=0.0)
    model = LSTMLanguageModel(WORDS, ModelConfig(embedding_dim=4, hidden_size=4, dropout=0.0))
    machine = Machine(model, make_load(kind, 60 * minutes, chance), 60 * minutes / num_updates, chance)
    config = TrainerConfig(max_minutes=minutes, batch_size=1, bptt_len=2, learning_rate=1e-3)
    before = time.monotonic
    time.monotonic = machine
    try:
        trainer = Trainer(model, train, valid, config, callbacks=[machine], progress=False)
        history = trainer.fit()
    finally:
        time.monotonic = before
    return End(history[-1]["seconds"] / (60 * minutes), machine.rates[-1] / 1e-3, len(history))


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
            f"{kind:<18} budget used {min(used):.3f} to {max(used):.3f}  last rate at most {max(rates):.4f}  "
            f"evaluations {min(evaluations)} to {max(evaluations)}",
            flush=True,
        )
    print(f"{kept} of {len(KINDS) * (options.times // len(KINDS))} runs kept their budget")


if __name__ == "__main__":
    main()
