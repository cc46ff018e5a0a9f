"""Records of JSON, JSON Lines, tables and Parquet, read by a field."""

import csv
import io
import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from zh_lstm_lm._config import check_text
from zh_lstm_lm.errors import DataError
from zh_lstm_lm.runtime.optional import require
from zh_lstm_lm.text.content.kinds import identify_content, table_delimiter

__all__ = [
    "LINE_FIELD",
    "PARQUET",
    "PARQUET_MAGIC",
    "RECORD_ENDINGS",
    "RECORD_FORMATS",
    "field_of",
    "read_parquet",
    "read_records",
]

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

# The largest that the csv module takes everywhere.
_MAX_CELL = (1 << 31) - 1


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
    delimiter = table_delimiter(first) or ("\t" if "\t" in first.partition("\n")[0] else ",")
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
