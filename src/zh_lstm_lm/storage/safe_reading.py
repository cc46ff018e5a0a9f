"""Saved files, read with suspicion: whole by their manifest, of a known format, no larger than they may be."""

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from zh_lstm_lm._version import __version__
from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.storage.strict_json import parse_json

__all__ = [
    "MANIFEST",
    "NewerFormatError",
    "check_regular",
    "digest",
    "read_bytes",
    "read_json",
    "read_versioned",
    "verify_manifest",
    "versioned",
]

MANIFEST = "manifest.json"
_MAX_BYTES = 1 << 36
_MAX_JSON_BYTES = 1 << 28
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
