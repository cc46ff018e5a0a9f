"""The commands that only look at files: ``info``, ``inspect`` and ``cache``."""

import argparse
import sys

from zh_lstm_lm.cli.common import (
    add_reading,
    at_least,
    chosen_tokenizer,
    given,
    load_model,
    path,
    print_line,
    read_stream,
)

__all__ = ["add_cache", "add_info", "add_inspect"]


def add_info(info: argparse.ArgumentParser) -> None:
    """Adds the options of ``info``."""
    info.set_defaults(run=_info)
    info.add_argument("model", type=path, help="folder of a saved model")


def add_inspect(inspect: argparse.ArgumentParser) -> None:
    """Adds the options of ``inspect``."""
    inspect.set_defaults(run=_inspect)
    inspect.add_argument("paths", type=path, nargs="+", help="folders, files or glob patterns of text; - for stdin")
    add_reading(inspect, records=False)
    add = inspect.add_argument
    add("--changes", type=at_least(0), default=3, help="changes of each kind to show of a file (default: %(default)s)")
    add("--files-only", action="store_true", help="do not segment: no coverage, no estimate")
    add("--min-freq", type=at_least(1), default=3, help="least frequency of a word (default: %(default)s)")
    add("--max-size", type=at_least(1), default=60_000, help="greatest size of the vocabulary (default: %(default)s)")
    add = inspect.add_argument_group("model for which training is estimated").add_argument
    add("--embedding-dim", type=int, help="width of the embedding (default: 192)")
    add("--hidden-size", type=int, help="width of the LSTM layers (default: 384)")
    add("--num-layers", type=int, help="number of LSTM layers (default: 1)")


def add_cache(cache: argparse.ArgumentParser) -> None:
    """Adds the options of ``cache``."""
    cache.set_defaults(run=_cache)
    add = cache.add_argument
    add("--cache-dir", type=path, metavar="FOLDER", help="another cache folder (default: the user's cache folder)")
    add("--clear", action="store_true", help="remove its contents")


def _info(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.evaluation.parts import parts_table
    from zh_lstm_lm.models.components import nested_models, part_weights
    from zh_lstm_lm.models.lstm import LSTMLanguageModel
    from zh_lstm_lm.models.ngram import NGramLanguageModel

    model = load_model(parsed.model)
    vocabulary, models = model.vocabulary, nested_models(model)
    lstm = next((each for each in models if isinstance(each, LSTMLanguageModel)), None)
    weights = f", {lstm.num_parameters:,} weights" if lstm is not None else ""
    print_line(f"model       {parsed.model}, {[*part_weights(model)][-1]}{weights}")
    for each in models:
        if isinstance(each, NGramLanguageModel):
            print_line(f"n-grams     {', '.join(f'{number:,}' for number in each.num_ngrams)} of the orders from 1 on")
    print_line(f"vocabulary  {len(vocabulary):,} tokens, unknown={vocabulary.unknown}")
    print_line(f"tokenizer   {vocabulary.tokenizer.fingerprint}")
    print_line(f"normalize   {vocabulary.normalize}")
    sections = {
        "config": lstm.config.to_dict() if lstm is not None else {},
        "training": {**(lstm.training_summary if lstm is not None else {}), **model.training_summary},
        "generation": model.generation_config,
    }
    for name in ("valid_parts", "test_parts"):
        rows = sections["training"].pop(name, None)
        if rows:
            for line in [name.removesuffix("_parts"), *parts_table(rows).splitlines()]:
                print_line(line)
    for title, values in sections.items():
        for name, value in values.items():
            # Whoever made the folder may have put anything there.
            print_line("".join(filter(str.isprintable, f"{title:<11} {name}={value}")))
    return 0


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


def _cache(parsed: argparse.Namespace) -> int:
    from pathlib import Path

    from zh_lstm_lm.storage.cache import cached_files, clear_cache, user_cache_dir

    folder = Path(parsed.cache_dir) if parsed.cache_dir else user_cache_dir()
    files = cached_files(folder)
    size = sum(file.stat().st_size for file in files) / 1e6
    if parsed.clear:
        clear_cache(folder)
        print_line(f"{folder}: cleared, {size:,.1f} MB")
    else:
        print_line(f"{folder}: {size:,.1f} MB in {len(files)} files")
    return 0
