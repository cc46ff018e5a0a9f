"""The threads that PyTorch computes with, on busy machines and in forked processes."""

import os
import time

__all__ = ["available_cores", "settle_threads", "use_one_thread_after_fork"]

# Rounds, or milliseconds, that an idle thread waits actively before it sleeps.
_SPIN = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
# How often, and how many seconds apart, the machine's load is read.
_LOOKS, _BETWEEN = 7, 0.02
_registered = False


def settle_threads(*, one: bool) -> None:
    """Sets OpenMP's environment for a command of this process, as far as the user has not set it.

    A computation gets no more threads than there are idle processors, and `one` if the work is little, such as one
    token at a time. They wait for each other only for a short time in a loop: by default it is a long time, and on a
    machine with other work they then take the processor from the thread that they wait for. It has to be called before
    PyTorch is imported.
    """
    if not any(name in os.environ for name in ("OMP_WAIT_POLICY", *_SPIN)):
        os.environ.update(_SPIN)
    if "OMP_NUM_THREADS" not in os.environ:
        processors = available_cores()
        threads = 1 if one else max(1, processors - _others_running())
        if threads < processors:
            os.environ["OMP_NUM_THREADS"] = str(threads)


def available_cores() -> int:
    """Returns the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _others_running() -> int:
    """Returns how many other threads run on this machine, over a moment; 0 where the system does not tell."""
    seen = []
    for _ in range(_LOOKS):
        try:
            with open("/proc/loadavg", encoding="ascii") as file:
                running = file.read().split()[3].partition("/")[0]
        except (OSError, IndexError):
            return 0
        seen.append(int(running) - 1)
        time.sleep(_BETWEEN)
    return max(0, sorted(seen)[_LOOKS // 2])


def use_one_thread_after_fork() -> None:
    """Lets processes that are forked from this one compute with one thread.

    OpenMP's threads are not forked, so a computation with several of them would wait for ever in a forked process.
    """
    global _registered  # noqa: PLW0603
    if not _registered and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_use_one_thread)
        _registered = True


def _use_one_thread() -> None:
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
