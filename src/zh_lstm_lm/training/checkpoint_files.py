"""The files of a checkpoint."""

import contextlib
import dataclasses
import hashlib
import math
import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
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
    "CHECKPOINT_FILES", "MAX_RUN_BYTES", "RUN_FILE", "Checkpoint", "ForeignCheckpointError", "load_checkpoint",
    "make_run_file", "parse_run_file", "read_run_copy", "write_checkpoint",
]  # fmt: skip

RUN_FILE = "run.json"
MAX_RUN_BYTES = 1 << 20
_FORMAT = 1
_STATE = "trainer_state.json"
_TENSORS = {part: f"{part}.safetensors" for part in ("model", "optimizer", "carried")}
# Written for custom optimizers only.
_OPTIMIZER = "optimizer_state.json"
CHECKPOINT_FILES = frozenset({*_TENSORS.values(), _STATE, _OPTIMIZER, RUN_FILE})
_MAX_STATE_BYTES = 1 << 26


class ForeignCheckpointError(CheckpointError):
    """A complete checkpoint belongs to another run than the one in whose folder it is."""


class Checkpoint(NamedTuple):
    """Everything that is needed to resume a run exactly.

    The optimizer's running means are named ``"parameter name/field"``. A custom optimizer has values as well,
    with the names of its tensors in them. Carried are the state ``h`` and ``c`` (missing at an epoch's start) and the
    state of the ``generator``.
    """

    state: TrainerState
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    carried: Mapping[str, Tensor]
    optimizer_values: Mapping[str, Any] | None = None


def make_run_file(description: Mapping[str, Any]) -> bytes:
    """Returns the ``run.json`` of a new run: its identity, a new id, and a checksum."""
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    described = {"run": uuid.uuid4().hex, **description, "date": now}
    return to_json(versioned(_FORMAT, {**described, "sha256": _sum_of(described)}))


def parse_run_file(data: bytes, path: Path) -> dict[str, Any]:
    """Parses a ``run.json``; the first ones had neither an id, ``run``, nor a checksum."""
    values = parse_versioned(
        data, path, _FORMAT, required=IDENTITY, optional=("run", "text", "chosen", "date", "sha256")
    )
    if values.pop("sha256", None) not in (None, _sum_of(values)):
        raise CheckpointError(f"{path}: changed since it was written")
    return values


def _sum_of(description: Mapping[str, Any]) -> str:
    return hashlib.sha256(to_json(dict(description))).hexdigest()


def read_run_copy(folder: Path) -> bytes:
    """Reads the copy of ``run.json`` in a checkpoint; raises CheckpointError if it is missing or damaged."""
    with _open(folder) as files:
        files.check(RUN_FILE)
        return files.read(RUN_FILE, max_bytes=MAX_RUN_BYTES)


def write_checkpoint(folder: Path, checkpoint: Checkpoint, run_file: bytes) -> None:
    """Writes a checkpoint, with the run's ``run.json``, completely or not at all.

    Raises:
        NonFiniteError: It holds a value that is not finite; nothing is written.
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
    # JSON has no infinity.
    if math.isinf(state["best_loss"]):
        state["best_loss"] = None
    with atomic_directory(folder, owned=CHECKPOINT_FILES) as staged:
        for part, file in _TENSORS.items():
            write_tensors(staged / file, getattr(checkpoint, part))
        (staged / _STATE).write_bytes(to_json(versioned(_FORMAT, state)))
        if checkpoint.optimizer_values is not None:
            (staged / _OPTIMIZER).write_bytes(to_json(versioned(_FORMAT, checkpoint.optimizer_values)))
        (staged / RUN_FILE).write_bytes(run_file)


def load_checkpoint(folder: Path, like: Checkpoint, *, run: str | None) -> Checkpoint:
    """Loads a checkpoint of a run, of any for None, after comparing the headers of its files with the tensors of `like`.

    Raises:
        NewerFormatError: A newer version wrote it.
        ForeignCheckpointError: It belongs to another run.
        CheckpointError: It is damaged, foreign, or of another model.
    """
    with _open(folder) as files:
        # Before the format is read, since a damaged number is not that of a newer version.
        files.check(_STATE)
        found = _run_of(files)
        if run is not None and found != run:
            raise ForeignCheckpointError(
                f"{folder}: is a checkpoint of another run than that of {folder.parent / RUN_FILE}; move it away"
            )
        saved = files.read_versioned(
            _STATE, _FORMAT, required=("step", "history"), optional=TrainerState.names(), max_bytes=_MAX_STATE_BYTES
        )
        kinds = {part: read_kinds(files.open(file), folder / file) for part, file in _TENSORS.items()}
        _check_parts(folder, kinds, like)
        model, optimizer, carried = (
            load_tensors(files.read(file, max_bytes=MAX_TENSOR_BYTES), folder / file) for file in _TENSORS.values()
        )
        values = None
        if like.optimizer_values is not None:
            values = files.read_versioned(_OPTIMIZER, _FORMAT, required=("state_dict",), max_bytes=_MAX_STATE_BYTES)
        return Checkpoint(_state_of(saved, like, folder / _STATE), model, optimizer, carried, values)


def _open(folder: Path) -> contextlib.AbstractContextManager[SavedFolder]:
    return open_folder(folder, CHECKPOINT_FILES, hint="it is no checkpoint")


def _run_of(files: SavedFolder) -> str | None:
    """Returns the id of a checkpoint's run; None if it names none."""
    if RUN_FILE not in files:
        return None
    data = files.read(RUN_FILE, max_bytes=MAX_RUN_BYTES)
    run_id: str | None = parse_run_file(data, files.path / RUN_FILE).get("run")
    return run_id


def _check_parts(folder: Path, kinds: Mapping[str, Mapping[str, TensorKind]], like: Checkpoint) -> None:
    """Compares the tensors of a checkpoint with the expected ones; raises CheckpointError."""
    check_kinds(folder, kinds["model"], kinds_of(like.model), by="the model")
    # The state of a custom optimizer has no known layout.
    for key, kind in kinds["optimizer"].items() if like.optimizer_values is None else ():
        weight = like.model.get(key.rpartition("/")[0])
        # It is a number of steps, a mean, or a mean by rows.
        if weight is None or kind.shape not in ((), weight.shape, (len(weight), 1)):
            raise CheckpointError(f"{folder}: the optimizer's {key[:200]!r}, {kind}, belongs to no weight")
    expected = kinds_of(like.carried)
    # At the start of an epoch no state is carried.
    if kinds["carried"].keys() == {"generator"}:
        expected = {"generator": expected["generator"]}
    # The size of a generator's state depends on the device.
    found = kinds["carried"].get("generator")
    if found is not None and (found.dtype, len(found.shape)) == (torch.uint8, 1):
        expected["generator"] = found
    check_kinds(folder, kinds["carried"], expected, by="the run's options")


def _state_of(saved: dict[str, Any], like: Checkpoint, path: Path) -> TrainerState:
    """Returns the saved state of a run; raises CheckpointError if it does not fit the run."""
    try:
        state = TrainerState.from_dict(saved)
    except DataError as error:
        raise CheckpointError(f"{path}: {error}; the file is damaged or foreign") from error
    if state.steps_per_epoch != like.state.steps_per_epoch or state.window > state.steps_per_epoch:
        raise CheckpointError(
            f"{path}: window {state.window} of {state.steps_per_epoch}, the run has {like.state.steps_per_epoch}"
        )
    if bool(state.updates) != bool(state.num_targets) or (
        not state.updates and 0 < state.window == state.steps_per_epoch
    ):
        raise CheckpointError(
            f"{path}: window {state.window} after {state.updates} updates with {state.num_targets} targets; the file is "
            "damaged or foreign"
        )
    return state
