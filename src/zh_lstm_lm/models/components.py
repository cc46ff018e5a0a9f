"""The components of a mixture: their log-probabilities, and weights fitted on text.

The components are the models that are no mixtures themselves, and the caches, in the order of the mixture. However
mixtures and caches are nested, the probability of a token is the weighted mean of theirs where no cache is empty.
"""

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from zh_lstm_lm._config import check_type
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import DataError, NonFiniteError
from zh_lstm_lm.models.base import LanguageModel, check_weights, read_documents, scores_per_target
from zh_lstm_lm.models.pretrained import SavedModel
from zh_lstm_lm.runtime.devices import on_cpu_by_default

__all__ = [
    "Combination", "component_log_probs", "component_weights", "fit_weights", "log_of", "nested_models",
    "part_weights", "parts_of", "probs_of", "set_component_weights",
]  # fmt: skip

# Expectation-maximisation ends when no weight changes by more.
_TOLERANCE = 1e-7
_MAX_STEPS = 10_000
# Smaller probabilities are not exact in float32.
_SMALLEST = 1e-30
# The proportion of a text's passages in a training text from which on it is taken for a part of it.
_OVERLAP = 0.2


class Combination(SavedModel):
    """Base class of the models that combine others."""

    models: tuple[LanguageModel, ...]

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary that all models share."""
        return self.models[0].vocabulary

    @property
    def device(self) -> torch.device:
        """The device of the first model."""
        return self.models[0].device

    @property
    def generation_config(self) -> dict[str, Any]:
        """The default sampling options of the first model."""
        return dict(getattr(self.models[0], "generation_config", {}))

    @property
    def is_batch_invariant(self) -> bool:
        """True if all models are batch-invariant; see `LanguageModel`."""
        return all(getattr(model, "is_batch_invariant", True) for model in self.models)

    @property
    def scores_per_target(self) -> int:
        """The most of all models; see `LanguageModel`."""
        return max(map(scores_per_target, self.models))

    def check_weights(self) -> None:
        """Checks the weights of all models; see `LanguageModel`."""
        for model in self.models:
            check_weights(model)

    def fit_weights(self, stream: TokenStream) -> Self:
        """Fits the weights of all models and caches together, in place, to the greatest likelihood of a text.

        Args:
            stream: The validation part. None of the models may have been trained on it; a `UserWarning` reports an n-gram
                model that was.

        Returns:
            The mixture itself.

        Raises:
            DataError: The text has no token.
            NonFiniteError: A model's log-probabilities are NaN.
        """
        fit_weights(self, stream)  # type: ignore[arg-type]
        self.training_summary["weights"] = f"fitted on {len(stream):,} tokens"
        return self


def probs_of(model: LanguageModel, context: Any) -> Tensor:
    """Returns the probability of every token; those below the range of float32 are 0. **Shape:** (rows, vocab_size)."""
    of_model = getattr(model, "probs", None)
    probs: Tensor = model.log_probs(context).exp() if of_model is None else of_model(context)
    return probs


def log_of(probs: Tensor, log_probs: Callable[[], Tensor]) -> Tensor:
    """Returns the logarithms of probabilities in their place; `log_probs` computes those that float32 cannot hold."""
    if bool((probs > _SMALLEST).all()):
        return probs.log_()
    return torch.where(probs > _SMALLEST, probs.log(), log_probs())


def component_log_probs(model: LanguageModel, context: Any, targets: Tensor) -> Tensor:
    """Returns the log-probabilities of the components in nats, one for a single model; infinite for an empty cache.

    **Shape:** (components, rows), for targets of (rows,).
    """
    of_mixture = getattr(model, "component_log_probs", None)
    if of_mixture is None:
        return model.target_log_probs(context, targets)[None]
    log_probs: Tensor = of_mixture(context, targets)
    return log_probs


def component_weights(model: LanguageModel) -> list[float]:
    """Returns the weights of the components; they sum to 1."""
    of_mixture = getattr(model, "component_weights", None)
    return [1.0] if of_mixture is None else list(of_mixture())


def set_component_weights(model: LanguageModel, weights: Sequence[float]) -> None:
    """Sets the weights of the components, in place."""
    of_mixture = getattr(model, "set_component_weights", None)
    if of_mixture is not None:
        of_mixture(weights)


def parts_of(model: LanguageModel, log_probs: Tensor) -> list[tuple[str, float, Tensor]]:
    """Returns name, weight and log-probabilities, **Shape:** (rows,), of each part that is a model; the whole last."""
    of_mixture = getattr(model, "parts", None)
    if of_mixture is None:
        return [(getattr(model, "name", type(model).__name__), 1.0, log_probs[0])]
    return list(of_mixture(log_probs))


def part_weights(model: LanguageModel) -> dict[str, float]:
    """Returns the weight of each part of `parts_of` in the whole, by names that differ."""
    weights: dict[str, float] = {}
    for name, weight, _ in parts_of(model, torch.zeros(len(component_weights(model)), 0)):
        numbered = (name, *(f"{name} ({number})" for number in range(2, 2 + len(weights))))
        weights[next(each for each in numbered if each not in weights)] = weight
    return weights


@on_cpu_by_default
def fit_weights(model: LanguageModel, stream: TokenStream) -> tuple[Tensor, Tensor]:
    """Fits the weights of all components together, in place.

    The text is read once. Its likelihood has a single greatest value over the weights, which expectation-maximisation
    finds from equal weights. Tokens before which a cache is empty are left out. Errors are those of
    `Combination.fit_weights`.

    Returns:
        The positions of the tokens in the encoded text, **Shape:** (tokens,), and the components' log-probabilities of
        them, **Shape:** (components, tokens).
    """
    check_type("stream", stream, TokenStream)
    ids = model.vocabulary.encode_stream(stream)
    overlap = max((each.overlap(ids) for each in nested_models(model) if hasattr(each, "overlap")), default=0.0)
    if overlap > _OVERLAP:
        warnings.warn(
            f"{overlap:.0%} of the text's passages are in the training text of a model of the mixture, which gets too much "
            "weight from it; fit the weights on a validation part",
            UserWarning,
            stacklevel=3,
        )
    predict = functools.partial(component_log_probs, model)
    read = [
        each
        for each in read_documents(model, ids, predict=predict, num_scores=scores_per_target(model))
        if len(each[0])
    ]
    if not read:
        raise DataError("the weights cannot be fitted: the text has no token; give the validation part")
    positions = torch.cat([positions for positions, _ in read])
    log_probs = torch.cat([values for _, values in read], dim=1)
    if log_probs.isnan().any():
        raise NonFiniteError(
            "the log-probabilities of a model of the mixture are NaN: its weights are damaged; load another copy of it"
        )
    complete = log_probs[:, (log_probs < math.inf).all(dim=0)]
    if complete.shape[1]:
        set_component_weights(model, _maximize_likelihood(complete).tolist())
    return positions, log_probs


def _maximize_likelihood(log_probs: Tensor) -> Tensor:
    """Returns the weights of the greatest likelihood. **Shape:** (components, rows) to (components,), float64."""
    # Only the ratios of the probabilities of a row matter; relative to the greatest they do not underflow.
    probs = (log_probs - log_probs.amax(dim=0)).exp()
    weights = torch.full((len(probs),), 1 / len(probs), dtype=torch.float64)
    for _ in range(_MAX_STEPS):
        before = weights
        weights = before * (probs / (before @ probs)).mean(dim=1)
        if bool((weights - before).abs().max() < _TOLERANCE):
            break
    return weights / weights.sum()


def nested_models(model: Any) -> list[Any]:
    """Returns a model and all models that it consists of, the outermost first."""
    return [model, *(each for part in getattr(model, "models", ()) for each in nested_models(part))]
