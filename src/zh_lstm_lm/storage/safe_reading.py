"""Saved files of unknown origin: regular, of bounded size, of a known format, complete by their manifest."""

import hashlib
import os
import re
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any

from zh_lstm_lm._version import __version__
from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.storage.strict_json import JSONLimits, parse_json

__all__ = [
    "MANIFEST", "NewerFormatError", "check_entry", "digest", "manifest_entry", "open_regular", "parse_manifest",
    "parse_versioned", "read_all", "read_bytes", "read_json", "read_versioned", "unreadable", "verify_manifest",
    "versioned",
]  # fmt: skip

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 16
_MAX_BYTES = 1 << 36
_MAX_JSON_BYTES = 1 << 24
_VERSION_KEY = "zh_lstm_lm_version"
_CHUNK = 1 << 20


class NewerFormatError(CheckpointError):
    """A saved file has a format that only a newer version reads; it is not damaged."""


def open_regular(path: Path) -> IO[bytes]:
    """Opens a regular file; raises CheckpointError for any other, and for a link out of its folder."""
    missing = CheckpointError(f"{path}: no such file; the folder is incomplete or holds something else")
    try:
        real = path.resolve()
        if path.is_symlink() and not real.is_relative_to(path.parent.resolve()):
            raise CheckpointError(f"{path}: a symbolic link out of its folder is not followed; copy the file itself")
        if not real.is_file():
            raise missing
        # Without waiting for a pipe that may have come into its place.
        flags = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(real, os.O_RDONLY | flags)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise missing
        return os.fdopen(descriptor, "rb")
    except FileNotFoundError:
        raise missing from None
    # Older Pythons raise a RuntimeError for a link to itself.
    except (OSError, RuntimeError, ValueError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> CheckpointError:
    """Returns the error for a file that cannot be read."""
    return CheckpointError(f"{path}: cannot be read ({error})")


def read_all(file: IO[bytes], path: Path, *, max_bytes: int = _MAX_BYTES) -> bytes:
    """Reads an open file from its beginning; raises CheckpointError if it is larger than `max_bytes` or unreadable."""
    try:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise CheckpointError(f"{path}: {size:,} bytes, more than the {max_bytes:,} expected at most")
        file.seek(0)
        return file.read(size)
    except OSError as error:
        raise unreadable(path, error) from error


def read_bytes(path: Path, *, max_bytes: int = _MAX_BYTES) -> bytes:
    """Reads a regular file; see `open_regular` and `read_all`."""
    with open_regular(path) as file:
        return read_all(file, path, max_bytes=max_bytes)


def read_json(path: Path, *, max_bytes: int = _MAX_JSON_BYTES, limits: JSONLimits | None = None) -> Any:
    """Reads a file of strict JSON; see `read_bytes` and `parse_json`."""
    return parse_json(read_bytes(path, max_bytes=max_bytes), name=str(path), limits=limits)


# ---- formats


def versioned(format_number: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the format and the version of this library to an object that is saved."""
    return {"format": format_number, _VERSION_KEY: __version__, **values}


def read_versioned(path: Path, format_number: int, *, required: Collection[str]) -> dict[str, Any]:
    """Reads an object that `versioned` made from a file; see `parse_versioned`."""
    return parse_versioned(read_bytes(path, max_bytes=_MAX_JSON_BYTES), path, format_number, required=required)


def parse_versioned(
    data: bytes,
    path: Path,
    format_number: int,
    *,
    required: Collection[str],
    optional: Collection[str] = (),
    limits: JSONLimits | None = None,
) -> dict[str, Any]:
    """Parses an object that `versioned` made, and returns it without format and version.

    It has the required keys and may have the optional ones. A format above `format_number` raises NewerFormatError,
    whose message names the version that reads it.
    """
    values: dict[str, Any] = parse_json(data, name=str(path), limits=limits)
    written = values.pop("format", None) if isinstance(values, dict) else None
    if type(written) is not int or written < 1:
        raise CheckpointError(f"{path}: not a file of this library (it has no format number)")
    version = values.pop(_VERSION_KEY, "")
    if written > format_number:
        known = isinstance(version, str) and re.fullmatch(r"[0-9A-Za-z.+]{1,40}", version)
        raise NewerFormatError(
            f"{path}: its format is {written!s:.20}, and zh-lstm-lm {__version__} reads up to {format_number}; it was "
            f"written by a newer version{f', {version}' if known else ''}: pip install -U "
            f"'zh-lstm-lm{f'>={version}' if known else ''}'"
        )
    wrong = {"unknown": values.keys() - {*required, *optional}, "no": set(required) - values.keys()}
    told = [f"{word} {', '.join(map(repr, sorted(keys)))}" for word, keys in wrong.items() if keys]
    if told:
        raise CheckpointError(f"{path}: {' and '.join(told):.300}; the file is damaged or foreign")
    return values


# ---- manifests


def manifest_entry(file: IO[bytes]) -> dict[str, Any]:
    """Returns what a manifest says of an open file; raises OSError."""
    sha256, size = hashlib.sha256(), 0
    file.seek(0)
    while chunk := file.read(_CHUNK):
        sha256.update(chunk)
        size += len(chunk)
    return {"bytes": size, "sha256": sha256.hexdigest()}


def digest(path: Path) -> str:
    """Returns the SHA-256 checksum of a file, in hexadecimal; raises OSError."""
    with path.open("rb") as file:
        return str(manifest_entry(file)["sha256"])


def parse_manifest(data: bytes, path: Path) -> Mapping[str, Any]:
    """Parses a manifest, file name to ``{"bytes": …, "sha256": …}``; raises CheckpointError if it is none."""
    manifest = parse_json(data, name=str(path))
    if not isinstance(manifest, dict) or not all(
        isinstance(entry, dict) and entry.keys() == {"bytes", "sha256"} for entry in manifest.values()
    ):
        raise CheckpointError(f"{path}: not a manifest of files")
    return manifest


def check_entry(path: Path, manifest: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
    """Raises CheckpointError unless the manifest of a file's folder has this entry for it."""
    if manifest.get(path.name) != entry:
        raise CheckpointError(
            f"{path}: truncated or changed since it was saved; get it again or restore a copy, or remove {MANIFEST} if "
            "you changed it yourself"
        )


def verify_manifest(path: Path) -> Mapping[str, Any]:
    """Compares all files of a saved folder with its manifest; returns the manifest, or raises CheckpointError."""
    manifest = parse_manifest(read_bytes(path / MANIFEST, max_bytes=MAX_MANIFEST_BYTES), path / MANIFEST)
    for name in manifest:
        if Path(name).name != name:
            raise CheckpointError(f"{path / MANIFEST}: {name!r:.200} is not a plain file name")
        with open_regular(path / name) as file:
            try:
                entry = manifest_entry(file)
            except OSError as error:
                raise unreadable(path / name, error) from error
        check_entry(path / name, manifest, entry)
    return manifest
