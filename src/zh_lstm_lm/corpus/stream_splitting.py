"""Where documents are cut into a training, a validation and a test part."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from zh_lstm_lm.corpus.segmentation import DocumentSpan

__all__ = ["Parts", "chunks", "count_characters", "cut_documents", "cut_tails"]

Parts = tuple[list[DocumentSpan], list[DocumentSpan], list[DocumentSpan]]

_CHUNK_TOKENS = 1 << 20  # looked at at once: the tokens may be more than the memory holds


def chunks(tokens: Tensor, spans: Iterable[DocumentSpan], *, chunk_size: int | None = None) -> Iterator[Tensor]:
    """Yields the lexicon numbers of the spans in order, never across two. **Shape:** (at most `chunk_size`,), int32."""
    size = chunk_size or _CHUNK_TOKENS
    for span in spans:
        for start in range(span.start, span.stop, size):
            yield tokens[start : min(start + size, span.stop)]


def count_characters(tokens: Tensor, lengths: Tensor, spans: Iterable[DocumentSpan]) -> int:
    """Counts the characters of the spans, one more for every paragraph end.

    Args:
        tokens: Lexicon numbers. **Shape:** (number of tokens in storage,), int32.
        lengths: Characters of each token of the lexicon. **Shape:** (lexicon size,), int64.
        spans: What is counted.
    """
    return sum(int(lengths[numbers.long()].sum()) for numbers in chunks(tokens, spans))


def cut_tails(
    tokens: Tensor, lengths: Tensor, documents: Iterable[DocumentSpan], *, valid: float, test: float
) -> Parts:
    """Takes the last characters of every document, cut at paragraph ends: the test part last, validation before it.

    Args:
        tokens: Lexicon numbers. **Shape:** (number of tokens in storage,), int32.
        lengths: Characters of each token of the lexicon. **Shape:** (lexicon size,), int64.
        documents: What is split.
        valid: Share of the characters, paragraph ends left out.
        test: The same.
    """
    shares = round(1 - valid - test, 12), round(1 - test, 12)
    parts: Parts = ([], [], [])
    for span in documents:
        cuts = [span.start, span.start, span.start, span.stop]
        total = sum(int(characters.sum()) for _, characters in _paragraph_ends(tokens, lengths, span))
        seen = 0
        for stops, characters in _paragraph_ends(tokens, lengths, span):
            before = (characters.cumsum(0) + seen).double()
            for number, share in enumerate(shares, 1):
                paragraphs = len(stops) if share == 1 else int((before < share * total).sum())
                cuts[number] = int(stops[paragraphs - 1]) if paragraphs else cuts[number]
            seen += int(characters.sum())
        for part, (start, stop) in zip(parts, itertools.pairwise(cuts), strict=True):
            part.append(replace(span, start=start, stop=stop))
    return parts


def cut_documents(
    tokens: Tensor, lengths: Tensor, documents: Sequence[DocumentSpan], *, valid: float, test: float
) -> Parts:
    """Takes the last documents whole, at least one a part; the arguments are those of `cut_tails`."""
    rest = list(documents)
    total = count_characters(tokens, lengths, rest)

    def taken(share: float) -> list[DocumentSpan]:
        part: list[DocumentSpan] = []
        size = 0
        while share and rest and size < share * total:
            part.append(rest.pop())
            size += count_characters(tokens, lengths, part[-1:])
        return part[::-1]

    last = taken(test)
    before = taken(valid)
    return rest, before, last


def _paragraph_ends(tokens: Tensor, lengths: Tensor, span: DocumentSpan) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields, a chunk at a time, where each paragraph stops, and its characters without its end.

    **Shape:** (paragraphs that end in the chunk,), int64, both.
    """
    start, rest = span.start, 0
    for numbers in chunks(tokens, [span]):
        characters = lengths[numbers.long()].masked_fill_(numbers == 0, 0).cumsum(0)
        ends = (numbers == 0).nonzero().squeeze(1)
        of_each = characters[ends].diff(prepend=torch.tensor([-rest]))
        rest = int(characters[-1]) - int(characters[ends[-1]]) if len(ends) else rest + int(characters[-1])
        yield start + ends + 1, of_each
        start += len(numbers)
