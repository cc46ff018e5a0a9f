"""Files and folders of the library that are written completely or not at all.

Each is written in a workspace beside its place, flushed to the disk, and only then renamed, so that a reader gets the old
version or the new one. A saved folder has a manifest of sizes and SHA-256 checksums. Symbolic links are not followed.
`user_files` writes the files that a user names.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.storage.file_systems import flush_folder, flush_open_file
from zh_lstm_lm.storage.safe_reading import MANIFEST, manifest_entry
from zh_lstm_lm.storage.strict_json import to_json
from zh_lstm_lm.storage.workspace import finish_workspaces, give_up, is_folder, set_aside, workspace

__all__ = [
    "atomic_directory", "atomic_write", "check_place", "remove_directory", "replace_file", "write_flushed",
    "write_json",
]  # fmt: skip


def check_place(path: Path) -> None:
    """Checks, before long work, that a folder can be written at `path` afterwards; raises CheckpointError if not."""
    if path.exists() and not path.is_dir():
        raise CheckpointError(f"{path}: is a file, expected a folder or a free name; choose another place")
    try:
        for name, folder in (("working directory", "."), ("home folder", "~")) if path.exists() else ():
            if Path(os.path.realpath(os.path.expanduser(folder))).is_relative_to(os.path.realpath(path)):
                raise CheckpointError(f"{path}: holds the {name} and cannot be replaced; save into a folder of its own")
        # The name may be too long, or hold a zero byte.
        with contextlib.suppress(FileNotFoundError):
            os.lstat(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except CheckpointError:
        raise
    except (OSError, ValueError) as error:
        _cannot_write(path, error)


def atomic_write(path: Path, data: bytes) -> None:
    """Writes a file completely or not at all; its mode follows the umask, and a link in its place is replaced."""
    try:
        finish_workspaces(path.parent, target=path.name)
        with workspace(path) as place:
            write_flushed(place / "file", data)
            replace_file(place / "file", path)
    except OSError as error:
        _cannot_write(path, error)


def write_json(path: Path, value: Any) -> None:
    """Writes a value as strict, readable JSON; see `atomic_write`."""
    atomic_write(path, to_json(value))


@contextlib.contextmanager
def atomic_directory(path: Path, *, owned: frozenset[str], replace: bool = True) -> Iterator[Path]:
    """Writes a folder that takes its place complete when the block, which gets a staging folder, ends without an error.

    An existing folder is replaced and keeps its mode. What lies in it under other names than `owned`, those of a folder
    of this kind, belongs to its user and is in the new folder from the first moment on. Without `replace`, a folder
    that is there when the block ends is kept, and the new one dropped.
    """
    if path.is_symlink():
        raise CheckpointError(f"{path}: is a symbolic link, which is not written through; put a folder in its place")
    try:
        finish_workspaces(path.parent, target=path.name)
        check_place(path)
        with workspace(path, owned=owned | {MANIFEST}) as place:
            staged = place / "new"
            staged.mkdir()
            yield staged
            manifest = {}
            for file in sorted(staged.iterdir()):
                with file.open("r+b") as opened:
                    manifest[file.name] = manifest_entry(opened)
                    flush_open_file(opened.fileno())
            write_flushed(staged / MANIFEST, to_json(manifest))
            if path.exists():
                if not replace:
                    return
                _link_users_files(path, staged, owned=owned | {MANIFEST})
                # Some file systems have no modes.
                with contextlib.suppress(OSError):
                    staged.chmod(path.stat().st_mode & 0o7777)
            flush_folder(staged)
            flush_folder(place)
            _put_in_place(staged, path, place)
            flush_folder(path.parent)
    except OSError as error:
        _cannot_write(path, error)


def remove_directory(path: Path, *, owned: frozenset[str]) -> None:
    """Removes a folder of nothing but `owned` files; it is renamed first, so that it never lacks some of them."""
    try:
        if path.is_symlink():
            raise CheckpointError(f"{path}: is a symbolic link, not a folder of this library; it stays")
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
    """Renames a flushed file to its place and flushes the folder; raises OSError."""
    os.replace(source, target)
    flush_folder(target.parent)


def write_flushed(path: Path, data: bytes) -> None:
    """Writes a file and flushes it to the disk; raises OSError."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        flush_open_file(file.fileno())


def _cannot_write(path: Path, error: Exception) -> NoReturn:
    reason = getattr(error, "strerror", None) or error
    raise CheckpointError(
        f"{path}: cannot be written ({reason}); check the place, its permissions and the free space"
    ) from error


def _link_users_files(folder: Path, staged: Path, *, owned: frozenset[str]) -> None:
    """Gives the user's files second names in the folder that takes their place; others are moved after it has."""
    for entry in folder.iterdir():
        # Windows has no second names of links.
        with contextlib.suppress(OSError, NotImplementedError):
            if is_folder(entry):
                shutil.copytree(entry, staged / entry.name, symlinks=True, copy_function=os.link)
            elif entry.name not in owned:
                os.link(entry, staged / entry.name, follow_symlinks=False)


def _put_in_place(staged: Path, path: Path, place: Path) -> None:
    """Moves an existing folder into the workspace, and the new one to its place."""
    while True:
        if path.is_dir():
            set_aside(place, path)
        try:
            os.rename(staged, path)
        except OSError:
            # Another writer may have been faster; its folder is replaced as well.
            if not path.is_dir():
                raise
        else:
            give_up(place)
            return
