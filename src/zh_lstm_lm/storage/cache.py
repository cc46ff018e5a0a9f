"""The folder of what can be made again: segmented text, dictionaries, room for large tensors."""

import os
import sys
from pathlib import Path

from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.storage.atomic import remove_directory

__all__ = ["cached_files", "clear_cache", "user_cache_dir"]

_CACHED = ("streams", "dictionaries", "scratch")


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


def cached_files(folder: Path) -> list[Path]:
    """The files that this library keeps in a cache folder."""
    return [file for kept in _CACHED for file in (folder / kept).rglob("*") if file.is_file()]


def clear_cache(folder: Path) -> None:
    """Removes everything that this library keeps in a cache folder, and nothing else.

    Raises:
        CheckpointError: Something cannot be removed.
    """
    for kept in _CACHED:
        if (folder / kept).is_dir():
            remove_directory(folder / kept)
