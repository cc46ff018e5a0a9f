"""A training step taken apart: what each part costs, and how near it comes to the machine's matrix products.

    python benchmarks/training_step.py [CORPUS] [--rounds 15] [--profile]

The ids are drawn with the frequencies of the corpus's words, without one from Zipf's law. Printed are, for each
configuration: the arithmetic of a step (counted from the shapes, 6 operations for each weight that a token touches) over
its time, as a share of the rate of a large float32 matrix product that is timed in the same rounds; what each part adds
to the time of a step; how the cost of a token grows with the vocabulary; and, with a corpus, how long an epoch over the
cached corpus takes to start.
"""

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from zh_lstm_lm import (
    Callback,
    LSTMLanguageModel,
    ModelConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    TrainerState,
    Vocabulary,
)
from zh_lstm_lm.corpus.batches import TrainingWindows
from zh_lstm_lm.models.config import machine_rate, training_operations
from zh_lstm_lm.models.gradients import clip_gradients, sparse_embedding
from zh_lstm_lm.training.optimizer import Optimizer

BPTT_LEN = 35
NUM_IDS = 400_000


def vocabulary_of(size: int, train: TokenStream | None) -> Vocabulary:
    """A vocabulary of so many tokens: the text's own, or one whose counts follow Zipf's law."""
    if train is not None:
        return Vocabulary.from_stream(train, max_size=size)
    words = [chr(0x4E00 + number % 20_000) + chr(0x4E00 + number // 20_000) for number in range(size - 258)]
    counts = [0, *(max(1, 10_000_000 // rank) for rank in range(1, size))]
    return Vocabulary([*words, *range(256)], tokenizer="characters", counts=counts)


class Step:
    """Everything that a training step needs, to be timed part by part."""

    def __init__(self, vocabulary: Vocabulary, batch_size: int, **sizes: Any) -> None:
        generator = torch.Generator().manual_seed(0)
        weights = torch.tensor(vocabulary.counts, dtype=torch.float64)
        ids = torch.multinomial(weights, NUM_IDS, replacement=True, generator=generator).int()
        self.windows = TrainingWindows(ids, batch_size=batch_size, bptt_len=BPTT_LEN)
        self.model = LSTMLanguageModel(vocabulary, ModelConfig(**sizes)).train()
        self.plain = LSTMLanguageModel(vocabulary, ModelConfig(**{**sizes, "dropout": 0.0})).train()
        self.optimizer = Optimizer(self.model, betas=(0.9, 0.999))
        self.generator = generator
        self.state = self.model.initial_state(batch_size)
        self.batch = self.windows[0]
        self.number = 0
        config = self.model.config
        self.tokens = batch_size * BPTT_LEN
        counts = torch.tensor(vocabulary.counts)
        each = training_operations(config.embedding_dim, config.hidden_size, counts, full=config.output == "full")
        self.operations = each * self.tokens
        self.lstm_operations = 24.0 * config.hidden_size * (config.embedding_dim + config.hidden_size) * self.tokens
        self.lstm_inputs = torch.randn(batch_size, BPTT_LEN, config.embedding_dim, generator=generator)

    def lstm(self) -> None:
        """The LSTM alone, forward and backward."""
        hidden, _ = self.plain.layers[0](self.lstm_inputs, self.state)
        hidden.backward(torch.ones_like(hidden))
        self.plain.zero_grad()

    def lstm_native(self) -> None:
        """The LSTM alone without oneDNN."""
        with torch.backends.mkldnn.flags(enabled=False):
            self.lstm()

    def loss(self, model: LSTMLanguageModel) -> None:
        """Forward and backward."""
        loss, _ = model.loss(*self.batch, self.state, generator=self.generator)
        loss.backward()  # type: ignore[no-untyped-call]

    def without_dropout(self) -> None:
        """Forward and backward without regularisation."""
        self.loss(self.plain)
        self.plain.zero_grad()

    def forward_backward(self) -> None:
        """Forward and backward."""
        self.loss(self.model)
        self.model.zero_grad()

    def clipped(self) -> None:
        """With clipping."""
        self.loss(self.model)
        float(clip_gradients(self.model.parameters(), 0.5))
        self.model.zero_grad()

    def optimized(self) -> None:
        """With clipping and Adam."""
        self.loss(self.model)
        float(clip_gradients(self.model.parameters(), 0.5))
        self.optimizer.step(1e-4)

    def load(self) -> None:
        """The next window."""
        self.number = (self.number + 1) % len(self.windows)
        self.batch = self.windows[self.number]

    def whole(self) -> None:
        """The whole step, a new window included."""
        self.load()
        self.optimized()

    def scored(self) -> None:
        """Evaluation of the same window."""
        with torch.inference_mode():
            self.plain.eval()
            context, _ = self.plain.read(self.batch.inputs, self.state)
            self.plain.target_log_probs(context, self.batch.targets.flatten())
            self.plain.train()


def measure(parts: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds of each part, all taking their turn in every round."""
    times: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(rounds + 2):
        for name, part in parts.items():
            start = time.perf_counter()
            part()
            if number >= 2:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(measured) for name, measured in times.items()}


def take_apart(title: str, step: Step, rounds: int) -> None:
    """Prints the parts of one configuration."""
    rates: list[float] = []
    parts: dict[str, Callable[[], None]] = {
        "a large matrix product": lambda: rates.append(machine_rate(seconds=0.1)),
        "LSTM alone": step.lstm,
        "LSTM alone, without oneDNN": step.lstm_native,
        "forward and backward, no dropout": step.without_dropout,
        "+ dropout": step.forward_backward,
        "+ clipping": step.clipped,
        "+ Adam": step.optimized,
        "+ data: the whole step": step.whole,
        "the data alone": step.load,
        "evaluation": step.scored,
    }
    with sparse_embedding(step.model), sparse_embedding(step.plain):
        seconds = measure(parts, rounds)
    rate = statistics.median(rates)
    whole = seconds["+ data: the whole step"]
    print(f"\n{title}: {step.tokens / whole:,.0f} tokens/s; matrix products at {rate / 1e9:,.0f} GFLOP/s")
    for name, spent in list(seconds.items())[1:]:
        if name == "the data alone":
            print(f"  {name:<34} {spent / whole:>6.4f} of a step")
            continue
        operations = step.lstm_operations if "LSTM" in name else step.operations
        share = operations / spent / rate if name != "evaluation" else operations / 3 / spent / rate
        print(f"  {name:<34} {spent / whole:>6.2f} of a step, at {share:.2f} of the rate of matrix products")
    print(f"  evaluation over training: {whole / seconds['evaluation']:.1f} times the tokens/s")


def by_vocabulary(rounds: int, train: TokenStream | None) -> None:
    """Prints how the cost of a token grows with the vocabulary."""
    steps = {f"{size:,}": Step(vocabulary_of(size, train), 32) for size in (20_000, 60_000, 125_000, 250_000)}
    with contextlib.ExitStack() as stack:
        for step in steps.values():
            stack.enter_context(sparse_embedding(step.model))
        seconds = measure({name: step.whole for name, step in steps.items()}, rounds)
    base = next(iter(seconds.values()))
    told = "  ".join(f"{name} {spent / base:.2f}" for name, spent in seconds.items())
    print(f"\ncost of a token by vocabulary, default sizes: {told}")


def print_profile(step: Step) -> None:
    """Prints the operators in which a step spends its time."""
    with sparse_embedding(step.model):
        step.whole()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            for _ in range(20):
                step.whole()
    events = sorted(profile.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    for event in events[:16]:
        share = event.self_cpu_time_total / total
        print(f"  {event.key:<44} {share:>6.1%} of a step, {event.count / 20:.0f} calls")


def epoch_start(path: str) -> float:
    """Seconds from a cached corpus, with its vocabulary at hand, to the end of the first update."""

    class FirstUpdate(Callback):
        """Remembers when the first update ended."""

        ended = 0.0

        def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            """The run has one update only."""
            self.ended = time.perf_counter()

    train, _, _ = TokenStream.from_files(path).split(valid=0.05, test=0.05)
    model = LSTMLanguageModel(Vocabulary.from_stream(train, min_freq=3, max_size=60_000))
    start, first = time.perf_counter(), FirstUpdate()
    train, _, _ = TokenStream.from_files(path).split(valid=0.05, test=0.05)
    Trainer(model, train, None, TrainerConfig(max_steps=1), callbacks=[first], progress=False).fit()
    return first.ended - start


def main() -> None:
    """Measures all configurations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--profile", action="store_true", help="print the operators of a step too")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32")
    train = None
    if options.corpus:
        train = TokenStream.from_files(options.corpus).split(valid=0.05, test=0.05)[0]
    vocabulary = vocabulary_of(60_000, train)
    default = Step(vocabulary, 32)
    take_apart("E 192, H 384, batch 32, window 35, V 60,000", default, options.rounds)
    if options.profile:
        print_profile(default)
    large = Step(vocabulary, 64, embedding_dim=256, hidden_size=512)
    take_apart("E 256, H 512, batch 64, window 35, V 60,000", large, options.rounds)
    by_vocabulary(options.rounds, train)
    if options.corpus:
        print(f"\nthe first update over the cached corpus ends after {epoch_start(options.corpus):.2f} s")


if __name__ == "__main__":
    main()
