"""jieba's main dictionary, loaded lazily by first character.

jieba looks up fragments of a text, and a fragment starts with a character of that text. So the 350,000 words are loaded by
first character, when the character first occurs: an index gives the offsets of its words in the file. Making the index
takes a pass over the file, so it is kept in the cache. With it the first word is segmented after a few hundredths of a
second; jieba's own start takes most of a second.
"""

import contextlib
import hashlib
import itertools
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.storage.atomic import atomic_directory
from zh_lstm_lm.storage.cache import cache_part, user_cache_dir
from zh_lstm_lm.storage.safe_reading import read_versioned, verify_manifest, versioned
from zh_lstm_lm.storage.strict_json import to_json

__all__ = ["JiebaDictionary"]

_FORMAT = 1
_INDEX = "index.json"


class JiebaDictionary:
    """The words and prefixes, these with frequency 0, of a dictionary file that were loaded so far."""

    def __init__(self, path: Path) -> None:
        self._data = path.read_bytes()
        index = _index_of(self._data)
        self._runs: dict[str, list[tuple[int, int]]] = {}
        starts = index["starts"]
        for character, start, stop in zip(index["characters"], starts, [*starts[1:], len(self._data)], strict=True):
            self._runs.setdefault(character, []).append((start, stop))
        self._lock = threading.Lock()
        self._ready: set[str] = set()
        self.frequencies: dict[str, int] = {}
        self.total: int = index["total"]

    def load(self, text: str) -> None:
        """Loads all words that start with a character of the text."""
        if not self._ready.issuperset(text):
            with self._lock:
                for character in set(text) - self._ready:
                    self._load_words(self._runs.get(character, ()))
                    # This comes last because other threads read the set without the lock.
                    self._ready.add(character)

    def _load_words(self, runs: Iterable[tuple[int, int]]) -> None:
        for start, stop in runs:
            for line in self._data[start:stop].decode("utf-8").split("\n"):
                if not line:
                    continue
                word, frequency = line.split(" ", 2)[:2]
                self.frequencies[word] = int(frequency)
                for end in range(1, len(word)):
                    self.frequencies.setdefault(word[:end], 0)


def _index_of(data: bytes) -> dict[str, Any]:
    """Returns the dictionary's index, from the cache if possible."""
    try:
        name = f"jieba-{_FORMAT}-{hashlib.sha256(data).hexdigest()[:32]}"
        folder = cache_part(user_cache_dir(), "dictionaries") / name
        if folder.is_dir():
            try:
                verify_manifest(folder)
                index = read_versioned(folder / _INDEX, _FORMAT, required=("total", "characters", "starts"))
                if _fits(index, data):
                    return index
            except (CheckpointError, TypeError):
                pass
    except (OSError, CheckpointError):
        # The cache cannot be accessed, or there is no home folder.
        return _make_index(data)
    index = _make_index(data)
    with (
        contextlib.suppress(CheckpointError),
        atomic_directory(folder, owned=frozenset({_INDEX}), replace=folder.is_dir()) as staged,
    ):
        (staged / _INDEX).write_bytes(to_json(versioned(_FORMAT, index)))
    return index


def _fits(index: dict[str, Any], data: bytes) -> bool:
    """Returns True if every run of an index starts at a line of the dictionary that starts with its character."""
    starts, characters = index["starts"], index["characters"]
    if type(index["total"]) is not int or index["total"] <= 0 or not isinstance(characters, str):
        return False
    if not 0 < len(starts) == len(characters):
        return False
    if starts[0] != 0 or not all(before < after for before, after in itertools.pairwise(starts)):
        return False
    return all(
        data.startswith(character.encode("utf-8", "replace"), start) and (not start or data[start - 1] == 10)
        for character, start in zip(characters, starts, strict=True)
    )


def _make_index(data: bytes) -> dict[str, Any]:
    """Returns the offsets of the runs of lines with the same first character, and the sum of all frequencies."""
    characters: list[str] = []
    starts: list[int] = []
    position = total = 0
    for line, size in zip(data.decode("utf-8").split("\n"), map(len, data.split(b"\n")), strict=True):
        if line:
            if not characters or line[0] != characters[-1]:
                characters.append(line[0])
                starts.append(position)
            total += int(line.split(" ", 2)[1])
        position += size + 1
    return {"total": total, "characters": "".join(characters), "starts": starts}
