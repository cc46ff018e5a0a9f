"""How much memory an update holds, by counting."""

import torch
from torch import Tensor

from zh_lstm_lm.corpus.batches import Batch
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.training.optimizer import optimizer_bytes, sparse_embedding

__all__ = ["update_memory"]


def update_memory(model: LSTMLanguageModel, batch: Batch, *, betas: tuple[float, float]) -> int:
    """Bytes that an update holds when its backward pass begins.

    They are the weights, the optimizer's means, and the tensors that the forward pass kept for the backward one, each
    storage counted once. Memory of the allocator and of other parts of the process is not in it, so that the figure is
    the same on every machine.

    Args:
        model: The model, which is left as it is.
        batch: A training window.
        betas: Decay of the means.
    """
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    was_training = model.training
    model.train()
    try:
        with (
            torch.enable_grad(),
            sparse_embedding(model),
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        ):
            generator = torch.Generator(model.device).manual_seed(0)
            inputs, targets = batch.inputs.to(model.device), batch.targets.to(model.device)
            loss, _ = model.loss(inputs, targets, generator=generator)
    finally:
        model.train(was_training)
    assert loss.requires_grad
    held = sum(parameter.nbytes for parameter in model.parameters())
    return held + optimizer_bytes(model, betas=betas) + sum(kept.values())
