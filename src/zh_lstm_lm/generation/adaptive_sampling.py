"""Draws from an adaptive softmax without computing the clusters that a draw does not need.

The head gives the probability of every frequent token and of every cluster of rare ones. A draw that falls on a
frequent token needs no more, unless a cut-off asks how the probability is shared out inside the clusters. Where that
question has the same answer for every possible share, they are not computed; otherwise they are computed one by one,
the one that leaves most open first, until it has one. All is exact: the tokens follow the very distribution that the
processors give over the full scores (but that all tokens stay that are exactly as likely as the last of the top-p).
"""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from zh_lstm_lm.errors import NonFiniteError
from zh_lstm_lm.generation.cutoff_bounds import InsideQuestion
from zh_lstm_lm.models.output_layers import AdaptiveSoftmax
from zh_lstm_lm.models.softmax_log_probs import Linear
from zh_lstm_lm.runtime.batch_invariant import row_sums

__all__ = ["AdaptiveSampler", "draw_from"]

Uniforms = Callable[[list[int]], list[float]]
"""Gives each of the rows that it is asked for its next random number in [0, 1)."""

_ATTEMPTS = 16  # which are rarely all rejected; where they are, few tokens hold little of the probability
_LARGEST_EXPONENT = 1e30  # of temperatures next to 0, whose smallest weights are 0 in float32


@dataclass
class _Rows:
    """What is known of rows' weights while they are drawn from.

    Attributes:
        hidden: The last layer's states. **Shape:** (rows, hidden_size).
        upper: The weights of the frequent tokens, and upper bounds of the tails'. **Shape:** (rows, head_size + tails).
        lower: Lower bounds of the tails' weights. **Shape:** (rows, tails).
        powers: The most that a token of a tail may weigh. **Shape:** (rows, tails).
        least: What a token must weigh; None for anything. **Shape:** (rows,).
        shares: The weights in a tail, by row and tail, of those that may be asked for again. **Shape:** (size of the tail,).
    """

    hidden: Tensor
    upper: Tensor
    lower: Tensor
    powers: Tensor
    least: Tensor | None = None
    shares: dict[tuple[int, int], Tensor] = field(default_factory=dict)


class AdaptiveSampler:
    r"""Draws one token a row.

    With the exponent *a* = 1 / temperature, a token weighs :math:`p^a`. A cluster of *n* tokens and probability *m*
    weighs between :math:`m^a \min(1, n^{1-a})` and :math:`m^a \max(1, n^{1-a})`, by the inequality of the power means,
    and none of its tokens more than :math:`m^a`. A token is drawn among the frequent ones and the clusters' upper
    bounds; if it falls on a cluster, that is computed, and the part of the bound that it does not fill is drawn again
    (rejection). So is a token outside of the top-k or the top-p. What is rejected too often is drawn among all tokens,
    and so it is under top-k and top-p together.

    Args:
        layer: The output layer.
        allowed: Which tokens may be drawn. **Shape:** (vocab_size,), bool.
        temperature: As in `logits_processors`; above 0.
        top_k: As there; 0 for none.
        top_p: As there; 1 for none.
        min_p: As there; 0 for none. Not together with the other two.
        linear: What multiplies rows with weights.
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
        linear: Linear = functional.linear,
    ) -> None:
        self._layer, self._linear = layer, linear
        self._exponent = min(1.0 / temperature, _LARGEST_EXPONENT)
        self._top_k, self._top_p, self._min_p = top_k, top_p, min_p
        self._starts, self._clusters = layer.cutoffs[:-1], list(layer.clusters())
        parts = [allowed[start:stop] for start, stop in itertools.pairwise(layer.cutoffs)]
        self._allowed = [None if part.all() else part for part in parts]  # of each tail; None for all of it
        self._sizes = torch.tensor([len(part) for part in parts], device=allowed.device)
        spread = self._sizes.float() ** (1.0 - self._exponent)
        whole = torch.stack([part.all() for part in parts])
        self._most, self._least = spread.clamp(min=1.0), spread.clamp(max=1.0) * whole  # (tails,), times m**a
        self._forbidden = torch.zeros(layer.head_size + len(parts), device=allowed.device)
        self._forbidden[: layer.head_size].masked_fill_(~allowed[: layer.head_size], -torch.inf)

    def draw(self, hidden: Tensor, uniforms: Uniforms) -> list[int]:
        """Draws a token for each row; what a row draws does not depend on the others.

        Args:
            hidden: The last layer's states. **Shape:** (rows, hidden_size).
            uniforms: Random numbers; how many a row takes depends on that row alone.

        Returns:
            An id for each row.
        """
        head_size = self._layer.head_size
        known = self._bounds(hidden)
        exact = self._exponent == 1.0 and not self._min_p  # so are the bounds of tails of which all is allowed
        cut_off = bool(self._top_k) or self._top_p < 1.0
        result = [0] * len(hidden)
        rows = list(range(len(hidden)))  # that have no token yet
        for _ in range(0 if self._top_k and self._top_p < 1.0 else _ATTEMPTS):
            weights = known.upper[_places(rows, hidden)]
            sums = weights.cumsum(dim=-1)
            random = torch.tensor(uniforms(rows), dtype=sums.dtype, device=sums.device)
            points = (random * sums[:, -1])[:, None]
            place = torch.searchsorted(sums, points, right=True).clamp_(max=sums.shape[1] - 1)  # (rows, 1)
            entries = place.squeeze(1).tolist()
            drawn = weights.gather(1, place).squeeze(1) if cut_off else None  # the weight of each row's token
            tokens, kept = [*entries], [True] * len(rows)
            in_tails: dict[int, list[int]] = {}
            for order, entry in enumerate(entries):
                if entry >= head_size:
                    in_tails.setdefault(entry - head_size, []).append(order)
            for number, orders in in_tails.items():
                among = [rows[order] for order in orders]
                shares = self._shares(known, number, among, keep=cut_off)
                inner = shares.cumsum(dim=-1)  # (orders, size of the tail)
                these = _places(orders, sums)
                if not exact or self._allowed[number] is not None:
                    here = _places(among, hidden)
                    known.upper[here, head_size + number] = known.lower[here, number] = inner[:, -1]
                rest = points[these] - sums[these, head_size + number - 1, None]
                within = torch.searchsorted(inner, rest, right=True)
                if drawn is not None:
                    drawn[these] = shares.gather(1, within.clamp(max=shares.shape[1] - 1)).squeeze(1)
                for order, place_within in zip(orders, within.squeeze(1).tolist(), strict=True):
                    tokens[order] = self._starts[number] + place_within
                    kept[order] = place_within < shares.shape[1]
            orders = [order for order in range(len(rows)) if kept[order]]
            if drawn is not None and orders:
                inside = self._inside(known, [rows[order] for order in orders], drawn[_places(orders, drawn)])
                for order, now in zip(orders, inside, strict=True):
                    kept[order] = now
            for order, row in enumerate(rows):
                if kept[order]:
                    result[row] = tokens[order]
            rows = [row for order, row in enumerate(rows) if not kept[order]]
            if not rows:
                return result
        for row, token in zip(rows, self._draw_from_all(known, rows, uniforms(rows)), strict=True):
            result[row] = token
        return result

    def _bounds(self, hidden: Tensor) -> _Rows:
        """What the head alone tells."""
        head_size, head = self._layer.head_size, self._layer.head
        bias = head.bias + self._forbidden.to(head.bias.dtype)
        scores = self._linear(hidden, head.weight, bias)  # (rows, head_size + tails)
        if self._exponent == 1.0:
            upper = scores.softmax(dim=-1)
        else:
            upper = scores.sub_(scores.amax(dim=-1, keepdim=True)).mul_(self._exponent).exp_()
        powers = upper[:, head_size:].clone()  # m**a
        if self._exponent != 1.0:
            upper[:, head_size:] *= self._most
        known = _Rows(hidden, upper, powers * self._least, powers)
        if self._min_p:
            self._cut(known)
        return known

    def _shares(self, known: _Rows, number: int, rows: Sequence[int], *, keep: bool = True) -> Tensor:
        """The weights of a tail's tokens; 0 where forbidden, or too little. **Shape:** (rows, size of the tail)."""
        new = [row for row in rows if (row, number) not in known.shares] if known.shares else rows
        if new:
            here = _places(new, known.hidden)
            shares = self._new_shares(known.hidden[here], number, known.powers[here])
            if known.least is not None:
                shares.masked_fill_(shares < known.least[here, None], 0.0)
            if keep:
                known.shares.update(((row, number), of_row) for row, of_row in zip(new, shares, strict=True))
            if len(new) == len(rows):
                return shares
        return torch.stack([known.shares[row, number] for row in rows])

    def _new_shares(self, hidden: Tensor, number: int, powers: Tensor) -> Tensor:
        """The weights of a tail's tokens; 0 where forbidden.

        Args:
            hidden: **Shape:** (rows, hidden_size).
            number: Of the tail.
            powers: What all tails' shares are multiplied by. **Shape:** (rows, tails).

        Returns:
            **Shape:** (rows, size of the tail).
        """
        narrow, tail = self._clusters[number]
        within = self._linear(self._linear(hidden, narrow.weight, None), tail.weight, tail.bias)
        if self._exponent == 1.0:
            shares: Tensor = within.softmax(dim=-1)
        else:
            shares = within.log_softmax(dim=-1).mul_(self._exponent).exp_()
        shares.mul_(powers[:, number, None])
        allowed = self._allowed[number]
        return shares if allowed is None else shares.mul_(allowed)

    def _cut(self, known: _Rows) -> None:
        """Takes out what is below min-p's threshold."""
        head, powers = known.upper[:, : self._layer.head_size], known.powers
        highest = head.amax(dim=-1)
        for number in (powers > highest[:, None]).any(dim=0).nonzero().squeeze(1).tolist():
            rows = (powers[:, number] > highest).nonzero().squeeze(1)  # whose likeliest token may be in that tail
            if len(rows):
                of_tail = self._new_shares(known.hidden[rows], number, powers[rows]).amax(dim=-1)
                highest[rows] = torch.maximum(highest[rows], of_tail)
        known.least = highest * self._min_p
        head.masked_fill_(head < known.least[:, None], 0.0)
        known.upper[:, self._layer.head_size :].masked_fill_(powers < known.least[:, None], 0.0)
        known.lower.zero_()  # a cluster may lose all of its tokens

    def _inside(self, known: _Rows, rows: Sequence[int], weight: Tensor) -> list[bool]:
        """Whether a token of this weight is among the top-k, or inside the top-p.

        It is where what weighs more falls short of `top_k` tokens, or of the share `top_p` of all weight. Clusters are
        computed until the bounds of these sums have settled it, and bounds become exact. Which ones a row uses does
        not depend on the others, but a cluster is computed for all that may come to use it.

        Args:
            known: What is known of all rows.
            rows: Those that are asked about.
            weight: The weight of each one's token. **Shape:** (rows,).
        """
        here, head_size, by_count = _places(rows, known.hidden), self._layer.head_size, bool(self._top_k)
        upper, lower = known.upper[here, head_size:], known.lower[here]
        head = known.upper[here, :head_size]
        above = head > weight[:, None]
        above_most = (known.powers[here] > weight[:, None]) * (self._sizes if by_count else upper)
        given = [
            above.sum(dim=-1) if by_count else row_sums(head * above),
            torch.zeros_like(weight) if by_count else row_sums(head),
            above_most,
            upper,
            lower,
        ]
        questions = [InsideQuestion(*each) for each in zip(*(tensor.tolist() for tensor in given), strict=True)]
        open_ = list(range(len(rows)))
        while True:
            asked = [(order, questions[order].open_tail(self._top_k, self._top_p)) for order in open_]
            open_ = [order for order, tail in asked if tail is not None]
            wanted = Counter(tail for _, tail in asked if tail is not None)
            if not open_:
                break
            number = max(wanted, key=lambda tail: wanted[tail])
            orders = [order for order in open_ if number not in questions[order].computed]
            shares = self._shares(known, number, [rows[order] for order in orders])
            over = shares > weight[_places(orders, weight), None]
            counted = (over.sum(dim=-1) if by_count else row_sums(shares * over)).tolist()
            for order, of_above, of_all in zip(orders, counted, row_sums(shares).tolist(), strict=True):
                questions[order].computed[number] = of_above, of_all
        known.upper[here, head_size:] = upper.new_tensor([question.upper for question in questions])
        known.lower[here] = lower.new_tensor([question.lower for question in questions])
        return [question.inside for question in questions]

    def _draw_from_all(self, known: _Rows, rows: Sequence[int], uniforms: Sequence[float]) -> list[int]:
        """Draws from the weights of all tokens. One number a row.

        Raises:
            NonFiniteError: The weights are not numbers.
        """
        head = known.upper[_places(rows, known.hidden), : self._layer.head_size]
        tails = [self._shares(known, number, rows) for number in range(len(self._starts))]
        weights = torch.cat([head, *tails], dim=-1)  # (rows, vocab_size)
        if self._top_k:
            weights = weights * (weights >= weights.topk(min(self._top_k, weights.shape[1])).values[:, -1:])
        if self._top_p < 1.0:
            falling = weights.sort(dim=-1, descending=True).values
            sums = falling.cumsum(dim=-1)
            inside = (sums < self._top_p * sums[:, -1:]).sum(dim=-1, keepdim=True).clamp(max=sums.shape[1] - 1)
            weights = weights * (weights >= falling.gather(1, inside))
        sums = weights.double().cumsum(dim=-1)
        if sums[:, -1].isnan().any():
            raise NonFiniteError("the scores are not numbers (NaN); the model is damaged: load or train it anew")
        points = sums.new_tensor(uniforms) * sums[:, -1]
        drawn: list[int] = torch.searchsorted(sums, points[:, None], right=True).squeeze(1).tolist()
        return drawn


def _places(rows: Sequence[int], tensor: Tensor) -> slice | Tensor:
    """An index for some rows of a tensor, which rise."""
    return slice(None) if len(rows) == len(tensor) else torch.tensor(rows, device=tensor.device)


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
