"""The identity of a run: saved at the start, compared on resume."""

import hashlib
import json
import logging
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
from zh_lstm_lm.training.config import TrainerConfig

__all__ = [
    "IDENTITY", "check_same_run", "describe_run", "describe_texts", "digest_of", "fingerprint_of", "weights_digest",
]  # fmt: skip

logger: logging.Logger = get_logger(__name__)

_BUDGET = {"max_epochs", "max_steps", "max_minutes"}
# Options that may differ in a resumed run.
_FREE = {*_BUDGET, "run_dir", "device", "checkpoint_minutes", "keep_last", "learning_rate", "max_rollbacks"}
_FREE |= {"eval_steps", "patience"}

IDENTITY = ("options", "environment", "model", "vocabulary", "train", "valid")
# Numbers that are held in memory at once.
_SUMMED = 1 << 24


def describe_run(
    config: TrainerConfig,
    model: LSTMLanguageModel,
    train: tuple[TokenStream, Tensor],
    valid: tuple[TokenStream | None, Tensor | None],
    *,
    batch_size: int,
    processes: int,
    own: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns the identity of a run as plain values; the texts come with their ids, `own` are options that are functions."""
    return {
        "options": {**config.to_dict(), **own},
        "model": model.config.to_dict(),
        "vocabulary": model.vocabulary.fingerprint(),
        "train": fingerprint_of(train[1]),
        "valid": fingerprint_of(valid[1]) if valid[1] is not None else None,
        "environment": {
            "zh_lstm_lm": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "threads": torch.get_num_threads(),
            "device": str(model.device),
            "processes": processes,
        },
        "text": describe_texts(model.vocabulary, train[0], valid[0]),
        "chosen": {"batch_size": batch_size},
    }


def describe_texts(vocabulary: Vocabulary, train: TokenStream, valid: TokenStream | None) -> dict[str, Any]:
    """Describes the texts of a run, for comparisons with other runs.

    The SHA-256 checksum of the validation set is the same under every tokenizer and vocabulary.
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
    """Compares the saved identity of a run with the present one; returns True if the budgets are the same.

    Permitted differences are warned of; another run is a CheckpointError.
    """
    try:
        before, now = ({"optimizer": None, **each["options"]} for each in (begun, description))
        for key in IDENTITY[2:]:
            was, is_ = begun[key], description[key]
            # The first runs had no character vectors and only one type of weights.
            if key == "model":
                was, is_ = ({"character_vectors": False, "dtype": "float32", **model} for model in (was, is_))
            if was != is_:
                raise CheckpointError(
                    f"{folder}: its run was begun with another {key}; give the same again, or another run_dir"
                )
        for name in now.keys() - _FREE:
            if name not in before:
                logger.warning("%s: begun before there was the option %s, goes on with %r", folder, name, now[name])
            elif not _same_option(before[name], now[name]):
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
    except CheckpointError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(f"{folder / 'run.json'}: not a description of a run ({error!r})") from error


def _same_option(before: Any, now: Any) -> bool:
    """Compares the values of an option; of two functions, those that both have."""
    if isinstance(before, Mapping) and isinstance(now, Mapping) and "function" in before and "function" in now:
        pairs = zip(before["function"], now["function"], strict=True)
        return all(None in pair or pair[0] == pair[1] for pair in pairs)
    return bool(before == now)


def digest_of(description: Mapping[str, Any]) -> bytes:
    """Returns a checksum of all of a description that has to be the same in all processes of a run."""
    options = {name: value for name, value in description["options"].items() if name not in ("run_dir", "device")}
    same = {**description, "options": options, "environment": None}
    return hashlib.sha256(json.dumps(same, sort_keys=True).encode("utf-8")).digest()


def weights_digest(model: LSTMLanguageModel) -> bytes:
    """Returns a checksum of the weights of a model."""
    return "".join(fingerprint_of(weight.cpu()) for weight in model.state_dict().values()).encode("ascii")


def fingerprint_of(tensor: Tensor) -> str:
    """Returns the SHA-256 checksum of a tensor's shape and values."""
    sha256 = hashlib.sha256()
    # A long text may lie in a file.
    for part in torch.split(tensor, _SUMMED):
        sha256.update(save_tensors({"values": part.contiguous()}))
    return sha256.hexdigest()
