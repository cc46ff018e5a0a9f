"""Ctrl-C as a flag that long work looks at between two steps, so that it can save and return."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interruption", "catch_interruption"]


class Interruption:
    """Whether the user has asked to stop.

    Attributes:
        requested: True from the first Ctrl-C on.
    """

    requested = False


@contextmanager
def catch_interruption() -> Iterator[Interruption]:
    """Turns the first SIGINT inside the block into a flag; a second one raises KeyboardInterrupt at once.

    The handler that was there comes back at the end. Outside the main thread, where Python has no signals, the flag
    is never set.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        if interruption.requested:
            raise KeyboardInterrupt
        interruption.requested = True

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, before)
