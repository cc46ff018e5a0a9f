"""The command ``info``."""

import argparse

from zh_lstm_lm.cli.common import AddCommand, load_model, tell

__all__ = ["add_command"]


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    info = add("info", _info, "Tell what a saved model is.")
    info.add_argument("model", help="folder of a saved model")


def _info(parsed: argparse.Namespace) -> int:
    model = load_model(parsed.model)
    vocabulary = model.vocabulary
    tell(f"model       {parsed.model}, {model.num_parameters:,} weights")
    print(f"vocabulary  {len(vocabulary):,} tokens, unknown={vocabulary.unknown}")
    tell(f"tokenizer   {vocabulary.tokenizer.fingerprint}")
    print(f"normalize   {vocabulary.normalize}")
    for title, values in (("config", model.config.to_dict()), ("training", model.training_summary)):
        for name, value in values.items():
            line = f"{title:<11} {name}={value}"
            print("".join(filter(str.isprintable, line)))  # whoever made the folder may have put anything there
    return 0
