"""Devices, non-blocking copies, and the precision of matrix products."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.runtime.processor import has_bfloat16

__all__ = [
    "PRECISIONS", "autocast", "autocast_dtype", "choose_device", "matrix_precision", "on_cpu_by_default", "on_device",
    "plain_modes",
]  # fmt: skip

Function = TypeVar("Function", bound=Callable[..., Any])

# Layers of a smaller size gain nothing from bfloat16 on the CPU.
_BFLOAT16_SIZE = 128

PRECISIONS = ("auto", "float32", "tf32", "bfloat16")
"""Precisions of matrix products; sums, weights and their updates are always in the dtype of the model."""


def choose_device(name: str, *, local_rank: int | None = None) -> torch.device:
    """Returns the device with a name; ``"auto"`` is a CUDA device if there is one. Raises ConfigError if there is none.

    `local_rank` is the index of this process among those on this machine, each of which has a CUDA device of its own;
    None for a single process.
    """
    wanted = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    try:
        torch.empty(0, device=wanted)
        device = torch.device(wanted)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ConfigError(f"device {name!r} cannot be used here ({error}); device='auto' takes one that can") from error
    if device.type != "cuda" or local_rank is None:
        return device
    if local_rank >= torch.cuda.device_count():
        raise ConfigError(
            f"process {local_rank + 1} of this machine has no CUDA device of its own, there are "
            f"{torch.cuda.device_count()}; start as many processes as devices, or train with device='cpu'"
        )
    return torch.device("cuda", local_rank)


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Returns a tensor on a device; copies to CUDA go through pinned memory and do not block."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    # A tensor with gaps would be copied by a blocking copy.
    return tensor.contiguous().pin_memory().to(device, non_blocking=True)


@contextmanager
def matrix_precision(device: torch.device, precision: str) -> Iterator[None]:
    """Sets the precision of CUDA's float32 matrix products for the block; refuses one that the device does not have.

    ``"float32"`` is exact. ``"tf32"``, which is what ``"auto"`` means, keeps 10 bits of the mantissa and is many times
    as fast. The LSTM stays with it under ``"bfloat16"`` too.
    """
    if device.type != "cuda":
        if precision == "tf32":
            raise ConfigError(f"precision 'tf32' is one of CUDA devices, got device {str(device)!r}; give 'float32'")
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    try:
        matmul.allow_tf32 = cudnn.allow_tf32 = precision != "float32"
        with torch.cuda.device(device):
            yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


@contextmanager
def plain_modes(model: nn.Module) -> Iterator[None]:
    """Makes training inside the block independent of the caller's modes; refuses a model made without them.

    Gradients are on, autocast is off, and new tensors are on the CPU, whatever `torch.no_grad`, `torch.inference_mode`,
    `torch.autocast` and `torch.set_default_device` say outside.
    """
    if any(parameter.is_inference() for parameter in model.parameters()):
        raise ConfigError("the model was made inside torch.inference_mode and cannot be trained; make it outside")
    if any(parameter.is_meta for parameter in model.parameters()):
        raise ConfigError("the model was made on the device 'meta' and has no weights; make it on another device")
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in {"cpu", "cuda"} if torch.cuda.is_available() else {"cpu"}:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        # The context costs some time in every call of PyTorch.
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


def on_cpu_by_default(function: Function) -> Function:
    """Makes the new tensors of a function or generator on the CPU, whatever `torch.set_default_device` says outside."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        # The context costs some time in every call of PyTorch.
        if torch.empty(0).device.type == "cpu":
            return function(*args, **options)
        with torch.device("cpu"):
            result = function(*args, **options)
        return _steps(result) if inspect.isgeneratorfunction(function) else result

    return cast(Function, call)


def _steps(items: Generator[Any, None, None]) -> Iterator[Any]:
    """Yields the items of a generator; between them, the caller's default device applies."""
    end = object()
    with contextlib.closing(items):
        while True:
            with torch.device("cpu"):
                item = next(items, end)
            if item is end:
                return
            yield item


def autocast(device: torch.device, precision: str, *, hidden_size: int = 0) -> AbstractContextManager[object]:
    """Returns the context of the loss, in which some matrix products of float32 weights are in bfloat16.

    With ``"bfloat16"`` they are those outside the LSTM on CUDA, and all on the CPU. ``"auto"`` is the same on a CPU that
    computes in it, with `hidden_size` wide enough for a gain.
    """
    wanted = precision == "bfloat16"
    if precision == "auto" and device.type == "cpu":
        wanted = hidden_size >= _BFLOAT16_SIZE and has_bfloat16()
    return torch.autocast(device.type, dtype=torch.bfloat16) if wanted else contextlib.nullcontext()


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """Returns the dtype of matrix products inside a surrounding `torch.autocast`; None outside of one."""
    if not torch.amp.is_autocast_available(device.type) or not torch.is_autocast_enabled(device.type):
        return None
    return torch.get_autocast_dtype(device.type)
