"""The command ``score``."""

import argparse
import itertools
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zh_lstm_lm.cli.common import (
    add_encoding,
    at_least,
    load_model,
    option,
    output_path,
    path,
    read_text,
    source_name,
    text,
    write_text,
)
from zh_lstm_lm.errors import ConfigError, DataError

if TYPE_CHECKING:
    from zh_lstm_lm.evaluation.scored_text import Score

__all__ = ["add_score"]

_TEXTS_AT_ONCE = 2048
_COLUMNS = ("column", "context_column", "region_column")


def add_score(score: argparse.ArgumentParser) -> None:
    """Adds the options of ``score``."""
    score.set_defaults(run=_score)
    score.add_argument("model", type=path, help="folder of a saved model")
    add = score.add_mutually_exclusive_group().add_argument
    add("text", type=text, nargs="?", help="the text itself; - or nothing reads stdin, a text on each line")
    add("--file", type=path, default="-", help="file with a text on each line, or - for stdin (default: %(default)s)")
    add("--table", type=path, metavar="FILE", help="table with a header (TSV, CSV), or - for stdin (default: none)")
    add_encoding(score)
    add = score.add_argument
    add("--whole", action="store_true", help="the file or standard input is one text")
    add("--per", choices=("word", "token", "character", "text"), default="word", help="unit of a row (default: word)")
    add(
        "--format",
        choices=("tsv", "jsonl", "lm-zoo"),
        default="tsv",
        help="jsonl has an object for each text, or row of a table; lm-zoo has sentence_id, token_id, token and surprisal "
        "(default: %(default)s)",
    )
    add("--end", action="store_true", help="score the paragraph end after each text as well")
    add(
        "--html",
        type=output_path,
        metavar="FILE",
        help="page of the texts, words coloured by surprisal (default: none)",
    )
    add("--pre-tokenized", action="store_true", help="the words are those that white space separates in the text")
    add = score.add_argument_group(
        "tables", "All columns are kept; surprisals, in bits, are added to each row."
    ).add_argument
    add("--column", metavar="NAME", help="the texts (default: none; a table needs it)")
    add("--context-column", metavar="NAME", help="the text before each text (default: none)")
    add(
        "--region-column",
        metavar="NAME",
        help="parts of the text: one in a row, or several with | between them; a row for each (default: none)",
    )
    add(
        "--previous",
        type=at_least(0),
        metavar="N",
        help="surprisals of the N words or regions before each as well (default: 0)",
    )


def _score(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.evaluation.parts import metrics_line
    from zh_lstm_lm.evaluation.score import score_batch
    from zh_lstm_lm.report.heat_map import heat_map
    from zh_lstm_lm.storage.user_files import check_file

    if parsed.table is not None:
        return _score_table(parsed)
    for name in (*_COLUMNS, "previous"):
        if getattr(parsed, name) is not None:
            raise ConfigError(f"{option(name)} goes with --table FILE; leave it out, or give the table")
    if parsed.format == "lm-zoo" and parsed.per not in ("word", "token"):
        raise ConfigError(f"--format lm-zoo has words or tokens, got --per {parsed.per}; choose one of them")
    if parsed.html:
        check_file(parsed.html)
    texts = _texts(parsed)
    model = load_model(parsed.model)
    drawn: list[Score] = []
    for first in range(0, len(texts), _TEXTS_AT_ONCE):
        numbered = texts[first : first + _TEXTS_AT_ONCE]
        scores = score_batch(model, [line for _, line in numbered], end=parsed.end, pre_tokenized=parsed.pre_tokenized)
        drawn += scores if parsed.html else []
        for (line, _), result in zip(numbered, scores, strict=True):
            found = _rows(result, parsed.per)
            if parsed.format == "jsonl":
                units = {} if parsed.per == "text" else {f"{parsed.per}s": found}
                print(json.dumps({"line": line, **_rows(result, "text")[0], **units}, ensure_ascii=False))
                continue
            if parsed.format == "lm-zoo":
                bits_of = ((str(row[parsed.per]), float(row["bits"])) for row in found)
                _write_lm_zoo(line, bits_of, header=line == texts[0][0])
                continue
            if line == texts[0][0]:
                print("\t".join(["line", *found[0]]))
            for row in found:
                print("\t".join([str(line), *map(_cell, row.values())]))
            if len(texts) == 1 and parsed.per != "text":
                print(f"# {metrics_line(result)}")
    if parsed.html:
        write_text(parsed.html, heat_map(drawn, title=f"Surprisal, {Path(parsed.model).name}"))
    return 0


def _score_table(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.evaluation.stimuli import read_table, score_table

    if parsed.column is None:
        raise ConfigError("--table needs --column NAME, the column of the texts")
    for name in ("html", "whole"):
        if getattr(parsed, name):
            raise ConfigError(f"{option(name)} does not go together with --table; leave it out")
    if parsed.per not in ("word", "text"):
        raise ConfigError(f"a table has rows for words, regions or texts, got --per {parsed.per}; choose word or text")
    if parsed.format == "lm-zoo" and (parsed.per == "text" or parsed.region_column is not None or parsed.previous):
        raise ConfigError("--format lm-zoo has words alone; leave --per text, --region-column and --previous out")
    named = {name: value for name in _COLUMNS if (value := getattr(parsed, name)) is not None}
    rows, names = read_table(read_text(parsed.table, parsed.encoding), source_name(parsed.table), list(named.values()))
    scored = score_table(
        load_model(parsed.model),
        # No column has an empty name, so the number of the row does not meet one.
        [{**row, "": number} for number, row in enumerate(rows, 1)],
        **named,
        per=parsed.per,
        previous=parsed.previous or 0,
        pre_tokenized=parsed.pre_tokenized,
        end=parsed.end,
        names=names,
    )
    width = len(rows[0])
    if parsed.format == "tsv":
        _writer().writerow([key if isinstance(key, str) else "" for key in scored[0] if key != ""])
    for number, group in itertools.groupby(scored, key=lambda row: row.pop("")):
        if parsed.format == "lm-zoo":
            words = ((word, bits) for word, _, bits, *_ in (list(row.values())[width:] for row in group))
            _write_lm_zoo(number, words, header=number == 1)
            continue
        for row in group:
            if parsed.format == "jsonl":
                print(json.dumps(row, ensure_ascii=False))
            else:
                _writer().writerow([f"{value:.6f}" if isinstance(value, float) else value for value in row.values()])
    return 0


def _write_lm_zoo(sentence: int, tokens: Iterable[tuple[str, float]], *, header: bool) -> None:
    """Prints the tokens of a sentence with their surprisals in bits, as lm-zoo does."""
    if header:
        _writer().writerow(["sentence_id", "token_id", "token", "surprisal"])
    for number, (token, bits) in enumerate(tokens, 1):
        _writer().writerow([sentence, number, token, f"{bits:.6f}"])


def _writer() -> Any:
    import csv

    return csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")


def _texts(parsed: argparse.Namespace) -> list[tuple[int, str]]:
    """Returns the texts with the numbers of their lines in the file."""
    if parsed.text not in (None, "-"):
        texts = [(1, parsed.text)]
    else:
        whole = read_text(parsed.file, parsed.encoding)
        lines = [whole] if parsed.whole else whole.split("\n")
        texts = [(number, line) for number, line in enumerate(lines, 1) if line]
    if not any(line for _, line in texts):
        raise DataError("there is nothing to score: the text is empty")
    return texts


def _rows(score: "Score", per: str) -> list[dict[str, Any]]:
    """Returns a row for each unit of a text."""
    if per == "word":
        units = ("bits", "surprisal"), *((name, name) for name in ("kind", "start", "stop", "tokens"))
        return [{"word": word.text, **{name: getattr(word, field) for name, field in units}} for word in score.words]
    if per == "token":
        places = zip(score.tokens, score.surprisals, score.offsets, strict=True)
        return [{"token": token, "bits": bits, "start": start, "stop": stop} for token, bits, (start, stop) in places]
    if per == "character":
        bits_of = zip(score.text, score.character_surprisals, strict=True)
        return [{"character": character, "bits": bits, "start": i} for i, (character, bits) in enumerate(bits_of)]
    metrics = ("bits_per_character", "perplexity", "num_tokens", "num_characters")
    row = {"text": score.text, "bits": sum(score.surprisals), **{name: getattr(score, name) for name in metrics}}
    return [row]


def _cell(value: Any) -> str:
    """Returns the text of a value in a table, on one line."""
    if isinstance(value, float):
        return f"{value:.3f}"
    text = " ".join(value) if isinstance(value, tuple) else str(value)
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
