"""Every character a token: the baseline that needs no dictionary."""

from collections.abc import Sequence

__all__ = ["CharacterTokenizer"]


class CharacterTokenizer:
    """Cuts text into its characters (Unicode code points)."""

    fingerprint = "characters 1"

    def tokenize(self, text: str) -> list[str]:
        """Returns the characters of the text."""
        return list(text)

    def detokenize(self, tokens: Sequence[str]) -> str:
        """Concatenates the tokens."""
        return "".join(tokens)
