"""Matrix products of the processor that PyTorch does not choose by itself."""

import functools
import platform
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["description", "has_bfloat16", "integer_products", "linear", "onednn_linear"]

# oneDNN brings the weight into an order of its own first, which fewer rows do not repay.
_MIN_ROWS = 16
# Sums of as many products of integers of 8 bits are exact in float32: 127 * 127 * 1,024 < 2**24.
_EXACT_WIDTH = 1024


@functools.cache
def has_bfloat16() -> bool:
    """Returns True if the processor multiplies in bfloat16 (AVX-512 BF16 or AMX) and oneDNN can use that."""
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return _has_onednn() and probe is not None and bool(probe())


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Computes `torch.nn.functional.linear` of matrices without a gradient, by the faster library.

    On AMD processors MKL, which PyTorch takes for float32, leaves AVX-512 unused; oneDNN is twice as fast there.
    **Shape:** (rows, width), (classes, width) and (classes,) to (rows, classes).
    """
    by_onednn = onednn_linear() if inputs.device.type == "cpu" and inputs.dtype == torch.float32 else None
    if by_onednn is None or len(inputs) < _MIN_ROWS or not inputs.numel():
        return functional.linear(inputs, weight, bias)
    return by_onednn(inputs, weight, bias, "none", [], "")


@functools.cache
def onednn_linear() -> Callable[..., Tensor] | None:
    """Returns the operator by which `torch.compile` calls oneDNN; None where MKL is as fast, or without the operator."""
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    if not wide or not _has_onednn() or "AuthenticAMD" not in description():
        return None
    return cast("Callable[..., Tensor] | None", getattr(torch.ops.mkldnn, "_linear_pointwise", None))


def integer_products(rows: Tensor, others: Tensor) -> Tensor:
    """Multiplies each row with each other one, exactly, by the fastest way that is exact.

    **Shape:** (rows, width) and (others, width), int8 from -127 to 127, to (rows, others), int32.
    """
    by_onednn = _integer_product() if rows.device.type == "cpu" else None
    # Of vectors of one number it returns whatever the memory held (PyTorch 2.13).
    if by_onednn is not None and rows.shape[1] > 1:
        return by_onednn(rows.contiguous(), others.contiguous().t())
    products = torch.zeros(len(rows), len(others), dtype=torch.int32, device=rows.device)
    for each, other in zip(*(torch.split(side, _EXACT_WIDTH, dim=1) for side in (rows, others)), strict=True):
        products += functional.linear(each.float(), other.float()).int()
    return products


@functools.cache
def _integer_product() -> Callable[[Tensor, Tensor], Tensor] | None:
    """Returns PyTorch's private product of integers where oneDNN computes it; None where it would be slow or inexact."""
    product = getattr(torch, "_int_mm", None)
    # Without these instructions oneDNN adds pairs of products in 16 bits, which do not hold them.
    probe = getattr(torch.cpu, "_is_vnni_supported", None)
    if product is None or probe is None or not probe() or not _has_onednn():
        return None
    for rows, width in ((1, 2), (1, 448), (3, 65), (128, 1000)):
        greatest = torch.full((rows, width), 127, dtype=torch.int8)
        try:
            found = product(greatest, greatest.new_full((5, width), -127).t())
        except RuntimeError:
            return None
        if not bool((found == -127 * 127 * width).all()):
            return None
    return cast("Callable[[Tensor, Tensor], Tensor]", product)


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def description() -> str:
    """Describes the processor, with its maker; an empty text where the system does not tell."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return platform.processor()
