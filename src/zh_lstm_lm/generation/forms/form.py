"""The form of a text: which tokens may follow, so that all that is asked for still fits."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.generation.forms.lines import Lines, Place, Room
from zh_lstm_lm.generation.forms.tokens import PARAGRAPH_END, FormTokens
from zh_lstm_lm.generation.forms.words import Required, Words

__all__ = ["Form"]


class Form:
    """The form of a text, and how far the text has come in it.

    Args:
        tokens: The tokens of the vocabulary.
        lines: The lines; None for any.
        words: The words that must occur.
        place: The place at which the form begins.

    Attributes:
        lines: The lines; None for any.

    Raises:
        ConfigError: What is asked for does not fit into the text.
    """

    def __init__(self, tokens: FormTokens, lines: Lines | None, words: Sequence[Required], place: Place) -> None:
        self._tokens = tokens
        self.lines: Lines | None = lines
        room = min(place.room)
        self._words = Words(words, self._room_for_words(room))
        # The words that the next token may begin, by its id.
        self._begun: dict[int, Required] = {}
        needed = self._needed(room, another=True)
        if needed is None or needed > room or min(self._slacks(room), default=0) < 0:
            name = "must_contain" if words else "line_lengths" if lines and lines.has_lengths else "first_characters"
            asked = f"{', '.join(word.text for word in words) or f'{needed} characters'} do not fit"
            limit = "max_characters" if place.room.characters <= place.room.tokens else "max_new_tokens"
            into = "into the lines" if needed is None else f"into the {room} that {limit} leaves"
            raise ConfigError(f"{name}: {asked} {into}; ask for less, or leave more room")

    @property
    def forced(self) -> bool:
        """True while a word of several tokens is being written."""
        return bool(self._words.forced)

    @property
    def met(self) -> bool:
        """True if nothing is missing that the text can still get, so that other limits may end it."""
        lines = self.lines
        return not (self._words.pending or self.forced or (lines and lines.number and not lines.complete))

    @property
    def at_rest(self) -> bool:
        """True if the text can end here without breaking off a word or a line that has a length."""
        return not (self.forced or (self.lines and self.lines.has_lengths and self.lines.count))

    def is_full(self, room: Room) -> bool:
        """Returns True if there is no room for another line, of any number of them."""
        lines = self.lines
        if lines is None or lines.number or lines.count:
            return False
        return (lines.needed(another=True) or 0) > min(room)

    def _room_for_words(self, room: int) -> int:
        """Returns the room for words: all that lines with lengths have, or what paragraphs leave of the room."""
        if self.lines is None:
            return room
        return self.lines.capacity(room) if self.lines.has_lengths else room - (self.lines.needed() or 0)

    def _needed(self, room: int, *, another: bool = False) -> int | None:
        """Returns the number of characters that complete the form; None if words find no room in its lines."""
        pending = self._words.pending
        length = sum(len(word.text) for word in pending)
        forced = self._forced_length()
        if self.lines is None:
            return length + forced
        # A word may hold marks that do not count in a line.
        marks = length - sum(word.word.characters for word in pending)
        needed = self.lines.needed([word.word for word in pending], self._until(room), another=another)
        return None if needed is None else needed + marks + (0 if self.lines.has_lengths else forced)

    def _forced_length(self) -> int:
        """Returns the number of characters that complete a word that has begun."""
        return int(self._tokens.lengths[list(self._words.forced)].sum()) if self._words.forced else 0

    def _until(self, room: int) -> int:
        """Returns the room before the first of the pending words has to have occurred."""
        return min([room, *(word.within - self._words.position for word in self._words.pending if word.within)])

    def needed_after(self, piece: str) -> int:
        """Returns the number of characters that complete the form after a token, apart from pending words in lines."""
        if self.lines is None:
            return self._needed(0) or 0
        after = copy.copy(self)
        after.lines = copy.copy(self.lines)
        after.lines.read(piece)
        if not self.lines.has_lengths:
            return after._needed(0) or 0
        # A mark before a line calls for the line.
        return after.lines.needed(another=after.lines.finished == self.lines.finished) or 0

    def _slacks(self, room: int, *, without: Required | None = None) -> list[int]:
        """Returns how many characters each pending word can wait, or each but one that is written now."""
        words = self._words.pending if without is None else self._words.without(without)
        before = self._forced_length() if without is None else len(without.text)
        start = self.lines.start if self.lines is not None and without is None else 0
        return self._words.slacks(words, self._room_for_words(room), before=before, start=start)

    def follow(self, place: Place) -> tuple[Tensor, dict[int, float]]:
        """Returns the tokens that may follow, and what is added to the log-probabilities of some.

        **Shape:** (vocab_size,), bool.
        """
        tokens, words, room = self._tokens, self._words, min(place.room)
        self._begun = {}
        if words.forced:
            allowed = torch.zeros_like(tokens.usable)
            allowed[words.forced[0]] = True
            return allowed, {}
        needed = self._needed(room, another=True)
        slacks = words.give_up(self._slacks(room)) if needed is not None else words.give_up([-1] * len(words.pending))
        needed = needed or 0
        if self.lines is None:
            allowed, more = tokens.usable, tokens.lengths
        else:
            allowed, more = self.lines.allowed([word.word for word in words.pending], self._until(room), place)
        if place.opened:
            # There is room for closing marks.
            more = more - tokens.closing.long()
        spare, spare_tokens = place.room.characters - needed, place.room.tokens - needed
        if spare < tokens.longest or spare_tokens < 1:
            allowed = allowed & (more <= spare) & ((more <= 0) | (spare_tokens > 0))
        if not words.pending:
            return allowed, {}
        allowed, biases = allowed.clone(), {}
        if self.lines is None or not self.lines.has_lengths:
            due = [slack for slack, word in zip(slacks, words.pending, strict=True) if word.within]
            allowed &= tokens.lengths <= min(due, default=room)
        if place.last_sentence:
            allowed &= ~tokens.sentence_ends
        if place.last_paragraph or (place.may_end and place.tail.endswith(PARAGRAPH_END)):
            allowed &= ~tokens.paragraph_ends
        for word, slack in zip(words.pending, slacks, strict=True):
            if word.ids[0] not in self._begun and self._takes(word, room):
                self._begun[word.ids[0]] = word
                biases[word.ids[0]] = words.bias(word, slack)
        allowed[list(self._begun)] = True
        return allowed, biases

    def _takes(self, word: Required, room: int) -> bool:
        """Returns True if a word may be written now."""
        others = [other.word for other in self._words.without(word)]
        if self.lines is not None and not self.lines.takes(word.word, others, self._until(room)):
            return False
        if word.within is not None and self._words.position + len(word.text) > word.within:
            return False
        return min(self._slacks(room, without=word), default=0) >= 0

    def read(self, token_id: int, piece: str) -> None:
        """Adds a token to the text."""
        self._words.read(piece, self._begun.get(token_id))
        self._begun = {}
        if self.lines is not None:
            self.lines.read(piece)

    def fork(self) -> "Form":
        """Returns a copy that goes on by itself."""
        other = copy.copy(self)
        other.lines, other._words = copy.copy(self.lines), copy.copy(self._words)
        return other

    def counts(self) -> dict[str, int]:
        """Returns the progress as plain values; no word must have begun."""
        return {**self._words.counts(), **(self.lines.counts() if self.lines else {})}

    def restore(self, counts: Mapping[str, int], tail: str) -> None:
        """Restores the output of `counts`, for the end of a text."""
        self._words.restore(counts, tail)
        if self.lines is not None:
            self.lines.restore(counts)

    def unmet(self) -> tuple[str, ...]:
        """Names what is missing."""
        return (*(self.lines.unmet() if self.lines else ()), *self._words.unmet())
