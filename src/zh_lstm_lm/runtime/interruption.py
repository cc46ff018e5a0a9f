"""SIGINT (Ctrl-C) and SIGTERM as a flag that long work looks at between two steps, so that it can save and return."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interruption", "catch_interruption", "check_interruption"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_blocks: list["Interruption"] = []  # the main thread's, while it is open


class Interruption:
    """Whether the process was asked to stop; it is the handler of its signals itself.

    Attributes:
        requested: True from the first signal on.
        insisted: True from the second one on, which raises KeyboardInterrupt at once.
        signum: The first signal's number; None before it.
    """

    def __init__(self) -> None:
        self.requested = self.insisted = False
        self.signum: int | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Takes a signal."""
        if self.requested:
            self.insisted = True
            raise KeyboardInterrupt
        self.requested, self.signum = True, signum


@contextmanager
def catch_interruption() -> Iterator[Interruption]:
    """Turns the first SIGINT or SIGTERM inside the block into a flag; a second one raises KeyboardInterrupt at once.

    The handlers that were there come back at the end; a signal that was ignored stays so. If the block is left by
    KeyboardInterrupt because of a SIGTERM, that is raised again for the old handler, which by default ends the process.
    A block inside another one has the other's flag. Outside the main thread, where Python has no signals, the flag is
    never set.
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
        abandoned = interruption.signum == signal.SIGTERM
        raise
    finally:
        _blocks.clear()
        for signum in caught:
            signal.signal(signum, before[signum])
        if abandoned:
            signal.raise_signal(signal.SIGTERM)


def check_interruption() -> None:
    """Raises KeyboardInterrupt if a `catch_interruption` block around this call has caught a signal.

    Work that has nothing to save itself calls this between two steps, so that what is around it can save at once.
    """
    around = _block_around()
    if around is not None and around.requested:
        raise KeyboardInterrupt


def _block_around() -> Interruption | None:
    """The flag of a block around the caller; there is none in other threads than the main one."""
    return _blocks[0] if _blocks and threading.current_thread() is threading.main_thread() else None
