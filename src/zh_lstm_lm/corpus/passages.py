"""Hashes of the passages of a text, by which another text is recognised as a part of it."""

import torch
from torch import Tensor

__all__ = ["hash_passages", "passage_overlap"]

_PASSAGE_LEN = 8
_MAX_PASSAGES = 1 << 16
# Passages that are hashed at once.
_BLOCK = 1 << 18
# An odd factor without a pattern.
_FACTOR = 0x9E3779B97F4A7C15 - (1 << 64)


def hash_passages(ids: Tensor) -> Tensor:
    """Hashes the passages of 8 tokens at all positions; returns the least 65,536 different hashes, increasing.

    **Shape:** (number of ids,) to (at most 65,536,), int64.
    """
    least = torch.empty(0, dtype=torch.int64, device=ids.device)
    for start in range(0, max(1, len(ids) - _PASSAGE_LEN + 1), _BLOCK):
        hashes = _hash_all(ids[start : start + _BLOCK + _PASSAGE_LEN - 1])
        if len(least) == _MAX_PASSAGES:
            hashes = hashes[hashes < least[-1]]
        least = torch.unique(torch.cat([least, hashes]))[:_MAX_PASSAGES]
    return least


def _hash_all(ids: Tensor) -> Tensor:
    """Hashes the passages at all positions, in order. **Shape:** (n,) to (n - 7,), or (0,) for fewer than 8 ids."""
    hashes, factor = ids.long() + 1, _FACTOR
    length = 1
    while length < _PASSAGE_LEN:
        # Overflow is wanted: the arithmetic is modulo 2 ** 64.
        hashes = hashes[:-length] * factor + hashes[length:]
        hashes ^= hashes >> 29
        length, factor = 2 * length, (factor * factor + (1 << 63)) % (1 << 64) - (1 << 63)
    return hashes


def passage_overlap(passages: Tensor, ids: Tensor) -> float:
    """Returns the proportion of a text's passages that are in another text, estimated from what `hash_passages` kept."""
    own = hash_passages(ids)
    if len(passages) == _MAX_PASSAGES:
        own = own[own <= passages[-1]]
    if len(own) == _MAX_PASSAGES:
        passages = passages[passages <= own[-1]]
    return float(torch.isin(own, passages).double().mean()) if len(own) else 0.0
