"""What the length of the windows does, over which gradients flow back in training."""

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
from zh_lstm_lm.studies.cells import train_cell
from zh_lstm_lm.studies.config import StudyConfig
from zh_lstm_lm.studies.context_use import context_used, loss_by_context, loss_by_position
from zh_lstm_lm.studies.gradient_flow import gradient_by_distance
from zh_lstm_lm.studies.result import Claim, Text, Verdict
from zh_lstm_lm.studies.spread import Difference, by_setting, compare, spread_of
from zh_lstm_lm.studies.verdicts import Rows, judge_all, judge_sign
from zh_lstm_lm.training.callbacks import Callback
from zh_lstm_lm.training.config import TrainerConfig

__all__ = ["SeqLenStudy", "judge_seq_len"]

_CONTEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

_VANISHED = 0.01
_EXPLODED = 10.0


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


def judge_seq_len(rows: Rows) -> list[Claim]:
    """Judges what is claimed of the length of training windows."""
    groups = {length: group for (length,), group in sorted(by_setting(rows, "bptt_len").items())}
    short, long = min(groups), max(groups)
    ends = groups[short], groups[long]

    def between(difference: Difference, form: str, en: str, zh: str) -> Text:
        first, second = format(difference.first, form), format(difference.second, form)
        return Text(
            en=f"{en}: {first} with windows of {short}, {second} with windows of {long}",
            zh=f"{zh}：窗口 {short} 时 {first}，窗口 {long} 时 {second}",
        )

    time = compare(*ends, "microseconds_per_token")
    memory = compare(*ends, "memory_mb")
    gap = compare(*ends, "gap_bits_per_character")
    quality = compare(*ends, "test_bits_per_character")
    context = compare(*ends, "context_used_tokens")
    return [
        judge_sign(
            "time",
            Text(
                en="Longer windows take longer to train on the same text.",
                zh="窗口越长，读完同样的文本所需的训练时间越长。",
            ),
            time.sign,
            between(time, ",.0f", "microseconds a token", "每词微秒数"),
            Text(en="time a token, the longest windows against the shortest", zh="每词用时，最长窗口与最短窗口相比"),
        ),
        judge_sign(
            "memory",
            Text(en="Longer windows take more memory.", zh="窗口越长，占用的内存越多。"),
            memory.sign,
            between(memory, ",.1f", "megabytes held by an update", "一次更新占用的兆字节数"),
            Text(
                en="memory of an update, the longest windows against the shortest",
                zh="一次更新占用的内存，最长窗口与最短窗口相比",
            ),
        ),
        _judge_vanishing(groups[long], long),
        _judge_explosion(groups[long], long),
        judge_sign(
            "generalisation",
            Text(en="Longer windows generalise better.", zh="窗口越长，泛化越好。"),
            0 if gap.sign < 0 < quality.sign else -gap.sign,
            between(gap, ".3f", "bits per character, test less training", "测试集减训练集的每字比特数"),
            Text(
                en="the gap between test and training loss, the longest windows against the shortest; a smaller gap does "
                "not settle it where the test loss itself is higher, since a model that has learned less has one too",
                zh="测试损失与训练损失之差，最长窗口与最短窗口相比；若测试损失本身更高，差距变小也不说明问题，因为学得少的模型差距也小",
            ),
        ),
        judge_sign(
            "prediction",
            Text(en="Longer windows predict better.", zh="窗口越长，预测越准。"),
            -quality.sign,
            between(quality, ".3f", "bits per character of the test part", "测试集每字比特数"),
            Text(
                en="bits per character of the test part, the longest windows against the shortest",
                zh="测试集每字比特数，最长窗口与最短窗口相比",
            ),
        ),
        judge_sign(
            "context",
            Text(en="Longer windows teach the model to use more context.", zh="窗口越长，模型学会利用的上文越长。"),
            context.sign,
            between(context, ",.0f", "tokens of context that are used", "实际利用的上文词数"),
            Text(
                en="the fewest last tokens with which the loss is within 0.01 nats of the lowest, the longest windows "
                "against the shortest",
                zh="损失比最低值高出不超过 0.01 奈特所需的最少词数，最长窗口与最短窗口相比",
            ),
        ),
        _judge_too_long(groups),
    ]


def _judge_vanishing(group: Rows, length: int) -> Claim:
    """Whether what arrives from a window's end at its beginning is next to nothing, in both parts of the state."""
    paths = ("gradient_by_distance", "cell_gradient_by_distance")
    hidden, cell = ([_arriving(row[path], length) for row in group] for path in paths)
    reach = spread_of(_reach(row["cell_gradient_by_distance"][:length]) for row in group)
    return judge_all(
        "vanishing",
        Text(en="Over long windows the gradient vanishes.", zh="窗口很长时，梯度会消失。"),
        [max(pair) < _VANISHED for pair in zip(hidden, cell, strict=True)],
        Text(
            en=f"of the gradient one token back, {_share(hidden)} (hidden state) and {_share(cell)} (cell "
            f"state) arrive {length} tokens back; in the cell state it is above 1 % for {reach:.0f} tokens",
            zh=f"与前一个词处的梯度相比，{length} 个词之前有 {_share(hidden)}（隐状态）和 "
            f"{_share(cell)}（记忆单元）；记忆单元的梯度在 {reach:.0f} 个词以内高于 1 %",
        ),
        Text(
            en=f"under 1 % of the gradient one token back arrives {length} tokens back, in hidden and cell state, with "
            "every seed",
            zh=f"每个种子下，{length} 个词之前的梯度（隐状态与记忆单元）都不到前一个词处的 1 %",
        ),
    )


def _share(values: Sequence[float]) -> str:
    """In percent, unless it is next to nothing."""
    spread = spread_of(values)
    return f"{spread:.1%}" if spread.mean >= 0.001 else f"{spread:.1e}"


def _arriving(norms: Sequence[float], distance: int) -> float:
    """What arrives so many tokens back, over what arrives one token back."""
    return norms[distance - 1] / norms[0] if norms[0] else 0.0


def _reach(norms: Sequence[float]) -> int:
    """How many tokens back the gradient stays above the bound, without a break."""
    return next((k for k, norm in enumerate(norms) if norm < _VANISHED * norms[0]), len(norms))


def _judge_explosion(group: Rows, length: int) -> Claim:
    """Whether some update's gradient stood out beyond all measure."""
    ratios = [row["largest_gradient_norm"] / row["gradient_norm"] for row in group]
    clipped = spread_of(row["clipped_share"] for row in group)
    return judge_all(
        "explosion",
        Text(en="Over long windows the gradient explodes.", zh="窗口很长时，梯度会爆炸。"),
        [ratio > _EXPLODED for ratio in ratios],
        Text(
            en=f"with windows of {length} the largest norm is {spread_of(ratios):.1f} times the mean one; "
            f"{clipped:.0%} of the updates are clipped",
            zh=f"窗口 {length} 时，最大范数是平均范数的 {spread_of(ratios):.1f} 倍；{clipped:.0%} 的更新被裁剪",
        ),
        Text(
            en=f"the largest gradient norm before clipping is more than {_EXPLODED:.0f} times the mean one, with every seed",
            zh=f"每个种子下，裁剪前最大梯度范数都超过平均值的 {_EXPLODED:.0f} 倍",
        ),
    )


def _judge_too_long(groups: Mapping[int, Rows]) -> Claim:
    """Whether the longest windows are worse than the best ones."""
    bits = {length: spread_of(row["test_bits_per_character"] for row in group) for length, group in groups.items()}
    best, longest = min(bits, key=lambda length: bits[length].mean), max(bits)
    verdict: Verdict = (
        "does not hold" if best == longest else "holds" if Difference(bits[best], bits[longest]).sign > 0 else "depends"
    )
    return Claim(
        name="too_long",
        claim=Text(en="Windows that are too long hurt.", zh="窗口过长反而有害。"),
        verdict=verdict,
        figure=Text(
            en=f"the best windows are those of {best}: {bits[best]:.3f} bits per character of the test part, those of "
            f"{longest}: {bits[longest]:.3f}",
            zh=f"最好的窗口是 {best}：测试集每字 {bits[best]:.3f} 比特；窗口 {longest}：{bits[longest]:.3f}",
        ),
        rule=Text(
            en="the best windows are not the longest, and the longest are worse by more than three standard errors of the "
            "difference",
            zh="最好的窗口不是最长的，且最长窗口的差距超过差值标准误的三倍",
        ),
    )
