"""Draws from an adaptive softmax without computing the clusters that a draw does not need.

The head gives the probability of every frequent token and of every cluster of rare ones. A draw that falls on a
frequent token needs no more, unless a cut-off asks how the probability is shared out inside the clusters. Where that
question has the same answer for every possible share, they are not computed; otherwise they are computed one by one,
the one that leaves most open first, until it has one. All is exact: the tokens follow the very distribution that the
processors give over the full scores.
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from zh_lstm_lm.output_layers import AdaptiveSoftmax

__all__ = ["AdaptiveSampler", "draw_from"]

Uniforms = Callable[[list[int]], list[float]]
"""Gives each of the rows that it is asked for its next random number in [0, 1)."""

_LARGEST_EXPONENT = 1e30  # of temperatures next to 0, whose smallest weights are 0 in float32


class AdaptiveSampler:
    r"""Draws one token a row.

    With the exponent *a* = 1 / temperature, a token weighs :math:`p^a`. A cluster of *n* tokens and probability *m*
    weighs between :math:`m^a \min(1, n^{1-a})` and :math:`m^a \max(1, n^{1-a})`, by the inequality of the power means,
    and none of its tokens more than :math:`m^a`. A token is drawn among the frequent ones and the clusters' upper
    bounds; if it falls on a cluster, that is computed, and the part of the bound that it does not fill is drawn again
    (rejection). So is a token outside of the top-k or the top-p.

    Args:
        layer: The output layer.
        allowed: Which tokens may be drawn. **Shape:** (vocab_size,), bool.
        temperature: As in `logits_processors`; above 0.
        top_k: As there; 0 for none.
        top_p: As there; 1 for none.
        min_p: As there; 0 for none. Not together with the other two.
    """

    def __init__(
        self,
        layer: AdaptiveSoftmax,
        allowed: Tensor,
        *,
        temperature: float,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
    ) -> None:
        self._layer = layer
        self._exponent = min(1.0 / temperature, _LARGEST_EXPONENT)
        self._top_k, self._top_p, self._min_p = top_k, top_p, min_p
        self._starts = layer.cutoffs[:-1]
        parts = [allowed[start:stop] for start, stop in itertools.pairwise(layer.cutoffs)]
        self._allowed = [None if part.all() else part for part in parts]  # of each tail; None for all of it
        self._sizes = torch.tensor([len(part) for part in parts], device=allowed.device)
        spread = self._sizes.float() ** (1.0 - self._exponent)
        whole = torch.stack([part.all() for part in parts])
        self._most, self._least = spread.clamp(min=1.0), spread.clamp(max=1.0) * whole  # (tails,), times m**a
        self._forbidden = torch.zeros(layer.head_size + len(parts), device=allowed.device)
        self._forbidden[: layer.head_size].masked_fill_(~allowed[: layer.head_size], -torch.inf)

    def draw(self, hidden: Tensor, uniforms: Uniforms) -> list[int]:
        """Draws a token for each row.

        Args:
            hidden: The last layer's states. **Shape:** (rows, hidden_size).
            uniforms: Random numbers; how many a row takes depends on that row alone.

        Returns:
            An id for each row.
        """
        head_size = self._layer.head_size
        scores = self._layer.head(hidden) + self._forbidden  # (rows, head_size + tails)
        if self._exponent == 1.0:
            upper = scores.softmax(dim=-1)
        else:
            upper = scores.sub_(scores.amax(dim=-1, keepdim=True)).mul_(self._exponent).exp_()
        powers = upper[:, head_size:].clone()  # m**a, (rows, tails)
        if self._exponent != 1.0:
            upper[:, head_size:] *= self._most
        lower = powers * self._least
        least = self._cut(hidden, upper, lower, powers) if self._min_p else None
        cut_off = bool(self._top_k) or self._top_p < 1.0
        result = [0] * len(hidden)
        rows = list(range(len(hidden)))  # that have no token yet
        while rows:
            among = slice(None) if len(rows) == len(hidden) else torch.tensor(rows, device=hidden.device)
            weights = upper[among]
            sums = weights.cumsum(dim=-1)
            random = torch.tensor(uniforms(rows), dtype=sums.dtype, device=sums.device)
            points = (random * sums[:, -1])[:, None]
            place = torch.searchsorted(sums, points, right=True).clamp_(max=sums.shape[1] - 1)  # (rows, 1)
            entries = place.squeeze(1).tolist()
            drawn = weights.gather(1, place).squeeze(1) if cut_off else None  # the weight of each row's token
            tokens, kept = [*entries], [True] * len(rows)
            for number in {entry - head_size for entry in entries if entry >= head_size}:
                chosen = [order for order, entry in enumerate(entries) if entry == head_size + number]
                here: slice | Tensor = slice(None)
                these: slice | Tensor = slice(None)
                if len(chosen) < len(hidden):
                    here = torch.tensor([rows[order] for order in chosen], device=hidden.device)
                    these = torch.tensor(chosen, device=hidden.device)
                shares = self._shares(hidden[here], number, powers[here], least[here] if least is not None else None)
                inner = shares.cumsum(dim=-1)  # (chosen, size of the tail)
                upper[here, head_size + number] = lower[here, number] = inner[:, -1]  # exact from now on
                rest = points[these] - sums[these, head_size + number - 1, None]
                within = torch.searchsorted(inner, rest, right=True)
                if drawn is not None:
                    drawn[these] = shares.gather(1, within.clamp(max=shares.shape[1] - 1)).squeeze(1)
                for order, place_within in zip(chosen, within.squeeze(1).tolist(), strict=True):
                    tokens[order] = self._starts[number] + place_within
                    kept[order] = place_within < shares.shape[1]
            if drawn is not None:
                settle = self._inside_both if self._top_k and self._top_p < 1.0 else self._inside
                bounds = upper[among], lower[among]
                inside = settle(hidden[among], drawn, *bounds, powers[among])
                if len(rows) < len(hidden):
                    upper[among], lower[among] = bounds  # which may be exact by now
                kept = [was and now for was, now in zip(kept, inside.tolist(), strict=True)]
            for order, row in enumerate(rows):
                if kept[order]:
                    result[row] = tokens[order]
            rows = [row for order, row in enumerate(rows) if not kept[order]]
        return result

    def _shares(self, hidden: Tensor, number: int, powers: Tensor, least: Tensor | None = None) -> Tensor:
        """The weights of a tail's tokens; 0 where forbidden, or below `least`.

        Args:
            hidden: **Shape:** (rows, hidden_size).
            number: Of the tail.
            powers: What all tails' shares are multiplied by. **Shape:** (rows, tails).
            least: **Shape:** (rows,).

        Returns:
            **Shape:** (rows, size of the tail).
        """
        layer = self._layer
        within = layer.tails[number](layer.narrow[number](hidden))
        if self._exponent == 1.0:
            shares: Tensor = within.softmax(dim=-1)
        else:
            shares = within.log_softmax(dim=-1).mul_(self._exponent).exp_()
        shares.mul_(powers[:, number, None])
        allowed = self._allowed[number]
        if allowed is not None:
            shares.mul_(allowed)
        return shares if least is None else shares.masked_fill_(shares < least[:, None], 0.0)

    def _cut(self, hidden: Tensor, upper: Tensor, lower: Tensor, powers: Tensor) -> Tensor:
        """Takes out what is below min-p's threshold, in place, and returns the threshold. **Shape:** (rows,)."""
        head = upper[:, : self._layer.head_size]
        highest = head.amax(dim=-1)
        for number in (powers > highest[:, None]).any(dim=0).nonzero().squeeze(1).tolist():
            rows = (powers[:, number] > highest).nonzero().squeeze(1)  # whose likeliest token may be in that tail
            if len(rows):
                of_tail = self._shares(hidden[rows], number, powers[rows]).amax(dim=-1)
                highest[rows] = torch.maximum(highest[rows], of_tail)
        least = highest * self._min_p
        head.masked_fill_(head < least[:, None], 0.0)
        upper[:, self._layer.head_size :].masked_fill_(powers < least[:, None], 0.0)
        lower.zero_()  # a cluster may lose all of its tokens
        return least

    def _inside(self, hidden: Tensor, weight: Tensor, upper: Tensor, lower: Tensor, powers: Tensor) -> Tensor:
        """Whether a token of this weight is among the top-k, or inside the top-p.

        It is where what weighs more falls short of `top_k` tokens, or of the share `top_p` of all weight. Clusters are
        computed until the bounds of these sums have settled it; the bounds of those are made exact.

        Args:
            hidden: **Shape:** (rows, hidden_size).
            weight: The weight of each row's token. **Shape:** (rows,).
            upper: The weights of the frequent tokens, and upper bounds of the tails'. **Shape:** (rows, head_size + tails).
            lower: Lower bounds of the tails' weights. **Shape:** (rows, tails).
            powers: The most that a token of a tail may weigh. **Shape:** (rows, tails).

        Returns:
            **Shape:** (rows,), bool.
        """
        head, upper = upper[:, : self._layer.head_size], upper[:, self._layer.head_size :]
        known = upper, lower
        above = head > weight[:, None]
        of_head = above.sum(dim=-1) if self._top_k else (head * above).sum(dim=-1)  # what surely weighs more
        total = head.sum(dim=-1)
        most = (powers > weight[:, None]) * (self._sizes if self._top_k else upper)  # of each tail above the token
        least = torch.zeros_like(most)
        result = torch.zeros_like(weight, dtype=torch.bool)
        rows = torch.arange(len(weight), device=weight.device)  # that are not settled
        while True:
            surely, perhaps = of_head + least.sum(dim=-1), of_head + most.sum(dim=-1)
            if self._top_k:
                inside, outside = perhaps < self._top_k, surely >= self._top_k
            else:
                inside = perhaps < self._top_p * (total + lower.sum(dim=-1))
                outside = surely >= self._top_p * (total + upper.sum(dim=-1))
            result[rows[inside]] = True
            open_ = (~(inside | outside)).nonzero().squeeze(1)
            if not len(open_):
                return result
            if len(open_) < len(rows):
                rows, of_head, total, weight, hidden = (
                    tensor[open_] for tensor in (rows, of_head, total, weight, hidden)
                )
                upper, lower, powers, most, least = (tensor[open_] for tensor in (upper, lower, powers, most, least))
            gaps = (most - least) + (0 if self._top_k else upper - lower)
            number = int(gaps.sum(dim=0).argmax())
            shares = self._shares(hidden, number, powers)
            over = shares > weight[:, None]
            upper[:, number] = lower[:, number] = shares.sum(dim=-1)
            if len(rows) < len(result):
                known[0][rows, number] = known[1][rows, number] = lower[:, number]
            most[:, number] = least[:, number] = over.sum(dim=-1) if self._top_k else (shares * over).sum(dim=-1)

    def _inside_both(self, hidden: Tensor, weight: Tensor, upper: Tensor, lower: Tensor, powers: Tensor) -> Tensor:
        """As `_inside`, for the top-p of what top-k leaves, by the weights of all tokens."""
        tails = (self._shares(hidden, number, powers) for number in range(len(self._sizes)))
        weights = torch.cat([upper[:, : self._layer.head_size], *tails], dim=-1)  # (rows, vocab_size)
        above = weights > weight[:, None]
        total = weights.topk(min(self._top_k, weights.shape[1]), dim=-1).values.sum(dim=-1)
        return (above.sum(dim=-1) < self._top_k) & ((weights * above).sum(dim=-1) < self._top_p * total)


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
