"""The command ``generate``."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from zh_lstm_lm.cli.common import (
    add_reading,
    at_least,
    given,
    load_model,
    option,
    output_path,
    path,
    print_line,
    read_stream,
    read_text,
    text,
    write_text,
)
from zh_lstm_lm.runtime.control_characters import unescaped

if TYPE_CHECKING:
    from zh_lstm_lm.corpus.token_stream import TokenStream
    from zh_lstm_lm.generation.sampler import Sampler
    from zh_lstm_lm.models.base import LanguageModel

__all__ = ["add_generate", "parse_bias", "parse_lengths", "parse_word"]

_NUMBERS = {
    "temperature": "below 1 likely words become likelier, 0 always takes the likeliest (default: 0.8)",
    "top_p": "keep the likeliest words that together have this probability (default: 0.95)",
    "min_p": "keep words of at least this proportion of the likeliest one's probability (default: 0.0)",
    "repetition_penalty": "above 1, words that occurred become less likely (default: 1.0)",
    "frequency_penalty": "subtracted from a word's log-probability for each occurrence (default: 0.0)",
    "presence_penalty": "subtracted from the log-probability of a word that occurred (default: 0.0)",
    "cache_weight": "weight of the cache, which makes words that occurred likelier (default: the model's, at most 0.05)",
}
_INTEGERS = {
    "top_k": "keep this number of likeliest words, 0 for all (default: 0)",
    "penalty_window": "number of latest words that penalties look at (default: all)",
    "no_repeat_ngram_size": "no n-gram of this size occurs twice, 0 for no limit (default: 0)",
    "seed": "seed of the random numbers; equal seeds give equal texts (default: 0)",
}
_SWITCHES = {
    "balanced_pairs": "close quotes and brackets in order (default: True)",
    "tidy_paragraphs": "no closing punctuation at the start of a paragraph, or after a comma (default: True)",
}
_LIMITS = {
    "max_new_tokens": "words to write (default: 200 if no limit is given)",
    "min_new_tokens": "words before which no other limit ends the text (default: 0)",
    "max_characters": "length of the text, prompt included (default: no limit)",
    "max_sentences": "sentences to write (default: no limit)",
    "max_paragraphs": "paragraphs to write (default: no limit)",
    "max_chapters": "chapters to write; the heading of the next one is left out (default: no limit)",
}


def add_generate(generate: argparse.ArgumentParser) -> None:
    """Adds the options of ``generate``."""
    generate.set_defaults(run=_generate)
    add = generate.add_argument
    add("model", type=path, help="folder of a saved model")
    add("--prompt", type=text, default="", help="start of the text (default: the start of a document)")
    _add_model(generate)
    _add_limits(generate)
    _add_forms(generate)
    _add_sampling(generate)
    _add_output(generate)
    add_reading(generate, tokenizer=False)


def _add_model(generate: argparse.ArgumentParser) -> None:
    add = generate.add_argument_group("persons and style").add_argument
    add(
        "--like",
        type=path,
        nargs="+",
        action="extend",
        metavar="FILE",
        help="write like this book, with its persons and in its style; nothing is trained (default: no book)",
    )
    add("--like-weight", type=float, help="weight of the book's words beside the model's, from 0 to 1 (default: 0.5)")
    add(
        "--cache",
        action=argparse.BooleanOptionalAction,
        help="make names and phrases that occurred likelier (default: as the model was saved, and with --like)",
    )


def _add_limits(generate: argparse.ArgumentParser) -> None:
    add = generate.add_argument_group("limits", "The first limit that is reached ends the text.").add_argument
    for name, about in _LIMITS.items():
        add(option(name), type=int, help=about)
    add(
        "--end",
        choices=["sentence", "none"],
        default="sentence",
        help="end before --max-characters with the last sentence, or none: exactly there (default: %(default)s)",
    )
    add("--max-time", type=float, metavar="SECONDS", help="time to write (default: no limit)")
    add(
        "--stop",
        type=text,
        action="append",
        help="end with this string, or document: at the end of a poem and the like; may be repeated (default: none)",
    )


def _add_forms(generate: argparse.ArgumentParser) -> None:
    add = generate.add_argument_group(
        "forms", "What is asked for is met exactly, or it is said what could not be."
    ).add_argument
    add(
        "--line-lengths",
        type=parse_lengths,
        metavar="N[,N…]",
        help="characters of each line without marks, or of all lines, as in 7,7,7,7 (default: any)",
    )
    add(
        "--first-characters",
        type=text,
        metavar="TEXT",
        help="first characters of the lines, or of the paragraphs without --line-lengths, as in 春夏秋冬 (default: any)",
    )
    add(
        "--must-contain",
        type=parse_word,
        action="append",
        metavar="WORD[=N]",
        help="word that must occur, within N characters if given, as in 展昭=60; may be repeated (default: none)",
    )
    add(
        "--rename",
        type=text,
        action="append",
        metavar="OLD=NEW",
        help="write a name of the corpus as your own, as in 展昭=李寻欢, or a file of such lines, with tabs; may be repeated "
        "(default: none)",
    )


def _add_sampling(generate: argparse.ArgumentParser) -> None:
    add = generate.add_argument_group(
        "sampling", "A model may have defaults of its own; 'info' shows them."
    ).add_argument
    for name, about in _NUMBERS.items():
        add(option(name), type=float, help=about)
    for name, about in _INTEGERS.items():
        add(option(name), type=int, help=about)
    for name, about in _SWITCHES.items():
        add(option(name), action=argparse.BooleanOptionalAction, help=about)
    add(
        "--ban",
        type=text,
        dest="banned_words",
        action="append",
        help="never write this; may be repeated (default: none)",
    )
    add(
        "--word-bias",
        type=parse_bias,
        action="append",
        metavar="WORD=NUMBER",
        help="added to the log-probability of a word, as in 展昭=2; may be repeated (default: none)",
    )


def _add_output(generate: argparse.ArgumentParser) -> None:
    output = generate.add_argument_group("output")
    add = output.add_mutually_exclusive_group().add_argument
    add("--output", type=output_path, metavar="FILE", help="file for the text (default: standard output)")
    add("--interactive", action="store_true", help="write together: the model and you in turn")
    add = output.add_mutually_exclusive_group().add_argument
    add("--num-samples", type=at_least(1), metavar="N", help="texts to write (default: 1)")
    add("--best-of", type=at_least(1), metavar="N", help="write N texts, keep the likeliest per word (default: 1)")
    add = output.add_argument
    add("--resume", action="store_true", help="continue an --output that was interrupted")
    add(
        "--novelty",
        dest="paths",
        type=path,
        metavar="CORPUS",
        action="append",
        help="show what was copied from this training text, on stderr, or with --output in FILE.novelty.txt; may be "
        "repeated (default: none)",
    )


def parse_bias(argument: str) -> tuple[str, float]:
    """Converts ``WORD=NUMBER``."""
    word, _, bias = text(argument).rpartition("=")
    try:
        if word:
            return word, float(bias)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be a word and a number, as in 展昭=2, got {argument!r}")


def parse_lengths(argument: str) -> int | list[int]:
    """Converts one number, or several with commas between them."""
    try:
        numbers = list(map(int, argument.replace("，", ",").split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be numbers, as in 7 or 5,7,5,7, got {argument!r}") from None
    return numbers if len(numbers) > 1 else numbers[0]


def parse_word(argument: str) -> tuple[str, int | None]:
    """Converts ``WORD`` or ``WORD=NUMBER``."""
    word, _, number = text(argument).partition("=")
    if number and not number.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a word, or a word and a number, as in 展昭=60, got {argument!r}")
    return word, int(number) if number else None


def _generate(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.generation.config import SamplerConfig
    from zh_lstm_lm.generation.forms.names import parse_names
    from zh_lstm_lm.generation.limits import Limits
    from zh_lstm_lm.generation.sampler import Sampler

    _check_combination(parsed)
    options = given(parsed, *_NUMBERS, *_INTEGERS, *_SWITCHES, "banned_words", "word_bias")
    for given_names in parsed.rename or ():
        expected = "OLD=NEW, as in 展昭=李寻欢, or a file of such lines"
        source = given_names if "=" in given_names else read_text(given_names, expected=expected)
        options["rename"] = (*options.get("rename", ()), *parse_names(source))
    limits = given(parsed, *_LIMITS, "max_time", "stop", "line_lengths", "first_characters")
    if parsed.must_contain:
        limits["must_contain"] = dict(parsed.must_contain)
    if parsed.max_characters is not None and parsed.end == "sentence":
        limits["end"] = "sentence"
    # Mistakes are reported before the model is loaded.
    SamplerConfig.from_dict(options)
    Limits(**limits)
    model = _load(parsed)
    defaults = getattr(model, "generation_config", {})
    sampler = Sampler(model, SamplerConfig.from_dict({**defaults, **options}))
    if parsed.interactive:
        from zh_lstm_lm.cli.interactive import co_write

        return co_write(sampler, parsed.prompt, limits)
    vocabulary = model.vocabulary
    corpus = read_stream(parsed, vocabulary.tokenizer, vocabulary.normalize) if parsed.paths else None
    if parsed.output:
        _write_file(parsed, sampler, limits, corpus)
    else:
        written = ""
        for piece in _pieces(parsed, sampler, limits):
            print(piece, end="", flush=True)
            written += piece
        print()
        _report_names(sampler, written)
        if corpus is not None:
            print(_novelty(written, corpus), file=sys.stderr)
    return 0


def _report_names(sampler: "Sampler", text: str) -> None:
    """Reports on stderr whether names of the corpus are left in a text."""
    if replaced := sampler.names.replaced:
        left = ", ".join(f"{name} ({count})" for name, count in sampler.names.left(text).most_common())
        found = f"left in the text: {left}" if left else f"none of {len(replaced)} names of the corpus is left"
        print_line(f"rename: {found}", file=sys.stderr)


def _load(parsed: argparse.Namespace) -> "LanguageModel":
    """Loads the model, with the cache and the book of the options."""
    from zh_lstm_lm.generation.like import add_cache, model_like
    from zh_lstm_lm.models.continuous_cache import ContinuousCache

    model: LanguageModel = load_model(parsed.model)
    if parsed.cache is False and isinstance(model, ContinuousCache):
        model = model.model
    if parsed.like:
        vocabulary = model.vocabulary
        book = read_stream(parsed, vocabulary.tokenizer, vocabulary.normalize, parsed.like)
        return model_like(model, book, cache=parsed.cache is not False, **given(parsed, weight="like_weight"))
    return add_cache(model) if parsed.cache and not isinstance(model, ContinuousCache) else model


def _check_combination(parsed: argparse.Namespace) -> None:
    """Refuses options that contradict each other."""
    from zh_lstm_lm._config import check_number
    from zh_lstm_lm.errors import ConfigError

    check_number("like_weight", parsed.like_weight, maximum=1.0, optional=True)
    if parsed.like_weight is not None and not parsed.like:
        raise ConfigError("--like-weight is the weight of a book; name the book with --like FILE")
    several = "--num-samples" if parsed.num_samples else "--best-of" if parsed.best_of else None
    if parsed.resume and not parsed.output:
        raise ConfigError("--resume continues a file; name it with --output FILE")
    if parsed.paths and parsed.interactive:
        raise ConfigError("--novelty needs a complete text; save yours, and give it to the command novelty")
    if several and (parsed.resume or parsed.interactive):
        raise ConfigError(f"{several} goes with neither --resume nor --interactive; leave one of them out")


def _pieces(parsed: argparse.Namespace, sampler: "Sampler", limits: dict[str, Any]) -> Any:
    """Yields the text, or the texts of ``--num-samples``, each under a line with its number."""
    if parsed.best_of:
        results = sampler.generate(parsed.prompt, num_samples=parsed.best_of, return_results=True, **limits)
        yield max(results, key=lambda result: result.mean_log_prob).text
    elif parsed.num_samples:
        texts = sampler.generate(parsed.prompt, num_samples=parsed.num_samples, **limits)
        for number, text in enumerate(texts, 1):
            yield f"--- {number} of {len(texts)} ---\n{text}" + "\n" * (number < len(texts))
    else:
        yield from sampler.stream(parsed.prompt, **limits)


def _write_file(
    parsed: argparse.Namespace, sampler: "Sampler", limits: dict[str, Any], corpus: "TokenStream | None"
) -> None:
    """Writes the text, and what of it was copied, into files."""
    from pathlib import Path

    from zh_lstm_lm.storage.user_files import check_file

    path, characters = Path(parsed.output), 0

    def progress(reached: int) -> None:
        nonlocal characters
        characters = reached
        if sys.stderr.isatty():
            print(f"\r{characters:,} characters", end="", file=unescaped(sys.stderr), flush=True)

    if parsed.num_samples or parsed.best_of:
        check_file(path)
        text = "".join(_pieces(parsed, sampler, limits))
        write_text(path, text)
        characters = len(text)
    else:
        sampler.write(path, prompt=parsed.prompt, resume=parsed.resume, progress=progress, **limits)
    print_line(f"{characters:,} characters in {path}")
    written = path.read_text(encoding="utf-8") if sampler.names.replaced or corpus is not None else ""
    _report_names(sampler, written)
    if corpus is not None:
        beside = path.with_name(f"{path.name}.novelty.txt")
        write_text(beside, f"{_novelty(written, corpus)}\n")
        print_line(f"copied passages are in {beside}")


def _novelty(text: str, corpus: "TokenStream") -> str:
    from zh_lstm_lm.evaluation.novelty import novelty

    return str(novelty(text, corpus))
