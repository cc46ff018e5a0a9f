"""Windows for training and segments for evaluation, against plain loops over (read, predicted) pairs."""

from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from zh_lstm_lm.corpus.batches import (
    IGNORED,
    Batch,
    EvaluationSegment,
    TrainingWindows,
    evaluation_segments,
    sample_ids,
    segment_windows,
)

quick = settings(max_examples=100, deadline=None, derandomize=True, database=None)


@st.composite
def id_tensors(draw: st.DrawFn, *, max_size: int = 60) -> Tensor:
    """Ids that are all different but for <bos>, which stands first and at random places."""
    size = draw(st.integers(1, max_size))
    ids = torch.arange(1, size + 1, dtype=torch.int32)
    begins = draw(st.sets(st.integers(0, size - 1)))
    ids[[0, *begins]] = 0
    return ids


def pairs_of(ids: Tensor) -> Counter[tuple[int, int]]:
    """Every token with the one before it, as often as it stands in the text."""
    values = ids.tolist()
    return Counter((before, after) for before, after in pairwise(values) if after != 0)


def counted_pairs(batches: list[Batch]) -> Counter[tuple[int, int]]:
    """Every counted target with the input it is predicted from."""
    counted: Counter[tuple[int, int]] = Counter()
    for inputs, targets in batches:
        mask = targets != IGNORED
        counted.update(zip(inputs[mask].tolist(), targets[mask].tolist(), strict=True))
    return counted


@quick
@given(ids=id_tensors(), batch_size=st.integers(1, 12), bptt_len=st.integers(1, 12))
@example(ids=torch.tensor([0], dtype=torch.int32), batch_size=4, bptt_len=3)
@example(ids=torch.zeros(7, dtype=torch.int32), batch_size=3, bptt_len=2)
def test_every_token_is_a_target_exactly_once_after_the_token_before_it(
    ids: Tensor, batch_size: int, bptt_len: int
) -> None:
    windows = TrainingWindows(ids, batch_size=batch_size, bptt_len=bptt_len)
    assert counted_pairs(list(windows)) == pairs_of(ids)


@quick
@given(ids=id_tensors(), batch_size=st.integers(1, 12), bptt_len=st.integers(1, 12))
def test_each_row_continues_its_row_of_the_window_before(ids: Tensor, batch_size: int, bptt_len: int) -> None:
    batches = list(TrainingWindows(ids, batch_size=batch_size, bptt_len=bptt_len))
    if not batches:
        assert len(ids) == 1
        return
    inputs = torch.cat([batch.inputs for batch in batches], dim=1)  # (batch, lane)
    targets = torch.cat([batch.targets for batch in batches], dim=1)
    followed = targets[:, :-1] != IGNORED
    assert torch.equal(inputs[:, 1:][followed], targets[:, :-1][followed])
    text = ids.tolist()
    starts = []
    for row, counted in zip(inputs.tolist(), (targets != IGNORED).tolist(), strict=True):
        length = max((place + 1 for place, is_counted in enumerate(counted) if is_counted), default=0)
        starts.append([place for place in range(len(text)) if text[place : place + length] == row[:length]])
    assert all(starts), "a row reads the text in one piece"


@quick
@given(ids=id_tensors(), batch_size=st.integers(1, 12), bptt_len=st.integers(1, 12))
def test_windows_have_the_length_asked_for_and_never_predict_bos(ids: Tensor, batch_size: int, bptt_len: int) -> None:
    windows = TrainingWindows(ids, batch_size=batch_size, bptt_len=bptt_len)
    for number, (inputs, targets) in enumerate(windows):
        assert inputs.shape == targets.shape
        assert inputs.dtype == targets.dtype == torch.int64
        assert inputs.shape[0] == min(batch_size, len(ids) - 1)
        assert inputs.shape[1] == bptt_len or (number == len(windows) - 1 and 0 < inputs.shape[1] < bptt_len)
        assert not (targets == 0).any()


@quick
@given(ids=id_tensors(), batch_size=st.integers(1, 6), bptt_len=st.integers(1, 6))
def test_a_window_by_its_number_is_the_one_met_in_order(ids: Tensor, batch_size: int, bptt_len: int) -> None:
    before = ids.clone()
    windows = TrainingWindows(ids, batch_size=batch_size, bptt_len=bptt_len)
    in_order = list(windows)
    assert len(in_order) == len(windows)
    for number in reversed(range(len(windows))):
        again = windows[number]
        assert torch.equal(again.inputs, in_order[number].inputs)
        assert torch.equal(again.targets, in_order[number].targets)
    assert torch.equal(ids, before)
    with pytest.raises(IndexError):
        windows[len(windows)]


def test_lanes_share_one_token_and_bos_is_read_but_not_predicted() -> None:
    ids = torch.tensor([0, 1, 2, 3, 4, 5, 0, 7, 8, 9], dtype=torch.int32)
    first, second = TrainingWindows(ids, batch_size=3, bptt_len=2)
    assert first.inputs.tolist() == [[0, 1], [3, 4], [0, 7]]
    assert first.targets.tolist() == [[1, 2], [4, 5], [7, 8]]
    assert second.inputs.tolist() == [[2], [5], [8]]
    assert second.targets.tolist() == [[3], [IGNORED], [9]]


def test_lanes_of_unequal_length_are_filled_up_uncounted() -> None:
    ids = torch.arange(8, dtype=torch.int32)
    (window,) = TrainingWindows(ids, batch_size=3, bptt_len=10)
    assert window.targets.tolist() == [[1, 2, IGNORED], [3, 4, IGNORED], [5, 6, 7]]
    assert window.inputs[:, :2].tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("size", [0, 1])
def test_too_little_text_gives_no_window(size: int) -> None:
    assert list(TrainingWindows(torch.zeros(size, dtype=torch.int32), batch_size=4, bptt_len=3)) == []


@quick
@given(ids=id_tensors(), segment_len=st.integers(1, 20), context_len=st.integers(1, 20))
def test_segments_count_each_token_once_after_as_much_context_as_there_is(
    ids: Tensor, segment_len: int, context_len: int
) -> None:
    segments = evaluation_segments(ids, segment_len=segment_len, context_len=context_len)
    values = ids.tolist()
    counted = Counter(place for segment in segments for place in range(segment.first_target, segment.stop))
    assert counted == Counter(place for place, value in enumerate(values) if value != 0)
    for segment in segments:
        assert segment.stop - segment.first_target <= segment_len
        begin = max(place for place in range(segment.first_target) if values[place] == 0)
        assert segment.start == max(begin, segment.first_target - context_len)
        assert 0 not in values[segment.first_target : segment.stop]


def test_no_text_has_no_segment() -> None:
    assert evaluation_segments(torch.zeros(0, dtype=torch.int32)) == []
    assert evaluation_segments(torch.zeros(1, dtype=torch.int32)) == []


def test_segments_have_4096_tokens_after_256_of_context() -> None:
    ids = torch.cat([torch.tensor([0]), torch.ones(9999), torch.tensor([0, 1, 1])]).int()
    assert evaluation_segments(ids) == [
        EvaluationSegment(0, 1, 4097),
        EvaluationSegment(3841, 4097, 8193),
        EvaluationSegment(7937, 8193, 10_000),
        EvaluationSegment(10_000, 10_001, 10_003),
    ]


@pytest.mark.parametrize("training", [0, 10**7])
@pytest.mark.parametrize("length", [1, 1023, 8192, 8193, 40_000])
def test_a_sample_is_evenly_spread_text_after_bos(length: int, training: int) -> None:
    ids = torch.arange(1, length + 1, dtype=torch.int32)
    sample = sample_ids(ids, training)
    size = 1 << 15 if training else 1 << 13
    if length <= size:
        assert sample is ids
        return
    pieces = sample.view(-1, 1025)
    assert sample.dtype == ids.dtype
    assert len(pieces) == size // 1024
    assert bool((pieces[:, 0] == 0).all())
    assert bool((pieces[:, 1:].diff(dim=1) == 1).all())
    firsts = pieces[:, 1]
    assert (int(firsts[0]), int(sample[-1])) == (1, length)
    assert int(firsts.diff().max() - firsts.diff().min()) <= 1


@quick
@given(
    ids=id_tensors(),
    segment_len=st.integers(1, 20),
    context_len=st.integers(1, 20),
    rows=st.integers(1, 8),
    window_len=st.integers(1, 30),
)
def test_segment_windows_count_each_token_once_and_read_each_row_in_order(
    ids: Tensor, segment_len: int, context_len: int, rows: int, window_len: int
) -> None:
    segments = evaluation_segments(ids, segment_len=segment_len, context_len=context_len)
    batches: list[Batch] = []
    for start in range(0, len(segments), rows):
        side_by_side = sorted(segments[start : start + rows], key=lambda segment: segment.start - segment.stop)
        windows = list(segment_windows(ids, side_by_side, window_len=window_len))
        batches += windows
        assert all(batch.inputs.shape[1] <= window_len for batch in windows)
        for number, segment in enumerate(side_by_side):
            row = [token for batch in windows for token in batch.inputs[number : number + 1].flatten().tolist()]
            length = segment.stop - segment.start - 1
            assert row[:length] == ids[segment.start : segment.stop - 1].tolist()
            # No batch lacks a part of the segment.
            assert len(row) < length + window_len
    assert counted_pairs(batches) == pairs_of(ids)
