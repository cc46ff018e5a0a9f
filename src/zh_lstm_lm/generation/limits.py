"""Limits of a generated text, and the reasons for which it ends."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from typing_extensions import Self, TypedDict

from zh_lstm_lm._config import Config, check_choice, check_integer, check_list, check_number
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.generation.config import SamplerConfig
from zh_lstm_lm.generation.forms.options import WITHIN, check_first_characters, check_line_lengths, check_must_contain

__all__ = ["DOCUMENT", "NO_LIMIT", "FinishReason", "LimitOptions", "Limits"]

FinishReason: TypeAlias = Literal[
    "max_new_tokens",
    "max_characters",
    "max_sentences",
    "max_paragraphs",
    "max_chapters",
    "max_time",
    "stop",
    "stop_when",
    "document",
    "form",
    "no_token",
]
"""Name of the limit that ended a text; ``"form"`` after the last line of its form, ``"no_token"`` where no token fits that
is allowed."""

DOCUMENT = "document"
"""The stop that is no string: the end of a document."""

NO_LIMIT = 1 << 62
"""Number of tokens or characters that no text reaches; the greatest value of every limit."""

_DEFAULT_NEW_TOKENS = 200
# Tokens of a sentence or paragraph, and of a chapter, that does not end by itself.
_TOKENS_A_PART = 1000
_TOKENS_A_CHAPTER = 20_000
_MAX_STOP_CHARACTERS = 100_000


class LimitOptions(TypedDict, total=False):
    """Limits and forms of a text; the first limit that is reached ends it, never inside a word.

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
            them. ``"document"`` is the end of a document, for a model that was trained with `document_ends` (see
            `TokenStream.from_files`); the text then ends with a paragraph end.
        stop_when: A function of the latest 1,000 characters, called after each word; the text ends when it returns True.
        line_lengths: Number of characters of each line, punctuation apart, or a list of the numbers of all lines, after
            which the text ends. A line ends with ，。！？；： or a paragraph. What the prompt leaves unfinished is the start of
            the first line.
        first_characters: The first character of each line, after which the text ends: of each paragraph without
            `line_lengths`.
        must_contain: Words that must occur, each once or more, after the prompt: in the whole text with `max_characters`
            or a number of lines, else within 100 characters. A mapping sets the number of characters for each word.
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
    line_lengths: int | Sequence[int] | None
    first_characters: str | None
    must_contain: Sequence[str] | Mapping[str, int] | None


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
    line_lengths: int | Sequence[int] | None = None
    first_characters: str | None = None
    must_contain: Sequence[str] | Mapping[str, int] | tuple[tuple[str, int | None], ...] | None = None

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
        object.__setattr__(self, "line_lengths", check_line_lengths(self.line_lengths))
        object.__setattr__(self, "first_characters", check_first_characters(self.first_characters))
        object.__setattr__(self, "must_contain", check_must_contain(self.must_contain))
        self._check_forms()
        if self.max_new_tokens is not None and self.min_new_tokens > self.max_new_tokens:
            raise ConfigError(
                f"min_new_tokens must be at most max_new_tokens={self.max_new_tokens}, got {self.min_new_tokens}"
            )

    def _check_forms(self) -> None:
        """Refuses forms and limits that contradict each other."""
        lengths, first = self.line_lengths, self.first_characters
        if isinstance(lengths, tuple) and first is not None and len(lengths) != len(first):
            raise ConfigError(
                f"line_lengths has {len(lengths)} lines and first_characters {len(first)}; give as many of both"
            )
        limits = ["max_chapters"] if lengths is not None else []
        if self.num_lines is not None:
            limits = ["max_sentences", "max_paragraphs", "max_chapters", "min_new_tokens"]
        for name in limits:
            if getattr(self, name):
                form = "line_lengths" if lengths is not None else "first_characters"
                raise ConfigError(f"{form} and {name} contradict each other; leave {name} out")
        if lengths is not None and any(within is not None for _, within in self.required):
            raise ConfigError(
                "must_contain: with line_lengths the words occur in the whole text; leave the numbers of characters out"
            )

    @property
    def num_lines(self) -> int | None:
        """The number of lines that a form has; None without one, or for any number."""
        lengths, first = self.line_lengths, self.first_characters
        return len(lengths) if isinstance(lengths, tuple) else None if first is None else len(first)

    @property
    def required(self) -> tuple[tuple[str, int | None], ...]:
        """The words that must occur, each with the number of characters within which it must; None for the text."""
        words: tuple[tuple[str, int | None], ...] = self.must_contain  # type: ignore[assignment]
        whole = self.max_characters is not None or self.num_lines is not None
        default = None if whole or self.line_lengths is not None else WITHIN
        return tuple((word, default if within is None else within) for word, within in words)

    @property
    def num_tokens(self) -> int:
        """The greatest number of tokens to generate; see `LimitOptions.max_new_tokens`."""
        if self.max_new_tokens is not None:
            return self.max_new_tokens
        if self.num_lines is not None:
            # Marks inside of lines are tokens as well.
            lengths = self.line_lengths
            each = lengths if isinstance(lengths, int) else _TOKENS_A_PART
            characters = sum(lengths) if isinstance(lengths, tuple) else each * self.num_lines
            return 3 * (characters + self.num_lines)
        if self.max_characters is not None or self.max_time is not None:
            return NO_LIMIT
        parts = _TOKENS_A_PART * max(self.max_sentences or 0, self.max_paragraphs or 0)
        chapters = _TOKENS_A_CHAPTER * (self.max_chapters or 0)
        within = max((number or 0 for _, number in self.required), default=0)
        return max(self.min_new_tokens, parts or chapters or max(_DEFAULT_NEW_TOKENS, within))

    def room_after(self, prompt: str) -> int:
        """Returns the number of characters that may follow a prompt, or `NO_LIMIT`; refuses too few."""
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
    if stop is None:
        return ()
    strings = check_list("stop", stop, "a string or a list of strings", single=str, error=ConfigError)
    for string in strings:
        if not isinstance(string, str) or not string:
            raise ConfigError(f"stop must be a string or a list of strings that are not empty, got {stop!r:.60}")
    if (total := sum(map(len, strings))) > _MAX_STOP_CHARACTERS:
        raise ConfigError(f"stop must have at most {_MAX_STOP_CHARACTERS:,} characters in all, got {total:,}")
    return tuple(strings)
