"""Writing text."""

import argparse
import sys

from zh_lstm_lm.commands.common import AddCommand, add_reading, given, load_model, option, read_stream, write_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zh_lstm_lm.memorization import Novelty
    from zh_lstm_lm.model import LSTMLanguageModel

__all__ = ["add_commands"]

_SAMPLING_NUMBERS = (
    "temperature",
    "top_p",
    "min_p",
    "typical_p",
    "top_h",
    "epsilon_cutoff",
    "eta_cutoff",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
)
_SAMPLING_INTEGERS = ("top_k", "penalty_window", "no_repeat_ngram_size", "seed")
_SAMPLING_SWITCHES = ("balanced_pairs", "tidy_paragraphs")
_LIMITS = (
    "max_new_tokens",
    "min_new_tokens",
    "max_characters",
    "max_sentences",
    "max_paragraphs",
    "max_chapters",
    "max_time",
    "stop",
)


def add_commands(add: AddCommand) -> None:
    """Adds the commands of this file."""
    generate = add("generate", _generate, "Write text with a model.")
    generate.add_argument("model", help="folder of a saved model")
    generate.add_argument("--prompt", default="", help="what the text begins with")
    generate.add_argument("--max-new-tokens", type=int, help="words to write (200 where no limit is given)")
    generate.add_argument("--min-new-tokens", type=int, help="words that come before another limit may end the text")
    generate.add_argument("--max-characters", type=int, help="length of the text, prompt included")
    generate.add_argument("--max-sentences", type=int, help="sentences to write")
    generate.add_argument("--max-paragraphs", type=int, help="paragraphs to write")
    generate.add_argument("--max-chapters", type=int, help="chapters to write; the heading of the next one is left out")
    generate.add_argument("--max-time", type=float, metavar="SECONDS", help="how long to write")
    generate.add_argument("--stop", action="append", help="end with this string; may be given several times")
    for name in _SAMPLING_NUMBERS:
        generate.add_argument(option(name), type=float)
    for name in _SAMPLING_INTEGERS:
        generate.add_argument(option(name), type=int)
    for name in _SAMPLING_SWITCHES:
        generate.add_argument(option(name), action=argparse.BooleanOptionalAction)
    generate.add_argument("--ban", dest="banned_words", action="append", help="never write this; may be repeated")
    place = generate.add_mutually_exclusive_group()
    place.add_argument("--output", metavar="FILE", help="write into this file in place of the screen")
    place.add_argument("--interactive", action="store_true", help="write together: the model and you in turn")
    generate.add_argument(
        "--novelty",
        dest="paths",
        metavar="CORPUS",
        action="append",
        help="tell what of the text was copied from this training text, on stderr, or with --output in FILE.novelty.txt; "
        "may be repeated",
    )
    add_reading(generate, tokenizer=False)
    generate.add_argument("--resume", action="store_true", help="go on with an --output that was interrupted")


def _generate(parsed: argparse.Namespace) -> int:
    from pathlib import Path

    from zh_lstm_lm.errors import ConfigError
    from zh_lstm_lm.sampler import Sampler
    from zh_lstm_lm.sampler_config import SamplerConfig
    from zh_lstm_lm.user_files import is_special

    if parsed.resume and not parsed.output:
        raise ConfigError("--resume goes on with a file; name it with --output FILE")
    if parsed.paths and parsed.interactive:
        raise ConfigError("--novelty looks at a text that is complete; save yours, and give it to the novelty command")
    if parsed.paths and parsed.output and is_special(Path(parsed.output)):
        raise ConfigError(f"--novelty reads the text again, which {parsed.output} does not let it; give a file")
    options = given(parsed, *_SAMPLING_NUMBERS, *_SAMPLING_INTEGERS, *_SAMPLING_SWITCHES, "banned_words")
    SamplerConfig.from_dict(options)  # a mistake is told before the model is loaded
    model = load_model(parsed.model)
    sampler = Sampler(model, SamplerConfig.from_dict({**model.generation_config, **options}))
    limits = given(parsed, *_LIMITS)
    if parsed.interactive:
        from zh_lstm_lm.commands.co_writing import co_write

        return co_write(sampler, parsed.prompt, limits)
    if parsed.output:
        written = 0

        def progress(characters: int) -> None:
            nonlocal written
            written = characters
            if sys.stderr.isatty():
                print(f"\r{characters:,} characters", end="", file=sys.stderr, flush=True)

        path = sampler.write(parsed.output, prompt=parsed.prompt, resume=parsed.resume, progress=progress, **limits)
        print(f"{written:,} characters in {path}")
        if parsed.paths:
            beside = path.with_name(f"{path.name}.novelty.txt")
            write_text(beside, f"{_novelty(parsed, model, path.read_text(encoding='utf-8'))}\n")
            print(f"what of it was copied is in {beside}")
        return 0
    text = ""
    for piece in sampler.stream(parsed.prompt, **limits):
        print(piece, end="", flush=True)
        text += piece
    print()
    if parsed.paths:
        print(_novelty(parsed, model, text), file=sys.stderr)
    return 0


def _novelty(parsed: argparse.Namespace, model: "LSTMLanguageModel", text: str) -> "Novelty":
    from zh_lstm_lm.memorization import novelty

    return novelty(text, read_stream(parsed, model.vocabulary.tokenizer, model.vocabulary.normalize))
