"""Tokens that are picked without sorting follow the distribution that the definitions of the cut-offs give."""

import collections
import random
from typing import Any

import pytest
import torch

from zh_lstm_lm.generation.token_picker import TokenPicker

PICKS = 4000


def expected_probs(
    logits: torch.Tensor, forbidden: set[int], top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0
) -> torch.Tensor:
    """The distribution by the definitions of the cut-offs, without what is forbidden."""
    probs = logits.softmax(-1).double()
    ranked = sorted(range(len(probs)), key=lambda place: -probs[place])
    if 0 < top_k < len(ranked):
        ranked = [place for place in ranked if probs[place] >= probs[ranked[top_k - 1]]]
    sums = probs[ranked].cumsum(0)
    kept = (sums - probs[ranked] < top_p * sums[-1]) & (probs[ranked] >= min_p * probs[ranked[0]])
    expected = torch.zeros_like(probs)
    for place in set(torch.tensor(ranked)[kept].tolist()) - forbidden:
        expected[place] = probs[place]
    return expected / expected.sum()


@pytest.mark.parametrize("size", [7, 300, 1500])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_p": 0.6},
        {"top_p": 0.999},
        {"top_k": 5},
        {"top_k": 5, "top_p": 0.7},
        {"min_p": 0.2},
        {"top_p": 0.9, "min_p": 0.3},
        {"top_k": 4000},
    ],
)
def test_picks_follow_the_definitions(size: int, ties: bool, options: dict[str, Any]) -> None:
    logits = torch.randn(size, generator=torch.Generator().manual_seed(size)) * 2
    if ties:
        logits = logits.round()
    forbidden = {0, 3}
    probs = expected_probs(logits, forbidden, **options)
    numbers = random.Random(5)
    picked = TokenPicker(**options).pick(
        logits.softmax(-1)[None].expand(PICKS, -1), [forbidden] * PICKS, [numbers.random() for _ in range(PICKS)]
    )
    counts = collections.Counter(picked)
    assert None not in counts
    assert all(probs[token_id] > 0 for token_id in counts if token_id is not None)
    common = (probs * PICKS > 5).nonzero()[:, 0].tolist()
    chi_square = sum((counts[i] - float(probs[i]) * PICKS) ** 2 / (float(probs[i]) * PICKS) for i in common)
    assert chi_square < len(common) + 6 * (2 * len(common)) ** 0.5 + 12


def test_nothing_is_picked_where_everything_that_is_kept_is_forbidden() -> None:
    probs = torch.tensor([[0.0, 0.9, 0.1]])
    assert TokenPicker(top_p=0.5).pick(probs, [{1}], [0.3]) == [None]
    assert TokenPicker(top_k=1).pick(probs, [{1}], [0.3]) == [None]
    for picker in (TokenPicker(), TokenPicker(top_k=1)):
        assert picker.pick(torch.zeros(1, 3), [set()], [0.3]) == [None]
        assert picker.pick(torch.full((1, 3), torch.nan), [set()], [0.3]) == [None]
    assert TokenPicker(top_k=2).pick(probs, [{1}], [0.3]) == [2]


def test_a_token_of_probability_0_is_never_picked() -> None:
    probs = torch.zeros(1, 1000)
    probs[0, [255, 256, 999]] = torch.tensor([1e-30, 0.5, 0.5])
    for uniform in (0.0, 0.4999999, 0.5, 0.75, 1.0 - 2**-53):
        assert TokenPicker().pick(probs, [set()], [uniform])[0] in (255, 256, 999)
