"""Vectors of words for generation: each is put together once, when the word first comes."""

import torch
from torch import Tensor

from zh_lstm_lm.rowwise import marks_of
from zh_lstm_lm.word_embedding import WordEmbedding

__all__ = ["LookedUpVectors"]


class LookedUpVectors:
    """What a `WordEmbedding` gives on the CPU, without gradients, for a fraction of its time.

    A table has room for all words, but only the parts of it that hold words that came take memory.

    Args:
        embedding: The embedding.
    """

    def __init__(self, embedding: WordEmbedding) -> None:
        self._embedding = embedding
        self._marks: list[tuple[int, int]] | None = None
        self.begin()

    def begin(self) -> None:
        """Forgets all where the embedding's weights have changed."""
        marks = marks_of(*self._embedding.parameters())
        if marks != self._marks:
            weight = self._embedding.weight
            self._table = torch.empty_like(weight, requires_grad=False), torch.zeros(len(weight), dtype=torch.bool)
            self._marks = marks

    def __call__(self, ids: Tensor) -> Tensor:
        """Looks vectors up. **Shape:** (rows,), int64, to (rows, embedding_dim)."""
        table, known = self._table
        here = known[ids]
        if not here.all():
            new = ids[~here]
            table[new] = self._embedding(new)
            known[new] = True  # after the vectors, as threads share them
        return table[ids]
