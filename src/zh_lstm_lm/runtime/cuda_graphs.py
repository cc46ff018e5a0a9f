"""A function of tensors as a CUDA graph: one launch where it would be dozens, each of which costs more than its work."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["CapturedFunction"]

_GROWTH = 4  # from one capacity to the next
_CAPTURING = threading.Lock()  # PyTorch has one stream to capture on


@dataclass(frozen=True)
class _Capture:
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class CapturedFunction:
    """Records what a function does on a CUDA device, and does that again at each call.

    A graph has fixed shapes, so one is captured for 1, 4, 16, … rows when it is first needed, and fewer rows are filled
    up. It reads weights where they were when it was captured: `weights` tells whether they are still there. Threads
    take turns, as a graph has one place for its inputs.

    Args:
        function: Takes tensors whose first dimension is rows, and returns such tensors; each row's depends on that row
            alone. It must ask the device for nothing.
        weights: The weights that it reads.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], weights: Sequence[Tensor]) -> None:
        self._function, self._weights = function, weights
        self._places: list[int] = []
        self._captures: dict[int, _Capture] = {}
        self._turn = threading.Lock()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Calls the function. **Shape:** (rows, …) each, of as many rows in all."""
        rows, capacity = len(inputs[0]), 1
        while capacity < rows:
            capacity *= _GROWTH
        with self._turn:
            places = [weight.data_ptr() for weight in self._weights]
            if places != self._places:
                self._places = places
                self._captures.clear()
            if capacity not in self._captures:
                self._captures[capacity] = self._capture(inputs, capacity)
            capture = self._captures[capacity]
            for static, given in zip(capture.inputs, inputs, strict=True):
                static[:rows].copy_(given)
            capture.graph.replay()
            return tuple(output[:rows].clone() for output in capture.outputs)

    def _capture(self, inputs: Sequence[Tensor], capacity: int) -> _Capture:
        device = inputs[0].device
        # A generator that PyTorch makes for a capture in inference mode refuses all later ones outside of it.
        with _CAPTURING, torch.inference_mode(False), torch.no_grad(), torch.cuda.device(device):
            statics = tuple(given.new_zeros(capacity, *given.shape[1:]) for given in inputs)
            aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):  # libraries set themselves up at their first calls, which no graph may hold
                for _ in range(2):
                    self._function(*statics)
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                outputs = self._function(*statics)
        return _Capture(graph, statics, outputs)
