"""Hashes of the passages of a text, by which another text is recognised as a part of it."""

import torch
from torch import Tensor

__all__ = ["hash_passages", "passage_overlap"]

_PASSAGE_LEN = 8
_MAX_PASSAGES = 1 << 16
# An odd factor without a pattern.
_FACTOR = 0x9E3779B97F4A7C15 - (1 << 64)


def hash_passages(ids: Tensor) -> Tensor:
    """Hashes the passages of 8 tokens at all positions; returns the least 65,536 different hashes, increasing."""
    hashes, factor = ids.long() + 1, _FACTOR
    length = 1
    while length < _PASSAGE_LEN:
        # Overflow is wanted: the arithmetic is modulo 2 ** 64.
        hashes = hashes[:-length] * factor + hashes[length:]
        hashes ^= hashes >> 29
        length, factor = 2 * length, (factor * factor + (1 << 63)) % (1 << 64) - (1 << 63)
    # Only the least hashes are sorted: twice as many as are kept at first, more where they repeat themselves.
    proportion = 2 * _MAX_PASSAGES / max(len(hashes), 1)
    while proportion < 1:
        least = hashes[hashes < int((2 * proportion - 1) * (1 << 63))]
        different: Tensor = torch.unique_consecutive(least.sort().values)
        if len(different) >= _MAX_PASSAGES:
            return different[:_MAX_PASSAGES]
        proportion *= 4
    passages: Tensor = torch.unique_consecutive(hashes.sort().values)
    return passages[:_MAX_PASSAGES]


def passage_overlap(passages: Tensor, ids: Tensor) -> float:
    """Returns the proportion of a text's passages that are in another text, estimated from what `hash_passages` kept."""
    own = hash_passages(ids)
    if len(passages) == _MAX_PASSAGES:
        own = own[own <= passages[-1]]
    if len(own) == _MAX_PASSAGES:
        passages = passages[passages <= own[-1]]
    return float(torch.isin(own, passages).double().mean()) if len(own) else 0.0
