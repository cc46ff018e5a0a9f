"""Weights in 8 bits with a scale for each row, and the model that they make."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.models.output_layers import AdaptiveSoftmax, FullSoftmax

__all__ = ["QuantisedModel", "quantise_model", "quantise_rows"]

_LARGEST = 127


@dataclass(frozen=True)
class QuantisedModel:
    """A model in 8 bits.

    Attributes:
        model: The model with the weights that are left after quantisation, in float32.
        matrices: The weights of each layer by name, with the scale of each row. **Shape:** (rows, columns), int8, and
            (rows,), float32.
        biases: The biases of each layer by name, in float32.
    """

    model: LSTMLanguageModel
    matrices: dict[str, tuple[Tensor, Tensor]]
    biases: dict[str, Tensor]


@torch.no_grad()
def quantise_model(model: LSTMLanguageModel) -> QuantisedModel:
    """Quantises a model; all that makes up the vector of a word becomes one table."""
    tied = model.config.tie_weights and model.config.output == "full"
    config = replace(model.config, character_vectors=False, tie_weights=tied, dtype="float32")
    copy = LSTMLanguageModel(model.vocabulary, config).eval()
    weights = copy.state_dict()
    weights.update({name: each for name, each in model.state_dict().items() if not name.startswith("embedding.")})
    copy.load_state_dict(weights)
    for ids in torch.split(torch.arange(len(model.vocabulary)), 4096):
        copy.embedding.weight[ids] = model.embedding(ids.to(model.device)).float().cpu()
    matrices = {}
    for name, parts in _matrices(copy):
        values, scales = quantise_rows(torch.cat([*parts], dim=1))
        matrices[name] = values, scales
        restored = values.float() * scales[:, None]
        for part, kept in zip(parts, torch.split(restored, [part.shape[1] for part in parts], dim=1), strict=True):
            part.copy_(kept)
    copy.generation_config = dict(model.generation_config)
    return QuantisedModel(copy, matrices, {name: bias.detach().float() for name, bias in _biases(copy)})


def quantise_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Rounds each row to 255 steps. **Shape:** (rows, columns) to that in int8 and (rows,) in float32."""
    scales = weight.abs().amax(dim=1) / _LARGEST
    steps = weight / scales.clamp(min=torch.finfo(torch.float32).tiny)[:, None]
    return steps.round().clamp(-_LARGEST, _LARGEST).to(torch.int8), scales


def _matrices(model: LSTMLanguageModel) -> Iterator[tuple[str, Sequence[Tensor]]]:
    """Yields the names and the parts, side by side, of all matrices."""
    yield "embedding", [model.embedding.weight]
    for number, layer in enumerate(model.layers):
        yield f"lstm{number}", [layer.get_parameter("weight_ih_l0"), layer.get_parameter("weight_hh_l0")]
    output = model.output
    if isinstance(output, AdaptiveSoftmax):
        yield "head", [output.head.weight]
        for number, (narrow, tail) in enumerate(output.clusters()):
            yield f"narrow{number}", [narrow.weight]
            yield f"tail{number}", [tail.weight]
        return
    assert isinstance(output, FullSoftmax)
    if output.projection is not None:
        yield "projection", [output.projection.weight]
    if output.weight is not None:
        yield "head", [output.weight]


def _biases(model: LSTMLanguageModel) -> Iterator[tuple[str, Tensor]]:
    for number, layer in enumerate(model.layers):
        yield f"lstm{number}", layer.get_parameter("bias_ih_l0") + layer.get_parameter("bias_hh_l0")
    output = model.output
    if isinstance(output, AdaptiveSoftmax):
        yield "head", output.head.bias
        for number, (_, tail) in enumerate(output.clusters()):
            yield f"tail{number}", tail.bias
    else:
        assert isinstance(output, FullSoftmax)
        yield "head", output.bias
