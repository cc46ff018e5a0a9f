"""The command ``novelty``."""

import argparse
import json

from zh_lstm_lm.cli.common import AddCommand, add_reading, chosen_tokenizer, read_stream, read_text

__all__ = ["add_command"]


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    novelty = add("novelty", _novelty, "Tell what of a text is new and what was copied.")
    novelty.add_argument("text", help="file of the text; - reads standard input")
    novelty.add_argument("paths", nargs="+", help="folders, files or glob patterns of the training text")
    add_reading(novelty)
    novelty.add_argument("--max-n", type=int, default=8, help="longest n-grams, and shortest passages (8)")
    novelty.add_argument("--passages", type=int, default=10, help="most copied passages to show (10)")
    novelty.add_argument("--format", choices=("text", "json"), default="text")


def _novelty(parsed: argparse.Namespace) -> int:
    import dataclasses

    from zh_lstm_lm.evaluation.novelty import novelty

    text = read_text(parsed.text)
    stream = read_stream(parsed, chosen_tokenizer(parsed), parsed.normalize)
    result = novelty(text, stream, max_n=parsed.max_n, num_passages=parsed.passages)
    print(json.dumps(dataclasses.asdict(result), ensure_ascii=False) if parsed.format == "json" else result)
    return 0
