"""The n-grams of a text with the counts of modified Kneser-Ney smoothing."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from zh_lstm_lm.corpus.passages import hash_passages
from zh_lstm_lm.runtime.memory import check_fits, return_freed_memory
from zh_lstm_lm.storage.scratch import scratch_tensor
from zh_lstm_lm.storage.tensors import TensorKind

__all__ = ["FALLBACK_DISCOUNTS", "MAX_ORDER", "NGramCounts", "NGramTable", "count_ngrams", "estimate_discounts"]

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""The discounts of an order whose counts of counts do not allow the closed form, as in a small text."""

MAX_ORDER = 8
"""The highest order of n-grams."""

# Values from which on `_pack` lists them.
_LARGE = 15
# Vocabularies whose ids take two bytes, in which they are shifted into the range of signed numbers.
_SMALL_VOCABULARY = 1 << 16
_ID_SHIFT = 1 << 15
# Positions that are sorted at once; temporaries take about 50 bytes for each.
_SORTED_AT_ONCE = 1 << 20
# Bytes that the tables of all orders take for each token of the text and order, at most.
_BYTES_PER_TOKEN = 24


@dataclass(frozen=True)
class NGramTable:
    """The n-grams of one order n above 1, sorted by key.

    Attributes:
        keys: ``prefix * vocab_size + id``, where the prefix is the index of the first n - 1 tokens in the table of the
            order before (for n = 2 their id). **Shape:** (num_ngrams,), int64, increasing.
        counts: The occurrences of each n-gram in the highest order and where it begins with ``<bos>``; otherwise the
            number of different tokens before it. **Shape:** (num_ngrams,), int32.
        pruned: The sum of the counts that were pruned after each prefix; None if none was. **Shape:** (num_prefixes,),
            int32.
        discounts: The discounts of the counts 1, 2, and 3 and above.
    """

    keys: Tensor
    counts: Tensor
    pruned: Tensor | None
    discounts: tuple[float, float, float]

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class NGramCounts:
    """The n-grams of a text.

    Attributes:
        unigrams: The counts of all ids, see `NGramTable.counts`; that of ``<bos>`` is 0. **Shape:** (vocab_size,),
            int32.
        unigram_discounts: Their discounts, see `NGramTable.discounts`.
        tables: The tables of the orders from 2 on.
        passages: Hashes of passages of the text, see `hash_passages`. **Shape:** (number of passages,), int64.
    """

    unigrams: Tensor
    unigram_discounts: tuple[float, float, float]
    tables: tuple[NGramTable, ...]
    passages: Tensor

    def keep(self, kept: Sequence[Tensor]) -> "NGramCounts":
        """Keeps some n-grams of each order from 2 on, given as masks. What is kept must have its prefix kept as well.

        **Shape** of each mask: (num_ngrams,), bool.
        """
        size, tables = len(self.unigrams), list[NGramTable]()
        prefixes: Tensor | None = None
        for table, mask in zip(self.tables, kept, strict=True):
            tables.append(_prune(table, mask, prefixes, len(tables[-1]) if tables else size, size))
            prefixes = mask
        return replace(self, tables=tuple(tables))

    def describe(self) -> dict[str, Any]:
        """Returns what `unpack` needs besides the tensors, as JSON values."""
        return {
            "num_ngrams": [len(self.unigrams), *map(len, self.tables)],
            "discounts": [[*self.unigram_discounts], *([*table.discounts] for table in self.tables)],
            "pruned": [table.pruned is not None for table in self.tables],
        }

    def pack(self) -> dict[str, Tensor]:
        """Packs the counts into small tensors for saving, without loss.

        Of each n-gram 2 bytes of its last id (4 in a vocabulary of more than 65,536 tokens) and 4 bits of its count are
        saved, and 4 bits for the number of n-grams that it is the prefix of. Greater numbers follow in a list.
        """
        size = len(self.unigrams)
        tensors = {"counts.1": self.unigrams, "passages": self.passages}
        num_prefixes = size
        for n, table in enumerate(self.tables, start=2):
            ids = table.keys % size
            tensors[f"ids.{n}"] = (ids - _ID_SHIFT).short() if size <= _SMALL_VOCABULARY else ids.int()
            children = torch.bincount(table.keys // size, minlength=num_prefixes)
            for name, values in (("counts", table.counts), ("children", children), ("pruned", table.pruned)):
                if values is not None:
                    tensors[f"{name}.{n}"], tensors[f"{name}.{n}.large"] = _pack(values)
            num_prefixes = len(table)
        return tensors

    @classmethod
    def kinds(cls, description: Mapping[str, Any], found: Mapping[str, TensorKind]) -> dict[str, TensorKind]:
        """Returns the kinds of the tensors of `pack`, given what `describe` returned and the kinds that are there.

        Raises a ValueError for what is no such description.
        """
        sizes, discounts, pruned = (description.get(key) for key in ("num_ngrams", "discounts", "pruned"))
        if not (isinstance(sizes, list) and isinstance(discounts, list) and isinstance(pruned, list)):
            raise ValueError("num_ngrams, discounts and pruned must be lists")
        if not 1 <= len(sizes) == len(discounts) == len(pruned) + 1 <= MAX_ORDER:
            raise ValueError("num_ngrams, discounts and pruned are of different orders")
        if not all(type(size) is int and 0 <= size < 1 << 31 for size in sizes):
            raise ValueError(f"num_ngrams are not sizes: {sizes!r:.80}")
        for each in discounts:
            numbers = isinstance(each, list) and len(each) == 3 and all(type(value) is float for value in each)
            if not numbers or not all(0 < value < count for count, value in enumerate(each, start=1)):
                raise ValueError(f"{each!r:.80} are not three discounts")
        ids = torch.int16 if sizes[0] <= _SMALL_VOCABULARY else torch.int32
        kinds = {"counts.1": TensorKind(torch.int32, (sizes[0],))}
        lists = ["passages"]
        for n in range(2, len(sizes) + 1):
            kinds[f"ids.{n}"] = TensorKind(ids, (sizes[n - 1],))
            names = [("counts", sizes[n - 1]), ("children", sizes[n - 2])]
            for name, size in [*names, ("pruned", sizes[n - 2])] if pruned[n - 2] else names:
                kinds[f"{name}.{n}"] = TensorKind(torch.uint8, (-(-size // 2),))
                lists.append(f"{name}.{n}.large")
        for name in lists:
            length = (found[name].shape[:1] if name in found else ()) or (0,)
            kinds[name] = (
                TensorKind(torch.int64, length) if name == "passages" else TensorKind(torch.int32, (*length, 2))
            )
        return kinds

    @classmethod
    def unpack(cls, description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "NGramCounts":
        """Builds the counts from what `describe` and `pack` returned, of checked kinds.

        Raises a ValueError for values that are not those of n-grams.
        """
        sizes, discounts = description["num_ngrams"], [tuple(each) for each in description["discounts"]]
        unigrams, size = tensors["counts.1"], sizes[0]
        if not len(unigrams) or unigrams.min() < 0 or not unigrams.any():
            raise ValueError("counts.1 are not counts")
        tables: list[NGramTable] = []
        for n in range(2, len(sizes) + 1):
            of_order = {
                name: _unpack(tensors[f"{name}.{n}"], tensors[f"{name}.{n}.large"], length)
                for name, length in (("counts", sizes[n - 1]), ("children", sizes[n - 2]), ("pruned", sizes[n - 2]))
                if f"{name}.{n}" in tensors
            }
            ids = tensors[f"ids.{n}"].long() + (_ID_SHIFT if size <= _SMALL_VOCABULARY else 0)
            counts, children = of_order["counts"], of_order["children"]
            if int(children.sum()) != len(ids) or bool((counts < 1).any()) or bool(((ids < 0) | (ids >= size)).any()):
                raise ValueError(f"the n-grams of order {n} are damaged")
            keys = torch.arange(sizes[n - 2]).repeat_interleave(children).mul_(size).add_(ids)
            if bool((keys[1:] <= keys[:-1]).any()):
                raise ValueError(f"the n-grams of order {n} are not sorted")
            tables.append(NGramTable(keys, counts, of_order.get("pruned"), discounts[n - 1]))
        return cls(unigrams, discounts[0], tuple(tables), tensors["passages"])


def count_ngrams(ids: Tensor, order: int, *, vocab_size: int, bos_id: int, prune: Sequence[int] = (0,)) -> NGramCounts:
    """Counts the n-grams of concatenated documents, each beginning with ``<bos>``. **Shape:** (number of ids,).

    A document's first token has ``<bos>`` before it; no n-gram reaches into another document. Positions are sorted in
    groups of about a million, so that apart from the tables (16 bytes for each n-gram) and three numbers of 4 bytes
    for each token, which lie in temporary files where the text is large, the memory does not depend on the text.

    `prune` has for each order from 1 on the greatest number of occurrences with which an n-gram is dropped; the last
    value holds for all higher orders. The values do not decrease, and the first is 0.

    Raises:
        ConfigError: The tables do not fit into memory.
    """
    check_fits(
        f"the n-grams of {len(ids):,} tokens",
        _BYTES_PER_TOKEN * (order - 1) * len(ids),
        torch.device("cpu"),
        smaller="the order or the text",
    )
    occurrences, keys, counts = [torch.bincount(ids, minlength=vocab_size).int()], [], []
    # The index of the n-gram that ends at each position, -1 where there is none.
    index = ids
    for n in range(2, order + 1):
        key, suffix, number, index = _extend(index, ids, occurrences[-1], vocab_size, bos_id, last=n == order)
        # An n-gram has as many different tokens before it as there are n-grams of the next order that end with it. One
        # that begins with <bos> has none and keeps its occurrences.
        different = torch.bincount(suffix, minlength=len(occurrences[-1])).int()
        counts.append(torch.where(different == 0, occurrences[-1], different))
        keys.append(key)
        occurrences.append(number)
        # Sorting has freed hundreds of megabytes, which glibc would keep.
        return_freed_memory()
    counts.append(occurrences[-1])
    counts[0] = counts[0].index_fill(0, torch.tensor([bos_id]), 0)
    discounts = [estimate_discounts(values) for values in counts]
    tables = [
        NGramTable(key, count, None, own) for key, count, own in zip(keys, counts[1:], discounts[1:], strict=True)
    ]
    masks = [occurrences[n - 1] > prune[min(n, len(prune)) - 1] for n in range(2, order + 1)]
    return NGramCounts(counts[0], discounts[0], tuple(tables), hash_passages(ids)).keep(masks)


def _extend(
    index: Tensor, ids: Tensor, occurrences: Tensor, vocab_size: int, bos_id: int, *, last: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Extends the n-grams that end at each position, given by their indices, -1 for none, by the token after it.

    Returns the keys of the longer n-grams, the indices of the n-grams that they end with and their occurrences,
    **Shape:** (number of longer n-grams,), and the index of the longer n-gram that ends at each position, unless they
    are the last.
    """
    following = index if last else scratch_tensor(len(ids)).fill_(-1)
    found, total = [], 0
    for first, stop in itertools.pairwise(_prefix_bounds(occurrences)):
        before = index[:-1]
        positions = ((before >= first) & (before < stop) & (ids[1:] != bos_id)).nonzero().squeeze(1)
        # The radix sort takes time by the greatest key, so keys count from the first of the range.
        ordered, permutation = ((before[positions].long() - first) * vocab_size + ids[positions + 1]).sort()
        is_first = torch.ones_like(ordered, dtype=torch.bool)
        torch.ne(ordered[1:], ordered[:-1], out=is_first[1:])
        positions = positions[permutation] + 1
        firsts = is_first.nonzero().squeeze(1)
        if not last:
            following[positions] = (is_first.cumsum(0) + (total - 1)).int()
        number = torch.diff(firsts, append=torch.tensor([len(ordered)]))
        found.append((ordered[firsts] + first * vocab_size, index[positions[firsts]], number.int()))
        total += len(firsts)
    columns = list(zip(*found, strict=True))
    found.clear()
    # Each column is released when it has been joined.
    keys, suffixes, numbers = (torch.cat(columns.pop(0)) for _ in range(3))
    return keys, suffixes, numbers, following


def _prefix_bounds(occurrences: Tensor) -> list[int]:
    """Returns bounds of ranges of n-grams, each with about as many occurrences as are sorted at once."""
    sums = occurrences.cumsum(0)
    targets = torch.arange(1, 1 + int(occurrences.sum()) // _SORTED_AT_ONCE) * _SORTED_AT_ONCE
    stops = {*torch.searchsorted(sums, targets).tolist(), len(occurrences)} - {0}
    # One empty range where there are no n-grams, as in documents that are all shorter than them.
    return [0, *sorted(stops or {0})]


def estimate_discounts(counts: Tensor) -> tuple[float, float, float]:
    """Estimates the discounts of an order from its counts of counts (Chen and Goodman, 1999).

    They are `FALLBACK_DISCOUNTS` where a count from 1 to 4 does not occur, or where one would not lie between 0 and the
    count that it is subtracted from.
    """
    ones, twos, threes, fours = ((counts == count).sum().item() for count in (1, 2, 3, 4))
    if not ones or not twos or not threes or not fours:
        return FALLBACK_DISCOUNTS
    share = ones / (ones + 2 * twos)
    discounts = 1 - 2 * share * twos / ones, 2 - 3 * share * threes / twos, 3 - 4 * share * fours / threes
    inside = all(0 < discount < count for count, discount in enumerate(discounts, start=1))
    return discounts if inside else FALLBACK_DISCOUNTS


def _prune(table: NGramTable, kept: Tensor, prefixes: Tensor | None, num_prefixes: int, vocab_size: int) -> NGramTable:
    """Keeps some n-grams of a table, given as a mask; `prefixes` is that of the order before, None if all were kept.

    **Shape:** (num_ngrams,) and (num_prefixes before,), bool; `num_prefixes` is the number of those that were kept.
    """
    keys, counts, pruned = table.keys, table.counts, table.pruned
    if prefixes is not None and not bool(prefixes.all()):
        moved = torch.where(prefixes, prefixes.cumsum(0) - 1, -1)
        keys = moved[keys // vocab_size] * vocab_size + keys % vocab_size
        pruned = None if pruned is None else pruned[prefixes]
    if bool(kept.all()):
        return NGramTable(keys, counts, pruned, table.discounts)
    dropped = ~kept & (keys >= 0)
    pruned = torch.zeros(num_prefixes, dtype=torch.int32) if pruned is None else pruned
    pruned = pruned.index_add(0, keys[dropped] // vocab_size, counts[dropped])
    return NGramTable(keys[kept], counts[kept], pruned, table.discounts)


def _pack(values: Tensor) -> tuple[Tensor, Tensor]:
    """Packs non-negative integers, two into a byte; values of 15 and above follow as pairs of index and value."""
    small = torch.zeros(len(values) + len(values) % 2, dtype=torch.uint8)
    small[: len(values)] = values.clamp(max=_LARGE)
    large = (values >= _LARGE).nonzero().squeeze(1)
    return small[::2] | small[1::2] << 4, torch.stack([large.int(), values[large].int()], dim=1)


def _unpack(packed: Tensor, large: Tensor, size: int) -> Tensor:
    """Unpacks what `_pack` returned; raises a ValueError if the list of large values is not that of the bytes."""
    values = torch.stack([packed & _LARGE, packed >> 4], dim=1).flatten()[:size].int()
    indices = (values == _LARGE).nonzero().squeeze(1)
    if not torch.equal(indices.int(), large[:, 0]) or bool((large[:, 1] < _LARGE).any()):
        raise ValueError("the large values are not those of the table")
    values[indices] = large[:, 1]
    return values
