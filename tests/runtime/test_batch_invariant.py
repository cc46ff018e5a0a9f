"""Batch-invariant products, against float64 and against each row alone."""

import copy
import math
import platform
import types
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zh_lstm_lm import ContinuousCache, LanguageModel, LSTMLanguageModel, Mixture, Sampler
from zh_lstm_lm.runtime.batch_invariant import BatchInvarianceWarning, BatchInvariantLinear


def numbers(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


packed = pytest.mark.usefixtures("exact_products")
shapes = st.tuples(st.integers(1, 70), st.integers(1, 60), st.integers(1, 90), st.integers(0, 1000))


@packed
@settings(deadline=None)
@given(shapes, st.data())
def test_a_row_has_the_same_bits_among_any_others(shape: tuple[int, int, int, int], data: st.DataObject) -> None:
    rows, inputs, outputs, seed = shape
    linear = BatchInvariantLinear(numbers(outputs, inputs, seed=seed), numbers(outputs, seed=seed + 1))
    hidden = numbers(rows, inputs, seed=seed + 2)
    with torch.inference_mode():
        whole = linear(hidden)
        some = data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=rows))
        assert torch.equal(linear(hidden[some]), whole[some])
        assert torch.equal(linear(hidden[some[:1]]), whole[some[:1]])


@packed
@pytest.mark.parametrize("rows", [1, 64])
def test_threads_change_no_bit(rows: int) -> None:
    linear, hidden = BatchInvariantLinear(numbers(900, 300, seed=0)), numbers(rows, 300, seed=1)
    before = torch.get_num_threads()
    results = []
    with torch.inference_mode():
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(linear(hidden))
    torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-6, 0.05, 1.0, 300.0, 1e6, 1e30])
@pytest.mark.parametrize("rows", [1, 9])
def test_products_are_as_exact_as_those_of_float32(rows: int, scale: float) -> None:
    weight, bias = numbers(50, 400, seed=0, scale=scale), numbers(50, seed=1, scale=scale)
    # Small ones next to much larger ones.
    weight[0] *= 1e-4
    hidden = numbers(rows, 400, seed=2).tanh()
    exact = hidden.double() @ weight.double().t() + bias.double()
    with torch.inference_mode():
        found = BatchInvariantLinear(weight, bias)(hidden)
        usual = torch.nn.functional.linear(hidden, weight, bias)
    size = (hidden.double().abs() @ weight.double().abs().t() + bias.double().abs()).clamp(min=1e-300)
    assert found.dtype == torch.float32
    assert ((found - exact).abs() / size).max() < 5e-7
    assert ((usual - exact).abs() / size).max() < 5e-7


def test_the_weight_is_copied() -> None:
    weight = torch.ones(2, 3)
    linear = BatchInvariantLinear(weight)
    if linear.is_batch_invariant:
        weight.mul_(2)
    assert linear(torch.ones(1, 3)).tolist() == [[3.0, 3.0]]


def test_what_cannot_be_packed_is_multiplied_all_the_same() -> None:
    hidden, weight = numbers(3, 4, seed=0), numbers(5, 4, seed=1)
    double = BatchInvariantLinear(weight.double())
    assert not double.is_batch_invariant
    assert torch.equal(double(hidden.double()), torch.nn.functional.linear(hidden.double(), weight.double()))
    weight[1, 2] = math.nan
    assert BatchInvariantLinear(weight)(hidden)[:, 1].isnan().all()
    weight[1, 2] = math.inf
    assert not BatchInvariantLinear(weight)(hidden)[:, 1].isfinite().any()


def test_weights_of_inference_mode_are_packed() -> None:
    with torch.inference_mode():
        assert BatchInvariantLinear(torch.ones(2, 3))(torch.ones(1, 3)).tolist() == [[3.0, 3.0]]


# ---- where there is no batch-invariant product


def test_pytorch_has_the_operators_behind_it() -> None:
    capable = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    if platform.machine() not in ("x86_64", "AMD64") or not capable:
        pytest.skip("only x86-64 with AVX2 has FBGEMM's products")
    assert BatchInvariantLinear(torch.ones(2, 2)).is_batch_invariant, (
        f"PyTorch {torch.__version__} has no torch.ops.quantized.linear_prepack_fp16 or linear_dynamic_fp16 any more: "
        "texts of a batch are no longer those that are generated alone; find another batch-invariant product, or say in "
        "docs/reliability.md from which version on the promise ends"
    )


@pytest.fixture(params=["full", "mixture", "cache"])
def without_operators(
    request: pytest.FixtureRequest, model: LSTMLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> Sampler:
    """A sampler where PyTorch lacks the operators."""
    monkeypatch.setattr(torch.ops, "quantized", types.SimpleNamespace())
    predictors: dict[str, LanguageModel] = {
        "full": model,
        "mixture": Mixture([model, model]),
        "cache": ContinuousCache(model),
    }
    return Sampler(predictors[request.param])


def test_a_batch_is_warned_of_and_generated_all_the_same(without_operators: Sampler) -> None:
    with pytest.warns(BatchInvarianceWarning, match="may differ from the same text alone") as caught:
        texts = without_operators.generate(["展昭", "白玉堂"], max_new_tokens=5)
    assert [warning.filename for warning in caught] == [__file__], "the warning points to the call"
    assert [text[:2] for text in texts] == ["展昭", "白玉"]
    with pytest.warns(BatchInvarianceWarning):
        without_operators.generate("展昭", num_samples=2, max_new_tokens=2)


def test_a_single_text_is_not_warned_of(without_operators: Sampler) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        without_operators.generate("展昭", max_new_tokens=5)
        without_operators.generate(["展昭"], num_samples=1, max_new_tokens=5)
        list(without_operators.stream("展昭", max_new_tokens=5))


@packed
def test_a_batch_is_not_warned_of_where_the_operators_are(model: LSTMLanguageModel) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for predictor in (model, Mixture([model, model]), ContinuousCache(model)):
            Sampler(predictor).generate(["展昭", "白玉堂"], max_new_tokens=3)
        with pytest.raises(BatchInvarianceWarning):
            Sampler(copy.deepcopy(model).double()).generate(["展昭", "白玉堂"], max_new_tokens=3)
