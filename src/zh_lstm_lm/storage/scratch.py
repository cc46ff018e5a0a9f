"""Room for tensors that may be larger than the memory."""

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
    """A tensor to fill; a large one lies in a temporary file, whose pages the system writes out where memory is short.

    Args:
        size: Number of elements.

    Returns:
        **Shape:** (size,), int32, not initialised.
    """
    if 4 * size > _IN_MEMORY_BYTES:
        with contextlib.suppress(OSError, CheckpointError):  # no room on the disk either: memory is what is left
            return _mapped(size)
    return torch.empty(size, dtype=torch.int32)


def _mapped(size: int) -> Tensor:
    folder = cache_part(user_cache_dir(), "scratch")
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < 8 * size:  # a full disk would end the process when a page is written
        raise OSError("no room")
    descriptor, name = tempfile.mkstemp(prefix=SCRATCH_PREFIX, dir=folder)
    os.close(descriptor)
    try:
        tensor = torch.from_file(name, shared=True, size=size, dtype=torch.int32)
    except RuntimeError as error:  # the file cannot be made so large, or not be mapped
        _remove(name)
        raise OSError(str(error)) from error
    if os.name == "nt":  # an open file cannot be removed there
        weakref.finalize(tensor, _remove, name)
    else:
        os.unlink(name)
    return tensor


def _remove(name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name)
