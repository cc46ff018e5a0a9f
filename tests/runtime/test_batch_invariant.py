"""Products whose rows do not mind each other, against float64 and against the rows alone."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zh_lstm_lm.runtime.batch_invariant import RowwiseLinear, row_sums


def numbers(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


packed = pytest.mark.usefixtures("exact_products")
shapes = st.tuples(st.integers(1, 70), st.integers(1, 60), st.integers(1, 90), st.integers(0, 1000))


@packed
@settings(deadline=None)
@given(shapes, st.data())
def test_a_row_has_the_same_bits_among_any_others(shape: tuple[int, int, int, int], data: st.DataObject) -> None:
    rows, inputs, outputs, seed = shape
    linear, weight, bias = RowwiseLinear(), numbers(outputs, inputs, seed=seed), numbers(outputs, seed=seed + 1)
    hidden = numbers(rows, inputs, seed=seed + 2)
    with torch.inference_mode():
        whole = linear(hidden, weight, bias)
        some = data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=rows))
        assert torch.equal(linear(hidden[some], weight, bias), whole[some])
        assert torch.equal(linear(hidden[some[:1]], weight, bias), whole[some[:1]])


@packed
@pytest.mark.parametrize("rows", [1, 64])
def test_threads_change_no_bit(rows: int) -> None:
    linear, weight, hidden = RowwiseLinear(), numbers(900, 300, seed=0), numbers(rows, 300, seed=1)
    before = torch.get_num_threads()
    results = []
    with torch.inference_mode():
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(linear(hidden, weight))
    torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-6, 0.05, 1.0, 300.0, 1e6, 1e30])
@pytest.mark.parametrize("rows", [1, 9])
def test_products_are_as_exact_as_those_of_float32(rows: int, scale: float) -> None:
    weight, bias = numbers(50, 400, seed=0, scale=scale), numbers(50, seed=1, scale=scale)
    weight[0] *= 1e-4  # next to much larger ones
    hidden = numbers(rows, 400, seed=2).tanh()
    exact = hidden.double() @ weight.double().t() + bias.double()
    with torch.inference_mode():
        found = RowwiseLinear()(hidden, weight, bias)
        usual = torch.nn.functional.linear(hidden, weight, bias)
    size = (hidden.double().abs() @ weight.double().abs().t() + bias.double().abs()).clamp(min=1e-300)
    assert found.dtype == torch.float32
    assert ((found - exact).abs() / size).max() < 5e-7
    assert ((usual - exact).abs() / size).max() < 5e-7


def test_changed_weights_are_seen_after_a_refresh() -> None:
    linear, hidden = RowwiseLinear(), torch.ones(1, 3)
    weight = torch.nn.Parameter(torch.ones(2, 3))
    with torch.no_grad():
        assert linear(hidden, weight).tolist() == [[3.0, 3.0]]
        for change in (
            lambda: weight.mul_(2),
            lambda: weight.data.add_(1),  # which PyTorch does not count
            lambda: setattr(weight, "data", torch.full((2, 3), 5.0)),
        ):
            change()
            linear.refresh()
            assert linear(hidden, weight).tolist() == (hidden @ weight.T).tolist()
    with torch.inference_mode():
        made_here = torch.ones(2, 3)
        assert linear(hidden, made_here).tolist() == [[3.0, 3.0]]
        made_here += 1
        linear.refresh()
        assert linear(hidden, made_here).tolist() == [[6.0, 6.0]]


@packed
def test_weights_that_are_gone_are_forgotten() -> None:
    linear, hidden = RowwiseLinear(), torch.ones(1, 3)
    with torch.inference_mode():
        for number in range(50):  # one may lie where another was
            assert linear(hidden, torch.full((2, 3), float(number))).tolist() == [[3.0 * number] * 2]
    linear.refresh()
    assert not linear._known
    linear(hidden.half(), torch.ones(2, 3).half())
    assert not linear._known


def test_what_cannot_be_packed_is_multiplied_all_the_same() -> None:
    linear, hidden = RowwiseLinear(), numbers(3, 4, seed=0)
    weight = numbers(5, 4, seed=1)
    expected = torch.nn.functional.linear(hidden.double(), weight.double())
    assert torch.equal(linear(hidden.double(), weight.double()), expected)
    weight[1, 2] = math.nan
    assert linear(hidden, weight)[:, 1].isnan().all()
    weight[1, 2] = math.inf
    assert not linear(hidden, weight)[:, 1].isfinite().any()


def test_weights_of_inference_mode_are_packed() -> None:
    with torch.inference_mode():
        assert RowwiseLinear()(torch.ones(1, 3), torch.ones(2, 3)).tolist() == [[3.0, 3.0]]


def test_sums_of_no_row_and_of_more_dimensions() -> None:
    assert row_sums(torch.ones(0, 5)).shape == (0,)
    assert row_sums(torch.ones(2, 3, 5)).tolist() == [[5.0] * 3] * 2
    assert float(row_sums(torch.ones(5))) == 5.0
    assert row_sums(torch.ones(1, 1, 5)).tolist() == [[5.0]]


@pytest.mark.parametrize("size", [10, 40_000, 100_000])
def test_a_single_row_has_the_sum_that_it_has_among_others(size: int) -> None:
    values = torch.rand(5, size, generator=torch.Generator().manual_seed(0))
    sums = row_sums(values)
    torch.testing.assert_close(sums, values.double().sum(dim=1).float())
    assert all(torch.equal(row_sums(values[row : row + 1])[0], sums[row]) for row in range(5))
