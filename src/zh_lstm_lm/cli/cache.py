"""The command ``cache``."""

import argparse

from zh_lstm_lm.cli.common import AddCommand, tell

__all__ = ["add_command"]


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    cache = add("cache", _cache, "Tell where segmented text is kept and how large it is, or clear it.")
    cache.add_argument("--cache-dir", help="another cache folder")
    cache.add_argument("--clear", action="store_true", help="remove what is in it")


def _cache(parsed: argparse.Namespace) -> int:
    from pathlib import Path

    from zh_lstm_lm.storage.cache import cached_files, clear_cache, user_cache_dir

    folder = Path(parsed.cache_dir) if parsed.cache_dir else user_cache_dir()
    files = cached_files(folder)
    size = sum(file.stat().st_size for file in files) / 1e6
    if parsed.clear:
        clear_cache(folder)
        tell(f"{folder}: cleared, {size:,.1f} MB")
    else:
        tell(f"{folder}: {size:,.1f} MB in {len(files)} files")
    return 0
