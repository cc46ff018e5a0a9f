"""Words in two languages; the page holds both, and its reader chooses."""

from typing import NamedTuple

__all__ = ["Label", "Words", "in_both"]


class Label(NamedTuple):
    """The same in Chinese and in English."""

    zh: str
    en: str


Words = Label | str
"""A label of ours, or text that is the same in every language, such as a run's name."""


def in_both(words: Words) -> str:
    """Both languages in a line, where only plain text can stand."""
    return f"{words.zh} {words.en}" if isinstance(words, Label) else words
