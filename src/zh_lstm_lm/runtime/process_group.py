"""The process group of a run: the other processes that ``torchrun`` started, joined and needed."""

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed

from zh_lstm_lm.errors import ConfigError, RankError

__all__ = ["join_process_group", "others_needed"]

# A rank that does not respond for so long is given up.
_TIMEOUT = timedelta(minutes=10)
_ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@contextmanager
def others_needed() -> Iterator[None]:
    """Reports a rank that is no longer there, by which an exchange inside the block fails, as a RankError."""
    try:
        yield
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RankError(
            f"another process of this run ended or stopped responding ({reason}); its own message says why; start all of "
            "them again, with resume: the checkpoints so far are whole"
        ) from error


def join_process_group() -> bool:
    """Joins the other processes of this run; returns False for a process that was started alone.

    The processes find each other by the variables ``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR`` and ``MASTER_PORT``, which
    ``torchrun`` sets. Where the caller has initialised `torch.distributed`, its processes are used; they need gloo for
    the CPU, as in ``init_process_group("cpu:gloo,cuda:nccl")``. They stay joined until the process ends.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1" and not (distributed.is_available() and distributed.is_initialized()):
        return False
    if not distributed.is_available():
        raise ConfigError("several processes need a PyTorch with torch.distributed, which this one lacks; start one")
    if not distributed.is_initialized():
        missing = [name for name in _ENVIRONMENT if not os.environ.get(name)]
        if missing:
            raise ConfigError(
                f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {' and '.join(missing)} not set; start with torchrun, "
                "or unset WORLD_SIZE to train in one process"
            )
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and distributed.is_nccl_available() else "gloo"
        with others_needed():
            distributed.init_process_group(backend, timeout=_TIMEOUT)
        atexit.register(_leave)
    if "gloo" not in distributed.get_backend_config():
        raise ConfigError(
            f"the processes were joined by {distributed.get_backend_config()!r}, which knows no CPU; begin with "
            "init_process_group('cpu:gloo,cuda:nccl')"
        )
    return True


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
