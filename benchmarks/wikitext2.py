"""WikiText-2 (Merity et al., 2016) word by word: perplexity of the test set, LSTM alone and with n-grams and a cache.

    python benchmarks/wikitext2.py FOLDER [--epochs 14] [--hidden-size 512] [--dropout 0.6] [--weight-decay 0.1]

The folder has train.txt, valid.txt and test.txt, one `<eos>` a line: 2,088,628, 217,646 and 245,569 tokens of a closed
vocabulary of 33,278. All of it is one stream, as in published figures, and perplexity is that of every token, `<unk>` too.
"""

import argparse
from pathlib import Path
from time import perf_counter

from zh_lstm_lm import (
    LSTMLanguageModel,
    ModelConfig,
    NGramLanguageModel,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
    evaluate,
)
from zh_lstm_lm.evaluation.parts import describe_parts, mix_models, parts_table

TOKENS = {"train": 2_088_628, "valid": 217_646, "test": 245_569}
TYPES = 33_278
PUBLISHED = """published, test perplexity alone and with a cache:
  LSTM of 1,024 units, cache of 2,000 (Grave, Joulin and Usunier, 2017)             99.3   68.9
  tied LSTM, 2 layers of 200 (language models of GluonNLP 0.10)                    102.5   77.8
  tied LSTM, 2 layers of 650 (the same)                                             85.8   66.4
  tied LSTM, 2 layers of 1,500 (the same)                                           82.0   70.9
  AWD-LSTM (the same)                                                               68.6   56.1"""


def main() -> None:
    """Checks the text, trains, and measures all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--embedding-dim", type=int, default=256)
    parser.add_argument("--hidden-size", type=int, default=512)
    parser.add_argument("--dropout", type=float, default=0.6)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--div-value", type=float, default=1.5)
    parser.add_argument("--tie-weights", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    parts = {}
    for name, expected in TOKENS.items():
        lines = (options.folder / f"{name}.txt").read_text(encoding="utf-8").split("\n")
        text = "\n".join(line.strip() for line in lines)
        parts[name] = TokenStream.from_texts([text], tokenizer="whitespace")
        if len(parts[name]) != expected:
            parser.error(f"{name}.txt has {len(parts[name]):,} tokens with line ends, expected {expected:,}")
    vocabulary = Vocabulary.from_stream(parts["train"], unknown="unk")
    # <bos> is none of them, and is never predicted.
    assert len(vocabulary) == TYPES + 1
    sizes = ModelConfig(
        embedding_dim=options.embedding_dim,
        hidden_size=options.hidden_size,
        dropout=options.dropout,
        div_value=options.div_value,
        tie_weights=options.tie_weights,
        output="adaptive",
    )
    began = perf_counter()
    model = LSTMLanguageModel(vocabulary, sizes, text=parts["train"])
    config = TrainerConfig(max_epochs=options.epochs, weight_decay=options.weight_decay)
    Trainer(model, parts["train"], parts["valid"], config).fit()
    print(f"{model.num_parameters:,} weights, trained in {(perf_counter() - began) / 60:.0f} minutes")
    print(f"LSTM alone: test perplexity {evaluate(model, parts['test']).perplexity:.1f}")
    mixture = mix_models(model, NGramLanguageModel.from_stream(parts["train"], vocabulary, order=4), parts["valid"])
    print(parts_table(describe_parts(mixture, evaluate(mixture, parts["test"]))))
    print(PUBLISHED)


if __name__ == "__main__":
    main()
