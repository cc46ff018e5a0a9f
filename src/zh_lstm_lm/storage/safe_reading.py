"""Saved files, read with suspicion: whole by their manifest, of a known format, no larger than they may be."""

import hashlib
import os
import re
import stat
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from zh_lstm_lm._version import __version__
from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.storage.strict_json import JSONLimits, parse_json

__all__ = [
    "MANIFEST",
    "NewerFormatError",
    "digest",
    "open_regular",
    "parse_manifest",
    "parse_versioned",
    "read_all",
    "read_bytes",
    "read_json",
    "read_versioned",
    "verify_manifest",
    "versioned",
]

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 16
_MAX_BYTES = 1 << 36
_MAX_JSON_BYTES = 1 << 24
_VERSION_KEY = "zh_lstm_lm_version"
_CHUNK = 1 << 20


class NewerFormatError(CheckpointError):
    """A saved file is of a format that only a newer version reads; it is not damaged."""


def digest(path: Path) -> str:
    """The SHA-256 sum of a file, in hexadecimal."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
    return sha256.hexdigest()


def open_regular(path: Path) -> IO[bytes]:
    """Opens a regular file inside its folder.

    Raises:
        CheckpointError: It is missing, something else than a file, or a symbolic link out of its folder.
    """
    missing = CheckpointError(f"{path}: no such file; the folder is incomplete or holds something else")
    try:
        real = path.resolve()
        if path.is_symlink() and not real.is_relative_to(path.parent.resolve()):
            raise CheckpointError(f"{path}: a symbolic link out of its folder is not followed; copy the file itself")
        if not real.is_file():
            raise missing
        flags = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(real, os.O_RDONLY | flags)  # which waits for no pipe, whatever is there by now
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise missing
        return os.fdopen(descriptor, "rb")
    except FileNotFoundError:
        raise missing from None
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a link to itself, in older Pythons
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path}: cannot be read ({error})")


def read_all(file: IO[bytes], path: Path, *, max_bytes: int = _MAX_BYTES) -> bytes:
    """Reads an open file from its beginning.

    Args:
        file: The file.
        path: What to call it in an error.
        max_bytes: Its largest size.

    Raises:
        CheckpointError: It is larger, or cannot be read.
    """
    try:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise CheckpointError(f"{path}: {size:,} bytes, more than the {max_bytes:,} expected at most")
        file.seek(0)
        return file.read(size)
    except OSError as error:
        raise _unreadable(path, error) from error


def read_bytes(path: Path, *, max_bytes: int = _MAX_BYTES) -> bytes:
    """Reads a regular file of a saved folder.

    Raises:
        CheckpointError: It is missing, not a regular file, or larger than `max_bytes`.
    """
    with open_regular(path) as file:
        return read_all(file, path, max_bytes=max_bytes)


def read_json(path: Path, *, max_bytes: int = _MAX_JSON_BYTES, limits: JSONLimits | None = None) -> Any:
    """Reads strict JSON; see `parse_json`.

    Raises:
        CheckpointError: The file is missing, too large, or not such JSON.
    """
    return parse_json(read_bytes(path, max_bytes=max_bytes), name=str(path), limits=limits)


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
    """Reads an object that `versioned` made from a file; see `parse_versioned`."""
    data = read_bytes(path, max_bytes=max_bytes)
    return parse_versioned(data, path, format_number, required=required, optional=optional)


def parse_versioned(
    data: bytes,
    path: Path,
    format_number: int,
    *,
    required: Collection[str],
    optional: Collection[str] = (),
    limits: JSONLimits | None = None,
) -> dict[str, Any]:
    """Reads an object that `versioned` made.

    Args:
        data: The content of its file.
        path: What to call the file in an error.
        format_number: The newest format that is known.
        required: The keys that it has.
        optional: The keys that it may have.
        limits: How much it may hold; None takes the defaults.

    Returns:
        The values, without format and version.

    Raises:
        NewerFormatError: It is of a newer format; the message tells which version reads it.
        CheckpointError: It is missing, foreign or damaged.
    """
    values: dict[str, Any] = parse_json(data, name=str(path), limits=limits)
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


def parse_manifest(data: bytes, path: Path) -> Mapping[str, Any]:
    """Reads a manifest: file name to ``{"bytes": …, "sha256": …}``.

    Args:
        data: Its content.
        path: What to call it in an error.

    Raises:
        CheckpointError: It is none.
    """
    manifest = parse_json(data, name=str(path))
    if not isinstance(manifest, dict) or not all(
        isinstance(entry, dict) and entry.keys() == {"bytes", "sha256"} for entry in manifest.values()
    ):
        raise CheckpointError(f"{path}: not a manifest of files")
    return manifest


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
    manifest = parse_manifest(read_bytes(path / MANIFEST, max_bytes=MAX_MANIFEST_BYTES), path / MANIFEST)
    for name in manifest if only is None else only:
        if Path(name).name != name:
            raise CheckpointError(f"{path / MANIFEST}: {name!r:.200} is not a plain file name")
        file, entry = path / name, manifest.get(name, {})
        open_regular(file).close()
        try:
            same = file.stat().st_size == entry.get("bytes") and digest(file) == entry.get("sha256")
        except OSError as error:
            raise _unreadable(file, error) from error
        if not same:
            raise CheckpointError(f"{file}: truncated or changed since it was saved; get it again or restore a copy")
    return manifest
