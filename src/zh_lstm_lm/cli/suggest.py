"""The command ``suggest``."""

import argparse

from zh_lstm_lm.cli.common import AddCommand, at_least, load_model, path, text

__all__ = ["add_command"]


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    suggest = add("suggest", _suggest, "Find the likeliest words for a gap.")
    suggest.add_argument("model", type=path, help="folder of a saved model")
    suggest.add_argument("left", type=text, help="the text before the gap")
    suggest.add_argument("right", type=text, nargs="?", default="", help="the text after the gap")
    suggest.add_argument("-k", type=at_least(1), default=10, help="number of words (default: %(default)s)")


def _suggest(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.evaluation.suggest import suggest

    print("word\tprobability\tlog_prob")
    for found in suggest(load_model(parsed.model), parsed.left, parsed.right, parsed.k):
        print(f"{found.word}\t{found.probability:.4f}\t{found.log_prob:.3f}")
    return 0
