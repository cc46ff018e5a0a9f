"""The commands ``rescore`` and ``suggest``."""

import argparse
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

from zh_lstm_lm.cli.common import add_encoding, at_least, load_model, path, read_text, source_name, text
from zh_lstm_lm.errors import DataError

__all__ = ["add_rescore", "add_suggest"]

_LISTS_AT_ONCE = 256
_EXPECTED = {
    "tsv": "text, or score and text, or list, score and text, with tabs between, as in 'utt1<TAB>-3.2<TAB>展爷大喜'",
    "jsonl": """an object with text, score and list, as in '{"list": "utt1", "score": -3.2, "text": "展爷大喜"}'""",
    "kaldi": "an utterance with the number of the candidate, and the text, as in 'utt1-2 展爷 大喜'",
}
# A score and a text, with or without the name of a list before them, that something else than tabs separates.
_OTHER_SEPARATORS = re.compile(r"\s*([^\s,;|]+[\s,;|]+)?[-+]?\d+(\.\d*)?(e[-+]?\d+)?[\s,;|]+\S", re.IGNORECASE)
# Recognisers put spaces between words; those between Chinese words are no part of the text.
_SPACES_IN_CHINESE = re.compile(r"(?<![!-~])\s+|\s+(?![!-~])")


def add_rescore(rescore: argparse.ArgumentParser) -> None:
    """Adds the options of ``rescore``."""
    rescore.set_defaults(run=_rescore)
    add = rescore.add_argument
    add("model", type=path, help="folder of a saved model")
    add(
        "file",
        type=path,
        help="a candidate on each line: text, or score and text, or list, score and text, with tabs between; an empty "
        "line or another name begins a new list; - reads standard input",
    )
    add_encoding(rescore)
    add = rescore.add_argument
    add(
        "--format",
        choices=("tsv", "jsonl", "kaldi"),
        default="tsv",
        help="jsonl: objects with text, score and list; kaldi: 'utterance-N text', spaces between Chinese words ignored "
        "(default: %(default)s)",
    )
    add("--weight", type=float, default=1.0, help="weight of the model's log-probability (default: %(default)s)")
    add("--word-bonus", type=float, default=0.0, help="added for each word (default: %(default)s)")
    add(
        "--length-normalization",
        choices=("none", "words", "characters"),
        default="none",
        help="divides the log-probability by the length (default: %(default)s)",
    )
    add("--no-end", action="store_true", help="do not score the end of each candidate")
    add("--best", action="store_true", help="print only the best text of each list")


def add_suggest(suggest: argparse.ArgumentParser) -> None:
    """Adds the options of ``suggest``."""
    suggest.set_defaults(run=_suggest)
    add = suggest.add_argument
    add("model", type=path, help="folder of a saved model")
    add("left", type=text, help="the text before the gap")
    add("right", type=text, nargs="?", default="", help="the text after the gap")
    add("-k", type=at_least(1), default=10, help="number of words (default: %(default)s)")


def _rescore(parsed: argparse.Namespace) -> int:
    import dataclasses

    from zh_lstm_lm.evaluation.rescore import rescore_batch

    source = source_name(parsed.file)
    rows = _candidates(read_text(parsed.file, parsed.encoding), parsed.format, source)
    lists = [(key, list(group)) for key, group in itertools.groupby(rows, key=lambda row: row[0])]
    if not lists:
        raise DataError(f"{source}: there is no candidate; expected {_EXPECTED[parsed.format]}")
    model = load_model(parsed.model)
    joins = parsed.format == "kaldi" and not model.vocabulary.separator
    if parsed.format != "jsonl" and not parsed.best:
        print("list\trank\tscore\tgiven_score\tlog_prob\ttext")
    for first in range(0, len(lists), _LISTS_AT_ONCE):
        block = lists[first : first + _LISTS_AT_ONCE]
        rescored = rescore_batch(
            model,
            [
                [(_SPACES_IN_CHINESE.sub("", text) if joins else text, given) for _, given, text in group]
                for _, group in block
            ],
            weight=parsed.weight,
            word_bonus=parsed.word_bonus,
            length_normalization=parsed.length_normalization,
            end=not parsed.no_end,
        )
        for ((_, name), group), candidates in zip(block, rescored, strict=True):
            for rank, candidate in enumerate(candidates[:1] if parsed.best else candidates, 1):
                given_text = group[candidate.index][2]
                if parsed.format == "jsonl":
                    print(json.dumps({"list": name, "rank": rank, **dataclasses.asdict(candidate)}, ensure_ascii=False))
                elif parsed.best:
                    print(f"{name} {given_text}" if parsed.format == "kaldi" else given_text)
                else:
                    numbers = (candidate.score, candidate.given_score, candidate.log_prob)
                    print("\t".join([name, str(rank), *(f"{number:.4f}" for number in numbers), given_text]))
    return 0


def _candidates(text: str, form: str, file: str) -> Iterator[tuple[tuple[int, str], float, str]]:
    """Yields the list, by number and name, the score and the text of each line; refuses what is no candidate."""
    number, seen = 0, set[str]()
    for line_number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            number += 1
            continue
        try:
            if form == "jsonl":
                values: Any = json.loads(line)
                name, given, candidate = str(values.get("list", number + 1)), values.get("score", 0.0), values["text"]
                if not isinstance(candidate, str):
                    raise TypeError("text is not a string")
            elif form == "kaldi":
                utterance, _, candidate = line.strip().replace("\t", " ").partition(" ")
                (name, _, n), given = utterance.rpartition("-"), 0.0
                if not name or not n.isdecimal() or utterance in seen:
                    raise ValueError("it has no number of its own")
                seen.add(utterance)
            else:
                parts, name = line.split("\t"), str(number + 1)
                if len(parts) == 1 and _OTHER_SEPARATORS.match(line):
                    raise ValueError("there is no tab")
                name, given, candidate = {1: [name, "0", *parts], 2: [name, *parts], 3: parts}[len(parts)]
            yield (number, name), float(given), candidate
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise DataError(f"{file}, line {line_number}: expected {_EXPECTED[form]}; got {line[:60]!r}") from error


def _suggest(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.evaluation.suggest import suggest

    suggested = suggest(load_model(parsed.model), parsed.left, parsed.right, parsed.k)
    print("word\tprobability\tlog_prob")
    for found in suggested:
        print(f"{found.word}\t{found.probability:.4f}\t{found.log_prob:.3f}")
    return 0
