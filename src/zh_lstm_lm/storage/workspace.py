"""Folders in which the library does what must be seen whole or not at all, and the finishing of what a crash left.

A workspace lies beside the file or folder that is written, under a name of its own. It holds a marker that names that
file or folder, and that its process keeps locked as long as it is at work:

- ``new``, ``file``, ``removed``: half-written or half-removed things, which nobody will miss
- ``old``, ``old1`` …: the folder that was replaced, whole, with files in it that may be its user's
- ``left``, ``left1`` …: what is left of one whose place has been taken

Nothing without the marker, of another owner, or behind a symbolic link is ever taken for a workspace.
"""

import contextlib
import itertools
import logging
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.storage.locks import try_lock
from zh_lstm_lm.storage.strict_json import parse_json, to_json

__all__ = ["finish_workspaces", "folders_set_aside", "give_up", "set_aside", "workspace"]

logger = logging.getLogger(__name__)

_PREFIX = ".zh-lstm-lm-"
_MARKER = "workspace.json"
_MAX_MARKER_BYTES = 1 << 14
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class _Marker(NamedTuple):
    """What a workspace is for.

    Attributes:
        target: Name of the file or folder beside it.
        owned: Names of the files that a folder of the target's kind consists of; all others are its user's.
    """

    target: str
    owned: frozenset[str]


@contextlib.contextmanager
def workspace(path: Path, *, owned: Iterable[str] = ()) -> Iterator[Path]:
    """Makes a workspace beside a path, and finishes and removes it when the block ends, however it ends.

    Args:
        path: What is written.
        owned: The names of the files that a folder of its kind consists of.

    Yields:
        The workspace.

    Raises:
        OSError: The system refuses.
    """
    place = path.with_name(f"{_PREFIX}{uuid.uuid4().hex}")
    marker = _Marker(path.name, frozenset(owned))
    place.mkdir()
    try:
        with _marked(place, marker):
            try:
                yield place
            finally:
                _finish(place, marker)
    finally:
        with contextlib.suppress(OSError):
            _remove_if_done(place)


def set_aside(place: Path, folder: Path) -> None:
    """Moves a folder that is being replaced into a workspace.

    Raises:
        OSError: The system refuses.
    """
    os.rename(folder, _free_name(place, "old"))


def give_up(place: Path) -> None:
    """Takes it that another folder is in the place of those that were set aside: no reader is to find them any more.

    Raises:
        OSError: The system refuses.
    """
    for old in _folders(place, "old"):
        os.rename(old, _free_name(place, "left"))


def folders_set_aside(path: Path) -> list[Path]:
    """The folders that replaced ones at `path` were moved to, the latest first: a reader may find its files there.

    Nothing is changed. A folder counts if it and its workspace belong to this user or to the owner of the folder above.
    """
    owners = {os.stat(path.parent).st_uid}
    found = [place for place, marker in _workspaces(path.parent, owners) if marker.target == path.name]
    return [old for place in found for old in _folders(place, "old") if _is_own_folder(old, owners)]


def finish_workspaces(folder: Path, *, target: str | None = None, alone: bool = False) -> None:
    """Finishes what crashed writers left.

    A folder that was replaced comes back where its place is empty, its user's files go where the new one is, and
    half-written things are removed.

    Args:
        folder: The folder that it lies in.
        target: The name of what was being written; None for anything.
        alone: Whether no other process writes into the folder, so that a workspace without a marker is a crashed one.
    """
    with contextlib.suppress(OSError):
        for place, marker in list(_workspaces(folder)):
            if target in (None, marker.target):
                with contextlib.suppress(OSError), _held(place):
                    _finish(place, marker)
                    _remove_if_done(place)
        for place in folder.glob(f"{_PREFIX}*") if alone else ():
            if _is_own_folder(place) and not any(map(_holds_something, place.iterdir())):
                _remove_if_done(place)


def _workspaces(folder: Path, owners: Iterable[int] = ()) -> Iterator[tuple[Path, _Marker]]:
    for place in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, CheckpointError):
            if _is_own_folder(place, owners):
                yield place, _read_marker(place / _MARKER, owners)


def _is_own_folder(path: Path, owners: Iterable[int] = ()) -> bool:
    status = os.lstat(path)
    return stat.S_ISDIR(status.st_mode) and _is_own(status, owners)


def _is_own(status: os.stat_result, owners: Iterable[int] = ()) -> bool:
    return os.name == "nt" or status.st_uid in (os.geteuid(), *owners)


@contextlib.contextmanager
def _marked(place: Path, marker: _Marker) -> Iterator[None]:
    """Writes the marker, and keeps it locked for the block."""
    descriptor = os.open(place / _MARKER, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFELY, 0o666)
    try:
        with contextlib.suppress(OSError):  # where the file system knows no locks, it knows none for others either
            try_lock(descriptor)
        os.write(descriptor, to_json({"target": marker.target, "owned": sorted(marker.owned)}))
        os.fsync(descriptor)
        yield
    finally:
        os.close(descriptor)


def _read_marker(path: Path, owners: Iterable[int]) -> _Marker:
    """Reads a marker; raises CheckpointError or OSError where it is none."""
    foreign = CheckpointError(f"{path}: not a marker of this library")
    descriptor = os.open(path, os.O_RDONLY | _SAFELY)
    try:
        status = os.fstat(descriptor)
        if not (stat.S_ISREG(status.st_mode) and _is_own(status, owners) and status.st_size <= _MAX_MARKER_BYTES):
            raise foreign
        values = parse_json(os.read(descriptor, _MAX_MARKER_BYTES), name=str(path))
    finally:
        os.close(descriptor)
    target, owned = (values.get(key) for key in ("target", "owned")) if isinstance(values, dict) else (None, None)
    if not isinstance(target, str) or not isinstance(owned, list):
        raise foreign
    if not all(isinstance(name, str) and Path(name).name == name for name in (target, *owned)):
        raise foreign
    return _Marker(target, frozenset(owned))


@contextlib.contextmanager
def _held(place: Path) -> Iterator[None]:
    """Locks the marker of a workspace whose process has ended; raises BlockingIOError if it has not."""
    descriptor = os.open(place / _MARKER, os.O_RDWR | _SAFELY)
    try:
        if not try_lock(descriptor):
            raise BlockingIOError
        yield
    finally:
        os.close(descriptor)


def _holds_something(entry: Path) -> bool:
    return entry.name != _MARKER or os.lstat(entry).st_size > 0


def _folders(place: Path, kind: str) -> list[Path]:
    """The folders of a kind in a workspace, the latest first."""
    found = [folder for folder in place.glob(f"{kind}*") if folder.is_dir() and not folder.is_symlink()]
    return sorted(found, key=lambda folder: (len(folder.name), folder.name), reverse=True)


def _free_name(place: Path, kind: str) -> Path:
    return next(path for number in itertools.count() if not os.path.lexists(path := place / f"{kind}{number or ''}"))


def _finish(place: Path, marker: _Marker) -> None:
    target = place.with_name(marker.target)
    if not os.path.lexists(target):
        for old in _folders(place, "old")[:1]:
            os.rename(old, target)
    give_up(place)  # first: a reader that finds one under its old name has all of it
    for left in _folders(place, "left"):
        _carry_over(left, target, marker.owned)


def _carry_over(left: Path, target: Path, owned: frozenset[str]) -> None:
    """Moves the user's files out of a folder that was replaced, and removes the folder; what finds no place stays."""
    for entry in list(left.iterdir()):
        if entry.name in owned and (entry.is_symlink() or not entry.is_dir()):
            entry.unlink()
        elif not target.is_symlink() and not os.path.lexists(target / entry.name):
            with contextlib.suppress(FileNotFoundError):  # another writer is about to put its folder there
                os.rename(entry, target / entry.name)
    if any(left.iterdir()):
        logger.warning(
            "%s: holds files of a folder that was replaced, whose names are taken; look for them there", left
        )
    else:
        left.rmdir()


def _remove_if_done(place: Path) -> None:
    """Removes a workspace, unless files of a user's are left in it; the marker goes last."""
    if _folders(place, "old") or _folders(place, "left"):
        return
    for entry in list(place.iterdir()):
        if entry.name != _MARKER:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    (place / _MARKER).unlink(missing_ok=True)
    place.rmdir()
