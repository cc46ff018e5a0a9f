import math

import pytest
import torch
from torch import Tensor

from zh_lstm_lm.generation.logits_processors import (
    LogitsProcessor,
    banned_words,
    no_repeat_ngrams,
    occurrence_penalties,
    repetition_penalty,
    token_bias,
)

SHAPES = [(), (1,), (2, 1)]  # leading shapes: (V,), (1, V) and (2, 1, V)
IDS = torch.tensor([0, 5, 3])
CUT = -math.inf
TOKENS = ["展", "雪", "昭道", "白展昭"]


def shaped(values: list[float], leading: tuple[int, ...]) -> Tensor:
    return torch.tensor(values).expand(*leading, len(values)).clone()


def assert_rows(actual: Tensor, expected: list[float], leading: tuple[int, ...]) -> None:
    assert actual.shape == (*leading, len(expected))
    torch.testing.assert_close(actual, shaped(expected, leading))


@pytest.mark.parametrize("leading", SHAPES)
@pytest.mark.parametrize(
    ("process", "expected"),
    [
        (repetition_penalty(1.0), [2.0, -2.0, 1.0, -1.0]),
        (repetition_penalty(2.0), [1.0, -4.0, 1.0, -1.0]),  # 0 and 1 occurred
        (repetition_penalty(0.5), [4.0, -1.0, 1.0, -1.0]),
        (repetition_penalty(2.0, window=1), [1.0, -2.0, 1.0, -1.0]),  # the last is 0
        (occurrence_penalties(0.0, 0.0), [2.0, -2.0, 1.0, -1.0]),
        (occurrence_penalties(0.5, 0.0), [1.0, -2.5, 1.0, -1.0]),
        (occurrence_penalties(0.0, 3.0), [-1.0, -5.0, 1.0, -1.0]),
        (occurrence_penalties(0.5, 3.0, window=2), [-1.5, -5.5, 1.0, -1.0]),
        (no_repeat_ngrams(0), [2.0, -2.0, 1.0, -1.0]),
        (no_repeat_ngrams(1), [CUT, CUT, 1.0, -1.0]),
        (no_repeat_ngrams(2), [2.0, CUT, 1.0, -1.0]),  # 0 1 has been
        (no_repeat_ngrams(3), [2.0, -2.0, 1.0, -1.0]),
        (no_repeat_ngrams(9), [2.0, -2.0, 1.0, -1.0]),
        # what was written is 展雪展, from 展, 雪, 昭道 and 白展昭
        (banned_words([], TOKENS), [2.0, -2.0, 1.0, -1.0]),
        (banned_words(["雪"], TOKENS), [2.0, CUT, 1.0, -1.0]),
        (banned_words(["展昭"], TOKENS), [2.0, -2.0, CUT, CUT]),  # parted between tokens, and inside one
        (banned_words(["雪展昭"], TOKENS), [2.0, -2.0, CUT, -1.0]),
        (banned_words(["雪昭", "雪雪"], TOKENS), [2.0, -2.0, 1.0, -1.0]),
        (banned_words(["展雪展展", "展展展展"], TOKENS), [CUT, -2.0, 1.0, -1.0]),
        (token_bias(torch.tensor([0.0, 5.0, -1.0, 0.0])), [2.0, 3.0, 0.0, -1.0]),
    ],
)
def test_penalties_by_hand(leading: tuple[int, ...], process: LogitsProcessor, expected: list[float]) -> None:
    ids = torch.tensor([0, 1, 0]).expand(*leading, 3)
    assert_rows(process(ids, shaped([2.0, -2.0, 1.0, -1.0], leading)), expected, leading)


def test_each_row_has_a_history_of_its_own() -> None:
    ids = torch.tensor([[0, 1, 0], [2, 3, 2]])
    logits = torch.zeros(2, 4)

    assert no_repeat_ngrams(2)(ids, logits).tolist() == [[0, CUT, 0, 0], [0, 0, 0, CUT]]
    assert occurrence_penalties(1.0, 0.0)(ids, logits).tolist() == [[-2, -1, 0, 0], [0, 0, -2, -1]]
    assert banned_words(["昭道雪"], TOKENS)(ids, logits).tolist() == [[0, 0, 0, 0], [0, CUT, 0, 0]]
