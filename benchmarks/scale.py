"""A text far larger than a novel: how much memory reading it takes, and how fast it is there the second time.

    python benchmarks/scale.py CORPUS [--megabytes 1000] [--tokenizer characters]

The files of the corpus are written one behind the other until the text has the size, as one file. It is read, segmented
and cached in a process of its own, then opened again from the cache in another one.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from zh_lstm_lm import TokenStream
from zh_lstm_lm.text.documents import decoded_blocks
from zh_lstm_lm.text.files import find_files


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


def main() -> None:
    """Makes the text, reads it twice, prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--tokenizer", default="characters")
    parser.add_argument("--cache", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cache:
        read(options.corpus, options.tokenizer, options.cache)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "large.txt")
        write_large(options.corpus, path, 1_000_000 * options.megabytes)
        command = [sys.executable, __file__, str(path), "--tokenizer", options.tokenizer, "--cache", folder]
        print(f"one file of {os.path.getsize(path) / 1e6:,.0f} MB, {options.tokenizer}")
        first, again = (
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(2)
        )
    print(f"{first['tokens']:,} tokens; memory grew by {first['growth'] / 1e6:,.0f} MB")
    print(f"from the cache {first['seconds'] / again['seconds']:,.0f} times as fast ({again['growth'] / 1e6:,.0f} MB)")


if __name__ == "__main__":
    main()
