"""Arithmetic whose result for a row depends on that row alone, to the last bit."""

import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["PackedWeight", "RowwiseLinear", "row_sums"]

_LARGEST = 15  # the power of two that packed weights stay under; float16 ends at the sixteenth
_MOST_SCALING = 100  # and the one that they are multiplied by at most, as all may be next to 0
_LOOKED_AT = 500  # values of a weight that tell whether it has changed


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
    sources: Sequence["weakref.ref[Tensor]"]
    marks: Sequence[tuple[int, ...]]
    packed: PackedWeight | None


class RowwiseLinear:
    """`torch.nn.functional.linear` for generation: without gradients, and no row minds how many others there are.

    PyTorch's matrix products take one routine for a single row, another for several, and these round differently. Its
    layer of float16 weights (FBGEMM's, on x86-64 with AVX2) adds up every row's products in one order, for any number
    of rows and threads, and takes less time for few rows. To be as exact as float32, a weight is the sum of two such
    numbers, its value in float16 and what that leaves; at most 2**-22 of it is lost, or 2**-39 of the largest one. So
    each input counts twice, with the small part first.

    Weights are packed when they are first seen. Where they cannot be (on other processors or devices, for other types),
    it is PyTorch's own function.
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
        if sources[0].dtype != torch.float32 or sources[0].device.type != "cpu":
            return None
        key = tuple(map(id, sources))
        known = self._known.get(key)
        if known is None or known.sources[0]() is not sources[0]:
            packed = _pack(arrange(*sources))
            known = _Known([weakref.ref(source) for source in sources], _marks(sources), packed)
            self._known[key] = known
        return known.packed

    def refresh(self) -> None:
        """Forgets weights that have changed, or are gone."""
        for key, known in list(self._known.items()):
            sources = [source() for source in known.sources]
            alive = [source for source in sources if source is not None]
            if len(alive) < len(sources) or _marks(alive) != known.marks:
                self._known.pop(key, None)


def row_sums(values: Tensor) -> Tensor:
    """The sum of each row; PyTorch's own parts a single long one among the threads. **Shape:** (..., n) to (...)."""
    if values.numel() != values.shape[-1]:
        return values.sum(dim=-1)
    return values.expand(2, *values.shape).sum(dim=-1)[0]


def _itself(weight: Tensor) -> Tensor:
    return weight


def _marks(weights: Sequence[Tensor]) -> list[tuple[int, ...]]:
    """What differs where weights have changed: their number of changes in place, their address, some of their values.

    PyTorch does not count changes through ``weight.data``.
    """
    marks: list[tuple[int, ...]] = []
    for weight in weights:
        some = weight.detach().flatten()[:: 1 + weight.numel() // _LOOKED_AT].view(torch.int32)
        changes = 0 if weight.is_inference() else weight._version
        marks.append((changes, weight.data_ptr(), int(some.sum())))
    return marks


def _pack(weight: Tensor) -> PackedWeight | None:
    weight = weight.detach()
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
        packed = torch.ops.quantized.linear_prepack_fp16(both, None)
    except (AttributeError, RuntimeError):  # a processor without it
        return None
    return PackedWeight(packed, 2.0**-scaling)
