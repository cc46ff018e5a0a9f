"""What every kind of study is made of."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from zh_lstm_lm.corpus.batches import TrainingWindows
from zh_lstm_lm.corpus.hapax_spelling import training_ids
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.models.config import ModelConfig
from zh_lstm_lm.studies.cells import Parts
from zh_lstm_lm.studies.config import StudyConfig
from zh_lstm_lm.studies.result import Claim
from zh_lstm_lm.training.callbacks import Callback
from zh_lstm_lm.training.config import TrainerConfig
from zh_lstm_lm.training.schedule import default_learning_rate

__all__ = ["Study"]

_DEFAULT_PASSES = 8
_DEFAULT_MINUTES = 0.4
_BATCH_SIZE = 16  # the same for all settings, so that only what is studied differs


class Study(ABC):
    """A kind of study over one corpus.

    Attributes:
        title: What is studied, in words.
        parts: The parts of the corpus.
        config: What is varied.
        model_config: Sizes; the seed comes from the study.
        trainer_config: How to train; budgets, seed and run folder come from the study.
        settings: What is varied: fields of the rows.
    """

    title: ClassVar[str]
    settings: Sequence[Mapping[str, Any]]

    def __init__(
        self, corpus: TokenStream, config: StudyConfig, model_config: ModelConfig, trainer_config: TrainerConfig
    ) -> None:
        self.parts = Parts(*corpus.split())
        self.config = config
        self.model_config = model_config
        self.trainer_config = replace(
            trainer_config,
            batch_size=trainer_config.batch_size or _BATCH_SIZE,
            learning_rate=trainer_config.learning_rate or default_learning_rate(None),  # whatever the number of updates
            max_epochs=None,
            max_steps=None,
            max_minutes=None,
            run_dir=None,
        )

    @abstractmethod
    def run(
        self, setting: Mapping[str, Any], seed: int, run_dir: Path | None, callbacks: Sequence[Callback]
    ) -> dict[str, Any] | None:
        """Trains and measures one setting with one seed; None if the user interrupted it."""

    @abstractmethod
    def claims(self, rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
        """Judges what is commonly claimed by the rows."""

    def updates_per_epoch(self, vocabulary: Vocabulary, train: TokenStream, **options: Any) -> int:
        """Updates in a pass over the training text.

        Args:
            vocabulary: The vocabulary.
            train: The training text.
            **options: What the setting changes of the training.
        """
        ids = training_ids(train, vocabulary)
        config = replace(self.trainer_config, **options)
        return len(TrainingWindows(ids, batch_size=config.batch_size or 1, bptt_len=config.bptt_len))

    def training(self, seed: int, run_dir: Path | None, *, equal_updates: int, **options: Any) -> TrainerConfig:
        """The options of a run under the stated equality.

        Args:
            seed: The seed.
            run_dir: Where the run is kept.
            equal_updates: Updates that all settings can make, where no number was given.
            **options: What the setting changes.
        """
        amount = self.config.budget
        budget: dict[str, Any] = {
            "tokens": {"max_epochs": amount or _DEFAULT_PASSES},
            "updates": {"max_steps": amount or _DEFAULT_PASSES * equal_updates},
            "minutes": {"max_minutes": amount or _DEFAULT_MINUTES},
        }[self.config.equality]
        return replace(self.trainer_config, seed=seed, run_dir=run_dir, **budget, **options)
