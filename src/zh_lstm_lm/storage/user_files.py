"""Files that a user names, written completely or not at all."""

import contextlib
import os
import stat
from os import PathLike
from pathlib import Path

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.storage.atomic import replace_file, write_flushed
from zh_lstm_lm.storage.workspace import workspace

__all__ = ["check_file", "check_writable", "is_special", "keep_mode", "write_file"]


def write_file(path: str | PathLike[str], data: bytes) -> None:
    """Writes a file; a crash or a full disk leaves an existing one unchanged.

    A symbolic link stays, and its target is replaced. A replaced file keeps its mode and owner. A pipe, a device and
    ``/dev/stdout`` are written to directly.
    """
    path = Path(path)
    try:
        if is_special(path):
            with open(path, "ab", buffering=0) as file:
                file.write(data)
            return
        target = Path(os.path.realpath(path))
        check_writable(target)
        with workspace(target) as place:
            write_flushed(place / "file", data)
            keep_mode(place / "file", target)
            replace_file(place / "file", target)
    # A path with a zero byte raises a ValueError.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be written ({reason}); choose another file") from error


def check_file(path: str | PathLike[str]) -> None:
    """Makes sure, before long work, that `write_file` can write a file; raises DataError if not."""
    target = Path(path).resolve()
    try:
        if not is_special(Path(path)):
            check_writable(target)
            if not target.parent.is_dir():
                raise FileNotFoundError(None, f"there is no folder {target.parent}")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); choose another file") from error


def is_special(path: Path) -> bool:
    """Returns True for what is neither a regular file nor a folder, and for another name of an open file."""
    if path.is_absolute() and path.parts[1:2] in (("dev",), ("proc",)):
        return path.exists()
    return path.exists() and not path.is_file() and not path.is_dir()


def check_writable(target: Path) -> None:
    """Raises OSError if a file is a folder or may not be written to, although its folder would let it be replaced."""
    if target.is_dir():
        raise IsADirectoryError(None, "it is a folder")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(None, "it may not be written to")


def keep_mode(file: Path, target: Path) -> None:
    """Gives a file the mode, and the owner if that is allowed, of the one that it is about to replace."""
    with contextlib.suppress(OSError):
        status = target.stat()
        # Windows has no owners.
        with contextlib.suppress(OSError, AttributeError):
            os.chown(file, status.st_uid, status.st_gid)
        file.chmod(stat.S_IMODE(status.st_mode))
