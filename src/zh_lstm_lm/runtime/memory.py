"""The memory of a device: checks before large allocations, and the return of what was freed."""

import contextlib
import ctypes
import os
import sys
from pathlib import Path

import torch

from zh_lstm_lm.errors import ConfigError

__all__ = ["check_fits", "return_freed_memory", "total_memory"]

_CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def total_memory(device: torch.device) -> int | None:
    """Returns the memory of a device in bytes, for the CPU that of the machine or container; None if it is unknown."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if device.type != "cpu":
        return None
    try:
        found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    # Not every system reports it.
    except (AttributeError, OSError, ValueError):
        return None
    for path in _CONTAINER_LIMITS:
        try:
            found.append(int(path.read_text(encoding="ascii")))
        # There is no such file, or "max" in it.
        except (OSError, ValueError):
            continue
    return min(found)


def check_fits(what: str, needed: int, device: torch.device, *, smaller: str) -> None:
    """Refuses an allocation of more bytes than a device has; `smaller` names the options to lower."""
    total = total_memory(device)
    if total is not None and needed > total:
        raise ConfigError(
            f"{what} would take about {needed / 1e9:,.1f} GB of memory, and {device} has {total / 1e9:,.1f} GB; "
            f"make {smaller} smaller"
        )


def return_freed_memory() -> None:
    """Returns freed memory to the system, where the C library keeps it for later (glibc)."""
    if sys.platform == "linux":
        # Other C libraries have no such function.
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
