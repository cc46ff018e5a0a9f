"""A continuous cache around a language model: recent words become more likely where their contexts are similar."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from zh_lstm_lm._config import check_integer, check_number
from zh_lstm_lm.corpus.stream_encoder import ragged_indices
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
from zh_lstm_lm.runtime.processor import linear

__all__ = ["CacheContext", "CacheState", "ContinuousCache"]

# The token of an entry that holds none.
_EMPTY = -1
_MAX_WEIGHT = 0.999
# Predictions of a text that are computed at once. Each has a window of its own, and all of them are computed over the
# entries of all these windows.
_ROWS = 128


@dataclass(frozen=True)
class CacheState:
    """The latest tokens of each text with the hidden states before them, oldest first.

    Attributes:
        inner: The state of the model inside.
        tokens: For each text its token ids, -1 for those that are no entries. **Shape:** (entries,).
        keys: For each text the hidden state before each of these tokens, and the one after the last of them.
            **Shape:** (entries + 1, width), or (0, width) where nothing has been read.
    """

    inner: State
    tokens: tuple[Tensor, ...]
    keys: tuple[Tensor, ...]

    def rows(self, index: Index) -> Self:
        """See `State.rows`."""
        chosen = torch.arange(len(self.keys))[index.cpu() if isinstance(index, Tensor) else index].tolist()
        own = (tuple(each[row] for row in chosen) for each in (self.tokens, self.keys))
        return type(self)(self.inner.rows(index), *own)

    @classmethod
    def cat(cls, states: "Sequence[CacheState]") -> Self:
        """See `State.cat`."""
        inner = type(states[0].inner).cat([state.inner for state in states])
        tokens, keys = (
            [text for each in own for text in each] for own in zip(*((s.tokens, s.keys) for s in states), strict=True)
        )
        return cls(inner, tuple(tokens), tuple(keys))

    def detach(self) -> Self:
        """See `State.detach`."""
        return type(self)(self.inner.detach(), self.tokens, tuple(keys.detach() for keys in self.keys))

    def to(self, device: torch.device) -> Self:
        """See `State.to`."""
        own = (tuple(tensor.to(device) for tensor in each) for each in (self.tokens, self.keys))
        return type(self)(self.inner.to(device), *own)

    def tensors(self) -> list[Tensor]:
        """See `State.tensors`."""
        return [*self.tokens, *self.keys, *self.inner.tensors()]

    def restored(self, tensors: Sequence[Tensor]) -> Self:
        """See `State.restored`."""
        texts = len(self.keys)
        tokens, keys = tuple(tensors[:texts]), tuple(tensors[texts : 2 * texts])
        width = self.keys[0].shape[1:]
        if len(keys) < texts or any(
            own.ndim != 1 or key.shape[1:] != width or len(key) not in (len(own) + 1, 0) or len(own) >= max(len(key), 1)
            for own, key in zip(tokens, keys, strict=True)
        ):
            raise ValueError("the tensors are not those of a cache of this model")
        return type(self)(self.inner.restored(tensors[2 * texts :]), tokens, keys)


@dataclass(frozen=True)
class CacheContext:
    """The cache before each prediction, as a window over the tokens of its text.

    Attributes:
        inner: The context of the model inside, of the same rows.
        tokens: For each text its token ids, -1 for those that are no entries. **Shape:** (entries,).
        keys: For each text the hidden state before each token, and the one after the last. **Shape:** (entries + 1,
            width).
        text: The text that each prediction belongs to. **Shape:** (rows,).
        stop: The number of tokens of the text before each prediction; the key there is that of the prediction.
            **Shape:** (rows,).
    """

    inner: Context
    tokens: tuple[Tensor, ...]
    keys: tuple[Tensor, ...]
    text: Tensor
    stop: Tensor

    def __len__(self) -> int:
        return len(self.text)

    def rows(self, index: Index) -> Self:
        """See `Context.rows`."""
        return type(self)(self.inner.rows(index), self.tokens, self.keys, self.text[index], self.stop[index])


class ContinuousCache(Combination):
    r"""A model with a continuous cache of the latest tokens (Grave, Joulin and Usunier, 2017); nothing is trained.

    The probability of a token is :math:`(1 - \lambda) p(w) + \lambda p_c(w)`, where :math:`p_c` distributes the
    probability among the latest tokens in proportion to :math:`\exp(\theta\, h \cdot h_i)`: the similarity of the
    hidden state now to the hidden state before each of them. Names and phrases that occurred become more likely.
    While the cache is empty, the model predicts alone. It satisfies `LanguageModel`.

    Args:
        model: The model inside. With `theta` above 0 its contexts must have hidden states, as those of an
            `LSTMLanguageModel` or of a mixture that contains one do.
        cache_size: Number of latest tokens in the cache.
        cache_weight: Probability given to the cache, :math:`\lambda`; 0 leaves the model alone.
        theta: Strength of the similarity; 0 counts all tokens alike (a unigram cache) and needs no hidden states.

    Attributes:
        training_summary: Plain values that say how the cache was made; they are saved with it.

    Raises:
        ConfigError: An option is out of range.
    """

    def __init__(
        self, model: LanguageModel, *, cache_size: int = 1000, cache_weight: float = 0.15, theta: float = 0.6
    ) -> None:
        check_model("model", model)
        check_integer("cache_size", cache_size, minimum=1)
        check_number("cache_weight", cache_weight, maximum=_MAX_WEIGHT)
        check_number("theta", theta)
        self.models: tuple[LanguageModel, ...] = (model,)
        self.cache_size = cache_size
        self.cache_weight: float = cache_weight
        self.theta = theta
        self.training_summary: dict[str, Any] = {}

    @property
    def model(self) -> LanguageModel:
        """The model inside."""
        return self.models[0]

    @property
    def context_length(self) -> int:
        """The size of the cache and the context length of the model inside."""
        return self.cache_size + context_length(self.model)

    def around(self, model: LanguageModel, cache_weight: float | None = None) -> "ContinuousCache":
        """Returns the same cache around another model, with another weight if one is given."""
        weight = self.cache_weight if cache_weight is None else cache_weight
        return ContinuousCache(model, cache_size=self.cache_size, cache_weight=weight, theta=self.theta)

    def for_decoding(self) -> "ContinuousCache":
        """Returns a cache around the model's form for decoding; see `LanguageModel`."""
        return self.around(decoding_model(self.model))

    def initial_state(self, batch_size: int) -> CacheState:
        """See `LanguageModel.initial_state`."""
        # Inference mode also turns dropout off.
        with torch.inference_mode():
            start = torch.full((1, 1), self.vocabulary.bos_id, device=self.device)
            keys = self._hidden(self.model.read(start)[0], 1)[:0].clone()
        none = torch.zeros(0, dtype=torch.int64, device=self.device)
        return CacheState(self.model.initial_state(batch_size), (none,) * batch_size, (keys,) * batch_size)

    def read(self, ids: Tensor, state: CacheState | None = None) -> tuple[CacheContext, CacheState]:
        """See `LanguageModel.read`."""
        batch, time = ids.shape
        state = self.initial_state(batch) if state is None else state
        inner, after = self.model.read(ids, state.inner)
        hidden = self._hidden(inner, batch * time).view(batch, time, -1)
        values = ids.masked_fill(ids == self.vocabulary.bos_id, _EMPTY)
        read = [len(keys) for keys in state.keys]
        # Joined text by text: memory of the size of a batch would be newly mapped at every call.
        keys = tuple(torch.cat(pair) if len(pair[0]) else pair[1] for pair in zip(state.keys, hidden, strict=True))
        # The first token of all has no hidden state before it.
        tokens = tuple(
            torch.cat(pair) if count else pair[1][1:] for count, *pair in zip(read, state.tokens, values, strict=True)
        )
        text = torch.arange(batch, device=ids.device).repeat_interleave(time)
        stop = (torch.tensor(read)[:, None] + torch.arange(time)).flatten().to(ids.device)
        kept = tuple(own[-self.cache_size :] for own in tokens), tuple(own[-self.cache_size - 1 :] for own in keys)
        return CacheContext(inner, tokens, keys, text, stop), CacheState(after, *kept)

    def probs(self, context: CacheContext) -> Tensor:
        """See `components.probs_of`."""
        probs = probs_of(self.model, context.inner)
        for rows, tokens, cached in self._distributions(context):
            own = probs[rows] * (1 - self.cache_weight)
            own.scatter_add_(1, tokens.expand(len(rows), -1), (cached * self.cache_weight).to(own.dtype))
            probs = own if len(rows) == len(probs) else probs.index_copy(0, rows, own)
        return probs

    def log_probs(self, context: CacheContext) -> Tensor:
        """See `LanguageModel.log_probs`."""
        if not self.cache_weight:
            return self.model.log_probs(context.inner)
        return log_of(self.probs(context), lambda: self._exact_log_probs(context))

    def target_log_probs(self, context: CacheContext, targets: Tensor) -> Tensor:
        """See `LanguageModel.target_log_probs`."""
        log_probs = self.model.target_log_probs(context.inner, targets)
        return self._interpolate(log_probs, self._cached_log_probs(context, targets).to(log_probs.dtype))

    def component_log_probs(self, context: CacheContext, targets: Tensor) -> Tensor:
        """See `components.component_log_probs`."""
        inner = component_log_probs(self.model, context.inner, targets)
        return torch.cat([inner, self._cached_log_probs(context, targets).to(inner.dtype)[None]])

    def component_weights(self) -> list[float]:
        """See `components.component_weights`."""
        return [*(weight * (1 - self.cache_weight) for weight in component_weights(self.model)), self.cache_weight]

    def set_component_weights(self, weights: Sequence[float]) -> None:
        """See `components.set_component_weights`."""
        *inner, own = weights
        # The model is needed where the cache is empty.
        self.cache_weight = min(own, _MAX_WEIGHT)
        if (total := math.fsum(inner)) > 0:
            set_component_weights(self.model, [weight / total for weight in inner])

    def parts(self, log_probs: Tensor) -> list[tuple[str, float, Tensor]]:
        """See `components.parts_of`."""
        inner = parts_of(self.model, log_probs[:-1])
        name, _, of_model = inner[-1]
        parts = [(each, weight * (1 - self.cache_weight), own) for each, weight, own in inner]
        return [*parts, (f"{name} + cache", 1.0, self._interpolate(of_model, log_probs[-1]))]

    def _exact_log_probs(self, context: CacheContext) -> Tensor:
        """Computes `log_probs` from logarithms."""
        log_probs = self.model.log_probs(context.inner)
        for rows, tokens, probs in self._distributions(context):
            cached = torch.zeros_like(log_probs[rows])
            cached.scatter_add_(1, tokens.expand(len(rows), -1), probs.to(cached.dtype))
            own = log_probs[rows] + math.log1p(-self.cache_weight)
            own = torch.logaddexp(own, cached.log() + math.log(self.cache_weight))
            log_probs = log_probs.index_copy(0, rows, own)
        return log_probs

    def _interpolate(self, log_probs: Tensor, cached: Tensor) -> Tensor:
        """Interpolates the model's log-probabilities with the cache's, which are infinity where it is empty."""
        if not self.cache_weight:
            return log_probs
        own = log_probs + math.log1p(-self.cache_weight)
        mixed = torch.logaddexp(own, cached + math.log(self.cache_weight))
        return torch.where(cached < math.inf, mixed, log_probs)

    def _cached_log_probs(self, context: CacheContext, targets: Tensor) -> Tensor:
        """Returns the cache's own log-probability of each target, infinity where it is empty. **Shape:** (rows,)."""
        cached = torch.full(targets.shape, math.inf, dtype=context.keys[0].dtype, device=targets.device)
        for rows, tokens, probs in self._distributions(context):
            # Few entries hold the target, so they are looked up rather than all compared.
            ordered, order = tokens.sort()
            first = torch.searchsorted(ordered, targets[rows])
            matches = torch.searchsorted(ordered, targets[rows], right=True) - first
            row = torch.arange(len(rows), device=targets.device).repeat_interleave(matches)
            found = probs[row, order[ragged_indices(first, matches)]]
            cached[rows] = probs.new_zeros(len(rows)).index_add_(0, row, found).log()
        return cached

    def _distributions(self, context: CacheContext) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yields the cache's distribution for each row, text by text.

        A text is computed alone, over its own entries, so that its values do not depend on its neighbours.

        Yields:
            For each text the rows for which the cache is not empty, **Shape:** (rows,), the tokens, **Shape:**
            (entries,), and their probabilities, **Shape:** (rows, entries), 0 for entries outside of a row's window.
        """
        groups: dict[int, list[int]] = defaultdict(list)
        device = context.text.device
        for row, text in enumerate(context.text.tolist()):
            groups[text].append(row)
        for text, of_text in (
            (text, part.to(device))
            for text, rows in groups.items()
            for part in torch.tensor(rows).chunk(math.ceil(len(rows) / _ROWS))
        ):
            index, stop = of_text, context.stop[of_text]
            least, last = (int(edge) for edge in stop.aminmax())
            first = max(0, least - self.cache_size)
            if not last:
                continue
            tokens = context.tokens[text][first:last]
            # The last bits of a product depend on the alignment of its operands, 64 bytes where PyTorch allocates.
            keys = context.keys[text][first:last]
            keys = keys.clone() if keys.data_ptr() % 64 else keys
            scores = linear(self.theta * context.keys[text][stop], keys)
            # Entries outside the windows of some rows are at the ends; those between are in all windows.
            positions = torch.arange(first, last, device=device)
            for edge in (slice(0, max(0, last - self.cache_size - first)), slice(max(0, least - first), None)):
                outside = (positions[edge] >= stop[:, None]) | (positions[edge] < stop[:, None] - self.cache_size)
                scores[:, edge].masked_fill_(outside, -math.inf)
            empty = tokens == _EMPTY
            if not least or bool(empty.any()):
                scores.masked_fill_(empty, -math.inf)
                known = (scores > -math.inf).any(dim=1)
                index, scores = index[known], scores[known]
            yield index, tokens.clamp(min=0), scores.softmax(dim=1)

    def _hidden(self, context: Context, rows: int) -> Tensor:
        """The keys of a context's rows, equal ones where all tokens count alike. **Shape:** (rows, width)."""
        if not self.theta:
            return torch.zeros(rows, 1, dtype=torch.float32, device=self.device)
        hidden = _find_hidden(context)
        if hidden is None:
            raise ConfigError(
                f"theta={self.theta:g} compares hidden states, which {type(self.model).__name__} has none of; give theta=0"
            )
        return hidden


def _find_hidden(context: Any) -> Tensor | None:
    """The hidden states of a context, those of the first part that has any. **Shape:** (rows, width)."""
    if isinstance(hidden := getattr(context, "hidden", None), Tensor):
        return hidden
    inner = getattr(context, "inner", None)
    parts = getattr(context, "parts", ()) if inner is None else (inner,)
    return next((found for part in parts if (found := _find_hidden(part)) is not None), None)
