import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zh_lstm_lm.report.axes import format_number, make_axis

FIGURES = st.floats(min_value=-1e12, max_value=1e12, allow_subnormal=False)


@settings(deadline=None, derandomize=True, database=None, max_examples=150)
@given(values=st.lists(FIGURES, min_size=1, max_size=8))
def test_every_value_lies_on_the_axis(values: list[float]) -> None:
    axis = make_axis(values)
    assert all(-1e-6 <= axis(value) <= 1 + 1e-6 for value in (*values, *axis.ticks))
    assert len(axis.ticks) == len(axis.labels) <= 9


@settings(deadline=None, derandomize=True, database=None, max_examples=150)
@given(values=st.lists(st.floats(min_value=1e-12, max_value=1e12), min_size=1, max_size=8))
def test_every_value_lies_on_a_logarithmic_axis(values: list[float]) -> None:
    axis = make_axis(values, log=True)
    assert all(-1e-6 <= axis(value) <= 1 + 1e-6 for value in (*values, *axis.ticks))
    assert len(axis.ticks) <= 9


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0, 1), "0.0 0.2 0.4 0.6 0.8 1.0"),
        ((1, 6), "1 2 3 4 5 6"),
        ((5.4, 7.4), "5.5 6.0 6.5 7.0"),
        ((0, 16_000), "0 5,000 10,000 15,000"),
        ((0.0, 0.004), "0 0.001 0.002 0.003 0.004"),
        ((0.0, 0.00004), "0 1e-5 2e-5 3e-5 4e-5"),
        ((-3, 3), "-2 0 2"),
    ],
)
def test_linear_ticks_are_round_and_written_alike(values: tuple[float, float], expected: str) -> None:
    assert " ".join(make_axis(values).labels) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1, 4000), "1 10 100 1,000"),
        ((90, 620), "100 200 500"),
        ((95, 130), "100 110 120 130"),
        ((1e-11, 0.5), "1e-10 1e-8 1e-6 1e-4 0.01 1"),
    ],
)
def test_logarithmic_ticks(values: tuple[float, float], expected: str) -> None:
    assert " ".join(make_axis(values, log=True).labels) == expected


def test_equal_ratios_are_equal_lengths_on_a_logarithmic_axis() -> None:
    axis = make_axis([1, 1000], log=True)
    assert axis(10) - axis(1) == pytest.approx(axis(1000) - axis(100))
    linear = make_axis([1, 1000])
    assert linear(10) - linear(1) == pytest.approx(9 * (linear(101) - linear(100)))


def test_whole_ticks_and_given_ticks() -> None:
    assert make_axis([1, 3], whole=True).ticks == (1, 2, 3)
    assert make_axis([1, 1], whole=True).ticks == (1,)
    assert make_axis([0.2, 0.4], whole=True).ticks, "a part of an epoch still has an axis"
    assert make_axis([5, 140], log=True, ticks=[(5, "five"), (140, "all")]).labels == ("five", "all")


def test_an_axis_of_one_value_or_none() -> None:
    assert 0 < make_axis([7.0])(7.0) < 1
    assert 0 <= make_axis([0.0])(0.0) < 1
    assert len(set(make_axis([2000.0000000001, 2000.0]).labels)) == len(make_axis([2000.0000000001, 2000.0]).labels)
    assert make_axis([]).low < make_axis([]).high


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (0.5, "0.5"),
        (305.4719, "305.5"),
        (11_011.9, "11,012"),
        (2_500_000, "2.5M"),
        (3e-5, "3e-5"),
        (-0.25, "-0.25"),
        (math.inf, "inf"),
        (6.02e23, "6.02e23"),
    ],
)
def test_numbers_are_written_as_people_write_them(value: float, expected: str) -> None:
    assert format_number(value) == expected
