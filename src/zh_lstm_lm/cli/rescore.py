"""The command ``rescore``."""

import argparse
import itertools
import json
from collections.abc import Iterator

from zh_lstm_lm.cli.common import AddCommand, load_model, read_text
from zh_lstm_lm.errors import DataError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["add_command"]

_LISTS_AT_ONCE = 256


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    rescore = add("rescore", _rescore, "Put n-best lists into order.")
    rescore.add_argument("model", help="folder of a saved model")
    rescore.add_argument(
        "file",
        help="candidates, one a line: text, or score and text, or list, score and text, with tabs between; an empty line "
        "or another name begins a new list; - reads standard input",
    )
    rescore.add_argument("--format", choices=("tsv", "jsonl"), default="tsv", help="jsonl: text, and score and list")
    rescore.add_argument("--weight", type=float, default=1.0, help="of the model's log-probability (1)")
    rescore.add_argument("--word-bonus", type=float, default=0.0, help="added for each word (0)")
    rescore.add_argument("--length-normalization", choices=("none", "words", "characters"), default="none")
    rescore.add_argument("--no-end", action="store_true", help="do not score the end of each candidate")
    rescore.add_argument("--best", action="store_true", help="print only the best text of each list")


def _rescore(parsed: argparse.Namespace) -> int:
    import dataclasses

    from zh_lstm_lm.evaluation.rescore import rescore_batch

    rows = _candidates(read_text(parsed.file), parsed.format)
    lists = [(key, list(group)) for key, group in itertools.groupby(rows, key=lambda row: row[0])]
    if not lists:
        raise DataError(f"{parsed.file}: there is no candidate")
    model = load_model(parsed.model)
    if parsed.format == "tsv" and not parsed.best:
        print("list\trank\tscore\tgiven_score\tlog_prob\ttext")
    for first in range(0, len(lists), _LISTS_AT_ONCE):
        block = lists[first : first + _LISTS_AT_ONCE]
        rescored = rescore_batch(
            model,
            [[(text, given) for _, given, text in group] for _, group in block],
            weight=parsed.weight,
            word_bonus=parsed.word_bonus,
            length_normalization=parsed.length_normalization,
            end=not parsed.no_end,
        )
        for ((_, name), _), candidates in zip(block, rescored, strict=True):
            for rank, candidate in enumerate(candidates[:1] if parsed.best else candidates, 1):
                if parsed.format == "jsonl":
                    print(json.dumps({"list": name, "rank": rank, **dataclasses.asdict(candidate)}, ensure_ascii=False))
                elif parsed.best:
                    print(candidate.text)
                else:
                    numbers = (candidate.score, candidate.given_score, candidate.log_prob)
                    print("\t".join([name, str(rank), *(f"{number:.4f}" for number in numbers), candidate.text]))
    return 0


def _candidates(text: str, kind: str) -> Iterator[tuple[tuple[int, str], float, str]]:
    """The list, score and text of each line; a list has a number and a name."""
    number = 0
    for place, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            number += 1
            continue
        try:
            if kind == "jsonl":
                values: Any = json.loads(line)
                name, given, candidate = str(values.get("list", number + 1)), values.get("score", 0.0), values["text"]
                if not isinstance(candidate, str):
                    raise TypeError("its text is no string")
            else:
                parts, name = line.split("\t"), str(number + 1)
                name, given, candidate = {1: [name, "0", *parts], 2: [name, *parts], 3: parts}[len(parts)]
            yield (number, name), float(given), candidate
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            wanted = (
                "an object with text, score and list" if kind == "jsonl" else "[[list] score] text, with tabs between"
            )
            raise DataError(f"line {place}: expected {wanted}, got {line[:60]!r}") from error
