"""From raw text to a figure: bits per character of the test set after so many minutes, segmentation included.

    python benchmarks/time_to_quality.py CORPUS [--minutes 10] [--hidden-size 384 --learning-rate 0.003 …]

The text is read (lines stripped, empty ones dropped, the last 5 % of every document for the test, the 5 % before them for
validation) into an empty cache, so that the clock covers everything: reading, segmentation, vocabulary, counting n-grams,
choosing the sizes, training, and the half minute that is kept for measuring. After it the weights of LSTM, n-grams and
cache are fitted on the validation set, and every part is measured on the test set. The figure to beat on the 24 novels of
the wuxia corpus is that of KenLM's modified Kneser-Ney models: 6.177 over characters (order 6), 6.357 over words (order 5).
"""

import argparse
import tempfile
import time

from zh_lstm_lm import (
    LSTMLanguageModel,
    ModelConfig,
    NGramLanguageModel,
    Sampler,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
    evaluate,
)
from zh_lstm_lm.evaluation.parts import describe_parts, mix_models, parts_table

MEASURING = 0.5  # minutes
SIZES = ("embedding_dim", "hidden_size", "num_layers", "dropout")
TRAINING = ("batch_size", "bptt_len", "learning_rate", "max_grad_norm", "warmup_steps")


def main() -> None:
    """Reads, trains, measures; prints where the time went."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--tokenizer", default="jieba")
    parser.add_argument("--min-freq", type=int, default=3)
    parser.add_argument("--max-size", type=int, default=60_000)
    parser.add_argument("--order", type=int, default=4)
    parser.add_argument("--output", metavar="MODEL", help="save the model there")
    for name in (*SIZES, *TRAINING):
        parser.add_argument("--" + name.replace("_", "-"), type=float if name in _FRACTIONS else int)
    options = parser.parse_args()

    def given(names: tuple[str, ...]) -> dict[str, float]:
        return {name: getattr(options, name) for name in names if getattr(options, name) is not None}

    with tempfile.TemporaryDirectory() as cache:
        corpus = TokenStream.from_files(
            options.corpus,
            tokenizer=options.tokenizer,
            clean="indents+empty_lines",
            normalize="none",
            cache_dir=cache,
        )
        train, valid, test = corpus.split()
        vocabulary = Vocabulary.from_stream(train, min_freq=options.min_freq, max_size=options.max_size)
        read = time.perf_counter() - began
        ngram = NGramLanguageModel.from_stream(train, vocabulary, order=options.order, prune=(0, 0, 0, 1))
        counted = time.perf_counter() - began
        written = Sampler(ngram).generate("话说", max_new_tokens=20)
        wrote = time.perf_counter() - began
        bits = evaluate(ngram, test).bits_per_character
        print(
            f"n-grams counted after {counted:.1f} s, 20 words written after {wrote:.1f} s ({written}); {bits:.3f} "
            f"bits/character of the test set (measured after {time.perf_counter() - began:.1f} s)",
            flush=True,
        )
        prepared = time.perf_counter() - began
        left = options.minutes - prepared / 60 - MEASURING
        sizes = given(SIZES)
        config = (
            ModelConfig(**sizes)  # type: ignore[arg-type]
            if "hidden_size" in sizes
            else ModelConfig.for_budget(train, vocabulary, minutes=left, **sizes)  # type: ignore[arg-type]
        )
        model = LSTMLanguageModel(vocabulary, config, text=train)
        print(
            f"read in {read:.0f} s, prepared in {prepared:.0f} s; {config.embedding_dim=} {config.hidden_size=} {config.dropout=}",
            flush=True,
        )
        training = TrainerConfig(max_minutes=left, **given(TRAINING))  # type: ignore[arg-type]
        history = Trainer(model, train, valid, training, progress=False).fit()
        trained = time.perf_counter() - began
        result = evaluate(model, test)
        print(
            f"trained after {trained:.0f} s, {history[-1]['epoch']:.2f} epochs, {history[-1]['tokens_per_second']:,.0f} tokens/s: "
            f"{result.bits_per_character:.3f} bits/character of the test set "
            f"(valid {history[-1]['valid_bits_per_character']:.3f}; measured after {time.perf_counter() - began:.0f} s)",
            flush=True,
        )
        told = [f"{each['seconds'] / 60:.1f} {each['valid_bits_per_character']:.3f}" for each in history]
        print("minutes of training and bits/character of the validation set on the way:", "; ".join(told))
        mixture = mix_models(model, ngram, valid)
        print(f"weights fitted after {time.perf_counter() - began:.0f} s")
        print(parts_table(describe_parts(mixture, evaluate(mixture, test))))
        print(f"parts measured after {time.perf_counter() - began:.0f} s")
        if options.output:
            mixture.save_pretrained(options.output)


_FRACTIONS = ("dropout", "learning_rate", "max_grad_norm")

if __name__ == "__main__":
    main()
