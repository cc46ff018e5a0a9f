"""What training on does, epoch after epoch, and what more text does."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from typing_extensions import override

from zh_lstm_lm.training.callbacks import Callback
from zh_lstm_lm.studies.epoch_samples import EpochSamples
from zh_lstm_lm.evaluation.novelty import novelty
from zh_lstm_lm.models.config import ModelConfig
from zh_lstm_lm.studies.base import Study
from zh_lstm_lm.studies.cells import PASSAGE, Parts, train_cell
from zh_lstm_lm.studies.config import StudyConfig
from zh_lstm_lm.studies.epochs import judge_epochs
from zh_lstm_lm.studies.result import Claim
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.training.config import TrainerConfig
from zh_lstm_lm.corpus.vocabulary import Vocabulary

__all__ = ["EpochsStudy"]

_WORDS = 3  # in an n-gram that counts as new; longer ones nearly all are


class EpochsStudy(Study):
    """Trains on parts of the text of several sizes, each for as many tokens as the whole text gets.

    The part of share 1 tells what training on does; the others, what more text does.
    """

    title = "Epochs and the amount of text"

    def __init__(
        self, corpus: TokenStream, config: StudyConfig, model_config: ModelConfig, trainer_config: TrainerConfig
    ) -> None:
        super().__init__(corpus, config, model_config, trainer_config)
        self.settings = [{"train_share": share} for share in sorted(config.shares)]
        self._equal_updates = self.updates_per_epoch(self._vocabulary(self.parts.train), self.parts.train)

    def _vocabulary(self, train: TokenStream) -> Vocabulary:
        return Vocabulary.from_stream(train, min_freq=self.config.min_freq, max_size=self.config.max_size)

    @override
    def run(
        self, setting: Mapping[str, Any], seed: int, run_dir: Path | None, callbacks: Sequence[Callback]
    ) -> dict[str, Any] | None:
        share, prompt = setting["train_share"], self.config.prompt
        train = self.parts.train.split(valid=1 - share, test=0.0)[0] if share < 1 else self.parts.train
        vocabulary = self._vocabulary(train)
        training = self.training(seed, run_dir, equal_updates=self._equal_updates)
        if training.max_epochs is not None:  # passes over the whole text: as many tokens for its parts
            training = replace(training, max_epochs=None, max_steps=training.max_epochs * self._equal_updates)
        trained = train_cell(
            Parts(train, self.parts.valid, self.parts.test),
            vocabulary,
            replace(self.model_config, seed=seed),
            training,
            callbacks=[*callbacks, EpochSamples(prompt, max_characters=PASSAGE + len(prompt))],
            prompt=prompt,
        )
        if trained is None:
            return None
        passages = [record["sample"] for record in trained.history]
        found = [novelty(passage, train, max_n=_WORDS) for passage in passages]
        best = min(trained.history, key=lambda record: record["valid_loss"])
        return {
            **trained.row,
            "train_tokens": len(vocabulary.encode_stream(train)),
            "vocabulary_size": len(vocabulary),
            "best_epoch": best["epoch"],
            "passage_by_epoch": passages,
            "novelty_by_epoch": [passage.new_words[-1] for passage in found],
            "longest_copy_by_epoch": [passage.longest_copy for passage in found],
        }

    @override
    def claims(self, rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
        return judge_epochs(rows)
