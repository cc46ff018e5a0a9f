"""What the vocabulary does: its size, the spelling of what is outside, words or characters, the segmenter."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from typing_extensions import override

from zh_lstm_lm.training.callbacks import Callback
from zh_lstm_lm.errors import MissingDependencyError
from zh_lstm_lm.models.config import ModelConfig
from zh_lstm_lm.studies.base import Study
from zh_lstm_lm.studies.cells import Parts, train_cell
from zh_lstm_lm.studies.config import StudyConfig
from zh_lstm_lm.studies.result import Claim
from zh_lstm_lm.studies.vocabularies import judge_vocabulary
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.training.config import TrainerConfig
from zh_lstm_lm.corpus.vocabulary import Vocabulary

__all__ = ["VocabularyStudy"]

_COMPARED = ("jieba", "rjieba", "characters")


class VocabularyStudy(Study):
    """Trains with vocabularies of several sizes, with ``<unk>`` in place of spelling, and over other tokens."""

    title = "The vocabulary: size, spelling, words and characters"

    def __init__(
        self, corpus: TokenStream, config: StudyConfig, model_config: ModelConfig, trainer_config: TrainerConfig
    ) -> None:
        super().__init__(corpus, config, model_config, trainer_config)
        self._own = corpus.tokenizer.name or type(corpus.tokenizer.inner).__name__
        self._parts = {self._own: self.parts}
        for name in config.tokenizers or _COMPARED:
            try:
                if name not in self._parts:
                    other = TokenStream.from_texts(corpus.texts(), tokenizer=name, normalize=corpus.normalize)
                    self._parts[name] = Parts(*other.split())
            except MissingDependencyError:
                if config.tokenizers is not None:
                    raise
        whole = len(self._vocabulary(self._own, "characters", config.max_size))
        sizes = config.max_sizes or (whole // 4, whole // 2, config.max_size)
        self.settings = [
            *({"tokenizer": self._own, "unknown": "characters", "max_size": size} for size in sizes),
            {"tokenizer": self._own, "unknown": "unk", "max_size": config.max_size},
            *(
                {"tokenizer": name, "unknown": "characters", "max_size": config.max_size}
                for name in self._parts
                if name != self._own
            ),
        ]
        self._equal_updates = min(
            self.updates_per_epoch(self._vocabulary(**setting), self._parts[setting["tokenizer"]].train)
            for setting in self.settings
        )

    def _vocabulary(self, tokenizer: str, unknown: str, max_size: int | None) -> Vocabulary:
        train = self._parts[tokenizer].train
        return Vocabulary.from_stream(train, min_freq=self.config.min_freq, max_size=max_size, unknown=unknown)

    @override
    def run(
        self, setting: Mapping[str, Any], seed: int, run_dir: Path | None, callbacks: Sequence[Callback]
    ) -> dict[str, Any] | None:
        parts, vocabulary = self._parts[setting["tokenizer"]], self._vocabulary(**setting)
        trained = train_cell(
            parts,
            vocabulary,
            replace(self.model_config, seed=seed),
            self.training(seed, run_dir, equal_updates=self._equal_updates),
            callbacks=callbacks,
            prompt=self.config.prompt,
        )
        if trained is None:
            return None
        tokens_per_character = len(vocabulary.encode_stream(parts.train)) / parts.train.num_characters
        return {
            **trained.row,
            "vocabulary_size": len(vocabulary),
            "characters_per_token": parts.test.num_characters / trained.test.num_tokens,
            "unknown_rate": trained.test.unknown_rate,
            "microseconds_per_character": trained.row["microseconds_per_token"] * tokens_per_character,
        }

    @override
    def claims(self, rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
        return judge_vocabulary(rows)
