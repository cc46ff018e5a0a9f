"""The command ``evaluate``."""

import argparse

from zh_lstm_lm.cli.common import AddCommand, add_reading, figures, load_model, read_stream

__all__ = ["add_command"]


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    evaluate = add("evaluate", _evaluate, "Measure a model on text: bits per character and perplexity.")
    evaluate.add_argument("model", help="folder of a saved model")
    evaluate.add_argument("paths", nargs="+", help="folders, files or glob patterns of text")
    add_reading(evaluate, tokenizer=False)
    evaluate.add_argument("--batch-size", type=int, default=64)
    how = evaluate.add_mutually_exclusive_group()
    how.add_argument("--dynamic", action="store_true", help="learn from the text while it is read: dynamic evaluation")
    how.add_argument("--cache", action="store_true", help="remember the latest words while it is read: neural cache")
    how.add_argument("--temperature", type=float, default=1.0, help="divide the logits by this (1)")
    evaluate.add_argument("--error-bars", action="store_true", help="95 %% intervals, by the bootstrap over paragraphs")


def _evaluate(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.evaluation.dynamic_evaluation import DynamicEvaluation
    from zh_lstm_lm.evaluation.evaluate import evaluate
    from zh_lstm_lm.models.continuous_cache import ContinuousCache

    model = load_model(parsed.model)
    stream = read_stream(parsed, model.vocabulary.tokenizer, model.vocabulary.normalize)
    result = evaluate(
        ContinuousCache(model) if parsed.cache else model,
        stream,
        batch_size=parsed.batch_size,
        temperature=parsed.temperature,
        dynamic=DynamicEvaluation() if parsed.dynamic else None,
    )
    print(f"{figures(result)}  clean={result.clean}")
    if parsed.error_bars:
        bars = result.error_bars()
        bits = "{:.4f} to {:.4f} bits/character  ".format(*bars.bits_per_character) if bars.bits_per_character else ""
        low, high = bars.perplexity
        print(
            f"{bits}perplexity {low:,.2f} to {high:,.2f}  ({bars.confidence:.0%}, {bars.num_paragraphs:,} paragraphs)"
        )
    return 0
