"""The command ``pairs``."""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from zh_lstm_lm.cli.common import add_encoding, load_model, output_path, path, read_text, source_name, write_text
from zh_lstm_lm.errors import ConfigError, DataError

if TYPE_CHECKING:
    from zh_lstm_lm.evaluation.pairs import PairsResult

__all__ = ["add_pairs"]

# The names of the fields in files of BLiMP's form stand second.
_FIELDS = {"good": ("good", "sentence_good"), "bad": ("bad", "sentence_bad"), "group": ("group",)}


def add_pairs(pairs: argparse.ArgumentParser) -> None:
    """Adds the options of ``pairs``."""
    pairs.set_defaults(run=_pairs)
    add = pairs.add_argument
    add("model", type=path, help="folder of a saved model")
    add("file", type=path, help="JSON Lines, or a table with a header (TSV, CSV); - reads standard input")
    add_encoding(pairs)
    add = pairs.add_argument
    add("--good-field", metavar="NAME", help="field of the good sentence (default: good, or sentence_good)")
    add("--bad-field", metavar="NAME", help="field of the bad sentence (default: bad, or sentence_bad)")
    add("--group-field", metavar="NAME", help="field to group by (default: group if there is one, else no groups)")
    add("--output", type=output_path, metavar="FILE", help="the table as .tsv, or the result as .json (default: none)")
    add("--html", type=output_path, metavar="FILE", help="page of the result (default: none)")


def _pairs(parsed: argparse.Namespace) -> int:
    from pathlib import Path

    from zh_lstm_lm.evaluation.pairs import compare_pairs
    from zh_lstm_lm.report.document import html_page
    from zh_lstm_lm.report.pairs import pairs_sections
    from zh_lstm_lm.storage.strict_json import to_json
    from zh_lstm_lm.storage.user_files import check_file

    if parsed.output and Path(parsed.output).suffix not in (".tsv", ".json"):
        raise ConfigError(f"--output must end in .tsv or .json, got {parsed.output}")
    for file in (parsed.output, parsed.html):
        if file:
            check_file(file)
    pairs = list(_read(parsed, read_text(parsed.file, parsed.encoding)))
    result = compare_pairs(load_model(parsed.model), pairs)
    table = _table(result)
    values = {"model": Path(parsed.model).name, "file": Path(parsed.file).name, **result.to_dict()}
    if parsed.output:
        write_text(parsed.output, table if parsed.output.endswith(".tsv") else to_json(values).decode("utf-8"))
    if parsed.html:
        write_text(parsed.html, html_page(pairs_sections([(values["file"], values)]), values["model"]))
    print(table, end="")
    if result.unknown_characters:
        counts = "  ".join(f"{character} {count}" for character, count in result.unknown_characters.items())
        print(f"# characters outside the vocabulary, and pairs with them: {counts}")
    return 0


def _table(result: "PairsResult") -> str:
    """Returns the result as tab-separated values."""
    rows = result.to_rows()
    cells = [
        [f"{value:.4f}" if isinstance(value, float) else " ".join(str(value).split()) for value in row.values()]
        for row in rows
    ]
    return "".join("\t".join(line) + "\n" for line in [list(rows[0]), *cells])


def _read(parsed: argparse.Namespace, text: str) -> Iterator[tuple[str, str, str]]:
    """Yields the pairs of a file; raises DataError for none, a broken row, or a field that is missing or empty."""
    from zh_lstm_lm.evaluation.pairs import check_pair
    from zh_lstm_lm.evaluation.stimuli import read_table

    name = source_name(parsed.file)
    if not text.strip():
        raise DataError(
            f"{name}: there is no pair; expected JSON Lines or a table with a header, with the fields good, bad and, "
            "optionally, group"
        )
    fields: dict[str, str] = {}
    pairs: Iterable[tuple[str, Mapping[Any, Any]]]
    if text.lstrip().startswith(("{", "[")):
        pairs = _json_rows(text, name)
    else:
        rows, names = read_table(text, name, [])
        pairs = zip(names, rows, strict=True)
    for where, row in pairs:
        if not fields:
            fields = _fields(parsed, row, where)
        for field in fields.values():
            if field not in row:
                raise DataError(f"{where}: has no field {field!r}; its fields are {', '.join(map(repr, row))}"[:500])
        values = {role: row[field] for role, field in fields.items()}
        if isinstance(values.get("group"), int):
            values["group"] = str(values["group"])
        for value in values.values():
            if isinstance(value, str) and "\n" in value.strip():
                raise DataError(f"{where}: {value[:40]!r} has several lines; close its quotation mark, or double it")
        yield check_pair(where, **values)


def _fields(parsed: argparse.Namespace, row: Mapping[str, Any], where: str) -> dict[str, str]:
    """Returns the field of each role in a file whose first row is given."""
    fields = {}
    for role, names in _FIELDS.items():
        named = getattr(parsed, f"{role}_field")
        found = next((each for each in ([named] if named is not None else names) if each in row), None)
        if found is None and (role != "group" or named is not None):
            raise DataError(
                f"{where}: has no field {named or role!r}; its fields are {', '.join(map(repr, row))[:300]}; name the "
                f"right one by --{role}-field"
            )
        if found is not None:
            fields[role] = found
    return fields


def _json_rows(text: str, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the objects of JSON Lines with their names in errors."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not valid JSON ({error}); got {line[:60]!r}") from error
        if not isinstance(row, dict):
            raise DataError(f"{where}: expected an object with the fields of a pair, got {line[:60]!r}")
        yield where, row
