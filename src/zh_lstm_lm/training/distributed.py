"""Several processes that train one model together, the ranks of a run: all that goes between them.

The lanes of every window are divided over the ranks. Each has the whole text, so all of them know the
targets of a whole window without asking; they send each other sums of gradients. Sums come out equal to the last bit on
every rank, hence weights and decisions do too. Time is that of rank 0, told with every exchange.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, distributed, nn

from zh_lstm_lm import errors
from zh_lstm_lm.errors import ConfigError, RankError, ZhLstmLmError
from zh_lstm_lm.training.state import TrainerState

__all__ = ["Ranks", "others_needed"]

_PATIENCE = timedelta(days=7)  # while one rank reads a text for all
_BUCKET = 1 << 24  # numbers that are sent together
_ANOTHER = "another process asked to stop"

_ERRORS: dict[str, type[ZhLstmLmError]] = {
    kind.__name__: kind
    for kind in (
        errors.CheckpointError,
        errors.ConfigError,
        errors.DataError,
        errors.MissingDependencyError,
        errors.NonFiniteError,
        errors.RankError,
        errors.VocabularyError,
        errors.ZhLstmLmError,
    )
}

Value = TypeVar("Value")
Number = TypeVar("Number", int, float)


class Ranks:
    """The processes of a run, as one of them sees it; alone, every method does what a single process needs.

    Attributes:
        rank: The number of this one; 0 prints and writes.
        size: How many there are.
        local_rank: The number of this one among those on its machine.
        clock: Seconds that only rise; those of rank 0 as it last told them, so that all ranks decide alike.
    """

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        *,
        local_rank: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self._own_clock = clock
        self._began = clock()
        self._told = 0.0
        self.clock = clock if size == 1 else lambda: self._told
        self._wish: str | None = None  # why this rank would stop
        self._verdict: str | None = None  # why all of them do
        self._patient: distributed.ProcessGroup | None = None  # the same ranks, with more time for each other

    @property
    def together(self) -> bool:
        """Whether there are others."""
        return self.size > 1

    def lanes(self, tensor: Tensor, dim: int = 0) -> Tensor:
        """This rank's part of all lanes, which lie along `dim`; the parts differ by one lane at most."""
        start, stop = self.lane_bounds(tensor.shape[dim])
        return tensor.narrow(dim, start, stop - start)

    def lane_bounds(self, num_lanes: int) -> tuple[int, int]:
        """The first of this rank's lanes, and one behind the last.

        Raises:
            ConfigError: There are more ranks than lanes.
        """
        if num_lanes < self.size:
            raise ConfigError(
                f"{self.size} processes cannot divide {num_lanes} lanes; give batch_size={self.size} or more, a longer "
                "text, or start fewer processes"
            )
        return self.rank * num_lanes // self.size, (self.rank + 1) * num_lanes // self.size

    def whole(self, part: Tensor, num_lanes: int, dim: int) -> Tensor:
        """The lanes of all ranks, of which `part` holds this one's, along `dim`."""
        if not self.together:
            return part
        shape = [*part.shape[:dim], num_lanes, *part.shape[dim + 1 :]]
        lanes = part.new_zeros(shape)
        self.lanes(lanes, dim).copy_(part)
        with others_needed():
            distributed.all_reduce(lanes)
        return lanes

    def sum(self, value: float) -> float:
        """The sum of what every rank gives."""
        return self._exchange([value])[0] if self.together else value

    def from_first(self, value: Number) -> Number:
        """What rank 0 gives."""
        return type(value)(self.sum(value if self.rank == 0 else 0))

    def bytes_from_first(self, data: bytes) -> bytes:
        """What rank 0 gives; of what the others give, nothing is looked at."""
        if not self.together:
            return data
        length = self.from_first(len(data))
        buffer = bytearray(data if self.rank == 0 else length)
        if length:
            with others_needed():
                distributed.broadcast(torch.frombuffer(buffer, dtype=torch.uint8), src=0)
        return bytes(buffer)

    def by_first(self, work: Callable[[], Value]) -> Value:
        """What rank 0 gets from work that it alone does, a plain value; an error of it is one of all ranks."""
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

    def tensors_from_first(self, get: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """The tensors that rank 0 gets."""
        if not self.together:
            return get()
        found: dict[str, Tensor] = {}
        self.by_first(lambda: found.update(get()))
        data = save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in found.items()})
        return load_tensors(self.bytes_from_first(data))

    def reduce_gradients(self, parameters: Iterable[nn.Parameter], loss: Tensor) -> Tensor:
        """Sums the gradients over the ranks, in place, and the loss.

        Args:
            parameters: The weights, in the same order on every rank; sparse gradients have the same rows on all.
            loss: This rank's part of the loss. **Shape:** ().

        Returns:
            The whole loss. **Shape:** ().
        """
        if not self.together:
            return loss.detach()
        parameters = list(parameters)
        holders = self._exchange([float(parameter.grad is not None) for parameter in parameters])
        values = [loss.detach().clone()]
        for parameter, count in zip(parameters, holders, strict=True):
            if not count:
                continue
            if parameter.grad is None:  # no target of this rank came near it
                parameter.grad = torch.zeros_like(parameter)
            values.append(parameter.grad._values() if parameter.grad.is_sparse else parameter.grad)
        with others_needed():
            _sum_in_place(values)
        return values[0]

    def settle_stop(self, state: TrainerState) -> None:
        """Makes what one rank asks for what all of them do: they end together, after the next exchange.

        The end of a budget needs no settling, since all ranks see it at once.
        """
        if not self.together:
            return
        finished = state.stop_reason == "finished"
        if not finished:
            self._wish = self._wish or state.stop_reason
        if self._verdict or not finished:
            state.stop_reason = self._verdict

    def meet(self, state: TrainerState) -> None:
        """Settles whether to stop, and the time, where no update is at hand to carry it."""
        if self.together:
            self.settle_stop(state)
            self._exchange([])
            self.settle_stop(state)

    def check_same(self, digest: bytes) -> None:
        """Refuses to train where ranks were given different things.

        Args:
            digest: A sum over what they were given.

        Raises:
            ConfigError: It is not the same on all ranks.
        """
        if self.together and self.sum(float(self.bytes_from_first(digest) != digest)):
            raise ConfigError(
                f"the {self.size} processes were given different texts, vocabularies, models or options; start all of "
                "them with the same"
            )

    @contextmanager
    def first_here_first(self) -> Iterator[None]:
        """Lets one rank of every machine do the work in the block before the others, who find it in the cache."""
        if self.together:
            with others_needed():
                self._patient = distributed.new_group(backend="gloo", timeout=_PATIENCE)
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

    def _exchange(self, values: Sequence[float]) -> list[float]:
        """Sums values over the ranks; the time and wishes to stop go along."""
        now = self._own_clock() - self._began if self.rank == 0 else 0.0
        interrupted, asked = self._wish == "interrupted", self._wish not in (None, "interrupted")
        message = torch.tensor([now, interrupted, asked, *values], dtype=torch.float64)
        with others_needed():
            distributed.all_reduce(message)
        self._told, interrupted, asked, *sums = message.tolist()
        if interrupted:
            self._verdict = "interrupted"
        elif asked:
            self._verdict = self._verdict or self._wish or _ANOTHER
        return sums


@contextmanager
def others_needed() -> Iterator[None]:
    """Tells of a rank that is no longer there in the library's own voice.

    Raises:
        RankError: An exchange inside the block failed.
    """
    try:
        yield
    except RuntimeError as error:
        told = str(error).strip().splitlines()
        raise RankError(
            f"another process of this run ended or fell silent ({told[0] if told else type(error).__name__}); its own "
            "message says why; start all of them again, with resume: the checkpoints so far are whole"
        ) from error


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
