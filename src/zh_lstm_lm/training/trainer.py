"""Training over truncated BPTT segments with a carried state."""

import contextlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from torch import Tensor, nn

from zh_lstm_lm._config import check_type
from zh_lstm_lm.corpus.batches import sample_ids
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.training_ids import training_ids
from zh_lstm_lm.errors import DataError, NonFiniteError
from zh_lstm_lm.evaluation.evaluate import evaluate_ids
from zh_lstm_lm.evaluation.result import EvaluationResult
from zh_lstm_lm.models.gradients import sparse_embedding
from zh_lstm_lm.models.lstm import LSTMLanguageModel, unwrapped
from zh_lstm_lm.runtime.control_characters import get_logger
from zh_lstm_lm.runtime.devices import matrix_precision, plain_modes
from zh_lstm_lm.runtime.interruption import catch_interruption
from zh_lstm_lm.training.callbacks import Callback, all_callbacks, notify
from zh_lstm_lm.training.checkpointer import Checkpointer
from zh_lstm_lm.training.config import TrainerConfig
from zh_lstm_lm.training.distributed import join_ranks
from zh_lstm_lm.training.history import History
from zh_lstm_lm.training.optimizer import OptimizerFactory, check_factory
from zh_lstm_lm.training.run_identity import describe_run, digest_of, weights_digest
from zh_lstm_lm.training.schedule import (
    RunClock,
    Schedule,
    check_schedule,
    estimate_evaluation,
    evaluation_is_due,
    make_budget,
    warn_if_short,
)
from zh_lstm_lm.training.state import TrainerState, make_record, make_summary
from zh_lstm_lm.training.updater import Updater

__all__ = ["Trainer"]

logger: logging.Logger = get_logger(__name__)

_MIN_TOKENS = 10


class Trainer:
    """Trains a model; see `fit`.

    Attributes:
        model: The model.
        config: The options.
        state: The state of the last call of `fit`.
    """

    def __init__(
        self,
        model: nn.Module,
        train: TokenStream,
        valid: TokenStream | None = None,
        config: TrainerConfig | None = None,
        *,
        optimizer: OptimizerFactory | None = None,
        schedule: Schedule | None = None,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
    ) -> None:
        """Sets up a run; nothing is read, moved or written before `fit`.

        Args:
            model: The `LSTMLanguageModel` to train; a wrapper of `torch.compile` or `torch.nn.DataParallel` is taken off.
            train: The training text.
            valid: The validation set; None (or an empty one) keeps the last weights in place of the best.
            config: Options; None for the defaults.
            optimizer: A function that takes the list of weights and returns a `torch.optim.Optimizer`, such as
                ``lambda weights: torch.optim.AdamW(weights, lr=1e-3)``; its rates are the peak rates. All gradients are
                dense then. None takes Adam with rates, betas and weight decay of `config`.
            schedule: A function of the numbers of updates made and of all updates (an estimate under a time budget, a million
                at first) that returns the factor of the peak rate, in place of the schedule and warm-up of `config`.
            callbacks: Further callbacks.
            progress: Whether to show progress and print perplexities.

        Raises:
            ConfigError: An argument has the wrong type.
        """
        inner = unwrapped(model)
        check_type("model", inner, LSTMLanguageModel)
        check_type("train", train, TokenStream)
        check_type("valid", valid, TokenStream, type(None))
        check_type("config", config, TrainerConfig, type(None))
        self.model: LSTMLanguageModel = cast(LSTMLanguageModel, inner)
        self.train: TokenStream = train
        self.valid: TokenStream | None = valid
        self.config: TrainerConfig = config or TrainerConfig()
        check_factory(optimizer, self.config)
        check_schedule(schedule)
        self._optimizer, self._schedule = optimizer, schedule
        self.state: TrainerState = TrainerState()
        self._callbacks = all_callbacks(callbacks, patience=self.config.patience, progress=progress)

    def fit(self, *, resume: bool = False) -> History:
        """Trains until a budget is used up, and leaves the model with its best weights by validation loss.

        If the process is one of several (see `torchrun`), each reads a part of the batch rows, and all of them end up
        with the same weights; the first one writes and shows progress. All of them need the same arguments, and see the
        same `run_dir`.

        The state is zero at the start of an epoch and carried, detached, from segment to segment. Ctrl-C, SIGTERM or
        SIGHUP ends the run after the current update with a checkpoint; a second one ends it at once. A checkpoint that
        cannot be written is warned of, and training goes on.

        Args:
            resume: Whether to resume from `run_dir` if it holds a checkpoint; a finished run is only loaded.

        Returns:
            A record for every evaluation.

        Raises:
            ConfigError: `run_dir` holds a run and `resume` is not set.
            CheckpointError: The run in `run_dir` is another one, another process trains in it, or it cannot be written.
            DataError: There is too little text.
            RankError: Another process of the run has ended.
            NonFiniteError: The loss or a gradient is no longer finite, more than `max_rollbacks` times.
        """
        check_type("resume", resume, bool)
        self._ranks = join_ranks()
        self._clock = RunClock()
        if self._ranks.rank:
            self._callbacks = [callback for callback in self._callbacks if not callback.first_rank_only]
        with plain_modes(self.model):
            self._prepare()
            with self._checkpoints.locked():
                self._restore(resume)
                if not self._ended():
                    self._checkpoints.check_space(self._updater.optimizer_bytes)
                try:
                    with catch_interruption() as self._interruption:
                        self._train()
                except BaseException as error:
                    notify(self._callbacks, "on_exception", self.state, self.model, error)
                    raise
        warn_if_short(self.state, self.config.max_minutes)
        self.model.load_state_dict(self._updater.weights() if self._best is None else self._best)
        self.model.eval()
        self.model.training_summary = make_summary(self.state, self.train)
        notify(self._callbacks, "on_train_end", self.state, self.model)
        return self.state.history

    def _prepare(self) -> None:
        """Encodes the texts and sets all parts of the run to their first state."""
        config, vocabulary = self.config, self.model.vocabulary
        self._train_ids = training_ids(self.train, vocabulary)
        self._valid_ids: tuple[Tensor, Tensor] | None = None
        if self.valid:
            ids = vocabulary.encode_stream(self.valid)
            sample = sample_ids(ids, len(self._train_ids), bos_id=vocabulary.bos_id)
            self._valid_ids = ids, ids if config.eval_steps else sample
        if (found := len(self.train)) < _MIN_TOKENS:
            raise DataError(f"the training text has {found} tokens, at least {_MIN_TOKENS} are needed; give more")
        self._updater = Updater(
            self.model, self._train_ids, config, self._ranks, optimizer=self._optimizer, schedule=self._schedule
        )
        self._best: Mapping[str, Tensor] | None = None
        self._checkpoints = Checkpointer(config, self._ranks, self.model, lambda state: make_summary(state, self.train))
        steps_per_epoch = len(self._updater.windows)
        max_steps = config.step_budget(steps_per_epoch)
        planned = None if config.max_minutes else max_steps
        self.state = TrainerState(steps_per_epoch=steps_per_epoch, planned_steps=planned)
        self._budget = make_budget(max_minutes=config.max_minutes, max_steps=max_steps, eval_steps=config.eval_steps)

    def _train(self) -> None:
        """Runs the loop: update after update, with evaluations and checkpoints in between."""
        self._notify("on_train_begin")
        self._synchronize()
        self.model.train()
        exact = matrix_precision(self._updater.device, self.config.precision)
        # Few optimizers of PyTorch take sparse gradients.
        gradients = contextlib.nullcontext() if self._optimizer else sparse_embedding(self.model)
        with gradients, exact:
            while True:
                try:
                    if self._evaluation_is_due():
                        with self._updater.averages_in_use():
                            self._evaluate()
                    self._save_if_due()
                    if self._ended():
                        self._updater.count_updates(self.state)
                        break
                    self._update()
                except NonFiniteError as error:
                    self._roll_back(error)

    def _update(self) -> None:
        """Makes one update, calls the callbacks, and takes the time."""
        state = self.state
        began = state.seconds
        state.learning_rate = self._updater.learning_rate(state)
        self._notify("on_step_begin")
        self._updater.update(state)
        self._notify("on_step_end")
        self._synchronize()
        seconds = state.seconds - began
        seconds -= self._skip_pause(seconds, expected=state.update_seconds)
        self._budget.count_update(state, seconds)
        if state.timed_updates and not state.evaluation_seconds and self._valid_ids is not None:
            expected = estimate_evaluation(self.model, self._updater.windows[0], len(self._valid_ids[0]))
            state.evaluation_seconds = self._ranks.from_first(expected / self._ranks.size)

    def _evaluation_is_due(self) -> bool:
        """Returns True at the end of an epoch or of the run, and about ten times in a run that has few epochs."""
        state = self.state
        # A run that is interrupted is left to whoever resumes it.
        if not state.updates or state.last_evaluated_step == state.step or state.stop_reason == "interrupted":
            return False
        if self._ended():
            return True
        if self._valid_ids is None:
            return state.window == state.steps_per_epoch
        cost = state.steps_per_epoch * len(self._valid_ids[1]) / len(self._train_ids)
        return self._budget.affords_evaluation(state) and evaluation_is_due(state, self.config.eval_steps, cost=cost)

    def _evaluate(self) -> None:
        """Evaluates, adds a record, keeps the best weights, and begins a new epoch if it is time."""
        state, began = self.state, self.state.seconds
        self._updater.count_updates(state)
        valid, unread = None, 0.0
        if self._valid_ids is not None:
            ids = self._valid_ids[state.inside_epoch]
            valid = self._measure(ids)
            # The next one may be of the whole validation set.
            unread = (state.seconds - began) * (len(self._valid_ids[0]) / len(ids) - 1.0)
        if state.stop_reason == "interrupted":
            return
        if valid is not None and not math.isfinite(valid.loss):
            raise self._updater.diverged(f"after update {state.step}: the validation loss is {valid.loss}")
        record = make_record(state, open_vocabulary=self.model.vocabulary.unknown == "characters", valid=valid)
        state.history.append(record)
        if valid is not None and record is state.best_record:
            state.best_loss = record["valid_loss"]
            self._best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        self._ended()
        ends = not state.inside_epoch
        self._updater.begin_epoch(state)
        self._notify("on_evaluate", record)
        if ends or state.stop_reason is not None:
            self._notify("on_epoch_end", record)
        self._synchronize()
        known, seconds = state.evaluation_seconds if len(state.history) > 1 else math.inf, state.seconds - began
        state.evaluation_seconds = seconds - self._skip_pause(seconds, expected=known) + unread

    def _measure(self, ids: Tensor) -> EvaluationResult | None:
        """Evaluates on some ids, every rank some of the segments; None if one of them was interrupted."""
        ranks, part = self._ranks, None
        with self._interruption.leaving_block():
            part = evaluate_ids(self.model, ids, part=(ranks.rank, ranks.size))
        if part is None:
            # Even if the run was finished: its last evaluation is missing.
            self.state.stop_reason = "interrupted"
        self._synchronize()
        if part is None or self.state.stop_reason == "interrupted":
            return None
        log_prob, unknown_log_prob = ranks.sum(part.log_prob, part.unknown_log_prob)
        return replace(part, log_prob=log_prob, unknown_log_prob=unknown_log_prob)

    def _save_if_due(self) -> None:
        """Writes a checkpoint if one is due; a full disk does not end the run."""
        # The last checkpoint says that the run has ended.
        self._ended()
        if not self._checkpoints.due(self.state):
            return
        self._updater.count_updates(self.state)
        began = self.state.seconds
        carried = self._updater.carried_rows()
        folder = self._checkpoints.save(lambda: self._updater.snapshot(self.state, carried), self.state, self._best)
        if folder is not None:
            self._notify("on_save", folder)
        self._synchronize()
        if self.state.last_evaluated_step == self.state.step:
            self.state.evaluation_seconds += self.state.seconds - began

    def _ended(self) -> bool:
        """Returns True if the run has ended, by its budget or by a callback."""
        if self.state.step > 0 and self.state.progress >= 1.0:
            self.state.request_stop("finished")
        return self.state.stop_reason is not None

    def _synchronize(self) -> None:
        """Updates the time, and stops the run in all processes if one of them has been asked to."""
        if self._interruption.requested:
            self.state.request_stop("interrupted")
        self.state.seconds, self.state.stop_reason = self._ranks.agree(self._clock(), self.state.stop_reason)

    def _skip_pause(self, seconds: float, *, expected: float) -> float:
        """Takes a pause out of the time of the run; returns its seconds. See `TimeBudget.pause`."""
        paused = self._budget.pause(self.state, seconds, expected=expected)
        self._clock.seconds -= paused
        self.state.seconds -= paused
        return paused

    def _notify(self, event: str, *details: Any) -> None:
        """Calls all callbacks; one that is interrupted ends early, and the run at the next `_synchronize`."""
        with self._interruption.leaving_block():
            notify(self._callbacks, event, self.state, self.model, *details)

    def _restore(self, resume: bool) -> None:
        """Begins a run in the run folder, or resumes from its newest checkpoint."""
        ranks, together = self._ranks, self._ranks.together
        description: dict[str, Any] = {}
        if together or self.config.run_dir is not None:
            train, valid = (self.train, self._train_ids), (self.valid, self._valid_ids and self._valid_ids[0])
            sizes = {"batch_size": self._updater.windows.batch_size, "processes": ranks.size}
            description = describe_run(self.config, self.model, train, valid, **sizes, own=self._updater.own_options())
        if together:
            ranks.check_same(digest_of(description))
        same_budget = self._checkpoints.find(description, resume=resume)
        if same_budget is None:
            if together:
                ranks.check_same(weights_digest(self.model))
            return
        planned = self.state.planned_steps
        self._load()
        state = self.state
        if not same_budget:
            state.planned_steps = planned
            state.progress = self._budget.used(state)
        if not same_budget or state.stop_reason == "interrupted":
            state.stop_reason = None
        self._clock.seconds += state.seconds
        self._checkpoints.export(state, self._best)

    def _load(self) -> None:
        """Goes back to the newest whole checkpoint."""
        checkpoint, self._best = self._checkpoints.load(self._updater.snapshot(self.state))
        self.state = checkpoint.state
        self._updater.restore(checkpoint)

    def _roll_back(self, error: NonFiniteError) -> None:
        """Goes back to the newest checkpoint, and on with half the rate, if that may still be done."""
        rollbacks = self.state.rollbacks + 1
        if rollbacks > self.config.max_rollbacks:
            raise error
        self._load()
        self._synchronize()
        self.state.rollbacks = rollbacks
        message = "%s; rolled back to update %d, and on with 1/%d of the rate (%d of max_rollbacks=%d)"
        logger.warning(message, error, self.state.step, 2**rollbacks, rollbacks, self.config.max_rollbacks)
