"""From hidden states to probabilities of the next token: over all at once, or in clusters by frequency."""

import itertools
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from zh_lstm_lm.models.softmax_log_probs import Linear, target_log_probs
from zh_lstm_lm.runtime.devices import on_device

__all__ = ["DEFAULT_DIV_VALUE", "AdaptiveSoftmax", "FullSoftmax", "OutputLayer", "default_cutoffs", "tail_width"]

DEFAULT_DIV_VALUE = 1.5
"""By how much each tail of the adaptive softmax is narrower than the one before."""


class OutputLayer(nn.Module):
    """What a model asks of its last layer.

    `tied` is the embedding's weight where the layer shares it, else None.

    Attributes:
        hidden_size: Width of the states that it takes.
    """

    hidden_size: int

    def scores(self, hidden: Tensor, tied: Tensor | None = None, linear: Linear = functional.linear) -> Tensor:
        """Logits or log-probabilities of all tokens.

        Args:
            hidden: **Shape:** (rows, hidden_size).
            tied: The shared weight. **Shape:** (vocab_size, embedding_dim).
            linear: What multiplies; another than PyTorch's knows no gradients.

        Returns:
            **Shape:** (rows, vocab_size).
        """
        raise NotImplementedError

    def target_log_probs(
        self, hidden: Tensor, targets: Tensor, tied: Tensor | None = None, linear: Linear = functional.linear
    ) -> Tensor:
        """Log-probability, in nats, of one token a row; 0 where the target is `IGNORED`.

        Args:
            hidden: **Shape:** (rows, hidden_size).
            targets: Token ids; on the CPU they may stay there, and then nothing waits for a device to find out where
                they fall. **Shape:** (rows,).
            tied: The shared weight. **Shape:** (vocab_size, embedding_dim).
            linear: What multiplies; another than PyTorch's knows no gradients.

        Returns:
            **Shape:** (rows,).
        """
        raise NotImplementedError

    def reset_parameters(self, generator: torch.Generator, counts: Tensor) -> None:
        """Draws new weights; the biases start at the logarithm of the tokens' frequency.

        Args:
            generator: Where the weights are drawn from.
            counts: How often each token occurs in the training text. **Shape:** (vocab_size,).
        """
        raise NotImplementedError


class FullSoftmax(OutputLayer):
    """One linear layer over the whole vocabulary.

    Args:
        hidden_size: Width of the hidden states.
        vocab_size: Number of tokens.
        tied_dim: Width of the embedding whose weight is shared (Press and Wolf, 2017); None for a weight of its own.
            Where it differs from `hidden_size`, a projection comes first.
    """

    def __init__(self, hidden_size: int, vocab_size: int, *, tied_dim: int | None = None) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.projection = nn.Linear(hidden_size, tied_dim, bias=False) if tied_dim not in (None, hidden_size) else None
        self.weight = nn.Parameter(torch.empty(vocab_size, hidden_size)) if tied_dim is None else None
        self.bias = nn.Parameter(torch.empty(vocab_size))

    def scores(self, hidden: Tensor, tied: Tensor | None = None, linear: Linear = functional.linear) -> Tensor:
        """Logits, not normalised. See `OutputLayer.scores`."""
        hidden, weight = self._projected(hidden, tied, linear)
        return linear(hidden, weight, self.bias)

    def _projected(self, hidden: Tensor, tied: Tensor | None, linear: Linear) -> tuple[Tensor, Tensor]:
        if self.projection is not None:
            hidden = linear(hidden, self.projection.weight, None)
        weight = tied if self.weight is None else self.weight
        assert weight is not None
        return hidden, weight

    def target_log_probs(
        self, hidden: Tensor, targets: Tensor, tied: Tensor | None = None, linear: Linear = functional.linear
    ) -> Tensor:
        """See `OutputLayer.target_log_probs`."""
        hidden, weight = self._projected(hidden, tied, linear)
        return target_log_probs(hidden, weight, self.bias, on_device(targets, hidden.device), linear=linear)

    def reset_parameters(self, generator: torch.Generator, counts: Tensor) -> None:
        """See `OutputLayer.reset_parameters`."""
        with torch.no_grad():
            for weight in (self.weight, self.projection.weight if self.projection is not None else None):
                if weight is not None:
                    weight.normal_(0.0, weight.shape[1] ** -0.5, generator=generator)
            self.bias.copy_(_log_frequencies(counts))


class AdaptiveSoftmax(OutputLayer):
    """A softmax in clusters: frequent tokens in the head, rare ones in tails of falling width (Grave et al., 2017).

    The ids must be ordered by falling frequency. The head holds the tokens below the first cutoff and one entry for
    each tail; the probability of a token in a tail is that of its tail times its own within it. The cost of a token is
    that of the head and of the one tail it falls in.

    Args:
        hidden_size: Width of the hidden states.
        vocab_size: Number of tokens.
        cutoffs: First id of each tail, rising.
        div_value: Tail *i*, counted from 1, is ``hidden_size / div_value**i`` wide (at least 8).
    """

    def __init__(
        self, hidden_size: int, vocab_size: int, cutoffs: Sequence[int], *, div_value: float = DEFAULT_DIV_VALUE
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.cutoffs = (*cutoffs, vocab_size)
        self.head_size = cutoffs[0]
        self.head = nn.Linear(hidden_size, self.head_size + len(cutoffs))
        self.narrow, self.tails = nn.ModuleList(), nn.ModuleList()
        for number, (start, stop) in enumerate(itertools.pairwise(self.cutoffs), start=1):
            width = tail_width(hidden_size, number, div_value)
            self.narrow.append(nn.Linear(hidden_size, width, bias=False))
            self.tails.append(nn.Linear(width, stop - start))

    def clusters(self) -> Iterator[tuple[nn.Linear, nn.Linear]]:
        """For each tail the layer that narrows the hidden states, and the one over its tokens."""
        yield from cast("Iterator[tuple[nn.Linear, nn.Linear]]", zip(self.narrow, self.tails, strict=True))

    def scores(self, hidden: Tensor, tied: Tensor | None = None, linear: Linear = functional.linear) -> Tensor:
        """Log-probabilities. See `OutputLayer.scores`."""
        head = linear(hidden, self.head.weight, self.head.bias).log_softmax(dim=-1)  # (rows, head_size + tails)
        parts = [head[:, : self.head_size]]
        for number, (narrow, tail) in enumerate(self.clusters()):
            narrowed = linear(hidden, narrow.weight, None)
            within = linear(narrowed, tail.weight, tail.bias).log_softmax(dim=-1)  # (rows, size of the tail)
            parts.append(within + head[:, self.head_size + number, None])
        return torch.cat(parts, dim=-1)

    def target_log_probs(
        self, hidden: Tensor, targets: Tensor, tied: Tensor | None = None, linear: Linear = functional.linear
    ) -> Tensor:
        """See `OutputLayer.target_log_probs`."""
        device = hidden.device
        bounds = torch.tensor(self.cutoffs[:-1], device=targets.device)
        cluster = torch.bucketize(targets, bounds, right=True)  # (rows,), 0 for the head and for IGNORED
        entry = torch.where(cluster > 0, self.head_size - 1 + cluster, targets)
        result = target_log_probs(hidden, self.head.weight, self.head.bias, on_device(entry, device), linear=linear)
        in_head, *sizes = torch.bincount(cluster, minlength=len(self.cutoffs)).tolist()
        in_tails = cluster.argsort(stable=True)[in_head:]  # tail by tail; taken at once, so that their gradient is too
        if not len(in_tails):
            return result
        rows = on_device(in_tails, device)
        states = torch.split(hidden.index_select(0, rows), sizes)
        places = targets - bounds[(cluster - 1).clamp(min=0)]  # of each token in its tail
        tokens = torch.split(on_device(places.index_select(0, in_tails), device), sizes)
        within = [
            target_log_probs(
                linear(states[number], narrow.weight, None),
                tail.weight,
                tail.bias,
                tokens[number],
                linear=linear,
                all_counted=True,
            )
            for number, (narrow, tail) in enumerate(self.clusters())
            if sizes[number]
        ]
        return result.index_add(0, rows, torch.cat(within))

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


def tail_width(hidden_size: int, number: int, div_value: float = DEFAULT_DIV_VALUE) -> int:
    """The width of an adaptive softmax's tail, counted from 1."""
    return min(hidden_size, max(8, int(hidden_size * (1 / div_value) ** number)))


_WIDEST_TAIL = 16_000


def default_cutoffs(vocab_size: int) -> tuple[int, ...]:
    """The cutoffs of an adaptive softmax where none are given: 500, doubling to 16,000, then every 16,000.

    By Zipf's law a cluster from *c* to *rc* holds a share of the tokens that grows with log *r*, and each of them costs
    (*r* - 1) *c* scores. So many clusters cost far less than few wide ones, above all among the rarest words.
    """
    cutoffs = [min(500, max(1, vocab_size // 2))]
    while (following := cutoffs[-1] + min(cutoffs[-1], _WIDEST_TAIL)) < 0.85 * vocab_size:
        cutoffs.append(following)
    return tuple(cutoffs)


def _smoothed(counts: Tensor) -> Tensor:
    """Counts with half an occurrence for tokens that never occurred."""
    return counts.float().clamp(min=0.5)


def _log_frequencies(counts: Tensor) -> Tensor:
    smoothed = _smoothed(counts)
    return (smoothed / smoothed.sum()).log()
