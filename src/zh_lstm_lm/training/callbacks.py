"""Callbacks of a training run: the base class, early stopping, progress, and logs for other programs."""

import contextlib
import csv
import io
import math
import sys
import time
from collections.abc import Iterable
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from zh_lstm_lm._config import check_integer, check_list, check_number, check_type
from zh_lstm_lm.errors import ConfigError, MissingDependencyError
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.runtime.control_characters import unescaped
from zh_lstm_lm.runtime.optional import require
from zh_lstm_lm.storage.user_files import check_file, write_file
from zh_lstm_lm.training.history import comparable
from zh_lstm_lm.training.state import TrainerState

__all__ = [
    "CSVCallback", "Callback", "EarlyStopping", "ProgressCallback", "TensorBoardCallback", "all_callbacks", "notify",
]  # fmt: skip

# A closed stream raises a ValueError.
_UNWRITABLE = (OSError, ValueError)


class Callback:
    """Base class of callbacks; override the methods you need. All are called between updates, in the order given.

    In a run of several processes, each calls its own. The state is the same in all of them; when the callback of one
    process asks to stop, all stop.

    Attributes:
        first_rank_only: Whether only the first process calls it, as is right for a callback that prints or writes files.
    """

    first_rank_only = False

    def on_train_begin(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Called before the first update of this call of `fit`."""

    def on_step_begin(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Called before every update; ``state.learning_rate`` is its rate, and may be changed for this update."""

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Called after every update."""

    def on_evaluate(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        """Called after every evaluation."""

    def on_epoch_end(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        """Called after `on_evaluate` at the end of an epoch, and at the end of the run."""

    def on_save(self, state: TrainerState, model: LSTMLanguageModel, folder: Path) -> None:
        """Called after a checkpoint has been written into its folder; not if that failed."""

    def on_train_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Called after the last update; the model holds its best weights."""

    def on_exception(self, state: TrainerState, model: LSTMLanguageModel, error: BaseException) -> None:
        """Called when an error ends the run, before it is raised to the caller."""


class EarlyStopping(Callback):
    """Stops the run when the validation loss has not fallen for some evaluations.

    It depends on the history alone, so it behaves the same in a run that was interrupted and resumed.

    Args:
        patience: Evaluations to wait for a lower loss.
        min_delta: Difference that counts as lower, in nats per token; 0 for any.
    """

    def __init__(self, patience: int = 3, *, min_delta: float = 0.0) -> None:
        check_integer("patience", patience, minimum=1)
        check_number("min_delta", min_delta)
        self.patience = patience
        self.min_delta = min_delta

    def on_evaluate(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        """Stops the run if the best evaluation is too long ago."""
        best, waited = math.inf, 0
        for past in comparable(state.history):
            loss = past["valid_loss"]
            if loss < best - self.min_delta:
                best, waited = loss, 0
            else:
                waited += 1
        if waited >= self.patience:
            state.request_stop(f"no lower validation loss for {waited} evaluations")


class ProgressCallback(Callback):
    """Prints metrics after every evaluation, and shows progress in between: a tqdm bar, or one plain line.

    Output that cannot be written, because a terminal or a reader has gone, never ends the run.
    """

    first_rank_only = True

    def __init__(self) -> None:
        self._bar: Any = None
        self._shown = 0.0

    def on_train_begin(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Opens the bar."""
        if sys.stderr is None:
            return
        with contextlib.suppress(MissingDependencyError, *_UNWRITABLE):
            require("tqdm", extra="progress")
            bar = require("tqdm.auto", extra="progress").tqdm
            in_notebook = any(base.__module__ == "tqdm.notebook" for base in bar.__mro__)
            self._bar = bar(
                total=state.planned_steps,
                initial=state.step,
                unit="step",
                dynamic_ncols=True,
                leave=False,
                disable=False if in_notebook else None,
                file=None if in_notebook else unescaped(sys.stderr),
            )

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Updates the bar or the line, at most twice a second."""
        now = time.monotonic()
        if abs(now - self._shown) < 0.5:
            return
        self._shown = now
        loss = state.loss_sum / max(state.num_targets, 1)
        perplexity = f"{math.exp(min(loss, 700)):,.1f}"
        if self._bar is not None:
            with contextlib.suppress(*_UNWRITABLE):
                self._bar.total = state.planned_steps
                self._bar.set_postfix_str(f"epoch {state.epoch:.2f}, train perplexity {perplexity}", refresh=False)
                self._bar.update(state.step - self._bar.n)
        else:
            planned = f"/{state.planned_steps:,}" if state.planned_steps else ""
            line = f"step {state.step:,}{planned}  epoch {state.epoch:.2f}  train perplexity {perplexity}"
            _show_line(f"\r{line:<78}")

    def on_evaluate(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        """Prints the validation metric inside an epoch, on a line of its own."""
        if not state.inside_epoch:
            return
        self._clear()
        bits = record.get("valid_bits_per_character")
        if bits is not None:
            with contextlib.suppress(*_UNWRITABLE):
                print(f"epoch {record['epoch']:g}".ljust(11) + f"  valid {bits:.3f} bits/character", flush=True)

    def on_epoch_end(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        """Prints the metrics of the record on a line of their own."""
        self._clear()
        parts = [f"epoch {record['epoch']:g}".ljust(11)]
        for part in ("train", "valid"):
            if record.get(f"{part}_loss") is None:
                continue
            bits = record[f"{part}_bits_per_character"]
            unit = "" if bits is None else f" ({bits:.3f} bits/character)"
            perplexity = record[f"{part}_perplexity"]
            parts.append(f"{part} perplexity {math.inf if perplexity is None else perplexity:,.2f}{unit}")
        parts.append(f"{record['tokens_per_second']:,.0f} tokens/s  {record['seconds']:,.0f} s")
        with contextlib.suppress(*_UNWRITABLE):
            print("  ".join(parts), flush=True)

    def on_train_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Closes the bar."""
        self._clear()
        if self._bar is not None:
            with contextlib.suppress(*_UNWRITABLE):
                self._bar.close()
            self._bar = None

    def on_exception(self, state: TrainerState, model: LSTMLanguageModel, error: BaseException) -> None:
        """Closes the bar."""
        self.on_train_end(state, model)

    def _clear(self) -> None:
        if self._bar is not None:
            with contextlib.suppress(*_UNWRITABLE):
                self._bar.clear()
        else:
            _show_line(f"\r{'':<78}\r")


def _show_line(text: str) -> None:
    """Writes a line that is overwritten later, if there is a terminal."""
    with contextlib.suppress(*_UNWRITABLE):
        if sys.stderr is not None and sys.stderr.isatty():
            print(text, end="", file=unescaped(sys.stderr), flush=True)


class CSVCallback(Callback):
    """Writes the history as a table, with a row for every evaluation so far; see `History.to_rows`.

    The file is written anew each time, so it holds the whole history of a resumed run.

    Args:
        path: The file.

    Raises:
        DataError: It cannot be written.
    """

    first_rank_only = True

    def __init__(self, path: str | PathLike[str]) -> None:
        check_type("path", path, str, PathLike)
        check_file(path)
        self.path = path

    def on_evaluate(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        """Writes the table."""
        rows = state.history.to_rows()
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        write_file(self.path, table.getvalue().encode("utf-8"))


class TensorBoardCallback(Callback):
    """Writes the learning curve and the metrics of every evaluation for TensorBoard (the extra ``tensorboard``).

    Training has the tags ``train/…``, with a point for a few updates; the validation set has ``valid/…``.

    Args:
        log_dir: The folder of the event files.

    Raises:
        MissingDependencyError: TensorBoard is not installed.
    """

    first_rank_only = True

    def __init__(self, log_dir: str | PathLike[str]) -> None:
        check_type("log_dir", log_dir, str, PathLike)
        require("tensorboard", extra="tensorboard")
        self.log_dir = log_dir
        self._writer: Any = None
        self._written = 0

    def on_train_begin(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Opens the event file; what was written of updates after the last evaluation of a resumed run is hidden."""
        writer = require("torch.utils.tensorboard", extra="tensorboard").SummaryWriter
        self._written = state.last_evaluated_step
        self._writer = writer(fspath(self.log_dir), purge_step=self._written + 1 if state.step else None)

    def on_evaluate(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        """Writes the updates since the last evaluation, and the metrics."""
        for update in state.curve:
            if update["step"] > self._written:
                self._add("train/loss", update["loss_sum"] / update["num_targets"], update["step"])
                self._add("train/learning_rate", update["learning_rate"], update["step"])
                self._add("train/gradient_norm", update["gradient_norm_sum"] / update["updates"], update["step"])
        self._written = record["step"]
        for name, value in record.items():
            if name.startswith("valid_") and isinstance(value, (int, float)):
                self._add(f"valid/{name.removeprefix('valid_')}", value, record["step"])
        self._add("train/epoch", record["epoch"], record["step"])
        self._add("train/tokens_per_second", record["tokens_per_second"], record["step"])
        self._writer.flush()

    def on_train_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Closes the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def on_exception(self, state: TrainerState, model: LSTMLanguageModel, error: BaseException) -> None:
        """Closes the event file."""
        self.on_train_end(state, model)

    def _add(self, tag: str, value: float, step: int) -> None:
        self._writer.add_scalar(tag, value, step)


def all_callbacks(further: object, *, patience: int | None, progress: bool) -> list[Callback]:
    """Returns the callbacks of a run: those that its options ask for, then the user's own, which must be a list."""
    check_type("progress", progress, bool)
    own = check_list("callbacks", further, "a list of Callback objects", error=ConfigError)
    if not all(isinstance(callback, Callback) for callback in own):
        raise ConfigError(f"callbacks must be a list of Callback objects, got {further!r}")
    stopping = [EarlyStopping(patience)] if patience else []
    return [*stopping, *([ProgressCallback()] if progress else []), *own]


def notify(callbacks: Iterable[Callback], event: str, *details: Any) -> None:
    """Calls one method of every callback."""
    for callback in callbacks:
        getattr(callback, event)(*details)
