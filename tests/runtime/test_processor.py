"""Matrix products of the processor: whichever library computes them, they are those of float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from zh_lstm_lm.runtime import processor

ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


@pytest.mark.parametrize(
    "operator", [None, pytest.param(ONEDNN, marks=pytest.mark.skipif(ONEDNN is None, reason="no oneDNN"))]
)
@pytest.mark.parametrize("rows", [0, 1, 70])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_a_product_is_that_of_float64(
    monkeypatch: pytest.MonkeyPatch,
    operator: Callable[..., Tensor] | None,
    rows: int,
    with_bias: bool,
    turned: bool,
) -> None:
    monkeypatch.setattr(processor, "onednn_linear", lambda: operator)
    generator = torch.Generator().manual_seed(0)
    inputs, weight, bias = (torch.randn(size, generator=generator) for size in ((rows, 33), (50, 33), (50,)))
    if turned:  # as the backward pass has them
        inputs, weight = inputs.t().contiguous().t(), weight.t().contiguous().t()
    found = processor.linear(inputs, weight, bias if with_bias else None)
    expected = inputs.double() @ weight.double().t() + (bias if with_bias else 0.0)
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_stay_with_pytorch(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    monkeypatch.setattr(processor, "onednn_linear", lambda: pytest.fail)
    inputs, weight = torch.ones(2, 3, dtype=dtype), torch.ones(4, 3, dtype=dtype)
    assert processor.linear(inputs, weight).tolist() == [[3.0] * 4] * 2


@pytest.mark.parametrize("processor_text", ["vendor_id\t: GenuineIntel\n", "", "vendor_id\t: AuthenticAMD\n"])
def test_the_maker_decides_about_the_library(monkeypatch: pytest.MonkeyPatch, processor_text: str) -> None:
    monkeypatch.setattr(processor, "description", lambda: processor_text)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    processor.onednn_linear.cache_clear()
    chosen = processor.onednn_linear()
    processor.onednn_linear.cache_clear()
    assert (chosen is not None) == ("AMD" in processor_text and ONEDNN is not None)


@pytest.mark.parametrize("private", [True, False])
@example(rows=2, others=3, width=1, seed=0)
@given(rows=st.integers(0, 20), others=st.integers(0, 40), width=st.integers(0, 2100), seed=st.integers(0, 99))
def test_a_product_of_integers_is_exact(private: bool, rows: int, others: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sides = [
        # Many of the greatest values: their sums are the greatest, and overflow first.
        torch.randint(-400, 401, (size, width), generator=generator).clamp(-127, 127).to(torch.int8)
        for size in (rows, others)
    ]
    with pytest.MonkeyPatch.context() as patch:
        if not private:
            patch.setattr(processor, "_integer_product", lambda: None)
        found = processor.integer_products(*sides)
        greatest = processor.integer_products(torch.full_like(sides[0], 127), torch.full_like(sides[1], -127))
    assert torch.equal(found.long(), sides[0].long() @ sides[1].long().t())
    assert torch.equal(greatest, torch.full_like(found, -127 * 127 * width))


@pytest.mark.parametrize("lacks", ["product", "instructions", "oneDNN", "exactness", "shapes", ""])
def test_a_private_product_is_used_where_it_is_exact(monkeypatch: pytest.MonkeyPatch, lacks: str) -> None:
    def product(rows: Tensor, others: Tensor) -> Tensor:
        if lacks == "shapes":
            raise RuntimeError("unsupported shape")
        return (rows.long() @ others.long()).clamp(min=-(2 ** (15 if lacks == "exactness" else 31))).int()

    fakes: dict[Any, tuple[str, Any]] = {
        torch: ("_int_mm", product),
        torch.cpu: ("_is_vnni_supported", lambda: lacks != "instructions"),
        torch.backends.mkldnn: ("is_available", lambda: lacks != "oneDNN"),
    }
    for owner, (name, fake) in fakes.items():
        monkeypatch.setattr(owner, name, fake, raising=False)
    if lacks == "product":
        monkeypatch.delattr(torch, "_int_mm")
    processor._integer_product.cache_clear()
    chosen = processor._integer_product()
    processor._integer_product.cache_clear()
    assert chosen is (None if lacks else product)
