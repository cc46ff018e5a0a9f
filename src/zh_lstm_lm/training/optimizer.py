"""Adam, by rows for the embedding."""

import math
from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.models.lstm import LSTMLanguageModel

__all__ = ["Optimizer", "dense_and_tables"]

_EMBEDDING_RATE = 3.0


class RowAdam(torch.optim.Optimizer):
    """Adam for tables of which an update touches few rows; the others and their means stay unchanged.

    The mean of squares is one number a row, as in FBGEMM's partial row-wise Adam, and no mean of the gradient is kept
    where its decay is 0: the table then needs next to no memory beside its own, and trains as well as with all of
    Adam's.
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
    """

    def __init__(self, model: LSTMLanguageModel, *, betas: tuple[float, float]) -> None:
        self._names = {parameter: name for name, parameter in model.named_parameters()}
        dense, tables = dense_and_tables(model)
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
        """Returns all that a checkpoint needs, as ``"parameter name/field"`` to tensor."""
        return {
            f"{self._names[cast(nn.Parameter, parameter)]}/{field}": torch.as_tensor(value).detach().cpu().contiguous()
            for optimizer in self._optimizers
            for parameter, fields in optimizer.state.items()
            for field, value in fields.items()
        }

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores the result of `state_tensors`; refuses that of an optimizer of another model."""
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    self._load(optimizer, parameter, group["betas"], tensors)

    def _load(
        self,
        optimizer: torch.optim.Optimizer,
        parameter: nn.Parameter,
        betas: tuple[float, float],
        tensors: Mapping[str, Tensor],
    ) -> None:
        """Restores the state of one weight; a weight without a gradient so far has none."""
        by_rows, name = isinstance(optimizer, RowAdam), self._names[parameter]
        found = {key.rpartition("/")[2]: value for key, value in tensors.items() if key.rpartition("/")[0] == name}
        if not found:
            return
        shapes = {
            "step": [torch.Size()],
            "exp_avg": [parameter.shape],
            # Adam by rows once had a number for each weight.
            "exp_avg_sq": [parameter.shape, *([torch.Size((len(parameter), 1))] if by_rows else [])],
        }
        needed = shapes.keys() - ({"exp_avg"} if by_rows and not betas[0] else set())
        fits = needed <= found.keys() <= shapes.keys()
        fits = fits and all(value.shape in shapes[field] for field, value in found.items())
        fits = fits and all(value.dtype == parameter.dtype for field, value in found.items() if field != "step")
        # PyTorch's Adam counts with a float.
        fits = fits and found["step"].is_floating_point() is not by_rows
        if not fits or not 0 <= float(found["step"]) < 1 << 53:
            raise CheckpointError(f"the optimizer's state of {name} does not fit the model; the checkpoint is foreign")
        for field, value in found.items():
            counter = field == "step" and by_rows
            optimizer.state[parameter][field] = int(value) if counter else value.to(parameter.device, copy=True)


def dense_and_tables(model: LSTMLanguageModel) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Returns the weights that every update touches, and the tables of which it touches rows."""
    tables = [] if model.config.tie_weights else list(model.embedding.parameters())
    apart = set(map(id, tables))
    return [parameter for parameter in model.parameters() if id(parameter) not in apart], tables
