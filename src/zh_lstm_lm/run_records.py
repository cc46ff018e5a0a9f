"""What a run tells of itself: a record for each evaluation, what makes it the run it is, how its model was trained."""

import hashlib
import math
import platform
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zh_lstm_lm._version import __version__
from zh_lstm_lm.checkpoint import fingerprint_of
from zh_lstm_lm.evaluation import EvaluationResult
from zh_lstm_lm.model import LSTMLanguageModel
from zh_lstm_lm.token_stream import TokenStream
from zh_lstm_lm.training_state import TrainerState
from zh_lstm_lm.vocabulary import Vocabulary

__all__ = ["describe_texts", "make_record", "make_summary", "run_description"]


def make_record(state: TrainerState, *, spells: bool, valid: EvaluationResult | None, seconds: float) -> dict[str, Any]:
    """The record of an evaluation, from the epoch's sums.

    Args:
        state: Where the run stands.
        spells: Whether the vocabulary spells what it does not know, so that characters can be counted.
        valid: What was measured on the held-out text; None without.
        seconds: Time since the start of the run.
    """
    train = EvaluationResult(-state.loss_sum, state.num_targets, state.num_characters if spells else None)
    return {
        "epoch": round(state.epoch, 4),
        "step": state.step,
        "learning_rate": state.learning_rate,
        "gradient_norm": state.gradient_norm_sum / state.updates,
        "largest_gradient_norm": state.largest_gradient_norm,
        "clipped_share": state.clipped_updates / state.updates,
        **_figures("train", train),
        **(_figures("valid", valid) if valid is not None else {}),
        "tokens_per_second": round(state.num_targets / max(state.training_seconds, 1e-9), 1),
        "seconds": round(seconds, 3),
    }


def make_summary(state: TrainerState, train: TokenStream) -> dict[str, Any]:
    """What a reader of the saved model wants to know of its training."""
    best = min(state.history, key=lambda record: record.get("valid_loss", math.inf), default={})
    figures = {name: best[name] for name in best if name.endswith(("perplexity", "bits_per_character"))}
    return {
        "documents": train.num_documents,
        "characters": train.num_characters,
        "clean": train.clean,
        "epochs": round(state.epoch, 4),
        "best_epoch": best.get("epoch"),
        "best_step": state.best_step,
        **{name: value and round(value, 4) for name, value in figures.items()},
    }


def run_description(
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


def _figures(part: str, result: EvaluationResult) -> dict[str, Any]:
    """The figures of a record; JSON has no infinity, so a perplexity beyond all floats is None."""
    perplexity = result.perplexity if math.isfinite(result.perplexity) else None
    return {
        f"{part}_loss": result.loss,
        f"{part}_perplexity": perplexity,
        f"{part}_bits_per_character": result.bits_per_character,
    }
