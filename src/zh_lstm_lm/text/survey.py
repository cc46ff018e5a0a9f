"""Survey of files before their text is used: checksum, encoding, faults, content, in one pass over each."""

import codecs
import contextlib
import hashlib
import logging
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.runtime.control_characters import get_logger
from zh_lstm_lm.runtime.interruption import check_interruption
from zh_lstm_lm.text.content.kinds import identify_content
from zh_lstm_lm.text.content.records import PARQUET, PARQUET_MAGIC, RECORD_FORMATS, read_parquet
from zh_lstm_lm.text.decoding import (
    MIN_COMMON,
    DecodedText,
    DecodingFault,
    check_encoding,
    common_proportion,
    decode,
    normalize_line_ends,
)
from zh_lstm_lm.text.files import TextFile, raise_broken
from zh_lstm_lm.text.language import count_letters
from zh_lstm_lm.text.site_lines import count_site_lines, edge_lines, find_repeated_lines

__all__ = [
    "FileSurvey", "ParagraphSample", "decoded_blocks", "find_boilerplate", "find_duplicates", "survey_file",
    "survey_files",
]  # fmt: skip

logger: logging.Logger = get_logger(__name__)

_BLOCK_BYTES, _HEAD_BYTES = 1 << 24, 1 << 14
_NOT_NOVELS = re.compile(r"(readme|license|licence|copying|changelog|inf|index)(\.\w+)*", re.IGNORECASE)
_NOTES = re.compile(
    "(?:(?:欢迎|歡迎).{0,8}|.{0,6}(?:来源|來源|说明|說明|须知|須知|必读|必讀|必看|声明|聲明|书目|書目|书单|書單|目录|目錄|简介|簡介|公告|更新日志|网址|網址|"
    "地址|版权|版權|版权信息|勘误|勘誤|勘误表|联系方式|聯繫方式|关于我们|關於我們)|更多(?:小说|小說|好书|好書|电子书)|"
    "(?i:about|authors|notice|contributing|sources?|urls?|metadata|requirements))"
    r"(?:[\W\d_]*|[（(【].{0,6}[）)】])\.\w+"
)
_MAX_NOTE_CHARACTERS = 3_000
_SENTENCE_END = re.compile("[。！？!?…”」』]")
_LIST_SEPARATOR = re.compile("[,，、;；\t]")
# A text without full stops can be longer than a list of names beside novels.
_MAX_LIST_CHARACTERS = 2_000
_LIST = "one line of names beside novels; name it itself to read it"
# Where more files are such lists, they are the corpus.
_MAX_LISTS, _MAX_LIST_PROPORTION = 2, 0.1
# Every space of Unicode, the byte order mark, NUL, and the end of a file in MS-DOS.
_NOTHING = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff\0\x1a"
)
# Shorter paragraphs stand in many books by chance.
_MIN_PARAGRAPH_CHARACTERS = 20
_MAX_SAMPLED_PARAGRAPHS = 4_096
_DUPLICATE_PROPORTION = 0.2


@dataclass(frozen=True)
class ParagraphSample:
    """The checksums of a file's long paragraphs, or of those below a limit where there are many."""

    checksums: frozenset[int] = frozenset()
    limit: int = 1 << 32

    def with_paragraphs(self, text: str) -> "ParagraphSample":
        """Returns the sample with the long paragraphs of a text added."""
        stripped = (line.strip(_NOTHING) for line in text.split("\n") if len(line) >= _MIN_PARAGRAPH_CHARACTERS)
        checksums = self.checksums.union(
            zlib.crc32(line.encode("utf-8", "surrogatepass"))
            for line in stripped
            if len(line) >= _MIN_PARAGRAPH_CHARACTERS
        )
        limit = self.limit
        while sum(checksum < limit for checksum in checksums) > _MAX_SAMPLED_PARAGRAPHS:
            limit //= 2
        return ParagraphSample(frozenset(checksum for checksum in checksums if checksum < limit), limit)


@dataclass(frozen=True)
class FileSurvey:
    """The findings of a pass over a file.

    Attributes:
        digest: The SHA-256 of its bytes.
        confidence: Probability of the encoding, from 0 to 1.
        num_characters: Characters before cleaning, line ends counted as one.
        num_letters: Letters, by ``"Han"`` and ``"other"``.
        faults: The bytes that could not be decoded.
        content: The kind of its content if that is not running text, such as ``"JSON"``; else None.
        edges: Its first and last lines, by which boilerplate is found that recurs in several files.
        site_lines: Its lines that look like a download site's, with their counts.
        paragraphs: A sample of its paragraphs, by which duplicates are found.
        skipped: The reason why it is not read; None if it is.
    """

    file: TextFile
    digest: str
    num_bytes: int
    encoding: str
    confidence: float
    num_characters: int
    num_letters: Mapping[str, int]
    faults: tuple[DecodingFault, ...]
    content: str | None
    edges: tuple[str, ...]
    site_lines: Mapping[str, int]
    paragraphs: ParagraphSample
    skipped: str | None

    @property
    def han_proportion(self) -> float:
        """Proportion of the letters that are Han characters; 0 without letters."""
        return self.num_letters["Han"] / max(1, sum(self.num_letters.values()))


class _CountedHash:
    """A SHA-256 that counts its bytes."""

    def __init__(self) -> None:
        self.sha256: hashlib._Hash = hashlib.sha256()
        self.num_bytes: int = 0

    def update(self, data: bytes) -> None:
        self.sha256.update(data)
        self.num_bytes += len(data)


def decoded_blocks(file: TextFile, encoding: str, *, counted: _CountedHash | None = None) -> Iterator[DecodedText]:
    r"""Decodes a file, line ends as ``\n``, in blocks of whole lines of about 16 MB."""
    offset, line, rest = 0, 1, b""
    with file.open() as stream:
        while True:
            try:
                read = stream.read(_BLOCK_BYTES)
            except OSError as error:
                raise file.unreadable(error) from error
            if counted:
                counted.update(read)
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
    """Returns the offset after the last newline of a block; 0 to read on, as for every file of one block."""
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


def survey_file(file: TextFile, *, encoding: str, clean: str = "novel", text_field: str | None = None) -> FileSurvey:
    """Reads a file through."""
    if text_field is not None and (survey := _survey_parquet(file, text_field)):
        return survey
    counted = _CountedHash()
    characters, content, text = 0, None, ""
    faults: list[DecodingFault] = []
    edges: list[str] = []
    letters: Counter[str] = Counter()
    site_lines: Counter[str] = Counter()
    paragraphs = ParagraphSample()
    for number, decoded in enumerate(decoded_blocks(file, encoding, counted=counted)):
        text = decoded.text
        characters += len(text)
        faults += decoded.faults
        letters += count_letters(text)
        if number == 0:
            content = identify_content(text)
        if content is None and text_field is None:
            edges += edge_lines(text)
            site_lines += count_site_lines(text)
            paragraphs = paragraphs.with_paragraphs(text)
    if encoding != "auto":
        _check_named(file, encoding)
    skipped = None
    if number == 0 and not text.strip(_NOTHING):
        skipped = "no text in it"
    elif number == 0 and text_field is None and not file.chosen and _is_note(file.path.name, text.strip(_NOTHING)):
        skipped = "not a novel but a note beside them; name it itself to read it"
    elif content and text_field is None and clean != "none":
        instead = (
            "read one field of each record with TokenStream.from_records(…, text_field='…')"
            if content in RECORD_FORMATS
            else "convert it to plain text first"
        )
        skipped = f"holds {content}, not running text; {instead}, or read it as it is with clean='none'"
    elif number == 0 and text_field is None and not file.chosen and _is_list(text.strip(_NOTHING)):
        skipped = _LIST
    return FileSurvey(
        file,
        counted.sha256.hexdigest(),
        counted.num_bytes,
        decoded.encoding,
        decoded.confidence,
        characters,
        letters,
        tuple(faults),
        content,
        tuple(edges),
        site_lines,
        paragraphs,
        skipped,
    )


def _check_named(file: TextFile, encoding: str) -> None:
    """Warns of an encoding that was named and gives hardly any common characters, where another one gives Chinese."""
    with file.open() as stream, contextlib.suppress(DataError, OSError):
        head = stream.read(_HEAD_BYTES)
        named, found = decode(head, encoding=encoding), decode(head)
        if common_proportion(named.text) < MIN_COMMON < common_proportion(found.text):
            logger.warning(
                "%s: read as %s, as it was named, but its bytes seem to be %s", file, encoding, found.encoding
            )


def _survey_parquet(file: TextFile, text_field: str) -> FileSurvey | None:
    """Returns the survey of a Parquet file, whose first row is read; None for another file."""
    counted = _CountedHash()
    with file.open() as stream:
        try:
            while read := stream.read(_BLOCK_BYTES):
                if not counted.num_bytes and not read.startswith(PARQUET_MAGIC):
                    return None
                counted.update(read)
        except OSError as error:
            raise file.unreadable(error) from error
    if not counted.num_bytes:
        return None
    records = read_parquet(file.path, text_field, str(file))
    next(records, None)
    records.close()
    digest, letters = counted.sha256.hexdigest(), {"Han": 0, "other": 0}
    return FileSurvey(
        file, digest, counted.num_bytes, "utf-8", 1.0, 0, letters, (), PARQUET, (), {}, ParagraphSample(), None
    )


def _is_note(name: str, text: str) -> bool:
    """Decides by its name whether a file is a note beside novels, such as a README or a statement of sources."""
    is_short = len(text) <= _MAX_NOTE_CHARACTERS
    return _NOT_NOVELS.fullmatch(name) is not None or (is_short and _NOTES.fullmatch(name) is not None)


def _is_list(text: str) -> bool:
    """Decides whether a text is one line of names."""
    names = _LIST_SEPARATOR.split(text) if len(text) <= _MAX_LIST_CHARACTERS and "\n" not in text else []
    return len(names) > 2 and not _SENTENCE_END.search(text) and all(len(name) <= 20 for name in names)


def survey_files(
    files: Sequence[TextFile], *, encoding: str = "auto", clean: str = "novel", text_field: str | None = None
) -> list[FileSurvey]:
    """Surveys every file, so that all broken ones are named together before any long work starts.

    With ``clean="none"`` files are read whatever their content is; otherwise a named one must hold running text.
    """
    check_encoding(encoding)
    surveys, broken = [], []
    for file in files:
        check_interruption()
        try:
            survey = survey_file(file, encoding=encoding, clean=clean, text_field=text_field)
        except DataError as error:
            broken.append(str(error))
            continue
        if survey.content and survey.skipped and file.chosen:
            broken.append(f"{file}: {survey.skipped}")
        surveys.append(survey)
    raise_broken(broken)
    if sum(survey.skipped == _LIST for survey in surveys) > max(_MAX_LISTS, _MAX_LIST_PROPORTION * len(surveys)):
        # These are what the folder consists of: messages, each of a few clauses without a full stop.
        surveys = [replace(survey, skipped=None) if survey.skipped == _LIST else survey for survey in surveys]
    return surveys


def find_boilerplate(surveys: Sequence[FileSurvey]) -> frozenset[str]:
    """Returns the lines that are boilerplate because they recur in the files or between them."""
    site_lines: Counter[str] = Counter()
    for survey in surveys:
        site_lines.update(survey.site_lines)
    return find_repeated_lines([survey.edges for survey in surveys], site_lines)


def find_duplicates(surveys: Sequence[FileSurvey]) -> list[list[tuple[FileSurvey, float]]]:
    """Returns for each file the others that hold its long paragraphs as well, with the proportion of them."""
    holders: dict[int, list[int]] = {}
    for number, survey in enumerate(surveys):
        for checksum in survey.paragraphs.checksums:
            holders.setdefault(checksum, []).append(number)
    shared: Counter[tuple[int, int]] = Counter()
    for numbers in holders.values():
        shared.update((one, other) for one in numbers for other in numbers if one != other)
    found: list[list[tuple[FileSurvey, float]]] = [[] for _ in surveys]
    for (one, other), count in sorted(shared.items()):
        limit = min(surveys[one].paragraphs.limit, surveys[other].paragraphs.limit)
        size = sum(checksum < limit for checksum in surveys[one].paragraphs.checksums)
        if count >= _DUPLICATE_PROPORTION * size:
            found[one].append((surveys[other], count / size))
    return found
