"""Output layers: from hidden states to probabilities of the next token, in one softmax or in clusters by frequency."""

import itertools
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.models.layers import WordEmbedding
from zh_lstm_lm.models.softmax_log_probs import target_log_probs
from zh_lstm_lm.runtime.batch_invariant import BatchInvariantLinear
from zh_lstm_lm.runtime.devices import on_device

__all__ = ["DEFAULT_DIV_VALUE", "AdaptiveSoftmax", "FullSoftmax", "OutputLayer", "default_cutoffs", "tail_width"]

DEFAULT_DIV_VALUE = 1.5
"""Factor by which each tail of the adaptive softmax is narrower than the one before."""

# On the CPU the rows of each tail are padded to a multiple of this: oneDNN compiles a kernel for each number of rows, and that of
# a tail differs from update to update.
_TAIL_ROWS = 32


class OutputLayer(nn.Module):
    """The interface of an output layer: from hidden states to a distribution over the vocabulary."""

    hidden_size: int

    def scores(self, hidden: Tensor) -> Tensor:
        """Returns logits or log-probabilities of all tokens. **Shape:** (rows, hidden_size) to (rows, vocab_size)."""
        raise NotImplementedError

    def log_probs(self, hidden: Tensor) -> Tensor:
        """Returns log-probabilities of all tokens, in nats. Shapes as in `scores`."""
        raise NotImplementedError

    def target_log_probs(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Returns the log-probability of one token for each row, in nats; 0 where the target is `IGNORED`.

        Targets, **Shape:** (rows,), may stay on the CPU, and then no device is waited for to sort them into clusters.
        """
        raise NotImplementedError

    def reset_parameters(self, generator: torch.Generator, counts: Tensor) -> None:
        """Initialises the weights at random, and the biases with the log-frequencies of the tokens."""
        raise NotImplementedError

    def token_vectors(self) -> Iterator[Tensor]:
        """Yields the weights by which tokens are scored, those of the tokens in turn; shared ones are left out."""
        raise NotImplementedError

    def for_decoding(self) -> "OutputLayer":
        """Returns an equal layer for generation, without gradients, whose linear layers are batch-invariant."""
        raise NotImplementedError


class _Linear(nn.Linear):
    """`torch.nn.Linear` that draws no weights, since its output layer does; see `LSTMLayer.reset_parameters`."""

    @override
    def reset_parameters(self) -> None:
        pass


class FullSoftmax(OutputLayer):
    """One linear layer over the whole vocabulary.

    `tied` is the embedding whose weight is shared (Press and Wolf, 2017); None for a weight of its own. If the width of
    the embedding differs from `hidden_size`, a projection comes first.
    """

    def __init__(self, hidden_size: int, vocab_size: int, *, tied: nn.Embedding | None = None) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        projected = tied is not None and tied.embedding_dim != hidden_size
        self.projection: nn.Linear | None = (
            _Linear(hidden_size, tied.embedding_dim, bias=False) if tied and projected else None
        )
        self.weight: nn.Parameter | None = nn.Parameter(torch.empty(vocab_size, hidden_size)) if tied is None else None
        self.bias: nn.Parameter = nn.Parameter(torch.empty(vocab_size))
        # A tuple, so that the embedding is no submodule: its weight belongs to the model and is saved once.
        self._tied = (tied,)

    @property
    def shared_weight(self) -> Tensor:
        """The weight over the vocabulary, which may be that of the embedding. **Shape:** (vocab_size, width)."""
        (tied,) = self._tied
        weight = self.weight if tied is None else tied.weight
        assert weight is not None
        return weight

    def scores(self, hidden: Tensor) -> Tensor:
        """Returns logits, not normalised; see `OutputLayer.scores`."""
        return functional.linear(self._projected(hidden), self.shared_weight, self.bias)

    def log_probs(self, hidden: Tensor) -> Tensor:
        """See `OutputLayer.log_probs`."""
        return self.scores(hidden).log_softmax(dim=-1)

    def target_log_probs(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """See `OutputLayer.target_log_probs`."""
        targets = on_device(targets, hidden.device)
        return target_log_probs(self._projected(hidden), self.shared_weight, self.bias, targets)

    def _projected(self, hidden: Tensor) -> Tensor:
        projected: Tensor = hidden if self.projection is None else self.projection(hidden)
        return projected

    def reset_parameters(self, generator: torch.Generator, counts: Tensor) -> None:
        """See `OutputLayer.reset_parameters`."""
        with torch.no_grad():
            for weight in (self.weight, self.projection.weight if self.projection is not None else None):
                if weight is not None:
                    weight.normal_(0.0, weight.shape[1] ** -0.5, generator=generator)
            self.bias.copy_(_log_frequencies(counts))

    def token_vectors(self) -> Iterator[Tensor]:
        """See `OutputLayer.token_vectors`."""
        if self.weight is not None:
            yield self.weight

    def for_decoding(self) -> "OutputLayer":
        """See `OutputLayer.for_decoding`."""
        layers = [] if self.projection is None else [BatchInvariantLinear(self.projection.weight)]
        return _DecodingSoftmax(nn.Sequential(*layers, BatchInvariantLinear(self.shared_weight, self.bias)))


class _DecodingSoftmax(OutputLayer):
    """A `FullSoftmax` for decoding, over batch-invariant layers."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self._layers = layers

    def scores(self, hidden: Tensor) -> Tensor:
        scores: Tensor = self._layers(hidden)
        return scores

    def log_probs(self, hidden: Tensor) -> Tensor:
        return self.scores(hidden).log_softmax(dim=-1)


class AdaptiveSoftmax(OutputLayer):
    """A softmax in clusters: frequent tokens in the head, rare ones in tails of falling width (Grave et al., 2017).

    The ids must be ordered by falling frequency. The head holds the tokens below the first cutoff and one entry for
    each tail; the probability of a token in a tail is that of its tail times its own within the tail. A token costs as
    much as the head and the one tail that it falls into. Tail *i*, counted from 1, begins at its cutoff and is
    ``hidden_size / div_value**i`` wide (at least 8).
    """

    def __init__(
        self, hidden_size: int, vocab_size: int, cutoffs: Sequence[int], *, div_value: float = DEFAULT_DIV_VALUE
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.cutoffs: tuple[int, ...] = (*cutoffs, vocab_size)
        self.head_size: int = cutoffs[0]
        self.head: nn.Linear = _Linear(hidden_size, self.head_size + len(cutoffs))
        self.narrow: nn.ModuleList = nn.ModuleList()
        self.tails: nn.ModuleList = nn.ModuleList()
        for number, (start, stop) in enumerate(itertools.pairwise(self.cutoffs), start=1):
            width = tail_width(hidden_size, number, div_value)
            self.narrow.append(_Linear(hidden_size, width, bias=False))
            self.tails.append(_Linear(width, stop - start))

    def clusters(self) -> Iterator[tuple[nn.Linear, nn.Linear]]:
        """Yields for each tail the projection of the hidden states and the layer over its tokens."""
        yield from cast("Iterator[tuple[nn.Linear, nn.Linear]]", zip(self.narrow, self.tails, strict=True))

    def scores(self, hidden: Tensor) -> Tensor:
        """Returns log-probabilities; see `OutputLayer.scores`."""
        head = self.head(hidden).log_softmax(dim=-1)  # (rows, head_size + tails)
        parts = [head[:, : self.head_size]]
        for number, (narrow, tail) in enumerate(self.clusters()):
            within = tail(narrow(hidden)).log_softmax(dim=-1)  # (rows, size of the tail)
            parts.append(within + head[:, self.head_size + number, None])
        return torch.cat(parts, dim=-1)

    def log_probs(self, hidden: Tensor) -> Tensor:
        """See `OutputLayer.log_probs`."""
        return self.scores(hidden)

    def target_log_probs(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """See `OutputLayer.target_log_probs`."""
        device = hidden.device
        bounds = torch.tensor(self.cutoffs[:-1], device=targets.device)
        cluster = torch.bucketize(targets, bounds, right=True)  # (rows,), 0 for the head and for IGNORED
        entry = torch.where(cluster > 0, self.head_size - 1 + cluster, targets)
        result = target_log_probs(hidden, self.head.weight, self.head.bias, on_device(entry, device))
        in_head, *sizes = torch.bincount(cluster, minlength=len(self.cutoffs)).tolist()
        in_tails = cluster.argsort(stable=True)[in_head:]
        if not len(in_tails):
            return result
        places, blocks = _padded_places(sizes, _TAIL_ROWS if device.type == "cpu" else 1, targets.device)
        positions = (targets - bounds[(cluster - 1).clamp(min=0)]).index_select(0, in_tails)  # of tokens in their tails
        chosen, tokens = (
            on_device(each.new_zeros(sum(blocks)).index_copy(0, places, each), device) for each in (in_tails, positions)
        )
        # Rows are selected once, tail by tail, so that their gradient is a single scatter as well.
        states, classes = torch.split(hidden.index_select(0, chosen), blocks), torch.split(tokens, blocks)
        within = [
            target_log_probs(narrow(states[number]), tail.weight, tail.bias, classes[number], all_counted=True)
            for number, (narrow, tail) in enumerate(self.clusters())
            if sizes[number]
        ]
        found = torch.cat(within).index_select(0, on_device(places, device))
        return result.index_add(0, on_device(in_tails, device), found)

    def reset_parameters(self, generator: torch.Generator, counts: Tensor) -> None:
        """See `OutputLayer.reset_parameters`."""
        smoothed = _smoothed(counts)
        parts = [smoothed[start:stop] for start, stop in itertools.pairwise(self.cutoffs)]
        head = torch.cat([smoothed[: self.head_size], torch.stack([part.sum() for part in parts])])
        with torch.no_grad():
            for linear in self.modules():
                if isinstance(linear, nn.Linear):
                    linear.weight.normal_(0.0, linear.in_features**-0.5, generator=generator)
            for linear, part in zip((self.head, *self.tails), (head, *parts), strict=True):
                linear.bias.copy_(_log_frequencies(part))

    def token_vectors(self) -> Iterator[Tensor]:
        """See `OutputLayer.token_vectors`."""
        yield self.head.weight[: self.head_size]
        yield from (tail.weight for _, tail in self.clusters())

    def for_decoding(self) -> "OutputLayer":
        """See `OutputLayer.for_decoding`."""
        return _DecodingAdaptiveSoftmax(self)


class SharedEmbedding(WordEmbedding):
    """A word embedding whose vectors of tokens are those of an adaptive softmax, projected (Baevski and Auli, 2019).

    `weight` holds the projections, one for each cluster. Vectors of characters are added as in `WordEmbedding`. **Shape**
    of `weight`: (sum of the clusters' widths, embedding_dim).
    """

    def __init__(
        self, vocabulary: Vocabulary, embedding_dim: int, output: AdaptiveSoftmax, *, characters: bool = True
    ) -> None:
        super().__init__(vocabulary, embedding_dim, characters=characters)
        # A tuple, so that the output layer is no submodule here: its weights are saved once.
        self._output = (output,)
        self._widths = [weight.shape[1] for weight in output.token_vectors()]
        self.weight = nn.Parameter(torch.empty(sum(self._widths), embedding_dim))

    def _own_vectors(self, ids: Tensor) -> Tensor:
        (output,) = self._output
        clusters = list(zip(output.token_vectors(), torch.split(self.weight, self._widths), strict=True))
        if ids.device.type != "cpu":  # it would be waited for to tell the clusters apart
            whole = torch.cat([vectors @ projection for vectors, projection in clusters])
            return functional.embedding(ids, whole)
        flat, starts = ids.flatten().contiguous(), (0, *output.cutoffs[:-1])
        cluster = torch.bucketize(flat, torch.tensor(starts[1:], device=ids.device), right=True)
        order, sizes = cluster.argsort(stable=True), torch.bincount(cluster, minlength=len(starts)).tolist()
        parts = [
            functional.embedding(flat[rows] - start, vectors) @ projection
            for (vectors, projection), start, rows in zip(clusters, starts, torch.split(order, sizes), strict=True)
        ]
        return torch.cat(parts).index_select(0, order.argsort()).view(*ids.shape, self.embedding_dim)

    @torch.no_grad()
    def initialise_vectors(self, vectors: Tensor, rotations: Sequence[Tensor], generator: torch.Generator) -> None:
        """See `WordEmbedding.initialise_vectors`; the projections undo the rotations of the output layer's vectors."""
        self.weight[:, : vectors.shape[1]] = torch.cat([rotation.t() for rotation in rotations])

    def tables(self) -> list[nn.Parameter]:
        """See `WordEmbedding.tables`."""
        return [] if self.characters is None else [self.characters]

    @torch.no_grad()
    def for_decoding(self) -> nn.Embedding:
        """See `WordEmbedding.for_decoding`. All vectors are computed once."""
        vectors = self(torch.arange(self.num_embeddings, device=self.weight.device))
        return nn.Embedding(self.num_embeddings, self.embedding_dim, _weight=vectors)


class _DecodingAdaptiveSoftmax(OutputLayer):
    """An `AdaptiveSoftmax` for decoding, over batch-invariant layers.

    The head and all projections are one product, since they have the same input.
    """

    def __init__(self, layer: AdaptiveSoftmax) -> None:
        super().__init__()
        self._head_size, self._cutoffs = layer.head_size, layer.cutoffs
        clusters = list(layer.clusters())
        narrow = [projection.weight for projection, _ in clusters]
        self._sizes = [len(layer.head.weight), *map(len, narrow)]
        bias = torch.cat([layer.head.bias, layer.head.bias.new_zeros(sum(self._sizes[1:]))])
        self._first = BatchInvariantLinear(torch.cat([layer.head.weight, *narrow]), bias)
        self._tails = nn.ModuleList(BatchInvariantLinear(tail.weight, tail.bias) for _, tail in clusters)

    def log_probs(self, hidden: Tensor) -> Tensor:
        head, *narrowed = torch.split(self._first(hidden), self._sizes, dim=1)
        head = head.log_softmax(dim=-1)
        result = hidden.new_empty(len(hidden), self._cutoffs[-1])
        result[:, : self._head_size] = head[:, : self._head_size]
        bounds = itertools.pairwise(self._cutoffs)
        for number, (tail, width, (start, stop)) in enumerate(zip(self._tails, narrowed, bounds, strict=True)):
            within = tail(width).log_softmax(dim=-1)
            torch.add(within, head[:, self._head_size + number, None], out=result[:, start:stop])
        return result


def _padded_places(sizes: Sequence[int], multiple: int, device: torch.device) -> tuple[Tensor, list[int]]:
    """Pads the rows of each tail to a multiple; returns the place of each row, and the padded number of rows of each tail.

    **Shape** of the places: (sum of `sizes`,), int64.
    """
    blocks = [-(-size // multiple) * multiple for size in sizes]
    padding = torch.tensor([0, *itertools.accumulate(map(int.__sub__, blocks, sizes))][:-1], device=device)
    before = padding.repeat_interleave(torch.tensor(sizes, device=device))
    return torch.arange(sum(sizes), device=device) + before, blocks


def tail_width(hidden_size: int, number: int, div_value: float = DEFAULT_DIV_VALUE) -> int:
    """Returns the width of a tail of the adaptive softmax; tails count from 1."""
    return min(hidden_size, max(8, int(hidden_size * (1 / div_value) ** number)))


_WIDEST_TAIL = 16_000


def default_cutoffs(vocab_size: int) -> tuple[int, ...]:
    """Returns the default cutoffs of an adaptive softmax: 500, doubling to 16,000, then every 16,000.

    By Zipf's law a cluster from *c* to *rc* holds a proportion of the tokens that grows with log *r*, and each of them
    costs (*r* - 1) *c* scores. Many clusters therefore cost far less than few wide ones, above all among rare words.
    """
    cutoffs = [min(500, max(1, vocab_size // 2))]
    while (following := cutoffs[-1] + min(cutoffs[-1], _WIDEST_TAIL)) < 0.85 * vocab_size:
        cutoffs.append(following)
    return tuple(cutoffs)


def _smoothed(counts: Tensor) -> Tensor:
    """Counts half an occurrence for tokens that never occurred."""
    return counts.float().clamp(min=0.5)


def _log_frequencies(counts: Tensor) -> Tensor:
    smoothed = _smoothed(counts)
    return (smoothed / smoothed.sum()).log()
