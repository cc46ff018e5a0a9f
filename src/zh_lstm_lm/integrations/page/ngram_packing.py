"""N-gram models pruned to a number of bytes and packed."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zh_lstm_lm.models.ngram import NGramContext, NGramLanguageModel, estimate_table
from zh_lstm_lm.models.ngram_counts import NGramCounts, NGramTable

__all__ = ["PackedNGrams", "pack_ngrams"]

# The number of n-grams is found by trial, from the bytes that one takes about, until the size is close to its limit.
_ATTEMPTS, _BYTES_PER_NGRAM, _CLOSE = 6, 2.6, 0.97
_ROWS_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class PackedNGrams:
    """A packed n-gram model.

    Attributes:
        model: The model that is left after pruning.
        description: What unpacking needs besides the data, as JSON values.
        data: The counts, compressed by zlib: of each list the lowest bytes, then the next, and so on.
    """

    model: NGramLanguageModel
    description: dict[str, Any]
    data: bytes


def pack_ngrams(model: NGramLanguageModel, max_bytes: int) -> PackedNGrams:
    """Packs an n-gram model into about a number of bytes; the n-grams that predict most are kept.

    All unigrams are kept, so a limit that is too small for them is exceeded.
    """
    if model.device.type != "cpu":
        model = NGramLanguageModel(model.vocabulary, model.counts)
    # Each n-gram takes more than a byte.
    if sum(model.num_ngrams) <= max_bytes or model.order == 1:
        packed = _pack(model)
        if len(packed.data) <= max_bytes or model.order == 1:
            return packed
    gains = _gains(model)
    count, best = int(max_bytes / _BYTES_PER_NGRAM), _pack(_keep(model, gains, 0))
    for _ in range(_ATTEMPTS):
        packed = _pack(_keep(model, gains, count))
        size = len(packed.data)
        if len(best.data) < size <= max_bytes:
            best = packed
        if _CLOSE * max_bytes <= len(best.data):
            break
        count = int(count * (1 + _CLOSE) / 2 * max_bytes / size)
    return best


def _keep(model: NGramLanguageModel, gains: list[Tensor], count: int) -> NGramLanguageModel:
    """Keeps about `count` n-grams of order 2 and above."""
    every = torch.cat(gains).sort(descending=True).values
    least = float(every[count]) if count < len(every) else -1.0
    pruned = NGramLanguageModel(model.vocabulary, model.counts.keep([each > least for each in gains]))
    pruned.generation_config = dict(model.generation_config)
    return pruned


def _gains(model: NGramLanguageModel) -> list[Tensor]:
    """Estimates what each n-gram adds to the log-likelihood of the training text, in nats.

    That is its occurrences times the difference between its log-probability and that of backing off (Seymore and
    Rosenfeld, 1996). A prefix gets the greatest gain of the n-grams that begin with it, to be kept with them.

    Returns:
        The gains of each order from 2 on. **Shape:** (num_ngrams,), float64.
    """
    size, tables = len(model.vocabulary), model.counts.tables
    gains = [
        gain * occurrences for gain, occurrences in zip(_log_ratios(model), _occurrences(tables, size), strict=True)
    ]
    for number in range(len(tables) - 1, 0, -1):
        gains[number - 1].scatter_reduce_(0, tables[number].keys // size, gains[number], "amax")
    return gains


def _log_ratios(model: NGramLanguageModel) -> Iterator[Tensor]:
    """Yields for each order the logarithms of probabilities over those without the n-gram."""
    size = len(model.vocabulary)
    ids = torch.arange(size)[:, None]
    for table in model.counts.tables:
        prefixes = table.keys // size
        own, backoffs = estimate_table(table, size, len(ids))
        ids = torch.cat([ids[prefixes], (table.keys % size)[:, None]], dim=1)
        lower = torch.cat([_lower_probs(model, rows) for rows in torch.split(ids, _ROWS_AT_ONCE)])
        rest = backoffs[prefixes]
        yield ((own + rest * lower) / ((own + rest) * lower)).log().double()


def _lower_probs(model: NGramLanguageModel, ids: Tensor) -> Tensor:
    """Returns the probabilities of the last tokens after what is before them, without the first. **Shape:** (rows,)."""
    before = ids[:, 1:-1]
    context = torch.cat([before.new_full((len(ids), model.order - 1 - before.shape[1]), -1), before], dim=1)
    return model.target_log_probs(NGramContext(context), ids[:, -1]).exp()


def _occurrences(tables: tuple[NGramTable, ...], size: int) -> list[Tensor]:
    """Returns the occurrences of the n-grams of each order, which only the highest has as its counts."""
    found = [tables[-1].counts.double()]
    for table, before in zip(tables[:0:-1], tables[-2::-1], strict=True):
        least = before.counts.double()
        sums = torch.zeros_like(least) if table.pruned is None else table.pruned.double()
        # An n-gram at the end of a document has nothing after it.
        found.append(sums.index_add(0, table.keys // size, found[-1]).maximum(least))
    return found[::-1]


def _pack(model: NGramLanguageModel) -> PackedNGrams:
    counts = model.counts
    lists = list(_lists(counts))
    data = zlib.compress(b"".join(map(_to_bytes, lists)), 9)
    description = {
        "order": model.order,
        "discounts": [counts.unigram_discounts, *(table.discounts for table in counts.tables)],
        "lists": [(len(each), _width(each)) for each in lists],
    }
    return PackedNGrams(model, description, data)


def _lists(counts: NGramCounts) -> Iterator[Tensor]:
    """Yields the counts of the unigrams, and of each order above what makes its table.

    That is for each prefix the number of its n-grams and the sum of the pruned counts, and for each n-gram its count and
    its last id, less that of the n-gram before it with the same prefix.
    """
    yield counts.unigrams
    size, num_prefixes = len(counts.unigrams), len(counts.unigrams)
    for table in counts.tables:
        prefixes, ids = table.keys // size, table.keys % size
        steps = ids.clone()
        steps[1:] -= torch.where(prefixes[1:] == prefixes[:-1], ids[:-1], 0)
        yield torch.bincount(prefixes, minlength=num_prefixes)
        yield torch.zeros(num_prefixes, dtype=torch.int32) if table.pruned is None else table.pruned
        yield table.counts
        yield steps
        num_prefixes = len(table)


def _width(values: Tensor) -> int:
    """Returns the number of bytes of the greatest value."""
    return max(1, (int(values.max()).bit_length() + 7) // 8) if len(values) else 1


def _to_bytes(values: Tensor) -> bytes:
    return b"".join(bytes((values >> 8 * place & 255).tolist()) for place in range(_width(values)))
