"""Training, validation and test parts of documents."""

import itertools
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zh_lstm_lm.corpus.cut_positions import Cut, DividedDocument
from zh_lstm_lm.corpus.segmentation import DocumentSpan
from zh_lstm_lm.errors import DataError
from zh_lstm_lm.runtime.control_characters import get_logger
from zh_lstm_lm.text.language import count_letters, is_han

if TYPE_CHECKING:
    from zh_lstm_lm.corpus.token_stream import TokenStream

__all__ = ["MAX_DEVIATION", "Parts", "check_split", "cut_documents", "cut_tails"]

logger: logging.Logger = get_logger(__name__)

Parts = tuple[list[DocumentSpan], list[DocumentSpan], list[DocumentSpan]]

MAX_DEVIATION = 0.01
"""Largest difference between the proportion of a part and the one asked for, without a warning."""

# In units of `MAX_DEVIATION`: a single document may miss more than the corpus.
_MAX_DOCUMENT_ERROR = 5
_SAMPLED_TOKENS, _RUN_TOKENS = 20_000, 64
_MIN_SAMPLE = 500
_MAX_HAN_DIFFERENCE = 0.2
_MAX_NEW_HAN = 0.15


def cut_tails(
    tokens: Tensor,
    lexicon: Sequence[str],
    lengths: Tensor,
    documents: Iterable[DocumentSpan],
    *,
    valid: float,
    test: float,
) -> Parts:
    """Takes the last characters of every document: the test part last, the validation part before it.

    A paragraph belongs to the part in which it ends. Where that misses the proportions of a document, the nearest
    paragraph end is taken, and inside a long paragraph the nearest sentence end. Documents too small for that go whole
    into one part, and the others make up for the difference. The proportions are those of the characters, paragraph
    ends left out; see `DividedDocument`.
    """
    without_ends = lengths.index_fill(0, torch.tensor([0]), 0)
    divided = [DividedDocument(tokens, lexicon, without_ends, span) for span in documents]
    parts: Parts = ([], [], [])
    for document, (first, second) in zip(divided, _tail_cuts(divided, (valid, test)), strict=True):
        span = document.span
        bounds = (span.start, first.position, second.position, span.stop)
        for part, (start, stop) in zip(parts, itertools.pairwise(bounds), strict=True):
            part.append(replace(span, start=start, stop=stop))
    return parts


def cut_documents(sizes: Sequence[int], documents: Sequence[DocumentSpan], *, valid: float, test: float) -> Parts:
    """Takes the last documents whole, as many as come nearest to the proportions, at least one for each part."""
    last, before = _last_documents(sizes, (valid, test))
    return list(documents[:last]), list(documents[last:before]), list(documents[before:])


def _last_documents(sizes: Sequence[int], proportions: tuple[float, float]) -> tuple[int, int]:
    """Returns the numbers of the first validation document and of the first test document."""
    starts = [len(sizes)]
    for proportion in reversed(proportions):
        missing, start = proportion * sum(sizes), starts[-1]
        while proportion and start and (start == starts[-1] or missing > sizes[start - 1] / 2):
            start -= 1
            missing -= sizes[start]
        starts.append(start)
    return starts[2], starts[1]


def _tail_cuts(documents: Sequence[DividedDocument], proportions: tuple[float, float]) -> list[Cut]:
    """Cuts each document by its own proportions if all can be, or else balances the whole corpus."""
    valid, test = proportions
    starts = round(1 - valid - test, 12), round(1 - test, 12)
    plain: list[Cut] = []
    cuts: list[Cut] = []
    fine: list[bool] = []
    for document in documents:
        cut = document.last_paragraph_before(starts[0]), document.last_paragraph_before(starts[1])
        plain.append(cut)
        if _error([document], [cut], proportions) > _MAX_DOCUMENT_ERROR:
            cut = document.cut(valid * document.size, test * document.size, whole=False)
        cuts.append(cut)
        fine.append(_error([document], [cut], proportions) <= _MAX_DOCUMENT_ERROR)
    if all(fine) and _error(documents, cuts, proportions) <= 1:
        return cuts
    attempts = [_balance(documents, fine, proportions, whole=whole) for whole in (True, False)]
    attempts += [_whole(documents, proportions), _last_paragraphs(documents, proportions), plain]
    errors = [_error(documents, attempt, proportions) for attempt in attempts]
    # Whole documents are better, unless they miss the proportions.
    best = min(max(1.0, error) for error in errors)
    return plain if best == math.inf else attempts[[error <= best for error in errors].index(True)]


def _whole(documents: Sequence[DividedDocument], proportions: tuple[float, float]) -> list[Cut]:
    """Gives the last documents whole to the held-out parts, at least one to each."""
    valid, test = _last_documents([document.size for document in documents], proportions)
    sizes = [
        (document.size * (valid <= index < test), document.size * (index >= test))
        for index, document in enumerate(documents)
    ]
    return [document.cut(*size, whole=True) for document, size in zip(documents, sizes, strict=True)]


def _last_paragraphs(documents: Sequence[DividedDocument], proportions: tuple[float, float]) -> list[Cut]:
    """Gives at least a paragraph to each held-out part, all from the last of the documents with most paragraphs."""
    total = sum(document.size for document in documents)
    chosen = max(reversed(documents), key=lambda document: document.num_paragraphs)
    return [
        document.cut_paragraphs(*(proportion * total for proportion in proportions))
        if document is chosen
        else document.cut(0, 0, whole=True)
        for document in documents
    ]


def _balance(
    documents: Sequence[DividedDocument], fine: Sequence[bool], proportions: tuple[float, float], *, whole: bool
) -> list[Cut]:
    """Cuts documents so that the proportions hold over all of them together.

    Those that are not `fine`, which cannot be cut near their proportions, come first, each given what is owed when it
    is reached, all of it to one part if they stay `whole`; what is then missing is spread evenly over the fine ones.
    """
    total, seen, given = sum(document.size for document in documents), 0, [0, 0]
    cuts: dict[int, Cut] = {}
    for index in sorted(range(len(documents)), key=fine.__getitem__):
        document = documents[index]
        size = document.size
        if fine[index]:
            owed = [(p * total - g) * size / max(1, total - seen) for p, g in zip(proportions, given, strict=True)]
        else:
            owed = [p * (seen + size) - g for p, g in zip(proportions, given, strict=True)]
        first, second = document.cut(max(0.0, owed[0]), max(0.0, owed[1]), whole=whole and not fine[index])
        cuts[index] = first, second
        given[0] += second.characters - first.characters
        given[1] += size - second.characters
        seen += size
    return [cuts[index] for index in range(len(documents))]


def _error(documents: Sequence[DividedDocument], cuts: Sequence[Cut], proportions: tuple[float, float]) -> float:
    """Computes by how much parts miss their proportions, in units of what is allowed."""
    total = max(1, sum(document.size for document in documents))
    valid = sum(second.characters - first.characters for first, second in cuts)
    test = sum(document.size - second.characters for document, (_, second) in zip(documents, cuts, strict=True))
    if total == valid + test or any(p and not number for p, number in zip(proportions, (valid, test), strict=True)):
        return math.inf
    return max(
        (
            abs(number / total - proportion) / min(MAX_DEVIATION, proportion / 2) - 1e-9
            for number, proportion in zip((valid, test), proportions, strict=True)
            if proportion and total > 1
        ),
        default=0.0,
    )


def check_split(
    corpus: "TokenStream",
    parts: "tuple[TokenStream, TokenStream, TokenStream]",
    proportions: tuple[float, float],
    by: str,
) -> None:
    """Raises DataError for empty parts; warns of proportions that are not met, and of parts in another script."""
    names = ("train", "valid", "test")
    for name, part, proportion in zip(names, parts, (1.0, *proportions), strict=True):
        if proportion and not len(part):
            raise DataError(
                f"the split leaves nothing for {name}: {corpus.num_documents} documents with {corpus.num_characters:,} "
                f"characters at valid={proportions[0]:g}, test={proportions[1]:g}, by={by!r}; "
                "give more text or other proportions"
            )
    train = _sample(parts[0])
    words = parts[0].token_counts().nonzero().squeeze(1).tolist()
    known = set("".join(map(corpus.lexicon.__getitem__, words)))
    for name, part, proportion in zip(names[1:], parts[1:], proportions, strict=True):
        if not proportion:
            continue
        actual = part.num_characters / corpus.num_characters
        if abs(actual - proportion) > MAX_DEVIATION:
            logger.warning(
                "%s=%g cannot be met: the part has %.1f %% of the characters, because documents are not cut inside a "
                "sentence%s; give more text or other proportions",
                name, proportion, 100 * actual, " and by='document' keeps them whole" if by == "document" else "",
            )  # fmt: skip
        text = _sample(part)
        if min(len(text), len(train)) < _MIN_SAMPLE:
            continue
        before, after = _han_proportion(train), _han_proportion(text)
        han = [character for character in text if is_han(character)]
        new = sum(character not in known for character in han) / max(_MIN_SAMPLE, len(han))
        if abs(after - before) > _MAX_HAN_DIFFERENCE:
            logger.warning(
                "%s: %.0f %% of its letters are Han characters, against %.0f %% in the training part; look at the ends of "
                "the documents for a licence or a text in another language", name, 100 * after, 100 * before,
            )  # fmt: skip
        elif len(train) >= _SAMPLED_TOKENS / 2 and new > _MAX_NEW_HAN:
            logger.warning(
                "%s: %.0f %% of its Han characters do not occur in the training part; look for traditional "
                "characters beside simplified ones (normalize='nfc+width+simplified') or garbled text", name, 100 * new,
            )  # fmt: skip


def _sample(stream: "TokenStream") -> str:
    """Returns the characters of runs of tokens evenly spaced over a stream."""
    stride = 1 + stream.num_tokens // _SAMPLED_TOKENS
    words: list[str] = []
    wanted = 0.0
    # Single tokens at equal distances would miss some of a text that repeats itself.
    for numbers in stream.numbers(chunk_size=_RUN_TOKENS * stride):
        wanted += len(numbers) / stride
        if stride == 1 or wanted >= _RUN_TOKENS:
            run = numbers[: round(wanted)].tolist()
            words += map(stream.lexicon.__getitem__, run)
            wanted -= len(run)
    return "".join(words)


def _han_proportion(text: str) -> float:
    letters = count_letters(text)
    return letters["Han"] / max(1, letters.total())
