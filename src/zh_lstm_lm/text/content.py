"""Content that is not running text: recognised after decoding, and records read by a field."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from statistics import mean
from typing import Any

from zh_lstm_lm.errors import DataError

__all__ = ["RECORD_ENDINGS", "RECORD_FORMATS", "identify_content", "read_records"]

RECORD_FORMATS = ("JSON", "JSON Lines", "a table")
"""The contents of which one field can be read."""

RECORD_ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv")

_HEAD_CHARACTERS = 100_000
_HEAD_ROWS = 50
_MIN_ROWS = 5
_JSON = re.compile(r"""\s*(?:[\[{]\s*)+"(?:[^"\\\n]|\\.)*"\s*[:,\]}]""")
_HTML_START = re.compile(r"\s*<(?:!doctype\s+html|html|\?xml|!--)", re.IGNORECASE)
_HTML_TAG = re.compile(
    r"</?(?:p|br|div|span|a|body|head|table|tr|td|img|b|i|font|center|h[1-6]|title|meta|link|script|li|ul|ol|em|strong|"
    r"section|article)\b[^<>\n]{0,200}>",
    re.IGNORECASE,
)
_MIN_TAGS = 5
_MAX_CHARACTERS_PER_TAG = 500
_TIMED_LINES = {
    "SRT or WebVTT subtitles": re.compile(r"(?:\d+:)?\d{1,2}:\d{2}[,.]\d{3}\s*-->\s*(?:\d+:)?\d{1,2}:\d{2}[,.]\d{3}"),
    "ASS subtitles": re.compile(r"(?:Dialogue|Comment):\s*\d+,\d+:\d{2}:\d{2}|\[Script Info\]|Style:\s*\w+,"),
    "LRC lyrics": re.compile(r"\[\d{1,3}:\d{2}(?:[.:]\d{1,3})?\]"),
}
_MIN_TIMED_LINES = 3
_MIN_TIMED_PROPORTION = 0.2
_DELIMITERS = "\t,;|"
_IDENTIFIER = re.compile(r"[A-Za-z_][\w .-]{0,40}")
_NUMBER = re.compile(r"[-+]?\d[\d.,:/-]*%?")
_SHORT_CELL, _LONG_CELL = 12, 20


def identify_content(text: str) -> str | None:
    """Identifies what a file holds from its beginning; None for running text.

    Args:
        text: The decoded text, or its first block.
    """
    head = text[:_HEAD_CHARACTERS].lstrip("\ufeff\0")
    if _JSON.match(head):
        lines = [line for line in head.split("\n") if line.strip()]
        return "JSON Lines" if len(lines) > 1 and all(map(_is_json, lines[:2])) else "JSON"
    tags = sum(1 for _ in _HTML_TAG.finditer(head))
    if _HTML_START.match(head) or tags >= max(_MIN_TAGS, len(head) / _MAX_CHARACTERS_PER_TAG):
        return "HTML or XML"
    lines = [line.strip() for line in head.split("\n") if line.strip()]
    for name, pattern in _TIMED_LINES.items():
        timed = sum(1 for line in lines if pattern.match(line))
        if timed >= max(_MIN_TIMED_LINES, _MIN_TIMED_PROPORTION * len(lines)):
            return name
    return "a table" if _delimiter(head) else None


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), (dict, list))
    except ValueError:
        return False


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
    return None


def _is_table(rows: Sequence[Sequence[str]], delimiter: str) -> bool:
    """Decides whether rows of equal length are those of a table; verse with half-width commas has such rows as well."""
    header, body = rows[0], rows[1:]
    if all(_IDENTIFIER.fullmatch(cell.strip()) for cell in header):
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
    return any(is_short) and any(mean(map(len, column)) > _LONG_CELL for column in columns)


def read_records(blocks: Iterable[str], field: str, name: str) -> Iterator[str]:
    """Yields the text of one field of each record.

    Args:
        blocks: The decoded text of a file of JSON, JSON Lines, or comma- or tab-separated values with a header.
        field: The field: a string, or a list of strings, which become lines.
        name: The file's name, for messages.

    Raises:
        DataError: The file does not hold records, or a record lacks the field.
    """
    blocks = iter(blocks)
    first = next(blocks, "")
    kind = identify_content(first)
    lines = (line for block in _chain(first, blocks) for line in io.StringIO(block, newline="\n"))
    try:
        if kind == "JSON":
            records = iter(_records_of(json.loads("".join(_chain(first, blocks)))))
        elif kind == "JSON Lines":
            records = (json.loads(line) for line in lines if line.strip())
        else:
            delimiter = _delimiter(first) or ("\t" if "\t" in first.partition("\n")[0] else ",")
            records = csv.DictReader(lines, delimiter=delimiter)
        for number, record in enumerate(records, 1):
            yield _field_of(record, field, f"{name}, record {number}")
    except (ValueError, csv.Error, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{name}: holds no records that can be read ({error}); "
            "expected JSON, JSON Lines, or comma- or tab-separated values with a header"
        ) from error


def _chain(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest


def _records_of(value: Any) -> Sequence[Any]:
    """Returns the records of a JSON value: a list, or the only list in an object."""
    if isinstance(value, Mapping):
        lists = [item for item in value.values() if isinstance(item, list) and item and isinstance(item[0], Mapping)]
        return lists[0] if len(lists) == 1 else [value]
    return value if isinstance(value, list) else [value]


def _field_of(record: Any, field: str, name: str) -> str:
    if not isinstance(record, Mapping) or field not in record:
        known = ", ".join(map(repr, record)) if isinstance(record, Mapping) else "none"
        raise DataError(f"{name}: has no field {field!r}; its fields are {known}"[:500])
    value = record[field]
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    if not isinstance(value, str):
        raise DataError(f"{name}: the field {field!r} must be a string or a list of strings, got {value!r:.80}")
    return value
