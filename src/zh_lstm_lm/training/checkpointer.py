"""A run's folder as all processes of the run see it: the first one reads and writes, the others are told."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zh_lstm_lm.errors import CheckpointError, ConfigError
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.runtime.control_characters import get_logger
from zh_lstm_lm.training.config import TrainerConfig
from zh_lstm_lm.training.distributed import Ranks
from zh_lstm_lm.training.memory import optimizer_bytes
from zh_lstm_lm.training.run_folder import Checkpoint, RunFolder
from zh_lstm_lm.training.state import TrainerState

__all__ = ["SavedRun"]

logger = get_logger(__name__)


class SavedRun:
    """What is kept of a run, and when; without `run_dir` there is nothing to find, and nothing is written.

    Args:
        config: Options of training.
        ranks: The processes of the run.
        model: The model that is trained.
        summary: Tells how it was trained so far, for the best model's folder.
    """

    def __init__(
        self,
        config: TrainerConfig,
        ranks: Ranks,
        model: LSTMLanguageModel,
        summary: Callable[[TrainerState], Mapping[str, Any]],
    ) -> None:
        self._config, self._ranks, self._model, self._summary = config, ranks, model, summary
        self._folder: RunFolder | None = None  # of the first rank alone
        if config.run_dir is not None and ranks.rank == 0:
            self._folder = RunFolder(Path(config.run_dir), keep_last=config.keep_last)
        self._seconds = 0.0  # when the newest checkpoint was written
        self._saved: tuple[int, int, bool] | None = (0, 0, False)  # what it holds; a run's beginning needs none

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keeps other trainers out of the folder; see `RunFolder.locked`."""
        return self._folder.locked() if self._folder is not None else contextlib.nullcontext()

    def find(self, description: dict[str, Any], *, resume: bool) -> bool | None:
        """Looks for a run to go on with, and begins one where there is none.

        Returns:
            Whether the run in the folder has the same budgets as now; None where there is none.

        Raises:
            ConfigError: There is one, and `resume` is not set.
            CheckpointError: It is another one.
        """

        def find() -> bool | None:
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

        same_budget = self._ranks.by_first(find)
        if same_budget is None and self._config.max_rollbacks:
            self._saved = None  # there has to be a checkpoint to go back to
        return same_budget

    def check_space(self) -> None:
        """Makes sure that the disk has room for the checkpoints; see `RunFolder.check_space`."""
        if self._folder is not None:
            weights = sum(tensor.nbytes for tensor in self._model.state_dict().values())
            self._folder.check_space(weights, optimizer_bytes(self._model, betas=self._config.betas))

    def load(self, like: Checkpoint) -> tuple[Checkpoint, Mapping[str, Tensor] | None]:
        """Loads the newest checkpoint that is whole, and the best weights so far if there are any.

        Args:
            like: What a checkpoint of this run looks like.

        Raises:
            CheckpointError: There is none.
        """
        folder, ranks = self._folder, self._ranks
        checkpoint = _checkpoint_from_first(ranks, lambda: folder.newest(like) if folder is not None else like)
        state, best = checkpoint.state, None
        step = state.best_step
        if step is not None:
            best = ranks.tensors_from_first(lambda: folder.best_weights(step, like) if folder is not None else {})
        self._seconds, self._saved = state.seconds, _held(state)
        return checkpoint, best

    def due(self, state: TrainerState, seconds: float) -> bool:
        """Whether a checkpoint is to be written: at the end of an epoch, of the run, and every few minutes.

        Args:
            state: Where the run stands.
            seconds: Time spent in the run.
        """
        late = seconds - self._seconds >= 60 * self._config.checkpoint_minutes
        wanted = late or state.window == 0 or state.stop_reason is not None
        return self._config.run_dir is not None and wanted and _held(state) != self._saved

    def save(self, checkpoint: Checkpoint, best: Mapping[str, Tensor] | None, elapsed: Callable[[], float]) -> None:
        """Commits a checkpoint, then the best model; what cannot be written is warned of.

        Args:
            checkpoint: Where the run stands.
            best: The best weights so far; None while there are none.
            elapsed: Tells the time spent in the run, in seconds.

        Raises:
            NonFiniteError: A value of the checkpoint is not a finite number.
        """
        self._saved = _held(checkpoint.state)

        def write() -> None:
            assert self._folder is not None
            try:
                self._folder.save(checkpoint)
                self.export(checkpoint.state, best)
            except CheckpointError as error:
                logger.warning("%s; training goes on, and the next checkpoint is tried for as planned", error)

        self._ranks.by_first(write)
        self._seconds = elapsed()

    def export(self, state: TrainerState, best: Mapping[str, Tensor] | None) -> None:
        """Writes the best weights as a model's folder, unless they lie there already.

        Raises:
            CheckpointError: It cannot be written.
        """
        folder = self._folder
        if folder is not None and best is not None and folder.exported_step() != state.best_step:
            folder.export(self._model, best, self._summary(state))


def _held(state: TrainerState) -> tuple[int, int, bool]:
    """What tells one checkpoint of a run from the next: updates, records, and whether the run has ended."""
    return state.step, len(state.history), state.stop_reason is not None


def _checkpoint_from_first(ranks: Ranks, get: Callable[[], Checkpoint]) -> Checkpoint:
    """The checkpoint that rank 0 gets."""
    if not ranks.together:
        return get()
    found: list[Checkpoint] = []
    ranks.by_first(lambda: found.extend([get()] if ranks.rank == 0 else []))
    state = ranks.by_first(lambda: dataclasses.asdict(found[0].state))
    return Checkpoint(
        TrainerState.from_dict(state),
        model=ranks.tensors_from_first(lambda: found[0].model),
        optimizer=ranks.tensors_from_first(lambda: found[0].optimizer),
        carried=ranks.tensors_from_first(lambda: found[0].carried),
    )
