"""Arithmetic whose result for a row depends on that row alone, to the last bit."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["PackedWeight", "RowwiseLinear", "marks_of", "row_sums"]

_LARGEST = 15  # the power of two that packed weights stay under; float16 ends at the sixteenth
_MOST_SCALING = 100  # and the one that they are multiplied by at most, as all may be next to 0


class PackedWeight:
    """A weight, laid out for products with any number of rows; see `RowwiseLinear`.

    Args:
        packed: What PyTorch made of it.
        scale: What its products are multiplied by; a power of two.
    """

    def __init__(self, packed: Any, scale: float) -> None:
        self._packed, self._scale = packed, scale

    def __call__(self, *parts: Tensor, bias: Tensor | None = None) -> Tensor:
        """The product with rows.

        Args:
            *parts: The rows, in pieces. **Shape:** (rows, width of the piece) each.
            bias: **Shape:** (outputs,).

        Returns:
            **Shape:** (rows, outputs).
        """
        product: Tensor = torch.ops.quantized.linear_dynamic_fp16.default(torch.cat((*parts, *parts), 1), self._packed)
        return product.mul_(self._scale) if bias is None else torch.add(bias, product, alpha=self._scale)


@dataclass(frozen=True)
class _Known:
    sources: tuple[Tensor, ...]
    marks: list[tuple[int, int]]
    packed: PackedWeight | None


class RowwiseLinear:
    """`torch.nn.functional.linear` for generation: without gradients, and no row minds how many others there are.

    PyTorch's matrix products take one routine for a single row, another for several, and these round differently. Its
    layer of float16 weights (FBGEMM's, on x86-64) adds up every row's products in one order, for any number of rows and
    threads, and takes less time for few rows. To lose nothing of float32, a weight is the sum of two such numbers, its
    value in float16 and what that leaves; at most 2**-22 of it is lost, or 2**-39 of the largest one. So each input
    counts twice.

    Weights are packed when they are first seen, and anew when they have changed. Where they cannot be (on other
    processors or devices, for other types), it is PyTorch's own function.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], _Known] = {}

    def __call__(self, rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """See `torch.nn.functional.linear`. **Shape:** (rows, inputs), (outputs, inputs), (outputs,)."""
        packed = self.packed(_itself, weight)
        return functional.linear(rows, weight, bias) if packed is None else packed(rows, bias=bias)

    def packed(self, arrange: Callable[..., Tensor], *sources: Tensor) -> PackedWeight | None:
        """What `arrange` makes of weights, packed; None where that cannot be.

        Args:
            arrange: Called with the weights. It gives a matrix, **Shape:** (outputs, inputs), and is always the same
                one for the same weights.
            *sources: The weights.
        """
        key, marks = tuple(map(id, sources)), marks_of(*sources)
        known = self._known.get(key)
        if known is None or known.marks != marks:
            self._known[key] = known = _Known(sources, marks, _pack(arrange(*sources)))
        return known.packed


def row_sums(values: Tensor) -> Tensor:
    """The sum of each row; PyTorch's own parts a single long one among the threads. **Shape:** (rows, n) to (rows,)."""
    return values.sum(dim=-1) if len(values) > 1 else values.expand(2, -1).sum(dim=-1)[:1]


def marks_of(*weights: Tensor) -> list[tuple[int, int]]:
    """What differs where weights have changed: PyTorch counts changes in place, other memory has another address."""
    return [(0 if weight.is_inference() else weight._version, weight.data_ptr()) for weight in weights]


def _itself(weight: Tensor) -> Tensor:
    return weight


def _pack(weight: Tensor) -> PackedWeight | None:
    largest = (
        float(weight.detach().abs().amax())
        if weight.device.type == "cpu" and weight.dtype == torch.float32
        else math.nan
    )
    if not math.isfinite(largest):
        return None
    scaling = min(_LARGEST - math.frexp(largest)[1], _MOST_SCALING)
    with torch.no_grad():
        scaled = weight * 2.0**scaling
        rounded = scaled.half().float()
        try:
            packed = torch.ops.quantized.linear_prepack_fp16(torch.cat([rounded, scaled - rounded], dim=1), None)
        except (AttributeError, RuntimeError):  # a processor without it
            return None
    return PackedWeight(packed, 2.0**-scaling)
