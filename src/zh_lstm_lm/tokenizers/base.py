"""What a tokenizer is: two methods, and tokens that together are the text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from zh_lstm_lm.errors import ConfigError, DataError

__all__ = ["LosslessTokenizer", "Tokenizer", "cut_at_offsets", "restore_dropped_spans"]


@runtime_checkable
class Tokenizer(Protocol):
    """Anything with these two methods can segment text for this library.

    Its tokens concatenate to the text. It is given one paragraph at a time, never a newline. An attribute
    ``fingerprint`` (a string that changes whenever a token could) is optional; with it, what was segmented is kept in
    the cache.
    """

    def tokenize(self, text: str) -> Sequence[str]:
        """Cuts a paragraph into tokens."""
        ...

    def detokenize(self, tokens: Sequence[str]) -> str:
        """Puts the tokens of `tokenize` together again."""
        ...


class LosslessTokenizer:
    """Holds any tokenizer to its promise: dropped spans come back as tokens, changed characters are refused.

    Args:
        inner: The tokenizer to hold to it.
        name: Its registered name; None for an object of the user's.
        options: The options it was made with.

    Raises:
        ConfigError: `inner` does not have the two methods.
    """

    def __init__(self, inner: Tokenizer, *, name: str | None = None, options: Mapping[str, Any] | None = None) -> None:
        if isinstance(inner, type) or not all(
            callable(getattr(inner, name, None)) for name in ("tokenize", "detokenize")
        ):
            raise ConfigError(
                f"a tokenizer needs the methods tokenize(text) and detokenize(tokens), got {inner!r}; "
                "give the name of a registered one, or an object with both"
            )
        fingerprint = getattr(inner, "fingerprint", None)
        if fingerprint is not None and not isinstance(fingerprint, str):
            raise ConfigError(f"a tokenizer's fingerprint must be a string or None, got {fingerprint!r}")
        self.inner = inner
        self.name = name
        self.options = dict(options or {})
        self.fingerprint: str | None = fingerprint

    def tokenize(self, text: str) -> list[str]:
        """Cuts a paragraph into tokens that concatenate to it.

        Raises:
            DataError: The inner tokenizer changes characters.
        """
        if not text:
            return []
        tokens = self.inner.tokenize(text)
        try:
            tokens = list(tokens)
            if "".join(tokens) == text and "" not in tokens:
                return tokens
        except TypeError:
            raise DataError(f"{self.inner!r}: tokenize must give strings, got {tokens!r:.80}") from None
        return restore_dropped_spans(text, tokens, name=repr(self.inner))

    def detokenize(self, tokens: Sequence[str]) -> str:
        """Concatenates the tokens."""
        return "".join(tokens)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"


def restore_dropped_spans(text: str, tokens: Iterable[str], *, name: str = "the tokenizer") -> list[str]:
    """Puts what a tokenizer left out (spaces, say) back between its tokens, as tokens.

    Args:
        text: The text that was cut.
        tokens: Its tokens, in order.
        name: What to call the tokenizer in an error.

    Raises:
        DataError: A token is not found in the text behind the one before: characters were changed or made up.
    """
    restored: list[str] = []
    position = 0
    for token in tokens:
        if not token:
            continue
        found = text.find(token, position)
        if found < 0:
            raise DataError(
                f"{name} changes the text: its token {token!r} is not in {text[position : position + 20]!r}…; "
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
    """Cuts a text at the offsets of tokens, so that the pieces concatenate to it whatever the library normalises.

    Tokens without characters of their own (an added space, the later bytes of a character) give no piece; characters
    that no token covers are a piece of their own.

    Args:
        text: The text that was cut.
        offsets: Start and stop of each token, in characters, with rising starts.
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
