"""How large a model can be trained in the time there is: arithmetic of the shapes over the machine's measured rate."""

import itertools
import time

import torch
from torch import Tensor

from zh_lstm_lm.output_layers import default_cutoffs, tail_width

__all__ = ["FULL_SOFTMAX_LIMIT", "choose_sizes", "machine_rate", "training_operations"]

FULL_SOFTMAX_LIMIT = 4000
"""Entries of a vocabulary up to which a full softmax is taken where none is asked for."""

_SIZES = ((64, 128), (96, 192), (128, 256), (160, 320), (192, 384), (224, 448), (256, 512), (384, 768), (512, 1024))
_TOKENS_PER_WEIGHT = 5.0  # of the LSTM; from what models of several sizes reach in equal time
_EFFICIENCY = 0.6  # of a training step, against large matrix products


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


def machine_rate(*, seconds: float = 0.2) -> float:
    """Floating-point operations a second in a large float32 matrix product on this machine's processor."""
    matrix = torch.ones(1024, 1024)
    runs, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        matrix @ matrix
        runs += 1
    return runs * 2 * 1024**3 / elapsed


def choose_sizes(counts: Tensor, num_tokens: int, seconds: float) -> tuple[int, int, float]:
    """Chooses the largest model that sees enough tokens in the time, and its dropout.

    Args:
        counts: How often each id occurs in the training text, by falling frequency. **Shape:** (vocab_size,).
        num_tokens: Tokens of the training text.
        seconds: Training time.

    Returns:
        `embedding_dim`, `hidden_size` and `dropout`.
    """
    operations = machine_rate() * _EFFICIENCY * seconds
    chosen, epochs = _SIZES[0], 1.0
    for embedding_dim, hidden_size in _SIZES:
        full = len(counts) <= FULL_SOFTMAX_LIMIT
        tokens = operations / training_operations(embedding_dim, hidden_size, counts, full=full)
        weights = 4 * hidden_size * (embedding_dim + hidden_size)
        if (embedding_dim, hidden_size) != _SIZES[0] and min(tokens, 8 * num_tokens) < _TOKENS_PER_WEIGHT * weights:
            break
        chosen, epochs = (embedding_dim, hidden_size), tokens / max(num_tokens, 1)
    dropout = 0.05 if epochs < 1 else 0.1 if epochs < 3 else 0.3 if epochs < 8 else 0.5
    return (*chosen, dropout)
