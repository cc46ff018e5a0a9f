"""What of a text is new, and what was copied from the text that a model learned from.

N-grams are compared by exact names, not by hashes: the name of an n-gram is the place of (name of the n-gram without
its last item, last item) among the sorted pairs of the text (Karp, Miller and Rosenberg, 1972). The training text is
read once for each n, and only where the (n-1)-gram was found, so its cost falls quickly with n.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from zh_lstm_lm._config import check_integer, check_type
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.errors import DataError
from zh_lstm_lm.runtime.devices import on_cpu_by_default
from zh_lstm_lm.text.normalization import align_text
from zh_lstm_lm.tokenizers.base import add_separator
from zh_lstm_lm.tokenizers.workers import tokenize_paragraphs

__all__ = ["CopiedPassage", "Novelty", "novelty"]

_BASE = 1 << 32  # above every name, word number and code point
_SEPARATOR = _BASE - 1  # between documents
_BLOCK_TOKENS = 1 << 22
_MAX_PAIRS = 1 << 22


@dataclass(frozen=True)
class CopiedPassage:
    """A passage of a text that stands in the training text, too, and cannot be made longer on either side.

    Attributes:
        text: The passage.
        start: Its first character in the text as it was given.
        stop: One behind its last character.
        document: Name of a document of the training text that holds it.
        position: Its first character there.
    """

    text: str
    start: int
    stop: int
    document: str
    position: int


@dataclass(frozen=True)
class Novelty:
    """What of a text is new.

    Attributes:
        num_characters: Characters of the text.
        num_words: Words of the text.
        new_characters: Share of its n-grams of characters that the training text does not have, for n = 1, 2, …
        new_words: The same for n-grams of words.
        longest_copy: Characters of the longest copied passage, 0 for none.
        passages: The longest copied passages, the longest first, of at least as many characters as the longest n-grams.
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
    """Compares a text with the text that a model learned from.

    Args:
        text: The text; it goes through the stream's normalisation and tokenizer.
        stream: The training part.
        max_n: Longest n-grams that are counted, and shortest passages that are told.
        num_passages: Most passages to tell, each once, and none that lies within a longer one. Text that repeats itself
            millions of times in both may be told by a part of the passage.

    Raises:
        DataError: The text is empty or not a string, or the stream is.
        ConfigError: An option is out of range.
    """
    check_type("stream", stream, TokenStream)
    check_integer("max_n", max_n, minimum=1, maximum=64)
    check_integer("num_passages", num_passages, minimum=0)
    aligned = align_text(text, stream.normalize)
    if not aligned.text or not len(stream):
        raise DataError(f"there is nothing to compare: the {'stream' if aligned.text else 'text'} is empty")
    numbers = {token: number for number, token in enumerate(stream.lexicon)}
    words = [numbers.get(word, _SEPARATOR - 1) for word in tokenize_paragraphs(stream.tokenizer, aligned.text)]
    of_words = _NGrams(torch.tensor(words), max_n)
    of_characters = _NGrams(_codes(aligned.text), max_n)
    matches = [torch.empty(0, 3, dtype=torch.int64)]
    documents: list[tuple[int, str]] = []  # where each begins, counted over all characters of the stream
    reached = 0
    for block in _blocks(stream):
        of_words.find(block.words)
        documents += [(reached + start, name) for start, name in block.documents]
        matches.append(of_characters.matches(block.characters) + torch.tensor([0, 0, reached]))
        reached += len(block.characters)
    found = _not_contained(torch.cat(matches))
    passages: dict[str, CopiedPassage] = {}
    for start, length, place in found[found[:, 1].argsort(descending=True, stable=True)].tolist():
        if len(passages) == num_passages:
            break
        begin, name = max(document for document in documents if document[0] <= place)
        span = aligned.span(start, start + length)
        copied = aligned.text[start : start + length]
        passages.setdefault(copied, CopiedPassage(text[slice(*span)], *span, name, place - begin))
    return Novelty(
        len(aligned.text),
        len(words),
        of_characters.new_shares(),
        of_words.new_shares(),
        int(found[:, 1].max()) if len(found) else of_characters.longest_found(),
        tuple(passages.values()),
    )


class _NGrams:
    """The n-grams of a text by name, and which of them were found elsewhere.

    Args:
        items: Characters or words as numbers. **Shape:** (items,), int64.
        max_n: Length of the longest; no longer than the text.
    """

    def __init__(self, items: Tensor, max_n: int) -> None:
        self.top = min(max_n, len(items))
        self.names = [torch.zeros_like(items)]
        self._tables = []
        for n in range(1, self.top + 1):
            keys = self.names[-1][: len(items) - n + 1] * _BASE + items[n - 1 :]
            table, names = torch.unique(keys, return_inverse=True)
            self._tables.append(table)
            self.names.append(names)
        self._found = [torch.zeros(len(table), dtype=torch.bool) for table in self._tables]

    def find(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Marks what stands in another text. **Shape:** (items,).

        Returns:
            The places there of the longest n-grams that this text has, too, and their names. **Shape:** (places,), twice.
        """
        places, names = torch.arange(len(items)), torch.zeros(len(items), dtype=torch.int64)
        for n, table in enumerate(self._tables, 1):
            inside = places + n <= len(items)
            places, names = places[inside], names[inside]
            places, names = _look_up(table, places, names * _BASE + items[places + n - 1])
            self._found[n - 1][names] = True
        return places, names

    def matches(self, items: Tensor) -> Tensor:
        """Marks what stands in another text, and finds the passages that both have, of the longest n-grams' length on.

        Args:
            items: The other text. **Shape:** (items,).

        Returns:
            Start in this text, length, and start in the other one, of each. **Shape:** (passages, 3).
        """
        places, names = self.find(items)
        own, size = self.names[-1], self.top
        while len(places) and int(own.bincount()[names].sum()) > _MAX_PAIRS:  # too many pairs: look at longer ones
            if len(own) <= size:
                break
            table, longer = torch.unique(own[:-size] * _BASE + own[size:], return_inverse=True)
            after = torch.searchsorted(places, places + size).clamp(max=len(places) - 1)
            joined = places[after] == places + size
            kept, kept_names = _look_up(table, places[joined], names[joined] * _BASE + names[after[joined]])
            if not len(kept):
                break
            own, size, places, names = longer, 2 * size, kept, kept_names
        counts = own.bincount()
        within = counts[names].cumsum(0) <= _MAX_PAIRS  # the first ones, where both texts repeat themselves
        places, names = places[within], names[within]
        return _passages(own, size, places, names, counts)

    def new_shares(self) -> tuple[float, ...]:
        """Share of the n-grams that were not found, for each n."""
        pairs = zip(self._found, self.names[1:], strict=True)
        return tuple(1 - float(found[names].double().mean()) for found, names in pairs)

    def longest_found(self) -> int:
        """The longest n of which an n-gram was found; 0 for none."""
        return sum(bool(found.any()) for found in self._found)


def _look_up(table: Tensor, places: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """The places whose keys are in a sorted table, and where they are in it."""
    if not len(table):
        return places[:0], keys[:0]
    names = torch.searchsorted(table, keys).clamp_(max=len(table) - 1)
    hit = table[names] == keys
    return places[hit], names[hit]


def _passages(own: Tensor, size: int, places: Tensor, names: Tensor, counts: Tensor) -> Tensor:
    """Joins equal n-grams of two texts that lie one behind the other in both."""
    by_name = own.argsort(stable=True)
    repeats = counts[names]
    ends = repeats.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    first = (counts.cumsum(0) - counts)[names] - (ends - repeats)
    starts = by_name[torch.repeat_interleave(first, repeats, output_size=total) + torch.arange(total)]
    others = torch.repeat_interleave(places, repeats, output_size=total)
    shifts = others - starts + len(own)  # of a passage all are the same
    keys = (shifts * _BASE + starts).sort().values
    begins = torch.cat([keys.new_zeros(1), keys[:-1]]) != keys - 1  # where a passage begins
    heads = keys[begins]
    lengths = torch.diff(begins.nonzero().squeeze(1), append=torch.tensor([len(keys)])) + size - 1
    starts = heads % _BASE
    return _not_contained(torch.stack([starts, lengths, heads // _BASE - len(own) + starts], dim=1))


def _not_contained(passages: Tensor) -> Tensor:
    """Leaves out every passage that lies within another one, and all but the first of equal ones."""
    if not len(passages):
        return passages
    passages = passages[passages[:, 2].argsort(stable=True)]
    passages = passages[passages[:, 1].argsort(descending=True, stable=True)]
    passages = passages[passages[:, 0].argsort(stable=True)]  # by start; of equal starts the longest first
    ends = passages[:, 0] + passages[:, 1]
    before = torch.cat([ends.new_zeros(1), ends.cummax(0).values[:-1]])
    return passages[ends > before]


@dataclass(frozen=True)
class _Block:
    """Some documents as numbers, with a separator behind each.

    Attributes:
        words: **Shape:** (words,), int64.
        characters: **Shape:** (characters,), int64.
        documents: Where in `characters` each begins, and its name.
    """

    words: Tensor
    characters: Tensor
    documents: list[tuple[int, str]]


def _blocks(stream: TokenStream) -> Iterator[_Block]:
    """Yields the documents in blocks of bounded size, a longer document as one block."""
    tokens = [add_separator(token, stream.tokenizer.separator) for token in stream.lexicon]
    lengths = torch.tensor([*map(len, tokens), 1])
    codes = torch.cat([_codes("".join(tokens)), torch.tensor([_SEPARATOR])])
    places = lengths.cumsum(0) - lengths
    separator = torch.tensor([len(stream.lexicon)])
    parts: list[Tensor] = []
    names: list[str] = []
    size = 0
    for number, span in enumerate(stream.documents, 1):
        parts += [stream._tokens[span.start : span.stop].long(), separator]
        names.append(span.name)
        size += span.stop - span.start
        if size < _BLOCK_TOKENS and number < len(stream.documents):
            continue
        words = torch.cat(parts)
        repeats = lengths[words]
        ends = repeats.cumsum(0)
        shift = places[words] - (ends - repeats)
        characters = codes[torch.repeat_interleave(shift, repeats) + torch.arange(int(ends[-1]))]
        stops = [0, *ends[(words == separator).nonzero().squeeze(1)].tolist()]
        yield _Block(words, characters, list(zip(stops, names, strict=False)))
        parts, names, size = [], [], 0


def _codes(text: str) -> Tensor:
    """The code points of a text. **Shape:** (characters,), int64."""
    return torch.frombuffer(bytearray(text.encode("utf-32-le")), dtype=torch.int32).long()
