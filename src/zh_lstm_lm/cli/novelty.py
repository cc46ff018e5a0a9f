"""The command ``novelty``."""

import argparse
import json

from zh_lstm_lm.cli.common import add_encoding, add_reading, at_least, chosen_tokenizer, path, read_stream, read_text

__all__ = ["add_novelty"]


def add_novelty(novelty: argparse.ArgumentParser) -> None:
    """Adds the options of ``novelty``."""
    novelty.set_defaults(run=_novelty)
    add = novelty.add_argument
    add("text", type=path, help="file of the text; - reads standard input")
    add("paths", type=path, nargs="+", help="folders, files or glob patterns of the training text")
    add_reading(novelty)
    add_encoding(novelty, "--text-encoding")
    add = novelty.add_argument
    add(
        "--max-n",
        type=at_least(1),
        default=8,
        help="length of the longest n-grams and of the shortest passages, in words (default: %(default)s)",
    )
    add("--passages", type=at_least(0), default=10, help="greatest number of copied passages (default: %(default)s)")
    add("--format", choices=("text", "json"), default="text", help="json for programs (default: %(default)s)")


def _novelty(parsed: argparse.Namespace) -> int:
    import dataclasses

    from zh_lstm_lm.evaluation.novelty import novelty

    text = read_text(parsed.text, parsed.text_encoding)
    stream = read_stream(parsed, chosen_tokenizer(parsed), parsed.normalize)
    result = novelty(text, stream, max_n=parsed.max_n, num_passages=parsed.passages)
    print(json.dumps(dataclasses.asdict(result), ensure_ascii=False) if parsed.format == "json" else result)
    return 0
