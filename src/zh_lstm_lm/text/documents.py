"""From text files to documents: each file is read once to know all that is wrong, then block by block for its text."""

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.runtime.control_characters import get_logger
from zh_lstm_lm.runtime.interruption import check_interruption
from zh_lstm_lm.text.cleaning import CLEANING_VERSION, clean_text, edge_lines, find_repeated_lines
from zh_lstm_lm.text.decoding import DecodedText, DecodingFault, check_encoding, decode, normalize_line_ends
from zh_lstm_lm.text.files import TextFile, tell_broken
from zh_lstm_lm.text.normalization import normalization_fingerprint, normalize_text
from zh_lstm_lm.text.patterns import lazy_pattern

__all__ = [
    "Document",
    "FileSurvey",
    "ReadingOptions",
    "decoded_blocks",
    "read_documents",
    "survey_file",
    "survey_files",
]

logger = get_logger(__name__)

_BLOCK_BYTES = 1 << 24
_NOT_NOVELS = lazy_pattern(r"(readme|license|licence|copying|changelog|inf|index)(\.\w+)*", re.IGNORECASE)
_SENTENCE_END = lazy_pattern("[。！？!?…”」』]")
_LIST_SEPARATOR = lazy_pattern("[,，、;；\t]")
_LONGEST_LIST = 2_000  # characters of a list of names beside novels; a text without full stops is longer
_NOTHING = (  # every space that Unicode knows, a byte order mark, NUL, and the end of a file in MS-DOS
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff\0\x1a"
)


@dataclass(frozen=True)
class ReadingOptions:
    """How files become text.

    Attributes:
        encoding: ``"auto"``, or the encoding of all files.
        clean: The cleaning preset.
        normalize: The normalisation, as in ``"nfc+width"``.
    """

    encoding: str = "auto"
    clean: str = "novel"
    normalize: str = "none"

    def fingerprint(self) -> list[str | int]:
        """Everything here that can change a character."""
        return [self.encoding, self.clean, CLEANING_VERSION, normalization_fingerprint(self.normalize)]


@dataclass(frozen=True)
class Document:
    """One text, such as a novel.

    Attributes:
        name: What to call it.
        blocks: Its text in pieces of whole lines; only the files of many megabytes come in more than one.
    """

    name: str
    blocks: Iterable[str]

    def paragraphs(self) -> Iterator[str]:
        """The lines, without their ends; a newline at the very end of a block ends its last line."""
        for block in self.blocks:
            lines = block.split("\n")
            yield from lines[:-1] if not lines[-1] else lines


@dataclass(frozen=True)
class FileSurvey:
    """What is known of a file before its text is used.

    Attributes:
        file: The file.
        encoding: Its encoding, by Python's name.
        confidence: How sure that is, from 0 to 1.
        num_characters: Characters before cleaning, line ends counted as one.
        faults: What could not be decoded.
        edges: Its first and last lines, by which boilerplate is told that recurs across files.
        skipped: Why it is not read; None if it is.
    """

    file: TextFile
    encoding: str
    confidence: float
    num_characters: int
    faults: tuple[DecodingFault, ...]
    edges: tuple[str, ...]
    skipped: str | None


def decoded_blocks(file: TextFile, encoding: str) -> Iterator[DecodedText]:
    r"""Decodes a file, line ends as ``\n``, in blocks of whole lines of about 16 MB.

    Args:
        file: The file.
        encoding: ``"auto"``, or the name of an encoding.

    Raises:
        DataError: It cannot be read or decoded.
    """
    offset, line, rest = 0, 1, b""
    with file.open() as stream:
        while True:
            try:
                read = stream.read(_BLOCK_BYTES)
            except OSError as error:
                raise file.unreadable(error) from error
            data = rest + read
            end = _last_line_end(data, encoding, str(file)) if read else len(data)
            if end or not read:
                decoded = decode(data[:end], encoding=encoding, name=str(file), offset=offset, line=line)
                encoding, text = decoded.encoding, normalize_line_ends(decoded.text)
                yield replace(decoded, text=text)
                offset, line = offset + end, line + text.count("\n")
            rest = data[end:]
            if not read:
                return


def _last_line_end(data: bytes, encoding: str, name: str) -> int:
    """One behind the last newline of a block; 0 to read on, which a file of one block always does."""
    if len(data) < _BLOCK_BYTES:
        return 0
    if encoding == "auto":
        encoding = decode(data[: _BLOCK_BYTES // 16 * 16], name=name).encoding
    newline = "\n".encode(encoding if codecs.lookup(encoding).name not in ("utf-16", "utf-32") else f"{encoding}-le")
    end = len(data)
    while (end := data.rfind(newline, 0, end)) >= 0:
        if end % len(newline) == 0:
            return end + len(newline)
        end += len(newline) - 1
    return 0


def survey_file(file: TextFile, *, encoding: str) -> FileSurvey:
    """Reads a file through and tells what it is.

    Args:
        file: The file.
        encoding: ``"auto"``, or the name of an encoding.

    Raises:
        DataError: It cannot be read or decoded.
    """
    characters, blocks, text = 0, 0, ""
    faults: list[DecodingFault] = []
    edges: list[str] = []
    for decoded in decoded_blocks(file, encoding):
        blocks += 1
        text = decoded.text
        characters += len(text)
        faults += decoded.faults
        edges += edge_lines(text)
    skipped = None
    if blocks == 1 and not text.strip(_NOTHING):
        skipped = "no text in it"
    elif blocks == 1 and not file.chosen and _is_stray(file.path.name, text.strip(_NOTHING)):
        skipped = "not a novel but a note beside them; name it itself to read it"
    return FileSurvey(file, decoded.encoding, decoded.confidence, characters, tuple(faults), tuple(edges), skipped)


def _is_stray(name: str, line: str) -> bool:
    """Whether a file is one like the ``inf.txt`` beside a set of novels: one line of names, or a README."""
    if _NOT_NOVELS.fullmatch(name):
        return True
    names = _LIST_SEPARATOR.split(line)
    return (
        "\n" not in line
        and len(line) <= _LONGEST_LIST
        and not _SENTENCE_END.search(line)
        and len(names) > 2
        and all(len(name) <= 20 for name in names)
    )


def survey_files(files: Sequence[TextFile], *, encoding: str) -> list[FileSurvey]:
    """Surveys every file, so that all broken ones are told of together before any long work starts.

    Args:
        files: The files.
        encoding: ``"auto"``, or the name of an encoding.

    Raises:
        DataError: Files that cannot be read or decoded, all of them named.
    """
    check_encoding(encoding)
    surveys, broken = [], []
    for file in files:
        check_interruption()
        try:
            surveys.append(survey_file(file, encoding=encoding))
        except DataError as error:
            broken.append(str(error))
    tell_broken(broken)
    return surveys


def read_documents(files: Sequence[TextFile], options: ReadingOptions) -> Iterator[Document]:
    """Surveys every file, then yields the documents in order; no more than a block of one is held at a time.

    Files without text, and those that only lie among the novels (a list of their names, a README) without having been
    named themselves, are left out with a warning.

    Args:
        files: The files.
        options: How to read them.

    Raises:
        DataError: Files that cannot be read or decoded, all of them named; or there is no text in any.
    """
    surveys = survey_files(files, encoding=options.encoding)
    for survey in surveys:
        if survey.faults:
            first = survey.faults[0]
            logger.warning(
                "%s: %d places are not valid %s and stand as U+FFFD, the first at byte %d, line %d",
                survey.file, len(survey.faults), survey.encoding, first.offset, first.line,
            )  # fmt: skip
        if survey.skipped:
            logger.warning("%s: skipped (%s)", survey.file, survey.skipped)
    readable = [survey for survey in surveys if not survey.skipped]
    if not readable:
        raise DataError(f"there is no text to learn from in {', '.join(str(file) for file in files[:3])}")
    repeated = find_repeated_lines([survey.edges for survey in surveys])
    return (Document(survey.file.name, _clean_blocks(survey, options, repeated)) for survey in readable)


def _clean_blocks(survey: FileSurvey, options: ReadingOptions, repeated: frozenset[str]) -> Iterator[str]:
    for decoded in decoded_blocks(survey.file, survey.encoding):
        text = clean_text(decoded.text, options.clean, repeated=repeated)
        yield normalize_text(text, options.normalize)
