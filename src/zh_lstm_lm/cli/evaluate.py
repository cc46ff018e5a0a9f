"""The command ``evaluate``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zh_lstm_lm.cli.common import add_reading, at_least, load_model, path, read_stream
from zh_lstm_lm.errors import ConfigError

if TYPE_CHECKING:
    from zh_lstm_lm.evaluation.result import EvaluationResult

__all__ = ["add_evaluate"]


def add_evaluate(evaluate: argparse.ArgumentParser) -> None:
    """Adds the options of ``evaluate``."""
    evaluate.set_defaults(run=_evaluate)
    add = evaluate.add_argument
    add("model", type=path, help="folder of a saved model")
    add(
        "paths",
        type=path,
        nargs="+",
        help="folders, files or glob patterns of text; - for stdin; before them the folder of a second model to compare",
    )
    add_reading(evaluate, tokenizer=False)
    evaluate.add_argument(
        "--batch-size", type=at_least(1), default=64, help="segments in a batch (default: %(default)s)"
    )
    add = evaluate.add_mutually_exclusive_group().add_argument
    add("--dynamic", action="store_true", help="train the LSTM on the text while it is read: dynamic evaluation")
    add("--cache", action="store_true", help="mix in the latest words of the text: continuous cache")
    add("--temperature", type=float, default=1.0, help="divisor of the logits, above 0 (default: %(default)s)")
    evaluate.add_argument("--error-bars", action="store_true", help="95 %% intervals, by the bootstrap over paragraphs")


def _evaluate(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm._config import check_number
    from zh_lstm_lm.evaluation.dynamic_evaluation import DynamicEvaluation
    from zh_lstm_lm.evaluation.evaluate import evaluate
    from zh_lstm_lm.models.lstm import LSTMLanguageModel

    check_number("temperature", parsed.temperature, exclusive=True)
    if _holds_model(parsed.paths[0]):
        return _compare(parsed)
    # The LSTM of a mixture is what can learn.
    model = LSTMLanguageModel.from_pretrained(parsed.model) if parsed.dynamic else _load(parsed, parsed.model)
    stream = read_stream(parsed, model.vocabulary.tokenizer, model.vocabulary.normalize)
    result = evaluate(
        model,
        stream,
        batch_size=parsed.batch_size,
        temperature=parsed.temperature,
        dynamic=DynamicEvaluation() if parsed.dynamic else None,
    )
    _print(parsed, model, result)
    return 0


def _holds_model(folder: str) -> bool:
    """Returns True for the folder of a saved model of any kind, which no folder of texts looks like."""
    files = [Path(folder) / name for name in ("vocabulary.json", "config.json", "mixture.json")]
    return files[0].is_file() and any(file.is_file() for file in files[1:])


def _compare(parsed: argparse.Namespace) -> int:
    """Compares two models on the text after them."""
    from zh_lstm_lm.evaluation.comparison import compare_models

    second, *parsed.paths = parsed.paths
    if not parsed.paths:
        raise ConfigError(f"{second} holds a model, so there are two models and no text; name the text after them")
    if parsed.dynamic or parsed.temperature != 1.0:
        option = "--dynamic" if parsed.dynamic else "--temperature"
        raise ConfigError(f"{option} does not go together with two models; leave it out, or evaluate one at a time")
    folders = (parsed.model, second)
    models = a, b = [_load(parsed, folder) for folder in folders]
    normalizations = {model.vocabulary.normalize for model in models}
    # Each model applies its own where they differ.
    normalize = normalizations.pop() if len(normalizations) == 1 else "none"
    stream = read_stream(parsed, a.vocabulary.tokenizer, normalize)
    compared = compare_models(a, b, stream, batch_size=parsed.batch_size)
    for name, folder, model, result in zip("AB", folders, models, (compared.a, compared.b), strict=True):
        print(f"{name}: {folder}")
        _print(parsed, model, result)
    print(compared)
    return 0


def _load(parsed: argparse.Namespace, folder: str) -> Any:
    """Loads a model, with a cache around it where that was asked for."""
    from zh_lstm_lm.models.continuous_cache import ContinuousCache

    model = load_model(folder)
    return ContinuousCache(model) if parsed.cache and not isinstance(model, ContinuousCache) else model


def _print(parsed: argparse.Namespace, model: Any, result: "EvaluationResult") -> None:
    """Prints the metrics of a model and of its parts, with error bars where they were asked for."""
    from zh_lstm_lm.evaluation.parts import describe_parts, metrics_line, parts_table

    if result.parts:
        print(parts_table(describe_parts(model, result)))
    print(f"{metrics_line(result)}  clean={result.clean}")
    if parsed.error_bars:
        bars = result.error_bars()
        bits = "{:.4f} to {:.4f} bits/character  ".format(*bars.bits_per_character) if bars.bits_per_character else ""
        low, high = bars.perplexity
        print(
            f"{bits}perplexity {low:,.2f} to {high:,.2f}  ({bars.confidence:.0%}, {bars.num_paragraphs:,} paragraphs)"
        )
