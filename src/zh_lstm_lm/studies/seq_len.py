"""What the length of the windows does, over which gradients flow back in training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from typing_extensions import override

from zh_lstm_lm.training.callbacks import Callback
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.models.config import ModelConfig
from zh_lstm_lm.studies.base import Study
from zh_lstm_lm.studies.cells import train_cell
from zh_lstm_lm.studies.config import StudyConfig
from zh_lstm_lm.studies.context_use import context_used, loss_by_context, loss_by_position
from zh_lstm_lm.studies.gradient_flow import gradient_by_distance
from zh_lstm_lm.studies.result import Claim
from zh_lstm_lm.studies.seq_len import judge_seq_len
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.training.config import TrainerConfig
from zh_lstm_lm.corpus.vocabulary import Vocabulary

__all__ = ["SeqLenStudy"]

_CONTEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class SeqLenStudy(Study):
    """Trains with windows of several lengths, everything else equal."""

    title = "The length of the training windows"

    def __init__(
        self, corpus: TokenStream, config: StudyConfig, model_config: ModelConfig, trainer_config: TrainerConfig
    ) -> None:
        super().__init__(corpus, config, model_config, trainer_config)
        self.vocabulary = Vocabulary.from_stream(self.parts.train, min_freq=config.min_freq, max_size=config.max_size)
        self.settings = [{"bptt_len": length} for length in sorted(config.lengths)]
        self._longest = longest = max(config.lengths)
        lanes = self.trainer_config.batch_size or 1
        train, test = (len(self.vocabulary.encode_stream(part)) for part in (self.parts.train, self.parts.test))
        if longest > train // lanes:
            raise ConfigError(
                f"lengths: {longest} is longer than the {train // lanes:,} tokens of a lane ({train:,} tokens of training "
                f"text in {lanes} lanes); give shorter lengths, a smaller batch_size, or more text"
            )
        if longest + 2 > test:
            raise ConfigError(
                f"lengths: {longest} is longer than the test part of {test:,} tokens; give shorter lengths or more text"
            )
        self._equal_updates = self.updates_per_epoch(self.vocabulary, self.parts.train, bptt_len=longest)

    @override
    def run(
        self, setting: Mapping[str, Any], seed: int, run_dir: Path | None, callbacks: Sequence[Callback]
    ) -> dict[str, Any] | None:
        trained = train_cell(
            self.parts,
            self.vocabulary,
            replace(self.model_config, seed=seed),
            self.training(seed, run_dir, equal_updates=self._equal_updates, **setting),
            callbacks=callbacks,
            prompt=self.config.prompt,
        )
        if trained is None:
            return None
        model, ids = trained.model, trained.test_ids
        hidden, cell = gradient_by_distance(model, ids, max_distance=self._longest)
        contexts = [tokens for tokens in _CONTEXTS if tokens == 1 or 2 * tokens < len(ids)]
        losses = loss_by_context(model, ids, context_tokens=contexts)
        return {
            **trained.row,
            "gradient_by_distance": hidden,
            "cell_gradient_by_distance": cell,
            "loss_by_position": loss_by_position(model, ids, length=self._longest),
            "context_tokens": contexts,
            "loss_by_context": losses,
            "context_used_tokens": context_used(contexts, losses),
        }

    @override
    def claims(self, rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
        return judge_seq_len(rows)
