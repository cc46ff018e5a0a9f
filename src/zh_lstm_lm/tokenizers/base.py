"""The tokenizer protocol, and the adapter that checks any tokenizer against it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from zh_lstm_lm.errors import ConfigError, DataError

__all__ = ["LosslessTokenizer", "Tokenizer", "add_separator", "cut_at_offsets", "restore_dropped_spans"]


@runtime_checkable
class Tokenizer(Protocol):
    """Protocol of objects that segment text.

    The tokens of a text concatenate to it. The text is one paragraph and never contains a newline. An attribute
    ``fingerprint`` is optional: a string that changes whenever a token can. Segmented text is cached only with it.
    """

    def tokenize(self, text: str) -> Sequence[str]:
        """Cuts a paragraph into tokens."""
        ...


class LosslessTokenizer:
    """Adapter that makes any tokenizer lossless: dropped spans are restored as tokens, changed characters are refused.

    Args:
        inner: The tokenizer.
        name: Its registered name; None for a user's object.
        options: The options that it was made with.
        separator: The string that its tokens imply between them, such as a space. An empty piece between two separators
            is a token equal to the separator.

    Raises:
        ConfigError: `inner` has no method ``tokenize``, or a fingerprint that is not a string.
    """

    def __init__(
        self,
        inner: Tokenizer,
        *,
        name: str | None = None,
        options: Mapping[str, Any] | None = None,
        separator: str = "",
    ) -> None:
        if isinstance(inner, type) or not callable(getattr(inner, "tokenize", None)):
            raise ConfigError(
                f"a tokenizer needs the method tokenize(text), got {inner!r:.200}; give the name of a registered "
                "tokenizer, or an object with that method"
            )
        fingerprint = getattr(inner, "fingerprint", None)
        if fingerprint is not None and not isinstance(fingerprint, str):
            raise ConfigError(f"a tokenizer's fingerprint must be a string or None, got {fingerprint!r:.200}")
        self.inner = inner
        self.name = name
        self.options: dict[str, Any] = dict(options or {})
        self.separator = separator
        self.fingerprint: str | None = fingerprint

    def tokenize(self, text: str) -> list[str]:
        """Cuts a paragraph into tokens; `join` restores it.

        Raises:
            DataError: The inner tokenizer changes characters.
        """
        if not text:
            return []
        tokens = self.inner.tokenize(text)
        try:
            tokens = list(tokens)
            if self.separator or ("".join(tokens) == text and "" not in tokens):
                return tokens
        except TypeError:
            raise DataError(f"{self.inner!r:.200}: tokenize must give strings, got {tokens!r:.80}") from None
        return restore_dropped_spans(text, tokens, name=f"{self.inner!r:.200}")

    def join(self, tokens: Iterable[str]) -> str:
        r"""Concatenates tokens of paragraphs, each followed by ``"\n"``, with the separators that they imply."""
        if not self.separator:
            return "".join(tokens)
        return self.strip_separators("".join(add_separator(token, self.separator) for token in tokens))

    def strip_separators(self, text: str, *, before: str = "") -> str:
        """Removes the separator that `add_separator` puts before the first token of each paragraph.

        The last character of the text before decides whether the concatenated tokens start a paragraph.
        """
        if not self.separator:
            return text
        first, *lines = text.split("\n")
        if not before or before.endswith("\n"):
            first = first.removeprefix(self.separator)
        return "\n".join([first, *(line.removeprefix(self.separator) for line in lines)])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"


def add_separator(token: str, separator: str) -> str:
    """Returns a token with the separator that it implies before it; a paragraph end and an empty piece imply none."""
    return token if token in ("\n", separator) else separator + token


def restore_dropped_spans(text: str, tokens: Iterable[str], *, name: str = "the tokenizer") -> list[str]:
    """Restores the spans that a tokenizer dropped, such as spaces; raises DataError if it changed the text."""
    restored: list[str] = []
    position = 0
    for token in tokens:
        if not token:
            continue
        found = text.find(token, position)
        if found < 0:
            raise DataError(
                f"{name} changes the text: its token {token!r:.200} is not in {text[position : position + 20]!r}…; "
                "a tokenizer must cut the text without changing a character"
            )
        if found > position:
            restored.append(text[position:found])
        restored.append(token)
        position = found + len(token)
    if position < len(text):
        restored.append(text[position:])
    return restored


def cut_at_offsets(text: str, offsets: Iterable[tuple[int, int]]) -> list[str]:
    """Cuts a text at the offsets of its tokens, so that the pieces concatenate to it whatever the library normalises.

    Tokens without characters of their own (an added space, the later bytes of a character) give no piece. Characters
    that no token covers are a piece of their own. The starts do not fall.
    """
    pieces: list[str] = []
    position = 0
    for start, stop in offsets:
        if start > position:
            pieces.append(text[position:start])
            position = start
        if stop > position:
            pieces.append(text[position:stop])
            position = stop
    return pieces + ([text[position:]] if position < len(text) else [])
