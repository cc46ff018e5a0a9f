"""One process at a time in a folder, or at a file."""

import contextlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from zh_lstm_lm.errors import CheckpointError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["lock_file", "lock_folder"]


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
    try:
        with contextlib.suppress(OSError):  # a lock without a name is a lock
            os.truncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
        yield
    finally:
        if sys.platform == "win32":  # which does not remove an open file
            os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
        if sys.platform != "win32":
            os.close(descriptor)


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError):
        written = path.read_bytes()[:200].decode("utf-8", "replace")
        return "".join(filter(str.isprintable, written)) or "another process"
    return "another process"


def _open_lock(path: Path) -> int | None:
    """Opens and locks a file; None if somebody else has locked it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if sys.platform == "win32":
                os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # what is locked there cannot be read
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
                os.lseek(descriptor, 0, os.SEEK_SET)
            else:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:  # its holder has just given it up
            pass
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
