"""A text while it is written: what it holds, what may still come, and when it is finished."""

import random
from collections.abc import Iterable, Sequence

from zh_lstm_lm._config import check_integer
from zh_lstm_lm.errors import ConfigError

__all__ = ["Limits", "WrittenText"]

_DEFAULT_NEW_TOKENS = 200


class Limits:
    """When a text is finished, checked."""

    def __init__(
        self, max_new_tokens: int | None, max_characters: int | None, stop: str | Sequence[str] | None
    ) -> None:
        check_integer("max_new_tokens", max_new_tokens, minimum=0, optional=True)
        check_integer("max_characters", max_characters, minimum=1, optional=True)
        if max_new_tokens is None:
            max_new_tokens = _DEFAULT_NEW_TOKENS if max_characters is None else max_characters
        self.max_new_tokens = max_new_tokens
        self.max_characters = max_characters
        self.stops = _stop_strings(stop)
        self.kept = max(map(len, self.stops), default=1) - 1  # characters in which a stop string may have begun


class WrittenText:
    """A text that is being written.

    Attributes:
        prompt: What it began with.
        ids: The ids of the prompt and of what was drawn.
        pieces: The words that were drawn.
        room: Characters that may still come; None for no limit.
        finished: Whether a limit is reached.
    """

    def __init__(self, prompt: str, ids: list[int], limits: Limits, generator: random.Random) -> None:
        if limits.max_characters is not None and len(prompt) > limits.max_characters:
            raise ConfigError(
                f"max_characters counts the prompt: it must be at least {len(prompt)} here, got {limits.max_characters}"
            )
        self.prompt = prompt
        self.ids = ids
        self.pieces: list[str] = []
        self.room = limits.max_characters - len(prompt) if limits.max_characters is not None else None
        self._limits = limits
        self._generator = generator
        self._left = limits.max_new_tokens
        self._tail = prompt[-limits.kept :] if limits.kept else ""
        self.finished = not self._left or self.room == 0

    def add(self, token_id: int, piece: str) -> None:
        """Takes a word that was drawn."""
        self.ids.append(token_id)
        self.pieces.append(piece)
        self._left -= 1
        if self.room is not None:
            self.room -= len(piece)
        before, tail = len(self._tail), self._tail + piece
        # one that ends in what was just written; it may have begun in the prompt
        stopped = any(tail.find(string, max(0, before - len(string) + 1)) >= 0 for string in self._limits.stops)
        self._tail = tail[-self._limits.kept :] if self._limits.kept else ""
        self.finished = stopped or not self._left or self.room == 0

    def random(self) -> float:
        """The next random number in [0, 1)."""
        return self._generator.random()


def _stop_strings(stop: str | Sequence[str] | None) -> list[str]:
    if not isinstance(stop, (str, Iterable, type(None))):
        raise ConfigError(f"stop must be a string or a list of strings, got {stop!r}")
    strings = [stop] if isinstance(stop, str) else list(stop or ())
    for string in strings:
        if not isinstance(string, str) or not string:
            raise ConfigError(f"stop must be a string or a list of strings that are not empty, got {stop!r}")
    return strings
