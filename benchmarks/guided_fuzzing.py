"""The readers of `fuzzing.py` with inputs that atheris looks for: those that reach new lines of the library.

    pip install atheris
    python benchmarks/guided_fuzzing.py --inputs 100000

Every choice that `fuzzing.py` draws at random is taken from the fuzzer's bytes here, so that what led somewhere new is
kept and changed further; half of the damaged files are the fuzzer's bytes themselves. Each reader has a process of its
own. What comes out that is no error of the library ends the run, and the bytes are kept in a file ``crash-…``.
"""

import argparse
import contextlib
import logging
import random
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["zh_lstm_lm"]):
    import fuzzing

    from zh_lstm_lm import ZhLstmLmError


class Guided(random.Random):
    """Choices out of given bytes; zeros when they are used up."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data, self._place = data, 0

    def _take(self, length: int) -> bytes:
        taken = self._data[self._place : self._place + length]
        self._place += length
        return taken

    def random(self) -> float:
        """A number in [0, 1)."""
        return int.from_bytes(self._take(2), "little") / 65536

    def getrandbits(self, k: int, /) -> int:
        """A number of so many bits."""
        return int.from_bytes(self._take((k + 7) // 8), "little") & ((1 << k) - 1)

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self._take(len(self._data))


def damaged_bytes(data: bytes, chance: random.Random) -> bytes:
    """A damaged example, or the fuzzer's bytes themselves."""
    if isinstance(chance, Guided) and chance.getrandbits(1):
        return chance.rest()
    return _damaged_example(data, chance)


_damaged_example, fuzzing.damaged_bytes = fuzzing.damaged_bytes, damaged_bytes


def guide(reader: str, inputs: int, seed: int) -> None:
    """Lets atheris look for inputs of one reader; ends the process."""
    with tempfile.TemporaryDirectory() as place:
        read = getattr(fuzzing.Readers(Path(place)), reader)

        def test(data: bytes) -> None:
            with contextlib.suppress(ZhLstmLmError):
                read(Guided(data))

        options = [f"-runs={inputs}", f"-seed={seed}", "-max_len=512", "-rss_limit_mb=4096"]
        atheris.Setup([sys.argv[0], *options], test)
        atheris.Fuzz()


def main() -> None:
    """Runs one reader, or all of them one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, required=True, help="for each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reader", choices=list(fuzzing.SHARES), help="only this one, with all that atheris prints")
    parsed = parser.parse_args()
    logging.getLogger("zh_lstm_lm").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    if parsed.reader:
        guide(parsed.reader, parsed.inputs, parsed.seed)
    for reader in fuzzing.SHARES:
        command = [
            sys.executable,
            __file__,
            "--reader",
            reader,
            "--inputs",
            str(parsed.inputs),
            "--seed",
            str(parsed.seed),
        ]
        told = subprocess.run(command, capture_output=True, text=True, check=False).stderr
        runs, reached = re.findall(r"Done (\d+) runs", told), re.findall(r"cov: (\d+)", told)
        if not runs:
            sys.exit(f"{reader}: {told[-4000:]}")
        print(
            f"{reader:<11} {int(runs[-1]):9,} inputs, {int(reached[-1]):5,} places reached, nothing but errors of the library",
            flush=True,
        )


if __name__ == "__main__":
    main()
