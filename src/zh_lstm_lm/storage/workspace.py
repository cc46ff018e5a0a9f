"""Workspaces: folders beside a file or folder that is being written, and the cleanup of those that a crash has left.

A workspace holds a marker that names its target and that its process keeps locked while it is at work, and:

- ``new``, ``file``, ``removed``: incomplete data, which can be deleted
- ``old``, ``old1`` …: the complete folder that is being replaced, possibly with files of its user
- ``left``, ``left1`` …: the remains of one whose place has been taken

A folder without the marker, of another owner, or behind a symbolic link is never taken for a workspace. The marker names
the inode of its folder, so that one that came in an archive or was copied is read from at most, and never finished.
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
from typing import Any, NamedTuple

from zh_lstm_lm.errors import CheckpointError, escape_controls
from zh_lstm_lm.storage.file_systems import flush_open_file
from zh_lstm_lm.storage.locks import OPEN_SAFELY, try_lock
from zh_lstm_lm.storage.strict_json import parse_json, to_json

__all__ = ["finish_workspaces", "folders_set_aside", "give_up", "is_folder", "set_aside", "workspace"]

logger: logging.Logger = logging.getLogger(__name__)

_PREFIX = ".zh-lstm-lm-"
_MARKER = "workspace.json"
_MAX_MARKER_BYTES = 1 << 14
# Others in the same folder are ignored, so that a stranger's archive cannot cause more work.
_MAX_WORKSPACES = 256


class _Marker(NamedTuple):
    """The purpose of a workspace: its target beside it, by name, and the files that such a folder consists of."""

    target: str
    owned: frozenset[str]
    inode: int


@contextlib.contextmanager
def workspace(path: Path, *, owned: Iterable[str] = ()) -> Iterator[Path]:
    """Makes a workspace beside a path, finished and removed after the block; files not `owned` are the user's."""
    place = path.with_name(f"{_PREFIX}{uuid.uuid4().hex}")
    place.mkdir()
    marker = _Marker(path.name, frozenset(owned), os.lstat(place).st_ino)
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
    """Moves a folder that is being replaced into a workspace; raises OSError."""
    os.rename(folder, _free_name(place, "old"))


def give_up(place: Path) -> None:
    """Hides the folders that were set aside from readers, once their place has been taken; raises OSError."""
    for old in _folders(place, "old"):
        os.rename(old, _free_name(place, "left"))


def folders_set_aside(path: Path) -> list[Path]:
    """Returns the folders that were moved away from `path`, the latest first, for readers; nothing is changed.

    A folder counts if it and its workspace belong to this user or to the owner of the folder above.
    """
    owners = {os.stat(path.parent).st_uid}
    found = [place for place, marker in _workspaces(path.parent, owners) if marker.target == path.name]
    return [old for place in found for old in _folders(place, "old") if _is_own_folder(old, owners)]


def finish_workspaces(folder: Path, *, target: str | None = None, alone: bool = False) -> None:
    """Finishes the workspaces of crashed writers of a target in a folder, or of any for None.

    A folder that was set aside returns to its place if that is free, its user's files are moved to the folder that took
    its place, and incomplete data is removed. If no other process writes into the folder, `alone`, a workspace without
    a marker is a crashed one.
    """
    with contextlib.suppress(OSError):
        for place, marker in list(_workspaces(folder)):
            if target in (None, marker.target) and marker.inode == os.lstat(place).st_ino:
                with contextlib.suppress(OSError), _held(place):
                    _finish(place, marker)
                    _remove_if_done(place)
        for place in folder.glob(f"{_PREFIX}*") if alone else ():
            # A crash may have come before the marker was written.
            if _is_own_folder(place) and all(
                entry.name == _MARKER and not os.lstat(entry).st_size for entry in place.iterdir()
            ):
                _remove_if_done(place)


def is_folder(path: Path) -> bool:
    """Returns True for a folder that is not a symbolic link."""
    return path.is_dir() and not path.is_symlink()


def _workspaces(folder: Path, owners: Iterable[int] = ()) -> Iterator[tuple[Path, _Marker]]:
    for place in itertools.islice(folder.glob(f"{_PREFIX}*"), _MAX_WORKSPACES):
        with contextlib.suppress(OSError, CheckpointError):
            if _is_own_folder(place, owners):
                yield place, _read_marker(place / _MARKER, owners)


def _is_own_folder(path: Path, owners: Iterable[int] = ()) -> bool:
    status = os.lstat(path)
    return stat.S_ISDIR(status.st_mode) and _is_own(status, owners)


def _is_own(status: os.stat_result, owners: Iterable[int]) -> bool:
    return os.name == "nt" or status.st_uid in (os.geteuid(), *owners)


@contextlib.contextmanager
def _marked(place: Path, marker: _Marker) -> Iterator[None]:
    """Writes the marker, and keeps it locked for the block."""
    descriptor = os.open(place / _MARKER, os.O_RDWR | os.O_CREAT | os.O_EXCL | OPEN_SAFELY, 0o666)
    try:
        # A file system without locks has none for other processes either.
        with contextlib.suppress(OSError):
            try_lock(descriptor)
        os.write(descriptor, to_json({**marker._asdict(), "owned": sorted(marker.owned)}))
        flush_open_file(descriptor)
        yield
    finally:
        os.close(descriptor)


def _read_marker(path: Path, owners: Iterable[int]) -> _Marker:
    """Reads a marker; raises CheckpointError or OSError if it is none."""
    descriptor = os.open(path, os.O_RDONLY | OPEN_SAFELY)
    try:
        status = os.fstat(descriptor)
        whole = stat.S_ISREG(status.st_mode) and _is_own(status, owners) and status.st_size <= _MAX_MARKER_BYTES
        values = parse_json(os.read(descriptor, _MAX_MARKER_BYTES), name=str(path)) if whole else None
    finally:
        os.close(descriptor)
    values = values if isinstance(values, dict) else {}
    target, owned, inode = values.get("target"), values.get("owned"), values.get("inode")
    names: list[Any] = [target, *owned] if isinstance(owned, list) else [None]
    if not all(isinstance(name, str) and name not in ("", "..") and Path(name).name == name for name in names):
        raise CheckpointError(f"{path}: not a marker of this library")
    return _Marker(names[0], frozenset(names[1:]), inode if isinstance(inode, int) else 0)


@contextlib.contextmanager
def _held(place: Path) -> Iterator[None]:
    """Locks the marker of a workspace whose process has ended; raises BlockingIOError if it has not."""
    descriptor = os.open(place / _MARKER, os.O_RDWR | OPEN_SAFELY)
    try:
        if not try_lock(descriptor):
            raise BlockingIOError
        yield
    finally:
        os.close(descriptor)


def _folders(place: Path, kind: str) -> list[Path]:
    """Returns the folders of a kind in a workspace, the latest first."""
    found = filter(is_folder, place.glob(f"{kind}*"))
    return sorted(found, key=lambda folder: (len(folder.name), folder.name), reverse=True)


def _free_name(place: Path, kind: str) -> Path:
    return next(path for number in itertools.count() if not os.path.lexists(path := place / f"{kind}{number or ''}"))


def _finish(place: Path, marker: _Marker) -> None:
    target = place.with_name(marker.target)
    if not os.path.lexists(target):
        for old in _folders(place, "old")[:1]:
            os.rename(old, target)
    # Before anything is moved: a reader that finds a folder under its old name has all of it.
    give_up(place)
    for left in _folders(place, "left"):
        _carry_over(left, target, marker.owned)
        if left.exists():
            place_of_files = escape_controls(str(left))
            logger.warning("%s: keeps files of a replaced folder whose names are taken in the new one", place_of_files)


def _carry_over(left: Path, target: Path, owned: frozenset[str]) -> None:
    """Moves the user's files from a replaced folder to the new one, and removes it unless a name is taken there."""
    for entry in list(left.iterdir()):
        # What cannot be moved is tried again by the next writer.
        with contextlib.suppress(OSError):
            _carry_over_entry(entry, target, owned)
    if not any(left.iterdir()):
        left.rmdir()


def _carry_over_entry(entry: Path, target: Path, owned: frozenset[str]) -> None:
    taken = target / entry.name
    if entry.name in owned and not is_folder(entry):
        entry.unlink()
    elif target.is_symlink():
        return
    elif _is_same(entry, taken):
        entry.unlink()
    elif is_folder(entry) and is_folder(taken):
        # It may be a folder that nobody may write to, or that has no modes.
        with contextlib.suppress(OSError):
            entry.chmod(0o700)
        _carry_over(entry, taken, frozenset())
    elif not os.path.lexists(taken):
        os.rename(entry, taken)


def _is_same(entry: Path, other: Path) -> bool:
    """Returns True for two names of a file, and for equal links."""
    try:
        if entry.is_symlink() and other.is_symlink():
            return os.readlink(entry) == os.readlink(other)
        return not is_folder(entry) and os.path.samestat(os.lstat(entry), os.lstat(other))
    except OSError:
        return False


def _remove_if_done(place: Path) -> None:
    """Removes a workspace, unless it holds files of a user; the marker goes last."""
    if _folders(place, "old") or _folders(place, "left"):
        return
    for entry in list(place.iterdir()):
        if entry.name != _MARKER:
            shutil.rmtree(entry) if is_folder(entry) else entry.unlink()
    (place / _MARKER).unlink(missing_ok=True)
    place.rmdir()
