"""The cache folder: segmented text, dictionaries, and temporary files of large tensors."""

import contextlib
import os
import re
import stat
import sys
from pathlib import Path

from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.storage.atomic import remove_directory
from zh_lstm_lm.storage.workspace import finish_workspaces, is_folder

__all__ = ["SCRATCH_PREFIX", "cache_part", "cached_files", "clear_cache", "user_cache_dir"]

SCRATCH_PREFIX = "zh-lstm-lm-"
# Each part, and the names that this library gives to its entries.
_PARTS = {
    "streams": re.compile(r"[0-9a-f]{32}"),
    "dictionaries": re.compile(r"jieba-\d+-[0-9a-f]{32}"),
    "scratch": re.compile(rf"{SCRATCH_PREFIX}[0-9a-z_]{{8}}"),
}
_OWNED = frozenset({"tokens.bin", "lexicon.utf8", "stream.json", "index.json", "manifest.json"})


def user_cache_dir() -> Path:
    """Returns the cache folder: ``$ZH_LSTM_LM_CACHE``, or one in that of the platform; raises if there is no home."""
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
    """Returns a part of a cache folder, such as ``streams``; refuses a link, which may lead to a user's own files."""
    if (folder / name).is_symlink():
        raise CheckpointError(
            f"{folder / name}: is a symbolic link, which is not written through; name another cache folder in "
            "cache_dir or ZH_LSTM_LM_CACHE"
        )
    return folder / name


def cached_files(folder: Path) -> list[Path]:
    """Returns the files of this library in a cache folder."""
    return [file for kept in _kept(folder) for file in (kept.iterdir() if kept.is_dir() else [kept])]


def clear_cache(folder: Path) -> None:
    """Removes the files of this library in a cache folder, and nothing else; raises CheckpointError if it cannot."""
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
        # It may be a link, or hold files of somebody else.
        with contextlib.suppress(OSError):
            (folder / part).rmdir()


def _kept(folder: Path) -> list[Path]:
    """Returns the folders and files that this library made, by their names and contents, and behind no link."""
    found = []
    for part, name in _PARTS.items():
        if is_folder(folder / part):
            found += [path for path in (folder / part).iterdir() if name.fullmatch(path.name) and _is_own(path)]
    return found


def _is_own(path: Path) -> bool:
    """Returns True for a file, and for a folder with nothing but files of this library in it."""
    with contextlib.suppress(OSError):
        if is_folder(path):
            return all(entry.name in _OWNED and not entry.is_dir() for entry in path.iterdir())
        return stat.S_ISREG(path.lstat().st_mode)
    return False
