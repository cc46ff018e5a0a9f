"""The study of BPTT segment lengths."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from typing_extensions import override

from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.models.config import ModelConfig
from zh_lstm_lm.studies.base import Study
from zh_lstm_lm.studies.cells import Row, train_cell
from zh_lstm_lm.studies.config import StudyConfig
from zh_lstm_lm.studies.context_use import context_used, loss_by_context, loss_by_position
from zh_lstm_lm.studies.gradient_flow import gradient_by_distance
from zh_lstm_lm.studies.presentation import (
    LOSS,
    QUALITY_COLUMNS,
    QUALITY_PLOTS,
    VALID_BY_EPOCH,
    Column,
    CurvePlot,
    MetricPlot,
)
from zh_lstm_lm.studies.spread import Difference, by_setting, compare, spread_of
from zh_lstm_lm.studies.verdicts import Claim, Rows, Text, Verdict, judge_all, judge_sign
from zh_lstm_lm.training.callbacks import Callback
from zh_lstm_lm.training.config import TrainerConfig

__all__ = ["SeqLenRow", "SeqLenStudy"]

_CONTEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# A gradient below this proportion of that one token back has vanished.
_VANISHED = 0.01
# A gradient beyond this multiple of the mean norm has exploded.
_EXPLODED = 10.0
_BACK = Text(en="tokens back (log)", zh="往回的距离（词，对数）")


class SeqLenRow(Row, total=False):
    """A row of a study of BPTT segment lengths.

    Attributes:
        bptt_len: The setting: segment length in tokens.
        gradient_by_distance: Norm of the gradient of the loss with respect to the hidden state k tokens before,
            averaged over 32 positions of the test set, from k = 1.
        cell_gradient_by_distance: The same with respect to the cell state.
        loss_by_position: Loss on the test set after 1, 2, 3 … tokens read from the zero state.
        context_tokens: Numbers of preceding tokens that the model reads for `loss_by_context`.
        loss_by_context: Loss on the test set with each of these contexts, at the same positions.
        context_used_tokens: The shortest context whose loss is within 0.01 nats of the lowest (after Khandelwal et
            al., 2018, who take 1 % of perplexity).
    """

    bptt_len: int
    gradient_by_distance: list[float]
    cell_gradient_by_distance: list[float]
    loss_by_position: list[float]
    context_tokens: list[int]
    loss_by_context: list[float]
    context_used_tokens: int


class SeqLenStudy(Study):
    """A study that trains with BPTT segments of several lengths, all else equal."""

    kind = "seq-len"
    title = Text(en="The length of BPTT segments", zh="训练窗口的长度")
    setting_fields = ("bptt_len",)
    columns = (
        Column(Text(en="updates", zh="更新次数"), "updates", ",.0f"),
        Column(Text(en="µs/token", zh="微秒/词"), "microseconds_per_token", ",.0f"),
        Column(Text(en="MB", zh="内存 MB"), "memory_mb", ",.1f"),
        *QUALITY_COLUMNS,
        Column(Text(en="gradient norm", zh="梯度范数"), "gradient_norm", ".2f"),
        Column(Text(en="clipped", zh="裁剪比例"), "clipped_share", ".0%"),
        Column(Text(en="context used", zh="用到的上文（词）"), "context_used_tokens", ",.0f"),
    )
    varied = ("bptt_len", Text(en="segment length in tokens (log)", zh="窗口长度（词，对数）"))
    plots = (
        *QUALITY_PLOTS,
        MetricPlot(
            Text(en="Training time per token", zh="训练一个词的时间"),
            Text(en="µs per token", zh="微秒/词"),
            ("microseconds_per_token",),
        ),
        MetricPlot(Text(en="Memory of an update", zh="一次更新占用的内存"), Text(en="MB", zh="MB"), ("memory_mb",)),
        MetricPlot(
            Text(en="Gradient norm before clipping", zh="梯度的范数（裁剪之前）"),
            Text(en="norm", zh="范数"),
            ("gradient_norm", "largest_gradient_norm"),
            (Text(en="mean", zh="平均"), Text(en="largest", zh="最大")),
        ),
        MetricPlot(Text(en="Clipped updates", zh="被裁剪的更新"), Text(en="proportion", zh="比例"), ("clipped_share",)),
        MetricPlot(Text(en="Context used", zh="真正用到的上文"), Text(en="tokens", zh="词"), ("context_used_tokens",)),
        CurvePlot(
            Text(en="Gradient k tokens back", zh="梯度能传回多远"),
            _BACK,
            Text(en="gradient of the hidden state", zh="对隐状态的梯度"),
            "gradient_by_distance",
            log_x=True,
            log_y=True,
        ),
        CurvePlot(
            Text(en="Gradient through the cell state", zh="经由记忆单元的梯度"),
            _BACK,
            Text(en="gradient of the cell state", zh="对记忆单元的梯度"),
            "cell_gradient_by_distance",
            log_x=True,
            log_y=True,
        ),
        CurvePlot(
            Text(en="Loss by position after the zero state", zh="状态清零之后的损失"),
            Text(en="tokens read (log)", zh="清零之后的词数（对数）"),
            LOSS,
            "loss_by_position",
            log_x=True,
        ),
        CurvePlot(
            Text(en="Loss with a context of k tokens", zh="只看最近 k 个词时的损失"),
            Text(en="tokens of context (log)", zh="看到的词数（对数）"),
            LOSS,
            "loss_by_context",
            positions="context_tokens",
            log_x=True,
        ),
        VALID_BY_EPOCH,
    )

    def __init__(
        self, corpus: TokenStream, config: StudyConfig, model_config: ModelConfig, trainer_config: TrainerConfig
    ) -> None:
        super().__init__(corpus, config, model_config, trainer_config)
        self.vocabulary = Vocabulary.from_stream(self.parts.train, min_freq=config.min_freq, max_size=config.max_size)
        self.settings = [{"bptt_len": length} for length in sorted(config.lengths)]
        self._longest = longest = max(config.lengths)
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

    @staticmethod
    @override
    def name_setting(setting: Mapping[str, Any]) -> Text:
        length = setting["bptt_len"]
        return Text(en=f"{length} tokens", zh=f"{length} 词")

    @staticmethod
    @override
    def claims(rows: Rows) -> list[Claim]:
        return _judge(rows)


def _judge(rows: Rows) -> list[Claim]:
    """Judges the claims about BPTT segment lengths."""
    groups = {length: group for (length,), group in sorted(by_setting(rows, "bptt_len").items())}
    short, long = min(groups), max(groups)
    gap, quality = (compare(groups[short], groups[long], f"{part}_bits_per_character").sign for part in ("gap", "test"))

    def judge(
        name: str, claim: Text, field: str, form: str, unit: Text, *, sign: int | None = None, rule: Text | None = None
    ) -> Claim:
        """Judges the longest segments against the shortest, by default whether the field is larger."""
        difference = compare(groups[short], groups[long], field)
        first, second = format(difference.first, form), format(difference.second, form)
        figure = Text(
            en=f"{unit['en']}: {first} with segments of {short}, {second} with segments of {long}",
            zh=f"{unit['zh']}：窗口 {short} 时 {first}，窗口 {long} 时 {second}",
        )
        rule = rule or Text(
            en=f"{unit['en']}, the longest segments against the shortest", zh=f"{unit['zh']}，最长窗口与最短窗口相比"
        )
        return judge_sign(name, claim, difference.sign if sign is None else sign, figure, rule)

    return [
        judge(
            "time",
            Text(
                en="Longer segments take longer to train on the same text.",
                zh="窗口越长，读完同样的文本所需的训练时间越长。",
            ),
            "microseconds_per_token",
            ",.0f",
            Text(en="microseconds per token", zh="每词微秒数"),
        ),
        judge(
            "memory",
            Text(en="Longer segments take more memory.", zh="窗口越长，占用的内存越多。"),
            "memory_mb",
            ",.1f",
            Text(en="megabytes of an update", zh="一次更新占用的兆字节数"),
        ),
        _judge_vanishing(groups[long], long),
        _judge_explosion(groups[long], long),
        judge(
            "generalisation",
            Text(en="Longer segments generalise better.", zh="窗口越长，泛化越好。"),
            "gap_bits_per_character",
            ".3f",
            Text(en="bits per character, test minus training", zh="测试集减训练集的每字比特数"),
            sign=0 if gap < 0 < quality else -gap,
            rule=Text(
                en="the gap between test and training loss, the longest segments against the shortest; a smaller gap does "
                "not count if the test loss is higher, since a model that has learned less has a smaller gap too",
                zh="测试损失与训练损失之差，最长窗口与最短窗口相比；若测试损失本身更高，差距变小也不说明问题，因为学得少的模型差距也小",
            ),
        ),
        judge(
            "prediction",
            Text(en="Longer segments predict better.", zh="窗口越长，预测越准。"),
            "test_bits_per_character",
            ".3f",
            Text(en="bits per character on the test set", zh="测试集每字比特数"),
            sign=-quality,
        ),
        judge(
            "context",
            Text(en="Longer segments teach the model to use more context.", zh="窗口越长，模型学会利用的上文越长。"),
            "context_used_tokens",
            ",.0f",
            Text(en="tokens of context used", zh="实际利用的上文词数"),
            rule=Text(
                en="the shortest context whose loss is within 0.01 nats of the lowest, the longest segments against the "
                "shortest",
                zh="损失比最低值高出不超过 0.01 奈特所需的最少词数，最长窗口与最短窗口相比",
            ),
        ),
        _judge_too_long(groups),
    ]


def _judge_vanishing(group: Rows, length: int) -> Claim:
    """Judges whether under 1 % of the gradient arrives at the beginning of a segment, in both parts of the state."""
    paths = ("gradient_by_distance", "cell_gradient_by_distance")
    hidden, cell = ([row[path][length - 1] / (row[path][0] or 1.0) for row in group] for path in paths)
    reach = spread_of(_reach(row["cell_gradient_by_distance"][:length]) for row in group)
    return judge_all(
        "vanishing",
        Text(en="Over long segments the gradient vanishes.", zh="窗口很长时，梯度会消失。"),
        [max(pair) < _VANISHED for pair in zip(hidden, cell, strict=True)],
        Text(
            en=f"of the gradient one token back, {_percent(hidden)} (hidden state) and {_percent(cell)} (cell "
            f"state) arrive {length} tokens back; in the cell state it is above 1 % for {reach:.0f} tokens",
            zh=f"与前一个词处的梯度相比，{length} 个词之前有 {_percent(hidden)}（隐状态）和 "
            f"{_percent(cell)}（记忆单元）；记忆单元的梯度在 {reach:.0f} 个词以内高于 1 %",
        ),
        Text(
            en=f"under 1 % of the gradient one token back arrives {length} tokens back, in hidden and cell state, with "
            "every seed",
            zh=f"每个种子下，{length} 个词之前的梯度（隐状态与记忆单元）都不到前一个词处的 1 %",
        ),
    )


def _percent(values: Sequence[float]) -> str:
    """Formats a mean proportion in percent, or with an exponent below 0.1 %."""
    spread = spread_of(values)
    return f"{spread:.1%}" if spread.mean >= 0.001 else f"{spread:.1e}"


def _reach(norms: Sequence[float]) -> int:
    """Counts the tokens back to the first gradient below the bound."""
    return next((k for k, norm in enumerate(norms) if norm < _VANISHED * norms[0]), len(norms))


def _judge_explosion(group: Rows, length: int) -> Claim:
    """Judges whether the largest gradient norm exceeds ten times the mean norm."""
    ratios = [row["largest_gradient_norm"] / row["gradient_norm"] for row in group]
    clipped = spread_of(row["clipped_share"] for row in group)
    return judge_all(
        "explosion",
        Text(en="Over long segments the gradient explodes.", zh="窗口很长时，梯度会爆炸。"),
        [ratio > _EXPLODED for ratio in ratios],
        Text(
            en=f"with segments of {length} the largest norm is {spread_of(ratios):.1f} times the mean one; "
            f"{clipped:.0%} of the updates are clipped",
            zh=f"窗口 {length} 时，最大范数是平均范数的 {spread_of(ratios):.1f} 倍；{clipped:.0%} 的更新被裁剪",
        ),
        Text(
            en=f"the largest gradient norm before clipping is more than {_EXPLODED:.0f} times the mean one, with every seed",
            zh=f"每个种子下，裁剪前最大梯度范数都超过平均值的 {_EXPLODED:.0f} 倍",
        ),
    )


def _judge_too_long(groups: Mapping[int, Rows]) -> Claim:
    """Judges whether the longest segments are worse than the best ones."""
    bits = {length: spread_of(row["test_bits_per_character"] for row in group) for length, group in groups.items()}
    best, longest = min(bits, key=lambda length: bits[length].mean), max(bits)
    verdict: Verdict = (
        "does not hold" if best == longest else "holds" if Difference(bits[best], bits[longest]).sign > 0 else "depends"
    )
    return Claim(
        name="too_long",
        claim=Text(en="Segments that are too long hurt.", zh="窗口过长反而有害。"),
        verdict=verdict,
        figure=Text(
            en=f"the best segments are those of {best}: {bits[best]:.3f} bits per character on the test set, those of "
            f"{longest}: {bits[longest]:.3f}",
            zh=f"最好的窗口是 {best}：测试集每字 {bits[best]:.3f} 比特；窗口 {longest}：{bits[longest]:.3f}",
        ),
        rule=Text(
            en="the best segments are not the longest, and the longest are worse by more than three standard errors of the "
            "difference",
            zh="最好的窗口不是最长的，且最长窗口的差距超过差值标准误的三倍",
        ),
    )
