"""What the length of BPTT segments does: time, memory, gradients, generalisation, prediction.

    python examples/seq_length_study.py                                     the bundled novella, under ten minutes
    python examples/seq_length_study.py --corpus novels/ --lengths 5 35 140 --budget 1    your own novels

Each length is trained with each seed; the table shows mean ± standard deviation, and every common claim is judged by
it. Interrupted with Ctrl-C, the same command goes on where it was.
"""

import argparse
import sys

from zh_lstm_lm import StudyConfig, TokenStream, ZhLstmLmError, sample_novel, study


def number(text: str) -> float:
    """A whole number stays one: passes and updates are counted, minutes are measured."""
    return float(text) if "." in text else int(text)


def parse_arguments() -> argparse.Namespace:
    """The options; each has a default that suits the bundled novella."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", metavar="DIR", help="folder of novels; without it, the bundled novella")
    parser.add_argument("--lengths", type=int, nargs="+", default=[5, 10, 20, 35, 70, 140], help="segments, in tokens")
    parser.add_argument("--equality", default="tokens", help="what all lengths get: equal tokens, updates or minutes")
    parser.add_argument("--budget", type=number, help="how much of it: passes over the text, updates, or minutes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="each length is trained with each")
    parser.add_argument("--output", default="seq_length_study", metavar="DIR", help="where the study is kept")
    return parser.parse_args()


def main() -> None:
    """Trains, measures, judges."""
    options = parse_arguments()
    corpus = TokenStream.from_files(options.corpus) if options.corpus else TokenStream.from_texts([sample_novel()])
    config = StudyConfig(lengths=options.lengths, equality=options.equality, budget=options.budget, seeds=options.seeds)
    result = study("seq-len", corpus, config, output=options.output)  # prints a line for each run
    print(f"\n{result.table()}\n")
    for claim in result.claims:
        print(f"{claim['claim']['en']} {claim['verdict']}: {claim['figure']['en']}.\n    ({claim['rule']['en']})")

    longest = max(config.lengths)
    row = next(row for row in result.rows if row["bptt_len"] == longest)
    print(f"\nof the gradient one token back, so much arrives in a model trained with segments of {longest}:")
    for distance in (2, 5, 10, 20, 50, 100):
        if distance <= longest:
            arrives = row["cell_gradient_by_distance"][distance - 1] / row["cell_gradient_by_distance"][0]
            print(f"  {distance:>4} tokens back  {arrives:8.2%}")
    print(f"\nit writes:\n{row['passage']}")


if __name__ == "__main__":
    try:
        main()
    except ZhLstmLmError as error:
        sys.exit(f"seq_length_study.py: {error}")
