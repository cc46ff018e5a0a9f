"""The tokens as forms see them: characters apart from punctuation, ends of lines, first characters."""

import unicodedata
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from zh_lstm_lm.generation.punctuation import PAIRS

__all__ = ["LINE_ENDS", "PARAGRAPH_END", "FormTokens", "count_characters", "first_character"]

PARAGRAPH_END = "\n"
LINE_ENDS = frozenset("，。！？；：,.!?;:\n")
"""Characters that end a line of a given length."""

_SENTENCE_ENDS = frozenset("。！？!?\n")
_CLOSING = frozenset(PAIRS.values())
_PAIRS = _CLOSING | PAIRS.keys()


def count_characters(text: str) -> int:
    """Counts the characters of a text that are neither punctuation nor spaces."""
    return sum(map(_is_counted, text))


def first_character(text: str) -> str:
    """Returns the first character of a text that is neither punctuation nor a space; empty for none."""
    return next(filter(_is_counted, text), "")


def _is_counted(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] not in "PZ" and category not in ("Cc", "Cf")


class FormTokens:
    """The texts of the ids of a vocabulary.

    Args:
        texts: The text of each id; empty for an id that is never written.
        usable: True for ids that may be written at all. **Shape:** (vocab_size,), bool.

    Attributes:
        usable: See above.
        lengths: Their lengths. **Shape:** (vocab_size,), like all that follow.
        longest: The greatest length, a number.
        counts: Their numbers of characters apart from punctuation.
        words: True for texts with such characters, without an end of a line; a text with both is no part of a form.
        marks: True for other texts without an end of a line and without spaces.
        line_ends: True for texts of punctuation with an end of a line.
        extra: The numbers of the other characters.
        sentence_ends: True for texts that contain an end of a sentence or of a paragraph.
        paragraph_ends: True for the end of a paragraph.
        closing: True for texts of closing quotes and brackets alone.
        pairs: True for texts of quotes and brackets alone.
    """

    def __init__(self, texts: Sequence[str], usable: Tensor) -> None:
        self.usable = usable
        self.lengths: Tensor = torch.tensor([*map(len, texts)])
        self.longest: int = int(self.lengths.max())
        self.counts: Tensor = torch.tensor([*map(count_characters, texts)])
        self.extra: Tensor = self.lengths - self.counts
        has_words, ends = self.counts > 0, _containing(texts, LINE_ENDS)
        self.words: Tensor = usable & has_words & ~ends
        whole = torch.tensor([text.split() == [text] for text in texts])
        self.marks: Tensor = usable & ~has_words & ~ends & whole
        self.line_ends: Tensor = usable & ~has_words & ends
        self.sentence_ends: Tensor = _containing(texts, _SENTENCE_ENDS)
        self.paragraph_ends: Tensor = usable & torch.tensor([text == PARAGRAPH_END for text in texts])
        closing, pairs = (
            usable & torch.tensor([bool(text) and marks.issuperset(text) for text in texts])
            for marks in (_CLOSING, _PAIRS)
        )
        self.closing: Tensor = closing
        self.pairs: Tensor = pairs
        self._by_first: dict[str, list[int]] = defaultdict(list)
        for token_id, text in enumerate(texts):
            self._by_first[first_character(text)].append(token_id)
        self._words: dict[str, Tensor] = {"": self.words}
        self._sizes: dict[str, list[int]] = {}
        self._fills = [True]
        self._in_line: dict[tuple[str, tuple[int, ...], bool, bool], Tensor] = {}

    def words_with(self, first: str) -> Tensor:
        """Returns True for words whose first character apart from punctuation is this one; all words for none."""
        if first not in self._words:
            mask = torch.zeros_like(self.words)
            mask[self._by_first.get(first, [])] = True
            self._words[first] = mask & self.words
        return self._words[first]

    def sizes(self, first: str = "") -> list[int]:
        """Returns the numbers of characters of the words that begin so, in rising order."""
        if first not in self._sizes:
            self._sizes[first] = sorted(set(self.counts[self.words_with(first)].tolist()))
        return self._sizes[first]

    def cost(self, first: str) -> int | None:
        """Returns the length of the shortest word that begins with a character; None if none does."""
        lengths = self.lengths[self.words_with(first)]
        return int(lengths.min()) if len(lengths) else None

    def in_line(self, first: str, counts: tuple[int, ...], *, begun: bool, after_mark: bool) -> Tensor:
        """Returns the words of a line that begin so, with one of some numbers of characters, and the marks.

        No marks but quotes and brackets stand at the start of a line and after a mark; of these, only closing ones stand
        before a given first character. **Shape:** (vocab_size,), bool.
        """
        key = first, counts, begun, after_mark
        if key not in self._in_line:
            marks = self.closing if first else self.pairs if not begun or after_mark else self.marks
            self._in_line[key] = self.words_with(first) & torch.isin(self.counts, torch.tensor(counts)) | marks
        return self._in_line[key]

    def fills(self, number: int) -> bool:
        """Returns True if words of the vocabulary can have this number of characters together."""
        while len(self._fills) <= number:
            size = len(self._fills)
            self._fills.append(any(self._fills[size - each] for each in self.sizes() if each <= size))
        return self._fills[number]


def _containing(texts: Sequence[str], characters: frozenset[str]) -> Tensor:
    return torch.tensor([not characters.isdisjoint(text) for text in texts])
