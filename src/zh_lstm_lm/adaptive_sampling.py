"""Draws from an adaptive softmax without computing the clusters that a draw does not need.

The head gives the probability of every frequent token and of every cluster of rare ones. A draw that falls on a
frequent token needs no more, unless temperature, top-k or top-p ask how the probability is shared out inside the
clusters. Where that question has the same answer for every possible share, it is not computed; the rest is settled by
computing it. All is exact: the tokens follow the very distribution that the processors give over the full scores.
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from zh_lstm_lm.output_layers import AdaptiveSoftmax

__all__ = ["AdaptiveSampler", "draw_from"]

Uniforms = Callable[[Tensor], Tensor]
"""Gives each of the rows that it is asked for its next random number in [0, 1). **Shape:** (rows,) to (rows,)."""


class AdaptiveSampler:
    r"""Draws one token a row.

    With the exponent *a* = 1 / temperature, a token weighs :math:`p^a`. A cluster of *n* tokens and probability *m*
    weighs between :math:`m^a \min(1, n^{1-a})` and :math:`m^a \max(1, n^{1-a})`, by the inequality of the power means.
    A token is drawn among the frequent ones and the clusters' upper bounds; if it falls on a cluster, that is computed,
    and the part of the bound that it does not fill is drawn again (rejection). A drawn token is kept if its being
    among the top-k, or inside the top-p, follows from the bounds; otherwise all clusters are computed to decide, and a
    token outside is drawn again.

    Args:
        layer: The output layer.
        allowed: Which tokens may be drawn. **Shape:** (vocab_size,), bool.
        temperature: As in `logits_processors`; above 0.
        top_k: As there.
        top_p: As there.
    """

    def __init__(
        self,
        layer: AdaptiveSoftmax,
        allowed: Tensor,
        *,
        temperature: float,
        top_k: int,
        top_p: float,
    ) -> None:
        self._layer = layer
        self._allowed = allowed
        self._exponent = 1.0 / temperature
        self._top_k, self._top_p = top_k, top_p
        self._bounds = list(itertools.pairwise(layer.cutoffs))  # of each tail
        sizes = torch.tensor([stop - start for start, stop in self._bounds], device=allowed.device)
        spread = sizes.float() ** (1.0 - self._exponent)
        whole = torch.stack([allowed[start:stop].all() for start, stop in self._bounds])
        self._most, self._least = spread.clamp(min=1.0), spread.clamp(max=1.0) * whole  # (tails,), times m**a
        self._sizes = sizes
        forbidden = torch.zeros(layer.head_size + len(self._bounds), device=allowed.device)
        forbidden[: layer.head_size].masked_fill_(~allowed[: layer.head_size], -torch.inf)
        self._forbidden = forbidden

    def draw(self, hidden: Tensor, uniforms: Uniforms) -> Tensor:
        """Draws a token for each row.

        Args:
            hidden: The last layer's states. **Shape:** (rows, hidden_size).
            uniforms: Random numbers; how many a row takes depends on that row alone.

        Returns:
            Ids. **Shape:** (rows,), int64.
        """
        head_size = self._layer.head_size
        head = torch.log_softmax(self._layer.head(hidden), dim=-1)  # (rows, head_size + tails)
        scaled = (head + self._forbidden) * self._exponent
        weights = (scaled - scaled.amax(dim=-1, keepdim=True)).exp_()
        powers = weights[:, head_size:].clone()  # m**a, (rows, tails)
        weights[:, head_size:] *= self._most
        lower = powers * self._least
        result = torch.empty(len(hidden), dtype=torch.int64, device=hidden.device)
        rows = torch.arange(len(hidden), device=hidden.device)  # that have no token yet
        while len(rows):
            sums = weights[rows].cumsum(dim=-1)
            point = uniforms(rows).to(sums.dtype) * sums[:, -1]
            place = torch.searchsorted(sums, point[:, None], right=True).squeeze(1).clamp_(max=weights.shape[1] - 1)
            tokens, weight = place, weights[rows, place]
            kept = weight > 0
            for number in sorted(set((place[place >= head_size] - head_size).tolist())):
                chosen = (place == head_size + number).nonzero().squeeze(1)
                among = rows[chosen]
                rest = point[chosen] - sums[chosen, head_size + number - 1]
                shares = self._shares(hidden[among], number) * powers[among, number, None]  # (chosen, size of the tail)
                inner = shares.cumsum(dim=-1)
                weights[among, head_size + number] = lower[among, number] = inner[:, -1]  # exact from now on
                within = torch.searchsorted(inner, rest[:, None], right=True).squeeze(1)
                kept[chosen] = within < shares.shape[1]
                within.clamp_(max=shares.shape[1] - 1)
                tokens = tokens.index_copy(0, chosen, within + self._bounds[number][0])
                weight = weight.index_copy(0, chosen, shares.gather(1, within[:, None]).squeeze(1))
            sure = self._surely_inside(rows, weight, weights, lower)
            unsure = (kept & ~sure).nonzero().squeeze(1)
            if len(unsure):
                among = rows[unsure]
                kept[unsure] = self._inside(hidden[among], weight[unsure], weights[among, :head_size], powers[among])
            result[rows[kept]] = tokens[kept]
            rows = rows[~kept]
        return result

    def _shares(self, hidden: Tensor, number: int) -> Tensor:
        """The tokens of a tail, each to the power *a* of its probability inside the tail; 0 where forbidden."""
        layer = self._layer
        within = torch.log_softmax(layer.tails[number](layer.narrow[number](hidden)), dim=-1)
        start, stop = self._bounds[number]
        return (within * self._exponent).exp_().masked_fill_(~self._allowed[start:stop], 0.0)

    def _inside(self, hidden: Tensor, weight: Tensor, head: Tensor, powers: Tensor) -> Tensor:
        """Whether a token of this weight is among the top-k and inside the top-p, by the weights of all tokens.

        Args:
            hidden: **Shape:** (rows, hidden_size).
            weight: The weight of each row's token. **Shape:** (rows,).
            head: The weights of the frequent tokens. **Shape:** (rows, head_size).
            powers: What a tail's shares are multiplied by. **Shape:** (rows, tails).
        """
        tails = (self._shares(hidden, number) * powers[:, number, None] for number in range(len(self._bounds)))
        weights = torch.cat([head, *tails], dim=-1)  # (rows, vocab_size)
        above = weights > weight[:, None]
        total = weights.sum(dim=-1)
        inside = torch.ones_like(weight, dtype=torch.bool)
        if 0 < self._top_k < weights.shape[1]:
            inside = above.sum(dim=-1) < self._top_k
            total = weights.topk(self._top_k, dim=-1).values.sum(dim=-1)
        if self._top_p < 1.0:  # of what top-k leaves
            inside &= (weights * above).sum(dim=-1) < self._top_p * total
        return inside

    def _surely_inside(self, rows: Tensor, weight: Tensor, upper: Tensor, lower: Tensor) -> Tensor:
        """Whether a token of this weight is kept however the clusters share their weight out. **Shape:** (rows,)."""
        if not self._top_k and self._top_p == 1.0:
            return torch.ones_like(rows, dtype=torch.bool)
        if self._top_k and self._top_p < 1.0:  # top-p of what top-k leaves
            return torch.zeros_like(rows, dtype=torch.bool)
        head_size = self._layer.head_size
        upper = upper[rows]
        above = upper > weight[:, None]  # for a cluster: some of its tokens may be
        if self._top_k:
            likelier = above[:, :head_size].sum(-1) + (above[:, head_size:] * self._sizes).sum(-1)
            return likelier < self._top_k
        least = upper[:, :head_size].sum(-1) + lower[rows].sum(-1)
        return (upper * above).sum(-1) < self._top_p * least


def draw_from(scores: Tensor, uniform: Tensor) -> Tensor:
    """Draws a token a row by inverting the distribution function, with one random number each.

    A token of probability 0 is never drawn: its step has no width.

    Args:
        scores: Logits. **Shape:** (rows, vocab_size).
        uniform: Random numbers in [0, 1). **Shape:** (rows,), float64.

    Returns:
        Ids. **Shape:** (rows,), int64.
    """
    steps = torch.softmax(scores, dim=-1, dtype=torch.float64).cumsum(dim=-1)
    return torch.searchsorted(steps, (uniform * steps[:, -1])[:, None], right=True).squeeze(1)
