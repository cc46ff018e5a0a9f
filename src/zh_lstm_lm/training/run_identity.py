"""What makes a run the one it is: written down when it begins, and held against what it is when it is resumed."""

import hashlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from zh_lstm_lm._version import __version__
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import CheckpointError
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.runtime.control_characters import get_logger

__all__ = ["IDENTITY", "check_same_run", "describe_run", "describe_texts", "digest_of", "fingerprint_of"]

logger = get_logger(__name__)

_BUDGET = {"max_epochs", "max_steps", "max_minutes"}
_FREE = {*_BUDGET, "run_dir", "device", "checkpoint_minutes", "keep_last", "learning_rate", "max_rollbacks"}
_FREE |= {"eval_steps", "patience"}
"""Options that may differ in a resumed run."""

IDENTITY = ("options", "environment", "model", "vocabulary", "train", "valid")
_SUMMED = 1 << 24  # numbers that are held in memory at once


def describe_run(
    options: Mapping[str, Any], model: LSTMLanguageModel, train_ids: Tensor, valid_ids: Tensor | None
) -> dict[str, Any]:
    """What makes a run the one it is, in plain values.

    Args:
        options: Those of training.
        model: The model, on the device that it is trained on.
        train_ids: The training text. **Shape:** (number of ids,).
        valid_ids: The held-out text; None for none. **Shape:** (number of ids,).
    """
    return {
        "options": dict(options),
        "model": model.config.to_dict(),
        "vocabulary": model.vocabulary.fingerprint(),
        "train": fingerprint_of(train_ids),
        "valid": fingerprint_of(valid_ids) if valid_ids is not None else None,
        "environment": {
            "zh_lstm_lm": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "threads": torch.get_num_threads(),
            "device": str(model.device),
        },
    }


def describe_texts(vocabulary: Vocabulary, train: TokenStream, valid: TokenStream | None) -> dict[str, Any]:
    """What a run reads and how, for whoever compares it with another.

    Args:
        vocabulary: The vocabulary of its model.
        train: The training text.
        valid: The held-out text; its SHA-256 sum is the same under every tokenizer and vocabulary.
    """
    texts: dict[str, Any] = {"tokenizer": vocabulary.tokenizer.fingerprint, "vocab_size": len(vocabulary)}
    for name, stream in (("train", train), ("valid", valid)):
        if stream:
            sizes = {"documents": stream.num_documents, "characters": stream.num_characters, "tokens": len(stream)}
            texts[name] = {**sizes, "clean": stream.clean}
    if valid:
        sha256 = hashlib.sha256()
        for text in valid.texts():
            sha256.update(text.encode("utf-8") + b"\0")
        texts["valid"]["sha256"] = sha256.hexdigest()
    return texts


def check_same_run(begun: Mapping[str, Any], description: Mapping[str, Any], *, folder: Path) -> bool:
    """Holds a run as it was begun against what it is now; what may differ and does is warned of.

    Args:
        begun: What was described when it began.
        description: What it is now.
        folder: Its folder.

    Returns:
        Whether the budgets are what they were.

    Raises:
        CheckpointError: It is another run.
    """
    try:
        before, now = begun["options"], description["options"]
        for key in IDENTITY[2:]:
            was, is_ = begun[key], description[key]
            # The first ones had no vectors of characters and only one type of weights.
            if key == "model":
                was, is_ = ({"character_vectors": False, "dtype": "float32", **model} for model in (was, is_))
            if was != is_:
                raise CheckpointError(
                    f"{folder}: its run was begun with another {key}; give the same again, or another run_dir"
                )
        for name in now.keys() - _FREE:
            if name not in before:
                logger.warning("%s: begun before there was the option %s, goes on with %r", folder, name, now[name])
            elif before[name] != now[name]:
                raise CheckpointError(
                    f"{folder}: its run was begun with {name}={before[name]!r}, got {now[name]!r}; "
                    "give the same again, or another run_dir"
                )
        for name, value in description["environment"].items():
            if begun["environment"].get(name) != value:
                logger.warning(
                    "%s: begun with %s %s, now %s; results may differ in the last digits",
                    folder, name, begun["environment"].get(name), value,
                )  # fmt: skip
        if before.get("learning_rate") != now.get("learning_rate"):
            rates = before.get("learning_rate"), now.get("learning_rate")
            logger.warning("%s: begun with learning_rate=%s, goes on with %s", folder, *rates)
        return all(before.get(name) == now[name] for name in _BUDGET)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder / 'run.json'}: not a description of a run ({error!r})") from error


def digest_of(description: Mapping[str, Any]) -> bytes:
    """A sum over all of a description that has to be the same in all processes of a run."""
    options = {name: value for name, value in description["options"].items() if name not in ("run_dir", "device")}
    same = {**description, "options": options, "environment": None}
    return hashlib.sha256(json.dumps(same, sort_keys=True).encode("utf-8")).digest()


def fingerprint_of(tensor: Tensor) -> str:
    """The SHA-256 sum of a tensor's shape and values."""
    sha256 = hashlib.sha256()
    for part in torch.split(tensor, _SUMMED):  # a long text may lie in a file
        sha256.update(save_tensors({"values": part.contiguous()}))
    return sha256.hexdigest()
