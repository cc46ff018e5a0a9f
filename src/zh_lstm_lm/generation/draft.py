"""A draft: the text that is being generated, with the limits that will end it."""

import copy
import itertools
import random
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from zh_lstm_lm.generation.forms.form import Form
from zh_lstm_lm.generation.forms.lines import Place, Room
from zh_lstm_lm.generation.limits import DOCUMENT, NO_LIMIT, FinishReason, Limits
from zh_lstm_lm.generation.punctuation import PunctuationRules, Verdict, ends_sentences, is_sentence_end
from zh_lstm_lm.generation.result import GenerationState
from zh_lstm_lm.models.base import State, TextState
from zh_lstm_lm.runtime.devices import on_cpu_by_default
from zh_lstm_lm.text.headings import MAX_HEADING_LENGTH, is_heading

__all__ = ["Draft"]

# Characters of the latest text that limits look at.
_TAIL = 1000
# Characters before `max_characters` among which a text may end at a sentence.
_SENTENCE_ROOM = 200
_COUNTS = ("left", "written", "sentences", "paragraphs", "chapters", "in_chapter", "room")


class _Cut(NamedTuple):
    """A position that a text may be cut back to: its state, the number of tokens before it, what its form misses."""

    state: GenerationState
    written: int
    unmet: tuple[str, ...]


class Draft:
    """A text while it is generated. Its memory does not grow with the text, unless `window` is None.

    Attributes:
        ids: The latest ids of the prompt and of the generated tokens.
        unread: Ids of the prompt that the model has not read, without the last one.
        model_state: The model's state for all texts of a batch; None before anything was read.
        room: Number of characters that may still follow; `NO_LIMIT` for no limit.
        opened: The open quotes and brackets.
        form: The form, which `Sampler` sets; None for any.
        closing: Name of the limit that ends the text once all pairs are closed; None if none was reached.
        finish_reason: Name of the limit that ended the text; None if none did.
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
        state: TextState | None = None,
    ) -> None:
        """Starts a draft; `ids` are those of the prompt, after ``<bos>`` or after the last id of `state`.

        The latest `window` ids are kept, all for None.
        """
        self.room: int = limits.room_after(prompt)
        self._limits, self._rules, self._generator = limits, rules, generator
        self._window = window
        self._stops = frozenset(limits.stop or ()) - {DOCUMENT}
        self._ends_with_document = DOCUMENT in (limits.stop or ())
        self._stop_lengths = sorted(set(map(len, self._stops)))
        self._watched = bool(self._stops or limits.stop_when is not None or limits.max_time is not None)
        before: tuple[int, ...] = ()
        tail, opened = "", ""
        if isinstance(state, GenerationState):
            before, tail, opened = state.ids[:-1], state.tail, state.opened
        self.unread: list[int] = list(ids[:-1])
        self.ids: list[int] = [*before, *ids]
        self._forget()
        self.model_state: State | None = state.before if state is not None else None
        self._row = 0
        self._kept = max([_TAIL, *self._stop_lengths])
        self._tail = (tail + prompt)[-self._kept :]
        self.opened: str = rules.read(prompt, opened)
        self.form: Form | None = None
        self.left: int = limits.num_tokens
        self.written: int = 0
        self.sentences: int = 0
        self.paragraphs: int = 0
        self.chapters: int = 0
        # Whether the chapter has more than its heading.
        self.in_chapter: bool = False
        for line in prompt.split("\n")[:-1]:
            self._read_line(line)
        self.closing: FinishReason | None = None
        self.finish_reason: FinishReason | None = None
        self._line_start: _Cut | None = None
        self._sentence_end: _Cut | None = None
        self._check_room()

    def begin(self) -> None:
        """Starts the time of `max_time`."""
        self._began = time.monotonic()

    def start(self, model_state: State) -> None:
        """Takes the state of the model, which has read the prompt but for its last id."""
        self.model_state, self.unread = model_state, []
        self._note_position()

    def forced_id(self) -> int | None:
        """Returns the id of the closing mark that has to follow because the text is about to end; None for no such mark."""
        if not self.opened or (self.form is not None and self.form.forced):
            return None
        if (self.closing and self._at_rest) or self._room_for_marks("") <= len(self.opened):
            return self._rules.closing_id(self.opened)
        return None

    @property
    def tail(self) -> str:
        """The latest text."""
        return self._tail

    @property
    def place(self) -> Place:
        """The place of the next token in a form."""
        limits, marks = self._limits, len(self.opened)
        return Place(
            self._tail,
            Room(self.room - marks, self.left - marks),
            opened=bool(marks),
            last_sentence=self.sentences + 1 >= (limits.max_sentences or NO_LIMIT),
            last_paragraph=self.paragraphs + 1 >= (limits.max_paragraphs or NO_LIMIT),
            may_end=self._ends_with_document,
        )

    @property
    def unmet(self) -> tuple[str, ...]:
        """What the form of the finished text misses."""
        cut = self._cut()
        return cut.unmet if cut is not None else self._unmet

    @property
    def _unmet(self) -> tuple[str, ...]:
        return () if self.form is None else self.form.unmet()

    @property
    def _at_rest(self) -> bool:
        return self.form is None or self.form.at_rest

    @property
    def room_for_token(self) -> int:
        """Number of characters that the next token may have."""
        return max(1, self.room - len(self.opened) * self._rules.mark_length)

    def verdict(self) -> Verdict:
        """Returns the verdict of the rules of punctuation on the next token."""
        return self._rules.verdict(self.opened, self._tail, self._room_for_marks)

    @property
    def undecided(self) -> bool:
        """True if the latest tokens may be cut off, as a heading or as a sentence that may not fit, or begin a word."""
        if self.finish_reason is not None:
            return False
        if self.form is not None and self.form.forced:
            return True
        if self._sentence_end is not None and self.written > self._sentence_end.written:
            return True
        line = "" if self._limits.max_chapters is None else self._tail.rpartition("\n")[2].strip()
        return 0 < len(line) <= MAX_HEADING_LENGTH

    @property
    def surplus(self) -> int:
        """Number of the latest tokens that do not belong to the finished text."""
        cut = self._cut()
        return 0 if cut is None else self.written - cut.written

    def add(self, token_id: int, piece: str, model_state: State, row: int) -> None:
        """Adds a token, with the model's state after everything before it, and the text's row of that state."""
        self.model_state, self._row = model_state, row
        self.ids.append(token_id)
        self._forget()
        self.left -= 1
        self.written += 1
        if self._limits.max_characters is not None:
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
        if self.form is not None:
            self.form.read(token_id, piece)
            self._check_form(self.form)
        if (self._watched or self.closing or not plain) and self.written >= self._limits.min_new_tokens:
            self._check_limits(tail, before, sentences=sentences, paragraphs=paragraphs, chapters=chapters)
        if self.finish_reason is None:
            self._check_room()
        self._note_position()

    def end(self) -> None:
        """Ends the text because no token may follow."""
        self.finish_reason = "no_token"

    def random(self) -> float:
        """Returns the next random number in [0, 1)."""
        return self._generator.random()

    def fork(self) -> "Draft":
        """Returns a copy that continues by itself; the random numbers are shared."""
        other = copy.copy(self)
        other.ids = list(self.ids)
        other.form = None if self.form is None else self.form.fork()
        return other

    @on_cpu_by_default
    def state(self) -> GenerationState:
        """Returns the state before the tokens of `surplus`, once the model has read all but the last id."""
        if (cut := self._cut()) is not None:
            return cut.state
        assert self.model_state is not None
        return GenerationState(
            self.ids[-1],
            self.model_state.rows([self._row]),
            tuple(self.ids),
            self._tail,
            self.opened,
            torch.tensor(self._generator.getstate()[1]),
        )

    def counts(self) -> dict[str, int]:
        """Returns the progress towards the limits, as plain values."""
        return {**{name: getattr(self, name) for name in _COUNTS}, **(self.form.counts() if self.form else {})}

    def restore_counts(self, counts: Mapping[str, int]) -> None:
        """Restores the output of `counts`, before `start`; a missing count stays as it is."""
        for name in _COUNTS:
            setattr(self, name, counts.get(name, getattr(self, name)))
        if self.form is not None and counts:
            self.form.restore(counts, self._tail)

    def _room_for_marks(self, token: str) -> int:
        """Returns the number of closing marks that there is room for after a token, or now if it is empty."""
        left, room = self.left - bool(token), self.room - len(token)
        if self.form is not None:
            needed = self.form.needed_after(token)
            left, room = left - needed, room - needed
        return min(left, room // self._rules.mark_length)

    def _forget(self) -> None:
        """Drops ids outside of the window now and then."""
        if self._window is not None and len(self.ids) > 2 * self._window + 256:
            del self.ids[: -max(self._window, 1)]

    def _read_line(self, line: str) -> int:
        """Returns the number of chapters that a complete line ends: 1 if it is the heading of the next chapter."""
        line = line.strip()
        if self._limits.max_chapters is None or not line:
            return 0
        heading, was_in = is_heading(line), self.in_chapter
        self.in_chapter = not heading
        return int(heading and was_in)

    def _check_form(self, form: Form) -> None:
        """Ends the text with the last line of its form, or before a line that it has no room for."""
        if form.lines is not None and form.lines.complete:
            self.closing = "form"
        elif self.closing is None and form.is_full(self.place.room):
            self.closing = "max_characters" if self.room <= self.left else "max_new_tokens"

    def _check_limits(self, tail: str, before: int, *, sentences: int, paragraphs: int, chapters: int) -> None:
        reached: FinishReason | None = None
        if self.closing != "form" and (self.form is None or self.form.met):
            reached = self._reached(tail, before, paragraphs=paragraphs, chapters=chapters)
        limits = self._limits
        if reached is not None and self._at_rest:
            self.finish_reason = reached
        elif reached is not None:
            self.closing = reached
        elif limits.max_sentences is not None and sentences and self.sentences >= limits.max_sentences:
            self.closing = "max_sentences"
        elif limits.max_time is not None and time.monotonic() - self._began >= limits.max_time:
            self.closing = "max_time"
        if self.closing and not self.opened and self.finish_reason is None and self._at_rest:
            self.finish_reason = self.closing

    def _reached(self, tail: str, before: int, *, paragraphs: int, chapters: int) -> FinishReason | None:
        """Returns the name of the limit that the text has reached, open quotes or not."""
        limits = self._limits
        # A stop string ends in the new piece; it may start before it.
        ends = range(before + 1, len(tail) + 1) if self._stops else ()
        if any(
            tail[end - length : end] in self._stops
            for end in ends
            for length in itertools.takewhile(end.__ge__, self._stop_lengths)
        ):
            return "stop"
        if self._ends_with_document and paragraphs and tail.endswith("\n\n"):
            return "document"
        if limits.stop_when is not None and limits.stop_when(tail[-_TAIL:]):
            return "stop_when"
        if limits.max_chapters is not None and chapters and self.chapters >= limits.max_chapters:
            return "max_chapters"
        if limits.max_paragraphs is not None and paragraphs and self.paragraphs >= limits.max_paragraphs:
            return "max_paragraphs"
        return None

    def _check_room(self) -> None:
        if self.room == 0:
            self.finish_reason = "max_characters"
        elif self.left <= 0:
            self.finish_reason = "max_new_tokens"

    def _note_position(self) -> None:
        """Remembers the position of the latest token if the text may be cut back to it."""
        limits = self._limits
        cuts_lines = limits.max_chapters is not None or self._ends_with_document
        if cuts_lines and self.finish_reason is None and self._tail[-1:] in ("", "\n"):
            self._line_start = _Cut(self.state(), self.written, self._unmet)
        if (
            limits.end == "sentence"
            and self.room <= _SENTENCE_ROOM
            and self.written >= max(1, limits.min_new_tokens)
            and not self.opened
            and (self.form is None or (self.form.met and self.form.at_rest))
            and is_sentence_end(self._tail)
        ):
            self._sentence_end = None
            self._sentence_end = _Cut(self.state(), self.written, ())

    def _cut(self) -> _Cut | None:
        """Returns the position that the finished text is cut back to; None for its end."""
        cuts = {"max_chapters": self._line_start, "document": self._line_start, "max_characters": self._sentence_end}
        return cuts.get(self.finish_reason or "")
