"""The `LanguageModel` protocol: the interface of everything that predicts the next token."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType, NoneType
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor
from typing_extensions import Self

from zh_lstm_lm._config import check_type
from zh_lstm_lm.corpus.batches import IGNORED, EvaluationSegment, evaluation_segments, segment_windows
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.runtime.interruption import check_interruption
from zh_lstm_lm.runtime.optional import require
from zh_lstm_lm.storage.hub import push_folder

__all__ = [
    "Context", "HubModel", "Index", "LanguageModel", "Prediction", "State", "TextState", "check_model", "check_state",
    "check_weights", "context_length", "decoding_model", "hub_library", "read_documents", "read_segments",
    "rows_at_once", "scores_per_target",
]  # fmt: skip

Index: TypeAlias = Tensor | Sequence[int] | slice
"""Rows to select: a tensor of indices or booleans, a list of indices, or a slice."""

Prediction: TypeAlias = Callable[[Any, Tensor], Tensor]
"""A function of a context and of one target for each row, whose result has a last dimension of rows."""

_CONTEXT_LENGTH = 256
_SEGMENT_LEN = 4096
# A model that needs a long context gets segments of at least so many times its length.
_SEGMENT_CONTEXTS = 8
# Log-probabilities that exist at once.
_MAX_SCORES = 1 << 23
# Steps read at once: so many with a full batch, and more with few rows.
_WINDOW_LEN = 64
_WINDOW_TOKENS = 4096
# A state as long as the context, such as that of a cache, is copied with each window.
_CONTEXT_WINDOWS = 4
# Rows whose log-probabilities stay in the processor's cache.
_SCORED_ROWS = 1024


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
        """Builds a state of the same structure from its `tensors`; raises ValueError for those of another model."""
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
    (True if missing); ``scores_per_target``, the most log-probabilities that ``target_log_probs`` computes for a row (those
    of the whole vocabulary if missing); ``check_weights()``, which raises a `NonFiniteError` where the weights are damaged; and
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
        """Returns the log-probability of one token for each row, in nats. **Shape:** (rows,).

        Args:
            context: The context; it has one row for each target.
            targets: Token ids. **Shape:** (rows,), int64.
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


class HubModel:
    """Adds `push_to_hub` to a model that has `save_pretrained`."""

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        commit_message: str = "Upload the model",
    ) -> str:
        """Uploads the model to a repository of the Hugging Face Hub, which is made where there is none.

        The card that is there already keeps its text and its metadata, and gets the metadata that it lacks; the licence
        is left to its author. Needs the extra ``hub``.

        Args:
            repo_id: The repository, as ``"user/model"``.
            private: Whether a new repository is private; None for the user's default.
            revision: The branch; None for the main one.
            token: The user's token; None for the one that ``hf auth login`` has saved.
            commit_message: The first line of the commit's description.

        Returns:
            The address of the commit.

        Raises:
            ConfigError: `repo_id` is not of the form ``user/model``.
            CheckpointError: The Hub refuses the upload or cannot be reached.
            MissingDependencyError: The extra is not installed.
        """
        check_type("private", private, bool, NoneType)
        check_type("revision", revision, str, NoneType)
        check_type("token", token, str, bool, NoneType)
        check_type("commit_message", commit_message, str)
        save = self.save_pretrained  # type: ignore[attr-defined]
        return push_folder(
            hub_library, save, repo_id, private=private, revision=revision, token=token, commit_message=commit_message
        )


def hub_library() -> ModuleType:
    """Returns the module ``huggingface_hub``, with that of its errors, which it would import later."""
    library = require("huggingface_hub", extra="hub")
    require("huggingface_hub.errors", extra="hub")
    return library


def check_model(name: str, model: object) -> None:
    """Refuses an argument that lacks members of the `LanguageModel` protocol, or whose weights are damaged."""
    members = ("vocabulary", "device", "initial_state", "read", "log_probs", "target_log_probs")
    missing = [member for member in members if not hasattr(model, member)]
    if missing or isinstance(model, type):
        raise ConfigError(
            f"{name} must be a LanguageModel, such as an LSTMLanguageModel, got {model!r:.60}"
            + (f" without {', '.join(missing)}" if len(missing) < len(members) and missing else "")
            + ("; give the model inside, its attribute module" if hasattr(model, "module") else "")
        )
    check_weights(model)


def check_weights(model: object) -> None:
    """Calls the model's ``check_weights`` if it has one; see `LanguageModel`."""
    check = getattr(model, "check_weights", None)
    if check is not None:
        check()


def check_state(model: LanguageModel, state: object) -> None:
    """Refuses a state that is neither a `TextState` of the model nor None."""
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


def scores_per_target(model: LanguageModel) -> int:
    """Returns the most log-probabilities that a model computes to find that of one token."""
    return int(getattr(model, "scores_per_target", len(model.vocabulary)))


def rows_at_once(num_scores: int) -> int:
    """Returns for how many rows log-probabilities are computed at once, if each takes so many."""
    return max(1, min(_SCORED_ROWS, _MAX_SCORES // num_scores))


def decoding_model(model: LanguageModel) -> LanguageModel:
    """Returns an equal model that is fast at reading one token at a time; the model itself if it has no such form."""
    make = getattr(model, "for_decoding", None)
    return model if make is None else make()


def read_documents(
    model: LanguageModel,
    ids: Tensor,
    *,
    batch_size: int = 64,
    part: tuple[int, int] = (0, 1),
    predict: Prediction | None = None,
    num_scores: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Predicts every token but ``<bos>`` of concatenated documents once, in segments that are read in batches.

    Yields positions with the values of `read_segments`, whose options `predict` and `num_scores` are. With `part` of
    ``(i, n)`` only every *n*-th segment from the *i*-th on is read.
    """
    context = context_length(model)
    segment_len, bos_id = max(_SEGMENT_LEN, _SEGMENT_CONTEXTS * context), model.vocabulary.bos_id
    segments = evaluation_segments(ids, segment_len=segment_len, context_len=context, bos_id=bos_id)
    # Long segments come first, so that few rows of a batch are padding.
    segments.sort(key=lambda segment: segment.start - segment.stop)
    segments = segments[part[0] :: part[1]]
    # Inference mode also turns dropout off, so the training mode needs no change and threads may share the model.
    with torch.inference_mode():
        for start in range(0, len(segments), batch_size):
            for positions, values, _ in read_segments(
                model, ids, segments[start : start + batch_size], predict=predict, num_scores=num_scores
            ):
                yield positions, values


def read_segments(
    model: LanguageModel,
    ids: Tensor,
    segments: Sequence[EvaluationSegment],
    state: State | None = None,
    *,
    predict: Prediction | None = None,
    num_scores: int | None = None,
) -> Iterator[tuple[Tensor, Tensor, State]]:
    """Reads a batch of segments of ids, the longest first, window by window, in inference mode.

    `state` is that before each of them, `predict` computes the values of some targets; None takes the initial state,
    and the model's `target_log_probs`. `num_scores` is the most log-probabilities that `predict` computes for a target;
    None for those of the whole vocabulary. Yields for each window the positions of its counted ids, **Shape:**
    (counted,), their values, **Shape:** (…, counted), float64 on the CPU, and the state after it of the rows that reach
    into it.
    """
    if predict is None:
        predict, num_scores = model.target_log_probs, scores_per_target(model)
    chunk = rows_at_once(num_scores or len(model.vocabulary))
    starts = torch.tensor([segment.start for segment in segments])[:, None]
    first = 1
    window_len = max(_WINDOW_LEN, _WINDOW_TOKENS // len(segments), context_length(model) // _CONTEXT_WINDOWS)
    for inputs, targets in segment_windows(ids, segments, window_len=window_len):
        check_interruption()
        rows, steps = inputs.shape
        context, state = model.read(inputs.to(model.device), None if state is None else state.rows(slice(rows)))
        counted = targets != IGNORED
        scored = counted.flatten().nonzero().squeeze(1).to(model.device)
        following = targets[counted].to(model.device)
        values = [
            predict(context.rows(scored[begin : begin + chunk]), following[begin : begin + chunk]).double().cpu()
            for begin in range(0, len(scored), chunk)
        ]
        positions = (starts[:rows] + torch.arange(first, first + steps))[counted]
        first += steps
        yield positions, torch.cat(values, dim=-1) if values else torch.empty(0, dtype=torch.float64), state
