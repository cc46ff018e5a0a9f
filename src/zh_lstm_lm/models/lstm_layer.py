"""One LSTM layer with its state, its outputs and its dropout."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

from zh_lstm_lm.runtime.devices import autocast_dtype

__all__ = ["LSTMContext", "LSTMLayer", "LSTMState", "LaneGenerator", "locked_dropout"]


class _Pair(NamedTuple):
    h: Tensor
    c: Tensor


class LSTMState(_Pair):
    """The pair (h, c) of an LSTM. **Shape:** (num_layers, batch, hidden_size) each."""

    __slots__ = ()

    def rows(self, index: Tensor | Sequence[int] | slice) -> "LSTMState":
        """See `State.rows`."""
        return LSTMState(self.h[:, index].contiguous(), self.c[:, index].contiguous())

    @classmethod
    def cat(cls, states: "Sequence[LSTMState]") -> "LSTMState":
        """See `State.cat`."""
        return LSTMState(
            torch.cat([state.h for state in states], dim=1), torch.cat([state.c for state in states], dim=1)
        )

    def detach(self) -> "LSTMState":
        """See `State.detach`."""
        return LSTMState(self.h.detach(), self.c.detach())

    def to(self, device: torch.device) -> "LSTMState":
        """See `State.to`."""
        return LSTMState(self.h.to(device), self.c.to(device))

    def tensors(self) -> list[Tensor]:
        """See `State.tensors`."""
        return [self.h, self.c]

    def restored(self, tensors: Sequence[Tensor]) -> "LSTMState":
        """See `State.restored`."""
        h, c = tensors
        if h.shape != self.h.shape or c.shape != self.c.shape:
            raise ValueError(f"a state of shape {tuple(h.shape)} where {tuple(self.h.shape)} was expected")
        return LSTMState(h.to(self.h), c.to(self.c))


@dataclass(frozen=True)
class LSTMContext:
    """The last layer's hidden states, one row for each position. **Shape:** (rows, hidden_size)."""

    hidden: Tensor

    def __len__(self) -> int:
        return len(self.hidden)

    def rows(self, index: Tensor | Sequence[int] | slice) -> "LSTMContext":
        """See `Context.rows`."""
        return LSTMContext(self.hidden[index])


class LSTMLayer(nn.LSTM):
    """`torch.nn.LSTM` of one layer; a single step on the CPU goes through `torch.lstm_cell`.

    oneDNN packs the weights at each call, which costs nothing noticeable for a BPTT segment, but ten times as much as
    the computation of a single step.
    """

    @override
    def forward(self, inputs: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:  # type: ignore[override]
        """Reads inputs, **Shape:** (batch, time, input_size), from a state; see `torch.nn.LSTM`."""
        # Under autocast cuDNN's LSTM would run in float16, which is too narrow for its gradients.
        if autocast_dtype(inputs.device) is not None:
            with torch.autocast(inputs.device.type, enabled=False):
                return self.forward(inputs.to(state[0].dtype), state)
        if inputs.shape[1] != 1 or torch.is_grad_enabled() or inputs.device.type != "cpu":
            hidden, after = super().forward(inputs, state)
            return hidden, LSTMState(*after)
        h, c = torch.lstm_cell(inputs[:, 0], (state[0][0], state[1][0]), *self.all_weights[0])
        return h[:, None], LSTMState(h[None], c[None])


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
