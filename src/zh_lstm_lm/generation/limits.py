"""When a text is finished: limits, checked, and the reasons that they give."""

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
]
"""The limit that ended a text, by its name."""

_DEFAULT_NEW_TOKENS = 200
_TOKENS_A_PART = 1000  # of a sentence or paragraph that does not come to its end
_TOKENS_A_CHAPTER = 20_000
_NO_LIMIT = 1 << 62


class LimitOptions(TypedDict, total=False):
    """When a text is finished; the first limit that is reached ends it, never inside a word.

    Attributes:
        max_new_tokens: Tokens to write. Where it is not given: 1,000 for each of the sentences or paragraphs, 20,000
            for each of the chapters, as many as it takes with `max_characters` or `max_time`, else 200, also with
            `stop` and `stop_when`.
        min_new_tokens: Tokens that come before a sentence, paragraph, chapter, string, predicate or the time may end
            the text.
        max_characters: Length of the text in characters, prompt and paragraph ends included. It is met exactly: where
            little room is left, only words that fit are drawn.
        max_sentences: Sentences to write; what the prompt began counts once it ends.
        max_paragraphs: Paragraphs to write, likewise; the text ends with a paragraph end.
        max_chapters: Chapters to write, likewise; the text ends before the heading (第二回 and the like) of the one that
            would follow. Words that may turn out to be a heading are given out once it is clear that they are none, at
            the latest after 50 characters of their line.
        max_time: Seconds to write for; the word that is being drawn is still written.
        stop: The text ends with the word that completes one of these strings.
        stop_when: A function that is given the latest 1,000 characters of the text after each word, and says whether
            it ends there.
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
    """`LimitOptions`, checked."""

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
        """Characters that may come after a prompt; None for no limit.

        Raises:
            ConfigError: The prompt leaves less room than the limits ask for.
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
