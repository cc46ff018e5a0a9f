"""The usual loop against the library: the same corpus, vocabulary and machine, in turn in one run.

    python benchmarks/training.py CORPUS [--seconds 120] [--max-size 60000]

The usual loop is Embedding 128, one LSTM layer of 1024, a linear layer over the whole vocabulary, Adam (fused) at 0.002,
batches of 20, windows of 30, gradients clipped to 0.5. It meets two sides of the library: the default recipe, whose model is
smaller and has an adaptive softmax, and the usual loop's own model and options (equal sizes, full softmax, no dropout, no
vectors of characters), which tells what the implementation alone is worth. Each side trains in a process of its own for
the same seconds; printed are the sizes, tokens a second, peak memory, bits per character of the test part, and the
arithmetic of a step over that of a large matrix product timed in the same process. Only the ratios mean something:
machines differ, and are shared.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, TokenStream, Trainer, TrainerConfig, Vocabulary
from zh_lstm_lm.corpus.batches import IGNORED, TrainingWindows
from zh_lstm_lm.evaluation.evaluate import evaluate_ids
from zh_lstm_lm.models.config import machine_rate, training_operations

EMBEDDING_DIM, HIDDEN_SIZE = 128, 1024
BATCH_SIZE, BPTT_LEN = 20, 30
LEARNING_RATE, MAX_GRAD_NORM = 0.002, 0.5
MEASURED_IDS = 20_001  # of the test part; a full softmax over all of it would take longer than the training


class UsualModel(nn.Module):
    """The usual loop's model, as it is mostly written."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, EMBEDDING_DIM)
        self.lstm = nn.LSTM(EMBEDDING_DIM, HIDDEN_SIZE, batch_first=True)
        self.linear = nn.Linear(HIDDEN_SIZE, vocab_size)

    def forward(self, inputs: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        """Logits of every next token. **Shape:** (batch, time) to (batch * time, vocab_size)."""
        hidden, state = self.lstm(self.embedding(inputs), state)
        return self.linear(hidden.flatten(0, 1)), state


def train_usual(train: TokenStream, test: TokenStream, vocabulary: Vocabulary, seconds: float) -> dict[str, float]:
    """The usual loop, for as long as there is time; then its bits per character."""
    torch.manual_seed(0)
    model = UsualModel(len(vocabulary))
    losses: list[float] = []
    start = time.perf_counter()
    for loss in train_steps(model, vocabulary.encode_stream(train)):
        losses.append(loss)
        if time.perf_counter() - start >= seconds:
            break
    spent = time.perf_counter() - start
    operations = training_operations(EMBEDDING_DIM, HIDDEN_SIZE, torch.tensor(vocabulary.counts), full=True)
    return {
        "tokens": len(losses) * BATCH_SIZE * BPTT_LEN,
        "seconds": spent,
        "operations": operations,
        "embedding_dim": EMBEDDING_DIM,
        "hidden_size": HIDDEN_SIZE,
        "first_losses": sum(losses[:10]) / 10,
        "last_losses": sum(losses[-10:]) / 10,
        **measure_usual(model, test, vocabulary),
    }


def train_steps(model: UsualModel, ids: torch.Tensor) -> Iterator[float]:
    """The usual loop; yields the loss of each update, without end."""
    windows = TrainingWindows(ids, batch_size=BATCH_SIZE, bptt_len=BPTT_LEN)
    # PyTorch's default on the CPU goes from tensor to tensor and is far slower than the form that the library uses.
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    while True:
        state = None
        for inputs, targets in windows:
            logits, state = model(inputs, state)
            state = tuple(part.detach() for part in state)
            loss = nn.functional.cross_entropy(logits, targets.flatten(), ignore_index=IGNORED)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
            optimizer.step()
            yield loss.item()


def measure_usual(model: UsualModel, test: TokenStream, vocabulary: Vocabulary) -> dict[str, float]:
    """Bits per character of the usual loop's model over the measured part, with a new state every 1,000 tokens.

    It is kinder than one long read: after a short training, the state runs away beyond what was trained on.
    """
    ids = vocabulary.encode_stream(test)[:MEASURED_IDS].long()
    total, state = 0.0, None
    with torch.no_grad():
        for start in range(0, len(ids) - 1, 100):
            window = ids[start : start + 101]
            state = None if start % 1000 == 0 else state
            logits, state = model(window[None, :-1], state)
            targets = window[1:].masked_fill(window[1:] == vocabulary.bos_id, IGNORED)
            total += float(nn.functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum"))
    assert vocabulary.characters_per_id is not None
    characters = int(vocabulary.characters_per_id[ids[1:]].sum())
    perplexity = math.exp(total / int((ids[1:] != vocabulary.bos_id).sum()))
    return {"bits_per_character": total / math.log(2) / characters, "perplexity": perplexity}


def train_default(train: TokenStream, test: TokenStream, vocabulary: Vocabulary, seconds: float) -> dict[str, float]:
    """The library's default recipe for the same seconds."""
    sizes = ModelConfig.for_budget(train, vocabulary, minutes=seconds / 60)
    return train_library(train, test, vocabulary, sizes, TrainerConfig(max_minutes=seconds / 60))


def train_equal(train: TokenStream, test: TokenStream, vocabulary: Vocabulary, seconds: float) -> dict[str, float]:
    """The usual loop's model and options, trained by the library for the same seconds."""
    sizes = ModelConfig(
        embedding_dim=EMBEDDING_DIM, hidden_size=HIDDEN_SIZE, output="full", dropout=0.0, character_vectors=False
    )
    config = TrainerConfig(
        max_minutes=seconds / 60,
        batch_size=BATCH_SIZE,
        bptt_len=BPTT_LEN,
        learning_rate=LEARNING_RATE,
        max_grad_norm=MAX_GRAD_NORM,
    )
    return train_library(train, test, vocabulary, sizes, config)


def train_library(
    train: TokenStream, test: TokenStream, vocabulary: Vocabulary, sizes: ModelConfig, config: TrainerConfig
) -> dict[str, float]:
    """A model trained by the library, and its metrics."""
    model = LSTMLanguageModel(vocabulary, sizes)
    trainer = Trainer(model, train, None, config, progress=False)
    start = time.perf_counter()
    record = trainer.fit()[-1]
    spent = time.perf_counter() - start
    counts, full = torch.tensor(vocabulary.counts), model.config.output == "full"
    bits = evaluate_ids(model, vocabulary.encode_stream(test)[:MEASURED_IDS]).bits_per_character
    assert bits is not None
    return {
        "tokens": record["tokens_per_second"] * spent,
        "seconds": spent,
        "operations": training_operations(sizes.embedding_dim, sizes.hidden_size, counts, full=full),
        "embedding_dim": sizes.embedding_dim,
        "hidden_size": sizes.hidden_size,
        "bits_per_character": bits,
    }


SIDES = {"usual loop": train_usual, "default": train_default, "equal sizes": train_equal}


def run_side(options: argparse.Namespace) -> None:
    """Trains one side and prints its figures as JSON."""
    corpus = TokenStream.from_files(options.corpus)
    train, _, test = corpus.split(valid=0.05, test=0.05)
    vocabulary = Vocabulary.from_stream(train, min_freq=options.min_freq, max_size=options.max_size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = SIDES[options.side](train, test, vocabulary, options.seconds)
    figures["peak_megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures["before_megabytes"] = before / 1024
    figures["machine_rate"] = machine_rate(seconds=1.0)
    figures["vocab_size"] = len(vocabulary)
    print(json.dumps(figures))


def main() -> None:
    """Runs the sides in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--min-freq", type=int, default=3)
    parser.add_argument("--max-size", type=int, default=60_000)
    parser.add_argument("--side", choices=[*SIDES], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_side(options)
        return
    sides = {}
    for side in SIDES:
        command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
        sides[side] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    vocab_size = sides["usual loop"]["vocab_size"]
    print(f"vocabulary {vocab_size:,}, {options.seconds:g} s each, {torch.get_num_threads()} threads")
    print(f"{'':<32}{'usual loop':>12}{'default':>12}{'ratio':>9}{'equal sizes':>13}{'ratio':>9}")
    rows: list[tuple[str, Callable[[dict[str, float]], float]]] = [
        ("embedding_dim", lambda side: side["embedding_dim"]),
        ("hidden_size", lambda side: side["hidden_size"]),
        ("tokens a second", lambda side: side["tokens"] / side["seconds"]),
        ("peak memory, MB", lambda side: side["peak_megabytes"]),
        ("bits per character, test part", lambda side: side["bits_per_character"]),
        (
            "arithmetic / matrix product",
            lambda side: side["tokens"] / side["seconds"] * side["operations"] / side["machine_rate"],
        ),
    ]
    for name, value in rows:
        usual, default, equal = (value(side) for side in sides.values())
        print(f"{name:<32}{usual:>12,.3f}{default:>12,.3f}{default / usual:>9.2f}{equal:>13,.3f}{equal / usual:>9.2f}")


if __name__ == "__main__":
    main()
