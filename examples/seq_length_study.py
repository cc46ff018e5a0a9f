"""A study of the length of BPTT segments: time, memory, generalisation and prediction.

    python examples/seq_length_study.py                                     the bundled novella, under ten minutes
    python examples/seq_length_study.py --corpus novels/ --lengths 5 35 140 --budget 1    your own novels

A model is trained with each length and each seed. The table shows means ± standard deviations, by which common claims
are tested. After Ctrl-C, the same command continues the study.
"""

import argparse
import sys

from zh_lstm_lm import StudyConfig, TokenStream, ZhLstmLmError, sample_novel, study


def number(text: str) -> float:
    """Converts a number; an integer remains one, since passes and updates are counted."""
    return float(text) if "." in text else int(text)


def parse_arguments() -> argparse.Namespace:
    """Parses the options, whose defaults suit the bundled novella."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", metavar="DIR", help="folder of novels (default: the bundled novella)")
    parser.add_argument("--lengths", type=int, nargs="+", default=[5, 10, 20, 35, 70, 140], help="lengths in tokens")
    parser.add_argument("--equality", default="tokens", help="equal amount for all lengths: tokens, updates or minutes")
    parser.add_argument("--budget", type=number, help="that amount: passes over the text, updates or minutes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds for each length")
    parser.add_argument("--output", default="seq_length_study", metavar="DIR", help="folder of the study")
    return parser.parse_args()


def main() -> None:
    """Runs the study, and prints its table, the claims and a passage."""
    options = parse_arguments()
    corpus = TokenStream.from_files(options.corpus) if options.corpus else TokenStream.from_texts([sample_novel()])
    config = StudyConfig(lengths=options.lengths, equality=options.equality, budget=options.budget, seeds=options.seeds)
    # Prints a line for each run.
    result = study("seq-len", corpus, config, output=options.output)
    print(f"\n{result.table()}\n")
    for claim in result.claims:
        print(f"{claim['claim']['en']} {claim['verdict']}: {claim['figure']['en']}.\n    ({claim['rule']['en']})")

    print(f"\ngenerated text:\n{result.rows[-1]['passage']}")


if __name__ == "__main__":
    try:
        main()
    except ZhLstmLmError as error:
        sys.exit(f"seq_length_study.py: {error}")
