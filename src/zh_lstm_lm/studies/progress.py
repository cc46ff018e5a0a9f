"""What a study shows while it runs: a bar inside a run, a line after each."""

from typing import Any

from zh_lstm_lm.callbacks import ProgressCallback
from zh_lstm_lm.errors import escape_controls
from zh_lstm_lm.model import LSTMLanguageModel
from zh_lstm_lm.training_state import TrainerState

__all__ = ["RunProgress", "show_line"]


class RunProgress(ProgressCallback):
    """The trainer's bar without its line for every epoch."""

    def on_epoch_end(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        """Shows nothing."""


def show_line(line: str) -> None:
    """Prints a line at once, its control characters escaped."""
    print(escape_controls(line), flush=True)
