"""Model sizes for a time budget, from the operations of a training step and the measured rate of the machine."""

import itertools
import statistics
from time import perf_counter

import torch
from torch import Tensor

from zh_lstm_lm.models.output_layers import default_cutoffs, tail_width
from zh_lstm_lm.runtime.devices import matrix_precision

__all__ = ["FULL_SOFTMAX_LIMIT", "choose_sizes", "machine_rate", "seconds_per_token", "training_operations"]

FULL_SOFTMAX_LIMIT = 4000
"""Largest vocabulary for which ``output="auto"`` is a full softmax."""

_SIZES = ((64, 128), (96, 192), (128, 256), (160, 320), (192, 384), (224, 448), (256, 512), (384, 768), (512, 1024))
_DEVICE_SIZES = (*_SIZES, (768, 1536), (1024, 2048))
# Training tokens for each weight of the LSTM; from the quality of models of several sizes after equal time.
_TOKENS_PER_WEIGHT = 5.0
# Passes over the text that count, since more of them teach little.
_PASSES = 8
_CPU = torch.device("cpu")
# The rate of a training step in proportion to that of large matrix products.
_EFFICIENCY = {"cpu": 0.6, "cuda": 0.4}
# Seconds per token that launches take, whatever the size.
_OVERHEAD = {"cpu": 0.0, "cuda": 2.5e-6}
# Matrix products that are measured at least.
_PRODUCTS = 5


def training_operations(embedding_dim: int, hidden_size: int, counts: Tensor, *, full: bool) -> float:
    """Counts the floating-point operations to train one token, forward and backward: 6 for each weight it touches.

    Args:
        embedding_dim: Width of the embedding.
        hidden_size: Width of the one LSTM layer.
        counts: Frequency of each token, in falling order. **Shape:** (vocab_size,).
        full: Whether the output layer is a full softmax; if not, it is an adaptive one with default cutoffs.
    """
    touched = 4.0 * hidden_size * (embedding_dim + hidden_size)
    if full:
        return 6 * (touched + hidden_size * len(counts))
    cutoffs = (*default_cutoffs(len(counts)), len(counts))
    touched += hidden_size * (cutoffs[0] + len(cutoffs) - 1)
    for number, (start, stop) in enumerate(itertools.pairwise(cutoffs), start=1):
        share = float(counts[start:stop].sum() / counts.sum().clamp(min=1))
        width = tail_width(hidden_size, number)
        touched += share * width * (hidden_size + stop - start)
    return 6 * touched


def machine_rate(device: torch.device = _CPU, *, precision: str = "auto", seconds: float = 1.0) -> float:
    """Measures floating-point operations per second in large matrix products; the median, so slow moments do no harm.

    Args:
        device: The device.
        precision: The precision of float32 products on it, or ``"bfloat16"``; see `matrix_precision`.
        seconds: Time of the measurement, at least.
    """
    size = 1024 if device.type == "cpu" else 8192
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    generator = torch.Generator(device).manual_seed(0)
    matrix = torch.randn(size, size, generator=generator, device=device, dtype=torch.float32).to(dtype)
    times: list[float] = []
    with matrix_precision(device, precision):
        # The first product of a device sets its library up, and reading a value waits for the device.
        (matrix @ matrix)[0, 0].item()
        while sum(times) < seconds or len(times) < _PRODUCTS:
            began = perf_counter()
            (matrix @ matrix)[0, 0].item()
            times.append(perf_counter() - began)
    return 2 * size**3 / statistics.median(times)


def choose_sizes(
    counts: Tensor, num_tokens: int, seconds: float, device: torch.device = _CPU
) -> tuple[int, int, float]:
    """Chooses the largest model that sees enough tokens in the time, and its dropout.

    Args:
        counts: Frequency of each id in the training text, in falling order. **Shape:** (vocab_size,).
        num_tokens: Number of tokens of the training text.
        seconds: Training time.
        device: The device that it is trained on.

    Returns:
        `embedding_dim`, `hidden_size` and `dropout`.
    """
    kind = "cuda" if device.type == "cuda" else "cpu"
    rate, overhead = machine_rate(device if device.type == kind else _CPU) * _EFFICIENCY[kind], _OVERHEAD[kind]
    sizes = _DEVICE_SIZES if kind == "cuda" else _SIZES
    chosen, epochs = sizes[0], 1.0
    for embedding_dim, hidden_size in sizes:
        full = len(counts) <= FULL_SOFTMAX_LIMIT
        operations = training_operations(embedding_dim, hidden_size, counts, full=full)
        tokens = seconds / (operations / rate + overhead)
        weights = 4 * hidden_size * (embedding_dim + hidden_size)
        if hidden_size > sizes[0][1] and min(tokens, _PASSES * num_tokens) < _TOKENS_PER_WEIGHT * weights:
            break
        chosen, epochs = (embedding_dim, hidden_size), tokens / max(num_tokens, 1)
    dropout = 0.05 if epochs < 1 else 0.1 if epochs < 4 else 0.3 if epochs < 8 else 0.5
    return (*chosen, dropout)


def seconds_per_token(
    embedding_dim: int, hidden_size: int, counts: Tensor, *, full: bool, device: torch.device = _CPU
) -> float:
    """Estimates the seconds that training takes per token; evaluation takes a third of them.

    Args:
        embedding_dim: Width of the embedding.
        hidden_size: Width of the one LSTM layer.
        counts: Frequency of each token, descending. **Shape:** (vocab_size,).
        full: True for a full softmax, False for the adaptive one with default cutoffs.
        device: The device of the model.
    """
    kind = "cuda" if device.type == "cuda" else "cpu"
    rate = machine_rate(device if device.type == kind else _CPU) * _EFFICIENCY[kind]
    return training_operations(embedding_dim, hidden_size, counts, full=full) / rate + _OVERHEAD[kind]
