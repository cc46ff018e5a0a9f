"""Training and generation on a CUDA device, against two cores of the same machine; ready to run where there is one.

    python benchmarks/cuda.py CORPUS [--updates 200]

Printed are, for each size, number of lanes and precision: tokens a second; the arithmetic of an update (6 operations
for each weight that a token touches) over that of a large matrix product in the same precision, timed in the same run;
how often an update waited for the device (one in 20 reads the figures of all since the last, so 0.05 is the least); the
greatest memory. Then the default recipe on two cores, and the ratio. Generation is timed on both too.
"""

import argparse
import sys
import time
import warnings
from typing import Any

import torch

from zh_lstm_lm import (
    Callback,
    LSTMLanguageModel,
    ModelConfig,
    Sampler,
    SamplerConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    TrainerState,
    Vocabulary,
)
from zh_lstm_lm.devices import matrix_precision
from zh_lstm_lm.memory import scores_per_token
from zh_lstm_lm.sizing import training_operations

WARMING = 40
SIZES = ((192, 384), (512, 1024), (1024, 2048))
LANES = (64, 256, 1024)


class Stopwatch(Callback):
    """Times the updates between two of them, and counts how often one of those waited for the device."""

    def __init__(self, device: torch.device, updates: int) -> None:
        self.seconds = 0.0
        self.waits = 0
        self._device, self._last = device, WARMING + updates
        self._caught = warnings.catch_warnings(record=True)
        self._warned: list[warnings.WarningMessage] = []

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Starts and stops the clock when the device has done all that it was given."""
        cuda = self._device.type == "cuda"
        if state.step == WARMING:
            if cuda:
                torch.cuda.synchronize()
                self._warned = self._caught.__enter__() or []
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
            self.seconds = -time.perf_counter()
        if state.step == self._last:
            if cuda:
                torch.cuda.set_sync_debug_mode("default")
                torch.cuda.synchronize()
                self.waits = sum("synchroniz" in str(warning.message) for warning in self._warned)
                self._caught.__exit__(None, None, None)
            self.seconds += time.perf_counter()


def matrix_rate(device: torch.device, precision: str) -> float:
    """Operations a second in a large matrix product of a precision."""
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    size, runs = (8192, 20) if device.type == "cuda" else (2048, 5)
    matrix = torch.ones(size, size, device=device, dtype=kind)
    with matrix_precision(device, precision):
        for count in (3, runs):
            start = time.perf_counter()
            for _ in range(count):
                matrix @ matrix
            if device.type == "cuda":
                torch.cuda.synchronize()
    return runs * 2 * size**3 / (time.perf_counter() - start)


def train(
    stream: TokenStream, vocabulary: Vocabulary, sizes: dict[str, Any], updates: int, **options: Any
) -> tuple[float, float, LSTMLanguageModel]:
    """Tokens a second of training, waits an update, and the model."""
    model = LSTMLanguageModel(vocabulary, ModelConfig(**sizes))
    config = TrainerConfig(max_steps=WARMING + updates, **options)
    stopwatch = Stopwatch(torch.device(config.device), updates)
    Trainer(model, stream, None, config, callbacks=[stopwatch], progress=False).fit()
    tokens = updates * (config.batch_size or 32) * config.bptt_len
    return tokens / stopwatch.seconds, stopwatch.waits / updates, model


def generation_rate(model: LSTMLanguageModel, texts: int) -> float:
    """Tokens a second of that many texts written side by side."""
    sampler = Sampler(model, SamplerConfig(temperature=1.0, top_p=1.0))
    sampler.generate_batch(["话说"], num_samples=texts, max_new_tokens=10)
    start = time.perf_counter()
    sampler.generate_batch(["话说"], num_samples=texts, max_new_tokens=100)
    return 100 * texts / (time.perf_counter() - start)


def main() -> None:
    """Measures all configurations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--updates", type=int, default=200)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no CUDA device here; this benchmark has nothing to measure")
    torch.set_num_threads(2)
    stream = TokenStream.from_files(options.corpus).split(valid=0.05, test=0.05)[0]
    vocabulary = Vocabulary.from_stream(stream, min_freq=3, max_size=60_000)
    counts = torch.tensor(vocabulary.counts)
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; vocabulary {len(vocabulary):,}")
    rates = {precision: matrix_rate(cuda, precision) for precision in ("float32", "tf32", "bfloat16")}
    told = "  ".join(f"{precision} {rate / 1e12:,.1f}" for precision, rate in rates.items())
    print(f"large matrix products, TFLOP/s: {told}")
    best, smallest = 0.0, None
    for embedding_dim, hidden_size in SIZES:
        sizes = {"embedding_dim": embedding_dim, "hidden_size": hidden_size}
        for lanes in LANES:
            for precision, rate in rates.items():
                torch.cuda.reset_peak_memory_stats()
                speed, waits, model = train(
                    stream, vocabulary, sizes, options.updates, device="cuda", batch_size=lanes, precision=precision
                )
                full = model.config.output == "full"
                share = speed * training_operations(embedding_dim, hidden_size, counts, full=full) / rate
                print(
                    f"E {embedding_dim}, H {hidden_size}, {lanes} lanes, {precision}: {speed:,.0f} tokens/s, at "
                    f"{share:.3f} of its matrix products, {waits:.2f} waits an update, "
                    f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB; "
                    f"{scores_per_token(counts, model.config.cutoffs):,.0f} scores a token",
                    flush=True,
                )
                if (embedding_dim, hidden_size) == SIZES[0]:
                    best, smallest = max(best, speed), model
    assert smallest is not None
    sizes = {"embedding_dim": SIZES[0][0], "hidden_size": SIZES[0][1]}
    two_cores, _, model = train(stream, vocabulary, sizes, min(options.updates, 60), device="cpu", batch_size=32)
    share = two_cores * training_operations(*SIZES[0], counts, full=False) / matrix_rate(cpu, "float32")
    print(f"two cores, 32 lanes: {two_cores:,.0f} tokens/s, at {share:.2f} of their matrix products")
    print(f"training at E {SIZES[0][0]}, H {SIZES[0][1]}: {best / two_cores:.1f} times the tokens/s of two cores")
    for texts in (1, 64):
        pair = generation_rate(smallest, texts), generation_rate(model, texts)
        print(f"generation, {texts} side by side: {pair[0]:,.0f} tokens/s, {pair[0] / pair[1]:.1f} times two cores")


if __name__ == "__main__":
    main()
