"""Locks: one process at a time in a folder, or at a file."""

import contextlib
import os
import platform
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.storage.file_systems import optional_feature

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["OPEN_SAFELY", "lock_file", "lock_folder", "try_lock"]

OPEN_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Flags to open a file with, and neither follow a symbolic link nor wait for a pipe."""

# The content of a lock that was just made, or that a crash has left; anything else is a user's file.
_MAX_LOCK_BYTES = 4096
_LOCK = re.compile(rb"(process \d+ on [^\n]*\n?)?")


def lock_folder(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Locks a folder for the block by a file ``lock`` that names this process, or raises CheckpointError.

    The system releases the lock of a process that ends in any way, so no lock is ever stale.
    """
    return _lock(folder / "lock", folder, "is at work in it; wait until it has ended, or give another folder")


def lock_file(path: Path) -> contextlib.AbstractContextManager[None]:
    """Locks a file for the block by a file ``PATH.lock``; see `lock_folder`."""
    lock = path.with_name(f"{path.name}.lock")
    return _lock(lock, path, "is writing it; wait until it has ended, or give another file")


def try_lock(descriptor: int) -> bool:
    """Locks an open file until it is closed; returns False if another process holds the lock. Raises OSError."""
    try:
        if sys.platform == "win32":
            # A locked part cannot be read, so it lies behind the content.
            os.lseek(descriptor, 1 << 30, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


@contextlib.contextmanager
def _lock(path: Path, held: Path, doing: str) -> Iterator[None]:
    try:
        descriptor, locked = _open_lock(path)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error.strerror}); check the folder and its permissions"
        ) from error
    content = _content(descriptor)
    if not locked or content is None or not _LOCK.fullmatch(content):
        os.close(descriptor)
        if not locked:
            name = "".join(filter(str.isprintable, (content or b"")[:200].decode("utf-8", "replace")))
            raise CheckpointError(f"{held}: {name or 'another process'} {doing}")
        raise CheckpointError(
            f"{path}: is there already, and is not a lock of this library; move it away, or give another place"
        )
    try:
        # A lock without a name is a lock.
        with contextlib.suppress(OSError):
            os.truncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
        yield
    finally:
        # Windows does not remove an open file.
        if sys.platform == "win32":
            os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
        if sys.platform != "win32":
            os.close(descriptor)


def _open_lock(path: Path) -> tuple[int, bool]:
    """Opens a file and locks it; returns its descriptor, and False if another process has locked it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | OPEN_SAFELY, 0o666)
        locked = True
        try:
            with optional_feature("has no locks, so nothing keeps a second process from working in the same place"):
                locked = try_lock(descriptor)
            # Its holder may have removed it just now.
            if not locked or os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor, locked
        except FileNotFoundError:
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _content(descriptor: int) -> bytes | None:
    """Returns the content of a lock; None for a large file, no regular file, or one that has another name."""
    with contextlib.suppress(OSError):
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1 and status.st_size <= _MAX_LOCK_BYTES:
            return os.read(descriptor, _MAX_LOCK_BYTES)
    return None
