"""How weights are updated: Adam (by rows for the embedding), clipping, and the learning rate as a function of the step."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from zh_lstm_lm.models.lstm import LSTMLanguageModel

__all__ = [
    "Optimizer",
    "clip_gradients",
    "default_learning_rate",
    "learning_rate_at",
    "optimizer_bytes",
    "settle_rows",
    "sparse_embedding",
    "training_bytes",
]

_EMBEDDING_RATE = 3.0
_RATE, _STEPS_AT_RATE = 5e-3, 3_000


@contextmanager
def sparse_embedding(model: LSTMLanguageModel) -> Iterator[None]:
    """Gives the embedding sparse gradients inside the block, unless the output layer shares its weight.

    A window touches a few hundred rows of tens of thousands; a dense gradient would cost more than the LSTM. They are not
    checked, which would wait for the device, and which some versions of PyTorch warn of unless it is said.
    """
    before = model.embedding.sparse
    model.embedding.sparse = not model.config.tie_weights
    try:
        with torch.sparse.check_sparse_tensor_invariants(enable=False):  # type: ignore[no-untyped-call]
            yield
    finally:
        model.embedding.sparse = before


class RowAdam(torch.optim.Optimizer):
    """Adam for tables of which an update touches few rows: the others stay as they are, and so do their means.

    The mean of squares is one number a row, as in FBGEMM's partial row-wise Adam, and no mean of the gradient is kept
    where its decay is 0: the table then needs next to no memory beside its own, and trains as well as with all of Adam's.

    Args:
        tables: Weights with sparse gradients. **Shape:** (rows, width) each.
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the root of the latter.
    """

    def __init__(self, tables: Iterable[nn.Parameter], *, betas: tuple[float, float], eps: float = 1e-8) -> None:
        super().__init__(tables, {"lr": 1e-3, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Updates the rows that have a gradient."""
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for table in group["params"]:
                if table.grad is None:
                    continue
                gradient = table.grad.coalesce()
                rows, values = gradient._indices()[0], gradient._values()
                state = self.state[table]
                if not state:
                    state["step"], state["exp_avg_sq"] = 0, table.new_zeros(len(table), 1)
                    if beta1:
                        state["exp_avg"] = torch.zeros_like(table)
                state["step"] += 1
                squares = values.square().mean(dim=1, keepdim=True)
                root = _advance(state["exp_avg_sq"], rows, squares, beta2).sqrt_().add_(group["eps"])
                mean = _advance(state["exp_avg"], rows, values, beta1) if beta1 else values
                rate = group["lr"] * math.sqrt(1 - beta2 ** state["step"]) / (1 - beta1 ** state["step"])
                table.index_add_(0, rows, mean / root, alpha=-rate)


def _advance(mean: Tensor, rows: Tensor, values: Tensor, decay: float) -> Tensor:
    """Moves some rows of a running mean towards new values, and returns a copy of them."""
    moved = mean.index_select(0, rows).lerp_(values, 1 - decay)
    mean.index_copy_(0, rows, moved)
    return moved


class Optimizer:
    """Adam (Kingma and Ba, 2015); rows of the embedding are updated only when they occur, at three times the rate.

    Half of the words occur once or twice in a novel, so each time has to count.

    Args:
        model: The model to train.
        betas: Decay of the running means of the gradient and of its square.
    """

    def __init__(self, model: LSTMLanguageModel, *, betas: tuple[float, float]) -> None:
        self._names = {parameter: name for name, parameter in model.named_parameters()}
        dense, tables = _dense_and_tables(model)
        self._optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam(dense, betas=betas, fused=True)]
        if tables:
            self._optimizers.append(RowAdam(tables, betas=betas))

    def step(self, learning_rate: float) -> None:
        """Updates the weights from their gradients, and drops the gradients."""
        for optimizer in self._optimizers:
            by_rows = isinstance(optimizer, RowAdam)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * (_EMBEDDING_RATE if by_rows else 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_tensors(self) -> dict[str, Tensor]:
        """Everything that a checkpoint needs, as ``"parameter name/field"`` to tensor."""
        return {
            f"{self._names[cast(nn.Parameter, parameter)]}/{field}": torch.as_tensor(value).detach().cpu().contiguous()
            for optimizer in self._optimizers
            for parameter, fields in optimizer.state.items()
            for field, value in fields.items()
        }

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over what `state_tensors` gave."""
        parameters = {name: parameter for parameter, name in self._names.items()}
        for optimizer in self._optimizers:
            owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
            for key, value in tensors.items():
                name, _, field = key.rpartition("/")
                parameter = parameters[name]
                if id(parameter) in owned:
                    counter = field == "step" and isinstance(optimizer, RowAdam)
                    kept = int(value) if counter else value.to(parameter.device, copy=True)
                    optimizer.state[parameter][field] = kept


def _dense_and_tables(model: LSTMLanguageModel) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The weights that every update touches, and the tables of which it touches rows."""
    tables = [] if model.config.tie_weights else list(model.embedding.parameters())
    apart = set(map(id, tables))
    return [parameter for parameter in model.parameters() if id(parameter) not in apart], tables


def optimizer_bytes(model: LSTMLanguageModel, *, betas: tuple[float, float]) -> int:
    """Bytes of the running means that `Optimizer` keeps for a model.

    Args:
        model: The model.
        betas: Decay of the means.
    """
    dense, tables = _dense_and_tables(model)
    rows = sum(table.itemsize * len(table) for table in tables)
    return 2 * _size(dense) + rows + (_size(tables) if betas[0] else 0)


def training_bytes(model: LSTMLanguageModel, *, betas: tuple[float, float]) -> int:
    """Bytes of a model's weights, their gradients and `Optimizer`'s means; rows of the embedding's gradient left out.

    Args:
        model: The model.
        betas: Decay of the means.
    """
    dense, tables = _dense_and_tables(model)
    return 2 * _size(dense) + _size(tables) + optimizer_bytes(model, betas=betas)


def _size(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.nbytes for parameter in parameters)


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scales all gradients down where their common norm is above `max_norm`; sparse ones take part.

    Args:
        parameters: The weights.
        max_norm: The most that the norm may be.

    Returns:
        The norm before. **Shape:** ().
    """
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
    """A sparse gradient that has each of `rows` once: coalesced without asking the device which rows it has.

    Args:
        gradient: A sparse gradient. **Shape:** (num_rows, width).
        rows: Rows of it, rising; those that it lacks become zero. **Shape:** (rows,), int64.
    """
    values = gradient._values().new_zeros(len(rows), gradient.shape[1])
    values.index_add_(0, torch.searchsorted(rows, gradient._indices()[0]), gradient._values())
    return torch.sparse_coo_tensor(
        rows[None], values, gradient.shape, is_coalesced=True, check_invariants=False
    )  # a check would wait for the device


def default_learning_rate(planned_steps: int | None) -> float:
    """The highest rate where none is given: 5e-3, and for runs of more than 3,000 updates less, by their cube root.

    Args:
        planned_steps: Updates of the whole run; None while they are not yet known.
    """
    return _RATE * min(1.0, (_STEPS_AT_RATE / planned_steps) ** (1 / 3)) if planned_steps else _RATE


def learning_rate_at(step: int, *, peak: float, schedule: str, warmup_steps: int, planned_steps: int | None) -> float:
    """The learning rate of an update.

    Args:
        step: Updates made before it.
        peak: The highest rate.
        schedule: ``"cosine"`` falls to a hundredth of it at the end, ``"constant"`` stays.
        warmup_steps: Updates over which the rate rises from zero.
        planned_steps: Updates of the whole run; None while they are not yet known.
    """
    rate = peak * min(1.0, (step + 1) / max(1, warmup_steps))
    if schedule == "constant" or planned_steps is None:
        return rate
    progress = min(1.0, step / max(1, planned_steps))
    return rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress)))
