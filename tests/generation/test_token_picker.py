"""Tokens that are picked without sorting follow the distribution that the processors give."""

import collections
import random
from typing import Any

import pytest
import torch

from zh_lstm_lm.generation import logits_processors
from zh_lstm_lm.generation.token_picker import TokenPicker

PICKS = 4000


def expected_probs(logits: torch.Tensor, options: dict[str, Any], forbidden: set[int]) -> torch.Tensor:
    """The distribution by the public processors, without what is forbidden."""
    processed = logits[None]
    for process in (
        logits_processors.top_k(options.get("top_k", 0)),
        logits_processors.top_p(options.get("top_p", 1.0)),
        logits_processors.min_p(options.get("min_p", 0.0)),
    ):
        processed = process(torch.zeros(1, 0, dtype=torch.int64), processed)
    probs = processed.softmax(-1)[0].double()
    probs[list(forbidden)] = 0.0
    return probs / probs.sum()


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
def test_picks_follow_the_processors(size: int, ties: bool, options: dict[str, Any]) -> None:
    logits = torch.randn(size, generator=torch.Generator().manual_seed(size)) * 2
    if ties:
        logits = logits.round()
    forbidden = {0, 3}
    probs = expected_probs(logits, options, forbidden)
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
    assert TokenPicker().pick(torch.zeros(1, 3), [set()], [0.3]) == [None]
    assert TokenPicker(top_k=2).pick(probs, [{1}], [0.3]) == [2]


def test_a_token_of_probability_0_is_never_picked() -> None:
    probs = torch.zeros(1, 1000)
    probs[0, [255, 256, 999]] = torch.tensor([1e-30, 0.5, 0.5])
    for uniform in (0.0, 0.4999999, 0.5, 0.75, 1.0 - 2**-53):
        assert TokenPicker().pick(probs, [set()], [uniform])[0] in (255, 256, 999)
