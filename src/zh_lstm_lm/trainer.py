"""Training over truncated windows with a carried state."""

import contextlib
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zh_lstm_lm._config import check_type
from zh_lstm_lm.batches import IGNORED, TrainingWindows
from zh_lstm_lm.callbacks import Callback, EarlyStopping, ProgressCallback, notify
from zh_lstm_lm.checkpoint import Checkpoint, RunFolder
from zh_lstm_lm.devices import autocast, choose_device, matrix_precision, on_device
from zh_lstm_lm.distributed import join_ranks
from zh_lstm_lm.errors import CheckpointError, ConfigError, DataError, NonFiniteError
from zh_lstm_lm.evaluation import EvaluationResult, evaluate_ids
from zh_lstm_lm.interruption import catch_interruption
from zh_lstm_lm.memory import check_fits, scores_per_token, training_memory
from zh_lstm_lm.model import LSTMLanguageModel
from zh_lstm_lm.optimization import Optimizer, clip_gradients, learning_rate_at, settle_rows, sparse_embedding
from zh_lstm_lm.rare_characters import spell_some_hapaxes
from zh_lstm_lm.recurrent import LSTMState, detach_state
from zh_lstm_lm.regularization import LaneGenerator
from zh_lstm_lm.run_records import describe_texts, make_record, make_summary, run_description
from zh_lstm_lm.time_budget import TimeBudget, estimate_evaluation
from zh_lstm_lm.token_stream import TokenStream
from zh_lstm_lm.trainer_config import TrainerConfig
from zh_lstm_lm.training_state import History, TrainerState
from zh_lstm_lm.update_figures import UpdateFigures, UpdateFiguresQueue

__all__ = ["Trainer"]

logger = logging.getLogger(__name__)

_MIN_TOKENS = 10
_LANES = 32  # of a process, where none are asked for
_DEVICE_LANES = 128  # which need more to be busy


class Trainer:
    """Trains a model; see `fit`.

    Attributes:
        model: The model.
        config: The options.
        state: Where the last call of `fit` stands.

    Example:
        >>> trainer = Trainer(model, train, valid, TrainerConfig(max_epochs=3))  # doctest: +SKIP
        >>> history = trainer.fit()  # doctest: +SKIP
    """

    def __init__(
        self,
        model: LSTMLanguageModel,
        train: TokenStream,
        valid: TokenStream | None = None,
        config: TrainerConfig | None = None,
        *,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Sets a run up; nothing is read, moved or written before `fit`.

        Args:
            model: The model to train, new or trained before.
            train: The training text.
            valid: The held-out text; None (or an empty one) keeps the last weights in place of the best.
            config: Options; None takes the defaults.
            callbacks: What else to call.
            progress: Whether to show progress and print perplexities.
            clock: Seconds that only rise.

        Raises:
            ConfigError: An argument has the wrong type.
        """
        check_type("model", model, LSTMLanguageModel)
        check_type("train", train, TokenStream)
        check_type("valid", valid, TokenStream, type(None))
        check_type("config", config, TrainerConfig, type(None))
        self.model = model
        self.train = train
        self.valid = valid
        self.config = config or TrainerConfig()
        self.state = TrainerState()
        stopping = [EarlyStopping(self.config.patience)] if self.config.patience else []
        if not isinstance(callbacks, Iterable) or not all(isinstance(callback, Callback) for callback in callbacks):
            raise ConfigError(f"callbacks must be a list of Callback objects, got {callbacks!r}")
        self._callbacks = [*stopping, *([ProgressCallback()] if progress else []), *callbacks]
        self._own_clock = self._clock = clock

    def fit(self, *, resume: bool = False) -> History:
        """Trains until a budget is reached, and leaves the model with its best weights by held-out loss.

        Where the process is one of several (see `torchrun`), each has a part of every window's lanes, and all of them
        end up with the same weights; the first one writes and shows progress. Everything is to be given to all alike.

        The state is zero at the start of an epoch and carried, detached, from window to window. Ctrl-C or SIGTERM ends
        the run after the current update with a checkpoint written; a second one ends it at once. A checkpoint that
        cannot be written is warned of, and training goes on.

        Args:
            resume: Whether to go on from `run_dir` if it holds a checkpoint; a finished run is only loaded.

        Returns:
            A record for every epoch, and one for a last epoch that the budget cut short.

        Raises:
            ConfigError: `run_dir` holds a run and `resume` is not set.
            CheckpointError: The run in `run_dir` is another one, another process trains in it, or it cannot be written.
            DataError: There is too little text.
            RankError: Another process of the run has ended.
            NonFiniteError: The loss or a gradient is no longer a finite number, more than `max_rollbacks` times.
        """
        self._ranks = join_ranks(self._own_clock)
        self._clock = self._ranks.clock
        if self._ranks.rank:
            self._callbacks = [callback for callback in self._callbacks if not callback.first_rank_only]
        began = self._clock()
        self._prepare()
        folder = self._folder
        with folder.locked() if folder is not None else contextlib.nullcontext():
            self._restore(resume)
            self._began = began - self.state.seconds
            if folder is not None and not self._done():
                folder.check_space(sum(tensor.nbytes for tensor in self.model.state_dict().values()))
            notify(self._callbacks, "on_train_begin", self.state, self.model)
            self._ranks.meet(self.state)
            try:
                self._train()
            except BaseException as error:
                notify(self._callbacks, "on_exception", self.state, self.model, error)
                raise
        if self.config.max_minutes and not self.state.planned_steps and self.state.stop_reason == "finished":
            logger.warning(
                "max_minutes=%g was over after %d updates, too few to learn anything; give more",
                self.config.max_minutes, self.state.step,
            )  # fmt: skip
        if self._best is not None:
            self.model.load_state_dict(self._best)
        self.model.eval()
        self.model.training_summary = make_summary(self.state, self.train)
        notify(self._callbacks, "on_train_end", self.state, self.model)
        return self.state.history

    def _train(self) -> None:
        """The loop: update after update, with an evaluation after every epoch and at the end."""
        self.model.train()
        exact = matrix_precision(self._device, self.config.precision)
        with sparse_embedding(self.model), exact, catch_interruption() as interruption:
            while True:
                try:
                    self._ranks.settle_stop(self.state)
                    if self._evaluation_is_due():
                        self._evaluate()
                    if interruption.requested and not self._done():
                        self.state.request_stop("interrupted")
                        self._ranks.settle_stop(self.state)
                    self._save_if_due()
                    if self._done():
                        self._count(self._known_figures())
                        break
                    started = self._clock()
                    self._update()
                    notify(self._callbacks, "on_step_end", self.state, self.model)
                    self._plan(self._clock() - started)
                except NonFiniteError as error:
                    self._roll_back(error)
                except KeyboardInterrupt:  # long work inside has looked at the flag
                    if interruption.insisted or not (interruption.requested or self._ranks.together):
                        raise
                    self.state.stop_reason = "interrupted"  # even if it was finished: the last evaluation is missing

    def _elapsed(self) -> float:
        """Seconds spent in `fit`, over all resumes."""
        return self._clock() - self._began

    def _prepare(self) -> None:
        """Encodes the texts and makes everything that a run consists of, in its first state."""
        config, vocabulary = self.config, self.model.vocabulary
        self._train_ids = spell_some_hapaxes(vocabulary.encode_stream(self.train), vocabulary)
        self._valid_ids = vocabulary.encode_stream(self.valid) if self.valid else None
        if len(self.train) < _MIN_TOKENS:
            raise DataError(
                f"the training text has {len(self.train)} tokens, at least {_MIN_TOKENS} are needed; give more"
            )
        ranks = self._ranks
        self._device = choose_device(config.device, local_rank=ranks.local_rank if ranks.together else None)
        most = ranks.size * (_LANES if self._device.type == "cpu" else _DEVICE_LANES)
        lanes = config.batch_size or max(ranks.size, min(most, len(self._train_ids) // (100 * config.bptt_len)))
        self._windows = TrainingWindows(self._train_ids, batch_size=lanes, bptt_len=config.bptt_len)
        first, _ = ranks.lane_bounds(self._windows.batch_size)
        self._check_memory()
        self.model.to(self._device)
        self._optimizer = Optimizer(self.model, betas=config.betas)
        self._generator = LaneGenerator(self._device)
        self._generator.manual_seed(config.seed)
        self._generator.first, self._generator.num_lanes = first, self._windows.batch_size
        self._figures, self._uncounted = UpdateFiguresQueue(self._device), 0.0  # seconds of updates in the queue
        self._carried: LSTMState | None = None
        self._best: Mapping[str, Tensor] | None = None
        self._time = TimeBudget(config.max_minutes, warming_steps=2 + self._figures.room)
        self._last_saved = 0.0
        self._saved: tuple[int, int, bool] | None = (0, 0, False)  # update, records and end of the newest checkpoint
        self._folder = None
        if config.run_dir is not None and ranks.rank == 0:
            self._folder = RunFolder(Path(config.run_dir), keep_last=config.keep_last)
        planned = config.step_budget(len(self._windows)) if config.max_minutes is None else None
        self.state = TrainerState(steps_per_epoch=len(self._windows), planned_steps=planned)

    def _check_memory(self) -> None:
        """Refuses a run that cannot fit the device, before anything is allocated there."""
        sizes, counts = self.model.config, torch.tensor(self.model.vocabulary.counts)
        needed = training_memory(
            num_parameters=self.model.num_parameters,
            num_tokens=self._windows.batch_size // self._ranks.size * self._windows.bptt_len,
            hidden_size=sizes.hidden_size,
            num_layers=sizes.num_layers,
            scores=scores_per_token(counts, sizes.cutoffs),
            itemsize=self.model.embedding.weight.itemsize,
        )
        smaller = "batch_size, bptt_len, hidden_size or the vocabulary"
        check_fits(f"training {self.model.num_parameters:,} weights", needed, self._device, smaller=smaller)

    def _done(self) -> bool:
        """Whether the run has ended, by its budget or by a callback."""
        state = self.state
        bound = state.planned_steps or self.config.step_budget(len(self._windows))
        if (bound is not None and state.step >= bound) or (state.step > 0 and self._time.spent(state, self._elapsed())):
            state.request_stop("finished")
        return state.stop_reason is not None

    def _update(self) -> None:
        """One window: forward, backward, clip, step."""
        state, config = self.state, self.config
        began = self._clock()
        batch = self._windows[state.window]
        counted = batch.targets[batch.targets != IGNORED]
        inputs, targets = on_device(self._ranks.lanes(batch.inputs), self._device), self._ranks.lanes(batch.targets)
        with autocast(self._device, config.precision):
            loss, carried = self.model.loss(
                inputs, targets, self._carried, num_targets=len(counted), generator=self._generator
            )
        loss.backward()  # type: ignore[no-untyped-call]
        loss = self._gather_gradients(loss, batch.inputs)
        norm = clip_gradients(self.model.parameters(), config.max_grad_norm)
        state.learning_rate = learning_rate_at(
            state.step,
            peak=config.learning_rate / 2**state.rollbacks,
            schedule=config.schedule,
            warmup_steps=config.warmup_steps,
            planned_steps=state.planned_steps,
        )
        characters = self.model.vocabulary.characters_per_id
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
        self._carried = detach_state(carried) if config.carry_state else None
        state.advance()
        self._uncounted += self._clock() - began
        self._count(known)
        state.seconds = self._elapsed()

    def _gather_gradients(self, loss: Tensor, inputs: Tensor) -> Tensor:
        """Sums gradients and loss over the ranks, and returns the loss.

        Rows of the embedding are settled first: all ranks know from the inputs which ones any of them has.
        """
        if self._ranks.together or self._device.type != "cpu":
            for table, rows in self.model.embedding.touched_rows(inputs):
                if table.grad is not None and table.grad.is_sparse:
                    table.grad = settle_rows(table.grad, on_device(rows, self._device))
        return self._ranks.reduce_gradients(self.model.parameters(), loss)

    def _known_figures(self) -> list[UpdateFigures]:
        """Reads the figures of the updates since the last read.

        Raises:
            NonFiniteError: A loss or a gradient among them is no longer a finite number.
        """
        figures = self._figures.read()
        for step, _, mean, norm, *_ in figures:
            if not math.isfinite(mean + norm):
                self.model.zero_grad(set_to_none=True)
                raise NonFiniteError(
                    f"update {step}: the loss is {mean} and the gradient norm {norm}; {self._advice()}"
                )
        return figures

    def _count(self, figures: list[UpdateFigures]) -> None:
        """Adds updates to the epoch's sums and to the curve, and shares the time among them that they took."""
        for update in figures:
            self.state.count_update(
                step=update.step,
                learning_rate=update.learning_rate,
                loss_sum=update.loss * update.num_targets,
                num_targets=update.num_targets,
                num_characters=update.num_characters,
                gradient_norm=update.gradient_norm,
                clipped=update.gradient_norm > self.config.max_grad_norm,
                seconds=self._uncounted / len(figures),
            )
        if figures:
            self._uncounted = 0.0

    def _plan(self, seconds: float) -> None:
        """Turns a time budget into a number of updates, recorded with the run, once enough of them were timed."""
        state = self.state
        if state.planned_steps is not None or not self._time.time_update(state, seconds):
            return
        if not state.evaluation_seconds and self._valid_ids is not None:
            num_ids = len(self._valid_ids) // self._ranks.size
            seconds = estimate_evaluation(self.model, self._windows[0], num_ids, clock=self._own_clock)
            state.evaluation_seconds = self._ranks.from_first(seconds)
        planned = state.step + self._time.updates_left(state, self._elapsed())
        state.planned_steps = min(planned, self.config.step_budget(len(self._windows)) or planned)

    def _evaluation_is_due(self) -> bool:
        """Whether an epoch, or the run, has just ended; one that is interrupted is left to whoever goes on."""
        state = self.state
        if not state.updates or (state.history and state.history[-1]["step"] == state.step):
            return False
        ended = state.window == len(self._windows) or self._done()
        return ended and state.stop_reason != "interrupted"

    def _evaluate(self) -> None:
        """Measures, records, and keeps the weights if they are the best so far; begins the next epoch if it is time."""
        state = self.state
        began = self._clock()
        self._count(self._known_figures())
        valid = self._measure(self._valid_ids) if self._valid_ids is not None else None
        if valid is not None and not math.isfinite(valid.loss):
            raise NonFiniteError(f"after update {state.step}: the held-out loss is {valid.loss}; {self._advice()}")
        state.evaluation_seconds = self._clock() - began
        spells = self.model.vocabulary.unknown == "characters"
        record = make_record(state, spells=spells, valid=valid, seconds=self._elapsed())
        state.history.append(record)
        if record.get("valid_loss", math.inf) < state.best_loss:
            state.best_loss = record["valid_loss"]
            self._best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        if state.window == len(self._windows):
            state.begin_epoch()
            self._carried = None
        try:
            notify(self._callbacks, "on_epoch_end", state, self.model, record)
        finally:
            self._ranks.meet(state)  # also where one rank's callback looked at its flag

    def _measure(self, ids: Tensor) -> EvaluationResult:
        """Evaluates, every rank some of the segments; if one is interrupted in it, all are."""
        ranks = self._ranks
        try:
            part = evaluate_ids(self.model, ids, part=(ranks.rank, ranks.size))
        except KeyboardInterrupt:
            if not ranks.together:
                raise
            part = None
            self.state.request_stop("interrupted")
            ranks.settle_stop(self.state)
        if ranks.sum(float(part is None)) or part is None:
            raise KeyboardInterrupt
        return replace(part, log_prob=ranks.sum(part.log_prob))

    def _save_if_due(self) -> None:
        """Writes a checkpoint at the end of an epoch, of the run, and every few minutes."""
        late = self._elapsed() - self._last_saved >= 60 * self.config.checkpoint_minutes
        done = self._done()
        now = (self.state.step, len(self.state.history), done)
        if self.config.run_dir is not None and (late or self.state.window == 0 or done) and now != self._saved:
            self._saved = now
            self._save()
            self._last_saved = self._elapsed()

    def _save(self) -> None:
        """Commits a checkpoint, then the best model; a disk that is full does not end the run."""
        self._count(self._known_figures())
        self.state.seconds = self._elapsed()
        snapshot = self._snapshot()
        self._ranks.by_first(lambda: self._write(snapshot))

    def _write(self, snapshot: Checkpoint) -> None:
        assert self._folder is not None
        try:
            self._folder.save(snapshot)
            self._export_best(self._folder)
        except CheckpointError as error:
            logger.warning("%s; training goes on, and the next checkpoint is tried for as planned", error)

    def _snapshot(self) -> Checkpoint:
        """Everything that a checkpoint holds, as it is now; with the lanes of all ranks, so that any number can go on."""
        first, last = self._ranks.lane_bounds(self._windows.batch_size)
        state = self._carried or self.model.init_state(last - first)
        h, c = (self._ranks.whole(part, self._windows.batch_size, dim=1) for part in state)
        carried = {"h": h, "c": c, "generator": self._generator.get_state()}
        return Checkpoint(self.state, self.model.state_dict(), self._optimizer.state_tensors(), carried)

    def _export_best(self, folder: RunFolder) -> None:
        """Writes the best weights as a model's folder, unless they lie there already."""
        if self._best is not None and folder.exported_step() != self.state.best_step:
            folder.export(self.model, self._best, make_summary(self.state, self.train))

    def _restore(self, resume: bool) -> None:
        """Begins a run in the run folder, or goes back to the newest checkpoint that is there."""
        ranks = self._ranks
        description = self._description() if ranks.together or self._folder is not None else {}
        if ranks.together:
            ranks.check_same(_digest(description))
        same_budget = ranks.by_first(lambda: self._find_run(description, resume))
        if same_budget is None:
            if self.config.max_rollbacks:
                self._saved = None  # there has to be a checkpoint to go back to
            if ranks.together:
                self.model.load_state_dict(ranks.tensors_from_first(self.model.state_dict))
            return
        planned = self.state.planned_steps
        self._load()
        state = self.state
        if not same_budget:
            state.planned_steps = planned
        if not same_budget or state.stop_reason == "interrupted":
            state.stop_reason = None
        if self._folder is not None:
            self._export_best(self._folder)

    def _find_run(self, description: dict[str, Any], resume: bool) -> bool | None:
        """Whether the run in the folder has the same budgets as now; None where there is none, and one is begun."""
        folder = self._folder
        if folder is None:
            return None
        if not folder.holds_run():
            folder.begin(description)
            return None
        if not resume:
            raise ConfigError(
                f"{folder.path}: holds a run already; go on with fit(resume=True), or give another run_dir"
            )
        return folder.check_same(description)

    def _description(self) -> dict[str, Any]:
        """What makes the run the one it is."""
        description = run_description(self.config.to_dict(), self.model, self._train_ids, self._valid_ids)
        description["text"] = describe_texts(self.model.vocabulary, self.train, self.valid)
        description["environment"]["processes"] = self._ranks.size
        return description

    def _load(self) -> None:
        """Goes back to the newest checkpoint that is whole, which the first rank reads for all."""
        like, folder, ranks = self._snapshot(), self._folder, self._ranks
        checkpoint = ranks.checkpoint_from_first(lambda: folder.newest(like) if folder is not None else like)
        self.state = state = checkpoint.state
        self.model.load_state_dict(checkpoint.model)
        self._optimizer.load_state_tensors(checkpoint.optimizer)
        try:
            self._generator.set_state(checkpoint.carried["generator"])
        except RuntimeError:  # the generators of two kinds of device have states of their own
            logger.warning("%s: goes on on another kind of device, with other dropout masks", self.config.run_dir)
            self._generator.manual_seed(self.config.seed + state.step)
        self._carried = None
        if "h" in checkpoint.carried:
            h, c = (ranks.lanes(checkpoint.carried[name], dim=1).contiguous().to(self._device) for name in ("h", "c"))
            self._carried = h, c
        self._best = None
        best = state.best_step
        if best is not None:
            self._best = ranks.tensors_from_first(lambda: folder.best_weights(best, like) if folder is not None else {})
        self._figures, self._uncounted = UpdateFiguresQueue(self._device), 0.0
        self._last_saved = state.seconds
        self._saved = (state.step, len(state.history), state.stop_reason is not None)

    def _roll_back(self, error: NonFiniteError) -> None:
        """Goes back to the newest checkpoint, and on with half the rate, if that may still be done."""
        rollbacks = self.state.rollbacks + 1
        if rollbacks > self.config.max_rollbacks:
            raise error
        self._load()
        self.state.rollbacks = rollbacks
        logger.warning(
            "%s; back to update %d, and on with 1/%d of the rate (%d of max_rollbacks=%d)",
            error, self.state.step, 2**rollbacks, rollbacks, self.config.max_rollbacks,
        )  # fmt: skip

    def _advice(self) -> str:
        """What to do when training has diverged."""
        return (
            f"lower learning_rate (now {self.config.learning_rate:g}) and resume: the last checkpoint is from before; "
            "or let the run go back by itself, with max_rollbacks"
        )


def _digest(description: dict[str, Any]) -> bytes:
    """A sum over all that has to be the same on every rank."""
    options = {name: value for name, value in description["options"].items() if name not in ("run_dir", "device")}
    same = {**description, "options": options, "environment": None}
    return hashlib.sha256(json.dumps(same, sort_keys=True).encode("utf-8")).digest()
