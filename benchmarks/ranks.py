"""Training in several processes: what an update computes and sends, and how much faster it gets.

    python benchmarks/ranks.py CORPUS [--time] [--steps 200]

Counted on the corpus, for each number of lanes: the rows of the embedding that a window touches, and the bytes that a
process sends in an update when N of them divide it (a ring sends every number twice, but for one part in N). With
``--time``, the default recipe is trained by one process with one thread, by one with two, and by two with one each
(`torchrun`), at the same 64 lanes; printed are tokens a second over those of the first. Nothing else may run meanwhile.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, TokenStream, Vocabulary
from zh_lstm_lm.corpus.batches import TrainingWindows
from zh_lstm_lm.models.config import training_operations

BPTT_LEN = 35
LANES = (32, 64, 256, 1024, 4096)
RANKS = (2, 8, 64)
SIZES = ((192, 384), (512, 1024), (1024, 2048))


def count(train: TokenStream) -> None:
    """Prints what is computed and sent."""
    vocabulary = Vocabulary.from_stream(train, min_freq=3, max_size=60_000)
    ids, counts = vocabulary.encode_stream(train), torch.tensor(vocabulary.counts)
    print(f"{len(ids):,} tokens, vocabulary {len(vocabulary):,}, windows of {BPTT_LEN}")
    rows = {}
    for lanes in LANES:
        windows = TrainingWindows(ids, batch_size=lanes, bptt_len=BPTT_LEN)
        chosen = [windows[number * len(windows) // 8] for number in range(8)]
        rows[lanes] = sum(torch.unique(batch.inputs).numel() for batch in chosen) / len(chosen)
        print(
            f"  {lanes:>5} lanes: {lanes * BPTT_LEN:>7,} tokens an update, {rows[lanes]:>8,.0f} rows of the embedding"
        )
    for embedding_dim, hidden_size in SIZES:
        with torch.device("meta"):
            config = ModelConfig(embedding_dim=embedding_dim, hidden_size=hidden_size)
            model = LSTMLanguageModel(vocabulary, config)
        dense = model.num_parameters - model.embedding.weight.numel()
        operations = training_operations(embedding_dim, hidden_size, counts, full=model.config.output == "full")
        print(f"E {embedding_dim}, H {hidden_size}: {operations / 1e6:,.1f} MFLOP a token, {dense:,} dense weights")
        for lanes in LANES:
            numbers = dense + rows[lanes] * embedding_dim
            sent = "  ".join(f"N {ranks} {8e-6 * numbers * (ranks - 1) / ranks:,.0f} MB" for ranks in RANKS)
            work = operations * lanes * BPTT_LEN / 1e9
            print(f"  {lanes:>5} lanes: {work:>9,.1f} GFLOP an update over all ranks; each sends {sent}")


def rate(corpus: str, steps: int, *, processes: int, threads: int) -> float:
    """Tokens a second of a run of the command."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["train", corpus, "--output", f"{folder}/model", "--batch-size", "64", "--quiet"]
        options += ["--max-steps", str(steps), "--valid", "0", "--test", "0"]
        launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)] if processes > 1 else []
        subprocess.run(
            [sys.executable, *launcher, "-m", "zh_lstm_lm", *options],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        history = Path(folder, "model.run", "history.jsonl").read_text(encoding="utf-8")
    return float(json.loads(history.splitlines()[-1])["tokens_per_second"])


def main() -> None:
    """Counts, and times if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    count(TokenStream.from_files(options.corpus).split(valid=0.05, test=0.05)[0])
    if options.time:
        base = rate(options.corpus, options.steps, processes=1, threads=1)
        for processes, threads in ((1, 2), (2, 1)):
            speed = rate(options.corpus, options.steps, processes=processes, threads=threads)
            print(f"{processes} processes of {threads} threads: {speed / base:.2f} times the tokens/s of one thread")


if __name__ == "__main__":
    main()
