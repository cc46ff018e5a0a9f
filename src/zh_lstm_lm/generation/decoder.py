"""One token after another, as in generation: the model's layers laid out for few rows at a time."""

from typing import cast

import torch
from torch import Tensor

from zh_lstm_lm.models.ensemble import Ensemble, joined
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.models.lstm_layer import LSTMState
from zh_lstm_lm.runtime.batch_invariant import PackedWeight, RowwiseLinear
from zh_lstm_lm.runtime.cuda_graphs import CapturedFunction

__all__ = ["SingleSteps", "captured_steps"]

_NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


class SingleSteps:
    """Reads a token of each text at a time; the same as `LSTMLanguageModel.hidden_states`, up to rounding.

    On the CPU the weights for the input and for the state lie side by side, so that a step is one matrix product.

    Args:
        model: The model.
        linear: Packs the weights. Where they cannot be, they lie transposed, which takes a half to a third of the time
            of PyTorch's bare cell.
        captured: What `captured_steps` gave for the model.
    """

    def __init__(
        self, model: LSTMLanguageModel, linear: RowwiseLinear, captured: CapturedFunction | None = None
    ) -> None:
        self._model, self._captured = model, captured
        self._linear = linear
        self._parts = [SingleSteps(part, linear) for part in model.models] if isinstance(model, Ensemble) else []
        self._layers: list[tuple[PackedWeight | _Transposed, Tensor]] = []
        self.begin()

    def begin(self) -> None:
        """Takes the weights that the model has now, for texts that are begun, and for those that are under way."""
        for part in self._parts:
            part.begin()
        layers: list[tuple[PackedWeight | _Transposed, Tensor]] = []
        for layer in self._model.layers if _reads_as_usual(self._model) and self._model.device.type == "cpu" else ():
            of_input, of_state, bias, more = (layer.get_parameter(name) for name in _NAMES)
            packed = self._linear.packed(_side_by_side, of_input, of_state)
            multiply = packed or _Transposed(_side_by_side(of_input, of_state))
            layers.append((multiply, _gates_for_tanh(bias) + _gates_for_tanh(more)))
        self._layers = layers

    def __call__(self, ids: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Reads a token of each text, without gradients and dropout.

        Args:
            ids: **Shape:** (texts,), int64.
            state: What was read before.

        Returns:
            The last layer's states, **Shape:** (texts, hidden_size), and the state after the token.
        """
        if self._captured is not None:
            hidden, h, c = self._captured(ids, state[0].transpose(0, 1), state[1].transpose(0, 1))
            return hidden, (h.transpose(0, 1).contiguous(), c.transpose(0, 1).contiguous())
        if self._parts:
            parted = cast("Ensemble", self._model).parted(state)
            read = [part(ids, of_part) for part, of_part in zip(self._parts, parted, strict=True)]
            return torch.cat([hidden for hidden, _ in read], dim=-1), joined([after for _, after in read])
        if not self._layers:
            states, state = self._model.hidden_states(ids[:, None], state)
            return states[:, 0], state
        hidden, after = self._model.embedding(ids), []
        size = state[0].shape[-1]
        for (multiply, bias), h, c in zip(self._layers, *state, strict=True):
            gates = multiply(hidden, h, bias=bias).tanh_()  # (texts, 4 * hidden_size)
            into, keep, out = torch.split(gates[:, : 3 * size].mul_(0.5).add_(0.5), size, dim=1)
            cell = torch.addcmul(keep * c, into, gates[:, 3 * size :])
            hidden = out * cell.tanh()
            after.append((hidden, cell))
        return hidden, (torch.stack([h for h, _ in after]), torch.stack([c for _, c in after]))


def captured_steps(model: LSTMLanguageModel) -> CapturedFunction | None:
    """A step as a CUDA graph, with the texts before the layers in the state; None for a model that is elsewhere."""
    if model.device.type != "cuda" or not _reads_as_usual(model):
        return None

    def step(ids: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden, after = model.embedding(ids), []
        for number, layer in enumerate(model.layers):
            weights = [layer.get_parameter(name) for name in _NAMES]
            hidden, cell = torch.lstm_cell(hidden, (h[:, number], c[:, number]), *weights)
            after.append((hidden, cell))
        return hidden, torch.stack([h for h, _ in after], dim=1), torch.stack([c for _, c in after], dim=1)

    return CapturedFunction(step, list(model.parameters()))


class _Transposed:
    """A product that reads its weight in order."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight.t().contiguous()

    def __call__(self, *parts: Tensor, bias: Tensor) -> Tensor:
        return torch.addmm(bias, torch.cat(parts, dim=1), self._weight)


def _reads_as_usual(model: LSTMLanguageModel) -> bool:
    """Not so an ensemble, which has layers of several models."""
    return type(model).hidden_states is LSTMLanguageModel.hidden_states


def _side_by_side(of_input: Tensor, of_state: Tensor) -> Tensor:
    """One weight for both. **Shape:** (4 * hidden_size, inputs + hidden_size)."""
    return torch.cat([_gates_for_tanh(of_input), _gates_for_tanh(of_state)], dim=1)


def _gates_for_tanh(weight: Tensor) -> Tensor:
    """PyTorch's gates (input, forget, cell, output) with the cell's at the end, and the others' weights halved.

    For sigmoid(x) = (1 + tanh(x / 2)) / 2, and PyTorch's sigmoid, unlike its tanh, rounds some values otherwise in some
    places of a tensor.
    """
    into, keep, cell, out = weight.detach().chunk(4)
    return torch.cat([into / 2, keep / 2, out / 2, cell])
