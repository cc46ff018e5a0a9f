"""Flushes to the disk, and file systems that lack a feature: its absence is warned of once, and work goes on."""

import contextlib
import errno
import functools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["flush_folder", "flush_open_file", "optional_feature"]

logger: logging.Logger = logging.getLogger(__name__)

_LACKING = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


@contextlib.contextmanager
def optional_feature(consequence: str) -> Iterator[None]:
    """Goes on without what the block does where the file system lacks it, and warns of the consequence."""
    try:
        yield
    except OSError as error:
        if error.errno not in _LACKING:
            raise
        _warn_once(consequence)


@functools.cache
def _warn_once(consequence: str) -> None:
    logger.warning("this file system %s", consequence)


def flush_open_file(descriptor: int) -> None:
    """Flushes an open file to the disk; raises OSError."""
    with optional_feature("cannot flush files, so a power failure may cost what was written shortly before it"):
        os.fsync(descriptor)


def flush_folder(path: Path) -> None:
    """Flushes the names in a folder to the disk; raises OSError. Windows has no such operation."""
    if os.name == "nt":
        return
    # A folder into which a user may write without reading it cannot be opened.
    with contextlib.suppress(PermissionError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            with optional_feature("cannot flush folders, so a power failure may undo the newest renames"):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
