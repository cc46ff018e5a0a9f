"""The estimate of training against what training then takes, in time and in memory.

    python benchmarks/estimates.py CORPUS [--steps 200]

For each of five configurations, each side in a process of its own: `estimate_training`, then that many real updates with
an evaluation and a checkpoint. Printed is what they took over what was estimated; both medians should lie within 25 % of 1.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from zh_lstm_lm import (
    LSTMLanguageModel,
    ModelConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
    estimate_training,
)
from zh_lstm_lm.training.estimates import peak_memory

CONFIGURATIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"embedding_dim": 96, "hidden_size": 192}, {}),
    ({"embedding_dim": 256, "hidden_size": 512}, {"batch_size": 64}),
    ({"num_layers": 2}, {"bptt_len": 70}),
    ({"output": "full"}, {"batch_size": 8}),
]


def run(side: str, number: int, corpus: str, steps: int) -> dict[str, float]:
    """One side of one configuration: seconds of an update, and bytes."""
    sizes, training = CONFIGURATIONS[number]
    train, valid, _ = TokenStream.from_files(corpus).split(valid=0.02, test=0.0)
    vocabulary = Vocabulary.from_stream(train, min_freq=3, max_size=60_000)
    with tempfile.TemporaryDirectory() as folder:
        config = TrainerConfig(max_steps=steps, run_dir=f"{folder}/run", **training)
        if side == "estimated":
            estimate = estimate_training(vocabulary, train, ModelConfig(**sizes), config)
            return {"tokens_per_second": estimate.tokens_per_second, "memory": float(estimate.peak_memory or 0)}
        trainer = Trainer(LSTMLanguageModel(vocabulary, ModelConfig(**sizes)), train, valid, config, progress=False)
        history = trainer.fit()
        return {"tokens_per_second": history[-1]["tokens_per_second"], "memory": float(peak_memory() or 0)}


def main() -> None:
    """Runs both sides of every configuration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run(options.one[0], int(options.one[1]), options.corpus, options.steps)))
        return
    times, memories = [], []
    for number, (sizes, training) in enumerate(CONFIGURATIONS):
        sides = {}
        for side in ("estimated", "taken"):
            command = [sys.executable, __file__, options.corpus, "--steps", str(options.steps)]
            command += ["--one", side, str(number)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            sides[side] = json.loads(printed.splitlines()[-1])
        times.append(sides["estimated"]["tokens_per_second"] / sides["taken"]["tokens_per_second"])
        memories.append(sides["taken"]["memory"] / sides["estimated"]["memory"])
        name = ", ".join(f"{name}={value}" for name, value in {**sizes, **training}.items()) or "default"
        print(f"{name:<52} time {times[-1]:.2f}, memory {memories[-1]:.2f} of the estimate", flush=True)
    print(f"median: time {statistics.median(times):.2f}, memory {statistics.median(memories):.2f}")


if __name__ == "__main__":
    main()
