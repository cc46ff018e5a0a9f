"""Verdicts on made-up rows: clear differences hold or do not, the others depend."""

from typing import Any

import pytest

from zh_lstm_lm.studies.claims import Claim
from zh_lstm_lm.studies.seq_len import SeqLenStudy

# The differences between seeds.
NOISE = {0: -0.01, 1: 0.0, 2: 0.01}


def seq_len_row(length: int, seed: int, **figures: Any) -> dict[str, Any]:
    return {
        "bptt_len": length,
        "seed": seed,
        "microseconds_per_token": 100.0 + seed,
        "memory_mb": 10.0 + length,
        "gap_bits_per_character": 1.0 + NOISE[seed],
        "test_bits_per_character": 6.0 + NOISE[seed],
        "context_used_tokens": 8,
        "gradient_norm": 1.0,
        "largest_gradient_norm": 3.0,
        "clipped_share": 0.5,
        **figures,
    }


def seq_len(**figures: Any) -> dict[str, Claim]:
    """Claims on windows of 5, 20 and 40; a figure may be given as a function of length and seed."""
    rows = [
        seq_len_row(
            length, seed, **{name: value(length, seed) if callable(value) else value for name, value in figures.items()}
        )
        for seed in NOISE
        for length in (40, 5, 20)
    ]
    return {claim["name"]: claim for claim in SeqLenStudy.claims(rows)}


def test_each_claim_has_its_words_in_both_languages() -> None:
    for claim in seq_len().values():
        for field in ("claim", "figure", "rule"):
            assert claim[field]["en"]
            assert any("一" <= sign <= "鿿" for sign in claim[field]["zh"])


@pytest.mark.parametrize(
    ("name", "field", "better"),
    [
        ("time", "microseconds_per_token", 1),
        ("memory", "memory_mb", 1),
        ("generalisation", "gap_bits_per_character", -1),
        ("prediction", "test_bits_per_character", -1),
        ("context", "context_used_tokens", 1),
    ],
)
def test_ends_are_compared_beyond_their_spread(name: str, field: str, better: int) -> None:
    for slope, verdict in ((better, "holds"), (-better, "does not hold"), (0, "depends")):
        claims = seq_len(**{field: lambda length, seed, slope=slope: 50 + slope * length + NOISE[seed]})
        assert claims[name]["verdict"] == verdict
    noisy = seq_len(**{field: lambda length, seed: 50 + better * length / 40 + 5 * seed})
    assert noisy[name]["verdict"] == "depends"


def test_a_smaller_gap_of_a_worse_model_settles_nothing() -> None:
    gap = {"gap_bits_per_character": lambda length, seed: 2.0 - length / 100 + NOISE[seed]}
    worse = seq_len(**gap, test_bits_per_character=lambda length, seed: 6.0 + length / 100 + NOISE[seed])
    assert worse["generalisation"]["verdict"] == "depends"
    better = seq_len(**gap, test_bits_per_character=lambda length, seed: 6.0 - length / 100 + NOISE[seed])
    assert better["generalisation"]["verdict"] == "holds"


def test_figures_are_those_of_the_rows() -> None:
    figure = seq_len()["memory"]["figure"]
    assert figure["en"] == "megabytes of an update: 15.0 (segments of 5), 50.0 (segments of 40)"
    assert "15.0（窗口 5）" in figure["zh"]


def test_gradients_explode_where_the_largest_stands_out() -> None:
    assert seq_len(largest_gradient_norm=10.5)["explosion"]["verdict"] == "holds"
    assert seq_len(largest_gradient_norm=9.5)["explosion"]["verdict"] == "does not hold"
    mixed = seq_len(largest_gradient_norm=lambda length, seed: 20.0 if seed else 2.0)
    assert mixed["explosion"]["verdict"] == "depends"


@pytest.mark.parametrize(
    ("bits", "verdict"),
    [
        ({5: 6.5, 20: 6.0, 40: 6.4}, "holds"),
        ({5: 6.5, 20: 6.4, 40: 6.0}, "does not hold"),
        ({5: 6.5, 20: 6.0, 40: 6.005}, "depends"),
    ],
)
def test_too_long_hurts_where_the_longest_is_worse_than_the_best(bits: dict[int, float], verdict: str) -> None:
    claims = seq_len(test_bits_per_character=lambda length, seed: bits[length] + NOISE[seed])
    assert claims["too_long"]["verdict"] == verdict
