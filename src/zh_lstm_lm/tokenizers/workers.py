"""Segmentation in several processes, with the same tokens in the same order as in one.

The workers are plain child processes fed by pipes: nothing is pickled, the caller's script is not imported again (it
needs no ``__main__`` guard), and every system starts them alike. A chunk goes out as UTF-8; what comes back is only
the length of each token, since tokens concatenate to their text.
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
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.tokenizers.base import LosslessTokenizer
from zh_lstm_lm.tokenizers.registry import restore_tokenizer

__all__ = ["available_cores", "tokenize_chunks", "tokenize_paragraphs"]

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


def tokenize_chunks(tokenizer: LosslessTokenizer, chunks: Iterable[str], *, workers: int) -> Iterator[list[str]]:
    """Yields `tokenize_paragraphs` of each chunk, in order.

    Args:
        tokenizer: The tokenizer; more than one process needs one that was made by name.
        chunks: Texts, each of whole paragraphs.
        workers: Number of processes; 1 does the work in this one.

    Raises:
        DataError: A worker process ended before its work was done.
    """
    if workers <= 1 or tokenizer.name is None or not sys.executable:
        for chunk in chunks:
            yield tokenize_paragraphs(tokenizer, chunk)
        return
    idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
    greeting = json.dumps([tokenizer.name, tokenizer.options]).encode("utf-8")

    def greet(process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # it ended: its first chunk will tell
            _send(process.stdin, greeting)
        idle.put(process)

    def run(chunk: str) -> list[str]:
        process = idle.get()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            _send(process.stdin, chunk.encode("utf-8"))
            lengths = array("I", _receive(process.stdout))
        except (OSError, EOFError) as error:
            process.kill()
            raise DataError(
                f"a worker process that segments text ended early (exit status {process.wait()}); use workers=1"
            ) from error
        finally:
            idle.put(process)
        tokens, start = [], 0
        for length in lengths:
            tokens.append(chunk[start : start + length])
            start += length
        return tokens

    waiting: deque[Future[list[str]]] = deque()
    processes: list[subprocess.Popen[bytes]] = []
    threads = ThreadPoolExecutor(workers)
    try:
        for _ in range(workers):
            processes.append(_start_worker())
            threads.submit(greet, processes[-1])
        for chunk in chunks:
            waiting.append(threads.submit(run, chunk))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for process in processes:
            process.kill()
        threads.shutdown(cancel_futures=True)
        for process in processes:
            process.communicate()


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
    try:
        tokenizer = restore_tokenizer(*json.loads(_receive(sys.stdin.buffer)))
        while True:
            text = _receive(sys.stdin.buffer).decode("utf-8")
            _send(sys.stdout.buffer, array("I", map(len, tokenize_paragraphs(tokenizer, text))).tobytes())
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
