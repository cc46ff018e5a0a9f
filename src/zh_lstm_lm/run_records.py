"""What a run tells of itself: a record for each evaluation, and how its model was trained."""

import math
from typing import Any

from zh_lstm_lm.evaluation.result import EvaluationResult
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.training.state import TrainerState

__all__ = ["make_record", "make_summary"]


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
    best = state.best_record
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


def _figures(part: str, result: EvaluationResult) -> dict[str, Any]:
    """The figures of a record; JSON has no infinity, so a perplexity beyond all floats is None."""
    perplexity = result.perplexity if math.isfinite(result.perplexity) else None
    return {
        f"{part}_loss": result.loss,
        f"{part}_perplexity": perplexity,
        f"{part}_bits_per_character": result.bits_per_character,
    }
