"""How many snippets of real Chinese text are read right in each encoding, and how fast beside charset-normalizer.

    python benchmarks/decoding.py DATA_FOLDER [--snippets 10000] [--seed 0]

Snippets of 30 to 4,000 characters are drawn evenly from the kinds of text (the subfolders), from a kind's files and from
a file's places, and written in every encoding that has their characters, without a byte order mark. One counts as right
if the decoded text equals the snippet, as refused if an error is raised, and else as wrong. Then whole files and snippets
are given to this package and to charset-normalizer (if it is installed), in turn in one run: once to tell the encoding,
once to make text of the bytes. The bare decoding, with the encoding known, is what no reader can fall below.
"""

import argparse
import contextlib
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.text.decoding import decode
from zh_lstm_lm.text.detection import detect

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


def draw_snippets(folder: Path, snippets: int, seed: int) -> Iterator[tuple[str, str, str, bytes]]:
    """Yields (encoding, kind, snippet, its bytes), a snippet in every encoding that has its characters."""
    choose = random.Random(seed)
    texts = {kind: read_texts(folder, kind) for kind in KINDS if (folder / kind).is_dir()}
    kinds = list(texts)
    for number in range(snippets):
        kind = kinds[number % len(kinds)]
        text = choose.choice(texts[kind])
        length = choose.randint(SHORTEST, LONGEST)
        start = choose.randrange(max(1, len(text) - length))
        snippet = text[start : start + length]
        for encoding in ENCODINGS:
            with contextlib.suppress(UnicodeEncodeError):
                yield encoding, kind, snippet, snippet.encode(encoding)


def measure_accuracy(folder: Path, snippets: int, seed: int) -> Counter[tuple[str, str, str]]:
    """Counts (encoding, kind, outcome)."""
    outcomes: Counter[tuple[str, str, str]] = Counter()
    for encoding, kind, snippet, data in draw_snippets(folder, snippets, seed):
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


def seconds_of(work: Callable[[], object]) -> float:
    """Processor seconds of a call: other work on the machine disturbs them less than wall time."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def print_speed(title: str, texts: Sequence[bytes], rounds: int = 5) -> None:
    """Prints how long both take to tell the encodings, and to make text of the bytes; each text by both in turn."""
    try:
        from charset_normalizer import from_bytes, md  # noqa: PLC0415 - not everybody who runs this has it
    except ImportError:
        print("charset-normalizer is not installed (pip install charset-normalizer): no ratio")
        return

    def theirs(data: bytes) -> str | None:
        best = from_bytes(data).best()
        return best.encoding if best else None

    finding, reading, limit = [], [], []
    for _ in range(rounds):
        ours_found = theirs_found = ours_read = theirs_read = bare = 0.0
        for data in texts:
            ours_found += seconds_of(lambda: detect(data, "text"))  # noqa: B023 - called at once
            theirs_found += seconds_of(lambda: theirs(data))  # noqa: B023
            ours_read += seconds_of(lambda: decode(data))  # noqa: B023
            theirs_read += seconds_of(lambda: str(from_bytes(data).best()))  # noqa: B023
            encoding = decode(data).encoding
            bare += seconds_of(lambda: data.decode(encoding, errors="replace"))  # noqa: B023
        finding.append(theirs_found / ours_found)
        reading.append(theirs_read / ours_read)
        limit.append(theirs_read / bare)
    build = "pure Python" if str(md.__file__).endswith(".py") else "compiled"
    print(
        f"{title} ({len(texts)}, {sum(map(len, texts)) / 1e6:.1f} MB): time of charset-normalizer ({build}) over ours: "
        f"telling the encoding {statistics.median(finding):.1f}, bytes to text {statistics.median(reading):.1f}; "
        f"over decoding with the encoding known {statistics.median(limit):.1f}"
    )


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
    folders = [options.data / kind for kind in KINDS]
    files = [file.read_bytes() for folder in folders for file in sorted(folder.iterdir()) if file.is_file()]
    print_speed("whole files", files)
    print_speed("snippets", [data for _, _, _, data in draw_snippets(options.data, 300, options.seed)])


if __name__ == "__main__":
    main()
