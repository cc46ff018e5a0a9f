"""What happens beside training: progress on the terminal, early stopping, and whatever a user adds."""

import math
import sys
import time
from collections.abc import Iterable
from typing import Any

from zh_lstm_lm._config import check_integer, check_number
from zh_lstm_lm.errors import MissingDependencyError
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.runtime.control_characters import unescaped
from zh_lstm_lm.runtime.optional import require
from zh_lstm_lm.training.state import TrainerState

__all__ = ["Callback", "EarlyStopping", "ProgressCallback", "notify"]


class Callback:
    """Base of callbacks; override what you need. All are called between updates, in the order they were given.

    In a run of several processes, each calls its own. The state is the same in all of them; what one of them asks for
    is done by all after the next update.

    Attributes:
        first_rank_only: Whether only the first process calls it, as is right for what prints or writes files.
    """

    first_rank_only = False

    def on_train_begin(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Before the first update of this call of `fit`."""

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """After every update."""

    def on_epoch_end(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        """After every evaluation (each epoch's, and the last one's of a run that ends inside an epoch)."""

    def on_train_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """After the last update; the model holds its best weights."""

    def on_exception(self, state: TrainerState, model: LSTMLanguageModel, error: BaseException) -> None:
        """When an error ends the run; it goes on to the caller afterwards."""


class EarlyStopping(Callback):
    """Stops when the held-out loss has not fallen for some evaluations.

    It looks only at the history, so it behaves the same in a run that was interrupted and resumed.

    Args:
        patience: Evaluations to wait for a lower loss.
        min_delta: By how much it has to be lower, in nats a token; 0 for any.
    """

    def __init__(self, patience: int = 3, *, min_delta: float = 0.0) -> None:
        check_integer("patience", patience, minimum=1)
        check_number("min_delta", min_delta)
        self.patience = patience
        self.min_delta = min_delta

    def on_epoch_end(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        """Counts the evaluations since the best one."""
        best, waited = math.inf, 0
        for past in state.history:
            loss = past.get("valid_loss")
            if loss is None:
                return
            if loss < best - self.min_delta:
                best, waited = loss, 0
            else:
                waited += 1
        if waited >= self.patience:
            state.request_stop(f"no lower held-out loss for {waited} evaluations")


class ProgressCallback(Callback):
    """Prints perplexities after every epoch, and shows progress in between: a tqdm bar, or one plain line."""

    first_rank_only = True

    def __init__(self) -> None:
        self._bar: Any = None
        self._shown = 0.0

    def on_train_begin(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Opens the bar."""
        try:
            tqdm = require("tqdm", extra="progress")
        except MissingDependencyError:
            return
        self._bar = tqdm.tqdm(
            total=state.planned_steps,
            initial=state.step,
            unit="step",
            dynamic_ncols=True,
            leave=False,
            disable=None,
            file=unescaped(sys.stderr),
        )

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Moves on, a few times a second at most."""
        now = time.monotonic()
        if now - self._shown < 0.5:
            return
        self._shown = now
        loss = state.loss_sum / max(state.num_targets, 1)
        perplexity = f"{math.exp(min(loss, 700)):,.1f}"
        if self._bar is not None:
            self._bar.total = state.planned_steps
            self._bar.set_postfix_str(f"epoch {state.epoch:.2f}, train perplexity {perplexity}", refresh=False)
            self._bar.update(state.step - self._bar.n)
        elif sys.stderr.isatty():
            planned = f"/{state.planned_steps:,}" if state.planned_steps else ""
            line = f"step {state.step:,}{planned}  epoch {state.epoch:.2f}  train perplexity {perplexity}"
            print(f"\r{line:<78}", end="", file=unescaped(sys.stderr), flush=True)

    def on_epoch_end(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        """Prints the record's figures on a line of their own."""
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
        print("  ".join(parts), flush=True)

    def on_train_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Closes the bar."""
        self._clear()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def on_exception(self, state: TrainerState, model: LSTMLanguageModel, error: BaseException) -> None:
        """Closes the bar."""
        self.on_train_end(state, model)

    def _clear(self) -> None:
        if self._bar is not None:
            self._bar.clear()
        elif sys.stderr.isatty():
            print(f"\r{'':<78}\r", end="", file=unescaped(sys.stderr), flush=True)


def notify(callbacks: Iterable[Callback], event: str, *details: Any) -> None:
    """Calls one method of every callback."""
    for callback in callbacks:
        getattr(callback, event)(*details)
