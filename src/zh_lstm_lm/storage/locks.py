"""One process at a time in a folder, or at a file."""

import contextlib
import os
import platform
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from zh_lstm_lm.errors import CheckpointError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["lock_file", "lock_folder", "try_lock"]

_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def lock_folder(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Holds a folder for the block, in a file ``lock`` that names the holder.

    The system takes the lock away from a process that ends, however it ends, so no lock is ever stale.

    Raises:
        CheckpointError: Somebody else holds it, or the file cannot be written.
    """
    return _lock(folder / "lock", folder, "is at work in it; wait until it has ended, or give another folder")


def lock_file(path: Path) -> contextlib.AbstractContextManager[None]:
    """Holds a file that is being written, as `lock_folder` does a folder, in ``PATH.lock``.

    Raises:
        CheckpointError: Somebody else holds it, or the lock cannot be written.
    """
    lock = path.with_name(f"{path.name}.lock")
    return _lock(lock, path, "is writing it; wait until it has ended, or give another file")


def try_lock(descriptor: int) -> bool:
    """Locks an open file for this process, unless another one has; the system takes the lock away when it is closed.

    Returns:
        Whether it is locked now.

    Raises:
        OSError: The file system knows no locks.
    """
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # what is locked there cannot be read
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
        descriptor = _open_lock(path)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error.strerror}); check the folder and its permissions"
        ) from error
    if descriptor is None:
        raise CheckpointError(f"{held}: {_holder(path)} {doing}")
    if not _is_lock(descriptor):
        os.close(descriptor)
        raise CheckpointError(
            f"{path}: is there already, and is not a lock of this library; move it away, or give another place"
        )
    try:
        with contextlib.suppress(OSError):  # a lock without a name is a lock
            os.truncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
        yield
    finally:
        if sys.platform == "win32":  # which does not remove an open file
            os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
        if sys.platform != "win32":
            os.close(descriptor)


def _is_lock(descriptor: int) -> bool:
    """Whether an open file is a lock that was just made or that a crash has left, and nobody's own file."""
    status = os.fstat(descriptor)
    whole = stat.S_ISREG(status.st_mode) and status.st_nlink <= 1
    return whole and re.fullmatch(rb"(process \d+ on [^\n]*\n?)?", os.read(descriptor, 4096)) is not None


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError):
        written = path.read_bytes()[:200].decode("utf-8", "replace")
        return "".join(filter(str.isprintable, written)) or "another process"
    return "another process"


def _open_lock(path: Path) -> int | None:
    """Opens and locks a file; None if somebody else has locked it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _SAFELY, 0o666)
        try:
            locked = try_lock(descriptor)
            if locked and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:  # its holder has just given it up
            locked = True
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if not locked:
            return None
