"""The checkpoints of a run of one or several processes: the first one writes, all of them read."""

import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zh_lstm_lm.errors import CheckpointError, ConfigError
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.runtime.control_characters import get_logger
from zh_lstm_lm.training.config import TrainerConfig
from zh_lstm_lm.training.distributed import Ranks
from zh_lstm_lm.training.run_folder import Checkpoint, RunFolder
from zh_lstm_lm.training.state import TrainerState

__all__ = ["Checkpointer", "check_run_dir"]

logger: logging.Logger = get_logger(__name__)


class Checkpointer:
    """Writes and reads the checkpoints of a run; without `run_dir` it does nothing.

    All processes see the run folder. `summary` returns that of the training so far, for the best model's folder.
    """

    def __init__(
        self,
        config: TrainerConfig,
        ranks: Ranks,
        model: LSTMLanguageModel,
        summary: Callable[[TrainerState], Mapping[str, Any]],
    ) -> None:
        self._config, self._ranks, self._model, self._summary = config, ranks, model, summary
        self._folder: RunFolder | None = None
        if config.run_dir is not None:
            self._folder = RunFolder(Path(config.run_dir), keep_last=config.keep_last)
        # When the newest checkpoint was written, and what it holds; the start of a run needs none.
        self._seconds = 0.0
        self._saved: tuple[int, int, bool] | None = (0, 0, False)

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Locks the folder; see `RunFolder.locked`."""
        if self._folder is None or self._ranks.rank != 0:
            return contextlib.nullcontext()
        return self._folder.locked()

    def find(self, description: dict[str, Any], *, resume: bool) -> bool | None:
        """Looks for a run to resume, and begins one if there is none.

        Returns:
            True if the run in the folder has the same budgets as now, False if not; None if there is no run.

        Raises:
            ConfigError: There is a run, and `resume` is not set.
            CheckpointError: It is another run.
        """
        folder = self._folder
        if folder is None:
            return None

        def find() -> bool | None:
            if not folder.holds_run():
                folder.begin(description)
                return None
            if not resume:
                check_run_dir(folder.path)
            return folder.check_same(description)

        same_budget = self._ranks.by_first(find)
        if same_budget is None and self._config.max_rollbacks:
            # There has to be a checkpoint to roll back to.
            self._saved = None
        return same_budget

    def check_space(self, optimizer_bytes: int) -> None:
        """Checks that the disk has room for the checkpoints; see `RunFolder.check_space`."""
        if self._folder is not None and self._ranks.rank == 0:
            weights = sum(tensor.nbytes for tensor in self._model.state_dict().values())
            self._folder.check_space(weights, optimizer_bytes)

    def load(self, like: Checkpoint) -> tuple[Checkpoint, Mapping[str, Tensor] | None]:
        """Loads the newest complete checkpoint, and the best weights so far if there are any; see `RunFolder.newest`."""
        assert self._folder is not None
        checkpoint = self._folder.newest(like)
        step = checkpoint.state.best_step
        best = None if step is None else self._folder.best_weights(step, like)
        self._seconds, self._saved = checkpoint.state.seconds, _held(checkpoint.state)
        return checkpoint, best

    def due(self, state: TrainerState) -> bool:
        """Returns True after an evaluation, at the end of the run, and every few minutes."""
        late = state.seconds - self._seconds >= 60 * self._config.checkpoint_minutes
        evaluated = state.history and state.last_evaluated_step == state.step
        wanted = late or evaluated or state.stop_reason is not None or self._saved is None
        return self._folder is not None and bool(wanted) and _held(state) != self._saved

    def save(
        self, make: Callable[[], Checkpoint], state: TrainerState, best: Mapping[str, Tensor] | None
    ) -> Path | None:
        """Writes a checkpoint, then the best model; a failure is warned of, but a non-finite value is an error.

        Returns:
            The folder of the checkpoint; None if it could not be written.
        """
        self._saved, self._seconds = _held(state), state.seconds
        folder = self._folder
        assert folder is not None

        def write() -> bool:
            written = False
            try:
                folder.save(make())
                written = True
                self.export(state, best)
            except CheckpointError as error:
                logger.warning("%s; training goes on, and the next checkpoint is tried as planned", error)
            return written

        return folder.checkpoint_path(state.step) if self._ranks.by_first(write) else None

    def export(self, state: TrainerState, best: Mapping[str, Tensor] | None) -> None:
        """Writes the best weights as a model's folder, unless they are there already."""
        folder = self._folder if self._ranks.rank == 0 else None
        if folder is not None and best is not None and folder.exported_step() != state.best_step:
            folder.export(self._model, best, self._summary(state))


def check_run_dir(path: Path) -> None:
    """Raises ConfigError if a folder holds a run already; cheap enough to come before all long work."""
    if RunFolder(path, keep_last=1).holds_run():
        raise ConfigError(f"{path}: holds a run already; resume it with fit(resume=True), or give another run_dir")


def _held(state: TrainerState) -> tuple[int, int, bool]:
    """Returns what distinguishes one checkpoint of a run from the next: updates, records, and the end of the run."""
    return state.step, len(state.history), state.stop_reason is not None
