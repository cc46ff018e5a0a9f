"""Stimulus tables of psycholinguistics: the surprisal of words, regions or texts beside the columns of a table."""

import csv
import io
import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from zh_lstm_lm._config import check_choice, check_integer, check_list, check_text, check_type, shown
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import ConfigError, DataError
from zh_lstm_lm.evaluation.score import score_batch
from zh_lstm_lm.evaluation.scored_text import Score
from zh_lstm_lm.models.base import LanguageModel
from zh_lstm_lm.runtime.devices import on_cpu_by_default

__all__ = ["read_table", "score_table"]

Row: TypeAlias = Mapping[Any, Any]

# More columns than this are a mistake, and would fill the memory.
_MAX_PREVIOUS = 1000
_DELIMITERS = "\t,;"
_REGION_MARK = "|"
# From the words that the model knows best to those that it knows least.
_KINDS = ("end", "word", "characters", "bytes", "unknown")


@on_cpu_by_default
def score_table(
    model: LanguageModel,
    rows: Iterable[Row],
    column: Hashable,
    *,
    context_column: Hashable | None = None,
    region_column: Hashable | None = None,
    per: Literal["word", "text"] = "word",
    previous: int = 0,
    pre_tokenized: bool = False,
    end: bool = False,
    names: Sequence[str] | None = None,
) -> list[dict[Any, Any]]:
    """Scores the texts in a column of a table.

    Each row of the result has all columns of its row of the table and, after them:

    - per word: ``word``, ``index`` (from 1), ``surprisal`` (in bits), ``frequency`` (of the word in the training text;
      None for a word outside the vocabulary) and ``kind`` (see `WordScore`);
    - per region: ``region``, ``index`` (of its first word in the text, from 1), ``surprisal``, ``words`` (those that it
      shares with a neighbour included), ``cut_words`` (those only) and ``kind`` (that of its rarest word);
    - per text: ``surprisal``, ``words``, ``bits_per_character`` and ``kind``.

    An added column whose name is taken gets ``lm_`` before its name.

    A region is a part of the text. A cell of `region_column` contains one, or several with ``|`` between them, and rows
    of one text that follow one another contain its regions in order, as self-paced reading data do: they are the whole
    text, apart from white space. Other regions, such as a critical word, must occur once in their text. A word that
    lies across the border of two regions gives each the surprisal of its own characters; see
    `Score.character_surprisals`.

    Args:
        model: Any `LanguageModel`. Its training mode and device are left unchanged.
        rows: The rows, mappings of columns to cells.
        column: The column of the texts.
        context_column: The column of the text before each text, in the same paragraph unless it ends with a newline. A
            text with an empty context, or without the column, starts a document.
        region_column: The column of the regions; None for words or texts.
        per: The unit of the rows without `region_column`: ``"word"`` or ``"text"``.
        previous: Number of words or regions before each whose surprisals are added as ``surprisal_previous_1``, … (None
            before the first one of the text); 0 for none.
        pre_tokenized: Whether the words of texts and contexts are those that white space separates; see `score`.
        end: Whether the paragraph end after each text is scored as well.
        names: The names of the rows in errors; None for ``rows[0]``, ….

    Raises:
        DataError: A row lacks a column, a text or region is empty or not a string, or a region is not in its text.
        ConfigError: An option is out of range, or options contradict each other.
    """
    check_choice("per", per, ("word", "text"))
    check_integer("previous", previous, minimum=0, maximum=_MAX_PREVIOUS)
    check_type("pre_tokenized", pre_tokenized, bool)
    if region_column is not None and (end or per == "text"):
        raise ConfigError(f"region_column does not go together with {'end' if end else 'per'}; leave one of them out")
    if previous and per == "text":
        raise ConfigError(f"previous goes with words and regions, got {previous} for texts; leave it out")
    for argument, value in (("column", column), ("context_column", context_column), ("region_column", region_column)):
        check_type(argument, value, Hashable)
    rows = check_list("rows", rows, "a list of mappings of columns to cells")
    names = (
        [f"rows[{number}]" for number in range(len(rows))]
        if names is None
        else check_list("names", names, "a list of strings")
    )
    if len(names) != len(rows):
        raise DataError(f"names must be as many as the {len(rows)} rows, got {len(names)}")
    texts = []
    for row, name in zip(rows, names, strict=True):
        context = "" if context_column is None else _cell(row, context_column, name, optional=True)
        texts.append((context if context.strip() else "", _cell(row, column, name)))
    regions = [] if region_column is None else _find_regions(rows, region_column, texts, names)
    scores = _score(model, texts, end=end, pre_tokenized=pre_tokenized)
    if region_column is not None:
        units = _region_units([scores[text] for text in texts], regions, previous)
    else:
        of_texts = {
            text: [_text_unit(score)] if per == "text" else _word_units(model.vocabulary, score, previous)
            for text, score in scores.items()
        }
        units = [of_texts[text] for text in texts]
    return [_joined(row, unit) for row, of_row in zip(rows, units, strict=True) for unit in of_row]


def _cell(row: Row, column: Hashable, name: str, *, optional: bool = False) -> str:
    """Returns the text in a column of a row."""
    if not isinstance(row, Mapping) or column not in row:
        known = ", ".join(map(repr, row)) if isinstance(row, Mapping) else shown(row)
        raise DataError(f"{name}: has no column {column!r}; its columns are {known}"[:500])
    text = row[column]
    if optional and text is None:
        return ""
    check_text(f"{name}: the column {column!r}", text)
    if not optional and not text.strip():
        raise DataError(f"{name}: the column {column!r} is empty; fill it in, or leave the row out")
    return str(text)


def _score(
    model: LanguageModel, texts: Sequence[tuple[str, str]], *, end: bool, pre_tokenized: bool
) -> dict[tuple[str, str], Score]:
    """Scores the different pairs of a context and a text, each once: the data of a study repeat them."""
    contexts = list(dict.fromkeys(context for context, _ in texts if context))
    read = score_batch(model, contexts, with_states=True, pre_tokenized=pre_tokenized)
    states = dict(zip(contexts, (score.state for score in read), strict=True))
    pairs = list(dict.fromkeys(texts))
    scores = score_batch(
        model,
        [text for _, text in pairs],
        end=end,
        state=[states.get(context) for context, _ in pairs],
        pre_tokenized=pre_tokenized,
    )
    return dict(zip(pairs, scores, strict=True))


def _word_units(vocabulary: Vocabulary, score: Score, previous: int) -> list[dict[str, Any]]:
    bits = [word.surprisal for word in score.words]
    counted = any(vocabulary.counts)
    units = []
    for index, word in enumerate(score.words):
        is_known = counted and word.kind in ("word", "end")
        units.append(
            {
                # The separator that a word implies is no part of it.
                "word": word.text.removeprefix(vocabulary.separator) or word.text,
                "index": index + 1,
                "surprisal": bits[index],
                **_previous(bits[:index], previous),
                "frequency": vocabulary.counts[vocabulary.token_to_id(word.tokens[0])] if is_known else None,
                "kind": word.kind,
            }
        )
    return units


def _text_unit(score: Score) -> dict[str, Any]:
    return {
        "surprisal": sum(score.surprisals),
        "words": len(score.word_sizes),
        "bits_per_character": score.bits_per_character,
        "kind": max(score.word_kinds, key=_KINDS.index),
    }


def _region_units(
    scores: Sequence[Score], regions: Sequence[Sequence[tuple[str, int, int]]], previous: int
) -> list[list[dict[str, Any]]]:
    """Returns the units of each row; regions of which one begins where the other ends follow one another."""
    units: list[list[dict[str, Any]]] = []
    before: list[float] = []
    last, stopped = None, 0
    for score, of_row in zip(scores, regions, strict=True):
        if score is not last:
            last, stopped, words, of_characters = score, 0, score.words, score.character_surprisals
        units.append([])
        for region, start, stop in of_row:
            before = before if 0 < start == stopped else []
            stopped, bits = stop, sum(of_characters[start:stop])
            inside = [(index, word) for index, word in enumerate(words, 1) if word.start < stop and start < word.stop]
            units[-1].append(
                {
                    "region": region,
                    "index": inside[0][0],
                    "surprisal": bits,
                    **_previous(before, previous),
                    "words": len(inside),
                    "cut_words": sum(word.start < start or stop < word.stop for _, word in inside),
                    "kind": max((word.kind for _, word in inside), key=_KINDS.index),
                }
            )
            before = [*before, bits]
    return units


def _previous(before: Sequence[float], number: int) -> dict[str, float | None]:
    return {f"surprisal_previous_{n}": before[-n] if n <= len(before) else None for n in range(1, number + 1)}


def _find_regions(
    rows: Sequence[Row], column: Hashable, texts: Sequence[tuple[str, str]], names: Sequence[str]
) -> list[list[tuple[str, int, int]]]:
    """Returns the regions of each row with their start and stop in its text."""
    cells = []
    for row, name in zip(rows, names, strict=True):
        cells.append([region.strip() for region in _cell(row, column, name).split(_REGION_MARK)])
        if "" in cells[-1]:
            raise DataError(f"{name}: the column {column!r} has an empty region, in {row[column]!r:.60}; fill it in")
    found = []
    for (_, text), group in itertools.groupby(range(len(rows)), key=lambda number: texts[number]):
        numbers = list(group)
        in_order = _in_order(text, [region for number in numbers for region in cells[number]])
        spans = iter(in_order or ())
        for number in numbers:
            if in_order:
                found.append([(region, *next(spans)) for region in cells[number]])
            else:
                found.append([(region, *_only_place(text, region, names[number])) for region in cells[number]])
    return found


def _in_order(text: str, regions: Sequence[str]) -> list[tuple[int, int]] | None:
    """Returns the places of regions that are the whole text, each with the white space before it; None for others."""
    length = len(text.rstrip())
    places = []
    stop = 0
    for region in regions:
        start = 0 if stop >= length else stop
        first = start + len(text[start:]) - len(text[start:].lstrip())
        if not text.startswith(region, first):
            return None
        stop = first + len(region)
        places.append((start, len(text) if stop >= length else stop))
    return places if stop >= length else None


def _only_place(text: str, region: str, name: str) -> tuple[int, int]:
    start = text.find(region)
    if start < 0 or text.find(region, start + 1) >= 0:
        raise DataError(
            f"{name}: the region {region!r:.60} {'is not' if start < 0 else 'occurs several times'} in the text "
            f"{text!r:.60}; give a part of the text that occurs once, or all regions of the text in order, a row for "
            f"each or with {_REGION_MARK!r} between them"
        )
    return start, start + len(region)


def _joined(row: Row, unit: Mapping[str, Any]) -> dict[Any, Any]:
    """Adds columns to a row; a name that is taken gets ``lm_`` before it."""
    joined = dict(row)
    for name, value in unit.items():
        while name in joined:
            name = f"lm_{name}"  # noqa: PLW2901
        joined[name] = value
    return joined


def read_table(text: str, name: str, columns: Sequence[str]) -> tuple[list[dict[Hashable, str]], list[str]]:
    """Reads a table with a header: tabs, commas or semicolons between its cells, quoted as spreadsheets do.

    Returns the rows that are not empty, by the names in the header (by position where the header is empty), and the
    names of the rows in errors. Raises DataError if one of `columns` is missing, a name occurs twice, or a row is
    broken.
    """
    delimiter = max(_DELIMITERS, key=lambda each: (len(set(columns) & set(header := _header(text, each))), len(header)))
    header = _header(text, delimiter)
    for column in columns:
        if column not in header:
            known = ", ".join(map(repr, header))[:300] or "none"
            raise DataError(f"{name}: has no column {column!r}; its columns are {known}; name one of these")
    for column in filter(None, header):
        if header.count(column) > 1:
            raise DataError(f"{name}: the column {column!r} occurs twice in the header; rename one of the two")
    keys = [column or position for position, column in enumerate(header)]
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, strict=True)
    found = []
    line = 1
    try:
        for number, cells in enumerate(reader, 1):
            if any(map(str.strip, cells)):
                found.append((f"{name}, row {number} (line {line})", cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{name}, row that begins in line {line}: not a row of a table ({error}); a cell that begins with a quotation "
            "mark ends with one, and those inside it are doubled"
        ) from error
    del found[:1]
    if not found:
        raise DataError(f"{name}: there is no row below the header; expected at least one")
    for where, cells in found:
        if len(cells) != len(header):
            raise DataError(f"{where}: expected {len(header)} cells as in the header, got {len(cells)}")
    return [dict(zip(keys, cells, strict=True)) for _, cells in found], [where for where, _ in found]


def _header(text: str, delimiter: str) -> list[str]:
    """Returns the names in the first row of a table; none where it is no row with this delimiter."""
    try:
        rows = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, strict=True)
        return [cell.strip() for cell in next(filter(None, rows), [])]
    except csv.Error:
        return []
