"""How files and folders are written for keeps.

A file or folder is written beside its final place, flushed to the disk, and only then renamed, so that a reader sees
the old one or the new one and never half of either. A saved folder ends with a manifest of sizes and SHA-256 sums.
"""

import contextlib
import glob
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.storage.safe_reading import MANIFEST, digest
from zh_lstm_lm.storage.strict_json import to_json

__all__ = [
    "atomic_directory",
    "atomic_write",
    "cannot_write",
    "check_place",
    "clear_litter",
    "recover_directory",
    "remove_directory",
    "write_json",
]

_OLD_SECONDS = 86_400.0
_LITTER = re.compile(r"\..+\.[0-9a-f]{32}\.(staged|removed|tmp)")


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
    """Writes a file that is there whole or not at all; its mode follows the umask.

    Raises:
        CheckpointError: It cannot be written; a file that was there stays.
    """
    staged = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        _write_flushed(staged, data)
        os.replace(staged, path)
        _flush_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            staged.unlink(missing_ok=True)
        cannot_write(path, error)


def write_json(path: Path, value: Any) -> None:
    """Writes a value as strict, readable JSON; see `atomic_write`."""
    atomic_write(path, to_json(value))


@contextlib.contextmanager
def atomic_directory(path: Path, *, owned: frozenset[str], replace: bool = True) -> Iterator[Path]:
    """Lets the caller fill a folder that takes its place whole when the block ends without an error.

    A folder that was there is replaced; what lies in it under names outside `owned` is carried over, so that saving
    a model into a folder never removes somebody's own files.

    Args:
        path: The folder's final place.
        owned: The file names that a folder of this kind consists of.
        replace: Whether a folder that is there when the block ends gives way; if not, it stays and ours is dropped.

    Yields:
        The staging folder to write into.

    Raises:
        CheckpointError: The folder cannot be written; the old one stays as it was.
    """
    path = Path(os.path.realpath(path))
    staged = path.with_name(f".{path.name}.{uuid.uuid4().hex}.staged")
    try:
        recover_directory(path, owned=owned)
        check_place(path)
        clear_litter(path.parent, of=path.name, seconds=_OLD_SECONDS)
        staged.mkdir()
        yield staged
        names = sorted(file.name for file in staged.iterdir())
        for name in names:
            _flush_file(staged / name)
        _write_flushed(staged / MANIFEST, to_json(_manifest(staged, names)))
        _flush_directory(staged)
        if path.exists() and not replace:
            return
        _put_in_place(staged, path)
        _flush_directory(path.parent)
        recover_directory(path, owned=owned)
    except OSError as error:
        with contextlib.suppress(OSError):
            recover_directory(path, owned=owned)
        cannot_write(path, error)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def recover_directory(path: Path, *, owned: frozenset[str]) -> None:
    """Finishes what a crash in `atomic_directory` may have left: puts the old folder back, or clears it away.

    Raises:
        OSError: The system refuses.
    """
    path = Path(os.path.realpath(path))
    previous = _previous(path)
    if not previous.is_dir():
        return
    if not path.exists():
        os.rename(previous, path)
        return
    for entry in list(previous.iterdir()):
        if entry.name in owned or entry.name == MANIFEST or (path / entry.name).exists():
            entry.unlink() if not entry.is_dir() else shutil.rmtree(entry)
        else:
            os.rename(entry, path / entry.name)
    previous.rmdir()


def remove_directory(path: Path) -> None:
    """Removes a folder; it is renamed first, so that no half of it is ever seen under its name.

    Raises:
        CheckpointError: It cannot be removed, and is there as before.
    """
    doomed = path.with_name(f".{path.name}.{uuid.uuid4().hex}.removed")
    try:
        os.rename(path, doomed)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be removed ({error.strerror or error}); check its permissions, and whether it is open"
        ) from error
    shutil.rmtree(doomed, ignore_errors=True)


def clear_litter(folder: Path, *, of: str = "", seconds: float = 0.0) -> None:
    """Removes what crashes have left half written or half removed.

    Args:
        folder: The folder that it lies in.
        of: The file or folder that was being written; empty for any.
        seconds: How old it must be, where others may be writing now; 0 for any age.
    """
    with contextlib.suppress(OSError):
        for path in list(folder.glob(f".{glob.escape(of)}*")):
            if _LITTER.fullmatch(path.name) and time.time() - path.stat().st_mtime >= seconds:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _put_in_place(staged: Path, path: Path) -> None:
    """Renames a folder to its place, and what is there aside."""
    while True:
        if path.exists():
            os.rename(path, _previous(path))
        try:
            os.rename(staged, path)
            return
        except OSError:
            if not path.exists():
                raise  # else a reader took us for crashed between the two renames, and has put the old one back


def _previous(path: Path) -> Path:
    return path.with_name(f".{path.name}.previous")


def _manifest(folder: Path, names: list[str]) -> dict[str, Any]:
    return {name: {"bytes": (folder / name).stat().st_size, "sha256": digest(folder / name)} for name in names}


def _write_flushed(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


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


def cannot_write(path: Path, error: OSError) -> NoReturn:
    """Raises what tells that a path cannot be written."""
    raise CheckpointError(
        f"{path}: cannot be written ({error.strerror or error}); check the place, its permissions and the free space"
    ) from error
