"""A run's folder: its description, checkpoints that are there whole or not at all, its history and best model.

- ``run.json``: what the run is: options, sizes, sums of vocabulary and text
- ``checkpoint-00001234/``: model, optimizer, carried state and random state after 1,234 updates
- ``history.jsonl``: a record for every evaluation
- ``curve.jsonl``: a record for every few updates
- ``best/``: the best model so far, a folder for `from_pretrained`
"""

import contextlib
import dataclasses
import math
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from zh_lstm_lm.errors import CheckpointError, DataError, NonFiniteError
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.models.pretrained import read_weights, write_model_folder
from zh_lstm_lm.runtime.control_characters import get_logger
from zh_lstm_lm.storage.atomic import atomic_directory, clear_litter, remove_directory, write_json
from zh_lstm_lm.storage.locks import lock_folder
from zh_lstm_lm.storage.safe_reading import NewerFormatError, read_json, read_versioned, verify_manifest, versioned
from zh_lstm_lm.storage.strict_json import to_json
from zh_lstm_lm.storage.tensors import check_kinds, kinds_of, read_kinds, read_tensors, write_tensors
from zh_lstm_lm.training.run_identity import IDENTITY, check_same_run
from zh_lstm_lm.training.state import TrainerState

__all__ = ["Checkpoint", "RunFolder"]

logger = get_logger(__name__)

_FORMAT = 1
_TENSORS = ("model", "optimizer", "carried")
_FILES = frozenset({*(f"{name}.safetensors" for name in _TENSORS), "trainer_state.json"})
_NAME = re.compile(r"checkpoint-\d{8,}")


class Checkpoint(NamedTuple):
    """Everything from which a run goes on as if it had never stopped.

    Attributes:
        state: Position, sums and history.
        model: The weights by name.
        optimizer: The optimizer's running means by ``"parameter name/field"``.
        carried: The carried state ``h`` and ``c`` (missing at an epoch's start) and the state of the ``generator``.
    """

    state: TrainerState
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    carried: Mapping[str, Tensor]


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
            clear_litter(self.path)
            yield

    def begin(self, description: dict[str, Any]) -> None:
        """Writes down what the run is.

        Raises:
            CheckpointError: It cannot be written.
        """
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        write_json(self.path / "run.json", versioned(_FORMAT, {**description, "date": now}))

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
        """Holds the run in the folder against what it is now; see `check_same_run`."""
        path = self.path / "run.json"
        begun = read_versioned(path, _FORMAT, required=IDENTITY, optional=(*description, "date"))
        return check_same_run(begun, description, folder=self.path)

    def newest(self, like: Checkpoint) -> Checkpoint:
        """Loads the newest checkpoint that is whole; newer ones that are not are passed over with a warning.

        Args:
            like: What a checkpoint of this run looks like; only shapes and types matter.

        Raises:
            CheckpointError: There is none, or a newer version of the library wrote it.
        """
        for folder in reversed(self._checkpoints()):
            try:
                return _load(folder, like)
            except NewerFormatError:
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
            return _load(self._checkpoint(step), like).model
        except CheckpointError as error:
            if self.exported_step() != step:
                raise
            logger.warning("%s; the best weights are taken from %s", error, self.best)
            return read_weights(self.best, like.model)

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
            with contextlib.suppress(CheckpointError, KeyError, TypeError):
                verify_manifest(self.best)
                step = read_json(self.best / "config.json")["training"]["best_step"]
                self._exported_step = step if isinstance(step, int) else None
        return self._exported_step

    def save(self, checkpoint: Checkpoint) -> None:
        """Commits a checkpoint and the history, then removes all but the best and the newest `keep_last` checkpoints.

        Raises:
            NonFiniteError: A value of it is not a finite number; nothing is written.
            CheckpointError: It cannot be written; older checkpoints stay.
        """
        for part in _TENSORS:
            for name, tensor in getattr(checkpoint, part).items():
                if tensor.is_floating_point() and not tensor.isfinite().all():
                    raise NonFiniteError(
                        f"after update {checkpoint.state.step}: {name} holds values that are not finite; no checkpoint "
                        "is written; resume from the last one with a lower learning_rate"
                    )
        state = dataclasses.asdict(checkpoint.state)
        if math.isinf(state["best_loss"]):  # JSON has no infinity
            state["best_loss"] = None
        place = self._checkpoint(checkpoint.state.step)
        with atomic_directory(place, owned=_FILES) as staged:
            for part in _TENSORS:
                write_tensors(staged / f"{part}.safetensors", getattr(checkpoint, part))
            (staged / "trainer_state.json").write_bytes(to_json(versioned(_FORMAT, state)))
        checkpoint.state.history.save(self.path / "history.jsonl")
        checkpoint.state.curve.save(self.path / "curve.jsonl")
        step, best = checkpoint.state.step, checkpoint.state.best_step
        older = [folder for folder in self._checkpoints() if _step_of(folder) <= step]  # newer ones are damaged
        for folder in older[: -self.keep_last]:
            if _step_of(folder) != best:
                try:
                    remove_directory(folder)
                except CheckpointError as error:  # it is tried again with the next one
                    logger.warning("%s; an old checkpoint stays", error)

    def _checkpoint(self, step: int) -> Path:
        return self.path / f"checkpoint-{step:08d}"

    def _checkpoints(self) -> list[Path]:
        """The checkpoint folders, oldest first."""
        found = (folder for folder in self.path.glob("checkpoint-*") if _NAME.fullmatch(folder.name))
        return sorted((folder for folder in found if folder.is_dir() and not folder.is_symlink()), key=_step_of)


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("checkpoint-"))


def _load(folder: Path, like: Checkpoint) -> Checkpoint:
    """Reads one checkpoint, once the headers of its files were held against what is expected.

    Raises:
        NewerFormatError: A newer version wrote it.
        CheckpointError: It is not whole, foreign, or of another model.
    """
    path = folder / "trainer_state.json"
    saved = read_versioned(path, _FORMAT, required=("step", "history"), optional=TrainerState.names())
    kinds = {part: read_kinds(folder / f"{part}.safetensors") for part in _TENSORS}
    check_kinds(folder, kinds["model"], kinds_of(like.model), by="the model")
    for key, kind in kinds["optimizer"].items():
        weight = like.model.get(key.rpartition("/")[0])
        if weight is None or kind.shape not in ((), weight.shape, (len(weight), 1)):  # a step, a mean, or one by rows
            raise CheckpointError(f"{folder}: the optimizer's {key[:200]!r}, {kind}, belongs to no weight")
    expected = kinds_of(like.carried)
    if kinds["carried"].keys() == {"generator"}:  # as at the start of an epoch
        expected = {"generator": expected["generator"]}
    expected["generator"] = kinds["carried"].get("generator", expected["generator"])  # devices differ in it
    check_kinds(folder, kinds["carried"], expected, by="the run's options")
    verify_manifest(folder)
    tensors = (read_tensors(folder / f"{part}.safetensors") for part in _TENSORS)
    try:
        state = TrainerState.from_dict(saved)
    except DataError as error:
        raise CheckpointError(f"{path}: {error}; the file is damaged or foreign") from error
    if state.steps_per_epoch != like.state.steps_per_epoch or state.window > state.steps_per_epoch:
        raise CheckpointError(
            f"{path}: window {state.window} of {state.steps_per_epoch}, the run has {like.state.steps_per_epoch}"
        )
    return Checkpoint(state, *tensors)
