"""Writing text."""

import argparse

from zh_lstm_lm.commands.common import AddCommand, given, load_model, option

__all__ = ["add_commands"]

_SAMPLING_NUMBERS = (
    "temperature",
    "top_p",
    "min_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
)
_SAMPLING_INTEGERS = ("top_k", "penalty_window", "no_repeat_ngram_size", "seed")


def add_commands(add: AddCommand) -> None:
    """Adds the commands of this file."""
    generate = add("generate", _generate, "Write text with a model.")
    generate.add_argument("model", help="folder of a saved model")
    generate.add_argument("--prompt", default="", help="what the text begins with")
    generate.add_argument("--max-new-tokens", type=int, help="words to write (200 where no limit is given)")
    generate.add_argument("--max-characters", type=int, help="length of the text, prompt included")
    generate.add_argument("--stop", action="append", help="end with this string; may be given several times")
    for name in _SAMPLING_NUMBERS:
        generate.add_argument(option(name), type=float)
    for name in _SAMPLING_INTEGERS:
        generate.add_argument(option(name), type=int)
    generate.add_argument("--ban", dest="banned_words", action="append", help="never write this; may be repeated")
    generate.add_argument("--output", metavar="FILE", help="write into this file in place of the screen")


def _generate(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.sampler import Sampler, SamplerConfig

    config = SamplerConfig(**given(parsed, *_SAMPLING_NUMBERS, *_SAMPLING_INTEGERS, "banned_words"))
    limits = given(parsed, "max_new_tokens", "max_characters", "stop")
    sampler = Sampler(load_model(parsed.model), config)
    if parsed.output:
        path = sampler.write(parsed.output, prompt=parsed.prompt, **limits)
        print(f"{len(path.read_text(encoding='utf-8')):,} characters in {path}")
        return 0
    for piece in sampler.stream(parsed.prompt, **limits):
        print(piece, end="", flush=True)
    print()
    return 0
