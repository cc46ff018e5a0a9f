"""Tensors that may be larger than the memory."""

import contextlib
import os
import shutil
import tempfile
import weakref

import torch
from torch import Tensor

from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.storage.cache import SCRATCH_PREFIX, cache_part, user_cache_dir

__all__ = ["scratch_tensor"]

_IN_MEMORY_BYTES = 1 << 28


def scratch_tensor(size: int) -> Tensor:
    """Returns a tensor to fill; a large one lies in a temporary file, so that the system can write its pages out.

    **Shape:** (size,), int32, not initialised.
    """
    if 4 * size > _IN_MEMORY_BYTES:
        # Without room on the disk either, only memory is left.
        with contextlib.suppress(OSError, CheckpointError):
            return _mapped(size)
    return torch.empty(size, dtype=torch.int32)


def _mapped(size: int) -> Tensor:
    folder = cache_part(user_cache_dir(), "scratch")
    folder.mkdir(parents=True, exist_ok=True)
    # A full disk would end the process when a page is written.
    if shutil.disk_usage(folder).free < 8 * size:
        raise OSError("no room")
    descriptor, name = tempfile.mkstemp(prefix=SCRATCH_PREFIX, dir=folder)
    os.close(descriptor)
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
