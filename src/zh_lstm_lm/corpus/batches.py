"""Ids cut into windows: for training, lanes whose state carries over; for evaluation, segments with context."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["IGNORED", "Batch", "EvaluationSegment", "TrainingWindows", "evaluation_segments", "segment_windows"]

IGNORED = -100
"""The target that is not counted, as in `torch.nn.functional.cross_entropy`."""


class Batch(NamedTuple):
    """A window of each lane.

    Attributes:
        inputs: Ids to read. **Shape:** (batch, time), int64.
        targets: The ids that follow; `IGNORED` where none is to be predicted. **Shape:** (batch, time), int64.
    """

    inputs: Tensor
    targets: Tensor


class TrainingWindows(Sequence[Batch]):
    """An epoch as a sequence of windows, in which row *i* continues row *i* of the window before.

    The ids are cut into `batch_size` lanes of equal length (to one token). A lane's last target is the next lane's
    first input, so every token is a target exactly once an epoch; ``<bos>`` is never one, but is read where a document
    begins. Any window can be had by its number, so a run can go on from where it was.

    Args:
        ids: Documents one behind the other, each beginning with ``<bos>``. **Shape:** (number of ids,), int32.
        batch_size: Number of lanes; fewer are made where there are not that many tokens.
        bptt_len: Length of a window in tokens, over which gradients flow; the epoch's last one may be shorter.
        bos_id: The id of ``<bos>``.
    """

    def __init__(self, ids: Tensor, *, batch_size: int, bptt_len: int, bos_id: int = 0) -> None:
        places = max(len(ids) - 1, 0)
        self.batch_size = max(1, min(batch_size, places))
        self.bptt_len = bptt_len
        self.bos_id = bos_id
        self._ids = ids
        bounds = torch.arange(self.batch_size + 1) * places // self.batch_size
        self._starts, self._stops = bounds[:-1, None], bounds[1:, None]  # (batch, 1)
        self._lane_length = math.ceil(places / self.batch_size)

    def __len__(self) -> int:
        return math.ceil(self._lane_length / self.bptt_len)

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        first = index * self.bptt_len
        last = min(first + self.bptt_len, self._lane_length)
        places = self._starts + torch.arange(first, last + 1)  # (batch, time + 1)
        ids = self._ids[places.clamp_(max=len(self._ids) - 1)].long()
        targets = ids[:, 1:].clone()
        targets[(targets == self.bos_id) | (places[:, :-1] >= self._stops)] = IGNORED
        return Batch(ids[:, :-1], targets)


@dataclass(frozen=True)
class EvaluationSegment:
    """A stretch of a document that is read from a zero state.

    Attributes:
        start: Place of the first id read.
        first_target: Place of the first id counted; what is read before it is context.
        stop: One behind the last id counted.
    """

    start: int
    first_target: int
    stop: int


def evaluation_segments(
    ids: Tensor, *, segment_len: int = 4096, context_len: int = 256, bos_id: int = 0
) -> list[EvaluationSegment]:
    """Cuts documents into segments in which every token but ``<bos>`` is counted exactly once.

    Args:
        ids: Documents one behind the other, each beginning with ``<bos>``. **Shape:** (number of ids,).
        segment_len: Most counted tokens of a segment.
        context_len: Most tokens read before the first counted one (fewer at the start of a document).
        bos_id: The id of ``<bos>``.
    """
    begins = (ids == bos_id).nonzero().squeeze(1).tolist()
    segments = []
    for begin, end in itertools.pairwise([*begins, len(ids)]):
        for first in range(begin + 1, end, segment_len):
            segments.append(EvaluationSegment(max(begin, first - context_len), first, min(first + segment_len, end)))
    return segments


def segment_windows(ids: Tensor, segments: Sequence[EvaluationSegment], *, window_len: int) -> Iterator[Batch]:
    """Yields the windows of segments that are read side by side, one a row.

    A window has rows only for the segments that reach into it; the last window of each is filled up uncounted.

    Args:
        ids: The ids that the segments lie in. **Shape:** (number of ids,).
        segments: The rows, the longest first.
        window_len: Length of a window in tokens.
    """
    starts = torch.tensor([segment.start for segment in segments])[:, None]
    firsts = torch.tensor([segment.first_target for segment in segments])[:, None]
    stops = torch.tensor([segment.stop for segment in segments])[:, None]
    lengths = stops - starts - 1  # (batch, 1)
    longest = int(lengths[0])
    for begin in range(0, longest, window_len):
        rows = int((lengths > begin).sum())
        places = starts[:rows] + torch.arange(begin, min(begin + window_len, longest) + 1)  # (rows, time + 1)
        window = ids[places.clamp(max=len(ids) - 1)].long()
        targets = window[:, 1:].clone()
        targets[(places[:, 1:] < firsts[:rows]) | (places[:, 1:] >= stops[:rows])] = IGNORED
        yield Batch(window[:, :-1], targets)
