"""The command ``inspect``."""

import argparse
import sys

from zh_lstm_lm.cli.common import AddCommand, add_reading, at_least, chosen_tokenizer, given, path, read_stream

__all__ = ["add_command"]


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    inspect = add("inspect", _inspect, "Inspect novels before training: encodings, cleaning, duplicates, coverage.")
    inspect.add_argument("paths", type=path, nargs="+", help="folders, files or glob patterns of text; - for stdin")
    add_reading(inspect, records=False)
    inspect.add_argument(
        "--changes", type=at_least(0), default=3, help="changes of each kind to show of a file (default: %(default)s)"
    )
    inspect.add_argument("--files-only", action="store_true", help="do not segment: no coverage, no estimate")
    inspect.add_argument(
        "--min-freq", type=at_least(1), default=3, help="least frequency of a word (default: %(default)s)"
    )
    inspect.add_argument(
        "--max-size", type=at_least(1), default=60_000, help="greatest size of the vocabulary (default: %(default)s)"
    )
    model = inspect.add_argument_group("model for which training is estimated")
    model.add_argument("--embedding-dim", type=int, help="width of the embedding (default: 192)")
    model.add_argument("--hidden-size", type=int, help="width of the LSTM layers (default: 384)")
    model.add_argument("--num-layers", type=int, help="number of LSTM layers (default: 1)")


def _inspect(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.corpus.vocabulary import Vocabulary
    from zh_lstm_lm.models.config import ModelConfig
    from zh_lstm_lm.text.inspection import inspect_files
    from zh_lstm_lm.training.estimates import estimate_training

    # Mistakes in the options are reported before the files are read.
    tokenizer = chosen_tokenizer(parsed)
    config = ModelConfig(**given(parsed, "embedding_dim", "hidden_size", "num_layers"))
    inspections = inspect_files(parsed.paths, encoding=parsed.encoding, clean=parsed.clean)
    for inspection in inspections:
        print("\n".join(inspection.lines(max_changes=parsed.changes)), flush=True)
    broken = sum(inspection.error is not None for inspection in inspections)
    if broken:
        print(f"zh-lstm-lm: error: {broken} of {len(inspections)} files cannot be read", file=sys.stderr)
        return 2
    if parsed.files_only:
        return 0
    corpus = read_stream(parsed, tokenizer, parsed.normalize)
    vocabulary = Vocabulary.from_stream(corpus, min_freq=parsed.min_freq, max_size=parsed.max_size)
    print(f"\nvocabulary {len(vocabulary):,}: {vocabulary.report(corpus)}")
    print(f"training at these sizes: {estimate_training(vocabulary, corpus, config)}")
    return 0
