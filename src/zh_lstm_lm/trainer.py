"""Training over truncated windows with a carried state."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from zh_lstm_lm._config import check_type
from zh_lstm_lm.batches import IGNORED, TrainingWindows
from zh_lstm_lm.callbacks import Callback, EarlyStopping, ProgressCallback, notify
from zh_lstm_lm.checkpoint import Checkpoint, RunFolder
from zh_lstm_lm.devices import autocast, choose_device, matrix_precision
from zh_lstm_lm.errors import ConfigError, DataError
from zh_lstm_lm.evaluation import evaluate_ids
from zh_lstm_lm.interruption import catch_interruption
from zh_lstm_lm.memory import check_fits, scores_per_token, training_memory
from zh_lstm_lm.model import LSTMLanguageModel
from zh_lstm_lm.optimization import Optimizer, clip_gradients, learning_rate_at, sparse_embedding
from zh_lstm_lm.rare_characters import spell_some_hapaxes
from zh_lstm_lm.recurrent import LSTMState, detach_state
from zh_lstm_lm.run_records import describe_texts, make_record, make_summary, run_description
from zh_lstm_lm.time_budget import TimeBudget, estimate_evaluation
from zh_lstm_lm.token_stream import TokenStream
from zh_lstm_lm.trainer_config import TrainerConfig
from zh_lstm_lm.training_state import History, TrainerState

__all__ = ["Trainer"]

logger = logging.getLogger(__name__)

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
        if not isinstance(callbacks, Iterable) or not all(isinstance(callback, Callback) for callback in callbacks):
            raise ConfigError(f"callbacks must be a list of Callback objects, got {callbacks!r}")
        self._callbacks = [*stopping, *([ProgressCallback()] if progress else []), *callbacks]
        self._clock = clock

    def fit(self, *, resume: bool = False) -> History:
        """Trains until a budget is reached, and leaves the model with its best weights by held-out loss.

        The state is zero at the start of an epoch and carried, detached, from window to window. Ctrl-C ends the run
        after the current update with a checkpoint written.

        Args:
            resume: Whether to go on from `run_dir` if it holds a checkpoint; a finished run is only loaded.

        Returns:
            A record for every epoch, and one for a last epoch that the budget cut short.

        Raises:
            ConfigError: `run_dir` holds a run and `resume` is not set.
            CheckpointError: The run in `run_dir` is another one, or it cannot be written.
            DataError: There is too little text, or the loss is no longer a number.
        """
        began = self._clock()
        self._prepare()
        state = self._restore(resume)
        self._began = began - state.seconds
        notify(self._callbacks, "on_train_begin", state, self.model)
        try:
            self._train(state)
        except BaseException as error:
            notify(self._callbacks, "on_exception", state, self.model, error)
            raise
        if self._best is not None:
            self.model.load_state_dict(self._best)
        self.model.eval()
        self.model.training_summary = make_summary(state, self.train)
        notify(self._callbacks, "on_train_end", state, self.model)
        return state.history

    def _train(self, state: TrainerState) -> None:
        """The loop: update after update, with an evaluation after every epoch and at the end."""
        self.model.train()
        exact = matrix_precision(self._device, self.config.precision)
        with sparse_embedding(self.model), exact, catch_interruption() as interruption:
            while True:
                if self._evaluation_is_due():
                    self._evaluate()
                self._save_if_due()
                if self._done():
                    break
                started = self._clock()
                self._update()
                notify(self._callbacks, "on_step_end", state, self.model)
                self._plan(self._clock() - started)
                if interruption.requested and not self._done():
                    state.request_stop("interrupted")

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
        lanes = config.batch_size or max(1, min(32, len(self._train_ids) // (100 * config.bptt_len)))
        self._windows = TrainingWindows(self._train_ids, batch_size=lanes, bptt_len=config.bptt_len)
        self._device = choose_device(config.device)
        self._check_memory()
        self.model.to(self._device)
        self._optimizer = Optimizer(self.model, betas=config.betas)
        self._generator = torch.Generator(self._device).manual_seed(config.seed)
        self._carried: LSTMState | None = None
        self._best: dict[str, Tensor] | None = None
        self._time = TimeBudget(config.max_minutes)
        self._last_saved = 0.0
        self._saved = (0, 0, False)  # update, records and end of the newest checkpoint
        planned = config.step_budget(len(self._windows)) if config.max_minutes is None else None
        self.state = TrainerState(steps_per_epoch=len(self._windows), planned_steps=planned)

    def _check_memory(self) -> None:
        """Refuses a run that cannot fit the device, before anything is allocated there."""
        sizes, counts = self.model.config, torch.tensor(self.model.vocabulary.counts)
        needed = training_memory(
            num_parameters=self.model.num_parameters,
            num_tokens=self._windows.batch_size * self._windows.bptt_len,
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
        if (bound is not None and state.step >= bound) or (state.step > 0 and self._time.spent(self._elapsed())):
            state.request_stop("finished")
        return state.stop_reason is not None

    def _update(self) -> None:
        """One window: forward, backward, clip, step."""
        state, config = self.state, self.config
        began = self._clock()
        batch = self._windows[state.window]
        inputs, targets = batch.inputs.to(self._device), batch.targets.to(self._device)
        with autocast(self._device, config.precision):
            loss, carried = self.model.loss(inputs, targets, self._carried, generator=self._generator)
        loss.backward()  # type: ignore[no-untyped-call]
        norm, mean = float(clip_gradients(self.model.parameters(), config.max_grad_norm)), loss.item()
        if not math.isfinite(norm + mean):
            raise DataError(
                f"update {state.step + 1}: the loss is {mean} and the gradient norm {norm}; lower learning_rate "
                f"(now {config.learning_rate:g}) and resume: the last checkpoint is from before"
            )
        state.learning_rate = learning_rate_at(
            state.step,
            peak=config.learning_rate,
            schedule=config.schedule,
            warmup_steps=config.warmup_steps,
            planned_steps=state.planned_steps,
        )
        self._optimizer.step(state.learning_rate)
        self._carried = detach_state(carried) if config.carry_state else None
        counted = batch.targets[batch.targets != IGNORED]
        characters = self.model.vocabulary.characters_per_id
        state.count_update(
            loss_sum=mean * len(counted),
            num_targets=len(counted),
            num_characters=int(characters[counted].sum()) if characters is not None else 0,
            gradient_norm=norm,
            clipped=norm > config.max_grad_norm,
            seconds=self._clock() - began,
        )
        state.seconds = self._elapsed()

    def _plan(self, seconds: float) -> None:
        """Turns a time budget into a number of updates, recorded with the run, once enough of them were timed."""
        state, budget = self.state, self._time
        if state.planned_steps is not None or not budget.time_update(seconds):
            return
        if not budget.evaluation_seconds and self._valid_ids is not None:
            budget.evaluation_seconds = estimate_evaluation(
                self.model, self._windows[0], len(self._valid_ids), clock=self._clock
            )
        planned = state.step + budget.updates_left(self._elapsed(), steps_per_epoch=len(self._windows))
        state.planned_steps = min(planned, self.config.step_budget(len(self._windows)) or planned)

    def _evaluation_is_due(self) -> bool:
        """Whether an epoch, or the run, has just ended."""
        state = self.state
        if not state.updates or (state.history and state.history[-1]["step"] == state.step):
            return False
        return state.window == len(self._windows) or (self._done() and state.stop_reason != "interrupted")

    def _evaluate(self) -> None:
        """Measures, records, and keeps the weights if they are the best so far; begins the next epoch if it is time."""
        state = self.state
        began = self._clock()
        valid = evaluate_ids(self.model, self._valid_ids) if self._valid_ids is not None else None
        self._time.evaluation_seconds = self._clock() - began
        spells = self.model.vocabulary.unknown == "characters"
        record = make_record(state, spells=spells, valid=valid, seconds=self._elapsed())
        state.history.append(record)
        if record.get("valid_loss", math.inf) < state.best_loss:
            state.best_loss = record["valid_loss"]
            self._best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
            if self._folder is not None:
                self.model.save_pretrained(self._folder.best)
        if state.window == len(self._windows):
            state.begin_epoch()
            self._carried = None
        notify(self._callbacks, "on_epoch_end", state, self.model, record)

    def _save_if_due(self) -> None:
        """Writes a checkpoint at the end of an epoch, of the run, and every few minutes."""
        state = self.state
        if self._folder is None:
            return
        late = self._elapsed() - self._last_saved >= 60 * self.config.checkpoint_minutes
        now = (state.step, len(state.history), self._done())
        if (late or state.window == 0 or self._done()) and now != self._saved:
            self._saved = now
            state.seconds = self._elapsed()
            carried = {"generator": self._generator.get_state()}
            if self._carried is not None:
                carried |= {"h": self._carried[0], "c": self._carried[1]}
            self._folder.save(Checkpoint(state, self.model.state_dict(), self._optimizer.state_tensors(), carried))
            self._last_saved = self._elapsed()

    def _restore(self, resume: bool) -> TrainerState:
        """Opens the run folder, and goes back to its newest checkpoint if it holds one."""
        self._folder = None
        if self.config.run_dir is None:
            return self.state
        self._folder = folder = RunFolder(Path(self.config.run_dir), keep_last=self.config.keep_last)
        description = run_description(self.config.to_dict(), self.model, self._train_ids, self._valid_ids)
        description["text"] = describe_texts(self.model.vocabulary, self.train, self.valid)
        if not folder.holds_run():
            folder.begin(description)
            return self.state
        if not resume:
            raise ConfigError(
                f"{folder.path}: holds a run already; go on with fit(resume=True), or give another run_dir"
            )
        checkpoint, same_budget = folder.resume(description)
        planned = self.state.planned_steps
        self.state = state = checkpoint.state
        if not same_budget:
            state.planned_steps = planned
        if not same_budget or state.stop_reason == "interrupted":
            state.stop_reason = None
        self.model.load_state_dict(checkpoint.model)
        self._optimizer.load_state_tensors(checkpoint.optimizer)
        try:
            self._generator.set_state(checkpoint.carried["generator"])
        except RuntimeError:  # the generators of two kinds of device have states of their own
            logger.warning("%s: goes on on another kind of device, with other dropout masks", folder.path)
            self._generator.manual_seed(self.config.seed + state.step)
        if "h" in checkpoint.carried:
            self._carried = checkpoint.carried["h"].to(self._device), checkpoint.carried["c"].to(self._device)
        if math.isfinite(state.best_loss):
            best = LSTMLanguageModel.from_pretrained(folder.best, tokenizer=self.model.vocabulary.tokenizer)
            self._best = best.state_dict()
        self._last_saved = state.seconds
        self._saved = (state.step, len(state.history), state.stop_reason is not None)
        return state
