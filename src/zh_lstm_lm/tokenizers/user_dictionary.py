"""A user's own words: names, sects, martial arts, each with a frequency or none."""

import os
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from zh_lstm_lm.errors import ConfigError

__all__ = ["UserDictionary", "check_user_dictionary", "read_user_dictionary"]

UserDictionary: TypeAlias = "dict[str, int | None]"
"""Word to frequency; None lets the segmenter choose one by which the word is cut whole."""

_MAX_CHARACTERS = 100  # every prefix of a word has an entry of its own: a file that is no word list would fill memory
_MAX_ALL_CHARACTERS = 1 << 21
_MAX_FREQUENCY = 10**12
_MAX_DIGITS = 100  # Python itself refuses to read a number of thousands
_EXPECTED = "expected 'word [frequency] [tag]', such as '乾坤大挪移 20 n', without whitespace in the word"


def read_user_dictionary(
    source: "str | PathLike[str] | Iterable[str] | Mapping[str, int | None]", *, name: str = "user_dictionary"
) -> UserDictionary:
    """Reads a user's words, in jieba's format where they are lines.

    A line is ``word [frequency] [tag]``; empty lines and tags are skipped, and of a word that stands twice the last
    line counts, all as in jieba. A frequency of 0 takes a word out of the dictionary.

    Args:
        source: The path of a UTF-8 file with one word a line, a list of such lines, or a mapping from word to
            frequency (None for none).
        name: What to call the option in an error.

    Raises:
        ConfigError: There is no word, or an entry is not of that form; the message names the line.
    """
    if isinstance(source, (str, PathLike)):
        return _parse(_lines_of_file(Path(source)), str(source))
    if isinstance(source, Mapping):
        return check_user_dictionary(source, name=name)
    if isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray)):
        return _parse(source, name)
    raise ConfigError(f"{name} must be the path of a file, a list of lines, or a mapping, got {source!r:.60}")


def check_user_dictionary(words: "Mapping[str, int | None]", *, name: str = "user_dictionary") -> UserDictionary:
    """Copies a mapping from word to frequency.

    Raises:
        ConfigError: It is no mapping, holds no word, or an entry is not a word with a frequency or None.
    """
    if not isinstance(words, Mapping):
        raise ConfigError(f"{name} must be a mapping from word to frequency, got {words!r:.60}")
    if not words:
        raise ConfigError(f"{name}: there is no word in it; {_EXPECTED}")
    _check_extent((word for word in words if isinstance(word, str)), name)
    for word, frequency in words.items():
        _check_entry(word, frequency, f"{name}[{word!r:.60}]", repr(frequency))
    return dict(words)


def _lines_of_file(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            problem = f"{path}, byte {error.start}: not valid UTF-8 (0x{error.object[error.start]:02x})"
            raise ConfigError(f"{problem}; a user dictionary must be UTF-8: save it as such") from None
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"user_dictionary: {os.fspath(path)!r} cannot be read ({reason}); give the path of a file with one word a "
            "line, or a list of words"
        ) from error


def _parse(lines: Iterable[str], name: str) -> UserDictionary:
    words: UserDictionary = {}
    for number, line in enumerate(lines, 1):
        place = f"{name}, line {number}"
        if not isinstance(line, str):
            raise ConfigError(f"{place}: {line!r:.60} is no string; {_EXPECTED}")
        fields = line.strip().lstrip("\ufeff").split()
        if not fields:
            continue
        word, *rest = fields
        if rest and rest[-1].isascii() and rest[-1].isalpha():
            rest.pop()  # a part of speech; nothing here asks for it
        is_number = len(rest) == 1 and rest[0].isascii() and rest[0].isdigit() and len(rest[0]) <= _MAX_DIGITS
        frequency = int(rest[0]) if is_number else None
        if len(rest) > 1 or (rest and frequency is None):
            raise ConfigError(
                f"{place}: {line.strip()!r:.60} is no entry; {_EXPECTED}; a frequency is a whole number from 0 to {_MAX_FREQUENCY:,}"
            )
        words.pop(word, None)  # so that the order is that of the last lines
        words[word] = frequency
        _check_entry(word, frequency, place, repr(line.strip()))
    if not words:
        raise ConfigError(f"{name}: there is no word in it; {_EXPECTED}, one a line")
    _check_extent(words, name)
    return words


def _check_extent(words: Iterable[str], name: str) -> None:
    if (characters := sum(map(len, words))) > _MAX_ALL_CHARACTERS:
        raise ConfigError(
            f"{name}: words of {characters:,} characters in all, expected at most {_MAX_ALL_CHARACTERS:,}; leave out "
            "what your texts do not need"
        )


def _check_entry(word: object, frequency: object, place: str, shown: str) -> None:
    if not isinstance(word, str) or not word or word.split() != [word]:
        raise ConfigError(f"{place}: a word must be a string without whitespace, got {word!r:.60}; {_EXPECTED}")
    if any("\ud800" <= character <= "\udfff" for character in word):
        raise ConfigError(f"{place}: the word {word!a} holds a lone surrogate, which is no text")
    if len(word) > _MAX_CHARACTERS:
        raise ConfigError(f"{place}: a word of {len(word):,} characters, expected at most {_MAX_CHARACTERS}")
    whole = isinstance(frequency, int) and not isinstance(frequency, bool)
    if frequency is not None and not (whole and 0 <= frequency <= _MAX_FREQUENCY):  # type: ignore[operator]
        raise ConfigError(
            f"{place}: the frequency of {word!r} must be a whole number from 0 to {_MAX_FREQUENCY:,}, got {shown:.60}"
        )
