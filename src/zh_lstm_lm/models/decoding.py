"""The form of an LSTM language model that reads one token of each text at a time, as generation does."""

from typing import Any

import torch
from torch import Tensor, nn

from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.models.layers import LSTMContext, LSTMState
from zh_lstm_lm.models.output_layers import OutputLayer
from zh_lstm_lm.runtime.batch_invariant import BatchInvariantLinear

__all__ = ["DecodingLSTM", "PackedWeights"]

# Values of a weight that show whether it has changed.
_SAMPLED = 500
_WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


class PackedWeights:
    """The weights of an `LSTMLanguageModel` in batch-invariant layers, for a step of one token.

    All linear layers are swapped for `BatchInvariantLinear`, as `torch.ao.quantization` swaps modules. A step of an
    LSTM layer is one matrix product, over the weights of input and state side by side. Of the model, only the embedding is kept.
    """

    def __init__(self, model: Any) -> None:
        self._marks = [_mark(parameter) for parameter in model.parameters()]
        self.output: OutputLayer = model.output.for_decoding()
        self.embedding: nn.Module = model.embedding.for_decoding()
        self.layers: list[BatchInvariantLinear] = []
        for layer in model.layers:
            of_input, of_state, bias, more = (layer.get_parameter(name).detach() for name in _WEIGHTS)
            weight = torch.cat([_gates_for_tanh(of_input), _gates_for_tanh(of_state)], dim=1)
            self.layers.append(BatchInvariantLinear(weight, _gates_for_tanh(bias) + _gates_for_tanh(more)))

    def are_those_of(self, model: Any) -> bool:
        """Returns False if a weight of the model has changed since it was packed, or was replaced."""
        return self._marks == [_mark(parameter) for parameter in model.parameters()]


class DecodingLSTM:
    """An `LSTMLanguageModel` for decoding: equal up to rounding, batch-invariant where the processor allows it."""

    def __init__(self, model: Any, packed: PackedWeights) -> None:
        self._model = model
        self._packed = packed
        self.vocabulary: Vocabulary = model.vocabulary
        self.generation_config: dict[str, Any] = model.generation_config

    @property
    def is_batch_invariant(self) -> bool:
        """True if all weights could be packed."""
        linears = [module for module in self._packed.output.modules() if isinstance(module, BatchInvariantLinear)]
        return all(linear.is_batch_invariant for linear in [*self._packed.layers, *linears])

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        device: torch.device = self._model.device
        return device

    def initial_state(self, batch_size: int) -> LSTMState:
        """See `LanguageModel.initial_state`."""
        state: LSTMState = self._model.initial_state(batch_size)
        return state

    def read(self, ids: Tensor, state: LSTMState | None = None) -> tuple[LSTMContext, LSTMState]:
        """See `LanguageModel.read`. More than one token at a time is read by the model itself."""
        if ids.shape[1] != 1:
            read: tuple[LSTMContext, LSTMState] = self._model.read(ids, state)
            return read
        h, c = self.initial_state(len(ids)) if state is None else state
        hidden, after = self._packed.embedding(ids[:, 0]), []
        size = h.shape[-1]
        for number, linear in enumerate(self._packed.layers):
            gates = linear(torch.cat([hidden, h[number]], dim=1)).tanh_()  # (texts, 4 * hidden_size)
            sigmoids = gates[:, : 3 * size].mul_(0.5).add_(0.5)
            into, keep, out = torch.split(sigmoids, size, dim=1)
            cell = torch.addcmul(keep * c[number], into, gates[:, 3 * size :])
            hidden = out * cell.tanh()
            after.append((hidden, cell))
        state = LSTMState(torch.stack([h for h, _ in after]), torch.stack([c for _, c in after]))
        return LSTMContext(hidden), state

    def log_probs(self, context: LSTMContext) -> Tensor:
        """See `LanguageModel.log_probs`."""
        return self._packed.output.log_probs(context.hidden)

    def target_log_probs(self, context: LSTMContext, targets: Tensor) -> Tensor:
        """See `LanguageModel.target_log_probs`."""
        return self.log_probs(context).gather(1, targets[:, None]).squeeze(1)


def _gates_for_tanh(weight: Tensor) -> Tensor:
    """Reorders PyTorch's gates (input, forget, cell, output) so that the cell is last, and halves the other three.

    For sigmoid(x) = (1 + tanh(x / 2)) / 2. PyTorch's sigmoid, unlike its tanh, rounds some values differently in some
    positions of a tensor.
    """
    into, keep, cell, out = weight.chunk(4)
    return torch.cat([into / 2, keep / 2, out / 2, cell])


def _mark(weight: Tensor) -> tuple[int, ...]:
    """Returns values that differ after a weight has changed, also by ``weight.data``, which PyTorch does not count."""
    some = weight.detach().flatten()[:: 1 + weight.numel() // _SAMPLED]
    changes = 0 if weight.is_inference() else weight._version
    return changes, weight.data_ptr(), hash(float(some.double().sum()))
