"""Equal outcomes of equal seeds, and of texts among others and alone.

    python benchmarks/reliability/exactness.py determinism --times 20
    python benchmarks/reliability/exactness.py neighbours --times 500

All is drawn from `--seed`; the models are those of `tiny_runs.py`.
"""

import hashlib
import os
import random
import subprocess
import sys
from typing import Any

import torch
from tiny_runs import MODELS, TEXTS, TRAIN, VALID, WORDS, make_model, run_checks

from zh_lstm_lm import (
    Ensemble,
    Sampler,
    SamplerConfig,
    Trainer,
    TrainerConfig,
)


def fingerprint() -> str:
    """A sum of what a seed gives: ids, losses, weights and text."""
    trainer = Trainer(make_model(), TRAIN, VALID, TrainerConfig(max_epochs=2, batch_size=2, bptt_len=8), progress=False)
    losses = [record["valid_loss"] for record in trainer.fit()]
    text = Sampler(trainer.model, SamplerConfig(seed=1)).generate("展昭", max_new_tokens=30)
    values = [tensor.numpy().tobytes() for tensor in trainer.model.state_dict().values()]
    return hashlib.sha256(repr((WORDS.to_dict(), losses, text, values)).encode()).hexdigest()


def determinism(times: int, seed: int) -> None:
    """Equal runs in this process, and in others with other hash seeds."""
    sums = {fingerprint() for _ in range(times)}
    for number in range(4):
        command = [sys.executable, __file__, "fingerprint", "--times", "1"]
        environment = os.environ | {"PYTHONHASHSEED": str(seed + number)}
        sums.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip())
    assert len(sums) == 1, f"{len(sums)} different outcomes"
    print(f"determinism: {times} runs in one process and 4 in others, each with a hash seed of its own: one outcome")


SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 1.0, "top_p": 1.0},
    {"temperature": 1.3, "top_p": 0.9},
    {"temperature": 0.9, "top_p": 1.0, "top_k": 9},
    {"temperature": 0.9, "top_p": 0.9, "top_k": 20},
    {"temperature": 0.9, "top_p": 1.0, "min_p": 0.02},
    {"temperature": 0.0},
    {"repetition_penalty": 1.2, "penalty_window": 16},
]


def neighbours(times: int, seed: int) -> None:
    """Texts that are written side by side, with models and settings of all kinds, against each alone."""
    chance, texts = random.Random(seed), 0
    for _ in range(times):
        torch.set_num_threads(chance.choice([1, 2]))
        models = []
        for _ in range(chance.choice([1, 1, 1, 2, 6])):
            sizes = chance.choice([*MODELS, {"output": "adaptive", "cutoffs": (9, 30, 80)}])
            hidden_size = chance.choice([chance.randint(2, 60), chance.randint(60, 700)])
            models.append(make_model(**{**sizes, "hidden_size": hidden_size, "embedding_dim": chance.randint(2, 40)}))
            with torch.no_grad():
                for weight in models[-1].parameters():
                    weight.mul_(3.0)  # so that all words count, as they do in a trained model
        model = models[0] if len(models) == 1 else Ensemble(models)
        sampler = Sampler(model, SamplerConfig(seed=chance.randrange(10**6), **chance.choice(SETTINGS)))
        prompts = ["".join(chance.choices(TEXTS[0], k=chance.randint(0, 9))) for _ in range(chance.randint(1, 24))]
        limits: dict[str, Any] = {"max_characters": 40} if chance.random() < 0.5 else {"max_new_tokens": 30}
        side_by_side = sampler.generate(prompts, num_samples=chance.randint(1, 3), return_results=True, **limits)
        samples = len(side_by_side) // len(prompts)
        for number in chance.sample(range(len(side_by_side)), min(4, len(side_by_side))):
            [alone] = sampler.generate(
                [prompts[number // samples]], first_sample=number % samples, return_results=True, **limits
            )
            among, texts = side_by_side[number], texts + 1
            assert alone.state.before is not None
            assert among.state.before is not None
            equal = map(torch.equal, alone.state.before.tensors(), among.state.before.tensors())
            told = f"{prompts[number // samples]!r} with {sampler.config} and {[each.config for each in models]}"
            assert (alone.text, alone.log_probs) == (among.text, among.log_probs), told
            assert all(equal), told
    print(
        f"neighbours: {texts:,} texts of {times:,} batches equal to those alone, to the last bit of scores and states"
    )


if __name__ == "__main__":
    run_checks(
        __doc__,
        {"determinism": determinism, "neighbours": neighbours, "fingerprint": lambda times, seed: print(fingerprint())},
    )
