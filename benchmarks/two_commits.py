"""Two checkouts of the library side by side: speed and memory of the same work, in turn in one run.

    git worktree add ../before COMMIT
    python benchmarks/two_commits.py ../before . CORPUS [--rounds 3] [--busy 2]

Each side runs in a process of its own, in turn, with the same virtual environment. Only the ratios mean something.
``--busy N`` keeps N processes busy beside the measurements.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

# Runs with either checkout: names that differ between them are looked up.
WORK = """
import json, resource, sys, time
began = time.perf_counter()
from zh_lstm_lm import *
LSTMLanguageModel, Sampler, Trainer
loaded = time.perf_counter() - began
stream = TokenStream.from_files(sys.argv[1])
train, valid, test = stream.split(valid=0.02, test=0.02)
vocabulary = Vocabulary.from_stream(train, min_freq=3, max_size=60_000)
model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=192, hidden_size=384))
began = time.perf_counter()
history = Trainer(model, train, None, TrainerConfig(max_steps=60, seed=0), progress=False).fit()
result = {"first use, s": loaded, "training, tokens/s": history[-1]["tokens_per_second"]}
model.eval()
began = time.perf_counter()
tokens = evaluate(model, test).num_tokens
result["evaluation, tokens/s"] = tokens / (time.perf_counter() - began)
for name, texts, count, options in (
    ("one text", 1, 150, {}),
    ("64 texts", 64, 20, {}),
    ("one text at temperature 1", 1, 150, {"temperature": 1.0, "top_p": 1.0}),
    ("64 texts at temperature 1", 64, 20, {"temperature": 1.0, "top_p": 1.0}),
):
    sampler = Sampler(model, SamplerConfig(**options))
    generate = getattr(sampler, "generate_batch", sampler.generate)
    generate(["x"], max_new_tokens=2)
    began = time.perf_counter()
    generate(["x"], num_samples=texts, max_new_tokens=count)
    result[f"{name}, tokens/s"] = texts * count / (time.perf_counter() - began)
result["peak memory, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(result))
"""
HELP = "import sys; sys.argv = ['zh-lstm-lm', '--help']; import runpy; runpy.run_module('zh_lstm_lm')"


def run(source: Path, code: str, *arguments: str) -> tuple[str, float]:
    """Runs code with a checkout.

    Returns:
        What it printed, and the processor time that it took, in seconds.
    """
    environment = {**os.environ, "PYTHONPATH": str(source.resolve() / "src"), "PYTHONDONTWRITEBYTECODE": ""}
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return done.stdout, seconds


def measure(source: Path, corpus: str) -> dict[str, float]:
    """Measures one checkout once."""
    result: dict[str, float] = json.loads(run(source, WORK, corpus)[0].splitlines()[-1])
    result["--help, s of the processor"] = run(source, HELP)[1]
    return result


def main() -> None:
    """Measures both sides in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="checkout of the earlier commit")
    parser.add_argument("after", type=Path, help="checkout of the later commit")
    parser.add_argument("corpus", help="novels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, default=0, help="busy processes beside the measurements (0)")
    options = parser.parse_args()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.busy)]
    sides: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
    try:
        for _ in range(options.rounds):
            for source, measured in zip((options.before, options.after), sides, strict=True):
                measured.append(measure(source, options.corpus))
    finally:
        for process in busy:
            process.kill()
    print(f"{'':<40}{'before':>12}{'after':>12}{'ratio':>8}   ratios of the rounds")
    for name in sides[0][0]:
        before, after = (statistics.median(each[name] for each in side) for side in sides)
        rounds = " ".join(f"{b[name] / a[name]:.2f}" for a, b in zip(*sides, strict=True))
        print(f"{name:<40}{before:>12,.3f}{after:>12,.3f}{after / before:>8.2f}   {rounds}")


if __name__ == "__main__":
    main()
