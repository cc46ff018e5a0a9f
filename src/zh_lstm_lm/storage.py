"""The one place that writes files for keeps, and reads them back with suspicion.

A file or folder is written beside its final place, flushed to the disk, and only then renamed, so that a reader sees
the old one or the new one and never half of either. A saved folder ends with a manifest of sizes and SHA-256 sums.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from zh_lstm_lm.errors import CheckpointError

__all__ = [
    "MANIFEST",
    "atomic_directory",
    "atomic_write",
    "check_place",
    "clear_cache",
    "digest",
    "read_bytes",
    "read_json",
    "recover_directory",
    "remove_directory",
    "user_cache_dir",
    "verify_manifest",
    "write_json",
]

MANIFEST = "manifest.json"
_MAX_JSON_BYTES = 1 << 28
_CHUNK = 1 << 20
_CACHED = ("streams", "dictionaries", "scratch")


def user_cache_dir() -> Path:
    """The folder for what can be made again: ``$ZH_LSTM_LM_CACHE``, or the platform's cache folder."""
    if os.environ.get("ZH_LSTM_LM_CACHE"):
        return Path(os.environ["ZH_LSTM_LM_CACHE"])
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "zh-lstm-lm"


def digest(path: Path) -> str:
    """The SHA-256 sum of a file, in hexadecimal."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
    return sha256.hexdigest()


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
        _cannot_write(path, error)


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
        _cannot_write(path, error)


def write_json(path: Path, value: Any) -> None:
    """Writes a value as strict, readable JSON; see `atomic_write`."""
    atomic_write(path, to_json(value))


def to_json(value: Any) -> bytes:
    """Strict JSON in UTF-8, indented; a list of plain values stays on one line."""
    return (json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode("utf-8")


def read_bytes(path: Path, *, max_bytes: int = 1 << 34) -> bytes:
    """Reads a regular file of a saved folder.

    Raises:
        CheckpointError: It is missing, not a regular file, or larger than `max_bytes`.
    """
    try:
        if path.is_symlink() and not path.resolve().is_relative_to(path.parent.resolve()):
            raise CheckpointError(f"{path}: a symbolic link out of its folder is not followed; copy the file itself")
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file; the folder is incomplete or holds something else")
        if path.stat().st_size > max_bytes:
            raise CheckpointError(
                f"{path}: {path.stat().st_size:,} bytes, more than the {max_bytes:,} expected at most"
            )
        return path.read_bytes()
    except (OSError, RuntimeError) as error:  # a link that leads to itself is a RuntimeError in older Pythons
        raise CheckpointError(f"{path}: cannot be read ({error})") from error


def read_json(path: Path, *, max_bytes: int = _MAX_JSON_BYTES) -> Any:
    """Reads strict JSON: no NaN, no key twice, bounded in size and depth.

    Raises:
        CheckpointError: The file is missing, too large, or not such JSON.
    """
    data = read_bytes(path, max_bytes=max_bytes)

    def refuse_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = dict(pairs)
        if len(keys) != len(pairs):
            raise ValueError("a key stands twice")
        return keys

    try:
        return json.loads(data.decode("utf-8"), parse_constant=refuse_constant, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}); the file is damaged or foreign") from error


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
        staged.mkdir()
        yield staged
        names = sorted(file.name for file in staged.iterdir())
        for name in names:
            _flush_file(staged / name)
        _write_flushed(staged / MANIFEST, to_json(_manifest(staged, names)))
        _flush_directory(staged)
        if path.exists() and not replace:
            return
        if path.exists():
            os.rename(path, _previous(path))
        os.rename(staged, path)
        _flush_directory(path.parent)
        recover_directory(path, owned=owned)
    except OSError as error:
        with contextlib.suppress(OSError):
            recover_directory(path, owned=owned)
        _cannot_write(path, error)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def recover_directory(path: Path, *, owned: frozenset[str]) -> None:
    """Finishes what a crash in `atomic_directory` may have left: puts the old folder back, or clears it away."""
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
    """Removes a folder; it is renamed first, so that no half of it is ever seen under its name."""
    doomed = path.with_name(f".{path.name}.{uuid.uuid4().hex}.removed")
    os.rename(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def clear_cache(folder: Path) -> None:
    """Removes everything that this library keeps in a cache folder, and nothing else.

    Raises:
        CheckpointError: Something cannot be removed.
    """
    for kept in _CACHED:
        try:
            if (folder / kept).is_dir():
                remove_directory(folder / kept)
        except OSError as error:
            _cannot_write(folder / kept, error)


def verify_manifest(path: Path, *, only: Iterable[str] | None = None) -> Mapping[str, Any]:
    """Checks a saved folder against its manifest.

    Args:
        path: The folder.
        only: The files to check; None checks all that the manifest names.

    Returns:
        File name to ``{"bytes": …, "sha256": …}``.

    Raises:
        CheckpointError: There is no manifest, or a file is missing, truncated or changed.
    """
    manifest = read_json(path / MANIFEST, max_bytes=1 << 20)
    if not isinstance(manifest, dict) or not all(isinstance(entry, dict) for entry in manifest.values()):
        raise CheckpointError(f"{path / MANIFEST}: not a manifest of files")
    for name in manifest if only is None else only:
        if Path(name).name != name:
            raise CheckpointError(f"{path / MANIFEST}: {name!r} is not a plain file name")
        file, entry = path / name, manifest.get(name, {})
        if not file.is_file() or file.stat().st_size != entry.get("bytes") or digest(file) != entry.get("sha256"):
            raise CheckpointError(f"{file}: missing, truncated or changed since it was saved")
    return manifest


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


def _cannot_write(path: Path, error: OSError) -> NoReturn:
    raise CheckpointError(
        f"{path}: cannot be written ({error.strerror or error}); check the place, its permissions and the free space"
    ) from error
