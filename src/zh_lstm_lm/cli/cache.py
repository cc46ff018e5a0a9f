"""The command ``cache``."""

import argparse

from zh_lstm_lm.cli.common import AddCommand, path, print_line

__all__ = ["add_command"]


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    cache = add("cache", _cache, "Show the place and the size of the cache of segmented text, or clear it.")
    cache.add_argument(
        "--cache-dir", type=path, metavar="FOLDER", help="another cache folder (default: the user's cache folder)"
    )
    cache.add_argument("--clear", action="store_true", help="remove its contents")


def _cache(parsed: argparse.Namespace) -> int:
    from pathlib import Path

    from zh_lstm_lm.storage.cache import cached_files, clear_cache, user_cache_dir

    folder = Path(parsed.cache_dir) if parsed.cache_dir else user_cache_dir()
    files = cached_files(folder)
    size = sum(file.stat().st_size for file in files) / 1e6
    if parsed.clear:
        clear_cache(folder)
        print_line(f"{folder}: cleared, {size:,.1f} MB")
    else:
        print_line(f"{folder}: {size:,.1f} MB in {len(files)} files")
    return 0
