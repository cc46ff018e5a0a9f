"""Segmentation: each distinct token gets a number in the order of first appearance."""

import hashlib
import json
import sys
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.runtime.interruption import check_interruption
from zh_lstm_lm.tokenizers.base import LosslessTokenizer
from zh_lstm_lm.tokenizers.workers import number_chunks

if TYPE_CHECKING:
    from zh_lstm_lm.text.documents import Document, ReadingOptions
    from zh_lstm_lm.text.survey import FileSurvey

__all__ = ["PARAGRAPH_END", "SEGMENTATION_FORMAT", "DocumentSpan", "cache_key", "number_tokens"]

PARAGRAPH_END = "\n"
SEGMENTATION_FORMAT = 1
"""Goes up whenever the numbers or the files that hold them change."""

_CHUNK_CHARACTERS = 1 << 16


@dataclass(frozen=True)
class DocumentSpan:
    """The position of a document, or of its part that belongs to a stream, in the stream's stored tokens."""

    name: str
    start: int
    stop: int


def cache_key(surveys: "Sequence[FileSurvey]", fingerprint: str, options: "ReadingOptions") -> str:
    """Computes a name for the segmented files that changes with everything that can change a token."""
    contents = [[survey.file.name, survey.file.chosen, survey.digest] for survey in surveys]
    inputs = [SEGMENTATION_FORMAT, sys.byteorder, fingerprint, options.fingerprint(), contents]
    return hashlib.sha256(json.dumps(inputs).encode("utf-8")).hexdigest()[:32]


def number_tokens(
    documents: "Iterable[Document]",
    tokenizer: LosslessTokenizer,
    *,
    workers: int,
    write: "Callable[[array[int]], object]",
) -> tuple[list[str], list[DocumentSpan]]:
    """Segments documents and writes the number of every token, 0 for a paragraph end; returns lexicon and spans."""
    lexicon: dict[str, int] = {PARAGRAPH_END: 0}
    spans: list[DocumentSpan] = []
    # The name of each waiting chunk's document, and whether the chunk is its first.
    owners: deque[tuple[str, bool]] = deque()

    def chunks() -> Iterator[str]:
        for document in documents:
            for number, chunk in enumerate(_chunks(document.paragraphs())):
                owners.append((document.name, number == 0))
                yield chunk

    position = 0
    for numbers in number_chunks(tokenizer, chunks(), lexicon, workers=workers):
        check_interruption()
        numbers.append(0)
        write(numbers)
        name, first = owners.popleft()
        start = position if first else spans.pop().start
        position += len(numbers)
        spans.append(DocumentSpan(name, start, position))
    if not position:
        raise DataError("there is no text: not one token was found; give files or texts that have some")
    return list(lexicon), spans


def _chunks(paragraphs: Iterable[str]) -> Iterator[str]:
    """Joins paragraphs into chunks of about `_CHUNK_CHARACTERS`, at least one paragraph each."""
    chunk: list[str] = []
    size = 0
    for paragraph in paragraphs:
        chunk.append(paragraph)
        size += len(paragraph) + 1
        if size >= _CHUNK_CHARACTERS:
            yield "\n".join(chunk)
            chunk, size = [], 0
    if chunk:
        yield "\n".join(chunk)
