"""Data-parallel training in several processes, the ranks of a run: the collectives that they need.

The batch rows of every BPTT segment are divided over the ranks. Each has the whole text, so all of them know the targets
of a whole segment; they exchange sums of gradients. Sums come out equal to the last bit on every rank, hence weights and
decisions do too.

The ranks are started by ``torchrun --nproc-per-node 2 -m zh_lstm_lm train novels/ --output MODEL``.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from zh_lstm_lm import errors
from zh_lstm_lm.errors import ConfigError, ZhLstmLmError
from zh_lstm_lm.runtime.process_group import join_process_group, others_needed

__all__ = ["Ranks", "join_ranks"]

# The others wait while one rank reads a text for all.
_PATIENCE = timedelta(days=7)
# Values that are sent together.
_BUCKET = 1 << 24
_ANOTHER = "another process asked to stop"

_ERRORS = {
    kind.__name__: kind
    for kind in (
        errors.CheckpointError, errors.ConfigError, errors.DataError, errors.MissingDependencyError,
        errors.NonFiniteError, errors.RankError, errors.VocabularyError, errors.ZhLstmLmError,
    )
}  # fmt: skip

Value = TypeVar("Value")
Number = TypeVar("Number", int, float)


class Ranks:
    """The processes of a run as seen by one of them; for a single process all methods are local.

    Attributes:
        rank: Index of this process; 0 prints and writes.
        size: Number of processes.
        local_rank: Index of this process among those on its machine.
    """

    def __init__(self, rank: int = 0, size: int = 1, *, local_rank: int = 0) -> None:
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self._patient: distributed.ProcessGroup | None = None

    @property
    def together(self) -> bool:
        """True if there are several processes."""
        return self.size > 1

    def row_bounds(self, num_rows: int) -> tuple[int, int]:
        """Returns the index of this rank's first batch row, and one past its last; refuses more ranks than rows."""
        if num_rows < self.size:
            raise ConfigError(
                f"{self.size} processes cannot divide {num_rows} batch rows; give batch_size={self.size} or more, a "
                "longer text, or start fewer processes"
            )
        return self.rank * num_rows // self.size, (self.rank + 1) * num_rows // self.size

    def own_rows(self, tensor: Tensor, dim: int = 0) -> Tensor:
        """Returns this rank's part of a tensor with all batch rows along `dim`."""
        start, stop = self.row_bounds(tensor.shape[dim])
        return tensor.narrow(dim, start, stop - start)

    def gather_rows(self, part: Tensor, num_rows: int, dim: int) -> Tensor:
        """Joins the parts of all ranks along `dim`."""
        if not self.together:
            return part
        rows = part.new_zeros([*part.shape[:dim], num_rows, *part.shape[dim + 1 :]])
        self.own_rows(rows, dim).copy_(part)
        with others_needed():
            distributed.all_reduce(rows)
        return rows

    def sum(self, *values: float) -> list[float]:
        """Sums each of some values over the ranks."""
        if not self.together:
            return list(values)
        message = torch.tensor(values, dtype=torch.float64, device="cpu")
        with others_needed():
            distributed.all_reduce(message)
        return message.tolist()

    def agree(self, seconds: float, stop_reason: str | None) -> tuple[float, str | None]:
        """Makes all ranks decide alike: the time is that of rank 0, and all stop if one of them has been asked to.

        A stop reason of None goes on; ``"interrupted"`` comes before all others.
        """
        if not self.together:
            return seconds, stop_reason
        interrupted = stop_reason == "interrupted"
        first = seconds if self.rank == 0 else 0.0
        seconds, interruptions, reasons = self.sum(first, float(interrupted), float(stop_reason is not None))
        if interruptions:
            return seconds, "interrupted"
        return seconds, stop_reason or (_ANOTHER if reasons else None)

    def from_first(self, value: Number) -> Number:
        """Returns the value of rank 0."""
        return type(value)(self.sum(value if self.rank == 0 else 0)[0])

    def bytes_from_first(self, data: bytes) -> bytes:
        """Returns the bytes of rank 0; those of the others are ignored."""
        if not self.together:
            return data
        length = self.from_first(len(data))
        buffer = bytearray(data if self.rank == 0 else length)
        if length:
            with others_needed():
                distributed.broadcast(torch.frombuffer(buffer, dtype=torch.uint8), src=0)
        return bytes(buffer)

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Copies the tensors of rank 0 into those of the others, which come in the same order."""
        if not self.together:
            return
        with torch.no_grad(), others_needed():
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def by_first(self, work: Callable[[], Value]) -> Value:
        """Lets rank 0 alone do some work, and returns its result, a plain value; its errors are raised on all ranks."""
        if not self.together:
            return work()
        answer: dict[str, Any] = {}
        failure: ZhLstmLmError | None = None
        if self.rank == 0:
            try:
                answer = {"value": work()}
            except ZhLstmLmError as error:
                known = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _ERRORS)
                failure, answer = error, {"error": known, "message": str(error)}
        answer = json.loads(self.bytes_from_first(json.dumps(answer).encode("utf-8")))
        if "error" in answer:
            raise failure or _ERRORS[answer["error"]](answer["message"])
        value: Value = answer["value"]
        return value

    def reduce_gradients(self, parameters: Iterable[nn.Parameter], loss: Tensor) -> Tensor:
        """Sums the gradients over the ranks, in place, and their parts of the loss, of which the whole is returned.

        The weights come in the same order on every rank, and sparse gradients have the same rows on all.
        """
        if not self.together:
            return loss.detach()
        parameters = list(parameters)
        holders = self.sum(*(float(parameter.grad is not None) for parameter in parameters))
        values = [loss.detach().clone()]
        for parameter, count in zip(parameters, holders, strict=True):
            if not count:
                continue
            # No target of this rank came near the weight.
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            values.append(parameter.grad._values() if parameter.grad.is_sparse else parameter.grad)
        with others_needed():
            _sum_in_place(values)
        return values[0]

    def check_same(self, digest: bytes) -> None:
        """Refuses to train where ranks were given different things, of which `digest` is a checksum."""
        if self.together and self.sum(float(self.bytes_from_first(digest) != digest))[0]:
            raise ConfigError(
                f"the {self.size} processes were given different texts, vocabularies, models or options; start all of "
                "them with the same"
            )

    @contextmanager
    def first_here_first(self) -> Iterator[None]:
        """Lets one rank of every machine do the work in the block before the others, who find it in the cache."""
        if self.together:
            with others_needed():
                group: Any = distributed.new_group(backend="gloo", timeout=_PATIENCE)
                self._patient = group
        if self.local_rank != 0:
            self.wait_for_all()
        yield
        if self.local_rank == 0:
            self.wait_for_all()

    def wait_for_all(self) -> None:
        """Waits until every rank has come here, however long that takes."""
        if self.together:
            with others_needed():
                distributed.barrier(group=self._patient)


def _sum_in_place(tensors: Sequence[Tensor]) -> None:
    """Sums tensors over the ranks, many of them in one message; the next is packed while one is under way."""
    buckets: list[list[Tensor]] = []
    room = 0
    for tensor in tensors:
        if not buckets or tensor.numel() > room or tensor.dtype != buckets[-1][0].dtype:
            buckets.append([])
            room = _BUCKET
        buckets[-1].append(tensor)
        room -= tensor.numel()
    pending = []
    for bucket in buckets:
        numbers = torch.cat([tensor.reshape(-1) for tensor in bucket])
        pending.append((bucket, numbers, distributed.all_reduce(numbers, async_op=True)))
    for bucket, numbers, work in pending:
        work.wait()
        for tensor, part in zip(bucket, torch.split(numbers, [tensor.numel() for tensor in bucket]), strict=True):
            tensor.copy_(part.view_as(tensor))


def join_ranks() -> Ranks:
    """Joins the other processes of this run; a process that was started alone stays alone. See `join_process_group`."""
    if not join_process_group():
        return Ranks()
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    return Ranks(distributed.get_rank(), distributed.get_world_size(), local_rank=local_rank)
