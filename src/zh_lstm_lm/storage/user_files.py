"""Files that a user names, written completely or not at all."""

import contextlib
import logging
import os
import shutil
import stat
from collections.abc import Iterator
from itertools import count
from os import PathLike
from pathlib import Path

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.storage.atomic import replace_file, write_flushed
from zh_lstm_lm.storage.workspace import finish_workspaces, workspace

__all__ = ["check_file", "check_writable", "is_special", "keep_earlier", "keep_mode", "write_file"]

_COMPARED_BYTES = 1 << 20
logger: logging.Logger = logging.getLogger(__name__)


def write_file(path: str | PathLike[str], data: bytes, *, keep: bool = False) -> None:
    """Writes a file; a crash or a full disk leaves an existing one unchanged.

    A symbolic link stays, and its target is replaced. A replaced file keeps its mode and owner. A pipe, a device and
    ``/dev/stdout`` are written to directly. With `keep`, an existing file is kept under another name; see `keep_earlier`.
    """
    path = Path(path)
    try:
        if is_special(path):
            with open(path, "ab", buffering=0) as file:
                file.write(data)
            return
        target = Path(os.path.realpath(path))
        check_writable(target)
        finish_workspaces(target.parent, target=target.name)
        with workspace(target) as place:
            write_flushed(place / "file", data)
            keep_mode(place / "file", target)
            with keep_earlier(target, place / "file") if keep else contextlib.nullcontext():
                replace_file(place / "file", target)
    # A path with a zero byte raises a ValueError.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be written ({reason}); choose another file") from error


def check_file(path: str | PathLike[str]) -> None:
    """Makes sure, before long work, that `write_file` can write a file; raises DataError if not."""
    try:
        target = Path(path).resolve()
        if not is_special(Path(path)):
            check_writable(target)
            if not target.parent.is_dir():
                raise FileNotFoundError(None, f"there is no folder {target.parent}")
    # A path with a zero byte or a lone surrogate raises a ValueError.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be written ({reason}); choose another file") from error


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


@contextlib.contextmanager
def keep_earlier(target: Path, new: Path) -> Iterator[None]:
    """Keeps a file that the block replaces as ``NAME.~1~``, or with the next free number, and warns.

    Nothing is kept of a file that the new one begins with: a text that is continued, or written again.
    """
    if not target.exists() or _begins_with(new, target):
        yield
        return
    names = (target.with_name(f"{target.name}.~{number}~") for number in count(1))
    kept = next(name for name in names if not os.path.lexists(name))
    try:
        os.link(target, kept)
    except OSError:
        # Some file systems have no links.
        with target.open("rb") as source, kept.open("xb") as copy:
            shutil.copyfileobj(source, copy)
    try:
        yield
    except BaseException:
        kept.unlink()  # the file is still in its place
        raise
    logger.warning("%s: the earlier file is kept as %s", target, kept.name)


def _begins_with(file: Path, beginning: Path) -> bool:
    with file.open("rb") as whole, beginning.open("rb") as part:
        while read := part.read(_COMPARED_BYTES):
            if whole.read(len(read)) != read:
                return False
    return True
