"""A text far larger than a novel: how much memory reading it takes, and how fast it is there the second time.

    python benchmarks/scale.py CORPUS [--megabytes 1000] [--tokenizer characters]
    python benchmarks/scale.py CORPUS --memory-limit 400 [--megabytes 300]

The files of the corpus are written one behind the other until the text has the size, as one file. It is read, segmented
and cached in a process of its own, then opened again from the cache in another one.

With a memory limit, a small model is trained on it from the cache, in a process that a memory cgroup (Linux, version 1 or
2, as root) holds under so many megabytes, the pages of its files included: fewer than the ids of the corpus take.
"""

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, TokenStream, Trainer, TrainerConfig, Vocabulary
from zh_lstm_lm.text.files import find_files
from zh_lstm_lm.text.survey import decoded_blocks

UPDATES = 200


def write_large(corpus: str, path: Path, size: int) -> None:
    """Writes a UTF-8 file of at least so many bytes."""
    files = find_files(corpus)
    written = 0
    with path.open("w", encoding="utf-8") as large:
        while written < size:
            for file in files:
                for block in decoded_blocks(file, "auto"):
                    written += len(block.text.encode("utf-8"))
                    large.write(block.text)


def read(path: str, tokenizer: str, cache: str) -> None:
    """Reads the file and prints seconds, tokens and the growth of memory in bytes as JSON."""
    TokenStream.from_texts(["雪夜。"], tokenizer=tokenizer)  # what is loaded once is no growth
    before = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    stream = TokenStream.from_files(path, tokenizer=tokenizer, cache_dir=cache)
    seconds = time.perf_counter() - start
    growth = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"seconds": seconds, "tokens": len(stream), "growth": growth}))


def train(path: str, tokenizer: str, cache: str) -> None:
    """Trains a small model on the cached file and prints tokens, updates and perplexity as JSON."""
    stream = TokenStream.from_files(path, tokenizer=tokenizer, cache_dir=cache)
    vocabulary = Vocabulary.from_stream(stream, max_size=8_000)
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=64, hidden_size=64))
    trainer = Trainer(model, stream, None, TrainerConfig(max_steps=UPDATES), progress=False)
    history = trainer.fit()
    print(
        json.dumps(
            {"tokens": len(stream), "updates": trainer.state.step, "perplexity": history[-1]["train_perplexity"]}
        )
    )


def limited_group(megabytes: int) -> Path | None:
    """Makes a memory cgroup with a limit; None where this process may not."""
    root = Path("/sys/fs/cgroup")
    version_1 = (root / "memory").is_dir()
    group = (root / "memory" if version_1 else root) / f"zh-lstm-lm-scale-{os.getpid()}"
    limit = "memory.limit_in_bytes" if version_1 else "memory.max"
    try:
        group.mkdir()
        (group / limit).write_text(str(1_000_000 * megabytes), encoding="ascii")
    except OSError:
        with contextlib.suppress(OSError):
            group.rmdir()
        return None
    return group


def train_limited(command: list[str], megabytes: int) -> None:
    """Runs the training of a cached corpus under a memory limit and prints how it went."""
    group = limited_group(megabytes)
    if group is None:
        print("no memory cgroup can be made here (it takes Linux and root): training under a limit is skipped")
        return
    enter = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group)]
    try:
        done = subprocess.run([*enter, *command, "--train"], capture_output=True, text=True, check=False)
    finally:
        group.rmdir()
    if done.returncode:
        sys.exit(f"training under {megabytes} MB ended with status {done.returncode}\n{done.stderr}")
    trained = json.loads(done.stdout)
    print(
        f"under {megabytes} MB: {trained['tokens'] * 4 / 1e6:,.0f} MB of cached tokens and as many of ids, "
        f"{trained['updates']} updates, perplexity {trained['perplexity']:.0f}"
    )


def main() -> None:
    """Makes the text, reads it twice, prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--tokenizer", default="characters")
    parser.add_argument("--memory-limit", type=int, metavar="MB", help="train on the text under this limit")
    parser.add_argument("--cache", help=argparse.SUPPRESS)
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cache:
        work = train if options.train else read
        work(options.corpus, options.tokenizer, options.cache)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "large.txt")
        write_large(options.corpus, path, 1_000_000 * options.megabytes)
        command = [sys.executable, __file__, str(path), "--tokenizer", options.tokenizer, "--cache", folder]
        print(f"one file of {os.path.getsize(path) / 1e6:,.0f} MB, {options.tokenizer}")
        first, again = (
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(2)
        )
        if options.memory_limit:
            train_limited(command, options.memory_limit)
    print(f"{first['tokens']:,} tokens; memory grew by {first['growth'] / 1e6:,.0f} MB")
    print(f"from the cache {first['seconds'] / again['seconds']:,.0f} times as fast ({again['growth'] / 1e6:,.0f} MB)")


if __name__ == "__main__":
    main()
