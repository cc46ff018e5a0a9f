"""One LSTM layer: `torch.nn.LSTM`, with a shorter way for a single step."""

from typing import TypeAlias

import torch
from torch import Tensor, nn
from typing_extensions import override

from zh_lstm_lm.runtime.devices import autocast_dtype

__all__ = ["LSTMLayer", "LSTMState", "detach_state"]

LSTMState: TypeAlias = tuple[Tensor, Tensor]
"""The pair (h, c). **Shape:** (num_layers, batch, hidden_size) each."""


class LSTMLayer(nn.LSTM):
    """`torch.nn.LSTM` of one layer; a single step on the CPU goes through the bare cell.

    oneDNN's path packs the weights anew at each call. That is nothing beside a window of steps, and ten times the
    cost of one.
    """

    @override
    def forward(self, inputs: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:  # type: ignore[override]
        """Reads inputs, **Shape:** (batch, time, input_size), from a state. See `torch.nn.LSTM`."""
        if autocast_dtype(inputs.device) is not None:  # cuDNN's LSTM would be in float16, too narrow for its gradients
            with torch.autocast(inputs.device.type, enabled=False):
                return self.forward(inputs.to(state[0].dtype), state)
        if inputs.shape[1] != 1 or torch.is_grad_enabled() or inputs.device.type != "cpu":
            result: tuple[Tensor, LSTMState] = super().forward(inputs, state)
            return result
        h, c = torch.lstm_cell(inputs[:, 0], (state[0][0], state[1][0]), *self.all_weights[0])
        return h[:, None], (h[None], c[None])


def detach_state(state: LSTMState) -> LSTMState:
    """Cuts a state off the graph of what it was computed from, so that gradients end there."""
    return state[0].detach(), state[1].detach()
