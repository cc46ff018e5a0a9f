"""Looking at models, at files and at the cache."""

import argparse
import sys

from zh_lstm_lm.commands.common import AddCommand, add_reading, chosen_tokenizer, given, load_model, read_stream, tell

__all__ = ["add_commands"]


def add_commands(add: AddCommand) -> None:
    """Adds the commands of this file."""
    info = add("info", _info, "Tell what a saved model is.")
    info.add_argument("model", help="folder of a saved model")

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

    cache = add("cache", _cache, "Tell where segmented text is kept and how large it is, or clear it.")
    cache.add_argument("--cache-dir", help="another cache folder")
    cache.add_argument("--clear", action="store_true", help="remove what is in it")


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


def _inspect(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.inspection import inspect_files

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
    from zh_lstm_lm.estimates import estimate_training
    from zh_lstm_lm.model_sizes import ModelConfig
    from zh_lstm_lm.vocabulary import Vocabulary

    config = ModelConfig(**given(parsed, "embedding_dim", "hidden_size", "num_layers"))
    corpus = read_stream(parsed, tokenizer, parsed.normalize)
    vocabulary = Vocabulary.from_stream(corpus, min_freq=parsed.min_freq, max_size=parsed.max_size)
    print(f"\nvocabulary {len(vocabulary):,}: {vocabulary.report(corpus)}")
    print(f"training at these sizes: {estimate_training(vocabulary, corpus, config)}")
    return 0


def _cache(parsed: argparse.Namespace) -> int:
    from pathlib import Path

    from zh_lstm_lm.cache_folder import cached_files, clear_cache, user_cache_dir

    folder = Path(parsed.cache_dir) if parsed.cache_dir else user_cache_dir()
    files = cached_files(folder)
    size = sum(file.stat().st_size for file in files) / 1e6
    if parsed.clear:
        clear_cache(folder)
        tell(f"{folder}: cleared, {size:,.1f} MB")
    else:
        tell(f"{folder}: {size:,.1f} MB in {len(files)} files")
    return 0
