"""Limits of a generated text, and the reasons for which it ends."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeAlias

from typing_extensions import TypedDict

from zh_lstm_lm._config import check_integer, check_number
from zh_lstm_lm.errors import ConfigError

__all__ = ["FinishReason", "LimitOptions", "Limits"]

FinishReason: TypeAlias = Literal[
    "max_new_tokens",
    "max_characters",
    "max_sentences",
    "max_paragraphs",
    "max_chapters",
    "max_time",
    "stop",
    "stop_when",
    "no_token",
]
"""Name of the limit that ended a text; ``"no_token"`` where `SamplerConfig.banned_words` left no token that fits."""

_DEFAULT_NEW_TOKENS = 200
# Tokens of a sentence or paragraph, and of a chapter, that does not end by itself.
_TOKENS_A_PART = 1000
_TOKENS_A_CHAPTER = 20_000
_NO_LIMIT = 1 << 62


class LimitOptions(TypedDict, total=False):
    """Limits of a text; the first one that is reached ends it, never inside a word.

    Attributes:
        max_new_tokens: Number of tokens to generate. The default is 1,000 for each of `max_sentences` or
            `max_paragraphs`, 20,000 for each of `max_chapters`, no limit with `max_characters` or `max_time`, else 200.
        min_new_tokens: Number of tokens before which no sentence, paragraph, chapter, string, predicate or time ends
            the text.
        max_characters: Length of the text in characters, prompt and paragraph ends included. It is met exactly: near
            the end only words that fit are sampled.
        max_sentences: Number of sentences; one that the prompt started counts once it ends.
        max_paragraphs: Number of paragraphs, likewise; the text ends with a paragraph end.
        max_chapters: Number of chapters, likewise; the text ends before the heading (第二回 and the like) of the next
            one. Words that may be part of a heading are yielded once it is clear that they are not, at the latest after
            50 characters of their line.
        max_time: Seconds; the token that is being generated is completed.
        stop: One or more strings; the text ends with the word that completes one of them.
        stop_when: A function of the latest 1,000 characters, called after each word; the text ends when it returns True.
    """

    max_new_tokens: int | None
    min_new_tokens: int
    max_characters: int | None
    max_sentences: int | None
    max_paragraphs: int | None
    max_chapters: int | None
    max_time: float | None
    stop: str | Sequence[str] | None
    stop_when: Callable[[str], bool] | None


class Limits:
    """Checked `LimitOptions`."""

    def __init__(
        self,
        *,
        max_new_tokens: int | None = None,
        min_new_tokens: int = 0,
        max_characters: int | None = None,
        max_sentences: int | None = None,
        max_paragraphs: int | None = None,
        max_chapters: int | None = None,
        max_time: float | None = None,
        stop: str | Sequence[str] | None = None,
        stop_when: Callable[[str], bool] | None = None,
    ) -> None:
        check_integer("max_new_tokens", max_new_tokens, minimum=0, optional=True)
        check_integer("min_new_tokens", min_new_tokens, minimum=0)
        check_integer("max_characters", max_characters, minimum=1, optional=True)
        check_integer("max_sentences", max_sentences, minimum=1, optional=True)
        check_integer("max_paragraphs", max_paragraphs, minimum=1, optional=True)
        check_integer("max_chapters", max_chapters, minimum=1, optional=True)
        check_number("max_time", max_time, exclusive=True, optional=True)
        if stop_when is not None and not callable(stop_when):
            raise ConfigError(f"stop_when must be a function of a string, got {stop_when!r}")
        self.stops = _stop_strings(stop)
        if max_new_tokens is not None and min_new_tokens > max_new_tokens:
            raise ConfigError(f"min_new_tokens must be at most max_new_tokens={max_new_tokens}, got {min_new_tokens}")
        if max_new_tokens is None:
            if max_characters is not None or max_time is not None:
                max_new_tokens = _NO_LIMIT
            else:
                parts = _TOKENS_A_PART * max(max_sentences or 0, max_paragraphs or 0)
                chapters = _TOKENS_A_CHAPTER * (max_chapters or 0)
                max_new_tokens = max(min_new_tokens, parts or chapters or _DEFAULT_NEW_TOKENS)
        self.max_new_tokens = max_new_tokens
        self.min_new_tokens = min_new_tokens
        self.max_characters = max_characters
        self.max_sentences = max_sentences
        self.max_paragraphs = max_paragraphs
        self.max_chapters = max_chapters
        self.max_time = max_time
        self.stop_when = stop_when

    def room_after(self, prompt: str) -> int | None:
        """Returns the number of characters that may follow a prompt; None for no limit.

        Raises:
            ConfigError: The prompt leaves less room than the limits require.
        """
        if self.max_characters is None:
            return None
        room = self.max_characters - len(prompt)
        if room < 0:
            raise ConfigError(
                f"max_characters counts the prompt: it must be at least {len(prompt)} here, got {self.max_characters}"
            )
        if room < self.min_new_tokens:
            raise ConfigError(
                f"max_characters={self.max_characters} leaves room for {room} characters after the prompt, fewer than "
                f"min_new_tokens={self.min_new_tokens}"
            )
        return room


def _stop_strings(stop: str | Sequence[str] | None) -> list[str]:
    if not isinstance(stop, (str, Iterable, type(None))):
        raise ConfigError(f"stop must be a string or a list of strings, got {stop!r}")
    strings = [stop] if isinstance(stop, str) else list(stop or ())
    for string in strings:
        if not isinstance(string, str) or not string:
            raise ConfigError(f"stop must be a string or a list of strings that are not empty, got {stop!r}")
    return strings
