"""User dictionaries: names, sects, martial arts and other words of the user, each with an optional frequency."""

import codecs
import os
import re
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from zh_lstm_lm._config import check_text
from zh_lstm_lm.errors import ConfigError, DataError

__all__ = ["UserDictionary", "check_user_dictionary", "read_user_dictionary"]

UserDictionary: TypeAlias = "dict[str, int | None]"
"""Word to frequency; with None the segmenter chooses the frequency by which the word is not cut."""

# Every prefix of a word has an entry of its own: a file that is not a word list would fill the memory.
_MAX_CHARACTERS = 100
_MAX_ALL_CHARACTERS = 1 << 21
_MAX_FREQUENCY = 10**12
# Python itself refuses to read numbers of thousands of digits.
_MAX_DIGITS = 100
# Proportion of a simplified text, which has a rare character here and there.
_MIN_GB2312 = 0.9
# Other separators of columns, quotation marks, and bytes of files that hold no text.
_OTHER_FORMAT = re.compile('[,，;；|、="“”\x00-\x08]|->')
_OPTION = "user_dictionary"
_EXPECTED = "expected 'word [frequency] [tag]', such as '乾坤大挪移 20 n', without whitespace in the word"


def read_user_dictionary(source: "str | PathLike[str] | Iterable[str] | Mapping[str, int | None]") -> UserDictionary:
    """Reads a user's words from a file, a list of lines, or a mapping from word to frequency (or None).

    A file is in UTF-8, GBK, or UTF-16 with its mark. A line is ``word [frequency] [tag]``. Empty lines and tags are
    skipped, and of a word that occurs twice the last line counts, all as in jieba. A frequency of 0 removes a word from
    the dictionary. Errors name the line.
    """
    if isinstance(source, (str, PathLike)):
        return _parse(_lines_of_file(Path(source)), str(source))
    if isinstance(source, Mapping):
        return check_user_dictionary(source)
    if isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray)):
        return _parse(source, _OPTION)
    raise ConfigError(f"{_OPTION} must be the path of a file, a list of lines, or a mapping, got {source!r:.60}")


def check_user_dictionary(words: "Mapping[str, int | None]") -> UserDictionary:
    """Copies a mapping from word to frequency; raises ConfigError if it has no word, or an invalid entry."""
    if not isinstance(words, Mapping):
        raise ConfigError(f"{_OPTION} must be a mapping from word to frequency, got {words!r:.60}")
    if not words:
        raise ConfigError(f"{_OPTION}: there is no word in it; {_EXPECTED}")
    _check_extent((word for word in words if isinstance(word, str)), _OPTION)
    for word, frequency in words.items():
        _check_entry(word, frequency, f"{_OPTION}[{word!r:.60}]", repr(frequency))
    return dict(words)


def _lines_of_file(path: Path) -> list[str]:
    try:
        return _decode(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            problem = f"{path}, byte {error.start}: not valid UTF-8 (0x{error.object[error.start]:02x})"
            raise ConfigError(f"{problem}, nor GBK; a user dictionary must be UTF-8: save it as such") from None
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"user_dictionary: {os.fspath(path)!r} cannot be read ({reason}); give the path of a file with one word per "
            "line, or a list of words"
        ) from error


def _decode(data: bytes) -> str:
    """Decodes UTF-8, UTF-16 with its mark, or GBK, as which Big5 gives few of the characters of GB2312."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("gb18030", "replace")
        beyond = [character for character in text if not character.isascii()]
        if len("".join(beyond).encode("gb2312", "ignore")) < _MIN_GB2312 * 2 * len(beyond):
            raise
        return text


def _parse(lines: Iterable[str], name: str) -> UserDictionary:
    words: UserDictionary = {}
    for number, line in enumerate(lines, 1):
        location = f"{name}, line {number}"
        if not isinstance(line, str):
            raise ConfigError(f"{location}: {line!r:.60} is not a string; {_EXPECTED}")
        fields = line.strip().lstrip("\ufeff").split()
        if not fields:
            continue
        if found := _OTHER_FORMAT.search(line):
            raise ConfigError(
                f"{location}: {line.strip()!r:.60} has a {found[0]!r}; {_EXPECTED}; separate the columns by spaces, and "
                f"give words that contain {found[0]!r} as a mapping from word to frequency"
            )
        word, *rest = fields
        # The last field may be a part of speech, which is not used here.
        if rest and rest[-1].isascii() and rest[-1].isalpha():
            rest.pop()
        is_number = len(rest) == 1 and rest[0].isascii() and rest[0].isdigit() and len(rest[0]) <= _MAX_DIGITS
        frequency = int(rest[0]) if is_number else None
        if len(rest) > 1 or (rest and frequency is None):
            raise ConfigError(
                f"{location}: {line.strip()!r:.60} is not an entry; {_EXPECTED}; a frequency is a whole number from 0 to "
                f"{_MAX_FREQUENCY:,}"
            )
        # The order of the words is that of their last lines.
        words.pop(word, None)
        words[word] = frequency
        _check_entry(word, frequency, location, repr(line.strip()))
    if not words:
        raise ConfigError(f"{name}: there is no word in it; {_EXPECTED}, one per line")
    _check_extent(words, name)
    return words


def _check_extent(words: Iterable[str], name: str) -> None:
    if (characters := sum(map(len, words))) > _MAX_ALL_CHARACTERS:
        raise ConfigError(
            f"{name}: words of {characters:,} characters in all, expected at most {_MAX_ALL_CHARACTERS:,}; omit the words "
            "that your texts do not contain"
        )


def _check_entry(word: object, frequency: object, location: str, shown: str) -> None:
    if not isinstance(word, str) or not word or word.split() != [word]:
        raise ConfigError(f"{location}: a word must be a string without whitespace, got {word!r:.60}; {_EXPECTED}")
    try:
        check_text(f"{location}: the word", word)
    except DataError as error:
        raise ConfigError(str(error)) from None
    if len(word) > _MAX_CHARACTERS:
        raise ConfigError(f"{location}: a word of {len(word):,} characters, expected at most {_MAX_CHARACTERS}")
    whole = isinstance(frequency, int) and not isinstance(frequency, bool)
    if frequency is not None and not (whole and 0 <= frequency <= _MAX_FREQUENCY):  # type: ignore[operator]
        raise ConfigError(
            f"{location}: the frequency of {word!r} must be a whole number from 0 to {_MAX_FREQUENCY:,}, got {shown:.60}"
        )
