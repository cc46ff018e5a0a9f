"""The study of BPTT segment lengths."""

from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.studies.base import Study, Train
from zh_lstm_lm.studies.claims import (
    SETTLED,
    Change,
    Claim,
    Difference,
    Rows,
    Verdict,
    by_setting,
    compare,
    judge_all,
    make_claim,
    spread_of,
)
from zh_lstm_lm.studies.context_use import context_used, loss_by_context, loss_by_position
from zh_lstm_lm.studies.presentation import (
    LOSS,
    QUALITY_COLUMNS,
    QUALITY_PLOTS,
    TEST_BITS,
    VALID_BY_EPOCH,
    Column,
    CurvePlot,
    Label,
    MetricPlot,
)

__all__ = ["SeqLenStudy"]

_CONTEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# A gradient beyond this multiple of the mean norm has exploded.
_EXPLODED = 10.0
_CHANGES = {
    "microseconds_per_token": Change(
        "time", Label("窗口越长，读完同样的文本所需的训练时间越长。", "Longer segments take longer to train on the same text."),
        Label("每词微秒数", "microseconds per token"), ",.0f", holds=1,
    ),
    "memory_mb": Change(
        "memory", Label("窗口越长，占用的内存越多。", "Longer segments take more memory."),
        Label("一次更新占用的兆字节数", "megabytes of an update"), ",.1f", holds=1,
    ),
    "test_bits_per_character": Change(
        "prediction", Label("窗口越长，预测越准。", "Longer segments predict better."), TEST_BITS, ".3f", holds=-1
    ),
    "context_used_tokens": Change(
        "context", Label("窗口越长，模型学会利用的上文越长。", "Longer segments teach the model to use more context."),
        Label("实际利用的上文词数", "tokens of context used"), ",.0f", holds=1,
        rule=Label(
            "损失比最低值高出不超过 0.01 奈特所需的最少词数，最长窗口与最短窗口相比",
            "the shortest context whose loss is within 0.01 nats of the lowest, the longest segments against the shortest",
        ),
    ),
}  # fmt: skip
_GAP = Change(
    "generalisation", Label("窗口越长，泛化越好。", "Longer segments generalise better."),
    Label("测试集减训练集的每字比特数", "bits per character, test minus training"), ".3f", holds=-1,
    rule=Label(
        "测试损失与训练损失之差，最长窗口与最短窗口相比；若测试损失本身更高，差距变小也不说明问题，因为学得少的模型差距也小",
        "the gap between test and training loss, the longest segments against the shortest; a smaller gap does not count "
        "if the test loss is higher, since a model that has learned less has a smaller gap too",
    ),
)  # fmt: skip


class SeqLenStudy(Study):
    """A study that trains with BPTT segments of several lengths, all else equal.

    Its rows have besides the common fields:

    - ``bptt_len``: the setting, the length of segments in tokens
    - ``loss_by_position``: loss on the test set after 1, 2, 3 … tokens read from the zero state
    - ``context_tokens``: numbers of preceding tokens that the model reads for ``loss_by_context``
    - ``loss_by_context``: loss on the test set with each of these contexts, at the same positions
    - ``context_used_tokens``: the shortest context whose loss is within 0.01 nats of the lowest (after Khandelwal et al.,
      2018, who take 1 % of perplexity)
    """

    kind = "seq-len"
    title = Label("训练窗口的长度", "The length of BPTT segments")
    setting_fields = ("bptt_len",)
    columns = (
        Column(Label("更新次数", "updates"), "updates", ",.0f"),
        Column(Label("微秒/词", "µs/token"), "microseconds_per_token", ",.0f"),
        Column(Label("内存 MB", "MB"), "memory_mb", ",.1f"),
        *QUALITY_COLUMNS,
        Column(Label("梯度范数", "gradient norm"), "gradient_norm", ".2f"),
        Column(Label("裁剪比例", "clipped"), "clipped_share", ".0%"),
        Column(Label("用到的上文（词）", "context used"), "context_used_tokens", ",.0f"),
    )
    varied = ("bptt_len", Label("窗口长度（词，对数）", "segment length in tokens (log)"))
    plots = (
        *QUALITY_PLOTS,
        MetricPlot(Label("训练一个词的时间", "Training time per token"), Label("微秒/词", "µs per token"), ("microseconds_per_token",)),
        MetricPlot(Label("一次更新占用的内存", "Memory of an update"), Label("MB", "MB"), ("memory_mb",)),
        MetricPlot(
            Label("梯度的范数（裁剪之前）", "Gradient norm before clipping"), Label("范数", "norm"),
            ("gradient_norm", "largest_gradient_norm"), (Label("平均", "mean"), Label("最大", "largest")),
        ),
        MetricPlot(Label("被裁剪的更新", "Clipped updates"), Label("比例", "proportion"), ("clipped_share",)),
        MetricPlot(Label("真正用到的上文", "Context used"), Label("词", "tokens"), ("context_used_tokens",)),
        CurvePlot(
            Label("状态清零之后的损失", "Loss by position after the zero state"),
            Label("清零之后的词数（对数）", "tokens read (log)"), LOSS, "loss_by_position", log_x=True,
        ),
        CurvePlot(
            Label("只看最近 k 个词时的损失", "Loss with a context of k tokens"),
            Label("看到的词数（对数）", "tokens of context (log)"), LOSS, "loss_by_context", "context_tokens", log_x=True,
        ),
        VALID_BY_EPOCH,
    )  # fmt: skip

    @override
    def prepare(self) -> None:
        self.vocabulary: Vocabulary = self.vocabulary_of(self.parts.train)
        self.settings = [{"bptt_len": length} for length in sorted(self.config.lengths)]
        self._longest = longest = max(self.config.lengths)
        rows = self.trainer_config.batch_size or 1
        train, test = (len(self.vocabulary.encode_stream(part)) for part in (self.parts.train, self.parts.test))
        if longest > train // rows:
            raise ConfigError(
                f"lengths: {longest} exceeds the {train // rows:,} tokens of a batch row ({train:,} tokens of training "
                f"text in {rows} rows); give shorter lengths, a smaller batch_size, or more text"
            )
        if longest + 2 > test:
            raise ConfigError(
                f"lengths: {longest} exceeds the {test:,} tokens of the test set; give shorter lengths or more text"
            )
        self.equal_updates = self.updates_per_epoch(self.vocabulary, self.parts.train, bptt_len=longest)

    @override
    def run(self, setting: Mapping[str, Any], train: Train) -> dict[str, Any]:
        cell = train(self.parts, self.vocabulary, **setting)
        model, ids = cell.model, cell.test_ids
        contexts = [tokens for tokens in _CONTEXTS if tokens == 1 or 2 * tokens < len(ids)]
        losses = loss_by_context(model, ids, context_tokens=contexts)
        return {
            **cell.row,
            "loss_by_position": loss_by_position(model, ids, length=self._longest),
            "context_tokens": contexts,
            "loss_by_context": losses,
            "context_used_tokens": context_used(contexts, losses),
        }

    @staticmethod
    @override
    def name_setting(setting: Mapping[str, Any]) -> Label:
        length = setting["bptt_len"]
        return Label(f"{length} 词", f"{length} tokens")

    @staticmethod
    @override
    def claims(rows: Rows) -> list[Claim]:
        groups = {length: group for (length,), group in sorted(by_setting(rows, "bptt_len").items())}
        short, long = min(groups), max(groups)
        ends = Label(f"窗口 {short}", f"segments of {short}"), Label(f"窗口 {long}", f"segments of {long}")
        differences = {
            field: compare(groups[short], groups[long], field) for field in (*_CHANGES, "gap_bits_per_character")
        }
        gap = differences["gap_bits_per_character"]
        unsettled = gap.sign < 0 < differences["test_bits_per_character"].sign
        return [
            *(change.judge(differences[field], *ends) for field, change in _CHANGES.items()),
            _GAP.judge(gap, *ends, sign=0 if unsettled else None),
            _judge_explosion(groups[long], long),
            _judge_too_long(groups),
        ]


def _judge_explosion(group: Rows, length: int) -> Claim:
    """Judges by the ratio of the largest gradient norm to the mean norm."""
    ratios = [row["largest_gradient_norm"] / row["gradient_norm"] for row in group]
    clipped = spread_of(row["clipped_share"] for row in group)
    return judge_all(
        "explosion",
        Label("窗口很长时，梯度会爆炸。", "Over long segments the gradient explodes."),
        [ratio > _EXPLODED for ratio in ratios],
        Label(
            f"窗口 {length} 时，最大范数是平均范数的 {spread_of(ratios):.1f} 倍；{clipped:.0%} 的更新被裁剪",
            f"with segments of {length} the largest norm is {spread_of(ratios):.1f} times the mean one; "
            f"{clipped:.0%} of the updates are clipped",
        ),
        Label(
            f"每个种子下，裁剪前最大梯度范数都超过平均值的 {_EXPLODED:.0f} 倍",
            f"the largest gradient norm before clipping is more than {_EXPLODED:.0f} times the mean one, with every seed",
        ),
    )


def _judge_too_long(groups: Mapping[int, Rows]) -> Claim:
    """Judges by the longest segments against the best ones."""
    bits = {length: spread_of(row["test_bits_per_character"] for row in group) for length, group in groups.items()}
    best, longest = min(bits, key=lambda length: bits[length].mean), max(bits)
    verdict: Verdict = (
        "does not hold" if best == longest else "holds" if Difference(bits[best], bits[longest]).sign > 0 else "depends"
    )
    return make_claim(
        "too_long",
        Label("窗口过长反而有害。", "Segments that are too long hurt."),
        verdict,
        Label(
            f"最好的窗口是 {best}：测试集每字 {bits[best]:.3f} 比特；窗口 {longest}：{bits[longest]:.3f}",
            f"the best segments are those of {best}: {bits[best]:.3f} bits per character on the test set, those of "
            f"{longest}: {bits[longest]:.3f}",
        ),
        Label(f"最好的窗口不是最长的，且{SETTLED.zh}", f"the best segments are not the longest, and {SETTLED.en}"),
    )
