"""The one place that writes files for keeps, and reads them back with suspicion.

A file or folder is written beside its final place, flushed to the disk, and only then renamed, so that a reader sees
the old one or the new one and never half of either. A saved folder ends with a manifest of sizes and SHA-256 sums.
"""

import contextlib
import glob
import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from zh_lstm_lm._version import __version__
from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.strict_json import parse_json, to_json

__all__ = [
    "MANIFEST",
    "NewerFormatError",
    "atomic_directory",
    "atomic_write",
    "check_place",
    "check_regular",
    "clear_cache",
    "clear_litter",
    "digest",
    "read_bytes",
    "read_json",
    "read_versioned",
    "recover_directory",
    "remove_directory",
    "user_cache_dir",
    "verify_manifest",
    "versioned",
    "write_json",
]

MANIFEST = "manifest.json"
_MAX_BYTES = 1 << 36
_MAX_JSON_BYTES = 1 << 28
_OLD_SECONDS = 86_400.0
_VERSION_KEY = "zh_lstm_lm_version"
_CHUNK = 1 << 20
_LITTER = re.compile(r"\..+\.[0-9a-f]{32}\.(staged|removed|tmp)")
_CACHED = ("streams", "dictionaries", "scratch")


class NewerFormatError(CheckpointError):
    """A saved file is of a format that only a newer version reads; it is not damaged."""


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


def check_regular(path: Path) -> None:
    """Makes sure that a path is a regular file inside its folder.

    Raises:
        CheckpointError: It is missing, something else than a file, or a symbolic link out of its folder.
    """
    try:
        if path.is_symlink() and not path.resolve().is_relative_to(path.parent.resolve()):
            raise CheckpointError(f"{path}: a symbolic link out of its folder is not followed; copy the file itself")
        regular = path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a link to itself, in older Pythons
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    if not regular:
        raise CheckpointError(f"{path}: no such file; the folder is incomplete or holds something else")


def read_bytes(path: Path, *, max_bytes: int = _MAX_BYTES) -> bytes:
    """Reads a regular file of a saved folder.

    Raises:
        CheckpointError: It is missing, not a regular file, or larger than `max_bytes`.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise CheckpointError(f"{path}: {size:,} bytes, more than the {max_bytes:,} expected at most")
            return file.read(size)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error


def read_json(path: Path, *, max_bytes: int = _MAX_JSON_BYTES) -> Any:
    """Reads strict JSON; see `parse_json`.

    Raises:
        CheckpointError: The file is missing, too large, or not such JSON.
    """
    return parse_json(read_bytes(path, max_bytes=max_bytes), name=str(path))


def versioned(format_number: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """An object of a saved file, with its format and the version of this library that wrote it."""
    return {"format": format_number, _VERSION_KEY: __version__, **values}


def read_versioned(
    path: Path,
    format_number: int,
    *,
    required: Collection[str],
    optional: Collection[str] = (),
    max_bytes: int = _MAX_JSON_BYTES,
) -> dict[str, Any]:
    """Reads an object that `versioned` made.

    Args:
        path: The file.
        format_number: The newest format that is known.
        required: The keys that it has.
        optional: The keys that it may have.
        max_bytes: Its largest size.

    Returns:
        The values, without format and version.

    Raises:
        NewerFormatError: It is of a newer format; the message tells which version reads it.
        CheckpointError: It is missing, foreign or damaged.
    """
    values: dict[str, Any] = read_json(path, max_bytes=max_bytes)
    written = values.pop("format", None) if isinstance(values, dict) else None
    if type(written) is not int or written < 1:
        raise CheckpointError(f"{path}: not a file of this library (it has no format number)")
    version = values.pop(_VERSION_KEY, "")
    if written > format_number:
        known = isinstance(version, str) and re.fullmatch(r"[0-9A-Za-z.+]{1,40}", version)
        raise NewerFormatError(
            f"{path}: its format is {written}, and zh-lstm-lm {__version__} reads up to {format_number}; it was written "
            f"by a newer version{f', {version}' if known else ''}: pip install -U "
            f"'zh-lstm-lm{f'>={version}' if known else ''}'"
        )
    unknown = values.keys() - {*required, *optional}
    missing = set(required) - values.keys()
    if unknown or missing:
        told = [
            f"{word} {', '.join(map(repr, sorted(keys)))}"
            for word, keys in (("unknown", unknown), ("no", missing))
            if keys
        ]
        raise CheckpointError(f"{path}: {' and '.join(told):.300}; the file is damaged or foreign")
    return values


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
    if not isinstance(manifest, dict) or not all(
        isinstance(entry, dict) and entry.keys() == {"bytes", "sha256"} for entry in manifest.values()
    ):
        raise CheckpointError(f"{path / MANIFEST}: not a manifest of files")
    for name in manifest if only is None else only:
        if Path(name).name != name:
            raise CheckpointError(f"{path / MANIFEST}: {name!r:.200} is not a plain file name")
        file, entry = path / name, manifest.get(name, {})
        check_regular(file)
        try:
            same = file.stat().st_size == entry.get("bytes") and digest(file) == entry.get("sha256")
        except OSError as error:
            raise CheckpointError(f"{file}: cannot be read ({error})") from error
        if not same:
            raise CheckpointError(f"{file}: truncated or changed since it was saved; get it again or restore a copy")
    return manifest


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


def _cannot_write(path: Path, error: OSError) -> NoReturn:
    raise CheckpointError(
        f"{path}: cannot be written ({error.strerror or error}); check the place, its permissions and the free space"
    ) from error
