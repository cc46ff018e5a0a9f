"""How many snippets of real Chinese text are read right in each encoding, and how fast beside charset-normalizer.

    python benchmarks/decoding.py DATA_FOLDER [--snippets 10000] [--seed 0]

Snippets of 30 to 4,000 characters are drawn evenly from the kinds of text (the subfolders), from a kind's files and from
a file's places, and written in every encoding that has their characters, without a byte order mark. One counts as right
if the decoded text equals the snippet, as refused if an error is raised, and else as wrong. Then whole files are read
by this package and detected and decoded by charset-normalizer (if it is installed), in turn in one run; only the ratios
mean something, since machines differ and are shared. The bare decoding, with the encoding known, is what no reader can
fall below; "finding" is the time beyond it on either side, which is what the two do differently.
"""

import argparse
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.text.decoding import decode

KINDS = {"wuxia": "utf-8-sig", "gb18030": "gb18030", "big5": "big5hkscs", "messy": "utf-8-sig"}
ENCODINGS = ("utf-8", "gb18030", "big5hkscs", "cp950", "utf-16-le", "utf-16-be")
SHORTEST, LONGEST = 30, 4_000  # characters


def read_texts(folder: Path, kind: str) -> list[str]:
    """The texts of a kind, decoded in the encoding they are known to have rather than one that was detected."""
    files = sorted(file for file in (folder / kind).iterdir() if file.is_file())
    return [
        file.read_bytes().decode("gb18030" if file.name.startswith("gb") else KINDS[kind], errors="replace")
        for file in files
    ]


def measure_accuracy(folder: Path, snippets: int, seed: int) -> Counter[tuple[str, str, str]]:
    """Counts (encoding, kind, outcome)."""
    choose = random.Random(seed)
    outcomes: Counter[tuple[str, str, str]] = Counter()
    texts = {kind: read_texts(folder, kind) for kind in KINDS if (folder / kind).is_dir()}
    kinds = list(texts)
    for number in range(snippets):
        kind = kinds[number % len(kinds)]
        text = choose.choice(texts[kind])
        length = choose.randint(SHORTEST, LONGEST)
        start = choose.randrange(max(1, len(text) - length))
        snippet = text[start : start + length]
        for encoding in ENCODINGS:
            try:
                data = snippet.encode(encoding)
            except UnicodeEncodeError:
                continue
            try:
                outcome = "right" if decode(data).text == snippet else "wrong"
            except DataError:
                outcome = "refused"
            outcomes[encoding, kind, outcome] += 1
    return outcomes


def print_accuracy(outcomes: Counter[tuple[str, str, str]]) -> None:
    """Prints a row for each encoding and kind of text, and the sum."""
    print(f"{'encoding':12}{'text':10}{'snippets':>9}{'right':>9}{'refused':>9}{'wrong':>7}{'share right':>13}")
    rows = sorted({(encoding, kind) for encoding, kind, _ in outcomes})
    for encoding, kind in [*rows, ("all", "all")]:
        counted = Counter[str]()
        for (other_encoding, other_kind, outcome), number in outcomes.items():
            if (encoding, kind) in (("all", "all"), (other_encoding, other_kind)):
                counted[outcome] += number
        total, right = counted.total(), counted["right"]
        print(
            f"{encoding:12}{kind:10}{total:9,}{right:9,}{counted['refused']:9,}{counted['wrong']:7,}{right / total:13.3%}"
        )


def seconds_of(work: Callable[[], object], repeats: int = 3) -> float:
    """The shortest time of some runs: what else the machine does only adds."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def print_speed(folder: Path) -> None:
    """Reads every file of the folder with both, one after the other, and prints the ratios."""
    try:
        import charset_normalizer  # noqa: PLC0415 - not everybody who runs this has it
        from charset_normalizer import md  # noqa: PLC0415
    except ImportError:
        print("charset-normalizer is not installed (pip install charset-normalizer): no ratio")
        return
    build = "pure Python" if str(md.__file__).endswith(".py") else "compiled"
    print(f"charset-normalizer {charset_normalizer.__version__}, {build}; its time over ours")
    print(f"{'text':12}{'MB':>7}{'bare (s)':>10}{'ours (s)':>10}{'theirs (s)':>12}{'reading':>9}{'finding':>9}")
    total = [0.0] * 4
    for part in sorted(part for part in folder.iterdir() if part.is_dir()):
        row = [0.0] * 4
        for file in sorted(file for file in part.iterdir() if file.is_file()):
            data = file.read_bytes()
            encoding = decode(data).encoding
            row[0] += len(data) / 1e6
            row[1] += seconds_of(lambda: data.decode(encoding, errors="replace"))  # noqa: B023 - called at once
            row[2] += seconds_of(lambda: decode(data))  # noqa: B023
            row[3] += seconds_of(lambda: str(charset_normalizer.from_bytes(data).best()))  # noqa: B023
        total = [one + other for one, other in zip(total, row, strict=True)]
        print_ratios(part.name, *row)
    print_ratios("all", *total)


def print_ratios(name: str, megabytes: float, bare: float, ours: float, theirs: float) -> None:
    """Prints a row: seconds, the ratio of reading, and that of what goes beyond bare decoding."""
    finding = max(0.0, theirs - bare) / max(1e-9, ours - bare)
    print(f"{name:12}{megabytes:7.1f}{bare:10.3f}{ours:10.3f}{theirs:12.3f}{theirs / ours:9.1f}{finding:9.1f}")


def main() -> None:
    """Runs both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA_FOLDER", help=f"folder with {', '.join(KINDS)}")
    parser.add_argument("--snippets", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.snippets:
        print_accuracy(measure_accuracy(options.data, options.snippets, options.seed))
        print()
    print_speed(options.data)


if __name__ == "__main__":
    main()
