"""A run's folder: its description, checkpoints that are there whole or not at all, its history and best model.

- ``run.json``: what the run is: options, sizes, sums of vocabulary and text
- ``checkpoint-00001234/``: model, optimizer, carried state and random state after 1,234 updates
- ``history.jsonl``: a record for every evaluation
- ``curve.jsonl``: a record for every few updates
- ``best/``: the best model so far, a folder for `from_pretrained`
"""

import dataclasses
import hashlib
import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.storage import (
    atomic_directory,
    read_bytes,
    read_json,
    remove_directory,
    to_json,
    verify_manifest,
    write_json,
)
from zh_lstm_lm.training_state import History, LearningCurve, TrainerState

__all__ = ["Checkpoint", "RunFolder", "fingerprint_of"]

logger = logging.getLogger(__name__)

_FORMAT = 1
_TENSORS = ("model", "optimizer", "carried")
_FILES = frozenset({*(f"{name}.safetensors" for name in _TENSORS), "trainer_state.json"})
_BUDGET = {"max_epochs", "max_steps", "max_minutes"}
_FREE = {
    *_BUDGET,
    "run_dir",
    "device",
    "checkpoint_minutes",
    "keep_last",
    "learning_rate",
}  # may differ in a resumed run
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

    def holds_run(self) -> bool:
        """Whether there is a checkpoint in it."""
        return bool(self._checkpoints())

    def begin(self, description: dict[str, Any]) -> None:
        """Makes the folder and writes down what the run is.

        Raises:
            CheckpointError: It cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"{self.path}: cannot be made a run folder ({error.strerror}); give another run_dir"
            ) from error
        write_json(self.path / "run.json", {"format": _FORMAT, **description})

    def resume(self, description: Mapping[str, Any]) -> tuple[Checkpoint, bool]:
        """Loads the newest checkpoint that is whole.

        Args:
            description: What the run is now.

        Returns:
            The checkpoint, and whether the budgets are what they were.

        Raises:
            CheckpointError: The run in the folder is another one, or has no whole checkpoint.
        """
        begun = read_json(self.path / "run.json")
        try:
            before, now = begun["options"], description["options"]
            for key in ("model", "vocabulary", "train", "valid"):
                if begun[key] != description[key]:
                    raise CheckpointError(
                        f"{self.path}: its run was begun with another {key}; give the same again, or another run_dir"
                    )
            for name in now.keys() - _FREE:
                if before.get(name) != now[name]:
                    raise CheckpointError(
                        f"{self.path}: its run was begun with {name}={before.get(name)!r}, got {now[name]!r}; "
                        "give the same again, or another run_dir"
                    )
            for name, value in description["environment"].items():
                if begun["environment"].get(name) != value:
                    logger.warning(
                        "%s: begun with %s %s, now %s; results may differ in the last digits",
                        self.path, name, begun["environment"].get(name), value,
                    )  # fmt: skip
            if before.get("learning_rate") != now.get("learning_rate"):
                rates = before.get("learning_rate"), now.get("learning_rate")
                logger.warning("%s: begun with learning_rate=%s, goes on with %s", self.path, *rates)
            same_budget = all(before.get(name) == now[name] for name in _BUDGET)
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{self.path / 'run.json'}: not a description of a run ({error!r})") from error
        return self._newest(), same_budget

    def _newest(self) -> Checkpoint:
        for folder in reversed(self._checkpoints()):
            try:
                return _load(folder)
            except (CheckpointError, SafetensorError, KeyError, TypeError, AttributeError) as error:
                logger.warning("%s: passed over, not a whole checkpoint (%s)", folder, error)
        raise CheckpointError(f"{self.path}: no whole checkpoint to resume from; start anew in another run_dir")

    def save(self, checkpoint: Checkpoint) -> None:
        """Commits a checkpoint and the history, then removes all but the newest `keep_last` checkpoints.

        Raises:
            CheckpointError: It cannot be written; older checkpoints stay.
        """
        state = dataclasses.asdict(checkpoint.state)
        if math.isinf(state["best_loss"]):  # JSON has no infinity
            state["best_loss"] = None
        with atomic_directory(self.path / f"checkpoint-{checkpoint.state.step:08d}", owned=_FILES) as staged:
            for name in _TENSORS:
                tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in getattr(checkpoint, name).items()}
                (staged / f"{name}.safetensors").write_bytes(save_tensors(tensors))
            (staged / "trainer_state.json").write_bytes(to_json({"format": _FORMAT, **state}))
        checkpoint.state.history.save(self.path / "history.jsonl")
        checkpoint.state.curve.save(self.path / "curve.jsonl")
        for old in self._checkpoints()[: -self.keep_last]:
            remove_directory(old)

    def _checkpoints(self) -> list[Path]:
        """The checkpoint folders, oldest first."""
        return sorted(
            folder for folder in self.path.glob("checkpoint-*") if _NAME.fullmatch(folder.name) and folder.is_dir()
        )


def _load(folder: Path) -> Checkpoint:
    verify_manifest(folder)
    saved = read_json(folder / "trainer_state.json")
    if saved.pop("format") > _FORMAT:
        raise CheckpointError(f"{folder}: written by a newer version of zh-lstm-lm; update it")
    saved["history"], saved["curve"] = History(saved["history"]), LearningCurve(saved.get("curve", ()))
    if saved["best_loss"] is None:
        saved["best_loss"] = math.inf
    tensors = (load_tensors(read_bytes(folder / f"{name}.safetensors")) for name in _TENSORS)
    return Checkpoint(TrainerState(**saved), *tensors)


def fingerprint_of(tensor: Tensor) -> str:
    """The SHA-256 sum of a tensor's shape and values."""
    return hashlib.sha256(save_tensors({"values": tensor.contiguous()})).hexdigest()
