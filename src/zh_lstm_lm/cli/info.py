"""The command ``info``."""

import argparse

from zh_lstm_lm.cli.common import AddCommand, load_model, path, print_line

__all__ = ["add_command"]


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    info = add("info", _info, "Describe a saved model.")
    info.add_argument("model", type=path, help="folder of a saved model")


def _info(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.evaluation.parts import parts_table
    from zh_lstm_lm.models.components import nested_models, part_names
    from zh_lstm_lm.models.lstm import LSTMLanguageModel
    from zh_lstm_lm.models.ngram import NGramLanguageModel

    model = load_model(parsed.model)
    vocabulary, models = model.vocabulary, nested_models(model)
    lstm = next((each for each in models if isinstance(each, LSTMLanguageModel)), None)
    weights = f", {lstm.num_parameters:,} weights" if lstm is not None else ""
    print_line(f"model       {parsed.model}, {part_names(model)[-1]}{weights}")
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
