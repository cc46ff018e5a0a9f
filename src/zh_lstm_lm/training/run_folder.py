"""The folder of a run.

- ``run.json``: the identity of the run: its id, options, sizes, checksums of vocabulary and text
- ``checkpoint-00001234/``: model, optimizer, carried state and random state after 1,234 updates, and a copy of
  ``run.json``, which names the run
- ``history.jsonl``: a record for every evaluation
- ``curve.jsonl``: a record for every few updates
- ``best/``: the best model so far, a folder for `from_pretrained`
"""

import contextlib
import logging
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
from zh_lstm_lm.storage.safe_reading import NewerFormatError, read_bytes
from zh_lstm_lm.storage.strict_json import parse_json
from zh_lstm_lm.storage.workspace import finish_workspaces, is_folder
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

logger: logging.Logger = get_logger(__name__)

_NAME = re.compile(r"checkpoint-\d{8,}")


class RunFolder:
    """The folder of one run, in which `keep_last` checkpoints are kept."""

    def __init__(self, path: Path, *, keep_last: int) -> None:
        self.path = path
        self.keep_last = keep_last
        self.best: Path = path / "best"
        self._exported_step: int | None = None
        # The content of run.json, and the id in it.
        self._run_file = b""
        self._run_id: str | None = None

    def holds_run(self) -> bool:
        """Returns True if there is a checkpoint in it."""
        return bool(self._checkpoints())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Makes and locks the folder, and finishes what a crash has left incomplete."""
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
        """Writes the identity of a new run; raises CheckpointError if that fails."""
        self._run_file = make_run_file(description)
        self._run_id = parse_run_file(self._run_file, self.path / RUN_FILE)["run"]
        atomic_write(self.path / RUN_FILE, self._run_file)

    def check_space(self, model_bytes: int, optimizer_bytes: int) -> None:
        """Checks that the disk has room for all checkpoints of the run."""
        # Besides keep_last, there are the best one and the one that is being written.
        missing = max(1, self.keep_last + 2 - len(self._checkpoints()))
        needed = missing * (model_bytes + optimizer_bytes) + (2 - self.best.is_dir()) * model_bytes
        free = shutil.disk_usage(self.path).free
        if free < needed:
            raise CheckpointError(
                f"{self.path}: the run needs {needed / 1e6:,.0f} MB for checkpoints and {free / 1e6:,.0f} MB are free; "
                f"free some, lower keep_last (now {self.keep_last}), or give a run_dir on another disk"
            )

    def check_same(self, description: Mapping[str, Any]) -> bool:
        """Compares the run in the folder with the present one; see `check_same_run`.

        A damaged ``run.json`` is restored from the copy in a checkpoint; it is an error if no complete copy is left.
        """
        path = self.path / RUN_FILE
        try:
            self._run_file = read_bytes(path, max_bytes=MAX_RUN_BYTES)
            begun = parse_run_file(self._run_file, path)
        except CheckpointError as error:
            self._run_file = self._copied_run_file(error)
            begun = parse_run_file(self._run_file, path)
            logger.warning("%s; it is restored from a checkpoint", error)
            atomic_write(path, self._run_file)
        self._run_id = begun.get("run")
        return check_same_run(begun, description, folder=self.path)

    def _copied_run_file(self, damage: CheckpointError) -> bytes:
        """Returns the ``run.json`` of which all checkpoints have copies; raises `damage` if there are none or several."""
        copies = set()
        for folder in self._checkpoints():
            with contextlib.suppress(CheckpointError):
                copies.add(read_run_copy(folder))
        if len(copies) != 1:
            raise damage
        return copies.pop()

    def newest(self, like: Checkpoint) -> Checkpoint:
        """Loads the newest complete checkpoint, with tensors like others; damaged ones are skipped with a warning.

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
        raise CheckpointError(f"{self.path}: no whole checkpoint to resume from; start again in another run_dir")

    def best_weights(self, step: int, like: Checkpoint) -> Mapping[str, Tensor]:
        """Returns the weights of the step with the lowest validation loss, from its checkpoint or from ``best``."""
        try:
            return load_checkpoint(self.checkpoint_path(step), like, run=self._run_id).model
        except CheckpointError as error:
            if self.exported_step() != step:
                raise
            logger.warning("%s; the best weights are taken from %s", error, self.best)
            with open_model_folder(self.best) as files:
                return read_weights(files, like.model)

    def export(self, model: LSTMLanguageModel, weights: Mapping[str, Tensor], training: Mapping[str, Any]) -> None:
        """Writes the best weights of a model into ``best``, a folder for `from_pretrained`.

        `training` is a summary of the training, of which ``best_step`` is the update.
        """
        options, vocabulary = model.config.to_dict(), model.vocabulary
        write_model_folder(self.best, options=options, training=training, vocabulary=vocabulary, tensors=weights)
        self._exported_step = training["best_step"]

    def exported_step(self) -> int | None:
        """Returns the update whose weights are in ``best``; None if there is no complete model in it."""
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
        """Writes a checkpoint and the history, then removes old checkpoints; errors are those of `write_checkpoint`.

        The newest `keep_last` stay, and those that were the best when one of them was written.
        """
        write_checkpoint(self.checkpoint_path(checkpoint.state.step), checkpoint, self._run_file)
        atomic_write(self.path / "history.jsonl", checkpoint.state.history.to_json_lines())
        atomic_write(self.path / "curve.jsonl", checkpoint.state.curve.to_json_lines())
        older = [folder for folder in self._checkpoints() if _step_of(folder) <= checkpoint.state.step]
        # A newer one is damaged. To resume from one that is kept, the best one of its time is needed as well.
        kept = [_step_of(folder) for folder in older[-self.keep_last :]]
        needed = {*kept, *map(checkpoint.state.best_step_until, kept)}
        for folder in older:
            if _step_of(folder) not in needed:
                try:
                    remove_directory(folder, owned=CHECKPOINT_FILES)
                # It is tried again with the next one.
                except CheckpointError as error:
                    logger.warning("%s; an old checkpoint stays", error)

    def checkpoint_path(self, step: int) -> Path:
        """Returns the folder of the checkpoint after an update."""
        return self.path / f"checkpoint-{step:08d}"

    def _checkpoints(self) -> list[Path]:
        """Returns the checkpoint folders, oldest first."""
        found = (folder for folder in self.path.glob("checkpoint-*") if _NAME.fullmatch(folder.name))
        return sorted(filter(is_folder, found), key=_step_of)


def remove_run(path: Path) -> None:
    """Removes the files of this library in a run's folder, and the folder if it is empty then."""
    if not is_folder(path):
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
