"""Named cleaning presets: what is taken out of a file before it is text to learn from.

A preset is a list of steps, each a function from text to text; the text's lines end in a single newline.
"""

from collections.abc import Callable

from zh_lstm_lm._config import check_choice

__all__ = ["CLEANINGS", "CLEANING_VERSION", "clean_text", "drop_empty_lines", "strip_indents"]

CLEANING_VERSION = 1
"""Goes up whenever a preset starts to give another text, so that no cache outlives the change."""


_SPACES = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\ufeff"


def strip_indents(text: str) -> str:
    """Takes spaces of every kind (U+3000 and stray byte order marks too) off both ends of each line."""
    return "\n".join(line.strip(_SPACES) for line in text.split("\n"))


def drop_empty_lines(text: str) -> str:
    """Removes lines with nothing in them."""
    return "\n".join(line for line in text.split("\n") if line)


CLEANINGS: dict[str, tuple[Callable[[str], str], ...]] = {
    "none": (),
    "novel": (strip_indents, drop_empty_lines),
}


def clean_text(text: str, clean: str) -> str:
    """Applies a preset.

    Args:
        text: Text whose lines end in a newline.
        clean: ``"novel"``, or ``"none"`` for the text as it is.

    Raises:
        ConfigError: There is no such preset.
    """
    check_choice("clean", clean, CLEANINGS)
    for step in CLEANINGS[clean]:
        text = step(text)
    return text
