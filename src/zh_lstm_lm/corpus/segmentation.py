"""Documents to numbered tokens: each distinct token gets a number in the order of first appearance."""

import hashlib
import json
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.runtime.interruption import check_interruption
from zh_lstm_lm.text.decoding import normalize_line_ends
from zh_lstm_lm.text.documents import Document, ReadingOptions
from zh_lstm_lm.text.files import TextFile, hash_files
from zh_lstm_lm.text.normalization import normalize_text
from zh_lstm_lm.tokenizers.base import LosslessTokenizer
from zh_lstm_lm.tokenizers.workers import number_chunks

__all__ = ["PARAGRAPH_END", "SEGMENTATION_FORMAT", "DocumentSpan", "cache_key", "document_of", "number_tokens"]

PARAGRAPH_END = "\n"
SEGMENTATION_FORMAT = 1
"""Goes up whenever the numbers or the files that hold them change."""

_CHUNK_CHARACTERS = 1 << 16


@dataclass(frozen=True)
class DocumentSpan:
    """Where a document, or the part of it that belongs to this stream, lies.

    Attributes:
        name: The document's name.
        start: Its first token in the stream's storage.
        stop: One behind its last token.
    """

    name: str
    start: int
    stop: int


def document_of(text: object, number: int, normalize: str) -> Document:
    """Checks one of the texts that a user gave.

    Args:
        text: What was given.
        number: Its place in the list, for its name.
        normalize: The normalisation that it goes through.

    Raises:
        DataError: It is not a string, or holds a lone surrogate.
    """
    if not isinstance(text, str):
        raise DataError(f"texts[{number}] must be a string, got {text!r}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"texts[{number}], character {error.start}: a lone surrogate ({text[error.start]!a}) is no text"
        ) from None
    text = normalize_text(normalize_line_ends(text), normalize)
    return Document(f"texts[{number}]", (text,) if text else ())


def cache_key(files: Sequence[TextFile], fingerprint: str, options: ReadingOptions) -> str:
    """A name for the segmented files that changes with everything that can change a token."""
    sums = hash_files(files)
    contents = [[file.name, file.chosen, digest] for file, digest in zip(files, sums, strict=True)]
    what = [SEGMENTATION_FORMAT, sys.byteorder, fingerprint, options.fingerprint(), contents]
    return hashlib.sha256(json.dumps(what).encode("utf-8")).hexdigest()[:32]


def number_tokens(
    documents: Iterable[Document],
    tokenizer: LosslessTokenizer,
    *,
    workers: int,
    write: "Callable[[array[int]], object]",
) -> tuple[list[str], list[DocumentSpan]]:
    """Segments documents and writes out the number of every token, 0 for a paragraph end.

    Args:
        documents: The documents.
        tokenizer: What cuts them.
        workers: Processes to do it in.
        write: Takes the numbers, a chunk at a time.

    Returns:
        The lexicon (all distinct tokens by number) and the documents' spans.

    Raises:
        DataError: There is not one token.
        KeyboardInterrupt: A signal was caught by a block around the call.
    """
    lexicon: dict[str, int] = {PARAGRAPH_END: 0}
    spans: list[DocumentSpan] = []
    owners: list[tuple[str, bool]] = []  # of each chunk: its document's name, and whether it is the first of it

    def chunks() -> Iterator[str]:
        for document in documents:
            for number, chunk in enumerate(_chunks(document.paragraphs())):
                owners.append((document.name, number == 0))
                yield chunk

    position = 0
    for order, numbers in enumerate(number_chunks(tokenizer, chunks(), lexicon, workers=workers)):
        check_interruption()
        numbers.append(0)
        write(numbers)
        name, first = owners[order]
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
