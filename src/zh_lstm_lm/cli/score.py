"""The command ``score``."""

import argparse
import json

from zh_lstm_lm.cli.common import AddCommand, add_encoding, load_model, path, read_text, text, write_text
from zh_lstm_lm.errors import DataError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from zh_lstm_lm.evaluation.scored_text import Score

__all__ = ["add_command"]

_TEXTS_AT_ONCE = 2048


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    score = add("score", _score, "Print the surprisal of each word of texts.")
    score.add_argument("model", type=path, help="folder of a saved model")
    source = score.add_mutually_exclusive_group()
    source.add_argument(
        "text", type=text, nargs="?", help="the text itself; - or nothing reads stdin, a text on each line"
    )
    source.add_argument(
        "--file", type=path, default="-", help="file with a text on each line, or - for stdin (default: %(default)s)"
    )
    add_encoding(score)
    score.add_argument("--whole", action="store_true", help="the file or standard input is one text")
    score.add_argument(
        "--per", choices=("word", "token", "character", "text"), default="word", help="unit of a row (default: word)"
    )
    score.add_argument(
        "--format",
        choices=("tsv", "jsonl"),
        default="tsv",
        help="jsonl has an object for each text (default: %(default)s)",
    )
    score.add_argument("--end", action="store_true", help="score the paragraph end after each text as well")
    score.add_argument(
        "--html", type=path, metavar="FILE", help="page of the texts, words coloured by surprisal (default: none)"
    )


def _score(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.evaluation.parts import metrics_line
    from zh_lstm_lm.evaluation.score import score_batch
    from zh_lstm_lm.report.heat_map import heat_map
    from zh_lstm_lm.storage.user_files import check_file

    if parsed.html:
        check_file(parsed.html)
    texts = _texts(parsed)
    model = load_model(parsed.model)
    drawn: list[Score] = []
    for first in range(0, len(texts), _TEXTS_AT_ONCE):
        numbered = texts[first : first + _TEXTS_AT_ONCE]
        scores = score_batch(model, [line for _, line in numbered], end=parsed.end)
        drawn += scores if parsed.html else []
        for (line, _), result in zip(numbered, scores, strict=True):
            found = _rows(result, parsed.per)
            if parsed.format == "jsonl":
                units = {} if parsed.per == "text" else {f"{parsed.per}s": found}
                print(json.dumps({"line": line, **_rows(result, "text")[0], **units}, ensure_ascii=False))
                continue
            if line == texts[0][0]:
                print("\t".join(["line", *found[0]]))
            for row in found:
                print("\t".join([str(line), *map(_cell, row.values())]))
            if len(texts) == 1 and parsed.per != "text":
                print(f"# {metrics_line(result)}")
    if parsed.html:
        from pathlib import Path

        write_text(parsed.html, heat_map(drawn, title=f"Surprisal, {Path(parsed.model).name}"))
    return 0


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


def _rows(score: "Score", per: str) -> "list[dict[str, Any]]":
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


def _cell(value: "Any") -> str:
    """Returns the text of a value in a table, on one line."""
    if isinstance(value, float):
        return f"{value:.3f}"
    text = " ".join(value) if isinstance(value, tuple) else str(value)
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
