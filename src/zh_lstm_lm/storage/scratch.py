"""Tensors that may be larger than the memory."""

import contextlib
import os
import shutil
import tempfile
import weakref
from array import array
from typing import IO

import torch
from torch import Tensor
from typing_extensions import Self

from zh_lstm_lm.errors import CheckpointError, DataError
from zh_lstm_lm.storage.cache import SCRATCH_PREFIX, cache_part, user_cache_dir

__all__ = ["ScratchNumbers", "scratch_tensor"]

_IN_MEMORY_BYTES = 1 << 28


def scratch_tensor(size: int) -> Tensor:
    """Returns an int32 tensor to fill; a large one lies in a temporary file, so its pages can be written out."""
    if 4 * size > _IN_MEMORY_BYTES:
        # Without room on the disk either, only memory is left.
        with contextlib.suppress(OSError, CheckpointError):
            descriptor, name = _new_file()
            os.close(descriptor)
            # A full disk would end the process when a page is written.
            if shutil.disk_usage(os.path.dirname(name)).free < 8 * size:
                _remove(name)
            else:
                return _mapped(name, size)
    return torch.empty(size, dtype=torch.int32)


class ScratchNumbers:
    """Numbers that come in parts, in a temporary file as soon as they are many; a block around it removes the file."""

    def __init__(self) -> None:
        self._held = array("i")
        self._file: IO[bytes] | None = None
        self._name = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            _remove(self._name)

    def extend(self, numbers: "array[int]") -> None:
        """Appends numbers; raises DataError if the disk is full."""
        self._held.extend(numbers)
        if 4 * len(self._held) > _IN_MEMORY_BYTES:
            if self._file is None:
                # Without a folder for them, they stay in memory.
                with contextlib.suppress(OSError, CheckpointError):
                    descriptor, self._name = _new_file()
                    self._file = os.fdopen(descriptor, "wb")
            self._write()

    def tensor(self) -> Tensor:
        """Returns all numbers, of which there is at least one. **Shape:** (number of numbers,), int32."""
        self._write()
        if self._file is None:
            return torch.frombuffer(self._held, dtype=torch.int32)
        file, self._file = self._file, None
        size = file.tell() // 4
        file.close()
        return _mapped(self._name, size)

    def _write(self) -> None:
        if self._file is None:
            return
        try:
            self._file.write(self._held)
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"{self._name}: cannot be written ({error.strerror}); free some space, or set ZH_LSTM_LM_CACHE to a "
                "folder on another disk"
            ) from error
        self._held = array("i")


def _new_file() -> tuple[int, str]:
    """Returns an open descriptor of a new temporary file, and its name."""
    folder = cache_part(user_cache_dir(), "scratch")
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.mkstemp(prefix=SCRATCH_PREFIX, dir=folder)


def _mapped(name: str, size: int) -> Tensor:
    """Maps a file, which goes with the tensor."""
    try:
        tensor = torch.from_file(name, shared=True, size=size, dtype=torch.int32)
    # The file cannot be that large, or not be mapped.
    except RuntimeError as error:
        _remove(name)
        raise OSError(str(error)) from error
    # Windows does not remove an open file.
    if os.name == "nt":
        weakref.finalize(tensor, _remove, name)
    else:
        os.unlink(name)
    return tensor


def _remove(name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name)
