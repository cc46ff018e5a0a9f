"""The command ``info``."""

import argparse

from zh_lstm_lm.cli.common import AddCommand, load_model, path, print_line

__all__ = ["add_command"]


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    info = add("info", _info, "Describe a saved model.")
    info.add_argument("model", type=path, help="folder of a saved model")


def _info(parsed: argparse.Namespace) -> int:
    model = load_model(parsed.model)
    vocabulary = model.vocabulary
    print_line(f"model       {parsed.model}, {model.num_parameters:,} weights")
    print_line(f"vocabulary  {len(vocabulary):,} tokens, unknown={vocabulary.unknown}")
    print_line(f"tokenizer   {vocabulary.tokenizer.fingerprint}")
    print_line(f"normalize   {vocabulary.normalize}")
    sections = {
        "config": model.config.to_dict(),
        "training": model.training_summary,
        "generation": model.generation_config,
    }
    for title, values in sections.items():
        for name, value in values.items():
            # Whoever made the folder may have put anything there.
            print_line("".join(filter(str.isprintable, f"{title:<11} {name}={value}")))
    return 0
