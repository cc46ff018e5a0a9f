"""A mixture of an n-gram model, an LSTM and a cache, trained on novels, and a text that it generates.

    python examples/jinyong.py                                  the bundled novella, in a few minutes
    python examples/jinyong.py --corpus novels/ --minutes 10    your own novels (the Jin Yong set, say)

Segmented text is cached, so a second run starts at once.
"""

import argparse
import logging
import sys
from pathlib import Path

import zh_lstm_lm as lm


def main(options: argparse.Namespace) -> None:
    """Reads the novels, trains and evaluates a mixture, saves it, and generates a text."""
    own = options.corpus is not None
    corpus = lm.TokenStream.from_files(options.corpus) if own else lm.TokenStream.from_texts([lm.sample_novel()])
    train, valid, test = corpus.split(valid=0.05, test=0.05)
    print(f"{corpus.num_documents} documents, {corpus.num_characters:,} characters, {len(corpus):,} tokens")

    vocabulary = lm.Vocabulary.from_stream(train, min_freq=3 if own else 2, max_size=60_000)
    # Counted in seconds; the LSTM is trained for longer and knows what the n-grams do not.
    ngram = lm.NGramLanguageModel.from_stream(train, vocabulary, order=4)
    # A short text that is read many times needs a small model and more dropout.
    sizes = lm.ModelConfig() if own else lm.ModelConfig(embedding_dim=96, hidden_size=192, dropout=0.5)
    if own and options.minutes:
        sizes = lm.ModelConfig.for_budget(train, vocabulary, minutes=options.minutes)
    model = lm.LSTMLanguageModel(vocabulary, sizes, text=train)
    epochs = options.epochs or (None if options.minutes else 3 if own else 5)
    # Prints the perplexities after every evaluation.
    lm.Trainer(model, train, valid, lm.TrainerConfig(max_epochs=epochs, max_minutes=options.minutes)).fit()

    # The cache makes words more likely that occurred lately in a similar context, such as the names of a scene.
    mixture = lm.ContinuousCache(lm.Mixture([model, ngram])).fit_weights(valid)
    result = lm.evaluate(mixture, test)
    for name, part in result.parts.items():
        print(f"test, {name}: {part.bits_per_character:.3f} bits/character")
    print(f"test: {result.bits_per_character:.3f} bits/character, perplexity {result.perplexity:,.1f} per token")

    mixture.save_pretrained(options.output / "model")
    path = lm.Sampler(mixture).write(options.output / "generated.txt", max_characters=options.length)
    print(f"\nThe text is in {path}. It begins:\n\n{path.read_text(encoding='utf-8')[:300]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", metavar="DIR", help="folder of novels (default: the bundled novella)")
    parser.add_argument("--epochs", type=int, help="passes over the text (default: 5, or 3 with --corpus)")
    parser.add_argument("--minutes", type=float, help="training time (default: no limit)")
    parser.add_argument("--length", type=int, default=2000, help="characters to generate (default: %(default)s)")
    parser.add_argument("--output", type=Path, default="demo", help="folder for the results (default: %(default)s)")
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    try:
        main(parser.parse_args())
    except lm.ZhLstmLmError as error:
        sys.exit(f"jinyong.py: {error}")
