"""What a model and its training take in memory, by arithmetic, so that what cannot fit is refused before it is allocated."""

import itertools
import os
from pathlib import Path

import torch
from torch import Tensor

from zh_lstm_lm.errors import ConfigError

__all__ = ["check_fits", "scores_per_token", "total_memory", "training_memory"]

_CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def total_memory(device: torch.device) -> int | None:
    """The memory of a device in bytes, for the CPU that of the machine or the container; None where it is not told."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if device.type != "cpu":
        return None
    try:
        found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, OSError, ValueError):  # not a system that tells
        return None
    for path in _CONTAINER_LIMITS:
        try:
            found.append(int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return min(found)


def training_memory(
    *, held: int, num_tokens: int, hidden_size: int, num_layers: int, scores: float, itemsize: int
) -> int:
    """About what training takes, in bytes, at least; the copy of the best weights is not counted.

    Args:
        held: Bytes of the weights, their gradients and the optimizer's means.
        num_tokens: Tokens of a window, over all lanes.
        hidden_size: Width of the LSTM.
        num_layers: Its layers.
        scores: Scores that the output layer computes for a token.
        itemsize: Bytes of a number.
    """
    of_token = 8 * hidden_size * num_layers + 2 * scores  # gates, states, outputs; scores and their gradient
    return held + int(itemsize * num_tokens * of_token)


def scores_per_token(counts: Tensor, cutoffs: tuple[int, ...] | None) -> float:
    """The scores that the output layer computes for a token, on average over the training text.

    Args:
        counts: How often each id occurs in it. **Shape:** (vocab_size,).
        cutoffs: First ids of an adaptive softmax's tails; None for a full softmax.
    """
    if cutoffs is None:
        return len(counts)
    shares = counts.double() / counts.sum().clamp(min=1)
    tails = itertools.pairwise((*cutoffs, len(counts)))
    return cutoffs[0] + len(cutoffs) + sum(float(shares[start:stop].sum()) * (stop - start) for start, stop in tails)


def check_fits(what: str, needed: int, device: torch.device, *, smaller: str) -> None:
    """Refuses what is larger than all the memory of a device.

    Args:
        what: What takes the memory, for the message.
        needed: Bytes.
        device: Where it is to lie.
        smaller: What to make smaller, for the message.

    Raises:
        ConfigError: It cannot fit.
    """
    total = total_memory(device)
    if total is not None and needed > total:
        raise ConfigError(
            f"{what} would take about {needed / 1e9:,.1f} GB of memory, and {device} has {total / 1e9:,.1f} GB; "
            f"make {smaller} smaller"
        )
