"""Means, spreads, and settled and unsettled differences."""

import math

import pytest

from zh_lstm_lm.studies.claims import Difference, Spread, by_setting, compare, spread_of


def test_spread_is_that_of_a_sample() -> None:
    spread = spread_of([1.0, 2.0, 6.0])
    assert spread.mean == 3.0
    assert spread.deviation == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert f"{spread:.1f}" == "3.0 ± 2.6"
    assert f"{spread_of([2.0, 2.0]):.1f}" == "2.0"


@pytest.mark.parametrize(
    ("first", "second", "sign"),
    [
        ([1.0, 1.1, 1.2], [2.0, 2.1, 2.2], 1),
        ([2.0, 2.1, 2.2], [1.0, 1.1, 1.2], -1),
        ([1.0, 1.1, 1.2], [1.1, 1.2, 1.3], 0),
        ([5.0, 5.0], [5.0, 5.0], 0),
        # Without a spread, any difference is settled.
        ([5.0, 5.0], [5.1, 5.1], 1),
    ],
)
def test_a_difference_counts_beyond_three_standard_errors(first: list[float], second: list[float], sign: int) -> None:
    assert Difference(spread_of(first), spread_of(second)).sign == sign


def test_the_bound_is_three_standard_errors_of_the_difference() -> None:
    error = math.sqrt(0.3**2 / 3 + 0.4**2 / 5)
    inside, outside = (Spread(1.0 + factor * error, 0.4, 5) for factor in (2.99, 3.01))
    assert Difference(Spread(1.0, 0.3, 3), inside).sign == 0
    assert Difference(Spread(1.0, 0.3, 3), outside).sign == 1


def test_rows_are_grouped_and_compared_by_setting() -> None:
    rows = [{"length": length, "seed": seed, "loss": length + seed / 10} for seed in (0, 1) for length in (20, 5)]
    groups = by_setting(rows, "length")
    assert list(groups) == [(20,), (5,)]
    difference = compare(groups[5,], groups[20,], "loss")
    assert difference.second == spread_of([20.0, 20.1])
    assert difference.first == spread_of([5.0, 5.1])
