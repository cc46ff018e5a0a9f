"""Tokenizers without a dictionary: characters, and the words of text that is segmented already."""

from zh_lstm_lm.errors import ConfigError

__all__ = ["CharacterTokenizer", "WhitespaceTokenizer"]

_BLANKS = " \t\u3000"
_MAX_SEPARATOR = 8


class CharacterTokenizer:
    """Cuts text into its characters (Unicode code points)."""

    fingerprint = "characters 1"

    def tokenize(self, text: str) -> list[str]:
        """Returns the characters of the text."""
        return list(text)


class WhitespaceTokenizer:
    """Keeps the words of pre-segmented text such as WikiText, PTB, PKU and MSR; the last two have two spaces.

    The separator between two words is implied and is no token. Every further separator, as in a run of spaces or at
    either end of a line, is a token, so that nothing is lost.
    """

    def __init__(self, *, separator: str = " ") -> None:
        if not isinstance(separator, str) or not 0 < len(separator) <= _MAX_SEPARATOR or separator.strip(_BLANKS):
            raise ConfigError(f"separator must be 1 to {_MAX_SEPARATOR} spaces or tabs, got {separator!r:.60}")
        self.separator = separator
        self.fingerprint: str | None = f"whitespace 1 separator={separator!r}"

    def tokenize(self, text: str) -> list[str]:
        """Returns the words of a paragraph; an empty piece is a token equal to the separator."""
        return [word or self.separator for word in text.split(self.separator)]
