"""Vectors of words: each has one of its own, and shares those of its characters with every word that they occur in."""

from array import array
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from zh_lstm_lm.corpus.vocabulary import Vocabulary

__all__ = ["WordEmbedding"]

_LONGEST = 4  # characters that count; nearly all words of Chinese have no more


class WordEmbedding(nn.Embedding):
    """An embedding that adds to a token's vector the mean of those of its first four characters.

    Half of the words of a novel occur once or twice, which is too little to learn a vector from; their characters are
    common. (Characters in word vectors: Chen et al., 2015.)

    Args:
        vocabulary: The tokens.
        embedding_dim: Width of the vectors.
        characters: Whether characters have a part; if not, this is a plain `torch.nn.Embedding`.
    """

    def __init__(self, vocabulary: Vocabulary, embedding_dim: int, *, characters: bool = True) -> None:
        # Its own first weights are not wanted, and on the meta device drawing them loads PyTorch's compiler.
        super().__init__(len(vocabulary), embedding_dim, _weight=torch.empty(len(vocabulary), embedding_dim))
        self.characters: nn.Parameter | None = None
        if characters:
            self._spelled, num_characters = _spell(vocabulary)
            self._tables: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}
            self.characters = nn.Parameter(torch.empty(1 + num_characters, embedding_dim))  # the first is for none

    def forward(self, ids: Tensor) -> Tensor:
        """Looks vectors up. **Shape:** any, int64, to the same with one more dimension of `embedding_dim`."""
        own = super().forward(ids)
        if self.characters is None:
            return own
        spelled, shares = (table[ids.flatten()] for table in self._spelling_tables(ids.device))  # (ids, longest)
        shared = functional.embedding_bag(
            spelled, self.characters, mode="sum", per_sample_weights=shares, sparse=self.sparse
        )
        return own + shared.view_as(own)

    def touched_rows(self, ids: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The rows of each table that `forward` reads, rising, each once."""
        words = torch.unique(ids)
        yield self.weight, words
        if self.characters is not None:
            yield self.characters, torch.unique(self._spelling_tables(ids.device)[0][words])

    def _spelling_tables(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The characters of each token, filled up with 0, and their shares. **Shape:** (vocab_size, longest), twice."""
        kind = device, self.weight.dtype
        if kind not in self._tables:
            counted = self._spelled.ne(0).to(self.weight.dtype)
            shares = counted / counted.sum(dim=1, keepdim=True).clamp(min=1)  # in the mean
            self._tables[kind] = self._spelled.to(device), shares.to(device)
        return self._tables[kind]


def _spell(vocabulary: Vocabulary) -> tuple[Tensor, int]:
    """Numbers of the characters of each token, from 1 on and filled up with 0, and how many characters there are."""
    numbers: dict[str, int] = {}
    rows = array("i")  # one after another, as so many lists would each be looked at by the garbage collector
    for token in vocabulary.texts():
        row = [numbers.setdefault(character, len(numbers) + 1) for character in token[:_LONGEST]]
        rows.extend(row + [0] * (_LONGEST - len(row)))
    return torch.tensor(rows, dtype=torch.int64, device="cpu").view(-1, _LONGEST), len(numbers)
