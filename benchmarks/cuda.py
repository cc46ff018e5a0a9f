"""Training and generation on a CUDA device, against two cores of the same machine.

    python benchmarks/cuda.py CORPUS [--updates 100]

Printed are, for each size, output layer, number of lanes and precision: tokens a second; the arithmetic of an update (6
operations for each weight that a token touches) over that of a large matrix product in the same precision, timed in the
same run; the greatest memory. Then the default recipe on two cores, and the ratio. Generation is timed on both too.
"""

import argparse
import sys
import time
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
from zh_lstm_lm.models.config import machine_rate, training_operations

WARMING = 40
SIZES = ((192, 384), (512, 1024), (1024, 2048))
LANES = (128, 512)


class Stopwatch(Callback):
    """Times the updates between two of them."""

    def __init__(self, device: torch.device, updates: int) -> None:
        self.seconds = 0.0
        self._device, self._last = device, WARMING + updates

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Starts and stops the clock when the device has done all that it was given."""
        if state.step in (WARMING, self._last):
            if self._device.type == "cuda":
                torch.cuda.synchronize()
            self.seconds += time.perf_counter() * (1 if state.step == self._last else -1)


def train(
    stream: TokenStream, vocabulary: Vocabulary, sizes: dict[str, Any], updates: int, **options: Any
) -> tuple[float, LSTMLanguageModel]:
    """Tokens a second of training, and the model."""
    model = LSTMLanguageModel(vocabulary, ModelConfig(**sizes))
    config = TrainerConfig(max_steps=WARMING + updates, **options)
    stopwatch = Stopwatch(torch.device(config.device), updates)
    Trainer(model, stream, None, config, callbacks=[stopwatch], progress=False).fit()
    tokens = updates * (config.batch_size or 32) * config.bptt_len
    return tokens / stopwatch.seconds, model


def generation_rate(model: LSTMLanguageModel, settings: SamplerConfig, texts: int) -> float:
    """Tokens a second of that many texts written side by side."""
    sampler = Sampler(model, settings)
    sampler.generate(["话说"], num_samples=texts, max_new_tokens=10)
    start = time.perf_counter()
    sampler.generate(["话说"], num_samples=texts, max_new_tokens=100)
    return 100 * texts / (time.perf_counter() - start)


def main() -> None:
    """Measures all configurations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--updates", type=int, default=100)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no CUDA device here; this benchmark has nothing to measure")
    torch.set_num_threads(2)
    stream = TokenStream.from_files(options.corpus).split(valid=0.05, test=0.05)[0]
    vocabulary = Vocabulary.from_stream(stream, min_freq=3, max_size=60_000)
    counts = torch.tensor(vocabulary.counts)
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; vocabulary {len(vocabulary):,}")
    rates = {precision: machine_rate(cuda, precision=precision) for precision in ("float32", "tf32", "bfloat16")}
    told = "  ".join(f"{precision} {rate / 1e12:,.1f}" for precision, rate in rates.items())
    print(f"large matrix products, TFLOP/s: {told}")
    best, smallest = 0.0, None
    for embedding_dim, hidden_size in SIZES:
        for output in ("adaptive", "full"):
            sizes = {"embedding_dim": embedding_dim, "hidden_size": hidden_size, "output": output}
            for lanes in LANES:
                for precision in ("tf32", "bfloat16"):
                    torch.cuda.reset_peak_memory_stats()
                    speed, model = train(
                        stream, vocabulary, sizes, options.updates, device="cuda", batch_size=lanes, precision=precision
                    )
                    operations = training_operations(embedding_dim, hidden_size, counts, full=output == "full")
                    print(
                        f"E {embedding_dim}, H {hidden_size}, {output}, {lanes} lanes, {precision}: {speed:,.0f} tokens/s, "
                        f"{speed * operations / 1e12:.1f} TFLOP/s, {speed * operations / rates[precision]:.3f} of its "
                        f"matrix products; {torch.cuda.max_memory_allocated() / 1e9:.1f} GB",
                        flush=True,
                    )
                    if hidden_size == SIZES[0][1] and output == "adaptive":
                        best, smallest = max(best, speed), model
    assert smallest is not None
    sizes = {"embedding_dim": SIZES[0][0], "hidden_size": SIZES[0][1]}
    two_cores, model = train(stream, vocabulary, sizes, min(options.updates, 60), device="cpu", batch_size=32)
    share = two_cores * training_operations(*SIZES[0], counts, full=False) / machine_rate(cpu)
    print(f"two cores, 32 lanes: {two_cores:,.0f} tokens/s, at {share:.2f} of their matrix products")
    print(f"training at E {SIZES[0][0]}, H {SIZES[0][1]}: {best / two_cores:.1f} times the tokens/s of two cores")
    for settings in (SamplerConfig(temperature=1.0, top_p=1.0), SamplerConfig()):
        for texts in (1, 64):
            pair = generation_rate(smallest, settings, texts), generation_rate(model, settings, texts)
            print(
                f"generation, temperature {settings.temperature}, top-p {settings.top_p}, {texts} side by side: "
                f"{pair[0]:,.0f} tokens/s, {pair[0] / pair[1]:.1f} times two cores"
            )


if __name__ == "__main__":
    main()
