"""Helpers of the commands: options for reading, types of options, input files, models and printed metrics."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO

from zh_lstm_lm.errors import ConfigError, DataError, escape_controls

if TYPE_CHECKING:
    from zh_lstm_lm.corpus.token_stream import TokenStream
    from zh_lstm_lm.text.files import TextFile
    from zh_lstm_lm.tokenizers.base import LosslessTokenizer
    from zh_lstm_lm.training.trainer import Trainer

__all__ = [
    "INTERRUPTED", "add_encoding", "add_reading", "add_sets", "at_least", "check_sets", "chosen_tokenizer",
    "corpus_files", "duration", "given", "load_model", "option", "output_path", "path", "print_line", "print_page", "print_plan",
    "print_reading", "proportion", "read_sets", "read_stream", "read_text", "source_name", "text", "write_text",
]  # fmt: skip

# Options of single tokenizers, and the tokenizers that have them.
_TOKENIZERS = {"user_dictionary": ("jieba", "rjieba"), "separator": ("whitespace",)}

INTERRUPTED = 130
"""The exit status after Ctrl-C."""


def add_reading(command: argparse.ArgumentParser, *, tokenizer: bool = True, records: bool = True) -> None:
    """Adds the options that say how a corpus is read."""
    add = command.add_argument_group("reading").add_argument
    if tokenizer:
        add("--tokenizer", help="jieba, rjieba, characters, or whitespace for given words (default: jieba)")
        add(
            "--user-dictionary",
            type=path,
            metavar="FILE",
            help="your own words for jieba or rjieba, 'word [frequency]' on each line (default: none)",
        )
        add("--separator", metavar="SPACES", help="of words for whitespace, such as two spaces (default: one space)")
    add("--encoding", type=encoding, default="auto", help="of all files, or auto to detect it (default: %(default)s)")
    add("--clean", default="novel", help="novel, none, or steps joined by + (default: %(default)s)")
    if tokenizer:
        add(
            "--normalize",
            default="auto",
            help="nfc, width, nfkc and simplified, joined by +, or none; auto is nfc+width (default: %(default)s)",
        )
    if records:
        add(
            "--text-field",
            metavar="NAME",
            help="read this field of the records of JSON, JSON Lines, CSV and TSV files, or line: each line of a text is a "
            "record (default: running text)",
        )
    add("--cache-dir", type=path, metavar="FOLDER", help="of segmented text (default: the user's cache folder)")
    add("--workers", type=at_least(1), help="processes that segment (default: by the size of the corpus)")


def add_encoding(command: Any, name: str = "--encoding") -> None:
    """Adds the encoding of a text that is read by `read_text`."""
    command.add_argument(
        name, type=encoding, default="auto", help="of the text, or auto to detect it (default: %(default)s)"
    )


def encoding(name: str) -> str:
    """Converts an option that is an encoding."""
    from zh_lstm_lm.text.decoding import check_encoding

    try:
        check_encoding(name)
    except DataError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("encoding ")) from error
    return name


def path(text: str) -> str:
    """Converts an option that is a path: ``~`` is the home folder, also where no shell has expanded it."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"must be a path, got {text!r}")
    return os.path.expanduser(text)


def output_path(text: str) -> str:
    """Converts an option that is a path to write to; ``-`` is standard input only."""
    if text == "-":
        raise argparse.ArgumentTypeError(
            "must be a path, got '-'; /dev/stdout is standard output, ./- a file of this name"
        )
    return path(text)


def text(argument: str) -> str:
    """Converts an option that is text; the bytes of an argument in another encoding are refused."""
    if not argument.isprintable() and any("\ud800" <= character <= "\udfff" for character in argument):
        raise argparse.ArgumentTypeError(f"must be text in the encoding of the terminal, got {argument!r}")
    return argument


def at_least(minimum: int) -> Callable[[str], int]:
    """Returns a converter of options that are integers of at least `minimum`."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be an integer of at least {minimum}, got {text!r}")
        return value

    return convert


def proportion(text: str) -> float:
    """Converts an option that is a proportion of a corpus."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be a proportion, such as 0.05 for five percent, got {text!r}")
    return value


def option(name: str) -> str:
    """Returns the option for a name of the library."""
    return "--" + name.replace("_", "-")


def given(parsed: argparse.Namespace, *names: str, **renamed: str) -> dict[str, Any]:
    """Returns the options that were given, by their names in the library."""
    pairs = [*((name, name) for name in names), *renamed.items()]
    return {name: getattr(parsed, typed) for name, typed in pairs if getattr(parsed, typed) is not None}


def chosen_tokenizer(parsed: argparse.Namespace) -> Any:
    """Makes the tokenizer of `add_reading`'s options."""
    from zh_lstm_lm.tokenizers.registry import get_tokenizer

    tokenizer, options = parsed.tokenizer or "jieba", given(parsed, *_TOKENIZERS)
    for name in options:
        if tokenizer not in _TOKENIZERS[name]:
            raise ConfigError(f"{option(name)} goes with --tokenizer {' or '.join(_TOKENIZERS[name])}, got {tokenizer}")
    if tokenizer in ("hf", "sentencepiece"):
        raise ConfigError(f"--tokenizer {tokenizer} needs a file; use get_tokenizer('{tokenizer}', path=…) in Python")
    return get_tokenizer(tokenizer, **options)


def corpus_files(parsed: argparse.Namespace, paths: list[str] | None = None) -> "list[TextFile]":
    """Lists the files of the corpus of a command, or of other paths."""
    from zh_lstm_lm.text.documents import ReadingOptions
    from zh_lstm_lm.text.files import find_files

    return find_files(paths or parsed.paths, endings=ReadingOptions(text_field=parsed.text_field).endings)


def read_stream(
    parsed: argparse.Namespace, tokenizer: Any, normalize: str, paths: list[str] | None = None
) -> "TokenStream":
    """Reads the corpus of a command, or other paths, by `add_reading`'s options."""
    from zh_lstm_lm.corpus.token_stream import TokenStream

    options: dict[str, Any] = {
        **given(parsed, "encoding", "clean", "cache_dir", "workers"),
        "document_ends": getattr(parsed, "document_ends", False),
        "tokenizer": tokenizer,
        "normalize": normalize,
    }
    if getattr(parsed, "text_field", None) is not None:
        return TokenStream.from_records(paths or parsed.paths, text_field=parsed.text_field, **options)
    return TokenStream.from_files(paths or parsed.paths, **options)


def add_sets(command: argparse.ArgumentParser) -> None:
    """Adds the options of the validation and the test set."""
    add = command.add_argument
    for part, name in (("valid", "validation set"), ("test", "test set")):
        about = f"proportion of every document for the {name}, 0 for none (default: 0.05 without --{part}-file)"
        add(f"--{part}", type=proportion, help=about)
        about = f"texts of the {name}, which are not among the others (default: by --{part})"
        add(f"--{part}-file", type=path, nargs="+", metavar="FILE", help=about)


def check_sets(parsed: argparse.Namespace) -> None:
    """Settles the proportions of the validation and the test set; refuses options that contradict each other."""
    training = {os.path.realpath(file.path) for file in corpus_files(parsed)}
    for part in ("valid", "test"):
        paths, given_proportion = getattr(parsed, f"{part}_file"), getattr(parsed, part)
        if paths and given_proportion:
            raise ConfigError(f"--{part} and --{part}-file exclude each other; leave --{part} {given_proportion:g} out")
        for file in corpus_files(parsed, paths) if paths else ():
            if os.path.realpath(file.path) in training:
                raise ConfigError(f"{file}: --{part}-file is among the training files; name those without it")
        if given_proportion is None:
            setattr(parsed, part, 0.0 if paths else 0.05)
    if parsed.valid + parsed.test >= 1:
        raise ConfigError(
            f"--valid {parsed.valid:g} and --test {parsed.test:g} leave nothing for training; valid + test must be below 1"
        )


def read_sets(
    parsed: argparse.Namespace, tokenizer: Any, normalize: str
) -> "tuple[TokenStream, TokenStream, TokenStream]":
    """Reads the training, the validation and the test set by the options of `add_sets`."""
    corpus = read_stream(parsed, tokenizer, normalize)
    train, valid, test = corpus.split(valid=parsed.valid, test=parsed.test)
    if parsed.valid_file:
        valid = read_stream(parsed, tokenizer, corpus.normalize, parsed.valid_file)
    if parsed.test_file:
        test = read_stream(parsed, tokenizer, corpus.normalize, parsed.test_file)
    return train, valid, test


def print_reading(parsed: argparse.Namespace, tokenizer: "LosslessTokenizer") -> None:
    """Prints the number of files to read and the time that it takes."""
    from zh_lstm_lm.corpus.stream_reading import estimate_reading

    files = corpus_files(parsed)
    seconds = estimate_reading(files, tokenizer, encoding=parsed.encoding, workers=parsed.workers)
    megabytes = sum(file.path.stat().st_size for file in files) / 1e6
    estimate = f": about {duration(seconds)}, or at once from the cache" if seconds is not None else ""
    print(f"reading {len(files):,} files, {megabytes:,.1f} MB{estimate}", flush=True)


def print_plan(trainer: "Trainer", test: "TokenStream") -> None:
    """Prints the sizes of the corpus and of the model, and the time that training and the final test take."""
    import torch

    from zh_lstm_lm.models.config import seconds_per_token
    from zh_lstm_lm.runtime.devices import choose_device

    model, config = trainer.model, trainer.config
    sizes = model.config
    sets = [trainer.train, test] if trainer.valid is None else [trainer.train, trainer.valid, test]
    characters, tokens = sum(each.num_characters for each in sets), sum(map(len, sets))
    print(
        f"{trainer.train.num_documents:,} documents, {characters:,} characters, {tokens:,} tokens, of which "
        f"{len(trainer.train):,} for training; "
        f"vocabulary {len(model.vocabulary):,}; {model.num_parameters:,} weights (embedding "
        f"{sizes.embedding_dim}, hidden {sizes.hidden_size}, {sizes.output} softmax)"
    )
    each = seconds_per_token(
        sizes.embedding_dim,
        sizes.hidden_size,
        torch.tensor(model.vocabulary.counts),
        full=sizes.output == "full",
        device=choose_device(config.device),
    )
    epoch = each * (len(trainer.train) + len(trainer.valid or ()) / 3)
    epochs = config.max_epochs or (None if config.max_steps or config.max_minutes else 3)
    budgets = [f"{epochs} epoch{'s' * (epochs > 1)}, about {duration(epochs * epoch)}"] if epochs else []
    budgets += [f"{config.max_steps:,} updates"] if config.max_steps else []
    budgets += [f"{config.max_minutes:g} minutes"] if config.max_minutes else []
    covered = "--minutes covers n-grams, updates, validation and checkpoints, neither reading nor the final test; "
    print(
        f"training: {', or '.join(budgets)}; {covered if config.max_minutes else ''}final test: about "
        f"{duration(each / 3 * len(test))}",
        flush=True,
    )


def duration(seconds: float) -> str:
    """Returns a duration as text."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:,.0f} minutes" if seconds < 6000 else f"{seconds / 3600:,.1f} hours"


def load_model(path: str) -> Any:
    """Loads a saved model of any kind."""
    from zh_lstm_lm.models.saved_mixture import from_pretrained

    return from_pretrained(path)


def print_line(line: str, *, file: TextIO | None = None) -> None:
    """Prints a message with file names in it; characters that the stream cannot show are escaped."""
    file = file or sys.stdout
    encoding = file.encoding or "utf-8"
    print(escape_controls(line).encode(encoding, "backslashreplace").decode(encoding), file=file, flush=True)


def print_page(page: Path) -> None:
    """Prints the place and the size of a page that was written."""
    print_line(f"{page}: {page.stat().st_size / 1000:,.0f} KB")


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file, whole or not at all, and keeps an earlier one; see `write_file`."""
    from zh_lstm_lm.storage.user_files import write_file

    write_file(path, text.encode("utf-8"), keep=True)


def source_name(path: str) -> str:
    """Returns the name of an input in messages: its path, or ``standard input`` for ``-``."""
    return "standard input" if path == "-" else path


def read_text(path: str, encoding: str = "auto", expected: str = "a text file") -> str:
    """Reads a text file, or standard input for ``-``; raises DataError, with what is expected, if it cannot."""
    from zh_lstm_lm.text.decoding import decode, normalize_line_ends

    name = source_name(path)
    try:
        buffer: IO[bytes] = sys.stdin.buffer
        data = buffer.read() if path == "-" else Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{name}: cannot be read ({reason}); give {expected}") from error
    return normalize_line_ends(decode(data, encoding=encoding, name=name).text)
