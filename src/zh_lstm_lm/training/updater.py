"""A model while it learns: one window after another, with its optimizer, its dropout masks and the carried state."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from zh_lstm_lm.corpus.batches import IGNORED, TrainingWindows
from zh_lstm_lm.errors import NonFiniteError
from zh_lstm_lm.models.gradients import clip_gradients, settle_rows
from zh_lstm_lm.models.layers import LaneGenerator, LSTMState
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.runtime.control_characters import get_logger
from zh_lstm_lm.runtime.devices import autocast, choose_device, on_device
from zh_lstm_lm.runtime.memory import check_fits
from zh_lstm_lm.training.config import TrainerConfig
from zh_lstm_lm.training.distributed import Ranks
from zh_lstm_lm.training.memory import scores_per_token, training_bytes, training_memory
from zh_lstm_lm.training.optimizer import Optimizer
from zh_lstm_lm.training.run_folder import Checkpoint
from zh_lstm_lm.training.schedule import default_learning_rate, learning_rate_at
from zh_lstm_lm.training.state import TrainerState

__all__ = ["Learner", "UpdateFigures", "UpdateFiguresQueue"]

logger = get_logger(__name__)

_LANES = 32  # of a process, where none are asked for
_DEVICE_LANES = 128  # which need more to be busy

_READ_TOGETHER = 20


class UpdateFigures(NamedTuple):
    """What is to be told of one update.

    Attributes:
        step: Its number, from 1.
        learning_rate: Its rate.
        loss: Mean loss of its targets, in nats.
        gradient_norm: Before clipping.
        num_targets: Targets that were counted.
        num_characters: Characters that they stand for.
    """

    step: int
    learning_rate: float
    loss: float
    gradient_norm: float
    num_targets: int
    num_characters: int


class UpdateFiguresQueue:
    """Updates whose figures were not read yet.

    Args:
        device: Where they are made.

    Attributes:
        room: Updates that are read together; 1 on the CPU, where nothing waits.
    """

    def __init__(self, device: torch.device) -> None:
        self.room = 1 if device.type == "cpu" else _READ_TOGETHER
        self._scalars: list[Tensor] = []
        self._known: list[tuple[int, float, int, int]] = []

    def put(
        self,
        loss: Tensor,
        gradient_norm: Tensor,
        *,
        step: int,
        learning_rate: float,
        num_targets: int,
        num_characters: int,
    ) -> None:
        """Adds the figures of one update; loss and norm are scalars, **Shape:** ()."""
        self._scalars += [loss.detach(), gradient_norm]
        self._known.append((step, learning_rate, num_targets, num_characters))

    def full(self) -> bool:
        """Whether it is time to read."""
        return len(self._known) >= self.room

    def read(self) -> list[UpdateFigures]:
        """Takes all figures out, in order."""
        if not self._known:
            return []
        values = torch.stack(self._scalars).view(-1, 2).tolist()
        figures = [
            UpdateFigures(step, rate, loss, norm, num_targets, num_characters)
            for (step, rate, num_targets, num_characters), (loss, norm) in zip(self._known, values, strict=True)
        ]
        self._scalars.clear()
        self._known.clear()
        return figures


class Learner:
    """All that updates need and change besides the state of the run, which is handed in.

    Args:
        model: The model; it is moved to its device.
        ids: The training text. **Shape:** (number of ids,), int32.
        config: Options of training.
        ranks: The processes of the run; this one learns from a part of every window's lanes.

    Attributes:
        device: Where the model is.
        windows: The training text, window by window.

    Raises:
        ConfigError: The run cannot fit the device, or there are more processes than lanes.
    """

    def __init__(self, model: LSTMLanguageModel, ids: Tensor, config: TrainerConfig, ranks: Ranks) -> None:
        self._model, self._config, self._ranks = model, config, ranks
        self.device = choose_device(config.device, local_rank=ranks.local_rank if ranks.together else None)
        most = ranks.size * (_LANES if self.device.type == "cpu" else _DEVICE_LANES)
        lanes = config.batch_size or max(ranks.size, min(most, len(ids) // (100 * config.bptt_len)))
        self.windows = TrainingWindows(ids, batch_size=lanes, bptt_len=config.bptt_len)
        first, last = ranks.lane_bounds(self.windows.batch_size)
        self._num_lanes = last - first
        self._check_memory()
        model.to(self.device)
        self._optimizer = Optimizer(model, betas=config.betas)
        self._generator = LaneGenerator(self.device)
        self._generator.manual_seed(config.seed)
        self._generator.first, self._generator.num_lanes = first, self.windows.batch_size
        self._figures = UpdateFiguresQueue(self.device)
        self._peak = config.learning_rate or default_learning_rate(None)
        self._uncounted = 0.0  # seconds of the updates whose figures were not read yet
        self._carried: LSTMState | None = None

    @property
    def figures_room(self) -> int:
        """Updates whose figures are read together."""
        return self._figures.room

    def update(self, state: TrainerState) -> None:
        """One window: forward, backward, clip, step.

        Raises:
            NonFiniteError: The loss or a gradient is no longer a finite number.
        """
        config, ranks = self._config, self._ranks
        began = ranks.clock()
        batch = self.windows[state.window]
        counted = batch.targets[batch.targets != IGNORED]
        inputs, targets = on_device(ranks.lanes(batch.inputs), self.device), ranks.lanes(batch.targets)
        with autocast(self.device, config.precision):
            loss, carried = self._model.loss(
                inputs, targets, self._carried, num_targets=len(counted), generator=self._generator
            )
        loss.backward()  # type: ignore[no-untyped-call]
        loss = self._gather_gradients(loss, batch.inputs)
        norm = clip_gradients(self._model.parameters(), config.max_grad_norm)
        self._peak = config.learning_rate or default_learning_rate(state.planned_steps)
        state.learning_rate = learning_rate_at(
            state.step,
            peak=self._peak / 2**state.rollbacks,
            schedule=config.schedule,
            warmup_steps=config.warmup_steps,
            planned_steps=state.planned_steps,
        )
        characters = self._model.vocabulary.characters_per_id
        self._figures.put(
            loss,
            norm,
            step=state.step + 1,
            learning_rate=state.learning_rate,
            num_targets=len(counted),
            num_characters=int(characters[counted].sum()) if characters is not None else 0,
        )
        known = self._known_figures() if self._figures.full() else []  # before the weights change, where it can be
        self._optimizer.step(state.learning_rate)
        self._carried = carried.detach() if config.carry_state else None
        state.advance()
        self._uncounted += ranks.clock() - began
        self._count(known, state)

    def count_updates(self, state: TrainerState) -> None:
        """Adds the updates since the last read to the epoch's sums and to the curve.

        Raises:
            NonFiniteError: A loss or a gradient among them is no longer a finite number.
        """
        self._count(self._known_figures(), state)

    def begin_epoch(self) -> None:
        """Forgets what was read before."""
        self._carried = None

    def snapshot(self, state: TrainerState) -> Checkpoint:
        """Everything that a checkpoint holds, as it is now; with the lanes of all ranks, so that any number can go on."""
        lanes = self._carried or self._model.initial_state(self._num_lanes)
        h, c = (self._ranks.whole(part, self.windows.batch_size, dim=1) for part in lanes)
        carried = {"h": h, "c": c, "generator": self._generator.get_state()}
        return Checkpoint(state, self._model.state_dict(), self._optimizer.state_tensors(), carried)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes back to what a snapshot holds."""
        self._model.load_state_dict(checkpoint.model)
        self._optimizer.load_state_tensors(checkpoint.optimizer)
        try:
            self._generator.set_state(checkpoint.carried["generator"])
        except RuntimeError:  # the generators of two kinds of device have states of their own
            logger.warning("%s: goes on on another kind of device, with other dropout masks", self._config.run_dir)
            self._generator.manual_seed(self._config.seed + checkpoint.state.step)
        self._carried = None
        if "h" in checkpoint.carried:
            h, c = (
                self._ranks.lanes(checkpoint.carried[name], dim=1).contiguous().to(self.device) for name in ("h", "c")
            )
            self._carried = LSTMState(h, c)
        self._figures, self._uncounted = UpdateFiguresQueue(self.device), 0.0

    def advice(self) -> str:
        """What to do when training has diverged."""
        return (
            f"lower learning_rate (now {self._peak:g}) and resume: the last checkpoint is from before; "
            "or let the run go back by itself, with max_rollbacks"
        )

    def _check_memory(self) -> None:
        """Refuses a run that cannot fit the device, before anything is allocated there."""
        sizes, counts = self._model.config, torch.tensor(self._model.vocabulary.counts)
        needed = training_memory(
            held=training_bytes(self._model, betas=self._config.betas),
            num_tokens=self.windows.batch_size // self._ranks.size * self.windows.bptt_len,
            hidden_size=sizes.hidden_size,
            num_layers=sizes.num_layers,
            scores=scores_per_token(counts, sizes.cutoffs),
            itemsize=self._model.embedding.weight.itemsize,
        )
        smaller = "batch_size, bptt_len, hidden_size or the vocabulary"
        check_fits(f"training {self._model.num_parameters:,} weights", needed, self.device, smaller=smaller)

    def _gather_gradients(self, loss: Tensor, inputs: Tensor) -> Tensor:
        """Sums gradients and loss over the ranks, and returns the loss.

        Rows of the embedding are settled first: all ranks know from the inputs which ones any of them has.
        """
        if self._ranks.together or self.device.type != "cpu":
            for table, rows in self._model.embedding.touched_rows(inputs):
                if table.grad is not None and table.grad.is_sparse:
                    table.grad = settle_rows(table.grad, on_device(rows, self.device))
        return self._ranks.reduce_gradients(self._model.parameters(), loss)

    def _known_figures(self) -> list[UpdateFigures]:
        """Reads the figures of the updates since the last read; see `count_updates`."""
        figures = self._figures.read()
        for step, _, mean, norm, *_ in figures:
            if not math.isfinite(mean + norm):
                self._model.zero_grad(set_to_none=True)
                raise NonFiniteError(f"update {step}: the loss is {mean} and the gradient norm {norm}; {self.advice()}")
        return figures

    def _count(self, figures: list[UpdateFigures], state: TrainerState) -> None:
        """Adds updates to the sums, and shares the time among them that they took."""
        for update in figures:
            state.count_update(
                step=update.step,
                learning_rate=update.learning_rate,
                loss_sum=update.loss * update.num_targets,
                num_targets=update.num_targets,
                num_characters=update.num_characters,
                gradient_norm=update.gradient_norm,
                clipped=update.gradient_norm > self._config.max_grad_norm,
                seconds=self._uncounted / len(figures),
            )
        if figures:
            self._uncounted = 0.0
