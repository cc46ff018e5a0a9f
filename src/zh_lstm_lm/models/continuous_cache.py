"""A continuous cache around a language model: recent words become more likely where their contexts are similar."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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
from zh_lstm_lm.runtime.processor import integer_products

__all__ = ["CacheContext", "CacheState", "ContinuousCache", "Entries"]

# The token of an entry that holds none.
_EMPTY = -1
_MAX_WEIGHT = 0.999
# Predictions of a text that are computed at once. Each has a window of its own, and all of them are computed over the
# entries of all these windows.
_ROWS = 128


class Entries(NamedTuple):
    """The latest tokens of a text with the hidden states before them, oldest first.

    Attributes:
        tokens: Token ids, -1 for those that are no entries. **Shape:** (entries,).
        keys: The hidden state before each of these tokens, and the one after the last of them, in integers. **Shape:**
            (entries + 1, width), or (0, width) where nothing has been read; int8.
        scales: What the integers of each hidden state are multiplied by. **Shape:** (entries + 1,), or (0,).
    """

    tokens: Tensor
    keys: Tensor
    scales: Tensor


@dataclass(frozen=True)
class CacheState:
    """The entries of each text, and the state of the model inside."""

    inner: State
    texts: tuple[Entries, ...]

    def rows(self, index: Index) -> Self:
        """See `State.rows`."""
        chosen = torch.arange(len(self.texts))[index.cpu() if isinstance(index, Tensor) else index].tolist()
        return type(self)(self.inner.rows(index), tuple(self.texts[row] for row in chosen))

    @classmethod
    def cat(cls, states: "Sequence[CacheState]") -> Self:
        """See `State.cat`."""
        inner = type(states[0].inner).cat([state.inner for state in states])
        return cls(inner, tuple(text for state in states for text in state.texts))

    def detach(self) -> Self:
        """See `State.detach`."""
        return type(self)(self.inner.detach(), tuple(text._replace(scales=text.scales.detach()) for text in self.texts))

    def to(self, device: torch.device) -> Self:
        """See `State.to`."""
        return type(self)(
            self.inner.to(device), tuple(Entries(*(own.to(device) for own in text)) for text in self.texts)
        )

    def tensors(self) -> list[Tensor]:
        """See `State.tensors`."""
        return [*(tensor for text in self.texts for tensor in text), *self.inner.tensors()]

    def restored(self, tensors: Sequence[Tensor]) -> Self:
        """See `State.restored`."""
        number = 3 * len(self.texts)
        texts = tuple(map(Entries, *(tensors[part:number:3] for part in range(3))))
        width = self.texts[0].keys.shape[1:]
        if len(texts) < len(self.texts) or any(
            keys.dtype != torch.int8 or keys.shape != (*scales.shape, *width) or own.shape != (max(len(keys), 1) - 1,)
            for own, keys, scales in texts
        ):
            raise ValueError("the tensors are not those of a cache of this model")
        return type(self)(self.inner.restored(tensors[number:]), texts)


@dataclass(frozen=True)
class CacheContext:
    """The cache before each prediction, as a window over the entries of its text.

    Attributes:
        inner: The context of the model inside, of the same rows.
        texts: The entries of each text.
        text: The text that each prediction belongs to. **Shape:** (rows,).
        stop: The number of tokens of the text before each prediction; the key there is that of the prediction.
            **Shape:** (rows,).
    """

    inner: Context
    texts: tuple[Entries, ...]
    text: Tensor
    stop: Tensor

    def __len__(self) -> int:
        return len(self.text)

    def rows(self, index: Index) -> Self:
        """See `Context.rows`."""
        return type(self)(self.inner.rows(index), self.texts, self.text[index], self.stop[index])


class ContinuousCache(Combination):
    r"""A model with a continuous cache of the latest tokens (Grave, Joulin and Usunier, 2017); nothing is trained.

    The probability of a token is :math:`(1 - \lambda) p(w) + \lambda p_c(w)`, where :math:`p_c` distributes the
    probability among the latest tokens in proportion to :math:`\exp(\theta\, h \cdot h_i)`: the similarity of the
    hidden state now to the hidden state before each of them. Names and phrases that occurred become more likely.
    While the cache is empty, the model predicts alone. It satisfies `LanguageModel`.

    Hidden states are kept and compared in 8 bits: each number is an integer times the greatest absolute value of its
    state, divided by 127. Sums of such products are exact, in any order and on any machine.

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
            keys, scales = _in_8_bits(self._hidden(self.model.read(start)[0], 1))
        nothing = Entries(start[0, :0].clone(), keys[:0].clone(), scales[:0].clone())
        return CacheState(self.model.initial_state(batch_size), (nothing,) * batch_size)

    def read(self, ids: Tensor, state: CacheState | None = None) -> tuple[CacheContext, CacheState]:
        """See `LanguageModel.read`."""
        batch, time = ids.shape
        state = self.initial_state(batch) if state is None else state
        inner, after = self.model.read(ids, state.inner)
        keys, scales = _in_8_bits(self._hidden(inner, batch * time))
        values = ids.masked_fill(ids == self.vocabulary.bos_id, _EMPTY)
        texts = []
        # Joined text by text: memory of the size of a batch would be newly mapped at every call.
        for before, *now in zip(state.texts, values, keys.view(batch, time, -1), scales.view(batch, time), strict=True):
            read = Entries(*now)
            if len(before.keys):
                texts.append(Entries(*map(torch.cat, zip(before, read, strict=True))))
            else:
                # The first token of all has no hidden state before it.
                texts.append(read._replace(tokens=read.tokens[1:]))
        text = torch.arange(batch, device=ids.device).repeat_interleave(time)
        read_before = torch.tensor([len(before.keys) for before in state.texts])
        stop = (read_before[:, None] + torch.arange(time)).flatten().to(ids.device)
        size = self.cache_size
        latest = tuple(Entries(own[-size:], keys[-size - 1 :], scales[-size - 1 :]) for own, keys, scales in texts)
        return CacheContext(inner, tuple(texts), text, stop), CacheState(after, latest)

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
        cached = torch.full(targets.shape, math.inf, dtype=torch.float32, device=targets.device)
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
        for text, rows in groups.items():
            tokens, keys, scales = context.texts[text]
            for part in torch.tensor(rows, device=device).chunk(math.ceil(len(rows) / _ROWS)):
                index, stop = part, context.stop[part]
                least, last = (int(edge) for edge in stop.aminmax())
                first = max(0, least - self.cache_size)
                if not last:
                    continue
                scores = integer_products(keys[stop], keys[first:last]).float()
                scores.mul_(scales[first:last]).mul_(self.theta * scales[stop, None])
                # Entries outside the windows of some rows are at the ends; those between are in all windows.
                positions = torch.arange(first, last, device=device)
                early, late = slice(0, max(0, last - self.cache_size - first)), slice(max(0, least - first), None)
                scores[:, early].masked_fill_(positions[early] < stop[:, None] - self.cache_size, -math.inf)
                scores[:, late].masked_fill_(positions[late] >= stop[:, None], -math.inf)
                empty = tokens[first:last] == _EMPTY
                if not least or bool(empty.any()):
                    scores.masked_fill_(empty, -math.inf)
                    known = (scores > -math.inf).any(dim=1)
                    index, scores = index[known], scores[known]
                yield index, tokens[first:last].clamp(min=0), scores.softmax(dim=1)

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


def _in_8_bits(hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Rounds each row to integers times a number. **Shape:** (rows, width) to (rows, width), int8, and (rows,)."""
    hidden = hidden.float()
    scales = hidden.abs().amax(dim=1) / 127
    # A state of zeros keeps its zeros.
    return (hidden / scales.clamp(min=1e-30)[:, None]).round_().to(torch.int8), scales


def _find_hidden(context: Any) -> Tensor | None:
    """The hidden states of a context, those of the first part that has any. **Shape:** (rows, width)."""
    if isinstance(hidden := getattr(context, "hidden", None), Tensor):
        return hidden
    inner = getattr(context, "inner", None)
    parts = getattr(context, "parts", ()) if inner is None else (inner,)
    return next((found for part in parts if (found := _find_hidden(part)) is not None), None)
