"""Mixtures: models that predict together by the weighted mean of their probabilities."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.models.base import Context, Index, LanguageModel, State, check_model, context_length, decoding_model
from zh_lstm_lm.models.components import (
    Combination,
    component_log_probs,
    component_weights,
    log_of,
    parts_of,
    probs_of,
    set_component_weights,
)

__all__ = ["Ensemble", "Mixture", "MixtureContext", "MixtureState"]

_TOLERANCE = 1e-6


@dataclass(frozen=True)
class MixtureState:
    """The state of each model of a `Mixture`."""

    parts: tuple[State, ...]

    def rows(self, index: Index) -> Self:
        """See `State.rows`."""
        return type(self)(tuple(part.rows(index) for part in self.parts))

    @classmethod
    def cat(cls, states: "Sequence[MixtureState]") -> Self:
        """See `State.cat`."""
        columns = zip(*(state.parts for state in states), strict=True)
        return cls(tuple(type(column[0]).cat(column) for column in columns))

    def detach(self) -> Self:
        """See `State.detach`."""
        return type(self)(tuple(part.detach() for part in self.parts))

    def to(self, device: torch.device) -> Self:
        """See `State.to`."""
        return type(self)(tuple(part.to(device) for part in self.parts))

    def tensors(self) -> list[Tensor]:
        """See `State.tensors`."""
        return [tensor for part in self.parts for tensor in part.tensors()]

    def restored(self, tensors: Sequence[Tensor]) -> Self:
        """See `State.restored`."""
        remaining, parts = list(tensors), []
        for part in self.parts:
            count = len(part.tensors())
            parts.append(part.restored(remaining[:count]))
            del remaining[:count]
        if remaining:
            raise ValueError(f"{len(remaining)} tensors too many for the state of a mixture")
        return type(self)(tuple(parts))


@dataclass(frozen=True)
class MixtureContext:
    """The context of each model of a `Mixture`."""

    parts: tuple[Context, ...]

    def __len__(self) -> int:
        return len(self.parts[0])

    def rows(self, index: Index) -> Self:
        """See `Context.rows`."""
        return type(self)(tuple(part.rows(index) for part in self.parts))


class Mixture(Combination):
    r"""A linear interpolation of models: :math:`p(w) = \sum_i \lambda_i p_i(w)`.

    The models may be of any kind, other mixtures included, and are not copied. It satisfies `LanguageModel`, so it is
    evaluated, scored with and sampled from like a single model.

    Args:
        models: The models. They share one vocabulary and one device.
        weights: The weight of each model's probabilities; they are not negative and sum to 1. None for equal weights.

    Attributes:
        models: The models, as a tuple.
        weights: The weights, as a tuple.
        training_summary: Plain values that say how the mixture was made; they are saved with it.

    Raises:
        ConfigError: There is no model, one is not a `LanguageModel`, vocabularies differ, or the weights do not fit.

    Example:
        >>> mixture = Mixture([lstm, ngram]).fit_weights(valid)  # doctest: +SKIP
        >>> evaluate(mixture, test).bits_per_character  # doctest: +SKIP
    """

    def __init__(self, models: Sequence[LanguageModel], weights: Sequence[float] | None = None) -> None:
        if not isinstance(models, (list, tuple)) or not models:
            raise ConfigError(f"models must be a list of at least one language model, got {models!r:.60}")
        for position, model in enumerate(models):
            check_model(f"models[{position}]", model)
            if model.vocabulary.fingerprint() != models[0].vocabulary.fingerprint():
                raise ConfigError(
                    f"models[{position}] has another vocabulary than models[0]; train both with the same vocabulary"
                )
        self.models: tuple[LanguageModel, ...] = tuple(models)
        self.weights: tuple[float, ...] = _checked_weights(weights, len(models))
        self.training_summary: dict[str, Any] = {}

    @property
    def context_length(self) -> int:
        """The longest context length of the models."""
        return max(map(context_length, self.models))

    def initial_state(self, batch_size: int) -> MixtureState:
        """See `LanguageModel.initial_state`."""
        return MixtureState(tuple(model.initial_state(batch_size) for model in self.models))

    def read(self, ids: Tensor, state: MixtureState | None = None) -> tuple[MixtureContext, MixtureState]:
        """See `LanguageModel.read`."""
        states = [None] * len(self.models) if state is None else state.parts
        read = [model.read(ids, part) for model, part in zip(self.models, states, strict=True)]
        contexts, after = zip(*read, strict=True)
        return MixtureContext(contexts), MixtureState(after)

    def probs(self, context: MixtureContext) -> Tensor:
        """See `components.probs_of`."""
        # Terms are added in a fixed order: the order of PyTorch's sum over a stacked dimension depends on the shape,
        # and with it the last bit of a row would depend on its neighbours.
        weights = [weight for weight in self.weights if weight > 0]
        pairs = zip(self._weighted(context), weights, strict=True)
        return functools.reduce(torch.add, [probs_of(model, part) * weight for (model, part), weight in pairs])

    def log_probs(self, context: MixtureContext) -> Tensor:
        """See `LanguageModel.log_probs`."""

        def exact() -> Tensor:
            return self._interpolate([model.log_probs(part) for model, part in self._weighted(context)])

        return exact() if max(self.weights) == 1.0 else log_of(self.probs(context), exact)

    def target_log_probs(self, context: MixtureContext, targets: Tensor) -> Tensor:
        """See `LanguageModel.target_log_probs`."""
        return self._interpolate([model.target_log_probs(part, targets) for model, part in self._weighted(context)])

    def component_log_probs(self, context: MixtureContext, targets: Tensor) -> Tensor:
        """See `components.component_log_probs`."""
        pairs = zip(self.models, context.parts, strict=True)
        return torch.cat([component_log_probs(model, part, targets) for model, part in pairs])

    def component_weights(self) -> list[float]:
        """See `components.component_weights`."""
        pairs = zip(self.weights, self.models, strict=True)
        return [weight * inner for weight, model in pairs for inner in component_weights(model)]

    def set_component_weights(self, weights: Sequence[float]) -> None:
        """See `components.set_component_weights`."""
        remaining, sums = [*weights], []
        for model in self.models:
            count = len(component_weights(model))
            own, remaining = remaining[:count], remaining[count:]
            sums.append(math.fsum(own))
            if sums[-1] > 0:
                set_component_weights(model, [weight / sums[-1] for weight in own])
        self.weights = tuple(weight / math.fsum(sums) for weight in sums)

    def parts(self, log_probs: Tensor) -> list[tuple[str, float, Tensor]]:
        """See `components.parts_of`."""
        sizes = [len(component_weights(model)) for model in self.models]
        of_models = [
            parts_of(model, own) for model, own in zip(self.models, torch.split(log_probs, sizes), strict=True)
        ]
        weighed = list(zip(self.weights, of_models, strict=True))
        parts = [(name, weight * inner, own) for weight, of_model in weighed for name, inner, own in of_model]
        name = " + ".join(of_model[-1][0] for of_model in of_models)
        whole = self._interpolate([of_model[-1][2] for weight, of_model in weighed if weight > 0])
        return [*parts, (name, 1.0, whole)]

    def for_decoding(self) -> "Mixture":
        """Returns the mixture of the models' forms for decoding; see `LanguageModel`."""
        return Mixture([decoding_model(model) for model in self.models], self.weights)

    def _weighted(self, context: MixtureContext) -> list[tuple[LanguageModel, Any]]:
        """The models that have a weight, each with its context."""
        triples = zip(self.models, context.parts, self.weights, strict=True)
        return [(model, part) for model, part, weight in triples if weight > 0]

    def _interpolate(self, log_probs: Sequence[Tensor]) -> Tensor:
        weights = [weight for weight in self.weights if weight > 0]
        if len(weights) == 1:
            return log_probs[0]
        weighted = [each + math.log(weight) for each, weight in zip(log_probs, weights, strict=True)]
        highest = functools.reduce(torch.maximum, weighted)
        highest = highest.masked_fill(highest == -math.inf, 0.0)
        total = functools.reduce(torch.add, [(each - highest).exp() for each in weighted])
        return total.log() + highest


def Ensemble(models: Sequence[LanguageModel]) -> Mixture:  # noqa: N802 - it reads as the class that it was
    """Builds the `Mixture` of equal weights.

    Args:
        models: The models.

    Raises:
        ConfigError: See `Mixture`.
    """
    return Mixture(models)


def _checked_weights(weights: Sequence[float] | None, count: int) -> tuple[float, ...]:
    if weights is None:
        return (1.0 / count,) * count
    if isinstance(weights, (str, bytes)) or not isinstance(weights, Sequence) or len(weights) != count:
        raise ConfigError(f"weights must be one number for each of the {count} models, got {weights!r:.60}")
    for weight in weights:
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0.0 <= weight <= 1.0 + _TOLERANCE:
            raise ConfigError(f"weights must lie between 0 and 1, got {list(weights)!r:.60}")
    total = math.fsum(weights)
    if abs(total - 1.0) > _TOLERANCE:
        raise ConfigError(f"weights must sum to 1, got {list(weights)!r:.60} with the sum {total:g}")
    return tuple(float(weight) / total for weight in weights)
