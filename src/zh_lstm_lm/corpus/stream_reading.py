"""Reading of files and texts into segmented documents: a survey, then the cache or segmentation."""

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from os import PathLike
from typing import Any

from zh_lstm_lm._config import check_integer, check_list, check_text, check_type, is_list, shown
from zh_lstm_lm.corpus.segmentation import cache_key, number_tokens
from zh_lstm_lm.corpus.stream_cache import StoredStream, cached_stream
from zh_lstm_lm.errors import DataError, ZhLstmLmError
from zh_lstm_lm.runtime.interruption import catch_interruption
from zh_lstm_lm.runtime.threads import available_cores
from zh_lstm_lm.storage.scratch import ScratchNumbers
from zh_lstm_lm.text.cleaning import check_cleaning
from zh_lstm_lm.text.decoding import decode, normalize_line_ends
from zh_lstm_lm.text.documents import Document, ReadingOptions, documents_of_records, read_documents, report_findings
from zh_lstm_lm.text.files import Paths, TextFile, find_files
from zh_lstm_lm.text.normalization import check_normalization, normalize_text
from zh_lstm_lm.text.survey import survey_files
from zh_lstm_lm.tokenizers.base import LosslessTokenizer

__all__ = ["estimate_reading", "look_at_records", "read_files", "read_iterable", "read_texts", "reading_options"]

_DEFAULT_NORMALIZATION = "nfc+width"

# Below this size, starting processes costs more than it saves.
_PARALLEL_BYTES = 4_000_000
_MAX_WORKERS = 8
# More child processes than this are a mistake, and would fill the memory.
_MOST_WORKERS = 1024
_PROBE_BYTES = 1 << 16


def reading_options(
    encoding: str, clean: str, normalize: str, text_field: str | None, document_ends: bool
) -> ReadingOptions:
    """Checks the options of `TokenStream.from_files` and `TokenStream.from_records`."""
    check_cleaning(clean)
    check_type("document_ends", document_ends, bool)
    if normalize == "auto":
        normalize = "none" if clean == "none" else _DEFAULT_NORMALIZATION
    check_normalization(normalize)
    return ReadingOptions(encoding, clean, normalize, text_field, document_ends)


def look_at_records(records: Any, text_field: str | None) -> tuple[bool, Any]:
    """Returns whether an argument is paths of files, and the argument with all of its items."""
    if isinstance(records, Mapping):
        raise DataError(
            f"records must be an iterable of mappings, got {shown(records)}; give [record] for a single one"
        )
    if not is_list(records):
        if text_field is None and not isinstance(records, (str, PathLike)):
            raise DataError(f"records must be paths or an iterable of mappings, got {shown(records)}")
        # Only texts need no field.
        check_type("text_field", text_field, str)
        return True, records
    items = iter(records)
    first = list(islice(items, 1))
    return text_field is not None and isinstance((first or [""])[0], (str, PathLike)), chain(first, items)


def read_files(
    paths: Paths,
    tokenizer: LosslessTokenizer,
    options: ReadingOptions,
    *,
    cache_dir: str | PathLike[str] | None,
    workers: int | None,
) -> StoredStream:
    """Reads and segments text files, or takes them from the cache, if the tokenizer has a fingerprint.

    Each file is read once for its checksum, its encoding and all that is wrong with it, and once more for its text
    unless the cache has that. Errors are those of `TokenStream.from_files`.
    """
    check_type("cache_dir", cache_dir, str, PathLike, type(None))
    check_integer("workers", workers, minimum=1, maximum=_MOST_WORKERS, optional=True)
    files = find_files(paths, endings=options.endings)
    # The block ends between two chunks of text and leaves nothing half done.
    with catch_interruption():
        surveys = survey_files(files, encoding=options.encoding, clean=options.clean, text_field=options.text_field)
        report_findings(surveys, options)
        if workers is None:
            is_large = sum(survey.num_bytes for survey in surveys) > _PARALLEL_BYTES
            workers = min(available_cores(), _MAX_WORKERS) if is_large and tokenizer.name == "jieba" else 1
        stored = None
        if tokenizer.fingerprint is not None:
            key = cache_key(surveys, tokenizer.fingerprint, options)
            stored = cached_stream(
                key, read_documents(surveys, options), tokenizer, cache_dir=cache_dir, workers=workers
            )
        return stored or _segment(read_documents(surveys, options), tokenizer, workers)


def read_texts(
    texts: Iterable[str], tokenizer: LosslessTokenizer, normalize: str, *, document_ends: bool = False
) -> StoredStream:
    """Segments texts in memory, each a document; raises DataError if there is none, or one is not text."""
    documents = []
    for number, text in enumerate(check_list("texts", texts, "a list of strings, each a document")):
        name = f"texts[{number}]"
        normalized = normalize_text(normalize_line_ends(check_text(name, text)), normalize)
        documents.append(Document(name, (normalized,) if normalized else (), document_ends))
    return _segment(documents, tokenizer, 1)


def read_iterable(
    records: Iterable[object], tokenizer: LosslessTokenizer, options: ReadingOptions, *, workers: int | None
) -> StoredStream:
    """Segments records while they are read, once, one after another; see `documents_of_records`."""
    check_integer("workers", workers, minimum=1, maximum=_MOST_WORKERS, optional=True)
    with catch_interruption():
        return _segment(documents_of_records(records, options), tokenizer, workers or 1)


def _segment(documents: Iterable[Document], tokenizer: LosslessTokenizer, workers: int) -> StoredStream:
    """Segments documents into memory, or into a temporary file where they are long."""
    with ScratchNumbers() as numbers:
        lexicon, spans = number_tokens(documents, tokenizer, workers=workers, write=numbers.extend)
        return numbers.tensor(), lexicon, spans


def estimate_reading(
    files: Sequence[TextFile], tokenizer: LosslessTokenizer, *, encoding: str = "auto", workers: int | None = None
) -> float | None:
    """Estimates the seconds to read and segment files that are not cached; None for one that cannot be read."""
    try:
        sizes = [file.path.stat().st_size for file in files]
        largest = files[sizes.index(max(sizes))]
        with largest.open() as stream:
            start = stream.read(_PROBE_BYTES)
        text = decode(start, encoding=encoding, name=str(largest)).text
    except (OSError, ZhLstmLmError):
        # The survey reports all such files together.
        return None
    # The first call loads the dictionary.
    tokenizer.tokenize(text[:100])
    began = time.perf_counter()
    tokenizer.tokenize(text)
    seconds = (time.perf_counter() - began) * sum(sizes) / max(len(start), 1)
    if workers is None:
        workers = min(available_cores(), _MAX_WORKERS) if sum(sizes) > _PARALLEL_BYTES else 1
    return seconds / workers
