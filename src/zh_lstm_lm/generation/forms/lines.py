"""Lines of given lengths, or paragraphs, that begin with given characters."""

import copy
import functools
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.generation.forms.tokens import (
    LINE_ENDS,
    PARAGRAPH_END,
    FormTokens,
    count_characters,
    first_character,
)
from zh_lstm_lm.generation.punctuation import is_sentence_end

__all__ = ["Lines", "Place", "Room", "Word"]

# A paragraph that has used this proportion of its share of the room ends with its sentence.
_FAIR_SHARE = 0.6


class Word(NamedTuple):
    """A word that has to find room in a line: its number of characters, and the first of them."""

    characters: int
    first: str


class Room(NamedTuple):
    """What may still be written: a number of characters and of tokens."""

    characters: int
    tokens: int


@dataclass(frozen=True)
class Place:
    """The place in a text at which a token follows.

    Attributes:
        tail: The end of the text.
        room: What may still be written, apart from the marks that close what is open.
        opened: Whether quotes or brackets are open.
        last_sentence: Whether the text ends with this sentence.
        last_paragraph: Whether it ends with this paragraph.
        may_end: Whether an empty paragraph ends the text.
    """

    tail: str
    room: Room
    opened: bool = False
    last_sentence: bool = False
    last_paragraph: bool = False
    may_end: bool = False


class Lines:
    """The lines of a text. With `lengths` a line ends at a mark such as a comma, without them it is a paragraph.

    Args:
        tokens: The tokens of the vocabulary.
        lengths: The length of every line, or the lengths of all of them; None for paragraphs of any length.
        first_characters: The first character of each line; empty for any.
        begun: The text before, of which the unfinished last line is the first line of the form.

    Attributes:
        has_lengths: Whether lines have lengths.
        number: The number of lines; None for any number.
        finished: The number of lines that are finished.
        count: The number of characters of the line that is being written.

    Raises:
        ConfigError: A line cannot be written with this vocabulary, or the line that has begun does not fit.
    """

    def __init__(
        self, tokens: FormTokens, lengths: int | Sequence[int] | None, first_characters: str, begun: str = ""
    ) -> None:
        self._tokens, self._first_characters = tokens, first_characters
        self.has_lengths: bool = lengths is not None
        self._ends = LINE_ENDS if self.has_lengths else frozenset(PARAGRAPH_END)
        number = len(lengths) if isinstance(lengths, Sequence) else len(first_characters)
        self.number: int | None = number or None
        # The lengths of the lines, or of each of any number, and how many characters lines have from each on.
        self._sizes = tuple(lengths) if isinstance(lengths, Sequence) else (lengths or 0,) * max(number, 1)
        self._rests = (*itertools.accumulate(reversed(self._sizes)),)[::-1]
        self.finished: int = 0
        self.count: int = 0
        # What the line that is being written has used.
        self._used = Room(0, 0)
        self._costs: dict[str, int] = {"": 0}
        for character in first_characters:
            cost = tokens.cost(character)
            if cost is None:
                raise ConfigError(
                    f"first_characters: no word of the vocabulary begins with {character!r}; give another character"
                )
            self._costs[character] = cost
        for index in range(self.number or 1):
            self._check_line(index)
        line = begun[max((place for place, one in enumerate(begun) if one in self._ends), default=-1) + 1 :]
        self.count, first = count_characters(line), first_character(line)
        if first and self._first(0) not in ("", first):
            raise ConfigError(
                f"first_characters: the prompt begins a line with {first!r}, which has to begin with {self._first(0)!r}; "
                "end the line in the prompt, or begin it so"
            )
        if self.has_lengths and (self.count > self._size(0) or not tokens.fills(self._size(0) - self.count)):
            raise ConfigError(
                f"line_lengths: the prompt begins a line with {self.count} characters, which cannot have {self._size(0)}"
            )

    def _check_line(self, index: int) -> None:
        """Refuses a line that the vocabulary cannot write."""
        size, first, tokens = self._size(index), self._first(index), self._tokens
        if self.has_lengths and not any(n <= size and tokens.fills(size - n) for n in tokens.sizes(first)):
            start = f" that begins with {first!r}" if first else ""
            raise ConfigError(
                f"line_lengths: the words of the vocabulary make no line of {size} characters{start}; give another length"
            )

    def _size(self, index: int) -> int:
        """Returns the length of a line; 0 for a paragraph."""
        return self._sizes[index if self.number else 0]

    def _first(self, index: int) -> str:
        return self._first_characters[index : index + 1]

    @property
    def first(self) -> str:
        """The first character of a line that has not begun; empty for any."""
        return "" if self.count else self._first(self.finished)

    @property
    def start(self) -> int:
        """The number of characters that the first word of a paragraph takes; 0 once it has begun."""
        return 0 if self.has_lengths else self._costs[self.first]

    @property
    def complete(self) -> bool:
        """True once all lines are finished; never for any number of lines."""
        return self.finished == self.number

    def read(self, piece: str) -> None:
        """Adds a token to the text."""
        self._used = Room(self._used.characters + len(piece), self._used.tokens + 1)
        for character in piece:
            if character not in self._ends:
                self.count += count_characters(character)
            elif self.count:
                self.finished += 1
                self.count, self._used = 0, Room(0, 0)

    def capacity(self, room: int) -> int:
        """Returns the number of characters that lines with lengths still have, in a room if there may be any number."""
        if self.number is not None:
            return self._rests[self.finished] - self.count
        left = self._size(0) - self.count
        return left + max(0, room - left - 1) // (self._size(0) + 1) * self._size(0)

    def needed(self, words: Sequence[Word] = (), room: int = 0, *, another: bool = False) -> int | None:
        """Returns the number of characters that finish the form and hold some words; None if the words find no room.

        Each line takes a mark besides. Of any number of lines, the one that has begun is finished, and as many follow as
        the words need and the room has; at least one with `another`. The number is that of the tokens too, of one
        character each.
        """
        if self.complete:
            return None if words else 0
        if not (self.number or self.count or words or another):
            return 0
        if not self.has_lengths:
            begun = int(self.count > 0)
            starts = sum(self._costs[first] + 1 for first in self._first_characters[self.finished + begun :])
            return begun + starts + sum(word.characters for word in words)
        left = self._size(self.finished) - self.count
        if self.number is not None:
            needed = self.capacity(room) + self.number - self.finished
            return needed if self._find_room(words, left, self.number) else None
        for more in range(len(words) + 1):
            needed = left + 1 + more * (self._size(0) + 1)
            if (more == 0 or needed <= room) and self._find_room(words, left, self.finished + 1 + more):
                return needed
        return None

    def _find_room(self, words: Sequence[Word], left: int, stop: int) -> bool:
        """Returns True if words find room in what is left of this line, and in the lines before a number."""
        if not words:
            return True
        lines = [(left, self.first)]
        lines += [(self._size(index), self._first(index)) for index in range(self.finished + 1, stop)]
        kinds = Counter((free, first, self._costs[first]) for free, first in lines)
        # More equal lines than words make no difference.
        bins = sorted(kind for kind, count in kinds.items() for _ in range(min(count, len(words))))
        return _fit(tuple(sorted(words, reverse=True)), tuple(bins))

    def takes(self, word: Word, others: Sequence[Word], room: int) -> bool:
        """Returns True if a word may be written now, so that others still find room."""
        if self.first not in ("", word.first):
            return False
        left = self._size(self.finished) - self.count - word.characters
        return not self.has_lengths or (left >= 0 and self._may_leave(left, others, room))

    def _may_leave(self, left: int, words: Sequence[Word], room: int) -> bool:
        """Returns True if this line can be filled, and words find room, once a number of its characters is left."""
        if not self._tokens.fills(left):
            return False
        if not words:
            return True
        after = copy.copy(self)
        after.count = self._size(self.finished) - left
        return after.needed(words, room) is not None

    def allowed(self, words: Sequence[Word], until: int, place: Place) -> tuple[Tensor, Tensor]:
        """Returns the tokens that may follow, and the number of characters by which each comes closer to the limits.

        The words have to find room before a number of characters. **Shape:** (vocab_size,), bool, and (vocab_size,),
        int64.
        """
        if not self.has_lengths:
            return self._allowed_in_paragraph(place, waits=bool(words))
        tokens, left = self._tokens, self._size(self.finished) - self.count
        if not left:
            last = self.finished + 1 == self.number
            ends = tokens.line_ends & tokens.sentence_ends if last else tokens.line_ends
            # Closing marks may come before the mark that ends the line.
            return ends | tokens.closing if place.opened else ends, tokens.extra - tokens.line_ends.long()
        counts = tuple(n for n in range(1, left + 1) if self._may_leave(left - n, words, until))
        after_mark = not count_characters(place.tail[-1:])
        allowed = tokens.in_line(self.first, counts, begun=bool(self.count), after_mark=after_mark)
        if not self.count and place.tail and (place.may_end or place.tail[-1] != PARAGRAPH_END):
            allowed = allowed | tokens.paragraph_ends
        return allowed, tokens.extra

    def _allowed_in_paragraph(self, place: Place, *, waits: bool) -> tuple[Tensor, Tensor]:
        tokens, lines = self._tokens, (self.number or 1) - self.finished
        if not self.count:
            words = tokens.words_with(self.first)
            return words, tokens.lengths - self.start * words.long()
        more = tokens.lengths - tokens.paragraph_ends.long()
        if waits and lines == 1:
            return tokens.usable & ~tokens.paragraph_ends, more
        share = [(left + used) // lines for left, used in zip(place.room, self._used, strict=True)]
        over = any(used >= _FAIR_SHARE * fair for used, fair in zip(self._used, share, strict=True))
        ends = over and is_sentence_end(place.tail) and not place.opened
        return tokens.paragraph_ends if ends else tokens.usable, more

    def counts(self) -> dict[str, int]:
        """Returns the progress as plain values."""
        used = self._used
        return {
            "lines": self.finished,
            "line": self.count,
            "line_characters": used.characters,
            "line_tokens": used.tokens,
        }

    def restore(self, counts: Mapping[str, int]) -> None:
        """Restores the output of `counts`."""
        self.finished, self.count = counts["lines"], counts["line"]
        self._used = Room(counts["line_characters"], counts["line_tokens"])

    def unmet(self) -> list[str]:
        """Names what is missing."""
        if self.number is not None and not self.complete:
            name = "line_lengths" if self.has_lengths else "first_characters"
            return [f"{name}: {self.finished} of {self.number} lines"]
        return [f"line_lengths: {self.count} of {self._size(0)} characters in the last line"] if self.count else []


@functools.lru_cache(maxsize=10_000)
def _fit(words: tuple[Word, ...], lines: tuple[tuple[int, str, int], ...]) -> bool:
    """Returns True if words find room in lines: their free characters, first character, and what that takes."""
    if not words:
        return True
    (count, first), others = words[0], words[1:]
    for number, (free, start, cost) in enumerate(lines):
        left = free - count - (0 if start in ("", first) else cost)
        if left >= 0 and lines.index(lines[number]) == number:
            rest = sorted([*lines[:number], (left, "", 0), *lines[number + 1 :]])
            if _fit(others, tuple(rest)):
                return True
    return False
