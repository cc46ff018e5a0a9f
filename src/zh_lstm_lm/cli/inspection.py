"""The command ``inspect``."""

import argparse
import sys

from zh_lstm_lm.cli.common import AddCommand, add_reading, chosen_tokenizer, given, read_stream

__all__ = ["add_command"]


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    inspect = add("inspect", _inspect, "Look at novels before training: what would be read, removed and covered.")
    inspect.add_argument("paths", nargs="+", help="folders, files or glob patterns of text")
    add_reading(inspect)
    inspect.add_argument("--changes", type=int, default=3, help="changes of each kind to show for each file")
    inspect.add_argument("--files-only", action="store_true", help="do not segment: no coverage, no estimate")
    inspect.add_argument("--min-freq", type=int, default=3, help="leave out words that occur less often")
    inspect.add_argument("--max-size", type=int, default=60_000, help="most entries of the vocabulary")
    inspect.add_argument("--embedding-dim", type=int, help="size to estimate training for")
    inspect.add_argument("--hidden-size", type=int, help="size to estimate training for")
    inspect.add_argument("--num-layers", type=int, help="size to estimate training for")


def _inspect(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.text.inspection import inspect_files

    tokenizer = chosen_tokenizer(parsed)  # a dictionary that cannot be read is told of before the files are
    inspections = inspect_files(parsed.paths, encoding=parsed.encoding, clean=parsed.clean)
    for inspection in inspections:
        print("\n".join(inspection.lines(max_changes=parsed.changes)), flush=True)
    broken = sum(inspection.error is not None for inspection in inspections)
    if broken:
        print(f"zh-lstm-lm: error: {broken} of {len(inspections)} files cannot be read", file=sys.stderr)
        return 2
    if parsed.files_only:
        return 0
    from zh_lstm_lm.corpus.vocabulary import Vocabulary
    from zh_lstm_lm.models.config import ModelConfig
    from zh_lstm_lm.training.estimates import estimate_training

    config = ModelConfig(**given(parsed, "embedding_dim", "hidden_size", "num_layers"))
    corpus = read_stream(parsed, tokenizer, parsed.normalize)
    vocabulary = Vocabulary.from_stream(corpus, min_freq=parsed.min_freq, max_size=parsed.max_size)
    print(f"\nvocabulary {len(vocabulary):,}: {vocabulary.report(corpus)}")
    print(f"training at these sizes: {estimate_training(vocabulary, corpus, config)}")
    return 0
