"""Dropout that draws from a generator of its own."""

import torch
from torch import Tensor

__all__ = ["LaneGenerator", "locked_dropout"]


class LaneGenerator(torch.Generator):
    """A generator for a part of the lanes, which draws for all of them, so that masks do not depend on the division.

    Attributes:
        first: The first lane of the part.
        num_lanes: All lanes.
    """

    first = 0
    num_lanes = 0


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
    batch, _, features = values.shape
    first, num_lanes = 0, batch
    if isinstance(generator, LaneGenerator):
        first, num_lanes = generator.first, generator.num_lanes
    mask = values.new_empty(num_lanes, 1, features).bernoulli_(keep, generator=generator)[first : first + batch]
    return values * mask.div_(keep)  # (batch, time, features) * (batch, 1, features)
