"""The usual loop's sizes and tokens: what each choice of the library is worth when speed is no matter.

    python benchmarks/equal_tokens.py CORPUS [--tokens 120000]

The first row is the usual loop (`training.py`), the second the library with the loop's sizes, full softmax, batches and
optimizer, and each further one adds a choice of the default recipe. All see the same tokens. Printed are bits per
character and perplexity per token of the first 20,000 tokens of the test part; two seeds differ by about 0.01 bits.
"""

import argparse
import itertools
from typing import Any

import torch
from torch import nn
from training import (
    BATCH_SIZE,
    BPTT_LEN,
    EMBEDDING_DIM,
    HIDDEN_SIZE,
    LEARNING_RATE,
    MAX_GRAD_NORM,
    MEASURED_IDS,
    UsualModel,
    measure_usual,
    train_steps,
)

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, TokenStream, Trainer, TrainerConfig, Vocabulary
from zh_lstm_lm.evaluation.evaluate import evaluate_ids

# Each row adds its options to those of the rows before.
STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "library, the loop's options",
        {"plain": True, "schedule": "constant", "warmup_steps": 0, "average_weights": False, "weight_decay": 0.0},
    ),
    ("warm-up, and a rate that falls", {"schedule": "linear", "warmup_steps": 50}),
    ("embedding by rows, at three times the rate", {"plain": False, "betas": (0.9, 0.999)}),
    ("no momentum", {"betas": TrainerConfig.betas}),
    ("rate 5e-3", {"learning_rate": 5e-3}),
    ("vectors of characters", {"characters": True}),
    ("word vectors initialised from neighbours", {"text": True}),
    ("averaged weights", {"average_weights": True}),
    ("weight decay of the LSTM", {"weight_decay": TrainerConfig.weight_decay}),
)


def main() -> None:
    """Trains and measures row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--tokens", type=int, default=120_000)
    options = parser.parse_args()
    train, _, test = TokenStream.from_files(options.corpus).split(valid=0.05, test=0.05)
    vocabulary = Vocabulary.from_stream(train, min_freq=3, max_size=60_000)
    steps = options.tokens // (BATCH_SIZE * BPTT_LEN)
    print(f"vocabulary {len(vocabulary):,}, {steps} updates of {BATCH_SIZE} x {BPTT_LEN} tokens")
    torch.manual_seed(0)
    usual = UsualModel(len(vocabulary))
    for _ in itertools.islice(train_steps(usual, vocabulary.encode_stream(train)), steps):
        pass
    show("usual loop", measure_usual(usual, test, vocabulary))
    chosen: dict[str, Any] = {"learning_rate": LEARNING_RATE}
    for name, added in STEPS:
        chosen |= added
        show(name, measure(dict(chosen), train, test, vocabulary, steps))


def measure(
    options: dict[str, Any], train: TokenStream, test: TokenStream, vocabulary: Vocabulary, steps: int
) -> dict[str, float]:
    """Trains by the library, and measures as the usual loop is measured."""
    plain, characters, text = (options.pop(name, False) for name in ("plain", "characters", "text"))
    sizes = ModelConfig(
        embedding_dim=EMBEDDING_DIM, hidden_size=HIDDEN_SIZE, output="full", dropout=0.0, character_vectors=characters
    )
    model = LSTMLanguageModel(vocabulary, sizes, text=train if text else None)

    def adam(weights: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(weights, lr=LEARNING_RATE, fused=True)

    if plain:
        del options["learning_rate"], options["weight_decay"]
    config = TrainerConfig(
        max_steps=steps, batch_size=BATCH_SIZE, bptt_len=BPTT_LEN, max_grad_norm=MAX_GRAD_NORM, **options
    )
    Trainer(model, train, None, config, optimizer=adam if plain else None, progress=False).fit()
    result = evaluate_ids(model, vocabulary.encode_stream(test)[:MEASURED_IDS])
    assert result.bits_per_character is not None
    return {"bits_per_character": result.bits_per_character, "perplexity": result.perplexity}


def show(name: str, figures: dict[str, float]) -> None:
    """Prints a row."""
    print(f"{name:<46}{figures['bits_per_character']:8.3f}{figures['perplexity']:10.1f}", flush=True)


if __name__ == "__main__":
    main()
