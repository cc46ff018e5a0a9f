"""Limits of a generated text, and the reasons for which it ends."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from typing_extensions import Self, TypedDict

from zh_lstm_lm._config import Config, check_choice, check_integer, check_number
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.generation.config import SamplerConfig

__all__ = ["NO_LIMIT", "FinishReason", "LimitOptions", "Limits"]

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

NO_LIMIT = 1 << 62
"""Number of tokens or characters that no text reaches; the greatest value of every limit."""

_DEFAULT_NEW_TOKENS = 200
# Tokens of a sentence or paragraph, and of a chapter, that does not end by itself.
_TOKENS_A_PART = 1000
_TOKENS_A_CHAPTER = 20_000
_MAX_STOP_CHARACTERS = 100_000


class LimitOptions(TypedDict, total=False):
    """Limits of a text; the first one that is reached ends it, never inside a word.

    Attributes:
        max_new_tokens: Number of tokens to generate. The default is 1,000 for each of `max_sentences` or
            `max_paragraphs`, 20,000 for each of `max_chapters`, no limit with `max_characters` or `max_time`, else 200.
        min_new_tokens: Number of tokens before which no sentence, paragraph, chapter, string, predicate or time ends
            the text.
        max_characters: Length of the text in characters, prompt and paragraph ends included. It is met exactly: near
            the end only words that fit are sampled.
        end: ``"sentence"`` ends a text that reaches `max_characters` after its last complete sentence instead, with all
            quotes and brackets closed, if one ends among the last 200 characters; these are yielded sentence by
            sentence. None changes nothing.
        max_sentences: Number of sentences; one that the prompt started counts once it ends.
        max_paragraphs: Number of paragraphs, likewise; the text ends with a paragraph end.
        max_chapters: Number of chapters, likewise; the text ends before the heading (第二回 and the like) of the next
            one. Words that may be part of a heading are yielded once it is clear that they are not, at the latest after
            50 characters of their line.
        max_time: Seconds; the token that is being generated is completed.
        stop: One or more strings of at most 100,000 characters in all; the text ends with the word that completes one of
            them.
        stop_when: A function of the latest 1,000 characters, called after each word; the text ends when it returns True.
    """

    max_new_tokens: int | None
    min_new_tokens: int
    max_characters: int | None
    end: Literal["sentence"] | None
    max_sentences: int | None
    max_paragraphs: int | None
    max_chapters: int | None
    max_time: float | None
    stop: str | Sequence[str] | None
    stop_when: Callable[[str], bool] | None


@dataclass(frozen=True)
class Limits(Config):
    """Checked `LimitOptions`; the attributes are those."""

    max_new_tokens: int | None = None
    min_new_tokens: int = 0
    max_characters: int | None = None
    end: Literal["sentence"] | None = None
    max_sentences: int | None = None
    max_paragraphs: int | None = None
    max_chapters: int | None = None
    max_time: float | None = None
    stop: str | Sequence[str] | None = None
    stop_when: Callable[[str], bool] | None = None

    def __new__(cls, *args: object, **options: object) -> Self:
        """Refuses options of `SamplerConfig`, with the place where they belong."""
        for name in options:
            if name in SamplerConfig.option_names():
                raise ConfigError(
                    f"{name} is not a limit of a text but a sampling option; give Sampler(model, SamplerConfig({name}=…))"
                )
        return super().__new__(cls, *args, **options)

    def __post_init__(self) -> None:
        check_integer("max_new_tokens", self.max_new_tokens, minimum=0, maximum=NO_LIMIT, optional=True)
        check_integer("min_new_tokens", self.min_new_tokens, minimum=0, maximum=NO_LIMIT)
        for name in ("max_characters", "max_sentences", "max_paragraphs", "max_chapters"):
            check_integer(name, getattr(self, name), minimum=1, maximum=NO_LIMIT, optional=True)
        if self.end is not None:
            check_choice("end", self.end, ("sentence",))
        check_number("max_time", self.max_time, exclusive=True, optional=True)
        if self.stop_when is not None and not callable(self.stop_when):
            raise ConfigError(f"stop_when must be a function of a string, got {self.stop_when!r:.60}")
        object.__setattr__(self, "stop", _stop_strings(self.stop))
        if self.max_new_tokens is not None and self.min_new_tokens > self.max_new_tokens:
            raise ConfigError(
                f"min_new_tokens must be at most max_new_tokens={self.max_new_tokens}, got {self.min_new_tokens}"
            )

    @property
    def num_tokens(self) -> int:
        """The greatest number of tokens to generate; see `LimitOptions.max_new_tokens`."""
        if self.max_new_tokens is not None:
            return self.max_new_tokens
        if self.max_characters is not None or self.max_time is not None:
            return NO_LIMIT
        parts = _TOKENS_A_PART * max(self.max_sentences or 0, self.max_paragraphs or 0)
        chapters = _TOKENS_A_CHAPTER * (self.max_chapters or 0)
        return max(self.min_new_tokens, parts or chapters or _DEFAULT_NEW_TOKENS)

    def room_after(self, prompt: str) -> int:
        """Returns the number of characters that may follow a prompt, `NO_LIMIT` without `max_characters`.

        Raises:
            ConfigError: The prompt leaves less room than the limits require.
        """
        if self.max_characters is None:
            return NO_LIMIT
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


def _stop_strings(stop: object) -> tuple[str, ...]:
    if not isinstance(stop, (str, Iterable, type(None))):
        raise ConfigError(f"stop must be a string or a list of strings, got {stop!r:.60}")
    strings = [stop] if isinstance(stop, str) else list(stop or ())
    for string in strings:
        if not isinstance(string, str) or not string:
            raise ConfigError(f"stop must be a string or a list of strings that are not empty, got {stop!r:.60}")
    if (total := sum(map(len, strings))) > _MAX_STOP_CHARACTERS:
        raise ConfigError(f"stop must have at most {_MAX_STOP_CHARACTERS:,} characters in all, got {total:,}")
    return tuple(strings)
