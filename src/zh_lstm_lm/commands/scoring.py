"""How likely text is."""

import argparse

from zh_lstm_lm.commands.common import AddCommand, add_reading, figures, load_model, read_stream, standard_input

__all__ = ["add_commands"]


def add_commands(add: AddCommand) -> None:
    """Adds the commands of this file."""
    evaluate = add("evaluate", _evaluate, "Measure a model on text: bits per character and perplexity.")
    evaluate.add_argument("model", help="folder of a saved model")
    evaluate.add_argument("paths", nargs="+", help="folders, files or glob patterns of text")
    add_reading(evaluate, tokenizer=False)
    evaluate.add_argument("--batch-size", type=int, default=64)

    score = add("score", _score, "Print the surprisal of every token of a text.")
    score.add_argument("model", help="folder of a saved model")
    score.add_argument("text", help="the text itself; - reads it from standard input")


def _evaluate(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.evaluation import evaluate

    model = load_model(parsed.model)
    stream = read_stream(parsed, model.vocabulary.tokenizer, model.vocabulary.normalize)
    result = evaluate(model, stream, batch_size=parsed.batch_size)
    print(f"{figures(result)}  clean={result.clean}")
    return 0


def _score(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.scoring import score

    text = standard_input() if parsed.text == "-" else parsed.text
    result = score(load_model(parsed.model), text)
    print("token\tbits")
    for token, bits in zip(result.tokens, result.surprisals, strict=True):
        print(f"{token!r}\t{bits:.3f}" if token.isspace() else f"{token}\t{bits:.3f}")
    print(f"# {figures(result)}")
    return 0
