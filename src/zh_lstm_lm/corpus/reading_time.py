"""An estimate of the time that reading takes, from the rate of the tokenizer on the start of a file."""

import time
from collections.abc import Sequence

from zh_lstm_lm.errors import ZhLstmLmError
from zh_lstm_lm.text.decoding import decode
from zh_lstm_lm.text.files import TextFile
from zh_lstm_lm.tokenizers.base import LosslessTokenizer
from zh_lstm_lm.tokenizers.workers import available_cores

__all__ = ["estimate_reading"]

_PROBE_BYTES = 1 << 16
# Smaller corpora are read by one process, larger ones by at most eight.
_PARALLEL_BYTES = 4_000_000
_MOST_WORKERS = 8


def estimate_reading(
    files: Sequence[TextFile], tokenizer: LosslessTokenizer, *, encoding: str = "auto", workers: int | None = None
) -> float | None:
    """Estimates the seconds that it takes to read and segment files that are not in the cache.

    Args:
        files: The files, at least one.
        tokenizer: The tokenizer.
        encoding: ``"auto"``, or the encoding of all files.
        workers: Number of processes; None for the number that `TokenStream.from_files` chooses.

    Returns:
        The estimate; None for a file that cannot be decoded, which is reported when it is read.
    """
    sizes = [file.path.stat().st_size for file in files]
    largest = files[sizes.index(max(sizes))]
    with largest.open() as stream:
        start = stream.read(_PROBE_BYTES)
    try:
        text = decode(start, encoding=encoding, name=str(largest)).text
    except ZhLstmLmError:
        return None
    # The first call loads the dictionary.
    tokenizer.tokenize(text[:100])
    began = time.perf_counter()
    tokenizer.tokenize(text)
    seconds = (time.perf_counter() - began) * sum(sizes) / max(len(start), 1)
    if workers is None:
        workers = min(available_cores(), _MOST_WORKERS) if sum(sizes) > _PARALLEL_BYTES else 1
    return seconds / workers
