"""jieba compared with the other tokenizers: agreement, speed, and time to the first word.

    python benchmarks/segmentation.py DATA_FOLDER [--sample 0.1] [--reading CORPUS]

DATA_FOLDER holds folders of ``*.txt`` files, each a corpus. Printed are, per corpus and with the hidden Markov model on
and off, the token F1 of rjieba against jieba; the speed of each tokenizer that is installed over jieba's on the same
text in the same run; the share of jieba's time that joining dashes and numbers takes; the speed of two worker processes
over one; and the time to the first word, with jieba's own start-up and with ours, without and with its cache. With
`--reading`, a whole corpus goes from its files into a stream with one worker and with two.
"""

import argparse
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from zh_lstm_lm import TokenStream
from zh_lstm_lm.errors import DataError, MissingDependencyError
from zh_lstm_lm.tokenizers.registry import get_tokenizer
from zh_lstm_lm.tokenizers.token_merging import merge_tokens
from zh_lstm_lm.tokenizers.workers import number_chunks

OURS = "from zh_lstm_lm.tokenizers.registry import get_tokenizer as get; get('jieba').tokenize('话说展爷大喜')"
READING = """
import sys
from zh_lstm_lm import TokenStream
TokenStream.from_files(sys.argv[1], cache_dir=sys.argv[2], workers=int(sys.argv[3]))
"""
PLAIN = "import jieba; jieba.setLogLevel(60); list(jieba.Tokenizer().cut('话说展爷大喜'))"


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def spans(tokens: Sequence[str]) -> set[tuple[int, int]]:
    """Start and stop of each token."""
    return set(itertools.pairwise([0, *itertools.accumulate(map(len, tokens))]))


def read_corpora(folder: Path, sample: float) -> dict[str, list[str]]:
    """Paragraphs of each folder that has texts; a seeded sample of them."""
    corpora = {}
    for corpus in sorted(path for path in folder.iterdir() if any(path.glob("*.txt"))):
        try:
            stream = TokenStream.from_files(corpus, tokenizer="characters", clean="none")
        except DataError:
            # There can be nothing but notes in a folder.
            continue
        lines = [line for text in stream.texts() for line in text.split("\n") if line]
        corpora[corpus.name] = random.Random(0).sample(lines, max(1, round(len(lines) * sample)))
    return corpora


def print_parity(corpora: dict[str, list[str]]) -> None:
    """Token F1 of rjieba against jieba."""
    print(f"{'rjieba against jieba':<24}{'characters':>12}{'F1, HMM':>14}{'F1, no HMM':>14}")
    for name, lines in corpora.items():
        row = []
        for hmm in (True, False):
            jieba, rjieba = get_tokenizer("jieba", hmm=hmm), get_tokenizer("rjieba", hmm=hmm)
            same = total = 0
            for line in lines:
                one, other = jieba.tokenize(line), rjieba.tokenize(line)
                same += len(one) if one == other else len(spans(one) & spans(other))
                total += len(one) + len(other)
            row.append(2 * same / total)
        print(f"{name:<24}{sum(map(len, lines)):>12,}{row[0]:>14.6%}{row[1]:>14.6%}")


def print_speed(lines: list[str]) -> None:
    """Speed of every installed tokenizer over jieba's, and what joining tokens costs."""
    print(f"\n{'speed over jieba':<24}{'ratio':>12}{'joining, share of its time':>30}")
    makers: list[tuple[str, dict[str, bool]]] = [
        ("jieba", {"hmm": True}),
        ("jieba", {"hmm": False}),
        ("rjieba", {"hmm": True}),
        ("rjieba", {"hmm": False}),
        ("characters", {}),
    ]
    base = 0.0
    for name, options in makers:
        try:
            tokenizer = get_tokenizer(name, **options)
        except MissingDependencyError as error:
            print(f"{name:<24}{error}")
            continue
        # The first call loads the dictionary.
        cut = [tokenizer.tokenize(line) for line in lines]
        taken = min(seconds(lambda: [tokenizer.tokenize(line) for line in lines]) for _ in range(2))  # noqa: B023
        base = base or taken
        joining = min(
            seconds(lambda: [merge_tokens(line, tokens) for line, tokens in zip(lines, cut, strict=True)])  # noqa: B023
            for _ in range(3)
        )
        shown = f"{joining / taken:>30.1%}" if "hmm" in options else ""
        label = name + ("" if options.get("hmm", True) else ", no HMM")
        print(f"{label:<24}{base / taken:>12.2f}{shown}")


def print_workers(lines: list[str]) -> None:
    """Processor seconds of one process and of two with their parent, and what two idle cores make of them at most.

    Wall time says nothing on a machine that is shared; processor seconds do. Two cores cannot be faster than half of all
    seconds, nor than the parent's own.
    """
    chunks = ["\n".join(lines[start : start + 400]) for start in range(0, len(lines), 400)]
    print(f"\ntwo workers over one, jieba, {sum(map(len, lines)):,} characters, a new dictionary each")
    print(f"{'one (s)':>10}{'parent (s)':>12}{'children (s)':>14}{'parent, share':>15}{'at most':>9}{'wall':>7}")
    for _ in range(3):
        found, seconds_of, walls = [], [], []
        for workers in (1, 2):
            lexicon: dict[str, int] = {}
            before, began = os.times(), time.perf_counter()
            numbers = list(number_chunks(get_tokenizer("jieba"), chunks, lexicon, workers=workers))
            after = os.times()
            walls.append(time.perf_counter() - began)
            found.append((numbers, lexicon))
            spent = [end - start for start, end in zip(before, after, strict=True)]
            seconds_of.append((spent[0] + spent[1], spent[2] + spent[3]))
        assert found[0] == found[1], "the tokens differ"
        (one, _), (parent, children) = seconds_of
        bound = one / max(parent, (parent + children) / 2)
        print(
            f"{one:10.2f}{parent:12.2f}{children:14.2f}{parent / (parent + children):15.1%}{bound:9.2f}"
            f"{walls[0] / walls[1]:7.2f}",
            flush=True,
        )


def print_reading(corpus: Path) -> None:
    """Wall time from files to a stream, each in a process of its own; it takes two idle cores to mean something."""

    def read(workers: int) -> float:
        with tempfile.TemporaryDirectory() as cache:
            command = [sys.executable, "-c", READING, str(corpus), cache, str(workers)]
            return seconds(lambda: subprocess.run(command, check=True, capture_output=True))

    print(f"\n{corpus.name}, from files to a stream: one worker (s), two, ratio")
    for _ in range(5):
        one, two = read(1), read(2)
        print(f"{one:10.1f}{two:10.1f}{one / two:10.2f}", flush=True)


def print_start_up() -> None:
    """Time to the first word in a new process, less that of a process that only imports."""
    with tempfile.TemporaryDirectory() as folder:
        # Both caches are in a folder of this run; jieba uses the temporary folder.
        environment = {**os.environ, "ZH_LSTM_LM_CACHE": folder, "TMPDIR": folder, "TEMP": folder, "TMP": folder}

        def start(code: str) -> float:
            return seconds(
                lambda: subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, check=True)
            )

        bare = min(start("pass") for _ in range(3))
        own = min(start("from zh_lstm_lm.tokenizers.registry import get_tokenizer") for _ in range(3))
        plain_first, plain = start(PLAIN) - bare, min(start(PLAIN) for _ in range(3)) - bare
        first, then = start(OURS) - own, min(start(OURS) for _ in range(3)) - own
    print("\ntime to the first word over that of jieba without its cache")
    for label, taken in [
        ("jieba, no cache", plain_first),
        ("jieba, its own cache", plain),
        ("this library, no cache", first),
        ("this library, its cache", then),
    ]:
        print(f"{label:<24}{taken / plain_first:>12.3f}")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sample", type=float, default=1.0, help="share of the paragraphs; 1.0 takes all")
    parser.add_argument("--no-workers", action="store_true", help="leave out the measure that needs two idle cores")
    parser.add_argument("--reading", type=Path, metavar="CORPUS", help="read this with one worker and with two as well")
    options = parser.parse_args()
    corpora = read_corpora(options.folder, options.sample)
    lines = [line for corpus in corpora.values() for line in corpus]
    some = random.Random(0).sample(lines, min(len(lines), 5_000))
    print_parity(corpora)
    print_speed(some)
    if not options.no_workers:
        print_workers(some * 3)
    if options.reading:
        print_reading(options.reading)
    print_start_up()


if __name__ == "__main__":
    main()
