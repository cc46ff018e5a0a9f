"""Training a mixture of an n-gram model, a word-level LSTM and a cache on novels, and a text that it generates.

    python examples/jinyong.py                                  the bundled novella, in a few minutes
    python examples/jinyong.py --corpus novels/ --minutes 10    your own novels (the Jin Yong set, say)

The novels may be in any of the usual encodings, with indents and adverts, and beside a list of titles. Segmented text
is cached, so a second run starts at once.
"""

import argparse
import logging
import sys
from pathlib import Path

from zh_lstm_lm import (
    ContinuousCache,
    LSTMLanguageModel,
    Mixture,
    ModelConfig,
    NGramLanguageModel,
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
    """Parses the options, whose defaults suit the bundled novella."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", metavar="DIR", help="folder of novels (default: the bundled novella)")
    parser.add_argument("--size", choices=SIZES, help="size of the model (default: by --minutes, or by the corpus)")
    parser.add_argument("--epochs", type=int, help="passes over the text (default: 8, or 3 with --corpus)")
    parser.add_argument("--minutes", type=float, help="training time (default: no limit)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, dropout and text (default: %(default)s)")
    parser.add_argument("--prompt", default="", help="start of the generated text (default: the start of a document)")
    parser.add_argument("--length", type=int, default=2000, help="characters to generate (default: %(default)s)")
    parser.add_argument("--output", default="demo", metavar="DIR", help="folder for the results (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    """Reads the novels, trains and evaluates a mixture, saves it, and generates a text."""
    options = parse_arguments()
    output = Path(options.output)

    corpus = TokenStream.from_files(options.corpus) if options.corpus else TokenStream.from_texts([sample_novel()])
    train, valid, test = corpus.split(valid=0.05, test=0.05)
    print(f"{corpus.num_documents} documents, {corpus.num_characters:,} characters, {len(corpus):,} tokens")

    vocabulary = Vocabulary.from_stream(train, min_freq=3 if options.corpus else 2, max_size=60_000)
    # Counted in seconds; the LSTM is trained for longer and knows what the n-grams do not.
    ngram = NGramLanguageModel.from_stream(train, vocabulary, order=4)
    print(f"{sum(ngram.num_ngrams):,} n-grams: {evaluate(ngram, valid).bits_per_character:.3f} bits/character")

    epochs = options.epochs or (None if options.minutes else 3 if options.corpus else 8)
    if options.minutes and not options.size:
        sizes = ModelConfig.for_budget(train, vocabulary, minutes=options.minutes, seed=options.seed)
    else:
        embedding_dim, hidden_size = SIZES[options.size or ("medium" if options.corpus else "small")]
        # A short text that is read many times needs more dropout.
        dropout = 0.1 if options.corpus else 0.5
        sizes = ModelConfig(embedding_dim=embedding_dim, hidden_size=hidden_size, dropout=dropout, seed=options.seed)
    model = LSTMLanguageModel(vocabulary, sizes, text=train)
    print(f"vocabulary {len(vocabulary):,}, {model.num_parameters:,} weights")

    trainer = Trainer(
        model, train, valid, TrainerConfig(max_epochs=epochs, max_minutes=options.minutes, seed=options.seed)
    )
    # Prints the perplexities after every evaluation.
    history = trainer.fit()
    if len(history) > 1:
        first, best = history[0], min(history, key=lambda record: record["valid_loss"])
        print(
            f"validation perplexity fell from {first['valid_perplexity']:,.0f} after epoch {first['epoch']:g} "
            f"to {best['valid_perplexity']:,.0f} after epoch {best['epoch']:g}"
        )

    # The cache makes words more likely that occurred lately in a similar context, such as the names of a scene.
    mixture = ContinuousCache(Mixture([model, ngram])).fit_weights(valid)
    result = evaluate(mixture, test)
    for name, part in result.parts.items():
        print(f"test, {name}: {part.bits_per_character:.3f} bits/character")
    print(f"test: {result.bits_per_character:.3f} bits/character, perplexity {result.perplexity:,.1f} per token")

    mixture.save_pretrained(output / "model")
    # The weight that suits the text of people makes a text repeat itself that is made of its own words.
    writer = mixture.around(mixture.model, min(0.05, mixture.cache_weight))
    sampler = Sampler(writer, SamplerConfig(seed=options.seed))
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
