"""What is done to the scores before a token is drawn: pure functions of `(ids, logits)`.

A processor is called with the ids so far, **Shape:** (…, time), and the logits of the next one, **Shape:**
(…, vocab_size), for any leading shape, and returns logits of the same shape. A token that may not be drawn gets minus
infinity.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from zh_lstm_lm.runtime.batch_invariant import row_sums

__all__ = [
    "LogitsProcessor",
    "banned_words",
    "epsilon_cutoff",
    "eta_cutoff",
    "min_p",
    "no_repeat_ngrams",
    "occurrence_penalties",
    "repetition_penalty",
    "temperature",
    "token_bias",
    "top_h",
    "top_k",
    "top_p",
    "typical_p",
]

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
    """Keeps the likeliest tokens that together have at least the probability `p`; 1 keeps all.

    Nucleus sampling (Holtzman et al., 2020). Of tokens that are equally likely the first stay.
    """

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        if p >= 1.0:
            return logits
        probabilities, whole = logits.softmax(dim=-1), logits.shape[-1]
        for size in (whole,) if logits.is_cuda else (_LIKELY_ENOUGH, whole):  # whether few suffice is a look at values
            values = probabilities.topk(min(size, whole), dim=-1).values  # (..., size), falling
            reached = values.cumsum(dim=-1)
            if size >= whole or bool((reached[..., -1] >= p).all()):
                break
        kept = (reached < p).sum(dim=-1, keepdim=True).clamp(max=values.shape[-1] - 1)  # and the one that reaches it
        least = values.gather(-1, kept)
        tied = probabilities == least
        room = kept + 1 - (probabilities > least).sum(dim=-1, keepdim=True)
        return logits.masked_fill((probabilities < least) | (tied & (tied.cumsum(dim=-1) > room)), -math.inf)

    return process


def min_p(p: float) -> LogitsProcessor:
    """Keeps tokens with at least `p` times the probability of the likeliest (Nguyen et al., 2024); 0 keeps all."""

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        if p == 0:
            return logits
        return logits.masked_fill(logits < logits.amax(dim=-1, keepdim=True) + math.log(p), -math.inf)

    return process


def typical_p(p: float) -> LogitsProcessor:
    """Keeps the tokens whose surprisal is nearest to the entropy, up to the probability `p` in all; 1 keeps all.

    Locally typical sampling (Meister et al., 2023).
    """

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        if p >= 1.0:
            return logits
        log_probs = logits.log_softmax(dim=-1)
        distances = (log_probs + _entropy(log_probs)).abs()
        order = distances.argsort(dim=-1, stable=True)
        probabilities = log_probs.exp().gather(-1, order)
        dropped = probabilities.cumsum(dim=-1) - probabilities >= p  # what comes before it is enough already
        dropped[..., 0] = False
        return logits.masked_fill(dropped.scatter(-1, order, dropped), -math.inf)

    return process


def top_h(h: float) -> LogitsProcessor:
    """Keeps as many of the likeliest tokens as have, renormalised, at most `h` times the entropy of all; 1 keeps all.

    Top-H decoding (Potraghloo et al., 2025): few tokens where the model is sure, more where it is not. The likeliest
    always stays.
    """

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        if h >= 1.0:
            return logits
        log_probs, tokens = logits.log_softmax(dim=-1).sort(dim=-1, descending=True)
        probabilities = log_probs.exp()
        sums = probabilities.cumsum(dim=-1)  # of the likeliest, (..., vocab_size)
        entropies = sums.log() - (probabilities * log_probs.clamp(min=-1e30)).cumsum(dim=-1) / sums
        dropped = entropies > h * entropies[..., -1:]
        dropped[..., 0] = False
        return logits.masked_fill(dropped.scatter(-1, tokens, dropped), -math.inf)

    return process


def epsilon_cutoff(epsilon: float) -> LogitsProcessor:
    """Keeps tokens of at least the probability `epsilon`, and the likeliest (Hewitt et al., 2022); 0 keeps all."""

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        if epsilon == 0:
            return logits
        return _cut(logits, logits.log_softmax(dim=-1), math.log(epsilon))

    return process


def eta_cutoff(epsilon: float) -> LogitsProcessor:
    """Keeps tokens of at least min(epsilon, sqrt(epsilon) exp(-entropy)), and the likeliest; 0 keeps all.

    Eta sampling (Hewitt et al., 2022): where the model is unsure, rarer tokens may come.
    """

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        if epsilon == 0:
            return logits
        log_probs = logits.log_softmax(dim=-1)
        threshold = (0.5 * math.log(epsilon) - _entropy(log_probs)).clamp(max=math.log(epsilon))
        return _cut(logits, log_probs, threshold)

    return process


def repetition_penalty(penalty: float, *, window: int | None = None) -> LogitsProcessor:
    """Divides positive logits of tokens that occurred by the penalty and multiplies negative ones (Keskar et al., 2019).

    Args:
        penalty: Above 1 for fewer repetitions; 1 changes nothing.
        window: Latest tokens that count; None counts all.
    """

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        if penalty == 1.0:
            return logits
        occurred = _counts(ids, logits, window) > 0
        return torch.where(occurred, torch.where(logits > 0, logits / penalty, logits * penalty), logits)

    return process


def occurrence_penalties(frequency: float, presence: float, *, window: int | None = None) -> LogitsProcessor:
    """Takes `frequency` off a token's logit for every occurrence, and `presence` once if there is any.

    Args:
        frequency: 0 changes nothing.
        presence: 0 changes nothing.
        window: Latest tokens that count; None counts all.
    """

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        if frequency == 0 and presence == 0:
            return logits
        counts = _counts(ids, logits, window)
        return logits - frequency * counts - presence * (counts > 0)

    return process


def no_repeat_ngrams(size: int, *, window: int | None = None) -> LogitsProcessor:
    """Bans every token that would complete an n-gram of this size for the second time.

    Args:
        size: 0 bans none.
        window: Latest tokens that count; None counts all.
    """

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        if window is not None:
            ids = ids[..., max(0, ids.shape[-1] - window) :]
        if size == 0 or ids.shape[-1] < size:
            return logits
        ngrams = ids.unfold(-1, size, 1)  # (..., ngrams, size)
        last = ids[..., None, ids.shape[-1] - size + 1 :]  # (..., 1, size - 1)
        begun = (ngrams[..., :-1] == last).all(dim=-1)  # (..., ngrams)
        banned = torch.zeros_like(logits).scatter_add_(-1, ngrams[..., -1], begun.to(logits.dtype))
        return logits.masked_fill(banned > 0, -math.inf)

    return process


def banned_words(words: Sequence[str], tokens: Sequence[str]) -> LogitsProcessor:
    """Bans every token that would complete one of the words, wherever its characters are parted between tokens.

    Args:
        words: What must not come; a prompt may hold it.
        tokens: The text of each id; empty for one that has none.
    """
    beginnings: dict[str, list[int]] = {}  # what a text may end in, and the tokens that complete a word then
    for word in words:
        for cut in range(len(word)):
            completing = [
                token_id
                for token_id, token in enumerate(tokens)
                if (token.startswith(word[cut:]) if cut else word in token)
            ]
            beginnings.setdefault(word[:cut], []).extend(completing)
    longest = max(map(len, words), default=0)

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        if not words:
            return logits
        banned = torch.zeros_like(logits, dtype=torch.bool)
        rows = ids[..., max(0, ids.shape[-1] - longest) :].reshape(-1, min(longest, ids.shape[-1]))
        for row, mask in zip(rows.tolist(), banned.view(-1, banned.shape[-1]), strict=True):
            tail = "".join(tokens[token_id] for token_id in row)
            for beginning, completing in beginnings.items():
                if tail.endswith(beginning):
                    mask[completing] = True
        return logits.masked_fill(banned, -math.inf)

    return process


def token_bias(bias: Tensor) -> LogitsProcessor:
    """Adds to each token's logit. **Shape:** (vocab_size,); 0 changes nothing."""

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        return logits + bias.to(logits)

    return process


def _counts(ids: Tensor, logits: Tensor, window: int | None) -> Tensor:
    """How often each token occurs in the latest ids. **Shape:** that of the logits."""
    if window is not None:
        ids = ids[..., max(0, ids.shape[-1] - window) :]
    return torch.zeros_like(logits).scatter_add_(-1, ids, torch.ones_like(ids, dtype=logits.dtype))


def _entropy(log_probs: Tensor) -> Tensor:
    """In nats; a token of probability 0 has no part in it. **Shape:** (..., vocab_size) to (..., 1)."""
    return -row_sums(log_probs.exp() * log_probs.clamp(min=-1e30))[..., None]


def _cut(logits: Tensor, log_probs: Tensor, threshold: float | Tensor) -> Tensor:
    """Drops what is less likely than the threshold, but never the likeliest."""
    dropped = (log_probs < threshold) & (log_probs < log_probs.amax(dim=-1, keepdim=True))
    return logits.masked_fill(dropped, -math.inf)
