"""A stream's numbers to ids: each token of its lexicon is spelled once."""

from array import array
from collections.abc import Callable

import torch
from torch import Tensor

from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.storage.scratch import scratch_tensor

__all__ = ["SpellingTable"]


class SpellingTable:
    """For each token of a stream's lexicon the ids that spell it, as flat tensors.

    Args:
        stream: The stream.
        spell: Gives the ids of a token.
    """

    def __init__(self, stream: TokenStream, spell: Callable[[str], list[int]]) -> None:
        spelled, lengths = array("i"), array("q")  # so many lists kept would each be looked at by the garbage collector
        for token in stream.lexicon:
            ids = spell(token)
            spelled.extend(ids)
            lengths.append(len(ids))
        self._stream = stream
        self._lengths = torch.tensor(lengths, dtype=torch.int64)
        self._starts = self._lengths.cumsum(0) - self._lengths
        self._ids = torch.tensor(spelled, dtype=torch.int32)

    def encode(self, bos_id: int) -> Tensor:
        """The ids of the whole stream, every document after a `bos_id`. **Shape:** (number of ids,), int32."""
        num_ids = int((self._lengths * self._stream.token_counts()).sum())
        ids = scratch_tensor(num_ids + self._stream.num_documents)
        position = 0
        for span in self._stream.documents:
            ids[position] = bos_id
            position += 1
            for numbers in self._stream._part([span]).numbers():
                spelled = self._spell(numbers)
                ids[position : position + len(spelled)] = spelled
                position += len(spelled)
        return ids

    def count(self, size: int) -> Tensor:
        """How often each of `size` ids occurs. **Shape:** (size,), int64."""
        repeated = torch.repeat_interleave(self._stream.token_counts(), self._lengths)
        return torch.zeros(size, dtype=torch.int64).index_add_(0, self._ids.long(), repeated)

    def _spell(self, numbers: Tensor) -> Tensor:
        """Numbers of the lexicon to ids. **Shape:** (tokens,), at least one, to (ids,)."""
        numbers = numbers.long()
        lengths = self._lengths[numbers]
        ends = lengths.cumsum(0)
        total = int(ends[-1])
        shift = self._starts[numbers] - (ends - lengths)  # from place in the output to place in the table
        return self._ids[torch.repeat_interleave(shift, lengths, output_size=total) + torch.arange(total)]
