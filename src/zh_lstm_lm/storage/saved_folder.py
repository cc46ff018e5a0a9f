"""A saved folder as a reader sees it: its files are opened together, and read as they were then."""

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.storage.safe_reading import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    open_regular,
    parse_manifest,
    parse_versioned,
    read_all,
)
from zh_lstm_lm.storage.strict_json import JSONLimits
from zh_lstm_lm.storage.workspace import folders_set_aside

__all__ = ["SavedFolder", "open_folder"]

_ATTEMPTS = 50
_PAUSE_SECONDS = 0.002
_CHUNK = 1 << 20


class SavedFolder:
    """The files of a saved folder.

    Where the folder has a manifest, every file that is read is held against it, and files that it does not name are
    refused.

    Args:
        path: The folder that was asked for.
        files: Its files by name, or the error that opening one gave; those that are not there are left out.

    Raises:
        CheckpointError: The manifest is damaged or foreign.
    """

    def __init__(self, path: Path, files: "Mapping[str, IO[bytes] | CheckpointError]") -> None:
        self.path = path
        self._files = files
        self._manifest: Mapping[str, Any] | None = None
        if MANIFEST in files:
            data = read_all(self.open(MANIFEST), path / MANIFEST, max_bytes=MAX_MANIFEST_BYTES)
            self._manifest = parse_manifest(data, path / MANIFEST)

    def __contains__(self, name: str) -> bool:
        """Whether a file is there, or is missing although the manifest names it."""
        return name in self._files or (self._manifest is not None and name in self._manifest)

    def open(self, name: str) -> IO[bytes]:
        """Gives an open file, which has not been held against the manifest.

        Raises:
            CheckpointError: It is missing, not a regular file, or a symbolic link out of the folder.
        """
        file = self._files.get(name)
        if file is None:
            raise CheckpointError(f"{self.path / name}: no such file; the folder is incomplete or holds something else")
        if isinstance(file, CheckpointError):
            raise file
        return file

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Reads a whole file.

        Raises:
            CheckpointError: It is missing, larger, or not what the manifest says.
        """
        data = read_all(self.open(name), self.path / name, max_bytes=max_bytes)
        self._compare(name, len(data), hashlib.sha256(data).hexdigest())
        return data

    def check(self, name: str) -> None:
        """Holds a file against the manifest, without keeping what is in it.

        Raises:
            CheckpointError: There is no manifest, or the file is missing or not what it says.
        """
        if self._manifest is None:
            self.open(MANIFEST)
        file, sha256, size = self.open(name), hashlib.sha256(), 0
        try:
            file.seek(0)
            while chunk := file.read(_CHUNK):
                sha256.update(chunk)
                size += len(chunk)
        except OSError as error:
            raise CheckpointError(f"{self.path / name}: cannot be read ({error})") from error
        self._compare(name, size, sha256.hexdigest())

    def _compare(self, name: str, size: int, sha256: str) -> None:
        if self._manifest is not None and self._manifest.get(name) != {"bytes": size, "sha256": sha256}:
            raise CheckpointError(
                f"{self.path / name}: truncated or changed since it was saved; get it again or restore a copy, or "
                f"remove {MANIFEST} if you changed it yourself"
            )

    def read_versioned(
        self,
        name: str,
        format_number: int,
        *,
        required: Collection[str],
        optional: Collection[str] = (),
        max_bytes: int,
        limits: JSONLimits | None = None,
    ) -> dict[str, Any]:
        """Reads an object that `versioned` made; see `parse_versioned`."""
        data = self.read(name, max_bytes=max_bytes)
        return parse_versioned(
            data, self.path / name, format_number, required=required, optional=optional, limits=limits
        )


@contextlib.contextmanager
def open_folder(path: Path, names: Collection[str], *, hint: str) -> Iterator[SavedFolder]:
    """Opens files of a folder, all of one and the same folder even while a writer replaces it.

    Where the folder is missing because a writer is about to put a new one there, or has crashed then, the files of the
    one before are opened where they lie. Nothing is changed.

    Args:
        path: The folder.
        names: The files to open, besides the manifest.
        hint: What to do where there is no such folder.

    Raises:
        CheckpointError: There is no such folder, or its manifest is damaged.
    """
    with contextlib.ExitStack() as opened:
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE_SECONDS)
            found = (_open_files(place, (MANIFEST, *names), opened) for place in _places(path))
            files = next((files for files in found if files is not None), None)
            if files is not None:
                break
        else:
            raise CheckpointError(f"{path}: no such folder; {hint}")
        yield SavedFolder(path, files)


def _places(path: Path) -> Iterator[Path]:
    yield path
    with contextlib.suppress(OSError, ValueError):
        yield from folders_set_aside(Path(os.path.realpath(path)))


def _open_files(
    folder: Path, names: Iterable[str], opened: contextlib.ExitStack
) -> "dict[str, IO[bytes] | CheckpointError] | None":
    """Opens the files that are there; None if there is no folder, or another one has come into its place meanwhile."""
    files: dict[str, IO[bytes] | CheckpointError] = {}
    with contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as these:  # ValueError: no name of a folder
        before = os.stat(folder)
        if os.name != "nt":  # while it is open, no other folder gets its number
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            these.callback(os.close, descriptor)
            before = os.fstat(descriptor)
        if not stat.S_ISDIR(before.st_mode):
            return None
        for name in names:
            try:
                files[name] = these.enter_context(open_regular(folder / name))
            except CheckpointError as error:
                if os.path.lexists(folder / name):
                    files[name] = error
        if os.path.samestat(before, os.stat(folder)):
            opened.push(these.pop_all())
            return files
    return None
