"""A saved folder as a reader sees it: its files are opened together, whatever a writer does meanwhile."""

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias

from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.storage.safe_reading import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    check_entry,
    manifest_entry,
    open_regular,
    parse_manifest,
    parse_versioned,
    read_all,
    unreadable,
)
from zh_lstm_lm.storage.strict_json import JSONLimits
from zh_lstm_lm.storage.workspace import folders_set_aside

__all__ = ["SavedFolder", "open_folder"]

_ATTEMPTS = 50
_PAUSE_SECONDS = 0.002

_Files: TypeAlias = Mapping[str, IO[bytes] | CheckpointError]
"""Open files by name, or the error that opening one raised; missing files are left out."""


class SavedFolder:
    """The open files of a saved folder.

    If the folder has a manifest, every file is compared with it when it is read, and files that it does not name are
    refused. A damaged manifest raises CheckpointError.
    """

    def __init__(self, path: Path, files: _Files) -> None:
        self.path = path
        self._files = files
        self._manifest: Mapping[str, Any] | None = None
        if MANIFEST in files:
            data = read_all(self.open(MANIFEST), path / MANIFEST, max_bytes=MAX_MANIFEST_BYTES)
            self._manifest = parse_manifest(data, path / MANIFEST)

    def __contains__(self, name: str) -> bool:
        """Returns True if a file is there, or is missing although the manifest names it."""
        return name in self._files or (self._manifest is not None and name in self._manifest)

    def open(self, name: str) -> IO[bytes]:
        """Returns an open file, which has not been compared with the manifest; raises CheckpointError if it is none."""
        file = self._files.get(name)
        if file is None:
            raise CheckpointError(f"{self.path / name}: no such file; the folder is incomplete or holds something else")
        if isinstance(file, CheckpointError):
            raise file
        return file

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Reads a file, of at most `max_bytes`; raises CheckpointError if it is not what the manifest says."""
        data = read_all(self.open(name), self.path / name, max_bytes=max_bytes)
        if self._manifest is not None:
            entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            check_entry(self.path / name, self._manifest, entry)
        return data

    def check(self, name: str) -> None:
        """Compares a file with the manifest, which must be there, without keeping its content."""
        if self._manifest is None:
            self.open(MANIFEST)
            return
        file = self.open(name)
        try:
            entry = manifest_entry(file)
        except OSError as error:
            raise unreadable(self.path / name, error) from error
        check_entry(self.path / name, self._manifest, entry)

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
    """Opens files of a folder, all of the same version even while a writer replaces it; nothing is changed.

    If the folder is missing because a writer is about to put a new one there, or has crashed at that moment, the files
    of the one before are opened. `hint` is the next step for the error if there is no such folder.
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
            raise CheckpointError(f"{path}: {_obstacle(path)}; {hint}")
        yield SavedFolder(path, files)


def _obstacle(path: Path) -> str:
    try:
        os.listdir(path)
    except PermissionError as error:
        return f"cannot be read ({error.strerror})"
    except (OSError, ValueError):
        pass
    return "no such folder"


def _places(path: Path) -> Iterator[Path]:
    yield path
    # A path with a zero byte raises a ValueError.
    with contextlib.suppress(OSError, ValueError):
        yield from folders_set_aside(Path(os.path.realpath(path)))


def _open_files(folder: Path, names: Iterable[str], opened: contextlib.ExitStack) -> _Files | None:
    """Opens the files that are there; returns None if there is no folder, or another one came into its place meanwhile."""
    files: dict[str, IO[bytes] | CheckpointError] = {}
    with contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as these:
        before = os.stat(folder)
        # While it is open, no other folder gets its inode.
        if os.name != "nt":
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
