"""What training on does, epoch after epoch, and what more text does."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from typing_extensions import override

from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.evaluation.novelty import novelty
from zh_lstm_lm.models.config import ModelConfig
from zh_lstm_lm.studies.base import Study
from zh_lstm_lm.studies.cells import PASSAGE, Parts, train_cell
from zh_lstm_lm.studies.config import StudyConfig
from zh_lstm_lm.studies.epoch_samples import EpochSamples
from zh_lstm_lm.studies.result import Claim, Text
from zh_lstm_lm.studies.spread import Difference, by_setting, compare, spread_of
from zh_lstm_lm.studies.verdicts import SETTLED, Rows, judge_all, judge_sign
from zh_lstm_lm.training.callbacks import Callback
from zh_lstm_lm.training.config import TrainerConfig

__all__ = ["EpochsStudy", "judge_epochs"]

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


def judge_epochs(rows: Rows) -> list[Claim]:
    """Judges what is claimed of training on, and of more text."""
    groups = {share: group for (share,), group in sorted(by_setting(rows, "train_share").items())}
    whole, smallest = groups[max(groups)], groups[min(groups)]
    curve = "valid_bits_per_character_by_epoch"
    falls = Difference(*(spread_of(row[curve][place] for row in whole) for place in (0, -1)))
    overfits = {share: _overfits(group, curve) for share, group in groups.items()}
    told = {share: f"{d.first:.3f} → {d.second:.3f}" for share, d in overfits.items()}
    text = compare(smallest, whole, "test_bits_per_character")
    novelty = Difference(*(spread_of(row["novelty_by_epoch"][place] for row in whole) for place in (0, -1)))
    return [
        judge_sign(
            "perplexity",
            Text(en="Perplexity falls epoch after epoch.", zh="困惑度随训练轮数下降。"),
            -falls.sign,
            Text(
                en=f"bits per character of the validation part: {falls.first:.3f} after the first epoch, "
                f"{falls.second:.3f} after the last",
                zh=f"验证集每字比特数：第一轮后 {falls.first:.3f}，最后一轮后 {falls.second:.3f}",
            ),
            Text(en="the whole text, the last epoch against the first", zh="全部文本，最后一轮与第一轮相比"),
        ),
        judge_all(
            "overfitting",
            Text(en="Training for too long overfits.", zh="训练过久会过拟合。"),
            [difference.sign > 0 for difference in overfits.values()],
            Text(
                en="bits per character of the validation part, after the best epoch → after the last, by share of the text: "
                + "; ".join(f"{share:g}: {figures}" for share, figures in told.items()),
                zh="验证集每字比特数，最好一轮后 → 最后一轮后，按所用文本比例："
                + "；".join(f"{share:g}：{figures}" for share, figures in told.items()),
            ),
            Text(
                en=f"the last epoch is worse than the best one, for each share of the text; {SETTLED['en']}",
                zh=f"对每个文本比例，最后一轮都差于最好的一轮；{SETTLED['zh']}",
            ),
        ),
        judge_sign(
            "novelty",
            Text(
                en="The longer the training, the less new is what the model writes.", zh="训练越久，写出的文字越不新。"
            ),
            -novelty.sign,
            Text(
                en=f"3-grams of words that the training text does not have: {novelty.first:.1%} after the first epoch, "
                f"{novelty.second:.1%} after the last",
                zh=f"训练文本中没有的三词组所占比例：第一轮后 {novelty.first:.1%}，最后一轮后 {novelty.second:.1%}",
            ),
            Text(en="the whole text, the last epoch against the first", zh="全部文本，最后一轮与第一轮相比"),
        ),
        judge_sign(
            "more_text",
            Text(en="More text makes a better model.", zh="文本越多，模型越好。"),
            -text.sign,
            Text(
                en=f"bits per character of the test part: {text.first:.3f} with {min(groups):g} of the text, "
                f"{text.second:.3f} with all of it",
                zh=f"测试集每字比特数：用 {min(groups):g} 的文本时 {text.first:.3f}，用全部文本时 {text.second:.3f}",
            ),
            Text(
                en="as many tokens of training, the whole text against the smallest share",
                zh="训练词数相同，全部文本与最小比例相比",
            ),
        ),
    ]


def _overfits(group: Rows, curve: str) -> Difference:
    """The epoch that is best on average, against the last one."""
    epochs = [spread_of(values) for values in zip(*(row[curve] for row in group), strict=True)]
    return Difference(min(epochs, key=lambda spread: spread.mean), epochs[-1])
