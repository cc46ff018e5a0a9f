"""From hidden states to probabilities of the next token: over all at once, or in clusters by frequency."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from zh_lstm_lm.batches import IGNORED
from zh_lstm_lm.devices import autocast_dtype, on_device
from zh_lstm_lm.rowwise import row_sums

__all__ = [
    "DEFAULT_DIV_VALUE",
    "AdaptiveSoftmax",
    "FullSoftmax",
    "Linear",
    "OutputLayer",
    "default_cutoffs",
    "tail_width",
]

Linear = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""What multiplies, called as `torch.nn.functional.linear` is, with rows, weight and bias."""

DEFAULT_DIV_VALUE = 1.5
"""By how much each tail of the adaptive softmax is narrower than the one before."""

_NARROW = (torch.bfloat16, torch.float16)  # too few digits for sums


class _TargetLogProbs(torch.autograd.Function):
    """Log-probability of one class a row of a linear layer's softmax.

    What `cross_entropy` over `linear` gives, with fewer passes over the logits, which are most of the memory traffic of
    training: each is exponentiated once, and the probabilities take the place of the logits, since a second tensor of
    such a size would be fresh pages of memory in every step. On CUDA, where memory is kept and launches cost more than
    small work, it is one kernel's log-softmax.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - PyTorch gives them by place
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, linear: Linear
    ) -> Tensor:
        logits = linear(hidden, weight, bias.to(hidden.dtype))  # (rows, classes)
        chosen, ctx.logs = targets[:, None], logits.is_cuda
        if logits.is_cuda:
            sums = torch.float32 if logits.dtype in _NARROW else logits.dtype
            log_probs = logits.log_softmax(1, dtype=sums)
            ctx.save_for_backward(hidden, weight, targets, log_probs)
            return log_probs.gather(1, chosen).squeeze(1)
        if logits.dtype in _NARROW:
            logits = logits.float()
        highest, of_chosen = logits.amax(1, keepdim=True), logits.gather(1, chosen)
        probs = logits.sub_(highest).exp_()
        total = row_sums(probs)[:, None]
        ctx.save_for_backward(hidden, weight, targets, probs.div_(total))
        return (of_chosen - highest - total.log()).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        hidden, weight, targets, saved = ctx.saved_tensors
        probs = saved.exp() if ctx.logs else saved
        of_logits = probs * -gradient[:, None]  # g · (one-hot − p), (rows, classes)
        of_logits.scatter_add_(1, targets[:, None], gradient[:, None])
        of_bias = of_logits.sum(0)
        of_logits = of_logits.to(hidden.dtype)
        return of_logits @ weight, of_logits.t() @ hidden, of_bias, None, None


def target_log_probs(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    *,
    linear: Linear = functional.linear,
    all_counted: bool = False,
) -> Tensor:
    """Log-probability of one class a row under a softmax over a linear layer; 0 where the target is `IGNORED`.

    Inside `torch.autocast` the matrix products are in its type, all else in float32.

    Args:
        hidden: **Shape:** (rows, width).
        weight: **Shape:** (classes, width).
        bias: **Shape:** (classes,).
        targets: **Shape:** (rows,).
        linear: What multiplies.
        all_counted: Whether none of them is `IGNORED`, which saves asking.

    Returns:
        In nats. **Shape:** (rows,).
    """
    low = autocast_dtype(hidden.device)
    if low is not None:
        hidden, weight = hidden.to(low), weight.to(low)  # here, so that the gradient's products are in it too
    counted = None if all_counted else targets != IGNORED
    classes = targets if counted is None else targets * counted
    log_probs: Tensor = _TargetLogProbs.apply(hidden, weight, bias, classes, linear)  # type: ignore[no-untyped-call]
    return log_probs if counted is None else log_probs * counted


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
        head = functional.log_softmax(
            linear(hidden, self.head.weight, self.head.bias), dim=-1
        )  # (rows, head_size + tails)
        parts = [head[:, : self.head_size]]
        for number, (narrow, tail) in enumerate(self.clusters()):
            narrowed = linear(hidden, narrow.weight, None)
            within = functional.log_softmax(
                linear(narrowed, tail.weight, tail.bias), dim=-1
            )  # (rows, size of the tail)
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
