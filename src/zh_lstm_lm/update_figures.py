"""Figures of updates, left on the device until several are read at once, since a read waits for all that was begun."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["UpdateFigures", "UpdateFiguresQueue"]

_READ_TOGETHER = 20


class UpdateFigures(NamedTuple):
    """What is to be told of one update.

    Attributes:
        step: Its number, from 1.
        learning_rate: Its rate.
        loss: Mean loss of its targets, in nats.
        gradient_norm: Before clipping.
        num_targets: Targets that were counted.
        num_characters: Characters that they stand for.
    """

    step: int
    learning_rate: float
    loss: float
    gradient_norm: float
    num_targets: int
    num_characters: int


class UpdateFiguresQueue:
    """Updates whose figures were not read yet.

    Args:
        device: Where they are made.

    Attributes:
        room: Updates that are read together; 1 on the CPU, where nothing waits.
    """

    def __init__(self, device: torch.device) -> None:
        self.room = 1 if device.type == "cpu" else _READ_TOGETHER
        self._scalars: list[Tensor] = []
        self._known: list[tuple[int, float, int, int]] = []

    def put(
        self,
        loss: Tensor,
        gradient_norm: Tensor,
        *,
        step: int,
        learning_rate: float,
        num_targets: int,
        num_characters: int,
    ) -> None:
        """Adds the figures of one update; loss and norm are scalars, **Shape:** ()."""
        self._scalars += [loss.detach(), gradient_norm]
        self._known.append((step, learning_rate, num_targets, num_characters))

    def full(self) -> bool:
        """Whether it is time to read."""
        return len(self._known) >= self.room

    def read(self) -> list[UpdateFigures]:
        """Takes all figures out, in order."""
        if not self._known:
            return []
        values = torch.stack(self._scalars).view(-1, 2).tolist()
        figures = [
            UpdateFigures(step, rate, loss, norm, num_targets, num_characters)
            for (step, rate, num_targets, num_characters), (loss, norm) in zip(self._known, values, strict=True)
        ]
        self._scalars.clear()
        self._known.clear()
        return figures
