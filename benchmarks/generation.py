"""Generation against the usual loop: the same vocabulary and sizes, in turn in one run.

    python benchmarks/generation.py MODEL_OR_CORPUS [--tokens 400]

The usual loop takes one text at a time: embedding, LSTM, a linear layer over the whole vocabulary, exp, multinomial.
The library writes one text, and 64 side by side, at temperature 1 and at the default settings, with a saved LSTM or one
that is trained on novels for two minutes. Each figure is the median of five rounds in which all sides take their turn;
only the ratios mean something.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from zh_lstm_lm import (
    LSTMLanguageModel,
    ModelConfig,
    Sampler,
    SamplerConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
)

ROUNDS = 5
TEXTS = 64


def usual_loop(model: LSTMLanguageModel, tokens: int) -> float:
    """Measures the tokens a second of the usual loop, on a model of the same sizes."""
    config, size = model.config, len(model.vocabulary)
    embedding = nn.Embedding(size, config.embedding_dim)
    lstm = nn.LSTM(config.embedding_dim, config.hidden_size, config.num_layers, batch_first=True)
    linear = nn.Linear(config.hidden_size, size)
    state: tuple[torch.Tensor, torch.Tensor] | None = None
    token = torch.zeros(1, 1, dtype=torch.long)
    with torch.no_grad():
        start = time.perf_counter()
        for _ in range(tokens):
            hidden, state = lstm(embedding(token), state)
            weights = linear(hidden).squeeze().exp()
            token = torch.multinomial(weights, 1).view(1, 1)
            token.item()
        return tokens / (time.perf_counter() - start)


def library(model: LSTMLanguageModel, tokens: int, texts: int, options: dict[str, float]) -> float:
    """Measures the tokens a second of the library."""
    sampler = Sampler(model, SamplerConfig(**options))  # type: ignore[arg-type]
    start = time.perf_counter()
    sampler.generate(["话说"], num_samples=texts, max_new_tokens=tokens)
    return texts * tokens / (time.perf_counter() - start)


def first_token(model: LSTMLanguageModel) -> float:
    """Measures the seconds from the call to the first word."""
    pieces = Sampler(model).stream("话说")
    next(pieces)
    start = time.perf_counter()
    next(pieces)
    return time.perf_counter() - start


def train(corpus: str) -> LSTMLanguageModel:
    """Trains a model of the default sizes for two minutes."""
    stream = TokenStream.from_files(corpus)
    vocabulary = Vocabulary.from_stream(stream, min_freq=3, max_size=60_000)
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=192, hidden_size=384))
    Trainer(model, stream, None, TrainerConfig(max_minutes=2), progress=False).fit()
    return model


def main() -> None:
    """Measures all sides in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="folder of a saved model, or novels")
    parser.add_argument("--tokens", type=int, default=400)
    options = parser.parse_args()
    saved = Path(options.source, "config.json").is_file()
    model = LSTMLanguageModel.from_pretrained(options.source) if saved else train(options.source)
    plain: dict[str, float] = {"temperature": 1.0, "top_p": 1.0}
    sides: dict[str, Callable[[], float]] = {
        "the usual loop": lambda: usual_loop(model, options.tokens // 4),
        "one text, temperature 1": lambda: library(model, options.tokens, 1, plain),
        "one text, default settings": lambda: library(model, options.tokens, 1, {}),
        f"{TEXTS} texts, temperature 1": lambda: library(model, options.tokens // 4, TEXTS, plain),
        f"{TEXTS} texts, default settings": lambda: library(model, options.tokens // 4, TEXTS, {}),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, measure in sides.items():
            rates[name].append(measure())
    base = statistics.median(rates["the usual loop"])
    config = model.config
    print(
        f"vocabulary {len(model.vocabulary):,}, E {config.embedding_dim}, H {config.hidden_size}, "
        f"{torch.get_num_threads()} threads"
    )
    for name, measured in rates.items():
        rate = statistics.median(measured)
        print(f"{name:<32} {rate:>10,.0f} tokens/s  {rate / base:>8.1f}")
    print(f"first word after {1000 * statistics.median(first_token(model) for _ in range(ROUNDS)):.1f} ms")


if __name__ == "__main__":
    main()
