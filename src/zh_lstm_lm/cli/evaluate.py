"""The command ``evaluate``."""

import argparse

from zh_lstm_lm.cli.common import AddCommand, add_reading, at_least, load_model, path, read_stream

__all__ = ["add_command"]


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    evaluate = add("evaluate", _evaluate, "Evaluate a model on text: bits per character and perplexity.")
    evaluate.add_argument("model", type=path, help="folder of a saved model")
    evaluate.add_argument("paths", type=path, nargs="+", help="folders, files or glob patterns of text; - for stdin")
    add_reading(evaluate, tokenizer=False)
    evaluate.add_argument(
        "--batch-size", type=at_least(1), default=64, help="segments in a batch (default: %(default)s)"
    )
    mode = evaluate.add_mutually_exclusive_group()
    mode.add_argument(
        "--dynamic", action="store_true", help="train the LSTM on the text while it is read: dynamic evaluation"
    )
    mode.add_argument("--cache", action="store_true", help="mix in the latest words of the text: continuous cache")
    mode.add_argument(
        "--temperature", type=float, default=1.0, help="divisor of the logits, above 0 (default: %(default)s)"
    )
    evaluate.add_argument("--error-bars", action="store_true", help="95 %% intervals, by the bootstrap over paragraphs")


def _evaluate(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm._config import check_number
    from zh_lstm_lm.evaluation.dynamic_evaluation import DynamicEvaluation
    from zh_lstm_lm.evaluation.evaluate import evaluate
    from zh_lstm_lm.evaluation.parts import describe_parts, metrics_line, parts_table
    from zh_lstm_lm.models.continuous_cache import ContinuousCache
    from zh_lstm_lm.models.lstm import LSTMLanguageModel

    check_number("temperature", parsed.temperature, exclusive=True)
    # The LSTM of a mixture is what can learn.
    model = LSTMLanguageModel.from_pretrained(parsed.model) if parsed.dynamic else load_model(parsed.model)
    if parsed.cache and not isinstance(model, ContinuousCache):
        model = ContinuousCache(model)
    stream = read_stream(parsed, model.vocabulary.tokenizer, model.vocabulary.normalize)
    result = evaluate(
        model,
        stream,
        batch_size=parsed.batch_size,
        temperature=parsed.temperature,
        dynamic=DynamicEvaluation() if parsed.dynamic else None,
    )
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
    return 0
