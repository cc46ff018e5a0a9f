"""The command ``score``."""

import argparse
import json
from collections.abc import Iterator

from zh_lstm_lm.cli.common import AddCommand, figures, load_model, read_text, write_text
from zh_lstm_lm.errors import DataError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from zh_lstm_lm.evaluation.scored_text import Score

__all__ = ["add_command"]

_TEXTS_AT_ONCE = 2048


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    score = add("score", _score, "Print the surprisal of the words of texts.")
    score.add_argument("model", help="folder of a saved model")
    score.add_argument("text", nargs="?", help="the text itself; - or nothing reads standard input, a text a line")
    score.add_argument("--file", help="read this file, a text a line")
    score.add_argument("--whole", action="store_true", help="a file or standard input is one text, of many lines")
    score.add_argument("--per", choices=("word", "token", "character", "text"), default="word", help="what has a row")
    score.add_argument("--format", choices=("tsv", "jsonl"), default="tsv", help="jsonl has an object for each text")
    score.add_argument("--end", action="store_true", help="score the paragraph end after each text, too")
    score.add_argument("--html", metavar="FILE", help="draw the texts as a page, words coloured by surprisal")


def _score(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.evaluation.score import score_batch
    from zh_lstm_lm.report.heat_map import heat_map

    texts = _texts(parsed)
    model = load_model(parsed.model)
    rows = {"word": _word_rows, "token": _token_rows, "character": _character_rows, "text": _text_rows}[parsed.per]
    drawn: list[Score] = []
    for first in range(0, len(texts), _TEXTS_AT_ONCE):
        scores = score_batch(model, texts[first : first + _TEXTS_AT_ONCE], end=parsed.end)
        drawn += scores if parsed.html else []
        for number, result in enumerate(scores, first + 1):
            found = list(rows(result))
            if parsed.format == "jsonl":
                whole = next(_text_rows(result))
                print(
                    json.dumps(
                        whole if parsed.per == "text" else {**whole, f"{parsed.per}s": found}, ensure_ascii=False
                    )
                )
                continue
            if number == 1:
                print("\t".join(["line", *found[0]]))
            for row in found:
                print("\t".join([str(number), *map(_cell, row.values())]))
            if len(texts) == 1 and parsed.per != "text":
                print(f"# {figures(result)}")
    if parsed.html:
        from pathlib import Path

        write_text(parsed.html, heat_map(drawn, title=f"Surprisal, {Path(parsed.model).name}"))
    return 0


def _texts(parsed: argparse.Namespace) -> list[str]:
    """What was given to score."""
    if parsed.file and parsed.text is not None:
        raise DataError("give a text or --file, not both")
    if parsed.text not in (None, "-"):
        texts = [parsed.text]
    else:
        text = read_text(parsed.file or "-")
        texts = [text] if parsed.whole else [line for line in text.split("\n") if line]
    if not any(texts):
        raise DataError("there is nothing to score: the text is empty")
    return texts


def _word_rows(score: "Score") -> "Iterator[dict[str, Any]]":
    for word in score.words:
        yield {
            "word": word.text,
            "bits": word.surprisal,
            "kind": word.kind,
            "start": word.start,
            "stop": word.stop,
            "tokens": list(word.tokens),
        }


def _token_rows(score: "Score") -> "Iterator[dict[str, Any]]":
    for token, bits, (start, stop) in zip(score.tokens, score.surprisals, score.offsets, strict=True):
        yield {"token": token, "bits": bits, "start": start, "stop": stop}


def _character_rows(score: "Score") -> "Iterator[dict[str, Any]]":
    for place, (character, bits) in enumerate(zip(score.text, score.character_surprisals, strict=True)):
        yield {"character": character, "bits": bits, "start": place}


def _text_rows(score: "Score") -> "Iterator[dict[str, Any]]":
    yield {
        "text": score.text,
        "bits": sum(score.surprisals),
        "bits_per_character": score.bits_per_character,
        "perplexity": score.perplexity,
        "num_tokens": score.num_tokens,
        "num_characters": score.num_characters,
    }


def _cell(value: "Any") -> str:
    """A value in a table, on one line."""
    if isinstance(value, float):
        return f"{value:.3f}"
    text = " ".join(value) if isinstance(value, list) else str(value)
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
