"""The options of forms, checked."""

from collections.abc import Mapping, Sequence
from typing import Any

from zh_lstm_lm._config import check_integer, shown
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.generation.forms.tokens import LINE_ENDS, count_characters
from zh_lstm_lm.generation.punctuation import PAIRS

__all__ = ["WITHIN", "check_first_characters", "check_line_lengths", "check_must_contain"]

WITHIN = 100
"""Characters within which a word must occur if neither it nor the text has a length."""

_MAX_LINES = 1000
_MAX_LENGTH = 1000
_MAX_WORDS = 50
_PAIRS = PAIRS.keys() | set(PAIRS.values())


def check_first_characters(value: object) -> str | None:
    """Returns the option if it is a string of characters that are no punctuation, or None."""
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_LINES or count_characters(value) < len(value):
        raise ConfigError(
            f"first_characters must be a string of 1 to {_MAX_LINES:,} characters without punctuation, as in '春夏秋冬', "
            f"got {shown(value)}"
        )
    return value


def check_line_lengths(value: Any) -> int | tuple[int, ...] | None:
    """Returns the option: a number, a tuple of numbers, or None."""
    if value is None:
        return None
    lengths = [value] if isinstance(value, int) else value
    if isinstance(lengths, str) or not isinstance(lengths, Sequence) or not 0 < len(lengths) <= _MAX_LINES:
        raise ConfigError(
            f"line_lengths must be a number or a list of up to {_MAX_LINES:,} numbers, got {shown(value)}"
        )
    for length in lengths:
        check_integer("line_lengths", length, minimum=1, maximum=_MAX_LENGTH)
    return value if isinstance(value, int) else tuple(lengths)


def check_must_contain(value: Any) -> tuple[tuple[str, int | None], ...]:
    """Returns the option as words with the numbers of characters within which they must occur."""
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, (Sequence, Mapping)) or not len(value) <= _MAX_WORDS:
        raise ConfigError(
            f"must_contain must be a list of up to {_MAX_WORDS} words, or map them to numbers, got {shown(value)}"
        )
    words = list(value.items()) if isinstance(value, Mapping) else [(word, None) for word in value]
    for word, within in words:
        if not isinstance(word, str) or not word or not (LINE_ENDS | _PAIRS).isdisjoint(word) or not word.strip():
            raise ConfigError(
                f"must_contain must hold words without quotes, brackets and marks that end a line, got {shown(word)}"
            )
        check_integer(
            f"must_contain: the number of characters for {word}",
            within,
            minimum=len(word),
            maximum=1 << 62,
            optional=True,
        )
    if len(dict(words)) < len(words):
        raise ConfigError(f"must_contain must name a word once, got {shown(value)}")
    return tuple(words)
