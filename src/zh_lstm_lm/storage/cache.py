"""The folder of what can be made again: segmented text, dictionaries, room for large tensors."""

import contextlib
import os
import re
import stat
import sys
from pathlib import Path

from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.storage.atomic import remove_directory
from zh_lstm_lm.storage.workspace import finish_workspaces

__all__ = ["SCRATCH_PREFIX", "cache_part", "cached_files", "clear_cache", "user_cache_dir"]

SCRATCH_PREFIX = "zh-lstm-lm-"
_PARTS = {  # and the names that this library gives to what it keeps in each
    "streams": re.compile(r"[0-9a-f]{32}"),
    "dictionaries": re.compile(r"jieba-\d+-[0-9a-f]{32}"),
    "scratch": re.compile(rf"{SCRATCH_PREFIX}[0-9a-z_]{{8}}"),
}
_OWNED = frozenset({"tokens.bin", "lexicon.utf8", "stream.json", "index.json", "manifest.json"})


def user_cache_dir() -> Path:
    """The folder for what can be made again: ``$ZH_LSTM_LM_CACHE``, or the platform's cache folder.

    Raises:
        CheckpointError: Neither is known: the user has no home folder.
    """
    if os.environ.get("ZH_LSTM_LM_CACHE"):
        return Path(os.environ["ZH_LSTM_LM_CACHE"])
    try:
        if sys.platform == "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise CheckpointError(
            f"there is no place for a cache ({error}); name a folder in the environment variable ZH_LSTM_LM_CACHE"
        ) from error
    return base / "zh-lstm-lm"


def cache_part(folder: Path, name: str) -> Path:
    """A part of a cache folder, such as ``streams``.

    Raises:
        CheckpointError: It is a symbolic link, behind which somebody's own files may lie.
    """
    if (folder / name).is_symlink():
        raise CheckpointError(
            f"{folder / name}: is a symbolic link, which is not written through; name another cache folder in "
            "cache_dir or ZH_LSTM_LM_CACHE"
        )
    return folder / name


def cached_files(folder: Path) -> list[Path]:
    """The files that this library keeps in a cache folder."""
    return [file for kept in _kept(folder) for file in (kept.iterdir() if kept.is_dir() else [kept])]


def clear_cache(folder: Path) -> None:
    """Removes everything that this library keeps in a cache folder, and nothing else.

    Raises:
        CheckpointError: Something cannot be removed.
    """
    for kept in _kept(folder):
        if kept.is_dir():
            remove_directory(kept, owned=_OWNED)
        else:
            try:
                kept.unlink()
            except OSError as error:
                raise CheckpointError(f"{kept}: cannot be removed ({error.strerror}); check its permissions") from error
    for part in _PARTS:
        finish_workspaces(folder / part)
        with contextlib.suppress(OSError):  # it is a link, or holds what is not ours
            (folder / part).rmdir()


def _kept(folder: Path) -> list[Path]:
    """The folders and files of this library's own: by their names, by what is in them, and behind no link."""
    found = []
    for part, name in _PARTS.items():
        if (folder / part).is_dir() and not (folder / part).is_symlink():
            found += [path for path in (folder / part).iterdir() if name.fullmatch(path.name) and _is_own(path)]
    return found


def _is_own(path: Path) -> bool:
    """Whether a path is a file, or a folder with nothing but files of this library in it."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            return all(entry.name in _OWNED and not entry.is_dir() for entry in path.iterdir())
        return stat.S_ISREG(path.lstat().st_mode)
    return False
