"""Sampling of one token from probabilities, within top-k, top-p and min-p, without sorting where that can be avoided."""

import bisect
import itertools
import random
from collections.abc import Collection, Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["TokenPicker"]

_BLOCK = 256
# Attempts at a token that is kept before the tokens are sorted.
_ATTEMPTS = 4
# Tokens that are sorted first.
_CANDIDATES = 512
# Rounding of a sum of probabilities in float32.
_MARGIN = 1e-5


class TokenPicker:
    """Picks one token for each row of probabilities, within the cut-offs of `SamplerConfig`.

    The cut-offs keep the first tokens in falling order; among equally likely tokens top-p keeps those with the lowest
    ids, and top-k keeps all that tie with the last one. Sorting the vocabulary for every token would take longer than
    the model, so a token is sampled from all of them and rejected if it is not kept. Rejected rows are sampled again,
    with numbers that follow from the first one: a pick always takes one random number, and depends on its row alone.
    """

    def __init__(self, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0) -> None:
        self._top_k, self._top_p, self._min_p = top_k, top_p, min_p

    def pick(self, probs: Tensor, forbidden: Sequence[Collection[int]], uniforms: Sequence[float]) -> list[int | None]:
        """Picks a token for each row; None where every token that is kept is forbidden or has no probability.

        **Shape** of the probabilities: (rows, vocab_size). Forbidden ids count when the cut-offs are applied. The
        uniforms are random numbers in [0, 1).
        """
        # With top-k most attempts would fail.
        if self._top_k:
            return [self._pick_sorted(*row) for row in zip(probs, forbidden, uniforms, strict=True)]
        sums = _block_sums(probs).tolist()
        return [self._pick_by_rejection(*row) for row in zip(probs, sums, forbidden, uniforms, strict=True)]

    def _pick_by_rejection(
        self, probs: Tensor, sums: Sequence[float], forbidden: Collection[int], uniform: float
    ) -> int | None:
        if not sums[-1] > 0:
            return None
        generator = None
        for _ in range(_ATTEMPTS):
            token_id = _draw(probs, sums, uniform)
            if token_id not in forbidden and self._keeps(probs, token_id):
                return token_id
            generator = generator or random.Random(uniform)
            uniform = generator.random()
        return self._pick_sorted(probs, forbidden, uniform)

    def _keeps(self, probs: Tensor, token_id: int) -> bool:
        """Decides whether top-p and min-p keep a token."""
        if self._min_p and bool(probs[token_id] < self._min_p * probs.max()):
            return False
        return self._top_p == 1 or _inside_nucleus(probs, token_id, self._top_p)

    def _pick_sorted(self, probs: Tensor, forbidden: Collection[int], uniform: float) -> int | None:
        count = max(_CANDIDATES, self._top_k + 1)
        values, ids = probs.topk(min(count, len(probs)))
        if not values[0] > 0:
            return None
        kept = self._num_kept(values, complete=False)
        if kept is None:
            values, ids = probs.sort(descending=True, stable=True)
            kept = self._num_kept(values, complete=True)
        weights, ids = values[:kept], ids[:kept]
        if forbidden:
            weights = torch.where(torch.isin(ids, ids.new_tensor(list(forbidden))), 0.0, weights)
        steps = list(itertools.accumulate(weights.tolist()))
        if not steps[-1] > 0:
            return None
        return int(ids[min(bisect.bisect_right(steps, uniform * steps[-1]), bisect.bisect_left(steps, steps[-1]))])

    def _num_kept(self, values: Tensor, *, complete: bool) -> int | None:
        """Returns the number of the greatest probabilities, given in falling order, that are kept.

        They are `complete` if they are all, equal ones in the order of their ids. None if more have to be known.
        """
        kept, total = len(values), 1.0
        sums = values.cumsum(dim=-1, dtype=torch.float64)
        if 0 < self._top_k < kept:
            kept = int((values >= values[self._top_k - 1]).sum())
            total = float(sums[kept - 1])
        limited = kept < len(values)
        if self._top_p < 1.0:
            reached = int((sums < self._top_p * total).sum()) + 1
            if reached < kept and not complete and values[reached - 1] == values[reached]:
                return None
            limited |= reached < len(values)
            kept = min(kept, reached)
        if not (limited or complete):
            return None
        return min(kept, int((values >= self._min_p * values[0]).sum())) if self._min_p else kept


def _block_sums(weights: Tensor) -> Tensor:
    """Sums weights cumulatively over blocks of tokens. **Shape:** (rows, vocab_size) to (rows, blocks), float64."""
    rows, size = weights.shape
    blocks, rest = size // _BLOCK, size % _BLOCK
    sums = weights.as_strided((rows, blocks, _BLOCK), (weights.stride(0), _BLOCK, 1)).sum(dim=-1)
    if rest:
        sums = torch.cat([sums, weights[:, -rest:].sum(dim=-1, keepdim=True)], dim=1)
    return sums.cumsum(dim=-1, dtype=torch.float64)


def _draw(weights: Tensor, sums: Sequence[float], uniform: float) -> int:
    """Samples a token, never one of weight 0, by inverting the distribution: first its block, then the token."""
    point = uniform * sums[-1]
    # Rounding may leave a remainder of a whole block, which belongs to its last token with a weight.
    block = min(bisect.bisect_right(sums, point), bisect.bisect_left(sums, sums[-1]))
    start = block * _BLOCK
    steps = list(itertools.accumulate(weights[start : start + _BLOCK].tolist()))
    rest = point - (sums[block - 1] if block else 0.0)
    return start + min(bisect.bisect_right(steps, rest), bisect.bisect_left(steps, steps[-1]))


def _inside_nucleus(probs: Tensor, token_id: int, top_p: float) -> bool:
    """Decides whether the tokens before one, in falling order and then by id, have less than `top_p`."""
    prob = float(probs[token_id])
    below = float(torch.nextafter(probs[token_id], probs.new_zeros(())))
    if float(functional.threshold(probs, below, 0.0).sum()) - prob < top_p - _MARGIN:
        return True
    above = float(functional.threshold(probs, prob, 0.0).sum(dtype=torch.float64))
    ties = int((probs[:token_id] == prob).sum())
    return above + ties * prob < top_p
