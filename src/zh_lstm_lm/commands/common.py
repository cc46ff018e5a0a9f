"""What the commands share: options for reading, what was typed, models, figures."""

import argparse
import sys
from collections.abc import Callable

from zh_lstm_lm.errors import DataError

TYPE_CHECKING = False  # true for type checkers; typing takes longer than the parsing of a command line
if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO, Any

    from zh_lstm_lm.model import LSTMLanguageModel
    from zh_lstm_lm.token_stream import TokenStream

__all__ = [
    "INTERRUPTED",
    "AddCommand",
    "add_reading",
    "chosen_tokenizer",
    "figures",
    "given",
    "load_model",
    "option",
    "read_stream",
    "read_text",
    "standard_input",
    "tell_page",
    "write_text",
]

INTERRUPTED = 130
"""The exit status after Ctrl-C."""

AddCommand = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]
"""Takes a command's name, handler and purpose; returns the parser that its options go into."""


def add_reading(command: argparse.ArgumentParser, *, tokenizer: bool = True) -> None:
    """The options that say how files are read."""
    reading = command.add_argument_group("reading")
    if tokenizer:
        reading.add_argument("--tokenizer", default=None, help="jieba (the default), rjieba, characters or pkuseg")
        reading.add_argument(
            "--user-dictionary", metavar="FILE", help="words of your own for jieba or rjieba: word [frequency] a line"
        )
    reading.add_argument("--encoding", default="auto", help="auto, or the encoding of all files")
    reading.add_argument("--clean", default="novel", help="novel, or none for the text as it is")
    if tokenizer:
        reading.add_argument(
            "--normalize", default="auto", help="nfc, width, nfkc, simplified, joined by +; none; auto is nfc+width"
        )
    reading.add_argument("--cache-dir", help="where to keep segmented text")
    reading.add_argument("--workers", type=int, help="processes to segment with")


def option(name: str) -> str:
    """A name of the library as an option."""
    return "--" + name.replace("_", "-")


def given(parsed: argparse.Namespace, *names: str, **renamed: str) -> "dict[str, Any]":
    """The options that were typed, by the name that the library has for them."""
    pairs = [*((name, name) for name in names), *renamed.items()]
    return {name: getattr(parsed, typed) for name, typed in pairs if getattr(parsed, typed) is not None}


def chosen_tokenizer(parsed: argparse.Namespace) -> "Any":
    """The tokenizer that was asked for."""
    from zh_lstm_lm.tokenizers.registry import get_tokenizer

    return get_tokenizer(parsed.tokenizer or "jieba", **given(parsed, "user_dictionary"))


def read_stream(parsed: argparse.Namespace, tokenizer: "Any", normalize: str) -> "TokenStream":
    """The files that were named, as a stream."""
    from zh_lstm_lm.token_stream import TokenStream

    return TokenStream.from_files(
        parsed.paths,
        tokenizer=tokenizer,
        encoding=parsed.encoding,
        clean=parsed.clean,
        normalize=normalize,
        cache_dir=parsed.cache_dir,
        workers=parsed.workers,
    )


def load_model(path: str) -> "LSTMLanguageModel":
    """A saved model."""
    from zh_lstm_lm.model import LSTMLanguageModel

    return LSTMLanguageModel.from_pretrained(path)


def figures(result: "Any") -> str:
    """What was measured, in a line."""
    bits = result.bits_per_character
    told = f"{result.num_characters:,} characters  {bits:.4f} bits/character" if bits is not None else ""
    unknown = "" if bits is not None else f"unknown {result.unknown_rate:.2%}"
    without = "" if bits is not None else f" ({result.perplexity_excluding_unknown:,.2f} without <unk>)"
    return f"{told}{unknown}  perplexity {result.perplexity:,.2f} per token{without}  {result.num_tokens:,} tokens"


def tell_page(page: "Path") -> None:
    """Prints where a page was written, and its size."""
    print(f"{page}: {page.stat().st_size / 1000:,.0f} KB")


def write_text(path: "str | Path", text: str) -> None:
    """Writes a text file, whole or not at all; see `write_file`."""
    from zh_lstm_lm.user_files import write_file

    write_file(path, text.encode("utf-8"))


def standard_input() -> str:
    """All of standard input as text, whatever its encoding."""
    from zh_lstm_lm.text.decoding import decode, normalize_line_ends

    buffer: IO[bytes] = sys.stdin.buffer
    return normalize_line_ends(decode(buffer.read(), name="standard input").text)


def read_text(path: str) -> str:
    """A text file, or with - standard input, whatever its encoding."""
    if path == "-":
        return standard_input()
    from pathlib import Path

    from zh_lstm_lm.text.decoding import decode, normalize_line_ends

    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return normalize_line_ends(decode(data, name=path).text)
