"""Positions at which a document can be cut: paragraph ends, and inside long paragraphs sentence ends."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from zh_lstm_lm.corpus.segmentation import DocumentSpan

__all__ = ["Boundary", "Cut", "DividedDocument", "chunks"]

_CHUNK_TOKENS = 1 << 20
_SENTENCE_FINAL = frozenset("。！？!?…；;.")
_CLOSING = frozenset("”’」』）》】〉)\"'")
# A shorter document is cut between paragraphs or not at all.
_MIN_CHARACTERS_TO_CUT_INSIDE = 1_000
_MAX_DISTANCE = 0.005
_SEARCHED_TOKENS = 2_000


class Boundary(NamedTuple):
    """A position between two tokens of the storage, and the number of characters of the document before it."""

    position: int
    characters: int


Cut: TypeAlias = tuple[Boundary, Boundary]
"""The start of a document's validation part and the start of its test part."""


def chunks(tokens: Tensor, span: DocumentSpan, *, chunk_size: int | None = None) -> Iterator[Tensor]:
    """Yields the lexicon numbers of a span in order. **Shape:** (at most `chunk_size`,), int32."""
    size = chunk_size or _CHUNK_TOKENS
    for start in range(span.start, span.stop, size):
        yield tokens[start : min(start + size, span.stop)]


class DividedDocument:
    """A document and its paragraph ends.

    `tokens` are lexicon numbers, `lengths` the characters of each token of the lexicon, 0 for the paragraph end; `size`
    is the number of characters, paragraph ends left out.
    """

    def __init__(self, tokens: Tensor, lexicon: Sequence[str], lengths: Tensor, span: DocumentSpan) -> None:
        self.span = span
        self._tokens = tokens
        self._lexicon = lexicon
        self._lengths = lengths
        stops, characters = zip(*self._paragraph_ends(), strict=True)
        # Both begin with the start of the document. **Shape:** (paragraphs + 1,), int64.
        self._stops = torch.cat([torch.tensor([span.start]), *stops])
        self._characters = torch.cat([torch.tensor([0]), *characters]).cumsum(0)
        self.size: int = int(self._characters[-1])

    def _paragraph_ends(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the positions after paragraphs and their numbers of characters, a chunk at a time."""
        start, rest = self.span.start, 0
        for numbers in chunks(self._tokens, self.span):
            characters = self._lengths[numbers.long()].cumsum(0)
            ends = (numbers == 0).nonzero().squeeze(1)
            of_each = characters[ends].diff(prepend=torch.tensor([-rest]))
            rest = int(characters[-1]) - int(characters[ends[-1]]) if len(ends) else rest + int(characters[-1])
            yield start + ends + 1, of_each
            start += len(numbers)
        # A part that was cut inside a paragraph has no paragraph end at its own end.
        if rest:
            yield torch.tensor([start]), torch.tensor([rest])

    def _paragraph_end(self, number: int) -> Boundary:
        """Returns the end of a paragraph, counted from 1; 0 is the start of the document."""
        return Boundary(int(self._stops[number]), int(self._characters[number]))

    def last_paragraph_before(self, proportion: float) -> Boundary:
        """Returns the end of the last paragraph that ends before a proportion of the characters; 1 means the last one."""
        before = self._characters[1:].double() < proportion * self.size
        return self._paragraph_end(-1 if proportion == 1 else int(before.sum()))

    def cut(self, valid: float, test: float, *, whole: bool) -> Cut:
        """Cuts off parts of about the given numbers of characters from the end; `whole` gives all to one part."""
        nearest = self._nearest_end if whole else self._nearest
        second = nearest(self.size - test)
        first = nearest(second.characters - valid)
        return min(first, second), second

    @property
    def num_paragraphs(self) -> int:
        """Number of paragraphs, empty ones left out."""
        return int((self._characters.diff() > 0).sum())

    def cut_paragraphs(self, valid: float, test: float) -> Cut:
        """Cuts off parts at paragraph ends as `cut` does, at least one paragraph for each that is wanted."""
        second = self._end_before(self.size, test)
        return self._end_before(second.characters, valid), second

    def _end_before(self, stop: int, wanted: float) -> Boundary:
        """Returns the paragraph end with nearly the wanted number of characters from it to a later one."""
        distances = (self._characters - (stop - wanted)).abs()
        if wanted:
            distances[self._characters >= stop] = stop + 1
        return self._paragraph_end(int(distances.argmin()))

    def _nearest_end(self, wanted: float) -> Boundary:
        """Returns the start or the end of the document."""
        return self._paragraph_end(-1 if wanted > self.size / 2 else 0)

    def _nearest(self, wanted: float) -> Boundary:
        """Returns the boundary with nearly the wanted number of characters before it."""
        found = self._paragraph_end(int((self._characters - wanted).abs().argmin()))
        is_far = abs(found.characters - wanted) > _MAX_DISTANCE * self.size
        if is_far and 0 < wanted < self.size and self.size >= _MIN_CHARACTERS_TO_CUT_INSIDE:
            return self._nearest_sentence_end(wanted)
        return found

    def _nearest_sentence_end(self, wanted: float) -> Boundary:
        """Returns the sentence end nearest to the wanted number of characters; without any near it, a token end."""
        paragraph = int((self._characters[:-1] <= wanted).sum())
        start, before = self._paragraph_end(paragraph - 1)
        numbers = self._tokens[start : int(self._stops[paragraph])].long()
        characters = self._lengths[numbers].cumsum(0) + before
        centre = int((characters < wanted).sum())
        low = max(0, centre - _SEARCHED_TOKENS)
        words = [self._lexicon[number] for number in numbers[low : centre + _SEARCHED_TOKENS].tolist()]
        ends = [low + index for index in _sentence_ends(words)] or [centre]
        best = min(ends, key=lambda index: abs(int(characters[index]) - wanted))
        return Boundary(start + best + 1, int(characters[best]))


def _sentence_ends(words: Sequence[str]) -> Iterator[int]:
    """Yields the index of the last token of each sentence, closing marks included."""
    ended = False
    for index, (word, following) in enumerate(zip(words, [*words[1:], ""], strict=True)):
        ended = word[-1] in _SENTENCE_FINAL or (ended and word[-1] in _CLOSING)
        if ended and following[:1] not in _SENTENCE_FINAL | _CLOSING:
            yield index
