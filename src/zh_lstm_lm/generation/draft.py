"""A text while it is written: what it holds, what may still come, and when it is finished."""

import copy
import random
from collections.abc import Callable, Sequence
from typing import Any

import torch

from zh_lstm_lm.generation.limits import FinishReason, Limits
from zh_lstm_lm.generation.punctuation import PunctuationRules, ends_sentences
from zh_lstm_lm.generation.result import GenerationState
from zh_lstm_lm.models.lstm_layer import LSTMState
from zh_lstm_lm.text.headings import MAX_HEADING_LENGTH, is_heading

__all__ = ["WrittenText"]

_TAIL = 1000
_COUNTED = ("left", "written", "sentences", "paragraphs", "chapters", "in_chapter", "room")


class WrittenText:
    """A text that is being written. What it keeps does not grow with it, unless `window` is None.

    Attributes:
        ids: The latest ids of the prompt and of what was drawn.
        unread: Ids of the prompt that the model has not read yet, without the last one.
        lstm_state: What the model has read, for all texts that were read beside each other; None for nothing.
        room: Characters that may still come; None for no limit.
        opened: The quotes and brackets that are open.
        closing: The limit that will have ended the text when all pairs are closed, if one is reached.
        finish_reason: The limit that has ended the text, if one has.
    """

    def __init__(
        self,
        prompt: str,
        ids: Sequence[int],
        limits: Limits,
        generator: random.Random,
        *,
        rules: PunctuationRules,
        window: int | None = None,
        clock: Callable[[], float],
        state: GenerationState | None = None,
    ) -> None:
        """Sets a text up.

        Args:
            prompt: What it begins with.
            ids: The prompt's ids, after ``<bos>`` or after the last id of `state`.
            limits: When it is finished.
            generator: Where its random numbers come from.
            rules: What marks may come.
            window: How many of the latest ids to keep; None keeps all.
            clock: Tells the time, in seconds.
            state: What the prompt follows; None for the start of a document.
        """
        self.room = limits.room_after(prompt)
        self._limits, self._rules, self._generator = limits, rules, generator
        self._window, self._clock = window, clock
        self._watched = bool(limits.stops or limits.stop_when is not None or limits.max_time is not None)
        before = state.ids[:-1] if state is not None else ()
        self.unread = list(ids[:-1])
        self.ids = [*before, *ids]
        self._forget()
        self.lstm_state: LSTMState | None = state.lstm_state if state is not None else None
        self._row = 0  # of the state that is this text's
        self._kept = max(_TAIL, max(map(len, limits.stops), default=0))
        self._tail = ((state.tail if state is not None else "") + prompt)[-self._kept :]
        self.opened = rules.read(prompt, state.opened if state is not None else "")
        self.left, self.written = limits.max_new_tokens, 0
        self.sentences = self.paragraphs = self.chapters = 0
        self.in_chapter = False  # whether a chapter has more than its heading yet
        for line in prompt.split("\n")[:-1]:
            self._read_line(line)
        self._began = clock()
        self.closing: FinishReason | None = None
        self.finish_reason: FinishReason | None = None
        self._before: tuple[dict[str, Any], tuple[Any, ...]] | None = None
        self._check_room()

    def begin(self) -> None:
        """Starts the time."""
        self._began = self._clock()

    def must_close(self) -> int | None:
        """The id of the closing mark that has to come now, where there is one: the text is about to end."""
        if self.opened and (self.closing or self._marks_after() <= len(self.opened)):
            return self._rules.closing_id(self.opened)
        return None

    @property
    def room_for_word(self) -> int | None:
        """Characters that the next word may have; None for any number."""
        return None if self.room is None else max(1, self.room - len(self.opened))

    def in_place_of(self, token_id: int) -> int:
        """The token itself, or the closing mark that has to come before it; a mark could else stay open for ever."""
        token = self._rules.concerned.get(token_id)
        if token is None or not self.forbids(token_id) or not self._rules.waits_for_closing(token, self.opened):
            return token_id
        return self._rules.closing_id(self.opened)

    def forbids(self, token_id: int) -> bool:
        """Whether the rules of punctuation are against a token that would fit."""
        token = self._rules.concerned.get(token_id)
        if token is None:
            return False
        return not self._rules.allow(token, self.opened, before=self._tail, room=self._marks_after(token))

    def forbidden_ids(self) -> list[int]:
        """All tokens that the rules of punctuation are against."""
        return [token_id for token_id in self._rules.concerned if self.forbids(token_id)]

    @property
    def undecided(self) -> bool:
        """Whether the latest words may be a heading that `max_chapters` takes back."""
        if self._limits.max_chapters is None or self.finish_reason is not None:
            return False
        return 0 < len(self._tail.rpartition("\n")[2].strip()) <= MAX_HEADING_LENGTH

    def add(self, token_id: int, piece: str, lstm_state: LSTMState, row: int) -> None:
        """Takes a word that was drawn.

        Args:
            token_id: Its id.
            piece: Its text.
            lstm_state: What the model has read, which is all before it.
            row: The text's place in that state.
        """
        if self._limits.max_chapters is not None and self._before is None:
            self._remember()
        self.lstm_state, self._row = lstm_state, row
        self.ids.append(token_id)
        self._forget()
        self.left -= 1
        self.written += 1
        if self.room is not None:
            self.room -= len(piece)
        before, tail = len(self._tail), self._tail + piece
        sentences = paragraphs = chapters = 0
        if not (plain := self._rules.changes_nothing(piece)):
            sentences = ends_sentences(piece, self._tail)
            paragraphs = piece.count("\n")
            self.opened = self._rules.read(piece, self.opened)
            chapters = self._read_line(tail.split("\n")[-2]) if paragraphs else 0
            self.sentences += sentences
            self.paragraphs += paragraphs
            self.chapters += chapters
        self._tail = tail[-self._kept :]
        if (self._watched or self.closing or not plain) and self.written >= self._limits.min_new_tokens:
            self._check_limits(tail, before, sentences=sentences, paragraphs=paragraphs, chapters=chapters)
        if self.finish_reason is None:
            self._check_room()
        if paragraphs and self._before is not None and self.finish_reason is None:
            self._remember()

    def random(self) -> float:
        """The next random number in [0, 1)."""
        return self._generator.random()

    def fork(self) -> "WrittenText":
        """A text of its own that begins with this one; the random numbers are shared."""
        other = copy.copy(self)
        other.ids = list(self.ids)
        return other

    def state(self) -> GenerationState:
        """Where it stands; the model must have read all but the last id."""
        assert self.lstm_state is not None
        h, c = (part[:, self._row : self._row + 1].clone() for part in self.lstm_state)
        return GenerationState(
            (h, c),
            tuple(self.ids),
            self._tail,
            self.opened,
            torch.tensor(self._generator.getstate()[1]),
        )

    def counts(self) -> dict[str, int | None]:
        """How far the limits are used up."""
        return {name: getattr(self, name) for name in _COUNTED}

    def restore_counts(self, counts: dict[str, int | None]) -> None:
        """Takes over what `counts` told."""
        for name in _COUNTED:
            setattr(self, name, counts[name])

    def _marks_after(self, word: str = "") -> int:
        """How many marks there will be room to close after a word; without one, how many there is room for now."""
        tokens = self.left - bool(word)
        return tokens if self.room is None else min(tokens, self.room - len(word))

    def _forget(self) -> None:
        """Drops ids that nothing looks at any more, now and then."""
        if self._window is not None and len(self.ids) > 2 * self._window + 256:
            del self.ids[: -max(self._window, 1)]

    def _read_line(self, line: str) -> int:
        """How many chapters end with a line that is complete: one where it is the heading of the next."""
        line = line.strip()
        if self._limits.max_chapters is None or not line:
            return 0
        heading, was_in = is_heading(line), self.in_chapter
        self.in_chapter = not heading
        return int(heading and was_in)

    def _remember(self) -> None:
        """Keeps how the text stands at the end of a paragraph."""
        self._before = None
        self._before = {**vars(self), "ids": [*self.ids]}, self._generator.getstate()

    def _take_back(self) -> None:
        """Takes back what came since `_remember`."""
        assert self._before is not None
        values, random_state = self._before
        vars(self).update(values)
        self._generator.setstate(random_state)

    def _check_limits(self, tail: str, before: int, *, sentences: int, paragraphs: int, chapters: int) -> None:
        limits = self._limits
        # a string that ends in what was just written; it may have begun before
        if any(tail.find(string, max(0, before - len(string) + 1)) >= 0 for string in limits.stops):
            self.finish_reason = "stop"
        elif limits.stop_when is not None and limits.stop_when(tail[-_TAIL:]):
            self.finish_reason = "stop_when"
        elif limits.max_chapters is not None and chapters and self.chapters >= limits.max_chapters:
            self._take_back()
            self.finish_reason = "max_chapters"
        elif limits.max_paragraphs is not None and paragraphs and self.paragraphs >= limits.max_paragraphs:
            self.finish_reason = "max_paragraphs"
        elif limits.max_sentences is not None and sentences and self.sentences >= limits.max_sentences:
            self.closing = "max_sentences"
        elif limits.max_time is not None and self._clock() - self._began >= limits.max_time:
            self.closing = "max_time"
        if self.closing and not self.opened and self.finish_reason is None:
            self.finish_reason = self.closing

    def _check_room(self) -> None:
        if self.room == 0:
            self.finish_reason = "max_characters"
        elif self.left <= 0:
            self.finish_reason = "max_new_tokens"
