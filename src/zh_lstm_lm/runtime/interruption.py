"""SIGINT (Ctrl-C), SIGTERM and SIGHUP as a flag that long work checks between two steps, to save and return."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interruption", "catch_interruption", "check_interruption", "ended_by_signals"]

# Windows has no SIGHUP, which a process gets when its terminal is closed.
_SIGNALS = [signal.SIGINT, signal.SIGTERM]
if hasattr(signal, "SIGHUP"):
    _SIGNALS.append(signal.SIGHUP)
# The open block of the main thread.
_blocks: list["Interruption"] = []


class Interruption:
    """A request to stop, and the signals' handler: `requested` by the first, `insisted` by the second."""

    def __init__(self) -> None:
        self.requested: bool = False
        self.insisted: bool = False
        self.signum: int | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Handles a signal."""
        if self.requested:
            self.insisted = True
            raise KeyboardInterrupt
        self.requested, self.signum = True, signum

    @contextmanager
    def leaving_block(self) -> Iterator[None]:
        """Leaves the block early, without an error, if the work in it notices the first signal."""
        try:
            yield
        except KeyboardInterrupt:
            if self.insisted or not self.requested:
                raise


@contextmanager
def catch_interruption() -> Iterator[Interruption]:
    """Turns the first SIGINT, SIGTERM or SIGHUP inside the block into a flag; a second one raises KeyboardInterrupt.

    The previous handlers are restored at the end; a signal that was ignored, as SIGHUP is under ``nohup``, stays ignored.
    If the block is left by KeyboardInterrupt because of a SIGTERM or SIGHUP, that is raised again for the previous
    handler, which by default ends the process. A block inside another one has the flag of the outer one. Outside the
    main thread, where Python has no signals, the flag is never set.
    """
    around = _block_around()
    if around is not None or threading.current_thread() is not threading.main_thread():
        yield around or Interruption()
        return
    interruption = Interruption()
    before = {signum: signal.getsignal(signum) for signum in _SIGNALS}
    caught = [signum for signum in _SIGNALS if before[signum] not in (signal.SIG_IGN, None)]
    abandoned = False
    try:
        _blocks.append(interruption)
        for signum in caught:
            signal.signal(signum, interruption)
        yield interruption
    except KeyboardInterrupt:
        abandoned = interruption.signum not in (None, signal.SIGINT)
        raise
    finally:
        _blocks.clear()
        for signum in caught:
            signal.signal(signum, before[signum])
        if abandoned:
            assert interruption.signum is not None
            signal.raise_signal(interruption.signum)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Leaves the block at a SIGTERM or SIGHUP, so that temporary files are removed, and lets the signal end the process.

    A second one ends it at once. Signals that are ignored or handled already stay so, and all do outside the main thread.
    """
    received: list[int] = []

    def leave(signum: int, frame: FrameType | None) -> None:
        signal.signal(signum, signal.SIG_DFL)
        received.append(signum)
        # Nothing that waits for Ctrl-C, as co-writing does, is to catch it.
        raise SystemExit

    in_main = threading.current_thread() is threading.main_thread()
    caught = [signum for signum in _SIGNALS[1:] if in_main and signal.getsignal(signum) == signal.SIG_DFL]
    try:
        for signum in caught:
            signal.signal(signum, leave)
        yield
    finally:
        for signum in caught:
            signal.signal(signum, signal.SIG_DFL)
        if received:
            signal.raise_signal(received[0])


def check_interruption() -> None:
    """Raises KeyboardInterrupt if a signal was caught, between two steps of work that has nothing to save itself."""
    around = _block_around()
    if around is not None and around.requested:
        raise KeyboardInterrupt


def _block_around() -> Interruption | None:
    """Returns the flag of a block around the caller; there is none outside the main thread."""
    return _blocks[0] if _blocks and threading.current_thread() is threading.main_thread() else None
