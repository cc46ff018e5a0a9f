"""What a study shows while it runs: a bar inside a run, a line after each."""

import sys
from typing import Any

from zh_lstm_lm.training.callbacks import ProgressCallback
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.training.state import TrainerState

__all__ = ["RunProgress", "show_line"]


class RunProgress(ProgressCallback):
    """The trainer's bar without its line for every epoch."""

    def on_epoch_end(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        """Shows nothing."""


def show_line(line: str) -> None:
    """Prints a line at once."""
    print(line, file=sys.stdout, flush=True)
