"""Matrix products of the processor: whichever library computes them, they are those of float64."""

from collections.abc import Callable

import pytest
import torch
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
