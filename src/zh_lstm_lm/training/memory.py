"""Memory of training: estimated by arithmetic, and counted for one update."""

import itertools
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from zh_lstm_lm.corpus.batches import Batch
from zh_lstm_lm.models.gradients import sparse_embedding
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.training.optimizer import dense_and_tables

__all__ = ["optimizer_bytes", "scores_per_token", "training_bytes", "training_memory", "update_memory"]


def optimizer_bytes(model: LSTMLanguageModel, *, betas: tuple[float, float] | None) -> int:
    """Returns the bytes of the running means that `Optimizer` keeps for a model.

    Betas of None stand for a custom optimizer, which is taken to keep two means of every weight.
    """
    if betas is None:
        return 2 * _size(model.parameters())
    dense, tables = dense_and_tables(model)
    rows = sum(table.itemsize * len(table) for table in tables)
    return 2 * _size(dense) + rows + (_size(tables) if betas[0] else 0)


def training_bytes(model: LSTMLanguageModel, *, betas: tuple[float, float] | None) -> int:
    """Returns the bytes of weights, gradients (without those of the embedding) and `Optimizer`'s means.

    For a custom optimizer, betas None, they are those of the weights and of dense gradients.
    """
    if betas is None:
        return 2 * _size(model.parameters())
    dense, tables = dense_and_tables(model)
    return 2 * _size(dense) + _size(tables) + optimizer_bytes(model, betas=betas)


def _size(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.nbytes for parameter in parameters)


def training_memory(
    *, held: int, num_tokens: int, hidden_size: int, num_layers: int, scores: float, itemsize: int
) -> int:
    """Estimates the least memory that training needs, in bytes, without the copy of the best weights.

    `held` are the bytes of weights, gradients and means, `num_tokens` those of a BPTT segment over all batch rows,
    `scores` those that the output layer computes for a token.
    """
    # Gates, states and outputs; scores and their gradient.
    of_token = 8 * hidden_size * num_layers + 2 * scores
    return held + int(itemsize * num_tokens * of_token)


def scores_per_token(counts: Tensor, cutoffs: tuple[int, ...] | None) -> float:
    """Returns the number of scores that the output layer computes for a token, on average over the training text.

    `counts` are the occurrences of each id; `cutoffs` are None for a full softmax.
    """
    if cutoffs is None:
        return len(counts)
    shares = counts.double() / counts.sum().clamp(min=1)
    tails = itertools.pairwise((*cutoffs, len(counts)))
    return cutoffs[0] + len(cutoffs) + sum(float(shares[start:stop].sum()) * (stop - start) for start, stop in tails)


def update_memory(model: LSTMLanguageModel, batch: Batch, *, betas: tuple[float, float]) -> int:
    """Returns the bytes that an update holds when its backward pass begins.

    They are the weights, the optimizer's means, and the tensors that the forward pass kept for the backward one, each
    storage counted once. Memory of the allocator and of other parts of the process is not in it, so that the result is
    the same on every machine. The model is left unchanged.
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
