"""Batch-invariant arithmetic: the result for a row does not depend on the other rows, to the last bit."""

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["BatchInvarianceWarning", "BatchInvariantLinear", "warn_if_batch_dependent"]

# Packed weights stay below this power of two; float16 ends at the sixteenth.
_LARGEST = 15
# Weights are multiplied by at most this power of two, as all of them may be close to 0.
_MOST_SCALING = 100


class BatchInvarianceWarning(UserWarning):
    """Texts that are generated side by side may differ from the same texts alone, by rounding."""


class BatchInvariantLinear(nn.Module):
    """`torch.nn.Linear` for inference whose output for a row does not depend on the number of rows.

    PyTorch's matrix products take one routine for a single row and another for several, and these round differently.
    Its dynamically quantised layer of float16 weights (FBGEMM's, on x86-64 with AVX2) adds the products of every row in
    one order, for any number of rows and threads, and takes less time for few rows. To be as exact as float32, a weight
    is split into two float16 numbers: its rounded value and the remainder. At most 2**-22 of it is lost, or 2**-39 of
    the largest weight. Each input therefore counts twice, with the small part first.

    Where weights cannot be packed (on other processors or devices, for other dtypes), it is PyTorch's linear layer. The
    weight, **Shape:** (outputs, inputs), is copied.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self._bias = None if bias is None else bias.detach()
        self._packed = _pack(weight.detach())
        self._weight = None if self._packed is not None else weight.detach()

    @property
    def is_batch_invariant(self) -> bool:
        """True if the weights could be packed."""
        return self._packed is not None

    def forward(self, rows: Tensor) -> Tensor:
        """Multiplies rows. **Shape:** (rows, inputs) to (rows, outputs)."""
        if self._packed is None:
            assert self._weight is not None
            return functional.linear(rows, self._weight, self._bias)
        multiply, packed, scale = self._packed
        product: Tensor = multiply(torch.cat([rows, rows], 1), packed)
        # In place, since newly mapped memory costs more than the arithmetic.
        return product.mul_(scale) if self._bias is None else torch.add(self._bias, product, alpha=scale, out=product)


def warn_if_batch_dependent(module: Any) -> None:
    """Warns where linear layers of a module, which is asked for ``is_batch_invariant``, could not be made so."""
    if getattr(module, "is_batch_invariant", True):
        return
    warnings.warn(
        "on this device, processor or dtype PyTorch has no batch-invariant matrix product: a text that is generated "
        "among others may differ from the same text alone; generate texts one by one to reproduce them exactly",
        BatchInvarianceWarning,
        stacklevel=3,
    )


def _pack(weight: Tensor) -> tuple[Any, Any, float] | None:
    """Returns PyTorch's operator, its packed weight and the scale of the products; None where that is impossible."""
    if weight.dtype != torch.float32 or weight.device.type != "cpu":
        return None
    largest = float(weight.abs().amax())
    if not math.isfinite(largest):
        return None
    scaling = min(_LARGEST - math.frexp(largest)[1], _MOST_SCALING)
    inputs = weight.shape[1]
    both = weight.new_empty(len(weight), 2 * inputs)
    small, rounded = both[:, :inputs], both[:, inputs:]
    torch.mul(weight, 2.0**scaling, out=small)
    rounded.copy_(small.half())
    small.sub_(rounded)
    try:
        multiply = torch.ops.quantized.linear_dynamic_fp16.default
        return multiply, torch.ops.quantized.linear_prepack_fp16(both, None), 2.0**-scaling
    except (AttributeError, RuntimeError):
        return None
