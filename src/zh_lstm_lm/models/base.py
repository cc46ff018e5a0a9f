"""The `LanguageModel` protocol: the interface of everything that predicts the next token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor
from typing_extensions import Self

from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import ConfigError

__all__ = [
    "Context",
    "Index",
    "LanguageModel",
    "State",
    "TextState",
    "check_model",
    "check_state",
    "check_weights",
    "context_length",
    "decoding_model",
]

Index: TypeAlias = Tensor | Sequence[int] | slice
"""Rows to select: a tensor of indices or booleans, a list of indices, or a slice."""

_CONTEXT_LENGTH = 256


class State(Protocol):
    """The part of the past that a model carries from one call to the next, one row for each text of a batch.

    A state is a value: no method changes it, and no call changes the state that it is given.
    """

    def rows(self, index: Index) -> Self:
        """Selects rows, in the order of the index."""
        ...

    @classmethod
    def cat(cls, states: Sequence[Any]) -> Self:
        """Joins the rows of several states of one model."""
        ...

    def detach(self) -> Self:
        """Cuts the state off the autograd graph, so that gradients end here."""
        ...

    def to(self, device: torch.device) -> Self:
        """Moves the state to a device."""
        ...

    def tensors(self) -> list[Tensor]:
        """Returns all tensors of the state in a fixed order, for saving."""
        ...

    def restored(self, tensors: Sequence[Tensor]) -> Self:
        """Builds a state of the same structure from the tensors that `tensors` returned.

        Raises:
            ValueError: The tensors are not those of a state of this model.
        """
        ...


class Context(Protocol):
    """All that the predictions after some positions depend on, one row for each position."""

    def __len__(self) -> int: ...

    def rows(self, index: Index) -> Self:
        """Selects rows, in the order of the index."""
        ...


@runtime_checkable
class LanguageModel(Protocol):
    """A model that reads token ids and predicts the next one.

    `evaluate`, `score`, `rescore`, `suggest`, `Sampler` and the KenLM interface take any object with these members.
    A model may have more, which are looked up by name: ``context_length``, the number of tokens after which its
    predictions no longer depend noticeably on the start of what was read (256 if missing); ``for_decoding()``, which
    returns an equal model that is fast at reading one token at a time (the model itself if missing);
    ``is_batch_invariant``, whether predictions for a text do not depend on the other texts of a batch, to the last bit
    (True if missing); ``check_weights()``, which raises a `NonFiniteError` where the weights are damaged; and
    ``generation_config``, the default options of a `Sampler`.
    """

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the ids."""
        ...

    @property
    def device(self) -> torch.device:
        """The device that ids, states and log-probabilities are on."""
        ...

    def initial_state(self, batch_size: int) -> Any:
        """Returns the `State` in which nothing has been read."""
        ...

    def read(self, ids: Tensor, state: Any = None) -> tuple[Any, Any]:
        """Reads tokens.

        Args:
            ids: Token ids. **Shape:** (batch, time), int64.
            state: The state before them; None for the initial state.

        Returns:
            The `Context` of the prediction after each position, batch * time rows with those of a text together, and
            the `State` after the last position.
        """
        ...

    def log_probs(self, context: Any) -> Tensor:
        """Returns the log-probability of every token, in nats. **Shape:** (rows, vocab_size)."""
        ...

    def target_log_probs(self, context: Any, targets: Tensor) -> Tensor:
        """Returns the log-probability of one token for each row, in nats.

        Args:
            context: The context; it has one row for each target.
            targets: Token ids. **Shape:** (rows,), int64.

        Returns:
            **Shape:** (rows,).
        """
        ...


@dataclass(frozen=True, eq=False)
class TextState:
    """The point in a text from which `score` and `Sampler` continue.

    Attributes:
        last_id: The last token id of the text.
        before: The model's state before that token; None where nothing was read before it.
    """

    last_id: int
    before: State | None = None


def check_model(name: str, model: object) -> None:
    """Checks that an argument satisfies the `LanguageModel` protocol, and its weights.

    Raises:
        ConfigError: It does not; the message names the missing members.
        NonFiniteError: Its weights are damaged.
    """
    members = ("vocabulary", "device", "initial_state", "read", "log_probs", "target_log_probs")
    missing = [member for member in members if not hasattr(model, member)]
    if missing or isinstance(model, type):
        raise ConfigError(
            f"{name} must be a LanguageModel, such as an LSTMLanguageModel, got {model!r:.60}"
            + (f" without {', '.join(missing)}" if len(missing) < len(members) and missing else "")
        )
    check_weights(model)


def check_weights(model: object) -> None:
    """Calls the model's ``check_weights`` if it has one; see `LanguageModel`."""
    check = getattr(model, "check_weights", None)
    if check is not None:
        check()


def check_state(model: LanguageModel, state: object) -> None:
    """Checks that a state can be continued with a model.

    Raises:
        ConfigError: It is not a `TextState` or None, or it is that of another model.
    """
    if not isinstance(state, (TextState, type(None))):
        raise ConfigError(f"state must be a TextState or None, got {state!r:.60}")
    if state is not None and state.before is not None:
        try:
            model.initial_state(1).restored(state.before.tensors())
        except (ValueError, AttributeError) as error:
            raise ConfigError(f"state is that of another model: {error}; give a state of this model") from error


def context_length(model: LanguageModel) -> int:
    """Returns the number of tokens that a model has to read before its predictions are those of the whole text."""
    return int(getattr(model, "context_length", _CONTEXT_LENGTH))


def decoding_model(model: LanguageModel) -> LanguageModel:
    """Returns an equal model that is fast at reading one token at a time; the model itself if it has no such form."""
    make = getattr(model, "for_decoding", None)
    return model if make is None else make()
