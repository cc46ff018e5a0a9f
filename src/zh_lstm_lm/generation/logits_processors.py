"""Logits processors: pure functions of `(ids, logits)` applied before a token is sampled.

A processor is called with the ids so far, **Shape:** (…, time), and the logits of the next token, **Shape:**
(…, vocab_size), for any leading shape, and returns logits of the same shape. A token that must not follow gets minus
infinity. `window` is the number of latest ids that count; None counts all. Options may be any finite number; values
beyond 1e30 act as 1e30, so that no result is NaN.
"""

import bisect
import itertools
import math
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from zh_lstm_lm.errors import ConfigError

__all__ = [
    "LogitsProcessor", "banned_words", "both", "checked", "no_repeat_ngrams", "occurrence_penalties", "repetition_penalty",
    "token_bias",
]  # fmt: skip

LogitsProcessor: TypeAlias = Callable[[Tensor, Tensor], Tensor]

_LARGEST = 1e30
_SMALLEST = 1e-30


def repetition_penalty(penalty: float, *, window: int | None = None) -> LogitsProcessor:
    """Divides positive logits of tokens that occurred, and multiplies negative ones (Keskar et al., 2019)."""
    factor = min(max(penalty, _SMALLEST), _LARGEST)

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        penalised = torch.where(logits > 0, logits / factor, logits * factor).clamp(max=_LARGEST)
        return torch.where(_counts(ids, logits, window) > 0, penalised, logits)

    return _unchanged if penalty == 1 else process


def occurrence_penalties(frequency: float, presence: float, *, window: int | None = None) -> LogitsProcessor:
    """Subtracts `frequency` from a token's logit for every occurrence, and `presence` once if there is any."""
    each, once = (min(max(value, -_LARGEST), _LARGEST) for value in (frequency, presence))

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        counts = _counts(ids, logits, window)
        return logits - each * counts - once * (counts > 0)

    return process if frequency or presence else _unchanged


def no_repeat_ngrams(size: int, *, window: int | None = None) -> LogitsProcessor:
    """Bans every token that would complete an n-gram of this size for the second time; 0 bans none."""

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        ids = _latest(ids, window)
        if ids.shape[-1] < size:
            return logits
        ngrams = ids.unfold(-1, size, 1)  # (..., ngrams, size)
        last = ids[..., None, ids.shape[-1] - size + 1 :]  # (..., 1, size - 1)
        begun = (ngrams[..., :-1] == last).all(dim=-1)  # (..., ngrams)
        banned = torch.zeros_like(logits).scatter_add_(-1, ngrams[..., -1], begun.to(logits.dtype))
        return logits.masked_fill(banned > 0, -math.inf)

    return _unchanged if size == 0 else process


def token_bias(bias: Tensor) -> LogitsProcessor:
    """Adds a bias to each token's logit. **Shape:** (vocab_size,); 0 changes nothing."""
    bounded = bias.clamp(-_LARGEST, _LARGEST)

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        return logits + bounded.to(logits)

    return process


def banned_words(words: Sequence[str], tokens: Sequence[str], *, inside: bool = True) -> LogitsProcessor:
    """Bans every token that would complete one of the words, wherever their characters are split between tokens.

    A prompt may contain them. `tokens` are the texts of the ids, empty for an id that has none. A longer token may
    contain one of the words if `inside` is False.
    """
    banned = frozenset(words)
    sizes = sorted(set(map(len, banned)))
    always = torch.tensor([_contains(token, banned, sizes) if inside else token in banned for token in tokens])
    sorted_ids = sorted((token_id for token_id, token in enumerate(tokens) if token), key=tokens.__getitem__)
    ordered = [tokens[token_id] for token_id in sorted_ids]
    longest = max(map(len, ordered), default=0)
    # The text that a draft may end with, and the tokens that complete a word then, as ranges of `sorted_ids`.
    completing: dict[str, list[tuple[int, int]]] = {}
    for word in banned:
        for cut in range(max(1, len(word) - longest), len(word)):
            start = bisect.bisect_left(ordered, word[cut:])
            stop = bisect.bisect_right(ordered, word[cut:] + "\U0010ffff", lo=start)
            if start < stop:
                completing.setdefault(word[:cut], []).append((start, stop))
    lengths = sorted(set(map(len, completing)))
    # A token without a text, such as a byte, stands for a character that no word has.
    texts = [token or "\ud800" for token in tokens]

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        mask = always.expand(logits.shape).clone()
        rows = mask.view(-1, mask.shape[-1])
        recent = _latest(ids, max(lengths, default=0))
        for row, row_ids in zip(rows, recent.reshape(len(rows), recent.shape[-1]).tolist(), strict=True):
            text = "".join(texts[token_id] for token_id in row_ids)
            for length in itertools.takewhile(len(text).__ge__, lengths):
                for start, stop in completing.get(text[-length:], ()):
                    row[sorted_ids[start:stop]] = True
        return logits.masked_fill(mask.to(logits.device), -math.inf)

    return process if banned else _unchanged


def both(first: LogitsProcessor, second: LogitsProcessor) -> LogitsProcessor:
    """Applies one processor after another."""
    return lambda ids, logits: second(ids, first(ids, logits))


def _contains(token: str, words: Collection[str], sizes: Sequence[int]) -> bool:
    """Returns True if a token contains one of the words, whose lengths are `sizes` in rising order."""
    return any(
        token[start : start + size] in words
        for size in itertools.takewhile(len(token).__ge__, sizes)
        for start in range(len(token) - size + 1)
    )


def checked(processor: LogitsProcessor) -> LogitsProcessor:
    """Wraps a function of the user's, whose result is held to its shape and to numbers; refuses other objects."""
    if not callable(processor):
        raise ConfigError(f"processors must be functions of (ids, logits), got {processor!r:.60}")
    name = getattr(processor, "__name__", repr(processor))

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        # A copy, because a processor may write into its argument.
        result = processor(ids, logits.clone())
        if not isinstance(result, Tensor) or result.shape != logits.shape:
            found = tuple(result.shape) if isinstance(result, Tensor) else result
            raise ConfigError(
                f"processor {name} must return logits of the shape {tuple(logits.shape)}, got {found!r:.60}"
            )
        if result.isnan().any():
            raise ConfigError(f"processor {name} returned logits that are NaN")
        return result.to(logits.dtype).clamp(max=_LARGEST)

    return process


def _unchanged(ids: Tensor, logits: Tensor) -> Tensor:
    """The processor of a neutral option."""
    return logits


def _latest(ids: Tensor, window: int | None) -> Tensor:
    return ids if window is None else ids[..., max(0, ids.shape[-1] - window) :]


def _counts(ids: Tensor, logits: Tensor, window: int | None) -> Tensor:
    """Counts each token in the latest ids. **Shape:** that of the logits."""
    latest = _latest(ids, window)
    return torch.zeros_like(logits).scatter_add_(-1, latest, torch.ones_like(latest, dtype=logits.dtype))
