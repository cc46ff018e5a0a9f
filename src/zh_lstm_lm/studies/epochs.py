"""The study of the number of epochs and the amount of training text."""

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
from zh_lstm_lm.studies.cells import PASSAGE, Parts, Row, train_cell
from zh_lstm_lm.studies.config import StudyConfig
from zh_lstm_lm.studies.epoch_samples import EpochSamples
from zh_lstm_lm.studies.presentation import BITS, QUALITY_COLUMNS, QUALITY_PLOTS, VALID_BY_EPOCH, Column, by_epoch
from zh_lstm_lm.studies.spread import Difference, by_setting, compare, spread_of
from zh_lstm_lm.studies.verdicts import SETTLED, Claim, Rows, Text, judge_all, judge_sign
from zh_lstm_lm.training.callbacks import Callback
from zh_lstm_lm.training.config import TrainerConfig

__all__ = ["EpochsRow", "EpochsStudy"]

# Nearly all longer n-grams are new.
_WORDS = 3


class EpochsRow(Row, total=False):
    """A row of a study of epochs and of the amount of text.

    Attributes:
        train_share: The setting: proportion of the training set, from the beginning of every document.
        train_tokens: Number of tokens in it.
        vocabulary_size: Size of its vocabulary.
        best_epoch: Epochs trained when the loss on the validation set was lowest.
        passage_by_epoch: Text generated after each epoch with seed 0.
        novelty_by_epoch: Proportion of each passage's word 3-grams that are not in the training set.
        longest_copy_by_epoch: Characters of the longest piece of each passage that is in the training set too.
    """

    train_share: float
    train_tokens: int
    vocabulary_size: int
    best_epoch: float
    passage_by_epoch: list[str]
    novelty_by_epoch: list[float]
    longest_copy_by_epoch: list[int]


class EpochsStudy(Study):
    """A study that trains on parts of the training set, each for as many tokens as the whole.

    Proportion 1 shows the effect of further epochs; the others, that of more text.
    """

    kind = "epochs"
    title = Text(en="Epochs and the amount of text", zh="轮数与文本的多少")
    setting_fields = ("train_share",)
    columns = (
        Column(Text(en="tokens", zh="训练词数"), "train_tokens", ",.0f"),
        Column(Text(en="epochs", zh="轮数"), "epochs", ",.1f"),
        Column(Text(en="best epoch", zh="最好的一轮"), "best_epoch", ",.1f"),
        *QUALITY_COLUMNS,
    )
    varied = ("train_tokens", Text(en="tokens of training text (log)", zh="训练文本（词，对数）"))
    plots = (
        VALID_BY_EPOCH,
        by_epoch(
            Text(en="Training bits per character by epoch", zh="训练比特/字，逐轮"),
            BITS,
            "train_bits_per_character_by_epoch",
        ),
        by_epoch(Text(en="Novelty by epoch", zh="新颖度，逐轮"), Text(en="novelty", zh="新颖度"), "novelty_by_epoch"),
        *QUALITY_PLOTS,
    )

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
        if training.max_epochs is not None:
            # A part of the text gets as many tokens as these passes over the whole.
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
        return {
            **trained.row,
            "train_tokens": len(vocabulary.encode_stream(train)),
            "vocabulary_size": len(vocabulary),
            "best_epoch": trained.best_epoch,
            "passage_by_epoch": passages,
            "novelty_by_epoch": [passage.new_words[-1] for passage in found],
            "longest_copy_by_epoch": [passage.longest_copy for passage in found],
        }

    @staticmethod
    @override
    def name_setting(setting: Mapping[str, Any]) -> Text:
        share = setting["train_share"]
        told = f"{100 * share:g} %" if isinstance(share, (int, float)) else "?"
        return Text(en=f"{told} of the text", zh=f"{told} 文本")

    @staticmethod
    @override
    def claims(rows: Rows) -> list[Claim]:
        return _judge(rows)


def _judge(rows: Rows) -> list[Claim]:
    """Judges the claims about further epochs and more text."""
    groups = {share: group for (share,), group in sorted(by_setting(rows, "train_share").items())}
    whole, smallest = groups[max(groups)], groups[min(groups)]
    curve = "valid_bits_per_character_by_epoch"
    falls = Difference(*(spread_of(row[curve][index] for row in whole) for index in (0, -1)))
    overfits = {share: _overfits(group, curve) for share, group in groups.items()}
    told = {share: f"{d.first:.3f} → {d.second:.3f}" for share, d in overfits.items()}
    text = compare(smallest, whole, "test_bits_per_character")
    novelty = Difference(*(spread_of(row["novelty_by_epoch"][index] for row in whole) for index in (0, -1)))
    return [
        judge_sign(
            "perplexity",
            Text(en="Perplexity falls epoch after epoch.", zh="困惑度随训练轮数下降。"),
            -falls.sign,
            Text(
                en=f"bits per character on the validation set: {falls.first:.3f} after the first epoch, "
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
                en="bits per character on the validation set, after the best epoch → after the last, by proportion of the text: "
                + "; ".join(f"{share:g}: {figures}" for share, figures in told.items()),
                zh="验证集每字比特数，最好一轮后 → 最后一轮后，按所用文本比例："
                + "；".join(f"{share:g}：{figures}" for share, figures in told.items()),
            ),
            Text(
                en=f"the last epoch is worse than the best one, for each proportion of the text; {SETTLED['en']}",
                zh=f"对每个文本比例，最后一轮都差于最好的一轮；{SETTLED['zh']}",
            ),
        ),
        judge_sign(
            "novelty",
            Text(en="The longer the training, the less novel the generated text.", zh="训练越久，写出的文字越不新。"),
            -novelty.sign,
            Text(
                en=f"word 3-grams that are not in the training set: {novelty.first:.1%} after the first epoch, "
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
                en=f"bits per character on the test set: {text.first:.3f} with {min(groups):g} of the text, "
                f"{text.second:.3f} with all of it",
                zh=f"测试集每字比特数：用 {min(groups):g} 的文本时 {text.first:.3f}，用全部文本时 {text.second:.3f}",
            ),
            Text(
                en="the same number of training tokens, the whole text against the smallest proportion",
                zh="训练词数相同，全部文本与最小比例相比",
            ),
        ),
    ]


def _overfits(group: Rows, curve: str) -> Difference:
    """Compares the last epoch with the one that is best on average."""
    epochs = [spread_of(values) for values in zip(*(row[curve] for row in group), strict=True)]
    return Difference(min(epochs, key=lambda spread: spread.mean), epochs[-1])
