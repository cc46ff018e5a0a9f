"""One setting and seed of a study: training that goes on where it was, and what every study measures of it."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from zh_lstm_lm.corpus.batches import TrainingWindows
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.evaluation.evaluate import evaluate_ids
from zh_lstm_lm.evaluation.result import EvaluationResult
from zh_lstm_lm.generation.sampler import Sampler
from zh_lstm_lm.models.config import ModelConfig
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.studies.result import Row
from zh_lstm_lm.training.callbacks import Callback
from zh_lstm_lm.training.config import TrainerConfig
from zh_lstm_lm.training.history import History
from zh_lstm_lm.training.memory import update_memory
from zh_lstm_lm.training.trainer import Trainer

__all__ = ["PASSAGE", "Parts", "TrainedCell", "train_cell"]

PASSAGE = 120
"""Characters that are written after the prompt."""

_MEASURED_TRAIN_TOKENS = 100_000
_BY_EPOCH = ("train_perplexity", "train_bits_per_character", "valid_perplexity", "valid_bits_per_character")


class Parts(NamedTuple):
    """The parts of a corpus."""

    train: TokenStream
    valid: TokenStream
    test: TokenStream


class TrainedCell(NamedTuple):
    """A trained model and what every study tells of it.

    Attributes:
        model: The model with its best weights.
        history: The records of its training.
        test: What was measured on the test part.
        test_ids: The test part in its vocabulary. **Shape:** (number of ids,).
        row: The figures.
    """

    model: LSTMLanguageModel
    history: History
    test: EvaluationResult
    test_ids: Tensor
    row: Row


def train_cell(
    parts: Parts,
    vocabulary: Vocabulary,
    model_config: ModelConfig,
    trainer_config: TrainerConfig,
    *,
    callbacks: Sequence[Callback] = (),
    prompt: str = "",
) -> TrainedCell | None:
    """Trains, or goes on with what `trainer_config.run_dir` holds; None if the user interrupted it.

    Args:
        parts: The text.
        vocabulary: The vocabulary.
        model_config: Sizes.
        trainer_config: How to train.
        callbacks: What else to call.
        prompt: What the passage begins with.
    """
    model = LSTMLanguageModel(vocabulary, model_config)
    trainer = Trainer(model, parts.train, parts.valid, trainer_config, callbacks=callbacks, progress=False)
    history = trainer.fit(resume=True)
    if trainer.state.stop_reason == "interrupted":
        return None
    train_ids, test_ids = (vocabulary.encode_stream(part) for part in (parts.train, parts.test))
    train = evaluate_ids(model, train_ids[:_MEASURED_TRAIN_TOKENS])
    test = evaluate_ids(model, test_ids)
    bits = [result.bits_per_character for result in (train, test)]
    updates = [after["step"] - before["step"] for before, after in zip([{"step": 0}, *history], history, strict=False)]
    assert trainer_config.batch_size is not None
    windows = TrainingWindows(train_ids, batch_size=trainer_config.batch_size, bptt_len=trainer_config.bptt_len)
    row: Row = {
        "updates": trainer.state.step,
        "epochs": round(trainer.state.epoch, 4),
        "tokens_read": round(trainer.state.epoch * len(train_ids)),
        "seconds": history[-1]["seconds"],
        "microseconds_per_token": 1e6 / statistics.median(record["tokens_per_second"] for record in history),
        "memory_mb": update_memory(model, windows[0], betas=trainer_config.betas) / 1e6,
        "train_loss": train.loss,
        "train_perplexity": train.perplexity,
        "train_bits_per_character": bits[0],
        "test_loss": test.loss,
        "test_perplexity": test.perplexity,
        "test_bits_per_character": bits[1],
        "gap_nats": test.loss - train.loss,
        "gap_bits_per_character": None if bits[0] is None or bits[1] is None else bits[1] - bits[0],
        "gradient_norm": _mean(history, "gradient_norm", updates),
        "largest_gradient_norm": max(record["largest_gradient_norm"] for record in history),
        "clipped_share": _mean(history, "clipped_share", updates),
        "epoch": [record["epoch"] for record in history],
        **{f"{name}_by_epoch": [record[name] for record in history] for name in _BY_EPOCH},  # type: ignore[typeddict-item]
        "passage": Sampler(model).generate(prompt, max_characters=PASSAGE + len(prompt)),
    }
    return TrainedCell(model, history, test, test_ids, row)


def _mean(history: History, name: str, updates: Sequence[int]) -> float:
    """The mean over all updates of what the records give as a mean over their own."""
    total: float = sum(record[name] * count for record, count in zip(history, updates, strict=True))
    return total / sum(updates)
