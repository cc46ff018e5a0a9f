"""Words that must occur in a text, each within a number of characters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zh_lstm_lm.generation.forms.lines import Word
from zh_lstm_lm.generation.forms.tokens import count_characters, first_character

__all__ = ["Required", "Words"]

# Added to the log-probability of a word that has waited for this proportion of the time that it can wait; less before.
_GREATEST_BIAS, _LONG_WAIT = 12.0, 0.7


@dataclass(frozen=True)
class Required:
    """A word that must occur.

    Attributes:
        text: The word.
        ids: Its ids.
        within: The number of characters within which it must have occurred; None for the whole text.
    """

    text: str
    ids: tuple[int, ...]
    within: int | None

    @property
    def word(self) -> Word:
        """What it takes of a line."""
        return Word(count_characters(self.text), first_character(self.text))


class Words:
    """The words that have not occurred yet.

    Args:
        words: The words.
        room: The number of characters that the text may have.

    Attributes:
        pending: These words, the most urgent first.
        position: The number of characters so far.
        forced: The ids that complete a word that has begun.
    """

    def __init__(self, words: Sequence[Required], room: int) -> None:
        self._all = tuple(sorted(words, key=lambda word: word.within or room))
        self.pending: tuple[Required, ...] = self._all
        self.position: int = 0
        self.forced: tuple[int, ...] = ()
        self._missed: tuple[Required, ...] = ()
        self._recent, self._longest = "", max((len(word.text) for word in words), default=0)
        # The characters that each word could wait at the start.
        self._slack = {
            word.text: max(slack, 1) for word, slack in zip(self._all, self.slacks(self._all, room), strict=True)
        }

    def slacks(self, words: Sequence[Required], room: int, *, before: int = 0, start: int = 0) -> list[int]:
        """Returns how many characters each of some words can wait, with those before it, in a text of so much room.

        `before` counts characters that come before all of them, and `start` others for which there is room besides.
        """
        slacks, length = [], before
        for word in words:
            length += len(word.text)
            due = [] if word.within is None else [word.within - self.position - start]
            slacks.append(min([room, *due]) - length)
        return slacks

    def give_up(self, slacks: Sequence[int]) -> list[int]:
        """Leaves out the words that can no longer occur in time; returns the slacks of the others."""
        self._missed += tuple(word for word, slack in zip(self.pending, slacks, strict=True) if slack < 0)
        self.pending = tuple(word for word, slack in zip(self.pending, slacks, strict=True) if slack >= 0)
        return [slack for slack in slacks if slack >= 0]

    def bias(self, word: Required, slack: int) -> float:
        """Returns what is added to the log-probability of a word: the more, the less it can wait."""
        return _GREATEST_BIAS * min(max((1 - slack / self._slack[word.text]) / _LONG_WAIT, 0.0), 1.0)

    def without(self, word: Required) -> list[Required]:
        """Returns the pending words but one."""
        return [other for other in self.pending if other is not word]

    def read(self, piece: str, begun: Required | None) -> None:
        """Adds a token to the text; if it begins a word of several tokens, its other ids follow."""
        self.forced = begun.ids[1:] if begun is not None else self.forced[1:]
        text = self._recent + piece
        self._recent = text[-self._longest :]
        self.position += len(piece)
        self.pending = tuple(word for word in self.pending if word.text not in text)
        late = tuple(word for word in self.pending if word.within is not None and self.position >= word.within)
        self._missed += late
        self.pending = tuple(word for word in self.pending if word not in late)

    def counts(self) -> dict[str, int]:
        """Returns the progress as plain values; no word must have begun."""
        values = {f"word {number}": self._slack[word.text] for number, word in enumerate(self._all)}
        pending = sum(1 << number for number, word in enumerate(self._all) if word in self.pending)
        missed = sum(1 << number for number, word in enumerate(self._all) if word in self._missed)
        return {**values, "pending": pending, "missed": missed, "position": self.position}

    def restore(self, counts: Mapping[str, int], tail: str) -> None:
        """Restores the output of `counts`, and the end of the text."""
        self.position = counts["position"]
        self._recent = tail[max(0, len(tail) - min(self._longest, self.position)) :]
        self._slack = {word.text: counts[f"word {number}"] for number, word in enumerate(self._all)}
        numbered = list(enumerate(self._all))
        self.pending = tuple(word for number, word in numbered if counts["pending"] >> number & 1)
        self._missed = tuple(word for number, word in numbered if counts["missed"] >> number & 1)

    def unmet(self) -> list[str]:
        """Names the words that are missing."""
        return [
            f"must_contain: {word.text}" + (f" within {word.within} characters" if word.within else "")
            for word in self._all
            if word in self.pending or word in self._missed
        ]
