"""Text files by the paths that the user gives: a folder, a file, a glob pattern, or a list of these."""

import glob
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TypeAlias

from zh_lstm_lm._config import is_list
from zh_lstm_lm.errors import DataError, escape_controls

__all__ = ["Paths", "TextFile", "find_files", "raise_broken"]

Paths: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

_MOST_NAMED = 20
_CACHE_MARK = "tokens.bin"


@dataclass(frozen=True)
class TextFile:
    """A file with its printable name; it is `chosen` if the user gave this very file, not what contains it.

    Messages call it by its path, or as `shown`.
    """

    path: Path
    name: str
    chosen: bool
    shown: str | None = None

    def open(self) -> IO[bytes]:
        """Opens the file's bytes."""
        try:
            return self.path.open("rb")
        except OSError as error:
            raise self.unreadable(error) from error

    def unreadable(self, error: OSError) -> DataError:
        """Returns the error to raise if the file cannot be opened or read."""
        return DataError(
            f"{self}: cannot be read ({error.strerror}); check the file and its permissions, or leave it out"
        )

    def __str__(self) -> str:
        """Returns the path as printable text, also if the name on disk is not UTF-8."""
        return _printable(self.path) if self.shown is None else self.shown


def find_files(paths: Paths, *, endings: tuple[str, ...] = (".txt",)) -> list[TextFile]:
    """Lists the text files of the given paths, each once, in an order that does not depend on the file system.

    A path is a folder (its files with the `endings`, at any depth), a file, or a glob pattern. One that does not exist,
    or holds no text file, raises DataError.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    elif not is_list(paths):
        raise DataError(f"paths must be a folder, a file, a glob pattern or a list of these, got {paths!r}")
    found: dict[str, TextFile] = {}
    for item in paths:
        if not isinstance(item, (str, os.PathLike)):
            raise DataError(
                f"paths must be a folder, a file, a glob pattern or a list of these, got {item!r} in a list"
            )
        for file in _expand(item, endings):
            key = os.path.realpath(file.path)
            known = found.get(key, file)
            found[key] = replace(known, chosen=known.chosen or file.chosen)
    if not found:
        raise DataError("no file was named; give a folder, a file, a glob pattern or a list of these")
    return list(found.values())


def raise_broken(broken: Sequence[str]) -> None:
    """Raises one `DataError` that names every broken file, if there is any."""
    if broken:
        more = [f"… and {len(broken) - _MOST_NAMED} more"] if len(broken) > _MOST_NAMED else []
        raise DataError(*broken[:_MOST_NAMED], *more)


def _expand(item: str | os.PathLike[str], endings: tuple[str, ...]) -> list[TextFile]:
    path = Path(item)
    try:
        is_file, is_folder = path.is_file(), path.is_dir() and bool(os.fspath(item))
    except PermissionError as error:
        raise TextFile(path, path.name, chosen=True).unreadable(error) from error
    except (OSError, ValueError):
        # It is too long for a path, or contains a NUL.
        raise DataError(
            f"{os.fspath(item)[:40]!r}…: no path of a file or folder; "
            "a text itself is read with TokenStream.from_texts([text])"
        ) from None
    if is_file:
        return [TextFile(path, _printable(path.name), chosen=True, shown=getattr(item, "shown", None))]
    if is_folder:
        files = [
            TextFile(file, _printable(file.relative_to(path)), chosen=False) for file in _text_files(path, endings)
        ]
        if not files:
            raise DataError(
                f"{path}: no {' or '.join(endings)} file in this folder; name the files themselves if they end otherwise"
            )
        return files
    if glob.has_magic(str(path)):
        matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
        files = [TextFile(match, _printable(match.name), chosen=False) for match in matches if _is_file(match)]
        if not files:
            raise DataError(f"{path}: no file matches this pattern")
        return files
    if path.exists() and os.fspath(item):
        raise DataError(f"{path}: is neither a file nor a folder; copy what it holds into a file")
    raise DataError(f"{os.fspath(item) or repr('')}: no such file or folder")


def _text_files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """Returns the files below a folder, sorted, without hidden ones; folders behind links are entered once."""
    found: list[Path] = []
    seen = {os.path.realpath(folder)}
    broken: list[str] = []

    def fail(error: OSError) -> None:
        broken.append(f"{_printable(error.filename)}: cannot be listed ({error.strerror}); check its permissions")

    for parent, folders, names in os.walk(folder, followlinks=True, onerror=fail):
        entered = []
        for name in sorted(folders):
            real = os.path.realpath(os.path.join(parent, name))
            if not name.startswith(".") and real not in seen:
                seen.add(real)
                entered.append(name)
        folders[:] = entered
        if _CACHE_MARK in names:
            # A folder of the cache can be among the files, and contains JSON.
            continue
        found += (Path(parent, name) for name in names if name.lower().endswith(endings) and not name.startswith("."))
    raise_broken(broken)
    return sorted(filter(_is_file, found))


def _is_file(path: Path) -> bool:
    """Returns True for a file, and for what cannot be examined, such as a broken link, which is reported when opened."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _printable(path: str | os.PathLike[str]) -> str:
    text = path.as_posix() if isinstance(path, Path) else os.fspath(path)
    return escape_controls(os.fsencode(text).decode("utf-8", errors="replace") if not text.isascii() else text)
