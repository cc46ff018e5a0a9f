"""Training over truncated windows with a carried state."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from zh_lstm_lm._config import check_type
from zh_lstm_lm.corpus.hapax_spelling import training_ids
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.errors import ConfigError, DataError, NonFiniteError
from zh_lstm_lm.evaluation.evaluate import evaluate_ids
from zh_lstm_lm.evaluation.result import EvaluationResult
from zh_lstm_lm.models.gradients import sparse_embedding
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.runtime.control_characters import get_logger
from zh_lstm_lm.runtime.devices import matrix_precision
from zh_lstm_lm.runtime.interruption import catch_interruption
from zh_lstm_lm.training.callbacks import Callback, EarlyStopping, ProgressCallback, notify
from zh_lstm_lm.training.checkpointer import SavedRun
from zh_lstm_lm.training.config import TrainerConfig
from zh_lstm_lm.training.history import History
from zh_lstm_lm.training.run_identity import describe_run, describe_texts, digest_of
from zh_lstm_lm.training.schedule import TimeBudget, estimate_evaluation
from zh_lstm_lm.training.state import TrainerState, make_record, make_summary
from zh_lstm_lm.training.torchrun import join_ranks
from zh_lstm_lm.training.updater import Learner

__all__ = ["Trainer"]

logger = get_logger(__name__)

_MIN_TOKENS = 10


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
        further = list(callbacks) if isinstance(callbacks, Iterable) else None
        if further is None or not all(isinstance(callback, Callback) for callback in further):
            raise ConfigError(f"callbacks must be a list of Callback objects, got {callbacks!r}")
        self._callbacks = [*stopping, *([ProgressCallback()] if progress else []), *further]
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
        with self._run.locked():
            self._restore(resume)
            self._began = began - self.state.seconds
            if not self._done():
                self._run.check_space()
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
        exact = matrix_precision(self._learner.device, self.config.precision)
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
                        self._learner.count_updates(self.state)
                        break
                    started = self._clock()
                    self._learner.update(self.state)
                    self.state.seconds = self._elapsed()
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
        self._train_ids = training_ids(self.train, vocabulary)
        self._valid_ids = vocabulary.encode_stream(self.valid) if self.valid else None
        if len(self.train) < _MIN_TOKENS:
            raise DataError(
                f"the training text has {len(self.train)} tokens, at least {_MIN_TOKENS} are needed; give more"
            )
        self._learner = Learner(self.model, self._train_ids, config, self._ranks)
        self._best: Mapping[str, Tensor] | None = None
        self._time = TimeBudget(config.max_minutes, warming_steps=2 + self._learner.figures_room)
        self._run = SavedRun(config, self._ranks, self.model, lambda state: make_summary(state, self.train))
        steps_per_epoch = len(self._learner.windows)
        planned = config.step_budget(steps_per_epoch) if config.max_minutes is None else None
        self.state = TrainerState(steps_per_epoch=steps_per_epoch, planned_steps=planned)

    def _done(self) -> bool:
        """Whether the run has ended, by its budget or by a callback."""
        state = self.state
        bound = state.planned_steps or self.config.step_budget(state.steps_per_epoch)
        if (bound is not None and state.step >= bound) or (state.step > 0 and self._time.spent(state, self._elapsed())):
            state.request_stop("finished")
        return state.stop_reason is not None

    def _plan(self, seconds: float) -> None:
        """Turns a time budget into a number of updates, recorded with the run, once enough of them were timed."""
        state = self.state
        if state.planned_steps is not None or not self._time.time_update(state, seconds):
            return
        if not state.evaluation_seconds and self._valid_ids is not None:
            num_ids = len(self._valid_ids) // self._ranks.size
            seconds = estimate_evaluation(self.model, self._learner.windows[0], num_ids, clock=self._own_clock)
            state.evaluation_seconds = self._ranks.from_first(seconds)
        planned = state.step + self._time.updates_left(state, self._elapsed())
        state.planned_steps = min(planned, self.config.step_budget(state.steps_per_epoch) or planned)

    def _evaluation_is_due(self) -> bool:
        """Whether an epoch, or the run, has just ended; one that is interrupted is left to whoever goes on."""
        state = self.state
        if not state.updates or (state.history and state.history[-1]["step"] == state.step):
            return False
        ended = state.window == state.steps_per_epoch or self._done()
        return ended and state.stop_reason != "interrupted"

    def _evaluate(self) -> None:
        """Measures, records, and keeps the weights if they are the best so far; begins the next epoch if it is time."""
        state = self.state
        began = self._clock()
        self._learner.count_updates(state)
        valid = self._measure(self._valid_ids) if self._valid_ids is not None else None
        if valid is not None and not math.isfinite(valid.loss):
            raise NonFiniteError(
                f"after update {state.step}: the held-out loss is {valid.loss}; {self._learner.advice()}"
            )
        state.evaluation_seconds = self._clock() - began
        spells = self.model.vocabulary.unknown == "characters"
        record = make_record(state, spells=spells, valid=valid, seconds=self._elapsed())
        state.history.append(record)
        if record.get("valid_loss", math.inf) < state.best_loss:
            state.best_loss = record["valid_loss"]
            self._best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        if state.window == state.steps_per_epoch:
            state.begin_epoch()
            self._learner.begin_epoch()
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
        return replace(part, log_prob=ranks.sum(part.log_prob), unknown_log_prob=ranks.sum(part.unknown_log_prob))

    def _save_if_due(self) -> None:
        """Writes a checkpoint where one is due; a disk that is full does not end the run."""
        elapsed = self._elapsed()
        self._done()  # the last one tells that the run has ended
        if self._run.due(self.state, elapsed):
            self._learner.count_updates(self.state)
            self.state.seconds = self._elapsed()
            self._run.save(self._learner.snapshot(self.state), self._best, self._elapsed)

    def _restore(self, resume: bool) -> None:
        """Begins a run in the run folder, or goes back to the newest checkpoint that is there."""
        ranks = self._ranks
        description = self._description() if ranks.together or self.config.run_dir is not None else {}
        if ranks.together:
            ranks.check_same(digest_of(description))
        same_budget = self._run.find(description, resume=resume)
        if same_budget is None:
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
        self._run.export(state, self._best)

    def _description(self) -> dict[str, Any]:
        """What makes the run the one it is."""
        description = describe_run(self.config.to_dict(), self.model, self._train_ids, self._valid_ids)
        description["text"] = describe_texts(self.model.vocabulary, self.train, self.valid)
        description["environment"]["processes"] = self._ranks.size
        description["chosen"] = {"batch_size": self._learner.windows.batch_size}
        return description

    def _load(self) -> None:
        """Goes back to the newest checkpoint that is whole."""
        checkpoint, self._best = self._run.load(self._learner.snapshot(self.state))
        self.state = checkpoint.state
        self._learner.restore(checkpoint)

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
