"""Encoding of streams: the ids of each token of the lexicon are looked up once."""

from array import array
from collections.abc import Callable

import torch
from torch import Tensor

from zh_lstm_lm._config import check_type
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.storage.scratch import scratch_tensor

__all__ = ["SpellingTable", "ragged_indices"]


class SpellingTable:
    """The ids of each token of a stream's lexicon, which a function of the token returns, as flat tensors."""

    def __init__(self, stream: TokenStream, spell: Callable[[str], list[int]]) -> None:
        check_type("stream", stream, TokenStream)
        # Python's garbage collector would examine so many lists one by one.
        spelled, lengths = array("i"), array("q")
        for token in stream.lexicon:
            ids = spell(token)
            spelled.extend(ids)
            lengths.append(len(ids))
        self._stream = stream
        self._lengths = torch.tensor(lengths, dtype=torch.int64)
        self._starts = self._lengths.cumsum(0) - self._lengths
        self._ids = torch.tensor(spelled, dtype=torch.int32)

    def encode(self, bos_id: int) -> Tensor:
        """Encodes the stream, with `bos_id` before every document. **Shape:** (number of ids,), int32."""
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
        """Counts the occurrences of each of `size` ids. **Shape:** (size,), int64."""
        repeated = torch.repeat_interleave(self._stream.token_counts(), self._lengths)
        return torch.zeros(size, dtype=torch.int64).index_add_(0, self._ids.long(), repeated)

    def _spell(self, numbers: Tensor) -> Tensor:
        """Converts lexicon numbers to ids. **Shape:** (tokens,), at least one, to (ids,)."""
        numbers = numbers.long()
        return self._ids[ragged_indices(self._starts[numbers], self._lengths[numbers])]


def ragged_indices(starts: Tensor, lengths: Tensor) -> Tensor:
    """Returns the indices of slices of a flat tensor, one slice after another. **Shape:** (total length,), int64."""
    ends = lengths.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    # The difference between an index of the flat tensor and one of the result.
    shift = starts - (ends - lengths)
    return torch.repeat_interleave(shift, lengths, output_size=total) + torch.arange(total, device=starts.device)
