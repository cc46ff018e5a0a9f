"""A run's folder: its description, checkpoints that are there whole or not at all, its history and best model.

- ``run.json``: what the run is: its id, options, sizes, sums of vocabulary and text
- ``checkpoint-00001234/``: model, optimizer, carried state and random state after 1,234 updates, and a copy of
  ``run.json``, which tells whose checkpoint it is
- ``history.jsonl``: a record for every evaluation
- ``curve.jsonl``: a record for every few updates
- ``best/``: the best model so far, a folder for `from_pretrained`
"""

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.models.pretrained import LOADED_FILES, MODEL_FILES, open_model_folder, read_weights, write_model_folder
from zh_lstm_lm.runtime.control_characters import get_logger
from zh_lstm_lm.storage.atomic import atomic_write, remove_directory
from zh_lstm_lm.storage.locks import lock_folder
from zh_lstm_lm.storage.safe_reading import (
    NewerFormatError,
    read_bytes,
)
from zh_lstm_lm.storage.strict_json import parse_json
from zh_lstm_lm.storage.workspace import finish_workspaces
from zh_lstm_lm.training.checkpoint_files import (
    CHECKPOINT_FILES,
    MAX_RUN_BYTES,
    RUN_FILE,
    Checkpoint,
    ForeignCheckpointError,
    load_checkpoint,
    make_run_file,
    parse_run_file,
    read_run_copy,
    write_checkpoint,
)
from zh_lstm_lm.training.run_identity import check_same_run

__all__ = ["Checkpoint", "RunFolder", "remove_run"]

logger = get_logger(__name__)

_NAME = re.compile(r"checkpoint-\d{8,}")


class RunFolder:
    """The folder of one run.

    Args:
        path: Where it is.
        keep_last: Checkpoints that are kept.
    """

    def __init__(self, path: Path, *, keep_last: int) -> None:
        self.path = path
        self.keep_last = keep_last
        self.best = path / "best"
        self._exported_step: int | None = None
        self._run_file = b""  # of the run that was begun or is gone on with
        self._run_id: str | None = None

    def holds_run(self) -> bool:
        """Whether there is a checkpoint in it."""
        return bool(self._checkpoints())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder, keeps other trainers out of it, and clears away what a crash has left half done.

        Raises:
            CheckpointError: It cannot be made, or another trainer is at work in it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"{self.path}: cannot be made a run folder ({error.strerror}); give another run_dir"
            ) from error
        with lock_folder(self.path):
            finish_workspaces(self.path, alone=True)
            yield

    def begin(self, description: dict[str, Any]) -> None:
        """Writes down what the run is.

        Raises:
            CheckpointError: It cannot be written.
        """
        self._run_file = make_run_file(description)
        self._run_id = parse_run_file(self._run_file, self.path / RUN_FILE)["run"]
        atomic_write(self.path / RUN_FILE, self._run_file)

    def check_space(self, model_bytes: int, optimizer_bytes: int) -> None:
        """Makes sure that the disk has room for all the checkpoints that will lie here side by side.

        Args:
            model_bytes: Size of the weights.
            optimizer_bytes: Size of the optimizer's means.

        Raises:
            CheckpointError: It has not; the message tells how much is needed and how much is free.
        """
        there = len(self._checkpoints())
        missing = max(1, self.keep_last + 2 - there)  # the best one, and the one that is being written
        needed = missing * (model_bytes + optimizer_bytes) + (2 - self.best.is_dir()) * model_bytes
        free = shutil.disk_usage(self.path).free
        if free < needed:
            raise CheckpointError(
                f"{self.path}: the run needs {needed / 1e6:,.0f} MB for checkpoints and {free / 1e6:,.0f} MB are free; "
                f"free some, lower keep_last (now {self.keep_last}), or give a run_dir on another disk"
            )

    def check_same(self, description: Mapping[str, Any]) -> bool:
        """Holds the run in the folder against what it is now; see `check_same_run`.

        Where ``run.json`` is damaged, it is made again from the copy in a checkpoint.

        Raises:
            CheckpointError: It is another run, or there is no whole description of it.
        """
        path = self.path / RUN_FILE
        try:
            self._run_file = read_bytes(path, max_bytes=MAX_RUN_BYTES)
            begun = parse_run_file(self._run_file, path)
        except CheckpointError as error:
            self._run_file = self._copied_run_file(error)
            begun = parse_run_file(self._run_file, path)
            logger.warning("%s; it is made again from a checkpoint", error)
            atomic_write(path, self._run_file)
        self._run_id = begun.get("run")
        return check_same_run(begun, description, folder=self.path)

    def _copied_run_file(self, damage: CheckpointError) -> bytes:
        """The ``run.json`` that all checkpoints have copies of; raises `damage` where there is no such one."""
        copies = set()
        for folder in self._checkpoints():
            with contextlib.suppress(CheckpointError):
                copies.add(read_run_copy(folder))
        if len(copies) != 1:
            raise damage
        return copies.pop()

    def newest(self, like: Checkpoint) -> Checkpoint:
        """Loads the newest checkpoint that is whole; newer ones that are not are passed over with a warning.

        Args:
            like: What a checkpoint of this run looks like; only shapes and types matter.

        Raises:
            CheckpointError: There is none, it is of another run, or a newer version of the library wrote it.
        """
        for folder in reversed(self._checkpoints()):
            try:
                return load_checkpoint(folder, like, run=self._run_id)
            except (NewerFormatError, ForeignCheckpointError):
                raise
            except CheckpointError as error:
                logger.warning("%s: passed over, not a whole checkpoint (%s)", folder, error)
        raise CheckpointError(f"{self.path}: no whole checkpoint to resume from; start anew in another run_dir")

    def best_weights(self, step: int, like: Checkpoint) -> Mapping[str, Tensor]:
        """The weights after the update with the lowest held-out loss, from its checkpoint or from ``best``.

        Args:
            step: The update.
            like: As in `newest`.

        Raises:
            CheckpointError: Neither is whole.
        """
        try:
            return load_checkpoint(self._checkpoint(step), like, run=self._run_id).model
        except CheckpointError as error:
            if self.exported_step() != step:
                raise
            logger.warning("%s; the best weights are taken from %s", error, self.best)
            with open_model_folder(self.best) as files:
                return read_weights(files, like.model)

    def export(self, model: LSTMLanguageModel, weights: Mapping[str, Tensor], training: Mapping[str, Any]) -> None:
        """Writes ``best``, a folder for `from_pretrained`.

        Args:
            model: The model, for its config and vocabulary.
            weights: Its best weights by name.
            training: How it was trained; ``best_step`` tells the update.

        Raises:
            CheckpointError: It cannot be written.
        """
        options, vocabulary = model.config.to_dict(), model.vocabulary
        write_model_folder(self.best, options=options, training=training, vocabulary=vocabulary, tensors=weights)
        self._exported_step = training["best_step"]

    def exported_step(self) -> int | None:
        """The update whose weights lie in ``best``; None if there is no whole model in it."""
        if self._exported_step is None:
            with contextlib.suppress(CheckpointError, KeyError, TypeError), open_model_folder(self.best) as files:
                for name in sorted(LOADED_FILES):
                    if name in files:
                        files.check(name)
                data = files.read("config.json", max_bytes=MAX_RUN_BYTES)
                step = parse_json(data, name="config.json")["training"]["best_step"]
                self._exported_step = step if isinstance(step, int) else None
        return self._exported_step

    def save(self, checkpoint: Checkpoint) -> None:
        """Commits a checkpoint and the history, then removes all but the newest `keep_last` checkpoints and those
        that were the best when one of them was written.

        Raises:
            NonFiniteError: A value of it is not a finite number; nothing is written.
            CheckpointError: It cannot be written; older checkpoints stay.
        """
        write_checkpoint(self._checkpoint(checkpoint.state.step), checkpoint, self._run_file)
        atomic_write(self.path / "history.jsonl", checkpoint.state.history.to_json_lines())
        atomic_write(self.path / "curve.jsonl", checkpoint.state.curve.to_json_lines())
        older = [folder for folder in self._checkpoints() if _step_of(folder) <= checkpoint.state.step]
        # What is newer is damaged. What is kept may be resumed from, and asks for the best checkpoint of its time.
        kept = [_step_of(folder) for folder in older[-self.keep_last :]]
        needed = {*kept, *map(checkpoint.state.best_step_until, kept)}
        for folder in older:
            if _step_of(folder) not in needed:
                try:
                    remove_directory(folder, owned=CHECKPOINT_FILES)
                except CheckpointError as error:  # it is tried again with the next one
                    logger.warning("%s; an old checkpoint stays", error)

    def _checkpoint(self, step: int) -> Path:
        return self.path / f"checkpoint-{step:08d}"

    def _checkpoints(self) -> list[Path]:
        """The checkpoint folders, oldest first."""
        found = (folder for folder in self.path.glob("checkpoint-*") if _NAME.fullmatch(folder.name))
        return sorted((folder for folder in found if folder.is_dir() and not folder.is_symlink()), key=_step_of)


def remove_run(path: Path) -> None:
    """Removes a run's folder, as far as it holds what this library puts there; what cannot be removed stays."""
    if path.is_symlink() or not path.is_dir():
        return
    run = RunFolder(path, keep_last=1)
    finish_workspaces(path, alone=True)
    for folder, owned in [*((folder, CHECKPOINT_FILES) for folder in run._checkpoints()), (run.best, MODEL_FILES)]:
        with contextlib.suppress(CheckpointError):
            remove_directory(folder, owned=owned)
    with contextlib.suppress(OSError):
        for name in (RUN_FILE, "history.jsonl", "curve.jsonl"):
            (path / name).unlink(missing_ok=True)
        path.rmdir()


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("checkpoint-"))
