"""The folder of one checkpoint: what a run goes on from, and whose it is."""

import contextlib
import dataclasses
import hashlib
import math
import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from zh_lstm_lm.errors import CheckpointError, DataError, NonFiniteError
from zh_lstm_lm.storage.atomic import atomic_directory
from zh_lstm_lm.storage.safe_reading import parse_versioned, versioned
from zh_lstm_lm.storage.saved_folder import SavedFolder, open_folder
from zh_lstm_lm.storage.strict_json import to_json
from zh_lstm_lm.storage.tensors import (
    MAX_TENSOR_BYTES,
    TensorKind,
    check_kinds,
    kinds_of,
    load_tensors,
    read_kinds,
    write_tensors,
)
from zh_lstm_lm.training.run_identity import IDENTITY
from zh_lstm_lm.training.state import TrainerState

__all__ = [
    "CHECKPOINT_FILES",
    "MAX_RUN_BYTES",
    "RUN_FILE",
    "Checkpoint",
    "ForeignCheckpointError",
    "load_checkpoint",
    "make_run_file",
    "parse_run_file",
    "read_run_copy",
    "write_checkpoint",
]

RUN_FILE = "run.json"
MAX_RUN_BYTES = 1 << 20
_FORMAT = 1
_STATE = "trainer_state.json"
_TENSORS = {part: f"{part}.safetensors" for part in ("model", "optimizer", "carried")}
CHECKPOINT_FILES = frozenset({*_TENSORS.values(), _STATE, RUN_FILE})
_MAX_STATE_BYTES = 1 << 26


class ForeignCheckpointError(CheckpointError):
    """A checkpoint is whole, and of another run than the one in whose folder it lies."""


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


def make_run_file(description: Mapping[str, Any]) -> bytes:
    """The ``run.json`` of a run that begins: what it is, an id of its own, and a checksum."""
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    described = {"run": uuid.uuid4().hex, **description, "date": now}
    return to_json(versioned(_FORMAT, {**described, "sha256": _sum_of(described)}))


def parse_run_file(data: bytes, path: Path) -> dict[str, Any]:
    """Reads a ``run.json``; the first ones had neither an id, ``run``, nor a checksum.

    Args:
        data: Its content.
        path: What to call it in an error.

    Raises:
        CheckpointError: It is damaged or foreign.
    """
    values = parse_versioned(
        data, path, _FORMAT, required=IDENTITY, optional=("run", "text", "chosen", "date", "sha256")
    )
    if values.pop("sha256", None) not in (None, _sum_of(values)):
        raise CheckpointError(f"{path}: changed since it was written")
    return values


def _sum_of(description: Mapping[str, Any]) -> str:
    return hashlib.sha256(to_json(dict(description))).hexdigest()


def read_run_copy(folder: Path) -> bytes:
    """Reads the copy of ``run.json`` in a checkpoint.

    Raises:
        CheckpointError: There is none, or a damaged one.
    """
    with _open(folder) as files:
        files.check(RUN_FILE)
        return files.read(RUN_FILE, max_bytes=MAX_RUN_BYTES)


def write_checkpoint(folder: Path, checkpoint: Checkpoint, run_file: bytes) -> None:
    """Writes a checkpoint, whole or not at all.

    Args:
        folder: Where to.
        checkpoint: What it holds.
        run_file: The content of the run's ``run.json``.

    Raises:
        NonFiniteError: A value of it is not a finite number; nothing is written.
        CheckpointError: It cannot be written.
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
    with atomic_directory(folder, owned=CHECKPOINT_FILES) as staged:
        for part, file in _TENSORS.items():
            write_tensors(staged / file, getattr(checkpoint, part))
        (staged / _STATE).write_bytes(to_json(versioned(_FORMAT, state)))
        (staged / RUN_FILE).write_bytes(run_file)


def load_checkpoint(folder: Path, like: Checkpoint, *, run: str | None) -> Checkpoint:
    """Reads a checkpoint, once the headers of its files were held against what is expected.

    Args:
        folder: Where it is.
        like: What a checkpoint of the run looks like; only shapes and types matter.
        run: The id of the run; None takes a checkpoint of any.

    Raises:
        NewerFormatError: A newer version wrote it.
        ForeignCheckpointError: It is of another run.
        CheckpointError: It is not whole, foreign, or of another model.
    """
    with _open(folder) as files:
        files.check(_STATE)  # first: a format number that is damaged is none of a newer version
        found = _run_of(files)  # whatever the run: a damaged copy is noticed
        if run is not None and found != run:
            raise ForeignCheckpointError(
                f"{folder}: is a checkpoint of another run than that of {folder.parent / RUN_FILE}; move it away"
            )
        saved = files.read_versioned(
            _STATE, _FORMAT, required=("step", "history"), optional=TrainerState.names(), max_bytes=_MAX_STATE_BYTES
        )
        kinds = {part: read_kinds(files.open(file), folder / file) for part, file in _TENSORS.items()}
        _check_parts(folder, kinds, like)
        tensors = (
            load_tensors(files.read(file, max_bytes=MAX_TENSOR_BYTES), folder / file) for file in _TENSORS.values()
        )
        return Checkpoint(_state_of(saved, like, folder / _STATE), *tensors)


def _open(folder: Path) -> contextlib.AbstractContextManager[SavedFolder]:
    return open_folder(folder, CHECKPOINT_FILES, hint="it is no checkpoint")


def _run_of(files: SavedFolder) -> str | None:
    """The id of the run that a checkpoint is of; None where it names none."""
    if RUN_FILE not in files:
        return None
    data = files.read(RUN_FILE, max_bytes=MAX_RUN_BYTES)
    run_id: str | None = parse_run_file(data, files.path / RUN_FILE).get("run")
    return run_id


def _check_parts(folder: Path, kinds: Mapping[str, Mapping[str, TensorKind]], like: Checkpoint) -> None:
    """Holds what the headers of a checkpoint's files tell against the run; raises CheckpointError."""
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


def _state_of(saved: dict[str, Any], like: Checkpoint, path: Path) -> TrainerState:
    """The state that was saved in a file; raises CheckpointError where it does not fit the run."""
    try:
        state = TrainerState.from_dict(saved)
    except DataError as error:
        raise CheckpointError(f"{path}: {error}; the file is damaged or foreign") from error
    if state.steps_per_epoch != like.state.steps_per_epoch or state.window > state.steps_per_epoch:
        raise CheckpointError(
            f"{path}: window {state.window} of {state.steps_per_epoch}, the run has {like.state.steps_per_epoch}"
        )
    return state
