"""Documents: the texts of surveyed files, cleaned and normalised block by block."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from zh_lstm_lm._config import check_text
from zh_lstm_lm.errors import DataError
from zh_lstm_lm.runtime.control_characters import get_logger
from zh_lstm_lm.text.cleaning import CLEANING_VERSION, clean_text
from zh_lstm_lm.text.content.records import PARQUET, RECORD_ENDINGS, field_of, read_parquet, read_records
from zh_lstm_lm.text.decoding import normalize_line_ends
from zh_lstm_lm.text.normalization import normalization_fingerprint, normalize_text
from zh_lstm_lm.text.survey import FileSurvey, decoded_blocks, find_boilerplate, find_duplicates

__all__ = ["Document", "ReadingOptions", "documents_of_records", "read_documents", "report_findings"]

logger: logging.Logger = get_logger(__name__)

_WARNED_DUPLICATE_PROPORTION = 0.5
# Of one kind.
_MAX_WARNINGS = 20


@dataclass(frozen=True)
class ReadingOptions:
    """Options of reading; see `TokenStream.from_files`. A `text_field` of None reads running text."""

    encoding: str = "auto"
    clean: str = "novel"
    normalize: str = "none"
    text_field: str | None = None
    document_ends: bool = False

    @property
    def endings(self) -> tuple[str, ...]:
        """Endings of the files that are read in a folder."""
        return (".txt",) if self.text_field is None else RECORD_ENDINGS

    def fingerprint(self) -> list[str | int | None]:
        """Returns everything here that can change a character."""
        normalization = normalization_fingerprint(self.normalize)
        ends = ["document_ends"] * self.document_ends
        return [self.encoding, self.clean, CLEANING_VERSION, normalization, self.text_field, *ends]


@dataclass(frozen=True)
class Document:
    """One text, such as a novel, in pieces of whole lines; only files of many megabytes come in more than one."""

    name: str
    blocks: Iterable[str]
    has_end: bool = False

    def paragraphs(self) -> Iterator[str]:
        """Yields the lines without their ends; a newline at the very end of a block ends its last line.

        An empty one follows if `has_end` is True, unless there is no text.
        """
        has_text = False
        for block in self.blocks:
            lines = block.split("\n")
            yield from lines[:-1] if not lines[-1] else lines
            has_text |= bool(block)
        if self.has_end and has_text:
            yield ""


def report_findings(surveys: Sequence[FileSurvey], options: ReadingOptions) -> None:
    """Warns of faults, of files that are skipped or read as they are, and of duplicates; refuses files without text."""
    _warn(
        [
            f"{survey.file}: {len(survey.faults)} places are not valid {survey.encoding} and stand as U+FFFD, the first at "
            f"byte {survey.faults[0].offset}, line {survey.faults[0].line}"
            for survey in surveys
            if survey.faults
        ]
    )
    _warn([f"{survey.file}: skipped ({survey.skipped})" for survey in surveys if survey.skipped])
    as_they_are = [survey for survey in surveys if survey.content and not survey.skipped]
    if options.text_field is None:
        _warn([f"{survey.file}: holds {survey.content}, and is read as it is" for survey in as_they_are])
    readable = [survey for survey in surveys if not survey.skipped]
    if not readable:
        reasons = "; ".join(f"{survey.file} ({survey.skipped})" for survey in surveys[:3])
        raise DataError(f"there is no text to learn from in {reasons}")
    _warn(
        [
            f"{survey.file}: {100 * proportion:.0f} % of its long paragraphs also stand in {other.file}; they count twice, and "
            "held-out parts are not independent of the training part; leave one of the two out"
            for survey, duplicates in zip(readable, find_duplicates(readable), strict=True)
            for other, proportion in sorted(duplicates, key=lambda found: -found[1])[:1]
            if proportion >= _WARNED_DUPLICATE_PROPORTION
        ]
    )


def _warn(messages: Sequence[str]) -> None:
    """Warns of what was found in files; of many files with the same finding, the first ones are named."""
    shown = messages if len(messages) <= _MAX_WARNINGS else messages[: _MAX_WARNINGS - 1]
    for message in shown:
        logger.warning("%s", message)
    if len(shown) < len(messages):
        logger.warning(
            "%d more files like that; zh-lstm-lm inspect shows what is found in each", len(messages) - len(shown)
        )


def read_documents(surveys: Sequence[FileSurvey], options: ReadingOptions) -> Iterator[Document]:
    """Yields the documents of files in order; no more than a block of one is held at a time."""
    repeated = find_boilerplate(surveys)

    def finish(text: str) -> str:
        return normalize_text(clean_text(text, options.clean, repeated=repeated), options.normalize)

    for survey in surveys:
        if survey.skipped:
            continue
        blocks = (decoded.text for decoded in decoded_blocks(survey.file, survey.encoding))
        if options.text_field is None:
            yield Document(survey.file.name, map(finish, blocks), options.document_ends)
            continue
        if survey.content == PARQUET:
            texts: Iterable[str] = map(
                normalize_line_ends, read_parquet(survey.file.path, options.text_field, str(survey.file))
            )
        else:
            texts = read_records(blocks, options.text_field, str(survey.file))
        yield from _documents_of(texts, survey.file.name, options)


def documents_of_records(records: Iterable[Any], options: ReadingOptions) -> Iterator[Document]:
    """Yields a document for each of some records, which are read one after another; those of no text are left out.

    A record is a mapping with the text field, or the text itself where the field is None; others raise DataError.
    """
    field = options.text_field
    names = ((f"record {number}", record) for number, record in enumerate(records, 1))
    texts = (check_text(name, record) if field is None else field_of(record, field, name) for name, record in names)
    yield from _documents_of(map(normalize_line_ends, texts), "records", options)


def _documents_of(texts: Iterable[str], name: str, options: ReadingOptions) -> Iterator[Document]:
    for number, text in enumerate(texts, 1):
        # Boilerplate is not looked for in records.
        cleaned = clean_text(text, options.clean, repeated=frozenset())
        if finished := normalize_text(cleaned, options.normalize):
            yield Document(f"{name}#{number}", (finished,), options.document_ends)
