"""The command ``suggest``."""

import argparse

from zh_lstm_lm.cli.common import AddCommand, load_model

__all__ = ["add_command"]


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    suggest = add("suggest", _suggest, "Find the best words for a gap.")
    suggest.add_argument("model", help="folder of a saved model")
    suggest.add_argument("left", help="what stands before the gap")
    suggest.add_argument("right", nargs="?", default="", help="what follows it")
    suggest.add_argument("-k", type=int, default=10, help="how many words (10)")


def _suggest(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.evaluation.suggest import suggest

    print("word\tprobability\tlog_prob")
    for found in suggest(load_model(parsed.model), parsed.left, parsed.right, parsed.k):
        print(f"{found.word}\t{found.probability:.4f}\t{found.log_prob:.3f}")
    return 0
