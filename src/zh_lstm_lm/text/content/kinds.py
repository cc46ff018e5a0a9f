"""Content that is not running text, recognised by its beginning."""

import csv
import json
import re
from collections.abc import Sequence
from itertools import islice

from zh_lstm_lm.text.content.line_forms import CLAUSE_END, form_of_lines, loose_form_of_lines

__all__ = ["identify_content", "table_delimiter"]

_HEAD_CHARACTERS = 100_000
_HEAD_ROWS = 50
_MIN_ROWS = 5
# A comment, or the name that a script gives the value.
_BEFORE_JSON = re.compile(
    r"\A\s*(?:(?:#|//).*\n\s*)*(?:(?:(?:var|let|const)\s+)?[\w.$]+\s*[=(]\s*)?(?=[\[{])", re.ASCII
)
_PYTHON_OBJECT = re.compile(r"""\s*(?:\[?\s*\{\s*'[^'\n]*'\s*:\s*[\['"{\dNTF-]|[\[{]\s*'[^'\n]*'\s*,\s*['"\d])""")
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
_DELIMITERS = "\t,;|"
_IDENTIFIER = re.compile(r"[A-Za-z_][\w .-]{0,40}", re.ASCII)
_NUMBER = re.compile(r"[-+]?\d[\d.,:/-]*%?")
_TABLE_RULE = re.compile(r"\s*:?-{2,}:?\s*")
_SHORT_CELL, _LONG_CELL = 12, 20


def identify_content(text: str) -> str | None:
    """Identifies what a file holds from its beginning; None for running text."""
    head = text[:_HEAD_CHARACTERS].lstrip("\ufeff\0")
    head = _BEFORE_JSON.sub("", head, count=1)
    lines = [line for line in map(str.strip, head.split("\n")) if line]
    start = head.lstrip()
    if len(lines) == 1 and start.startswith('"') and "\\n" in start:
        # A whole text as one string.
        return "JSON"
    if _PYTHON_OBJECT.match(start):
        return "Python objects"
    if start.startswith(("[", "{")) and (_is_json(head) or _JSON_OBJECT.match(start) or all(map(_is_json, lines[:2]))):
        return "JSON Lines" if len(lines) > 1 and all(map(_is_json, lines[:2])) else "JSON"
    if _MARKUP_START.match(start) or _is_markup(head, lines):
        return "HTML or XML"
    if form := form_of_lines(head, lines):
        return form
    return "a table" if table_delimiter(head) else loose_form_of_lines(lines)


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


def table_delimiter(head: str) -> str | None:
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
    if delimiter == "|" and (
        all(_TABLE_RULE.fullmatch(cell) for cell in body[0])
        or all(row[0].strip() == row[-1].strip() == "" for row in rows)
    ):
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
            len(columns) > 2 and len(lengths) > 1 and not any(CLAUSE_END.search(cell.strip()) for cell in columns[-1])
        )
    return any(is_short) and any(sum(map(len, column)) > _LONG_CELL * len(column) for column in columns)
