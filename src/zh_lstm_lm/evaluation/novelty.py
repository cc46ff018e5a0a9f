"""New n-grams of a text, and the passages that it shares with a training text.

N-grams are compared exactly, by numbers instead of hashes: the number of an n-gram is the position of the pair (number of
the n-gram without its last item, last item) among the sorted pairs of the text (Karp, Miller and Rosenberg, 1972). The
training text is read once for each n, and only where the (n-1)-gram was found, so the cost falls quickly with n.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from zh_lstm_lm._config import check_integer, check_type
from zh_lstm_lm.corpus.stream_encoder import ragged_indices
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.errors import DataError
from zh_lstm_lm.runtime.devices import on_cpu_by_default
from zh_lstm_lm.text.normalization import align_text
from zh_lstm_lm.tokenizers.base import add_separator
from zh_lstm_lm.tokenizers.workers import tokenize_paragraphs

__all__ = ["CopiedPassage", "Novelty", "novelty"]

# Greater than every n-gram number, word number and code point.
_BASE = 1 << 32
# The item after each document.
_DOCUMENT_END = _BASE - 1
_UNKNOWN_WORD = _BASE - 2
_BLOCK_TOKENS = 1 << 22
_MAX_PAIRS = 1 << 22


@dataclass(frozen=True)
class CopiedPassage:
    """A passage that a text shares with the training text and that cannot be extended on either side.

    Attributes:
        text: The passage.
        start: Its first character in the text as it was given.
        stop: One past its last character.
        document: Name of a document of the training text that contains it.
        position: Its first character there.
    """

    text: str
    start: int
    stop: int
    document: str
    position: int


@dataclass(frozen=True)
class Novelty:
    """The proportion of a text that is new, and its longest copied passages.

    Attributes:
        num_characters: Number of characters of the text.
        num_words: Number of words of the text.
        new_characters: Proportion of its character n-grams that the training text does not contain, for n = 1, 2, …
        new_words: The same for word n-grams.
        longest_copy: Number of characters of the longest copied passage; 0 for none.
        passages: The longest copied passages, the longest first, each at least as long as the longest n-grams.
    """

    num_characters: int
    num_words: int
    new_characters: tuple[float, ...]
    new_words: tuple[float, ...]
    longest_copy: int
    passages: tuple[CopiedPassage, ...]

    def __str__(self) -> str:
        lines = [f"{self.num_characters:,} characters, {self.num_words:,} words; longest copy {self.longest_copy}"]
        for name, shares in (("characters", self.new_characters), ("words", self.new_words)):
            lines.append(f"new n-grams of {name:<11}" + "".join(f"{n:>4}:{s:7.2%}" for n, s in enumerate(shares, 1)))
        for passage in self.passages:
            shown = passage.text if len(passage.text) <= 60 else passage.text[:40] + "…" + passage.text[-19:]
            lines.append(f"{len(passage.text):>6}  {passage.document}, {passage.position:,}: {shown!r}")
        return "\n".join(lines)


@on_cpu_by_default
def novelty(text: str, stream: TokenStream, *, max_n: int = 8, num_passages: int = 10) -> Novelty:
    """Compares a text with the training text of a model.

    Args:
        text: The text; it goes through the stream's normalisation and tokenizer.
        stream: The training set.
        max_n: Length of the longest n-grams and of the shortest passages.
        num_passages: Maximum number of passages, each listed once and none inside a longer one. Where both texts repeat
            themselves millions of times, a part may stand for a passage.

    Raises:
        DataError: The text is empty or not a string, or the stream is empty.
        ConfigError: An option is out of range.
    """
    check_type("stream", stream, TokenStream)
    check_integer("max_n", max_n, minimum=1, maximum=64)
    check_integer("num_passages", num_passages, minimum=0)
    aligned = align_text(text, stream.normalize)
    if not aligned.text or not len(stream):
        raise DataError(f"there is nothing to compare: the {'stream' if aligned.text else 'text'} is empty")
    numbers = {token: number for number, token in enumerate(stream.lexicon)}
    words = [numbers.get(word, _UNKNOWN_WORD) for word in tokenize_paragraphs(stream.tokenizer, aligned.text)]
    word_grams = _NGrams(torch.tensor(words), max_n)
    character_grams = _NGrams(_code_points(aligned.text), max_n)
    matches = [torch.empty(0, 3, dtype=torch.int64)]
    # The first character of each document, counted over the whole stream.
    documents: list[tuple[int, str]] = []
    num_read = 0
    for block in _blocks(stream):
        word_grams.find(block.words)
        documents += [(num_read + start, name) for start, name in block.documents]
        matches.append(character_grams.matches(block.characters) + torch.tensor([0, 0, num_read]))
        num_read += len(block.characters)
    found = _without_contained(torch.cat(matches))
    passages: dict[str, CopiedPassage] = {}
    for start, length, position in found[found[:, 1].argsort(descending=True, stable=True)].tolist():
        if len(passages) == num_passages:
            break
        begin, name = max(document for document in documents if document[0] <= position)
        span = aligned.span(start, start + length)
        copied = aligned.text[start : start + length]
        passages.setdefault(copied, CopiedPassage(text[slice(*span)], *span, name, position - begin))
    return Novelty(
        len(aligned.text),
        len(words),
        character_grams.new_shares(),
        word_grams.new_shares(),
        int(found[:, 1].max()) if len(found) else character_grams.longest_found(),
        tuple(passages.values()),
    )


class _NGrams:
    """The numbered n-grams of a text of numbers, each with a mark once it was found in another text."""

    def __init__(self, items: Tensor, max_n: int) -> None:
        self.max_n = min(max_n, len(items))
        self.numbers = [torch.zeros_like(items)]
        self._tables = []
        for n in range(1, self.max_n + 1):
            keys = self.numbers[-1][: len(items) - n + 1] * _BASE + items[n - 1 :]
            table, numbers = torch.unique(keys, return_inverse=True)
            self._tables.append(table)
            self.numbers.append(numbers)
        self._found = [torch.zeros(len(table), dtype=torch.bool) for table in self._tables]

    def find(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Marks the n-grams of another text; returns positions there of the longest shared ones and their numbers."""
        positions, numbers = torch.arange(len(items)), torch.zeros(len(items), dtype=torch.int64)
        for n, table in enumerate(self._tables, 1):
            inside = positions + n <= len(items)
            positions, numbers = positions[inside], numbers[inside]
            positions, numbers = _look_up(table, positions, numbers * _BASE + items[positions + n - 1])
            self._found[n - 1][numbers] = True
        return positions, numbers

    def matches(self, items: Tensor) -> Tensor:
        """Marks the n-grams of another text; returns start, length and start there of each shared passage."""
        positions, numbers = self.find(items)
        own, size = self.numbers[-1], self.max_n
        # Too many pairs of equal n-grams: n-grams of twice the length have fewer.
        while len(positions) and len(own) > size and int(own.bincount()[numbers].sum()) > _MAX_PAIRS:
            table, longer = torch.unique(own[:-size] * _BASE + own[size:], return_inverse=True)
            after = torch.searchsorted(positions, positions + size).clamp(max=len(positions) - 1)
            joined = positions[after] == positions + size
            kept, kept_numbers = _look_up(table, positions[joined], numbers[joined] * _BASE + numbers[after[joined]])
            if not len(kept):
                break
            own, size, positions, numbers = longer, 2 * size, kept, kept_numbers
        counts = own.bincount()
        # Where both texts repeat themselves, the first pairs have to do.
        within = counts[numbers].cumsum(0) <= _MAX_PAIRS
        return _join_pairs(own, size, positions[within], numbers[within], counts)

    def new_shares(self) -> tuple[float, ...]:
        """Returns the proportion of n-grams that were not found, for each n."""
        pairs = zip(self._found, self.numbers[1:], strict=True)
        return tuple(1 - float(found[numbers].double().mean()) for found, numbers in pairs)

    def longest_found(self) -> int:
        """Returns the largest n of which an n-gram was found; 0 for none."""
        return sum(bool(found.any()) for found in self._found)


def _look_up(table: Tensor, positions: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the positions whose keys are in a sorted table, and the indices of the keys in it."""
    indices = torch.searchsorted(table, keys).clamp_(max=len(table) - 1)
    hit = table[indices] == keys
    return positions[hit], indices[hit]


def _join_pairs(own: Tensor, size: int, positions: Tensor, numbers: Tensor, counts: Tensor) -> Tensor:
    """Joins pairs of equal n-grams that follow each other in both texts to passages; see `_NGrams.matches`.

    `own` has the number of the n-gram at each position of this text and `counts` how often each number occurs in it;
    `positions` and `numbers` are those of the n-grams found in the other text.
    """
    repeats = counts[numbers]
    starts = own.argsort(stable=True)[ragged_indices((counts.cumsum(0) - counts)[numbers], repeats)]
    # The shift is the same for all pairs of a passage.
    shifts = torch.repeat_interleave(positions, repeats) - starts + len(own)
    keys = (shifts * _BASE + starts).sort().values
    begins = torch.cat([keys.new_zeros(1), keys[:-1]]) != keys - 1
    heads = keys[begins]
    lengths = torch.diff(begins.nonzero().squeeze(1), append=torch.tensor([len(keys)])) + size - 1
    starts = heads % _BASE
    return _without_contained(torch.stack([starts, lengths, heads // _BASE - len(own) + starts], dim=1))


def _without_contained(passages: Tensor) -> Tensor:
    """Removes every passage inside another one, and all but the first of equal ones."""
    # By start; the longest first among equal starts, and the earliest in the other text among equal passages.
    for column, descending in ((2, False), (1, True), (0, False)):
        passages = passages[passages[:, column].argsort(descending=descending, stable=True)]
    ends = passages[:, 0] + passages[:, 1]
    before = torch.cat([ends.new_zeros(1), ends.cummax(0).values])[: len(ends)]
    return passages[ends > before]


class _Block(NamedTuple):
    """Some documents as numbers, each with `_DOCUMENT_END` after it; `documents` are their first characters and names."""

    words: Tensor
    characters: Tensor
    documents: list[tuple[int, str]]


def _blocks(stream: TokenStream) -> Iterator[_Block]:
    """Yields the documents in blocks of bounded size; a longer document is a block of its own."""
    separator = stream.tokenizer.separator
    tokens = [add_separator(token, separator) for token in stream.lexicon]
    lengths = torch.tensor([*map(len, tokens), 1])
    codes = torch.cat([_code_points("".join(tokens)), torch.tensor([_DOCUMENT_END])])
    starts = lengths.cumsum(0) - lengths
    newline, document_end = 0, len(tokens)
    words: list[Tensor] = []
    names: list[str] = []
    size = 0
    for number, span in enumerate(stream.documents, 1):
        words += [stream._tokens[span.start : span.stop].long(), torch.tensor([document_end])]
        names.append(span.name)
        size += span.stop - span.start
        if size < _BLOCK_TOKENS and number < len(stream.documents):
            continue
        block = torch.cat(words)
        before = torch.cat([torch.tensor([document_end]), block[:-1]])
        is_end = (block == newline) | (block == document_end)
        # The separator that the first word of a paragraph implies is not in the text.
        skipped = len(separator) * (~is_end & ((before == newline) | (before == document_end)))
        spelled = lengths[block] - skipped
        characters = codes[ragged_indices(starts[block] + skipped, spelled)]
        stops = [0, *spelled.cumsum(0)[block == document_end].tolist()]
        yield _Block(block, characters, list(zip(stops, names, strict=False)))
        words, names, size = [], [], 0


def _code_points(text: str) -> Tensor:
    """Converts a text to code points. **Shape:** (characters,), int64."""
    return torch.frombuffer(bytearray(text.encode("utf-32-le")), dtype=torch.int32).long()
