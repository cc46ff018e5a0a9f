"""Segmented text in a folder of the cache: written whole or not at all, mapped into memory, distrusted when it is read."""

import logging
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from zh_lstm_lm.corpus.segmentation import SEGMENTATION_FORMAT, DocumentSpan, number_tokens
from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.runtime.control_characters import get_logger
from zh_lstm_lm.storage.atomic import atomic_directory
from zh_lstm_lm.storage.cache import cache_part, user_cache_dir
from zh_lstm_lm.storage.safe_reading import read_bytes, read_versioned, verify_manifest, versioned
from zh_lstm_lm.storage.strict_json import to_json
from zh_lstm_lm.tokenizers.base import LosslessTokenizer

if TYPE_CHECKING:
    from zh_lstm_lm.text.documents import Document

__all__ = ["StoredStream", "cached_stream", "check_stored", "load_stream", "store_stream"]

logger: logging.Logger = get_logger(__name__)

StoredStream: TypeAlias = tuple[Tensor, list[str], list[DocumentSpan]]
"""Lexicon numbers, **Shape:** (number of tokens,), int32; the lexicon; the documents' spans."""

_FILES = frozenset({"tokens.bin", "lexicon.utf8", "stream.json"})
_MAX_LEXICON_BYTES = 1 << 32
_CHUNK_BYTES = 1 << 22


def cached_stream(
    key: str,
    documents: "Iterable[Document]",
    tokenizer: LosslessTokenizer,
    *,
    cache_dir: str | PathLike[str] | None,
    workers: int,
) -> StoredStream | None:
    """Takes segmented documents from the cache, or segments them into it; None where no cache can be kept."""
    try:
        directory = cache_part(Path(cache_dir or user_cache_dir()), "streams") / key
        stored = load_stream(directory)
        if stored is None:
            logger.info("segmenting with %s in %d processes", tokenizer.fingerprint, workers)
            store_stream(directory, documents, tokenizer, workers)
            stored = load_stream(directory)
        return stored
    except CheckpointError as error:
        logger.warning("no cache is kept: %s", error)
        return None


def store_stream(directory: Path, documents: "Iterable[Document]", tokenizer: LosslessTokenizer, workers: int) -> None:
    """Segments documents into a folder of the cache. One that is there is damaged and is replaced."""
    with atomic_directory(directory, owned=_FILES, replace=directory.is_dir()) as staged:
        with (staged / "tokens.bin").open("wb") as file:
            lexicon, spans = number_tokens(
                documents, tokenizer, workers=workers, write=lambda numbers: file.write(numbers.tobytes())
            )
        (staged / "lexicon.utf8").write_bytes("\n".join(lexicon[1:]).encode("utf-8"))
        stored = {"documents": [[span.name, span.start, span.stop] for span in spans]}
        (staged / "stream.json").write_bytes(to_json(versioned(SEGMENTATION_FORMAT, stored)))


def load_stream(directory: Path) -> StoredStream | None:
    """Opens what `store_stream` wrote; None if there is none, or a damaged one."""
    if not directory.is_dir():
        return None
    try:
        verify_manifest(directory)
        description = read_versioned(directory / "stream.json", SEGMENTATION_FORMAT, required=("documents",))
        words = read_bytes(directory / "lexicon.utf8", max_bytes=_MAX_LEXICON_BYTES).decode("utf-8")
        lexicon = ["\n", *(words.split("\n") if words else ())]
        spans = [DocumentSpan(str(name), start, stop) for name, start, stop in description["documents"]]
        path = directory / "tokens.bin"
        tokens = torch.from_file(str(path), shared=False, size=path.stat().st_size // 4, dtype=torch.int32)
        check_stored(tokens, lexicon, spans, bounds=_bounds(path))
    except (CheckpointError, OSError, RuntimeError, ValueError, TypeError) as error:
        logger.warning("%s: a damaged cache is made again (%s)", directory, error)
        return None
    return tokens, lexicon, spans


def _bounds(path: Path) -> tuple[int, int]:
    """Returns the least and the greatest number in a file, which is not mapped: mapped pages count as used memory."""
    least = most = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            found = torch.frombuffer(bytearray(chunk), dtype=torch.int32).aminmax()
            least, most = min(least, int(found.min)), max(most, int(found.max))
    return least, most


def check_stored(tokens: Tensor, lexicon: list[str], spans: list[DocumentSpan], *, bounds: tuple[int, int]) -> None:
    """Checks that the parts of a stream fit together; raises ValueError if they do not."""
    position = 0
    for span in spans:
        whole = type(span.start) is int and type(span.stop) is int
        if not whole or span.start != position or not position < span.stop <= len(tokens):
            raise ValueError("its documents do not follow one another")
        if tokens[span.stop - 1]:
            raise ValueError("a document does not end with a paragraph end")
        position = span.stop
    least, most = bounds
    if position != len(tokens) or least < 0 or most >= len(lexicon):
        raise ValueError("its numbers are not those of its lexicon")
    if "" in lexicon or len(set(lexicon)) != len(lexicon):
        raise ValueError("a token of its lexicon is empty or stands twice")
