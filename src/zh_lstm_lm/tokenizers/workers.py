"""Segmentation in several processes, with the same tokens in the same order as in one process.

The workers are child processes fed by pipes: nothing is pickled, the caller's script is not imported again (it needs no
``__main__`` guard), and every system starts them alike. A worker is a Python interpreter; where this process was started
by another program (a frozen application, a program with Python embedded), that program would be started a second time, so
the work is done in this process. A chunk is sent as UTF-8. Each worker numbers its tokens in the order of appearance, and
returns the tokens that are new to it and the number of each token in the chunk. The parent only looks up the new tokens in
the common lexicon.
"""

import contextlib
import json
import logging
import os
import re
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
from zh_lstm_lm.runtime.control_characters import get_logger, safe_terminal
from zh_lstm_lm.tokenizers.base import LosslessTokenizer
from zh_lstm_lm.tokenizers.registry import restore_tokenizer

__all__ = ["number_chunks", "tokenize_paragraphs"]

logger: logging.Logger = get_logger(__name__)

_HEADER = struct.Struct("<Q")
_INTERPRETER = re.compile(r"(python|pypy|graalpy)[0-9.]*[a-z]?(_d)?(\.exe)?", re.IGNORECASE)


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
    """Yields the numbers of the tokens of each chunk, of whole paragraphs, in order.

    A new token gets the next number of the lexicon, in the order of first appearance. A user's object, which has no
    name, is used in this process only, as any is with one worker. A worker that ends early raises DataError.
    """
    pool = _start_workers(tokenizer, workers) if workers > 1 and tokenizer.name is not None else []
    if not pool:
        for chunk in chunks:
            yield _number(tokenizer, chunk, lexicon)
        return
    waiting: deque[tuple[_Worker, Future[tuple[list[str], array[int]]]]] = deque()

    def next_numbers() -> "array[int]":
        worker, answer = waiting.popleft()
        new, numbers = answer.result()
        worker.known.extend(lexicon.setdefault(token, len(lexicon)) for token in new)
        return array("i", map(worker.known.__getitem__, numbers))

    try:
        for index, chunk in enumerate(chunks):
            worker = pool[index % workers]
            waiting.append((worker, worker.submit(chunk)))
            if len(waiting) > 2 * workers:
                yield next_numbers()
        while waiting:
            yield next_numbers()
    finally:
        _end_workers(pool)


def _number(tokenizer: LosslessTokenizer, text: str, lexicon: dict[str, int]) -> "array[int]":
    return array("i", [lexicon.setdefault(token, len(lexicon)) for token in tokenize_paragraphs(tokenizer, text)])


class _Worker:
    """A child process, and the thread that feeds it; `known` maps the child's numbers of tokens to the lexicon's."""

    def __init__(self, greeting: bytes) -> None:
        self.known = array("i")
        self._process = _start_process()
        self._thread = ThreadPoolExecutor(1)
        self._thread.submit(self._greet, greeting)

    def submit(self, chunk: str) -> "Future[tuple[list[str], array[int]]]":
        """Sends a chunk after those before it; the result is the new tokens, and all tokens by the child's number."""
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
        # If the child has ended, the first chunk raises the error.
        with contextlib.suppress(OSError):
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


def _start_workers(tokenizer: LosslessTokenizer, workers: int) -> list[_Worker]:
    """Starts workers; returns an empty list and logs the reason if this process cannot start any."""
    reason = _not_an_interpreter()
    greeting = json.dumps([tokenizer.name, tokenizer.options]).encode("utf-8")
    pool: list[_Worker] = []
    try:
        if reason is None:
            pool.extend(_Worker(greeting) for _ in range(workers))
            return pool
    except BaseException as error:
        _end_workers(pool)
        if not isinstance(error, OSError):
            raise
        reason = f"{sys.executable} cannot be started ({error.strerror or error})"
    logger.warning("text is segmented in one process, not in %d: %s", workers, reason)
    return []


def _not_an_interpreter() -> str | None:
    """Returns the reason why ``sys.executable`` is not a Python interpreter; None if it is one."""
    if getattr(sys, "frozen", False):
        return "this is a frozen application, which would be started again"
    name = os.path.basename((sys.executable or "").replace("\\", "/"))
    if _INTERPRETER.fullmatch(name) is None:
        return f"sys.executable is {sys.executable!r}, which is not a Python interpreter"
    return None


def _end_workers(pool: Iterable[_Worker]) -> None:
    for worker in pool:
        worker.kill()
    for worker in pool:
        worker.wait()


def _start_process() -> "subprocess.Popen[bytes]":
    # The child finds the parent's copy of this package, and imports nothing from its working directory.
    code = (
        "import sys; sys.path[:] = filter(None, sys.path); sys.path.insert(0, sys.argv[1]); import zh_lstm_lm; "
        f"sys.path.append(sys.path.pop(0)); from {__name__} import serve; serve()"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parents[2])]
    # In a session of its own, a child does not receive the terminal's Ctrl-C, which the parent handles.
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)


def serve() -> None:
    """Runs a worker: makes the tokenizer that the first message describes, then answers chunks.

    It ends with its input, or when nobody reads its answers: no worker outlives its parent.
    """
    # Systems without sessions send Ctrl-C to the workers as well.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
        # Python flushes the standard output at exit, which must not raise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
