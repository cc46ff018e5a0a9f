"""How large a model can be trained in the time there is: arithmetic of the shapes over the machine's measured rate."""

import itertools
import time

import torch
from torch import Tensor

from zh_lstm_lm.models.output_layers import default_cutoffs, tail_width
from zh_lstm_lm.runtime.devices import matrix_precision

__all__ = ["FULL_SOFTMAX_LIMIT", "choose_sizes", "machine_rate", "seconds_per_token", "training_operations"]

FULL_SOFTMAX_LIMIT = 4000
"""Entries of a vocabulary up to which a full softmax is taken where none is asked for."""

_SIZES = ((64, 128), (96, 192), (128, 256), (160, 320), (192, 384), (224, 448), (256, 512), (384, 768), (512, 1024))
_DEVICE_SIZES = (*_SIZES, (768, 1536), (1024, 2048))
_TOKENS_PER_WEIGHT = 5.0  # of the LSTM; from what models of several sizes reach in equal time
_PASSES = 8  # over the text that count: what is read more often teaches little
_CPU = torch.device("cpu")
_EFFICIENCY = {"cpu": 0.6, "cuda": 0.4}  # of a training step, against large matrix products
_OVERHEAD = {"cpu": 0.0, "cuda": 2.5e-6}  # seconds a token that go into launches, whatever the size


def training_operations(embedding_dim: int, hidden_size: int, counts: Tensor, *, full: bool) -> float:
    """Floating-point operations to train one token, forward and backward (6 for each weight it touches).

    Args:
        embedding_dim: Width of the embedding.
        hidden_size: Width of the one LSTM layer.
        counts: How often each token occurs, by falling frequency. **Shape:** (vocab_size,).
        full: Whether the output layer is a full softmax; else the adaptive one with default cutoffs.
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


def machine_rate(device: torch.device = _CPU, *, precision: str = "auto", seconds: float = 0.2) -> float:
    """Floating-point operations a second in a large matrix product.

    Args:
        device: Where it is made.
        precision: What float32 matrices are multiplied in there, or ``"bfloat16"``; see `matrix_precision`.
        seconds: How long to measure.
    """
    size = 1024 if device.type == "cpu" else 8192
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    matrix = torch.randn(size, size, generator=torch.Generator(device).manual_seed(0), device=device).to(kind)
    with matrix_precision(device, precision):
        (matrix @ matrix)[0, 0].item()  # the first product of a device sets its library up
        runs, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            (matrix @ matrix)[0, 0].item()  # waits for the device
            runs += 1
    return runs * 2 * size**3 / elapsed


def choose_sizes(
    counts: Tensor, num_tokens: int, seconds: float, device: torch.device = _CPU
) -> tuple[int, int, float]:
    """Chooses the largest model that sees enough tokens in the time, and its dropout.

    Args:
        counts: How often each id occurs in the training text, by falling frequency. **Shape:** (vocab_size,).
        num_tokens: Tokens of the training text.
        seconds: Training time.
        device: Where it is trained.

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
