"""The n-gram language model: interpolated modified Kneser-Ney smoothing over the ids of a vocabulary."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from typing_extensions import Self

from zh_lstm_lm._config import check_integer, check_type
from zh_lstm_lm.corpus.passages import passage_overlap
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import ConfigError, DataError
from zh_lstm_lm.models.base import Index
from zh_lstm_lm.models.ngram_counts import MAX_ORDER, NGramCounts, NGramTable, count_ngrams
from zh_lstm_lm.models.pretrained import SavedModel
from zh_lstm_lm.runtime.devices import choose_device, on_cpu_by_default
from zh_lstm_lm.runtime.memory import return_freed_memory

__all__ = ["NGramContext", "NGramLanguageModel", "NGramState", "estimate_table"]

# Stands for the tokens before the first one that was read.
_NONE = -1

# Keys, discounted probabilities, and back-off weights of the prefixes.
_Table: TypeAlias = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class NGramState:
    """The latest tokens of each text, filled up with -1 on the left. **Shape:** (batch, order - 1), int64."""

    ids: Tensor

    def rows(self, index: Index) -> Self:
        """See `State.rows`."""
        return type(self)(self.ids[index])

    @classmethod
    def cat(cls, states: "Sequence[NGramState]") -> Self:
        """See `State.cat`."""
        return cls(torch.cat([state.ids for state in states]))

    def detach(self) -> Self:
        """See `State.detach`."""
        return self

    def to(self, device: torch.device) -> Self:
        """See `State.to`."""
        return type(self)(self.ids.to(device))

    def tensors(self) -> list[Tensor]:
        """See `State.tensors`."""
        return [self.ids]

    def restored(self, tensors: Sequence[Tensor]) -> Self:
        """See `State.restored`."""
        (ids,) = tensors
        if ids.shape != self.ids.shape or ids.dtype != self.ids.dtype:
            raise ValueError(f"a state of shape {tuple(ids.shape)} where {tuple(self.ids.shape)} was expected")
        return type(self)(ids.to(self.ids.device))


@dataclass(frozen=True)
class NGramContext:
    """The tokens before each prediction, filled up with -1 on the left. **Shape:** (rows, order - 1), int64."""

    ids: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: Index) -> Self:
        """See `Context.rows`."""
        return type(self)(self.ids[index])


class NGramLanguageModel(SavedModel):
    r"""An n-gram model with interpolated modified Kneser-Ney smoothing (Chen and Goodman, 1999).

    The probability of a token w after the context h is
    :math:`p(w \mid h) = \frac{c(hw) - D(c(hw))}{\sum_v c(hv)} + \gamma(h)\, p(w \mid h')`, where h' is h without its
    first token, and :math:`\gamma(h)` is the probability that the discounts and pruned n-grams leave. Below the highest
    order, c counts the different tokens before the n-gram. The unigrams are interpolated with the uniform distribution
    over the vocabulary, so every token has a probability above 0 in every context, and the probabilities sum to 1. It
    satisfies `LanguageModel`.

    Attributes:
        vocabulary: The vocabulary; the model holds a frozen copy.
        order: The highest order.
        num_ngrams: Number of n-grams of each order, from 1 on.
        discounts: The discounts of the counts 1, 2, and 3 and above, for each order.
        counts: The n-grams with their counts.
        training_summary: Plain values that say how the model was made; they are saved with it.
        generation_config: The model's own defaults for sampling, as plain values; they are saved with it.

    Example:
        >>> stream = TokenStream.from_texts(["展昭道：好。展昭笑道：好！"], tokenizer="characters")
        >>> model = NGramLanguageModel.from_stream(stream, Vocabulary.from_stream(stream), order=3)
        >>> model.num_ngrams
        (265, 11, 13)
    """

    def __init__(self, vocabulary: Vocabulary, counts: NGramCounts) -> None:
        """Builds the model from counts over the ids of a vocabulary; `from_stream` counts a text."""
        check_type("vocabulary", vocabulary, Vocabulary)
        check_type("counts", counts, NGramCounts)
        self.vocabulary: Vocabulary = vocabulary.frozen_copy()
        self.counts = counts
        self.training_summary: dict[str, Any] = {}
        self.generation_config: dict[str, Any] = {}
        self.order: int = len(counts.tables) + 1
        self.num_ngrams: tuple[int, ...] = (len(vocabulary), *map(len, counts.tables))
        self.discounts: tuple[tuple[float, ...], ...] = (
            counts.unigram_discounts,
            *(table.discounts for table in counts.tables),
        )
        # Here and below: counting, loading and each table have freed hundreds of megabytes.
        return_freed_memory()
        size = len(vocabulary)
        unigrams = _discounted(counts.unigrams, counts.unigram_discounts)
        total = counts.unigrams.sum(dtype=torch.float64)
        rest = (counts.unigrams - unigrams).sum() / total
        self._unigrams = (unigrams / total + rest / size).float()
        # Of each table the keys, the discounted probabilities of its n-grams, and the back-off weights of its prefixes.
        self._tables: list[_Table] = []
        for table, num_prefixes in zip(counts.tables, self.num_ngrams, strict=False):
            if len(table):
                self._tables.append((table.keys, *estimate_table(table, size, num_prefixes)))
            return_freed_memory()

    @classmethod
    @on_cpu_by_default
    def from_stream(
        cls, stream: TokenStream, vocabulary: Vocabulary, order: int = 4, *, prune: Sequence[int] = (0,)
    ) -> "NGramLanguageModel":
        """Counts the n-grams of a training text.

        Counting takes memory for about 35 bytes for each n-gram, which are up to `order` - 1 for each token.

        Args:
            stream: The training part.
            vocabulary: The vocabulary, such as that of the model to mix with.
            order: The highest order, from 1 to 8.
            prune: For each order from 1 on, the greatest number of occurrences with which an n-gram is dropped; the last
                value holds for all higher orders. ``(0, 0, 0, 1)`` drops what occurs once from order 4 on. The first is
                0, and the values do not decrease.

        Raises:
            ConfigError: An option is out of range, or the n-grams do not fit into memory.
            DataError: The text has fewer tokens than the order.
        """
        check_type("stream", stream, TokenStream)
        check_type("vocabulary", vocabulary, Vocabulary)
        check_integer("order", order, minimum=1, maximum=MAX_ORDER)
        check_type("prune", prune, tuple, list)
        for threshold in prune:
            check_integer("a value of prune", threshold, minimum=0, maximum=1 << 30)
        if not prune or prune[0] != 0 or sorted(prune) != [*prune]:
            raise ConfigError(f"prune must begin with 0 and not decrease, as in (0, 0, 1), got {prune!r:.60}")
        ids = vocabulary.encode_stream(stream)
        num_tokens = len(ids) - stream.num_documents
        if num_tokens < order:
            raise DataError(
                f"the text has {num_tokens} tokens, fewer than the order {order}; give more text or a lower order"
            )
        counts = count_ngrams(ids, order, vocab_size=len(vocabulary), bos_id=vocabulary.bos_id, prune=prune)
        return cls(vocabulary, counts)

    @property
    def name(self) -> str:
        """Name of the model as a part of a mixture."""
        return f"{self.order}-gram"

    @property
    def device(self) -> torch.device:
        """The device of the tables."""
        return self._unigrams.device

    def to(self, device: torch.device | str) -> Self:
        """Moves the model to a device, in place, and returns it; raises ConfigError for one that is not there."""
        device = choose_device(str(device))
        self._unigrams = self._unigrams.to(device)
        self._tables = [
            (keys.to(device), probs.to(device), backoffs.to(device)) for keys, probs, backoffs in self._tables
        ]
        return self

    @property
    def scores_per_target(self) -> int:
        """The probability of one token takes no others."""
        return 1

    @property
    def context_length(self) -> int:
        """Number of tokens that a prediction depends on."""
        return self.order - 1

    def overlap(self, ids: Tensor) -> float:
        """Estimates the proportion of a text's passages of 8 tokens that are in the training text.

        Args:
            ids: The text. **Shape:** (number of ids,).
        """
        return passage_overlap(self.counts.passages, ids)

    def initial_state(self, batch_size: int) -> NGramState:
        """See `LanguageModel.initial_state`."""
        return NGramState(torch.full((batch_size, self.order - 1), _NONE, device=self.device))

    def read(self, ids: Tensor, state: NGramState | None = None) -> tuple[NGramContext, NGramState]:
        """See `LanguageModel.read`."""
        batch, time = ids.shape
        before = self.initial_state(batch) if state is None else state
        known = torch.cat([before.ids, ids], dim=1)
        positions = torch.arange(1, time + 1, device=ids.device)[:, None] + torch.arange(
            self.order - 1, device=ids.device
        )
        return NGramContext(known[:, positions].flatten(0, 1)), NGramState(known[:, time:])

    def probs(self, context: NGramContext) -> Tensor:
        """See `components.probs_of`."""
        found, scales = self._scaled(context)
        size = len(self._unigrams)
        probs = self._unigrams * scales[0][:, None]
        for ((keys, discounted, _), nodes, _), scale in zip(found, scales[1:], strict=True):
            bounds = torch.searchsorted(keys, torch.stack([nodes, nodes + 1], dim=1) * size).tolist()
            for row, (node, (start, stop)) in enumerate(zip(nodes.tolist(), bounds, strict=True)):
                if node != _NONE:
                    followers = keys[start:stop] - node * size
                    probs[row].index_add_(0, followers, discounted[start:stop] * scale[row])
        return probs

    def log_probs(self, context: NGramContext) -> Tensor:
        """See `LanguageModel.log_probs`."""
        return self.probs(context).log_()

    def target_log_probs(self, context: NGramContext, targets: Tensor) -> Tensor:
        """See `LanguageModel.target_log_probs`."""
        targets = targets.to(self.device)
        found, scales = self._scaled(context)
        probs = self._unigrams[targets] * scales[0]
        for ((keys, discounted, _), nodes, _), scale in zip(found, scales[1:], strict=True):
            entries = _find(keys, nodes, targets, len(self._unigrams))
            probs += torch.where(entries != _NONE, discounted[entries] * scale, 0.0)
        return probs.log()

    def _scaled(self, context: NGramContext) -> tuple[list[tuple[_Table, Tensor, Tensor]], list[Tensor]]:
        """Looks up the contexts of all lengths.

        Returns the result of `_backoffs`, and for the unigrams and each of its orders the product of the back-off
        weights of the orders above. **Shape:** (rows,).
        """
        found = self._backoffs(context)
        scales = [self._unigrams.new_ones(len(context))]
        for _, _, backoffs in reversed(found):
            scales.append(scales[-1] * backoffs)
        return found, scales[::-1]

    def _backoffs(self, context: NGramContext) -> list[tuple[_Table, Tensor, Tensor]]:
        """Looks up the contexts of all lengths, the shortest first.

        Returns for each order from 2 on the table, the index of each row's context in the table of the order before, -1
        where it is missing, and its back-off weight. **Shape:** (rows,).
        """
        found = []
        for length, table in enumerate(self._tables, start=1):
            nodes = context.ids[:, -length]
            for (keys, _, _), token in zip(
                self._tables, context.ids.T[1 - length :] if length > 1 else (), strict=False
            ):
                nodes = _find(keys, nodes, token, len(self._unigrams))
            if bool((nodes == _NONE).all()):
                # A longer context contains this one.
                break
            found.append((table, nodes, torch.where(nodes != _NONE, table[2][nodes], 1.0)))
        return found


def _find(keys: Tensor, nodes: Tensor, ids: Tensor, vocab_size: int) -> Tensor:
    """Returns the indices of n-grams by prefix and last token, -1 where there is none."""
    wanted = nodes * vocab_size + ids
    entries = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
    return torch.where((keys[entries] == wanted) & (nodes != _NONE), entries, _NONE)


def _discounted(counts: Tensor, discounts: Sequence[float]) -> Tensor:
    """Subtracts the discounts from counts. **Shape:** as given, float64."""
    # In place, since a table of millions has a hundred megabytes of temporaries otherwise.
    subtracted = torch.tensor([0.0, *discounts], dtype=torch.float64)[counts.clamp(max=3)]
    return torch.sub(counts, subtracted, out=subtracted)


def estimate_table(table: NGramTable, vocab_size: int, num_prefixes: int) -> tuple[Tensor, Tensor]:
    """Estimates the discounted probabilities of n-grams and the back-off weights of their prefixes, in float32."""
    prefixes = table.keys // vocab_size
    discounted = _discounted(table.counts, table.discounts)
    kept = torch.zeros(num_prefixes, dtype=torch.float64).index_add_(0, prefixes, table.counts.double())
    rest = kept.index_add(0, prefixes, discounted, alpha=-1)
    if table.pruned is not None:
        kept.add_(table.pruned)
        rest.add_(table.pruned)
    # A prefix that nothing follows leaves all probability to the shorter context.
    alone = kept == 0
    kept.clamp_(min=1)
    backoffs = rest.div_(kept).masked_fill_(alone, 1.0).float()
    return discounted.div_(kept[prefixes]).float(), backoffs
