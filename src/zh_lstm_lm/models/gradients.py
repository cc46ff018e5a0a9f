"""Gradients of a model: sparse ones of the embedding, and clipping."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from zh_lstm_lm.models.lstm import LSTMLanguageModel

__all__ = ["clip_gradients", "settle_rows", "sparse_embedding", "sparse_tables"]


def sparse_tables(model: LSTMLanguageModel) -> list[nn.Parameter]:
    """Returns the tables of the embedding that have sparse gradients in training: none that is a full softmax as well."""
    is_shared = model.config.tie_weights and model.config.output == "full"
    return [] if is_shared else model.embedding.tables()


@contextmanager
def sparse_embedding(model: LSTMLanguageModel) -> Iterator[None]:
    """Gives the tables of the embedding sparse gradients inside the block; see `sparse_tables`.

    A window touches a few hundred rows of tens of thousands; a dense gradient would cost more than the LSTM. They are not
    checked, which would wait for the device, and which some versions of PyTorch warn of unless it is said.
    """
    before = model.embedding.sparse
    model.embedding.sparse = bool(sparse_tables(model))
    try:
        with torch.sparse.check_sparse_tensor_invariants(enable=False):  # type: ignore[no-untyped-call]
            yield
    finally:
        model.embedding.sparse = before


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scales all gradients, sparse ones too, down to a common norm of at most `max_norm`; returns that before."""
    values = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()  # rows that occur twice are summed before they are measured
        if parameter.grad is not None:
            values.append(parameter.grad._values() if parameter.grad.is_sparse else parameter.grad)
    if not values:
        return torch.zeros(())
    norm = nn.utils.get_total_norm(values)
    torch._foreach_mul_(values, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


def settle_rows(gradient: Tensor, rows: Tensor) -> Tensor:
    """Returns a sparse gradient that has each of `rows`, which rise, once; rows that it lacks become zero.

    It is coalesced without asking the device which rows it has. **Shape:** (num_rows, width) and (rows,).
    """
    values = gradient._values().new_zeros(len(rows), gradient.shape[1])
    values.index_add_(0, torch.searchsorted(rows, gradient._indices()[0]), gradient._values())
    return torch.sparse_coo_tensor(
        rows[None], values, gradient.shape, is_coalesced=True, check_invariants=False
    )  # a check would wait for the device
