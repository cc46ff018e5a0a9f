"""Updates of a model: one BPTT segment after another, with the optimizer, dropout masks and the carried state."""

import logging
import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from zh_lstm_lm._config import check_number
from zh_lstm_lm.corpus.batches import IGNORED, TrainingWindows
from zh_lstm_lm.errors import ConfigError, NonFiniteError
from zh_lstm_lm.models.gradients import clip_gradients, settle_rows
from zh_lstm_lm.models.layers import BatchRowGenerator, LSTMState
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.runtime.control_characters import get_logger
from zh_lstm_lm.runtime.devices import autocast, choose_device, on_device
from zh_lstm_lm.runtime.memory import check_fits
from zh_lstm_lm.training.config import TrainerConfig
from zh_lstm_lm.training.distributed import Ranks
from zh_lstm_lm.training.memory import optimizer_bytes, scores_per_token, training_bytes, training_memory
from zh_lstm_lm.training.optimizer import CustomOptimizer, Optimizer, OptimizerFactory, WeightAverage
from zh_lstm_lm.training.run_folder import Checkpoint
from zh_lstm_lm.training.schedule import Schedule, default_learning_rate, describe_schedule, factor_at, learning_rate_at
from zh_lstm_lm.training.state import TrainerState, UpdateMetrics

__all__ = ["MetricsQueue", "Updater"]

logger: logging.Logger = get_logger(__name__)

# Default batch rows of a process; a CUDA device needs more to be busy.
_ROWS, _CUDA_ROWS = 32, 128

_READ_TOGETHER = 20


class MetricsQueue:
    """Metrics of updates whose loss and gradient norm have not been read from the device yet."""

    def __init__(self, device: torch.device) -> None:
        # Reading from the CPU waits for nothing.
        self._room = 1 if device.type == "cpu" else _READ_TOGETHER
        self._scalars: list[Tensor] = []
        self._metrics: list[UpdateMetrics] = []

    def put(self, metrics: UpdateMetrics, loss: Tensor, gradient_norm: Tensor) -> None:
        """Adds the metrics of one update; loss and norm are scalars, **Shape:** ()."""
        self._scalars += [loss.detach(), gradient_norm]
        self._metrics.append(metrics)

    def full(self) -> bool:
        """Returns True if it is time to read."""
        return len(self._metrics) >= self._room

    def read(self) -> list[UpdateMetrics]:
        """Removes all metrics from the queue and returns them in order, with loss and gradient norm."""
        if not self._metrics:
            return []
        values = torch.stack(self._scalars).view(-1, 2).tolist()
        read = [
            metrics._replace(loss=loss, gradient_norm=norm)
            for metrics, (loss, norm) in zip(self._metrics, values, strict=True)
        ]
        self._scalars.clear()
        self._metrics.clear()
        return read


class Updater:
    """The optimizer, carried state and random state of a run; the run's state is an argument.

    The model is moved to its device. This one of the processes reads a part of the batch rows. An optimizer factory and
    a schedule function replace those of the options.

    Attributes:
        device: The device of the model.
        windows: The BPTT segments of the training text.
        optimizer_bytes: What the optimizer is expected to add to a checkpoint.

    Raises:
        ConfigError: All weights are frozen, the run cannot fit the device, or there are more processes than batch rows.
    """

    def __init__(
        self,
        model: LSTMLanguageModel,
        ids: Tensor,
        config: TrainerConfig,
        ranks: Ranks,
        *,
        optimizer: OptimizerFactory | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        if not any(weight.requires_grad for weight in model.parameters()):
            raise ConfigError("all weights of the model are frozen; model.requires_grad_(True) lets them be trained")
        self._model, self._config, self._ranks, self._schedule = model, config, ranks, schedule
        self.device: torch.device = choose_device(
            config.device, local_rank=ranks.local_rank if ranks.together else None
        )
        most = ranks.size * (_ROWS if self.device.type == "cpu" else _CUDA_ROWS)
        batch_size = config.batch_size or max(ranks.size, min(most, len(ids) // (100 * config.bptt_len)))
        self.windows: TrainingWindows = TrainingWindows(
            ids, batch_size=batch_size, bptt_len=config.bptt_len, bos_id=model.vocabulary.bos_id
        )
        first, last = ranks.row_bounds(self.windows.batch_size)
        betas = None if optimizer else config.betas
        # Sixteen bits would round the small steps of an average away.
        averaged = config.average_weights and not optimizer and model.embedding.weight.itemsize > 2
        copied = sum(weight.nbytes for weight in model.parameters()) if averaged else 0
        self.optimizer_bytes: int = optimizer_bytes(model, betas=betas) + copied
        self._check_memory(training_bytes(model, betas=betas) + copied)
        model.to(self.device)
        self._optimizer: Optimizer | CustomOptimizer
        self._optimizer = (
            CustomOptimizer(model, optimizer)
            if optimizer
            else Optimizer(model, betas=config.betas, weight_decay=config.weight_decay)
        )
        self._average = WeightAverage(model, enabled=averaged)
        self._generator = BatchRowGenerator(self.device)
        self._generator.manual_seed(config.seed)
        self._generator.first, self._generator.num_rows = first, self.windows.batch_size
        self._queue = MetricsQueue(self.device)
        self._peak = self._optimizer.peak or config.learning_rate or default_learning_rate(None)
        # Time of the updates whose metrics have not been read yet.
        self._unread_seconds = 0.0
        self._carried = model.initial_state(last - first)

    def update(self, state: TrainerState) -> None:
        """Makes one update at the state's learning rate; a loss or gradient that is not finite is an error."""
        config, ranks = self._config, self._ranks
        # Where a time budget had no time for an evaluation, it still is to begin.
        self.begin_epoch(state)
        # A callback may have changed it.
        check_number("state.learning_rate", state.learning_rate)
        began = time.monotonic()
        batch = self.windows[state.window]
        counted = batch.targets[batch.targets != IGNORED]
        inputs, targets = on_device(ranks.own_rows(batch.inputs), self.device), ranks.own_rows(batch.targets)
        sizes = self._model.config
        width = sizes.hidden_size if sizes.dtype == "float32" else 0
        with autocast(self.device, config.precision, hidden_size=width):
            loss, carried = self._model.loss(
                inputs, targets, self._carried, num_targets=len(counted), generator=self._generator
            )
        loss.backward()  # type: ignore[no-untyped-call]
        loss = self._gather_gradients(loss, batch.inputs)
        norm = clip_gradients(self._model.parameters(), config.max_grad_norm)
        characters = self._model.vocabulary.characters_per_id
        num_characters = int(characters[counted].sum()) if characters is not None else 0
        metrics = UpdateMetrics(state.step + 1, state.learning_rate, math.nan, math.nan, len(counted), num_characters)
        self._queue.put(metrics, loss, norm)
        # They are read before the weights change, where that costs nothing.
        known = self._read_metrics() if self._queue.full() else []
        self._optimizer.step(state.learning_rate)
        self._carried = carried.detach() if config.carry_state else self._zero_state()
        state.advance()
        self._average.count_update(state.step)
        self._unread_seconds += max(0.0, time.monotonic() - began)
        self._count(known, state)

    def learning_rate(self, state: TrainerState) -> float:
        """Returns the learning rate of the next update by the schedule."""
        self._peak = self._optimizer.peak or self._config.learning_rate or default_learning_rate(state.planned_steps)
        peak = math.ldexp(self._peak, -state.rollbacks)
        if self._schedule is not None:
            return peak * factor_at(self._schedule, state.step, state.planned_steps)
        return learning_rate_at(
            state.step,
            peak=peak,
            schedule=self._config.schedule,
            warmup_steps=self._config.warmup_steps,
            progress=state.progress,
        )

    def averages_in_use(self) -> AbstractContextManager[None]:
        """Gives the model the averages of its weights inside the block, if there are any."""
        return self._average.in_use()

    def weights(self) -> Mapping[str, Tensor]:
        """Returns the weights by name, averages where there are any."""
        return self._average.averaged()

    def own_options(self) -> dict[str, Any]:
        """Returns a custom optimizer and schedule as plain values, to be compared when the run is resumed."""
        options: dict[str, Any] = {}
        if isinstance(self._optimizer, CustomOptimizer):
            options |= {"optimizer": self._optimizer.describe(), "learning_rate": self._optimizer.peak}
        if self._schedule is not None:
            options["schedule"] = describe_schedule(self._schedule)
        return options

    def count_updates(self, state: TrainerState) -> None:
        """Adds the updates since the last read to the epoch's sums and to the curve; errors are those of `update`."""
        self._count(self._read_metrics(), state)

    def begin_epoch(self, state: TrainerState) -> None:
        """Begins an epoch, with the zero state, if one has ended."""
        if state.window == state.steps_per_epoch:
            state.begin_epoch()
            self._carried = self._zero_state()

    def carried_rows(self) -> LSTMState:
        """Gathers the carried state of all batch rows; all ranks have to call this."""
        h, c = (self._ranks.gather_rows(part, self.windows.batch_size, dim=1) for part in self._carried)
        return LSTMState(h, c)

    def snapshot(self, state: TrainerState, carried: LSTMState | None = None) -> Checkpoint:
        """Returns all that a checkpoint holds.

        `carried` is the carried state of all batch rows, so that any number of processes can resume; None for zero.
        """
        h, c = carried or self._model.initial_state(self.windows.batch_size)
        random_state = self._generator.get_state()
        return Checkpoint(
            state,
            self.weights(),
            {**self._optimizer.state_tensors(), **self._average.last()},
            {"h": h, "c": c, "generator": random_state},
            self._optimizer.state_values(),
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes back to a snapshot."""
        self._model.load_state_dict(checkpoint.model)
        tensors = self._average.restore(checkpoint.optimizer)
        self._optimizer.load_state_tensors(tensors, checkpoint.optimizer_values)
        try:
            self._generator.set_state(checkpoint.carried["generator"])
        # The generators of two kinds of device have states of their own.
        except RuntimeError:
            logger.warning("%s: resumes on another kind of device, with other dropout masks", self._config.run_dir)
            self._generator.manual_seed(self._config.seed + checkpoint.state.step)
        self._carried = self._zero_state()
        if "h" in checkpoint.carried:
            h, c = (
                self._ranks.own_rows(checkpoint.carried[name], dim=1).contiguous().to(self.device)
                for name in ("h", "c")
            )
            self._carried = LSTMState(h, c)
        self._queue, self._unread_seconds = MetricsQueue(self.device), 0.0

    def diverged(self, problem: str) -> NonFiniteError:
        """Returns the error for training that has diverged."""
        return NonFiniteError(
            f"{problem}; lower learning_rate (now {self._peak:g}) and resume: the last checkpoint is from before; or let "
            "the run roll back by itself, with max_rollbacks"
        )

    def _zero_state(self) -> LSTMState:
        return self._model.initial_state(self._carried.h.shape[1])

    def _check_memory(self, held: int) -> None:
        """Refuses a run that cannot fit the device, before anything is allocated there; see `training_memory`."""
        sizes = self._model.config
        counts = torch.tensor(self._model.vocabulary.counts, device="cpu")
        needed = training_memory(
            held=held,
            num_tokens=self.windows.batch_size // self._ranks.size * self.windows.bptt_len,
            hidden_size=sizes.hidden_size,
            num_layers=sizes.num_layers,
            scores=scores_per_token(counts, sizes.cutoffs),
            itemsize=self._model.embedding.weight.itemsize,
        )
        smaller = "batch_size, bptt_len, hidden_size or the vocabulary"
        check_fits(f"training {self._model.num_parameters:,} weights", needed, self.device, smaller=smaller)

    def _gather_gradients(self, loss: Tensor, inputs: Tensor) -> Tensor:
        """Sums gradients and loss over the ranks, which know all rows of the embedding, and returns the loss."""
        if self._ranks.together or self.device.type != "cpu":
            for table, rows in self._model.embedding.touched_rows(inputs):
                if table.grad is not None and table.grad.is_sparse:
                    table.grad = settle_rows(table.grad, on_device(rows, self.device))
        return self._ranks.reduce_gradients(self._model.parameters(), loss)

    def _read_metrics(self) -> list[UpdateMetrics]:
        """Reads the metrics of the updates since the last read; see `count_updates`."""
        read = self._queue.read()
        for metrics in read:
            if not math.isfinite(metrics.loss + metrics.gradient_norm):
                self._model.zero_grad(set_to_none=True)
                raise self.diverged(
                    f"update {metrics.step}: the loss is {metrics.loss} and the gradient norm {metrics.gradient_norm}"
                )
        return read

    def _count(self, read: list[UpdateMetrics], state: TrainerState) -> None:
        """Adds updates to the sums, each with an equal part of the time that they took together."""
        for metrics in read:
            clipped = metrics.gradient_norm > self._config.max_grad_norm
            state.count_update(metrics._replace(clipped=clipped, seconds=self._unread_seconds / len(read)))
        if read:
            self._unread_seconds = 0.0
