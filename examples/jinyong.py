"""Trains a word-level LSTM on novels, shows its perplexity fall, and lets it write.

    python examples/jinyong.py                                  the bundled novella, a few minutes
    python examples/jinyong.py --corpus novels/ --minutes 10    your own novels (the Jin Yong set, say)

A folder of novels may be in any of the usual encodings, with its list of titles and its indents; segmented text is
cached, so that a second run starts at once.
"""

import argparse
import logging
import sys
from pathlib import Path

from zh_lstm_lm import (
    LSTMLanguageModel,
    ModelConfig,
    Sampler,
    SamplerConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
    ZhLstmLmError,
    evaluate,
    sample_novel,
)

SIZES = {"small": (96, 192), "medium": (192, 384), "large": (256, 512)}


def parse_arguments() -> argparse.Namespace:
    """The options; each has a default that suits the bundled novella."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", metavar="DIR", help="folder of novels; without it, the bundled novella")
    parser.add_argument(
        "--size", choices=SIZES, help="size of the model; chosen for the minutes where only they are given"
    )
    parser.add_argument(
        "--epochs", type=int, help="passes over the text (8, or 3 with --corpus, if there are no minutes)"
    )
    parser.add_argument("--minutes", type=float, help="training time")
    parser.add_argument("--seed", type=int, default=0, help="for weights, dropout and text")
    parser.add_argument("--prompt", default="", help="what the written text begins with")
    parser.add_argument("--length", type=int, default=2000, help="characters to write")
    parser.add_argument("--output", default="demo", metavar="DIR", help="folder for the model and the written text")
    return parser.parse_args()


def main() -> None:
    """Reads, trains, measures, saves, writes."""
    options = parse_arguments()
    output = Path(options.output)

    corpus = TokenStream.from_files(options.corpus) if options.corpus else TokenStream.from_texts([sample_novel()])
    train, valid, test = corpus.split(valid=0.05, test=0.05)
    print(f"{corpus.num_documents} documents, {corpus.num_characters:,} characters, {len(corpus):,} tokens")

    vocabulary = Vocabulary.from_stream(train, min_freq=3 if options.corpus else 2, max_size=60_000)
    epochs = options.epochs or (None if options.minutes else 3 if options.corpus else 8)
    if options.minutes and not options.size:
        sizes = ModelConfig.for_budget(train, vocabulary, minutes=options.minutes, seed=options.seed)
    else:
        embedding_dim, hidden_size = SIZES[options.size or ("medium" if options.corpus else "small")]
        dropout = 0.1 if options.corpus else 0.5  # a short text read many times needs more
        sizes = ModelConfig(embedding_dim=embedding_dim, hidden_size=hidden_size, dropout=dropout, seed=options.seed)
    model = LSTMLanguageModel(vocabulary, sizes)
    print(f"vocabulary {len(vocabulary):,}, {model.num_parameters:,} weights")

    trainer = Trainer(
        model, train, valid, TrainerConfig(max_epochs=epochs, max_minutes=options.minutes, seed=options.seed)
    )
    history = trainer.fit()  # prints the perplexities after every epoch
    if len(history) > 1:
        first, best = history[0], min(history, key=lambda record: record["valid_loss"])
        print(
            f"held-out perplexity fell from {first['valid_perplexity']:,.0f} after epoch {first['epoch']:g} "
            f"to {best['valid_perplexity']:,.0f} after epoch {best['epoch']:g}"
        )
    result = evaluate(model, test)
    print(f"test: {result.bits_per_character:.3f} bits/character, perplexity {result.perplexity:,.1f} per token")

    model.save_pretrained(output / "model")
    sampler = Sampler(model, SamplerConfig(seed=options.seed))
    path = sampler.write(output / "generated.txt", prompt=options.prompt, max_characters=options.length)
    text = path.read_text(encoding="utf-8")
    print(f"\n{len(text):,} characters in {path}, the model in {output / 'model'}. It begins:\n\n{text[:300]}")


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("zh_lstm_lm").setLevel(logging.INFO)
    try:
        main()
    except ZhLstmLmError as error:
        sys.exit(f"jinyong.py: {error}")
