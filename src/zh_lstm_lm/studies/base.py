"""The base of every kind of study: its declarations, its runs and its claims."""

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
from zh_lstm_lm.studies.presentation import Column, CurvePlot, MetricPlot
from zh_lstm_lm.studies.verdicts import Claim, Rows, Text
from zh_lstm_lm.training.callbacks import Callback
from zh_lstm_lm.training.config import TrainerConfig
from zh_lstm_lm.training.schedule import default_learning_rate

__all__ = ["Study"]

_DEFAULT_PASSES = 8
_DEFAULT_MINUTES = 0.4
# All settings share it, so that they differ in nothing but what is studied.
_BATCH_SIZE = 16


class Study(ABC):
    """A kind of study over one corpus.

    Attributes:
        kind: Its name.
        title: Its title.
        setting_fields: The fields of the rows that identify a setting.
        columns: The columns of its table.
        plots: The plots of its report.
        varied: The field on the horizontal axis of its plots, and the name of that axis.
        parts: The parts of the corpus.
        config: The options of the study.
        model_config: The sizes of the models; the seed comes from the study.
        trainer_config: The options of training; budgets, seed and run folder come from the study.
        settings: The settings, each a value for every one of `setting_fields`.
    """

    kind: ClassVar[str]
    title: ClassVar[Text]
    setting_fields: ClassVar[tuple[str, ...]]
    columns: ClassVar[tuple[Column, ...]]
    plots: ClassVar[tuple[MetricPlot | CurvePlot, ...]]
    varied: ClassVar[tuple[str, Text]]
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
            # The default rate depends on the number of updates, in which settings may differ.
            learning_rate=trainer_config.learning_rate or default_learning_rate(None),
            max_epochs=None,
            max_steps=None,
            max_minutes=None,
            run_dir=None,
        )

    @abstractmethod
    def run(
        self, setting: Mapping[str, Any], seed: int, run_dir: Path | None, callbacks: Sequence[Callback]
    ) -> dict[str, Any] | None:
        """Trains and measures one setting with one seed; returns None if the user interrupted it."""

    @staticmethod
    @abstractmethod
    def claims(rows: Rows) -> list[Claim]:
        """Judges common claims by the rows of a complete study."""

    @staticmethod
    @abstractmethod
    def name_setting(setting: Mapping[str, Any]) -> Text:
        """Names a setting, whose values may come from a damaged file, for a legend."""

    @staticmethod
    def name_line(setting: Mapping[str, Any]) -> str:
        """Names the line that a setting belongs to in plots; an empty name puts all settings on one line."""
        return ""

    def updates_per_epoch(self, vocabulary: Vocabulary, train: TokenStream, **options: Any) -> int:
        """Counts the updates of an epoch.

        Args:
            vocabulary: The vocabulary.
            train: The training set.
            **options: Options of training that the setting changes.
        """
        ids = training_ids(train, vocabulary)
        config = replace(self.trainer_config, **options)
        return len(TrainingWindows(ids, batch_size=config.batch_size or 1, bptt_len=config.bptt_len))

    def training(self, seed: int, run_dir: Path | None, *, equal_updates: int, **options: Any) -> TrainerConfig:
        """Returns the options of a run under the study's equality.

        Args:
            seed: The seed.
            run_dir: The run's folder.
            equal_updates: Number of updates in an epoch of the setting with the fewest.
            **options: Options of training that the setting changes.
        """
        amount = self.config.budget
        budget: dict[str, Any] = {
            "tokens": {"max_epochs": amount or _DEFAULT_PASSES},
            "updates": {"max_steps": amount or _DEFAULT_PASSES * equal_updates},
            "minutes": {"max_minutes": amount or _DEFAULT_MINUTES},
        }[self.config.equality]
        return replace(self.trainer_config, seed=seed, run_dir=run_dir, **budget, **options)
