"""Tensors in safetensors files, whose headers are checked before anything is allocated."""

import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from safetensors.torch import save as save_tensors
from torch import Tensor

from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.storage.strict_json import JSONLimits, parse_json

__all__ = ["MAX_TENSOR_BYTES", "TensorKind", "check_kinds", "kinds_of", "load_tensors", "read_kinds", "write_tensors"]

MAX_TENSOR_BYTES = 1 << 36
_MAX_HEADER_BYTES = 1 << 20
_HEADER_LIMITS = JSONLimits(strings=1 << 16, values=1 << 16, containers=1 << 13)
_MAX_SIDES = 8
_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}


class TensorKind(NamedTuple):
    """Type and shape of a tensor."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    def __str__(self) -> str:
        """Returns the kind as text."""
        return f"{self.dtype} of the shape {self.shape}"


def kinds_of(tensors: Mapping[str, Tensor]) -> dict[str, TensorKind]:
    """Returns the kinds of tensors on any device."""
    return {name: TensorKind(tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


def read_kinds(file: IO[bytes], path: Path) -> dict[str, TensorKind]:
    """Reads the header of an open file; raises CheckpointError if it is damaged or does not fit the file's size."""
    try:
        size = os.fstat(file.fileno()).st_size
        file.seek(0)
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        header = file.read(length) if length <= min(size - 8, _MAX_HEADER_BYTES) else b""
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    damaged = f"{path}: truncated, damaged or no safetensors file; get it again or restore a copy"
    if not header:
        raise CheckpointError(damaged)
    described = parse_json(header, name=f"{path}, header", limits=_HEADER_LIMITS)
    kinds: dict[str, TensorKind] = {}
    expected = 8 + length
    for name, entry in described.items() if isinstance(described, dict) else [("", None)]:
        if name == "__metadata__":
            continue
        shape = entry.get("shape") if isinstance(entry, dict) else None
        dtype = _DTYPES.get(str(entry.get("dtype"))) if isinstance(entry, dict) else None
        if dtype is None or not isinstance(shape, list) or len(shape) > _MAX_SIDES or not all(map(_is_side, shape)):
            raise CheckpointError(f"{damaged} (by its header, {name[:100]!r} is no tensor)")
        kinds[name] = TensorKind(dtype, tuple(shape))
        expected += dtype.itemsize * math.prod(shape)
    if expected != size:
        raise CheckpointError(f"{damaged} ({size:,} bytes, by its header {expected:,})")
    return kinds


def _is_side(side: object) -> bool:
    return type(side) is int and 0 <= side < 1 << 63


def check_kinds(path: Path, found: Mapping[str, TensorKind], expected: Mapping[str, TensorKind], *, by: str) -> None:
    """Raises CheckpointError unless the tensors of a file have the kinds that `by` asks for."""
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            raise CheckpointError(
                f"{path}: {name[:200]!r} is {found.get(name, 'missing')}, by {by} it should be "
                f"{expected.get(name, 'missing')}"
            )


def load_tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    """Loads the tensors of a file whose kinds were checked, on the CPU; raises CheckpointError if it is damaged."""
    try:
        # The user's default device may be another one.
        with torch.device("cpu"):
            return load(data)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: truncated or damaged ({error}); get it again or restore a copy") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors, from any device, into a file inside `atomic_directory`."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path.write_bytes(save_tensors(plain, metadata={"format": "pt"}))
