"""Content that is not running text: recognised, and records read by a field."""

import csv
import io
import json
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from zh_lstm_lm._config import check_text
from zh_lstm_lm.errors import DataError
from zh_lstm_lm.runtime.optional import require

__all__ = [
    "LINE_FIELD", "PARQUET", "PARQUET_MAGIC", "RECORD_ENDINGS", "RECORD_FORMATS", "field_of", "identify_content",
    "read_parquet", "read_records",
]  # fmt: skip

PARQUET = "Parquet"
"""The content of a file of that format."""

RECORD_FORMATS = ("JSON", "JSON Lines", "a table")
"""The contents of which one field can be read."""

_LINES_ENDINGS = (".jsonl", ".ndjson")
RECORD_ENDINGS = (".json", *_LINES_ENDINGS, ".csv", ".tsv", ".parquet")

LINE_FIELD = "line"
"""The field of which each line of running text is the value."""

PARQUET_MAGIC = b"PAR1"
"""The first bytes of a Parquet file."""

# A record can be a whole book.
_PARQUET_ROWS = 64
_PARQUET_BUFFER_BYTES = 1 << 20

_HEAD_CHARACTERS = 100_000
_HEAD_ROWS = 50
_MIN_ROWS = 5
_JSON_START = re.compile(r"""\s*[\[{]""")
# A comment, or the name that a script gives the value.
_BEFORE_JSON = re.compile(r"\s*(?:(?:#|//).*\n\s*)*(?:(?:(?:var|let|const)\s+)?[\w.$]+\s*[=(]\s*)?(?=[\[{])", re.ASCII)
_PYTHON_OBJECT = re.compile(r"""\s*\[?\s*\{\s*'[^'\n]*'\s*:\s*[\['"{\dNTF-]""")
_JSON_OBJECT = re.compile(r"""\s*(?:[\[{]\s*)+"(?:[^"\\\n]|\\.)*"\s*:\s*["\[{\dtfn-]""")
_MARKUP_START = re.compile(
    r"""\s*<(?:!doctype\s|html\b|\?xml|!--|[a-z][\w:.-]*\s[^<>\n]{0,200}?=\s*["'])""", re.IGNORECASE
)
_CLOSING_TAG = re.compile(r"</([A-Za-z][\w:.-]*)\s*>", re.ASCII)
# These are often not closed.
_OPEN_TAGS = ("p", "br", "div", "span", "body", "tr", "td", "li", "img", "hr", "font", "meta", "link")
_MIN_TAGS = 5
# Proportion of lines with a tag, and characters for each tag in text of long lines; a novel can mention a few tags.
_MIN_TAGGED = 0.25
_MAX_CHARACTERS_PER_TAG = 150
_TIME = r"(?:\d+:)?\d{1,2}:\d{2}(?:[,.:]\d{1,3})?"
_BB_CODES = "b|i|u|s|url|img|color|size|font|quote|center|align|p|table|tr|td|attach|hide|code|list|email|backcolor"
# What is held, the least proportion of lines that show it, and how they begin.
_LINE_KINDS = (
    ("SRT or WebVTT subtitles", 0.08, re.compile(rf"WEBVTT\b|{_TIME}\s*(?:-+>|[→⇒])\s*{_TIME}|\d+:\d\d:\d\d\.\d+,\d+:\d\d:\d\d\.\d+")),
    ("a transcript with times", 0.3, re.compile(rf"{_TIME}$")),
    ("MicroDVD subtitles", 0.5, re.compile(r"\{\d+\}\{\d*\}")),
    ("ASS subtitles", 0.2, re.compile(r"(?:Dialogue|Comment):\s*\d+,\d+:\d{2}:\d{2}|\[Script Info\]|Style:\s*\w+,")),
    ("LRC lyrics", 0.2, re.compile(r"\[\d{1,3}:\d{2}(?:[.:]\d{1,3})?\]")),
    ("a log or a chat", 0.3, re.compile(
        r"[^，。]{0,40}?\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}日?[T\s,]\D{0,5}\d{1,2}:\d{2}|[A-Z][a-z]{2}\s+\d{1,2}\s\d{2}:\d{2}:\d{2}\s"
        r"|.{0,60}\[\d{1,2}/[A-Z][a-z]{2}/\d{4}:|\[?\d{1,2}:\d{2}:\d{2}\]?\s")),
    ("BBCode", 0.25, re.compile(rf".*?\[/?(?:{_BB_CODES})(?:=[^\[\]]*)?\]", re.IGNORECASE)),
    ("LaTeX", 0.15, re.compile(r"\\(?:documentclass|usepackage|begin|end|(?:sub)*section|chapter|item|par|label)\b")),
    ("a list of links", 0.5, re.compile(r"(?:[-*+]\s|\d+\.\s)?\s*!?\[[^\]]*\]\([^)\s]*\)")),
    ("settings", 0.4, re.compile(r"(?:export\s+)?[A-Za-z_][\w.-]*\s*=", re.ASCII)),
    ("a difference of files", 0.8, re.compile(r"diff --git|@@ |[-+]|index [0-9a-f]+\.\.")),
    ("source code", 0.3, re.compile(r".*(?:[;{]|\):)$|[})\]]+[,;]?$|(?:import|from|def|class|return|#include)\s")),
    ("quoted strings", 0.9, re.compile(r'"(?:[^"\\]|\\.|"")*"[,;]?$')),
    ("a word list", 0.8, re.compile(r"\S{1,12} +\d+(?: +[a-z]{1,4})?$")),
    ("tokens with labels", 0.8, re.compile(r"\S{1,12} +(?:O|[BIMESU]-\w+|[A-Z]{1,4})$")),
)  # fmt: skip
_MIN_LINES_OF_A_KIND = 5
# Subtitles of a few lines are plain as well.
_MIN_TIMED_LINES = 3
_DELIMITERS = "\t,;|"
_IDENTIFIER = re.compile(r"[A-Za-z_][\w .-]{0,40}", re.ASCII)
_NUMBER = re.compile(r"[-+]?\d[\d.,:/-]*%?")
_SHORT_CELL, _LONG_CELL = 12, 20
# The largest that the csv module takes everywhere.
_MAX_CELL = (1 << 31) - 1
_CLAUSE_END = re.compile("[。！？!?….]$")


def identify_content(text: str) -> str | None:
    """Identifies what a file holds from its beginning; None for running text."""
    head = text[:_HEAD_CHARACTERS].lstrip("\ufeff\0")
    head = _BEFORE_JSON.sub("", head, count=1)
    lines = [line for line in map(str.strip, head.split("\n")) if line]
    if _PYTHON_OBJECT.match(head):
        return "Python objects"
    if _JSON_START.match(head) and (_is_json(head) or _JSON_OBJECT.match(head) or all(map(_is_json, lines[:2]))):
        return "JSON Lines" if len(lines) > 1 and all(map(_is_json, lines[:2])) else "JSON"
    if _MARKUP_START.match(head) or _is_markup(head, lines):
        return "HTML or XML"
    for name, proportion, pattern in _LINE_KINDS:
        shown = sum(1 for line in lines if pattern.match(line))
        least = _MIN_TIMED_LINES if name.endswith(("subtitles", "lyrics")) else _MIN_LINES_OF_A_KIND
        if shown >= max(least, proportion * len(lines)):
            return name
    return "a table" if _delimiter(head) else None


def _is_json(text: str) -> bool:
    """Decides whether a text is a JSON list or object, or the beginning of a long one."""
    try:
        return isinstance(json.loads(text), (dict, list))
    except json.JSONDecodeError as error:
        return len(text) >= _HEAD_CHARACTERS - 1 and (
            error.pos >= len(text) - 6 or error.msg.startswith("Unterminated")
        )
    except (ValueError, RecursionError):
        return False


def _is_markup(head: str, lines: Sequence[str]) -> bool:
    """Decides whether a text is full of tags: of HTML, or with names that are closed somewhere."""
    if head.count("<") < _MIN_TAGS:
        return False
    names = "|".join(map(re.escape, {*_CLOSING_TAG.findall(head), *_OPEN_TAGS}))
    tag = re.compile(rf"</?(?:{names})(?:[\s/][^<>\n]{{0,200}})?>", re.IGNORECASE)
    tagged = sum(1 for line in lines if tag.search(line))
    tags = sum(1 for _ in tag.finditer(head))
    return tags >= _MIN_TAGS and (tagged >= _MIN_TAGGED * len(lines) or tags * _MAX_CHARACTERS_PER_TAG >= len(head))


def _delimiter(head: str) -> str | None:
    """Returns the character that separates the columns of a table; None for other text."""
    for delimiter in _DELIMITERS:
        if delimiter not in head[:2_000]:
            continue
        lines = (line for line in head.split("\n") if line.strip() and not line.startswith("#"))
        try:
            rows = list(islice(csv.reader(lines, delimiter=delimiter), _HEAD_ROWS))
        except csv.Error:
            continue
        # The last row can be one that the end of the block cuts.
        rows = rows[: max(_MIN_ROWS, len(rows) - 1)]
        if len(rows) >= 3 and len({len(row) for row in rows}) == 1 and len(rows[0]) > 1 and _is_table(rows, delimiter):
            return delimiter
        if len(rows) > _MIN_ROWS and len(rows[0]) > 1 and _is_header(rows[0]) and _is_numbered(rows):
            return delimiter
        if len(head) >= _HEAD_CHARACTERS and len(rows) > 1 and len(rows[0]) > 1 and _is_header(rows[0]):
            # A row can be longer than the head.
            return delimiter
    return None


def _is_numbered(rows: Sequence[Sequence[str]]) -> bool:
    """Decides whether the rows below a header begin with numbers; those of a careless writer are of unequal length."""
    return all(len(row) >= len(rows[0]) and _NUMBER.fullmatch(row[0].strip()) for row in rows[1:])


def _is_header(row: Sequence[str]) -> bool:
    return all(_IDENTIFIER.fullmatch(cell.strip()) for cell in row)


def _is_table(rows: Sequence[Sequence[str]], delimiter: str) -> bool:
    """Decides whether rows of equal length are those of a table; verse with half-width commas has such rows as well."""
    header, body = rows[0], rows[1:]
    if _is_header(header) and not all(map(_is_header, body)):
        return True
    if delimiter == "|" and all(row[0].strip() == row[-1].strip() == "" for row in rows):
        # A table of Markdown.
        return True
    if len(rows) < _MIN_ROWS:
        return False
    columns = list(zip(*body, strict=True))
    if delimiter == "\t":
        # Lines that are indented by a tab have nothing before it.
        return any(map(str.strip, columns[0]))
    if any(all(_NUMBER.fullmatch(cell.strip()) for cell in column) for column in columns):
        return True
    is_short = [all(len(cell) <= _SHORT_CELL for cell in column) for column in columns]
    if all(is_short):
        # The clauses of verse are equally long, those of prose end in a mark.
        lengths = {len(cell.strip()) for column in columns for cell in column}
        return (
            len(columns) > 2 and len(lengths) > 1 and not any(_CLAUSE_END.search(cell.strip()) for cell in columns[-1])
        )
    return any(is_short) and any(sum(map(len, column)) > _LONG_CELL * len(column) for column in columns)


def read_records(blocks: Iterable[str], field: str, name: str) -> Iterator[str]:
    """Yields the text of one field of each record of a file of JSON, JSON Lines, CSV or TSV with a header.

    The field is a string, or a list of strings, which become lines. A dot reaches into an object, as in
    ``"data.text"``. Of running text, each line is a record with the field ``"line"``.
    """
    blocks = iter(blocks)
    first = next(blocks, "")
    kind = identify_content(first)
    lines = (line for block in chain([first], blocks) for line in io.StringIO(block, newline="\n"))
    try:
        records: Iterator[Any]
        if kind in ("JSON", "JSON Lines"):
            records = _json_records(kind, lines, name)
        elif kind is None and field == LINE_FIELD:
            records = ({LINE_FIELD: line.removesuffix("\n")} for line in lines)
        else:
            records = _rows(first, lines)
        for number, record in enumerate(records, 1):
            yield field_of(record, field, f"{name}, record {number}")
    except DataError:
        raise
    except (ValueError, csv.Error, RecursionError) as error:
        raise DataError(
            f"{name}: holds no records that can be read ({error}); "
            "expected JSON, JSON Lines, or comma- or tab-separated values with a header"
        ) from error


def _json_records(kind: str, lines: Iterator[str], name: str) -> Iterator[Any]:
    if kind == "JSON":
        text = "".join(lines)
        try:
            yield from _records_of(json.loads(text))
            return
        except json.JSONDecodeError as error:
            # The first of several records can be longer than what is looked at, or broken.
            if error.msg != "Extra data" and not name.endswith(_LINES_ENDINGS):
                raise
        lines = io.StringIO(text, newline="\n")
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{name}, line {number}: is no JSON ({error.msg} at character {error.pos + 1}); correct the line, or "
                    "take it out"
                ) from error


def _rows(first: str, lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Yields the rows of a table; a cell can be a whole book."""
    delimiter = _delimiter(first) or ("\t" if "\t" in first.partition("\n")[0] else ",")
    rows = csv.DictReader(lines, delimiter=delimiter)
    while True:
        # The limit is one of the process.
        before = csv.field_size_limit(_MAX_CELL)
        try:
            row = next(rows, None)
        finally:
            csv.field_size_limit(before)
        if row is None:
            return
        yield row


def _records_of(value: Any) -> Sequence[Any]:
    """Returns the records of a JSON value: a list, or the only list of objects in an object."""
    if isinstance(value, Mapping):
        lists = [item for item in value.values() if isinstance(item, list) and item and isinstance(item[0], Mapping)]
        return lists[0] if len(lists) == 1 else [value]
    return value if isinstance(value, list) else [value]


def read_parquet(path: Path, field: str, name: str) -> Generator[str, None, None]:
    """Yields the text of one field of each row of a Parquet file, a few rows at a time; see `read_records`."""
    parquet = require("pyarrow.parquet", extra="parquet")
    try:
        with parquet.ParquetFile(path, buffer_size=_PARQUET_BUFFER_BYTES) as file:
            names = file.schema_arrow.names
            column = field if field in names else field.split(".", maxsplit=1)[0]
            if column not in names:
                raise DataError(f"{name}: has no field {field!r}; its fields are {', '.join(map(repr, names))}"[:500])
            batches = file.iter_batches(batch_size=_PARQUET_ROWS, columns=[column])
            for number, record in enumerate((row for batch in batches for row in batch.to_pylist()), 1):
                yield field_of(record, field, f"{name}, record {number}")
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be read as Parquet ({error}); get it again or restore a copy") from error


def field_of(record: Any, field: str, name: str) -> str:
    """Returns the text of one field of a record, which errors call by its name; see `read_records`."""
    value = record
    for part in [field] if isinstance(record, Mapping) and field in record else field.split("."):
        if not isinstance(value, Mapping) or part not in value:
            known = ", ".join(map(repr, value)) if isinstance(value, Mapping) else "none"
            raise DataError(f"{name}: has no field {field!r}; its fields are {known}"[:500])
        value = value[part]
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return check_text(name, "\n".join(value))
    if not isinstance(value, str):
        raise DataError(f"{name}: the field {field!r} must be a string or a list of strings, got {value!r:.80}")
    return check_text(name, value)
