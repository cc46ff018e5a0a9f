"""Matrix products of the processor that PyTorch does not choose by itself."""

import functools
import platform
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["description", "has_bfloat16", "linear", "onednn_linear"]

# oneDNN brings the weight into an order of its own first, which fewer rows do not repay.
_MIN_ROWS = 16


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


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def description() -> str:
    """Describes the processor, with its maker; an empty text where the system does not tell."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return platform.processor()
