"""The standard streams of a command: safe on a terminal, strict in a file, there even where they were closed."""

import contextlib
import os
import sys

from zh_lstm_lm.errors import ConfigError, DataError, escape_controls
from zh_lstm_lm.runtime.control_characters import safe_terminal

# True for type checkers; the command line loads this module, and not typing.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TextIO

__all__ = ["abandon", "deferred_failures", "regular_files", "standard_streams"]


class _Output:
    """A stream to a file or a pipe whose failures, a character that its encoding lacks among them, are DataErrors."""

    def __init__(self, stream: "TextIO") -> None:
        self._stream = stream
        self.deferred = self.written = False
        self.failure: Exception | None = None

    def write(self, text: str) -> int:
        """Writes text; see `io.TextIOBase.write`."""
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def writelines(self, lines: "Iterable[str]") -> None:
        """Writes texts one after the other."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flushes the stream."""
        self._attempt(self._stream.flush)
        self.written = True

    def _attempt(self, action: "Callable[[], object]") -> None:
        if self.failure is not None:
            return
        try:
            with _named_failures(self._stream):
                action()
        except (DataError, BrokenPipeError) as error:
            # A file that cannot be written at all is reported before the work.
            if not (self.deferred and self.written):
                raise
            self.failure = error

    def __getattr__(self, name: str) -> "Any":
        return getattr(self._stream, name)


class _Messages(_Output):
    """Standard error in a file or a pipe: what cannot be written there is dropped, and the work goes on."""

    def _attempt(self, action: "Callable[[], object]") -> None:
        with contextlib.suppress(OSError):
            action()


@contextlib.contextmanager
def _named_failures(stream: "TextIO") -> "Iterator[None]":
    try:
        yield
    except BrokenPipeError:
        raise
    except UnicodeEncodeError as error:
        raise DataError(
            f"standard output: its encoding {stream.encoding} has no {error.object[error.start]!r}; "
            "set PYTHONIOENCODING=utf-8"
        ) from error
    except OSError as error:
        raise DataError(
            f"standard output: cannot be written ({error.strerror}); check the file and its disk"
        ) from error


@contextlib.contextmanager
def standard_streams() -> "Iterator[None]":
    """Replaces the standard streams inside the block.

    A terminal gets control characters, and characters that it cannot show, escaped. A file or a pipe gets the text as it
    is, or an error. A stream that is closed reads as empty and drops what is written.
    """
    before = sys.stdin, sys.stdout, sys.stderr
    opened = [_null() if stream is None else stream for stream in before]
    terminals = [stream for stream in opened[1:] if stream.isatty() and hasattr(stream, "reconfigure")]
    errors = [stream.errors for stream in terminals]
    for stream in terminals:
        stream.reconfigure(errors="backslashreplace")
    sys.stdin = opened[0]
    sys.stdout = safe_terminal(opened[1]) if opened[1].isatty() else _Output(opened[1])
    sys.stderr = safe_terminal(opened[2]) if opened[2].isatty() else _Messages(opened[2])
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
        try:
            opened[2].flush()
        except OSError:
            # Messages that could not be written are still in its buffer.
            abandon(opened[2])
        for stream, error in zip(terminals, errors, strict=True):
            stream.reconfigure(errors=error)
        for stream in set(opened) - set(before):
            stream.close()


@contextlib.contextmanager
def deferred_failures() -> "Iterator[None]":
    """Lets work go on when standard output fails after its first lines; the failure is raised at the end."""
    output = sys.stdout
    if not isinstance(output, _Output):
        yield
        return
    output.deferred, output.written = True, False
    yield
    output.deferred = False
    failure, output.failure = output.failure, None
    if failure is not None:
        raise failure


def abandon(stream: "TextIO") -> None:
    """Drops what is left to write to a stream that cannot be written, so that the end of the process does not fail."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _null() -> "Any":
    """Opens a stream that is empty and drops what is written to it."""
    # A closed descriptor of the standard streams would be given to the next file that is opened.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    return open(descriptor, "r+", encoding="utf-8", buffering=1)


class _Copy(str):
    """The path of a copy of a pipe, and how messages call the pipe."""

    shown: str


@contextlib.contextmanager
def regular_files(parsed: "argparse.Namespace") -> "Iterator[None]":
    """Copies pipes and standard input among the paths of a corpus, which is read twice, into temporary files."""
    import stat

    corpora = {name: getattr(parsed, name, None) or [] for name in ("paths", "valid_file", "test_file", "like")}
    # Each once, since it can be read once.
    paths = dict.fromkeys(path for corpus in corpora.values() for path in corpus)
    pipes = [path for path in paths if path == "-" or (os.path.exists(path) and stat.S_ISFIFO(os.stat(path).st_mode))]
    if not pipes:
        yield
        return
    if "-" in paths and "-" in (getattr(parsed, "text", None), *(getattr(parsed, "rename", None) or ())):
        raise ConfigError(
            "standard input can be read once, and - stands for two different texts; put one of them into a file"
        )
    import shutil
    import tempfile

    copies = {}
    with contextlib.ExitStack() as stack:
        for number, pipe in enumerate(pipes, 1):
            shown = "standard input" if pipe == "-" else escape_controls(pipe)
            name = "standard-input.txt" if pipe == "-" else f"pipe-{number}.txt"
            try:
                copies[pipe] = _Copy(os.path.join(stack.enter_context(tempfile.TemporaryDirectory()), name))
                copies[pipe].shown = shown
                with (
                    contextlib.nullcontext(sys.stdin.buffer) if pipe == "-" else open(pipe, "rb") as source,
                    open(copies[pipe], "wb") as copy,
                ):
                    shutil.copyfileobj(source, copy)
            except OSError as error:
                raise DataError(
                    f"{shown}: cannot be copied into a temporary file ({error.strerror}); free some space, or set TMPDIR "
                    "to a folder on another disk"
                ) from error
        for name, corpus in corpora.items():
            if corpus:
                setattr(parsed, name, [copies.get(path, path) for path in corpus])
        yield
