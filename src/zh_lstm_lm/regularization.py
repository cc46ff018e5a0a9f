"""Dropout that draws from a generator of its own."""

import torch
from torch import Tensor

__all__ = ["locked_dropout"]


def locked_dropout(values: Tensor, probability: float, generator: torch.Generator | None) -> Tensor:
    """Drops the same features at every time step of a row and scales up the rest (Gal and Ghahramani, 2016).

    Args:
        values: **Shape:** (batch, time, features).
        probability: Share of features that is dropped; 0 changes nothing.
        generator: Where the mask is drawn from; None draws from PyTorch's global one.

    Returns:
        **Shape:** (batch, time, features).
    """
    if probability == 0.0:
        return values
    keep = 1.0 - probability
    mask = values.new_empty(values.shape[0], 1, values.shape[2]).bernoulli_(keep, generator=generator)
    return values * mask.div_(keep)  # (batch, time, features) * (batch, 1, features)
