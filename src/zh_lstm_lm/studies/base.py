"""The base of every kind of study: its declarations, its runs and its claims."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from zh_lstm_lm.corpus.batches import TrainingWindows
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.training_ids import training_ids
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.evaluation.evaluate import evaluate
from zh_lstm_lm.models.config import ModelConfig
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.models.ngram import NGramLanguageModel
from zh_lstm_lm.runtime.control_characters import get_logger
from zh_lstm_lm.studies.cells import Interrupted, Parts, TrainedCell, measure
from zh_lstm_lm.studies.claims import Claim, Rows
from zh_lstm_lm.studies.config import StudyConfig
from zh_lstm_lm.studies.presentation import Column, CurvePlot, Label, MetricPlot
from zh_lstm_lm.training.callbacks import Callback, ProgressCallback
from zh_lstm_lm.training.config import TrainerConfig
from zh_lstm_lm.training.schedule import default_learning_rate
from zh_lstm_lm.training.state import TrainerState
from zh_lstm_lm.training.trainer import Trainer

__all__ = ["RunProgress", "Study", "Train"]

logger: logging.Logger = get_logger(__name__)

_DEFAULT_PASSES = 8
_DEFAULT_MINUTES = 0.4
# All settings share it, so that they differ in nothing but what is studied.
_BATCH_SIZE = 16


Train: TypeAlias = Callable[..., TrainedCell]
"""`Study.train` for one seed and one run folder."""


class RunProgress(ProgressCallback):
    """The trainer's progress bar without a line for every evaluation."""

    def on_epoch_end(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        """Prints nothing."""


class Study(ABC):
    """A kind of study over one corpus.

    Attributes:
        setting_fields: The fields of the rows that identify a setting.
        varied: The field on the horizontal axis of its plots, and the name of that axis.
        settings: The settings, each a value for every one of `setting_fields`.
        equal_updates: Number of updates in an epoch of the setting with the fewest.
    """

    kind: ClassVar[str]
    title: ClassVar[Label]
    setting_fields: ClassVar[tuple[str, ...]]
    columns: ClassVar[tuple[Column, ...]]
    plots: ClassVar[tuple[MetricPlot | CurvePlot, ...]]
    varied: ClassVar[tuple[str, Label]]
    settings: Sequence[Mapping[str, Any]]
    equal_updates: int

    def __init__(
        self, corpus: TokenStream, config: StudyConfig, model_config: ModelConfig, trainer_config: TrainerConfig
    ) -> None:
        self.corpus = corpus
        self.parts: Parts = Parts(*corpus.split())
        self.config = config
        self.model_config = model_config
        self.trainer_config: TrainerConfig = replace(
            trainer_config,
            batch_size=trainer_config.batch_size or _BATCH_SIZE,
            # The default rate depends on the number of updates, in which settings may differ.
            learning_rate=trainer_config.learning_rate or default_learning_rate(None),
            max_epochs=None,
            max_steps=None,
            max_minutes=None,
            run_dir=None,
        )
        self._ngram_bits: dict[tuple[str, int], float | None] = {}
        self.prepare()

    def prepare(self) -> None:  # noqa: B027
        """Sets `settings` and `equal_updates` by corpus and options; a kind with fixed settings needs none."""

    @abstractmethod
    def run(self, setting: Mapping[str, Any], train: Train) -> dict[str, Any]:
        """Trains and measures one setting with one seed by a call of `train`, and returns the row without its key."""

    @staticmethod
    @abstractmethod
    def claims(rows: Rows) -> list[Claim]:
        """Judges common claims by the rows of a complete study."""

    @staticmethod
    @abstractmethod
    def name_setting(setting: Mapping[str, Any]) -> Label:
        """Names a setting, whose values may come from a damaged file, for a legend."""

    @staticmethod
    def name_line(setting: Mapping[str, Any]) -> str:
        """Names the line that a setting belongs to in plots; an empty name puts all settings on one line."""
        return ""

    @property
    def passes(self) -> int:
        """Passes over the training set with equal tokens, and over that of `equal_updates` by default."""
        return int(self.config.budget or _DEFAULT_PASSES)

    def vocabulary_of(self, train: TokenStream, **options: Any) -> Vocabulary:
        """Builds the vocabulary of a training set; options override those of the study."""
        return Vocabulary.from_stream(
            train, **{"min_freq": self.config.min_freq, "max_size": self.config.max_size, **options}
        )

    def updates_per_epoch(self, vocabulary: Vocabulary, train: TokenStream, **options: Any) -> int:
        """Counts the updates of an epoch; `options` are options of training that the setting changes."""
        config = replace(self.trainer_config, **options)
        ids = training_ids(train, vocabulary)
        return len(TrainingWindows(ids, batch_size=config.batch_size or 1, bptt_len=config.bptt_len))

    def train(
        self,
        parts: Parts,
        vocabulary: Vocabulary,
        *,
        seed: int,
        run_dir: Path | None,
        progress: bool = False,
        callbacks: Sequence[Callback] = (),
        **options: Any,
    ) -> TrainedCell:
        """Trains and measures a model under the equality of the study; raises Interrupted if the user interrupts it.

        `callbacks` are further callbacks of the trainer, `options` those options of training that the setting changes.
        """
        budgets: dict[str, dict[str, Any]] = {
            "tokens": {"max_epochs": self.passes},
            "updates": {"max_steps": self.config.budget or _DEFAULT_PASSES * self.equal_updates},
            "minutes": {"max_minutes": self.config.budget or _DEFAULT_MINUTES},
        }
        options = {**budgets[self.config.equality], **options, "seed": seed, "run_dir": run_dir}
        training = replace(self.trainer_config, **options)
        model = LSTMLanguageModel(vocabulary, replace(self.model_config, seed=seed))
        shown = [RunProgress()] if progress else []
        trainer = Trainer(model, parts.train, parts.valid, training, callbacks=[*shown, *callbacks], progress=False)
        records = trainer.fit(resume=True)
        if trainer.state.stop_reason == "interrupted":
            raise Interrupted
        cell = measure(trainer, parts, records, prompt=self.config.prompt)
        cell.row["ngram_bits_per_character"] = self._count_ngrams(parts, vocabulary)
        return cell

    def _count_ngrams(self, parts: Parts, vocabulary: Vocabulary) -> float | None:
        """Returns the test bits per character of an n-gram model, counted once for a vocabulary; None if memory is short."""
        # Neither the seed nor the options of training change it.
        key = vocabulary.fingerprint(), parts.train.num_tokens
        if key not in self._ngram_bits:
            try:
                ngram = NGramLanguageModel.from_stream(parts.train, vocabulary)
                self._ngram_bits[key] = evaluate(ngram, parts.test).bits_per_character
            except ConfigError as error:
                logger.warning("no n-gram model for comparison: %s", error)
                self._ngram_bits[key] = None
        return self._ngram_bits[key]
