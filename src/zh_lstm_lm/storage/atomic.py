"""How the library's own files and folders are written for keeps; `user_files` writes those that a user named.

A file or folder is written in a workspace beside its final place, flushed to the disk, and only then renamed, so that
a reader sees the old one or the new one and never half of either. A saved folder ends with a manifest of sizes and
SHA-256 sums. Symbolic links are never written through.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.storage.safe_reading import MANIFEST, digest
from zh_lstm_lm.storage.strict_json import to_json
from zh_lstm_lm.storage.workspace import finish_workspaces, give_up, set_aside, workspace

__all__ = [
    "atomic_directory",
    "atomic_write",
    "cannot_write",
    "check_place",
    "remove_directory",
    "replace_file",
    "write_flushed",
    "write_json",
]


def check_place(path: Path) -> None:
    """Makes sure, before long work, that a folder can be written at `path` afterwards.

    Raises:
        CheckpointError: It is a file, or the folder above it cannot be written to.
    """
    if path.exists() and not path.is_dir():
        raise CheckpointError(f"{path}: is a file, expected a folder or a free name; choose another place")
    try:
        if path.exists() and Path.cwd().is_relative_to(os.path.realpath(path)):
            raise CheckpointError(
                f"{path}: holds the working directory and cannot be replaced; save into a folder of its own"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        cannot_write(path, error)


def atomic_write(path: Path, data: bytes) -> None:
    """Writes a file that is there whole or not at all; its mode follows the umask, and a link in its place goes.

    Raises:
        CheckpointError: It cannot be written; a file that was there stays.
    """
    try:
        with workspace(path) as place:
            write_flushed(place / "file", data)
            replace_file(place / "file", path)
    except OSError as error:
        cannot_write(path, error)


def write_json(path: Path, value: Any) -> None:
    """Writes a value as strict, readable JSON; see `atomic_write`."""
    atomic_write(path, to_json(value))


@contextmanager
def atomic_directory(
    path: Path, *, owned: frozenset[str], replace: bool = True, follow: bool = False
) -> Iterator[Path]:
    """Lets the caller fill a folder that takes its place whole when the block ends without an error.

    A folder that was there is replaced, and keeps its mode; what lies in it under names outside `owned` is carried
    over, so that saving a model into a folder never removes somebody's own files.

    Args:
        path: The folder's final place.
        owned: The file names that a folder of this kind consists of.
        replace: Whether a folder that is there when the block ends gives way; if not, it stays and ours is dropped.
        follow: Whether a symbolic link at `path` stands for the folder that it leads to.

    Yields:
        The staging folder to write into.

    Raises:
        CheckpointError: The folder cannot be written; the old one stays as it was.
    """
    if follow:
        path = Path(os.path.realpath(path))
    elif path.is_symlink():
        raise CheckpointError(f"{path}: is a symbolic link, which is not written through; put a folder in its place")
    try:
        finish_workspaces(path.parent, target=path.name)
        check_place(path)
        with workspace(path, owned=owned | {MANIFEST}) as place:
            staged = place / "new"
            staged.mkdir()
            yield staged
            names = sorted(file.name for file in staged.iterdir())
            for name in names:
                _flush_file(staged / name)
            write_flushed(staged / MANIFEST, to_json(_manifest(staged, names)))
            _flush_directory(staged)
            _flush_directory(place)
            if path.exists():
                if not replace:
                    return
                staged.chmod(path.stat().st_mode & 0o7777)
            _put_in_place(staged, path, place)
            _flush_directory(path.parent)
    except OSError as error:
        cannot_write(path, error)


def remove_directory(path: Path, *, owned: frozenset[str]) -> None:
    """Removes a folder; it is renamed first, so that no half of it is ever seen under its name.

    Args:
        path: The folder.
        owned: The file names that a folder of this kind consists of; one that holds anything else stays.

    Raises:
        CheckpointError: It stays as it is.
    """
    try:
        if path.is_symlink():
            raise CheckpointError(f"{path}: is a symbolic link, which is not of this library; it stays")
        for entry in path.iterdir():
            if entry.name not in owned | {MANIFEST} or entry.is_dir():
                raise CheckpointError(f"{path}: holds {entry.name!r:.100}, which is not of this library; it stays")
        with workspace(path) as place:
            os.rename(path, place / "removed")
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be removed ({error.strerror or error}); check its permissions, and whether it is open"
        ) from error


def replace_file(source: Path, target: Path) -> None:
    """Renames a file that was flushed to its place, and flushes the folder; raises OSError."""
    os.replace(source, target)
    _flush_directory(target.parent)


def write_flushed(path: Path, data: bytes) -> None:
    """Writes a file and flushes it to the disk; raises OSError."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def cannot_write(path: Path, error: OSError) -> NoReturn:
    """Raises what tells that a path cannot be written."""
    raise CheckpointError(
        f"{path}: cannot be written ({error.strerror or error}); check the place, its permissions and the free space"
    ) from error


def _put_in_place(staged: Path, path: Path, place: Path) -> None:
    """Renames a folder to its place, and what is there into the workspace."""
    while True:
        if path.is_dir():
            set_aside(place, path)
        try:
            os.rename(staged, path)
        except OSError:
            if not path.is_dir():
                raise  # else another writer was faster, and its folder is replaced as well
        else:
            give_up(place)
            return


def _manifest(folder: Path, names: list[str]) -> dict[str, Any]:
    return {name: {"bytes": (folder / name).stat().st_size, "sha256": digest(folder / name)} for name in names}


def _flush_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_directory(path: Path) -> None:
    if os.name == "nt":  # Windows has no flush of a folder
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
