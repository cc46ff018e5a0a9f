"""The study of the number of epochs and the amount of training text."""

from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from zh_lstm_lm.evaluation.novelty import novelty
from zh_lstm_lm.studies.base import Study, Train
from zh_lstm_lm.studies.cells import PASSAGE
from zh_lstm_lm.studies.claims import (
    SETTLED,
    Change,
    Claim,
    Difference,
    Rows,
    by_setting,
    compare,
    judge_all,
    spread_of,
)
from zh_lstm_lm.studies.epoch_samples import EpochSamples
from zh_lstm_lm.studies.presentation import (
    BITS,
    QUALITY_COLUMNS,
    QUALITY_PLOTS,
    TEST_BITS,
    VALID_BY_EPOCH,
    Column,
    Label,
    by_epoch,
)

__all__ = ["EpochsStudy"]

# Nearly all longer n-grams are new.
_WORDS = 3
_CURVE = "valid_bits_per_character_by_epoch"
_EPOCHS = Label("全部文本的第一轮", "the first epoch of the whole text"), Label("最后一轮", "the last epoch")
_FALLS = Change(
    "perplexity", Label("困惑度随训练轮数下降。", "Perplexity falls epoch after epoch."),
    Label("验证集每字比特数", "bits per character on the validation set"), ".3f", holds=-1,
)  # fmt: skip
_NOVELTY = Change(
    "novelty", Label("训练越久，写出的文字越不新。", "The longer the training, the less novel the generated text."),
    Label("训练文本中没有的三词组所占比例", "word 3-grams that are not in the training set"), ".1%", holds=-1,
)  # fmt: skip
_MORE_TEXT = Change(
    "more_text", Label("文本越多，模型越好。", "More text makes a better model."), TEST_BITS, ".3f", holds=-1
)


class EpochsStudy(Study):
    """A study that trains on parts of the training set, each for as many tokens as the whole.

    Proportion 1 shows the effect of further epochs; the others, that of more text. Its rows have besides the common
    fields:

    - ``train_share``: the setting, a proportion of the training set, from the beginning of every document
    - ``train_tokens``: number of tokens in it
    - ``vocabulary_size``: size of its vocabulary
    - ``best_epoch``: epochs trained when the loss on the validation set was lowest
    - ``passage_by_epoch``: text generated after each epoch with seed 0
    - ``novelty_by_epoch``: proportion of each passage's word 3-grams that are not in the training set
    - ``longest_copy_by_epoch``: characters of the longest piece of each passage that is in the training set too
    """

    kind = "epochs"
    title = Label("轮数与文本的多少", "Epochs and the amount of text")
    setting_fields = ("train_share",)
    columns = (
        Column(Label("训练词数", "tokens"), "train_tokens", ",.0f"),
        Column(Label("轮数", "epochs"), "epochs", ",.1f"),
        Column(Label("最好的一轮", "best epoch"), "best_epoch", ",.1f"),
        *QUALITY_COLUMNS,
    )
    varied = ("train_tokens", Label("训练文本（词，对数）", "tokens of training text (log)"))
    plots = (
        VALID_BY_EPOCH,
        by_epoch(
            Label("训练比特/字，逐轮", "Training bits per character by epoch"),
            BITS,
            "train_bits_per_character_by_epoch",
        ),
        by_epoch(Label("新颖度，逐轮", "Novelty by epoch"), Label("新颖度", "novelty"), "novelty_by_epoch"),
        *QUALITY_PLOTS,
    )

    @override
    def prepare(self) -> None:
        self.settings = [{"train_share": share} for share in sorted(self.config.shares)]
        self.equal_updates = self.updates_per_epoch(self.vocabulary_of(self.parts.train), self.parts.train)

    @override
    def run(self, setting: Mapping[str, Any], train: Train) -> dict[str, Any]:
        share, prompt = setting["train_share"], self.config.prompt
        part = self.parts.train.split(valid=1 - share, test=0.0)[0] if share < 1 else self.parts.train
        vocabulary = self.vocabulary_of(part)
        # A part of the text gets as many tokens as these passes over the whole.
        equal = {"max_epochs": None, "max_steps": self.passes * self.equal_updates}
        cell = train(
            self.parts._replace(train=part),
            vocabulary,
            callbacks=[EpochSamples(prompt, max_characters=PASSAGE + len(prompt))],
            **(equal if self.config.equality == "tokens" else {}),
        )
        passages = [record["sample"] for record in cell.history]
        found = [novelty(passage, part, max_n=_WORDS) for passage in passages]
        return {
            **cell.row,
            "train_tokens": len(vocabulary.encode_stream(part)),
            "vocabulary_size": len(vocabulary),
            "best_epoch": cell.best_epoch,
            "passage_by_epoch": passages,
            "novelty_by_epoch": [passage.new_words[-1] for passage in found],
            "longest_copy_by_epoch": [passage.longest_copy for passage in found],
        }

    @staticmethod
    @override
    def name_setting(setting: Mapping[str, Any]) -> Label:
        share = setting["train_share"]
        shown = f"{100 * share:g} %" if isinstance(share, (int, float)) else "?"
        return Label(f"{shown} 文本", f"{shown} of the text")

    @staticmethod
    @override
    def claims(rows: Rows) -> list[Claim]:
        groups = {share: group for (share,), group in sorted(by_setting(rows, "train_share").items())}
        smallest, whole = groups[min(groups)], groups[max(groups)]
        bits, new = (
            Difference(*(spread_of(row[field][index] for row in whole) for index in (0, -1)))
            for field in (_CURVE, "novelty_by_epoch")
        )
        text = compare(smallest, whole, "test_bits_per_character")
        name = EpochsStudy.name_setting
        return [
            _FALLS.judge(bits, *_EPOCHS),
            _judge_overfitting(groups),
            _NOVELTY.judge(new, *_EPOCHS),
            _MORE_TEXT.judge(text, name(smallest[0]), name(whole[0])),
        ]


def _judge_overfitting(groups: Mapping[float, Rows]) -> Claim:
    """Judges by the last epoch against the one that is best on average, for each proportion of the text."""
    differences = {}
    for share, group in groups.items():
        epochs = [spread_of(values) for values in zip(*(row[_CURVE] for row in group), strict=True)]
        differences[share] = Difference(min(epochs, key=lambda spread: spread.mean), epochs[-1])
    shown = [f"{share:g}: {change.first:.3f} → {change.second:.3f}" for share, change in differences.items()]
    return judge_all(
        "overfitting",
        Label("训练过久会过拟合。", "Training for too long overfits."),
        [difference.sign > 0 for difference in differences.values()],
        Label(
            f"验证集每字比特数，最好一轮后 → 最后一轮后，按所用文本比例：{'；'.join(shown)}",
            "bits per character on the validation set, after the best epoch → after the last, by proportion of the text: "
            + "; ".join(shown),
        ),
        Label(
            f"对每个文本比例，最后一轮都差于最好的一轮；{SETTLED.zh}",
            f"the last epoch is worse than the best one, for each proportion of the text; {SETTLED.en}",
        ),
    )
