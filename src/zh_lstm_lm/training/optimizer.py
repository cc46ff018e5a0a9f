"""Adam, by rows for the embedding; averages of the weights; and custom optimizers."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from zh_lstm_lm._config import check_number, shown
from zh_lstm_lm.errors import CheckpointError, ConfigError
from zh_lstm_lm.models.gradients import sparse_tables
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.training.config import TrainerConfig

__all__ = [
    "CustomOptimizer", "Optimizer", "OptimizerFactory", "WeightAverage", "check_factory", "dense_and_tables",
]  # fmt: skip

OptimizerFactory: TypeAlias = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
"""Takes the weights of a model and returns an optimizer of some or all of them."""

_EMBEDDING_RATE = 3.0
# The weights after update t count as t to this power: half of the average is of the last eighth of the updates.
_POWER = 4
# The first update that is averaged, as shorter runs gain nothing; and the most updates from one to the next.
_FIRST, _BETWEEN = 100, 16
_LAST = "/last"


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

    Half of the words occur once or twice in a novel, so each time has to count. Each update multiplies the weight
    matrices of the LSTM by ``1 - learning_rate * weight_decay`` (AdamW; Loshchilov and Hutter, 2019).

    Attributes:
        peak: None: the peak learning rate is that of the run's options.
    """

    peak: float | None = None

    def __init__(self, model: LSTMLanguageModel, *, betas: tuple[float, float], weight_decay: float = 0.0) -> None:
        self._names = {parameter: name for name, parameter in model.named_parameters()}
        dense, tables = dense_and_tables(model)
        matrices = {id(weight) for weight in model.layers.parameters() if weight.dim() == 2}
        groups = [
            {"params": [weight for weight in dense if (id(weight) in matrices) is decayed], "weight_decay": decay}
            for decayed, decay in ((True, weight_decay), (False, 0.0))
        ]
        self._optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, betas=betas, fused=True)]
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

    def state_values(self) -> None:
        """Returns None: all of the state is in the tensors."""

    def load_state_tensors(self, tensors: Mapping[str, Tensor], values: object = None) -> None:
        """Restores the result of `state_tensors`; refuses that of an optimizer of another model."""
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    self._load(optimizer, parameter, group["betas"][0], tensors)

    def _load(
        self, optimizer: torch.optim.Optimizer, parameter: nn.Parameter, beta: float, tensors: Mapping[str, Tensor]
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
        needed = shapes.keys() - ({"exp_avg"} if by_rows and not beta else set())
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


class WeightAverage:
    """Averages of the weights over the updates from the hundredth on, in which later ones count more.

    The average after update t is about (1 - 5 / t) times that before and 5 / t times the weights, so that those after
    update i count as i to the power of 4 (Shamir and Zhang, 2013). Long runs average only every 16th update, which costs
    less. Each average has the shape of its weight. Unless `enabled`, there are none, and nothing changes.
    """

    def __init__(self, model: LSTMLanguageModel, *, enabled: bool) -> None:
        self._model = model
        self._weights = {name: weight for name, weight in model.named_parameters() if enabled and weight.requires_grad}
        self._means: dict[str, Tensor] = {}

    @torch.no_grad()
    def count_update(self, step: int) -> None:
        """Adds the weights to the averages; `step` is the number of updates made."""
        between = min(_BETWEEN, 1 + step // 50)
        if step >= _FIRST and not self._means:
            self._means = {name: weight.detach().clone() for name, weight in self._weights.items()}
        elif step % between == 0 and self._means:
            share = 1 - (1 - between / step) ** (_POWER + 1)
            torch._foreach_lerp_(list(self._means.values()), [self._weights[name] for name in self._means], share)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Gives the model the averages inside the block."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, mean in self._means.items():
            kept = self._weights[name].detach().clone()
            # In place, since what is prepared from weights asks whether they have changed.
            self._weights[name].copy_(mean)
            mean.copy_(kept)

    def averaged(self) -> dict[str, Tensor]:
        """Returns all weights of the model by name, averages where there are any."""
        return {**self._model.state_dict(), **self._means}

    def last(self) -> dict[str, Tensor]:
        """Returns the weights after the last update, as ``"parameter name/last"``, for a checkpoint of the averages."""
        return {f"{name}{_LAST}": self._weights[name].detach() for name in self._means}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Takes the averages from the model, and the last weights from tensors, if they are there; returns the others."""
        self._means, others = {}, dict(tensors)
        for name, weight in self._weights.items():
            last = others.pop(f"{name}{_LAST}", None)
            if last is not None:
                self._means[name] = weight.detach().clone()
                weight.copy_(last)
        return others


class CustomOptimizer:
    """An optimizer that a user's factory makes; it gets dense gradients of all weights.

    Its learning rates are those that the factory gave it, all multiplied by the same factor in each update.

    Attributes:
        peak: The highest of these rates.

    Raises:
        ConfigError: The factory does not return an optimizer that can be used.
    """

    def __init__(self, model: LSTMLanguageModel, factory: OptimizerFactory) -> None:
        self._model = model
        weights = dict(model.named_parameters())
        self._optimizer = optimizer = factory(list(weights.values()))
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ConfigError(f"optimizer must return a torch.optim.Optimizer, got {shown(optimizer)}")
        if isinstance(optimizer, (torch.optim.LBFGS, torch.optim.SparseAdam)):
            raise ConfigError(
                f"optimizer: {type(optimizer).__name__} needs a closure or sparse gradients, which a run does not give; "
                "take one such as torch.optim.AdamW"
            )
        names = {id(weight): name for name, weight in weights.items()}
        self._groups = [[names.get(id(weight), "") for weight in group["params"]] for group in optimizer.param_groups]
        if any("" in group for group in self._groups):
            raise ConfigError("optimizer: holds weights that are not among those that it was given; leave them out")
        for group in optimizer.param_groups:
            rate = group.get("lr")
            check_number("optimizer: lr", rate.item() if isinstance(rate, Tensor) else rate)
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        self.peak: float = max(rates)
        if not self.peak:
            raise ConfigError("optimizer: lr must be greater than 0, got 0 in all groups")
        self._shares = [rate / self.peak for rate in rates]

    def step(self, learning_rate: float) -> None:
        """Updates the weights from their gradients, and drops the gradients."""
        for group, share in zip(self._optimizer.param_groups, self._shares, strict=True):
            group["lr"] = learning_rate * share
        self._optimizer.step()
        self._model.zero_grad(set_to_none=True)

    def describe(self) -> dict[str, Any]:
        """Returns its class, weights and options but the rate as plain values, to compare with those of a resumed run."""
        kind, groups = type(self._optimizer), []
        for group, names, share in zip(self._optimizer.param_groups, self._groups, self._shares, strict=True):
            options = {
                name: _plain(value) for name, value in group.items() if name not in ("params", "param_names", "lr")
            }
            groups.append({**options, "share of the rate": share, "weights": names})
        return {"class": f"{kind.__module__}.{kind.__qualname__}", "groups": groups}

    def state_tensors(self) -> dict[str, Tensor]:
        """Returns the tensors of its state, by their places in it."""
        tensors: dict[str, Tensor] = {}
        _without_tensors(self._optimizer.state_dict(), "state_dict", tensors)
        return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}

    def state_values(self) -> dict[str, Any]:
        """Returns its state as plain values, with the name of each tensor in its place.

        Raises:
            CheckpointError: It holds something else than tensors, numbers and strings.
        """
        return {"state_dict": _without_tensors(self._optimizer.state_dict(), "state_dict", {})}

    def load_state_tensors(self, tensors: Mapping[str, Tensor], values: object = None) -> None:
        """Restores the results of `state_tensors` and `state_values`; refuses those of another optimizer."""
        try:
            self._optimizer.load_state_dict(_with_tensors(cast(Any, values)["state_dict"], tensors))
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
            raise CheckpointError(
                f"the optimizer's state does not fit {type(self._optimizer).__name__} ({error}); the checkpoint is foreign"
            ) from error


def check_factory(factory: object, config: TrainerConfig) -> None:
    """Raises ConfigError for what is not an optimizer factory, and for options that a custom optimizer has itself."""
    if factory is None:
        return
    if not callable(factory):
        raise ConfigError(
            "optimizer must be a function of the weights, such as lambda weights: torch.optim.AdamW(weights, lr=1e-3), got "
            f"{shown(factory)}"
        )
    for name in ("learning_rate", "betas", "weight_decay"):
        if getattr(config, name) != getattr(TrainerConfig, name):
            raise ConfigError(f"{name}={getattr(config, name)} belongs to the default optimizer; give it to yours")


def _plain(value: object) -> Any:
    """Returns an option as a JSON value; of an object only the name of its type."""
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else type(value).__name__


def _without_tensors(value: object, name: str, tensors: dict[str, Tensor]) -> Any:
    """Returns a value as JSON, with ``{"tensor": name}`` for each tensor, which goes into `tensors`."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, dict) and all(type(key) in (int, str) for key in value):
        # A key may be a number, which JSON has none of.
        return {"items": [[key, _without_tensors(each, f"{name}/{key}", tensors)] for key, each in value.items()]}
    if isinstance(value, (list, tuple)):
        each = [_without_tensors(item, f"{name}/{number}", tensors) for number, item in enumerate(value)]
        return {"tuple": each} if isinstance(value, tuple) else each
    finite = isinstance(value, (bool, int, float)) and math.isfinite(value)
    if value is None or finite or isinstance(value, str):
        return value
    raise CheckpointError(
        f"the optimizer's {name} is {shown(value)}; only tensors, finite numbers and text can be saved"
    )


def _with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Returns the value of which `_without_tensors` made JSON."""
    if isinstance(value, list):
        return [_with_tensors(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "tuple":
        return tuple(_with_tensors(content, tensors))
    return {key: _with_tensors(each, tensors) for key, each in content}


def dense_and_tables(model: LSTMLanguageModel) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Returns the weights that every update touches, and the tables of which it touches rows."""
    tables = sparse_tables(model)
    apart = set(map(id, tables))
    return [parameter for parameter in model.parameters() if id(parameter) not in apart], tables
