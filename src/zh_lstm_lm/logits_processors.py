"""What is done to the scores before a token is drawn: pure functions of `(ids, logits)`.

A processor is called with the ids so far, **Shape:** (…, time), and the logits of the next one, **Shape:**
(…, vocab_size), for any leading shape, and returns logits of the same shape. A token that may not be drawn gets minus
infinity.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

__all__ = ["LogitsProcessor", "temperature", "top_k", "top_p"]

_LIKELY_ENOUGH = 512

LogitsProcessor: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def temperature(value: float) -> LogitsProcessor:
    """Divides the logits: under 1 likely tokens become likelier, 1 changes nothing."""

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        if value == 1.0:
            return logits
        likeliest = logits.amax(dim=-1, keepdim=True)  # taken off, so that it stays finite at any temperature
        return (logits - likeliest) / max(value, 1e-30)  # what is smaller is 0 in float32

    return process


def top_k(k: int) -> LogitsProcessor:
    """Keeps the `k` likeliest tokens (all that are as likely as the last of them); 0 keeps all."""

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        if k == 0 or k >= logits.shape[-1]:
            return logits
        least = logits.topk(k, dim=-1).values[..., -1:]  # (..., 1)
        return logits.masked_fill(logits < least, -math.inf)

    return process


def top_p(p: float) -> LogitsProcessor:
    """Keeps the likeliest tokens that together have at least the probability `p` (Holtzman et al., 2020); 1 keeps all."""

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        if p >= 1.0:
            return logits
        total = logits.logsumexp(dim=-1, keepdim=True)  # (..., 1)
        for size in (_LIKELY_ENOUGH, logits.shape[-1]):  # the few likeliest nearly always suffice
            values, tokens = logits.topk(min(size, logits.shape[-1]), dim=-1)  # (..., size), falling
            reached = (values - total).exp().cumsum(dim=-1)
            if bool((reached[..., -1] >= p).all()):
                break
        dropped = reached.roll(1, dims=-1) >= p  # what comes before it is enough already
        dropped[..., 0] = False  # the likeliest one always stays
        return torch.full_like(logits, -math.inf).scatter(-1, tokens, values.masked_fill(dropped, -math.inf))

    return process
