"""Segmentation in several processes, with the same tokens in the same order as in one.

The workers are plain child processes fed by pipes: nothing is pickled, the caller's script is not imported again (it
needs no ``__main__`` guard), and every system starts them alike. A chunk goes out as UTF-8. Each worker numbers its
tokens as it meets them; what comes back are the tokens that are new to it, and the number of each token in the chunk.
So all that is left to the parent is to look the new ones up in the lexicon of the whole.
"""

import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import IO

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.runtime.control_characters import safe_terminal
from zh_lstm_lm.tokenizers.base import LosslessTokenizer
from zh_lstm_lm.tokenizers.registry import restore_tokenizer

__all__ = ["available_cores", "number_chunks", "tokenize_paragraphs"]

_HEADER = struct.Struct("<Q")


def available_cores() -> int:
    """The number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def tokenize_paragraphs(tokenizer: LosslessTokenizer, text: str) -> list[str]:
    r"""Cuts a text of several paragraphs; each paragraph but the last is followed by a ``"\n"`` token."""
    tokens: list[str] = []
    for number, paragraph in enumerate(text.split("\n")):
        if number:
            tokens.append("\n")
        tokens += tokenizer.tokenize(paragraph)
    return tokens


def number_chunks(
    tokenizer: LosslessTokenizer, chunks: Iterable[str], lexicon: dict[str, int], *, workers: int
) -> "Iterator[array[int]]":
    """Yields the numbers of the tokens of each chunk, in order.

    Args:
        tokenizer: The tokenizer; more than one process needs one that was made by name.
        chunks: Texts, each of whole paragraphs.
        lexicon: Token to number; a new token gets the next number, in the order of first appearance.
        workers: Number of processes; 1 does the work in this one.

    Raises:
        DataError: A worker process ended before its work was done.
    """
    if workers <= 1 or tokenizer.name is None or not sys.executable:
        for chunk in chunks:
            yield _number(tokenizer, chunk, lexicon)
        return
    greeting = json.dumps([tokenizer.name, tokenizer.options]).encode("utf-8")
    waiting: deque[tuple[_Worker, Future[tuple[list[str], array[int]]]]] = deque()
    pool: list[_Worker] = []

    def next_numbers() -> "array[int]":
        worker, answer = waiting.popleft()
        new, numbers = answer.result()
        worker.known.extend(lexicon.setdefault(token, len(lexicon)) for token in new)
        return array("i", map(worker.known.__getitem__, numbers))

    try:
        pool.extend(_Worker(greeting) for _ in range(workers))
        for order, chunk in enumerate(chunks):
            worker = pool[order % workers]
            waiting.append((worker, worker.submit(chunk)))
            if len(waiting) > 2 * workers:
                yield next_numbers()
        while waiting:
            yield next_numbers()
    finally:
        for worker in pool:
            worker.kill()
        for worker in pool:
            worker.wait()


def _number(tokenizer: LosslessTokenizer, text: str, lexicon: dict[str, int]) -> "array[int]":
    return array("i", [lexicon.setdefault(token, len(lexicon)) for token in tokenize_paragraphs(tokenizer, text)])


class _Worker:
    """A child process, and the thread that feeds it one chunk after the other.

    Attributes:
        known: Of each token by the child's number, the number in the lexicon of the whole.
    """

    def __init__(self, greeting: bytes) -> None:
        self.known = array("i")
        self._process = _start_worker()
        self._thread = ThreadPoolExecutor(1)
        self._thread.submit(self._greet, greeting)

    def submit(self, chunk: str) -> "Future[tuple[list[str], array[int]]]":
        """Sends a chunk when those before are done; gives the tokens that are new, and all by the child's number."""
        return self._thread.submit(self._ask, chunk)

    def kill(self) -> None:
        """Ends the child."""
        self._process.kill()

    def wait(self) -> None:
        """Waits until child and thread have ended."""
        self._thread.shutdown(cancel_futures=True)
        self._process.communicate()

    def _greet(self, greeting: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it ended: its first chunk will tell
            _send(self._process.stdin, greeting)

    def _ask(self, chunk: str) -> "tuple[list[str], array[int]]":
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            _send(self._process.stdin, chunk.encode("utf-8"))
            return json.loads(_receive(self._process.stdout)), array("i", _receive(self._process.stdout))
        except (OSError, EOFError) as error:
            self.kill()
            raise DataError(
                f"a worker process that segments text ended early (exit status {self._process.wait()}); use workers=1"
            ) from error


def _start_worker() -> "subprocess.Popen[bytes]":
    # The child finds this very package, however the parent came by it, and nothing in its working directory.
    code = (
        "import sys; sys.path[:] = filter(None, sys.path); sys.path.insert(0, sys.argv[1]); import zh_lstm_lm; "
        f"sys.path.append(sys.path.pop(0)); from {__name__} import serve; serve()"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parents[2])]
    # In a session of its own, a child does not see the terminal's Ctrl-C; it is the parent's to handle.
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)


def serve() -> None:
    """The worker's side: makes the tokenizer that the first message describes, then answers chunks.

    It ends when its input does, or nobody reads its answers: no worker outlives its parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for systems without sessions
    sys.stderr = safe_terminal(sys.stderr)
    try:
        tokenizer = restore_tokenizer(*json.loads(_receive(sys.stdin.buffer)))
        lexicon: dict[str, int] = {}
        while True:
            known = len(lexicon)
            numbers = _number(tokenizer, _receive(sys.stdin.buffer).decode("utf-8"), lexicon)
            new = [*islice(reversed(lexicon), len(lexicon) - known)][::-1]
            _send(sys.stdout.buffer, json.dumps(new).encode("utf-8"))
            _send(sys.stdout.buffer, numbers.tobytes())
    except EOFError:
        return
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing to complain of when Python flushes


def _send(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(_HEADER.pack(len(data)) + data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes:
    header = pipe.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise EOFError
    (size,) = _HEADER.unpack(header)
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data
