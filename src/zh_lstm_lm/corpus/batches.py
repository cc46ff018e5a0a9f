"""Batches of ids: BPTT segments with carried state for training, segments with context for evaluation."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "IGNORED", "Batch", "EvaluationSegment", "TrainingWindows", "evaluation_segments", "sample_ids", "segment_windows",
]  # fmt: skip

IGNORED = -100
"""The target that is not counted, as in `torch.nn.functional.cross_entropy`."""

# A sample of the validation set: its share of the training text with its bounds, and the ids of a piece.
_SAMPLE, _LEAST_SAMPLE, _MOST_SAMPLE, _PIECE = 0.005, 1 << 13, 1 << 15, 1 << 10


class Batch(NamedTuple):
    """Inputs and targets, `IGNORED` where none is counted, of a BPTT segment. **Shape:** (batch, time), int64, both."""

    inputs: Tensor
    targets: Tensor


class TrainingWindows(Sequence[Batch]):
    """An epoch as a sequence of batches, in which row *i* continues row *i* of the previous batch.

    The ids are cut into `batch_size` rows of equal length (to one token), fewer if there are fewer tokens. The last
    target of a row is the first input of the next row, so every token is a target exactly once per epoch; ``<bos>`` is
    never a target, but is read at the start of each document. Batches are indexed, so a run can continue at any of
    them. The last BPTT segment of the epoch may be shorter.
    """

    def __init__(self, ids: Tensor, *, batch_size: int, bptt_len: int, bos_id: int = 0) -> None:
        num_targets = max(len(ids) - 1, 0)
        self.batch_size: int = max(1, min(batch_size, num_targets))
        self.bptt_len = bptt_len
        self.bos_id = bos_id
        self._ids = ids
        bounds = torch.arange(self.batch_size + 1) * num_targets // self.batch_size
        self._starts, self._stops = bounds[:-1, None], bounds[1:, None]  # (batch, 1)
        self._row_length = math.ceil(num_targets / self.batch_size)

    def __len__(self) -> int:
        return math.ceil(self._row_length / self.bptt_len)

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        first = index * self.bptt_len
        last = min(first + self.bptt_len, self._row_length)
        positions = self._starts + torch.arange(first, last + 1)  # (batch, time + 1)
        ids = self._ids[positions.clamp_(max=len(self._ids) - 1)].long()
        targets = ids[:, 1:].clone()
        targets[(targets == self.bos_id) | (positions[:, :-1] >= self._stops)] = IGNORED
        return Batch(ids[:, :-1], targets)


@dataclass(frozen=True)
class EvaluationSegment:
    """The positions of a part of a document that is read from a zero state; ids before the first target are context."""

    start: int
    first_target: int
    stop: int


def evaluation_segments(
    ids: Tensor, *, segment_len: int = 4096, context_len: int = 256, bos_id: int = 0
) -> list[EvaluationSegment]:
    """Cuts documents into segments with context, in which every token but ``<bos>`` is a target exactly once."""
    starts = (ids == bos_id).nonzero().squeeze(1).tolist()
    segments = []
    for start, stop in itertools.pairwise([*starts, len(ids)]):
        for first in range(start + 1, stop, segment_len):
            segments.append(EvaluationSegment(max(start, first - context_len), first, min(first + segment_len, stop)))
    return segments


def sample_ids(ids: Tensor, num_training_ids: int, *, bos_id: int = 0) -> Tensor:
    """Samples the ids of a validation set for evaluations inside an epoch; a small set is returned as it is.

    The sample has about 0.5 % as many ids as the training text, but 8,192 to 32,768, in pieces at equal distances; each
    piece is a document of its own. **Shape:** (number of ids,) to (sampled ids and a ``<bos>`` for each piece,).
    """
    size = min(_MOST_SAMPLE, max(_LEAST_SAMPLE, int(_SAMPLE * num_training_ids)))
    if len(ids) <= size:
        return ids
    starts = torch.linspace(0, len(ids) - _PIECE, size // _PIECE, dtype=torch.float64).long()
    pieces = ids[starts[:, None] + torch.arange(_PIECE)]
    return torch.cat([pieces.new_full((len(pieces), 1), bos_id), pieces], dim=1).flatten()


def segment_windows(ids: Tensor, segments: Sequence[EvaluationSegment], *, window_len: int) -> Iterator[Batch]:
    """Yields batches of segments, the longest first, that are read in parallel, one segment per row.

    A batch has rows only for the segments that reach it; the end of a segment is padded with `IGNORED` targets.
    """
    starts = torch.tensor([segment.start for segment in segments])[:, None]
    firsts = torch.tensor([segment.first_target for segment in segments])[:, None]
    stops = torch.tensor([segment.stop for segment in segments])[:, None]
    lengths = stops - starts - 1  # (batch, 1)
    longest = int(lengths[0])
    for begin in range(0, longest, window_len):
        rows = int((lengths > begin).sum())
        positions = starts[:rows] + torch.arange(begin, min(begin + window_len, longest) + 1)  # (rows, time + 1)
        window = ids[positions.clamp(max=len(ids) - 1)].long()
        targets = window[:, 1:].clone()
        targets[(positions[:, 1:] < firsts[:rows]) | (positions[:, 1:] >= stops[:rows])] = IGNORED
        yield Batch(window[:, :-1], targets)
