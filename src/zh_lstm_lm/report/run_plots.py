"""The plots of runs: what every update and every epoch came to, and how the words of the training text are spread."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from zh_lstm_lm.report.axes import format_number
from zh_lstm_lm.report.labels import Label, Words
from zh_lstm_lm.report.plots import Plot, Series
from zh_lstm_lm.report.runs import Run, number, section

__all__ = ["training_plots", "word_plots"]

Points = list[tuple[float, float]]

_UPDATES = Label("更新次数", "updates")
_EPOCHS = Label("轮数", "epochs")
_PERPLEXITY = Label("困惑度（每词）", "perplexity per token")
_BITS = Label("比特/字", "bits per character")
_SMOOTHED = 20  # parts of the curve that each mean is taken over
_FEW_RUNS = 3  # whose raw curves can still be told apart


def training_plots(runs: Sequence[Run], *, max_points: int) -> list[Plot]:
    """Plots over epochs and updates; those of which a run has nothing are left out.

    Args:
        runs: The runs.
        max_points: Most points of all lines of a plot together.
    """
    plots = [
        _by_epoch(runs, "perplexity", Label("每轮之后的困惑度", "Perplexity after each epoch"), _PERPLEXITY),
        _by_epoch(runs, "bits_per_character", Label("每轮之后的比特/字", "Bits per character after each epoch"), _BITS),
    ]
    if len(runs) > 1:
        plots.append(_by_time(runs))
    plots += _by_update(runs, max_points)
    novelty = [
        Series(run.name, points, color) for color, run in enumerate(runs) if (points := run.points("epoch", "novelty"))
    ]
    plots.append(
        Plot(Label("新颖度", "Novelty of the samples"), _EPOCHS, Label("新颖度", "novelty"), novelty, whole_x=True)
    )
    return [plot for plot in plots if not plot.is_empty]


def _by_epoch(runs: Sequence[Run], figure: str, title: Label, y: Label) -> Plot:
    """A figure of the training text and of the held-out text, where runs of a single color lie one over the other."""
    series = []
    for color, run in enumerate(runs):
        train, valid = (run.points("epoch", f"{part}_{figure}") for part in ("train", "valid"))
        if len(runs) == 1:
            series.append(Series(Label("训练", "training"), train, 0, style="dashed"))
            series.append(Series(Label("验证", "held-out"), valid, 1))
        else:
            series.append(Series(run.name, train, color, style="dashed", in_legend=not valid))
            series.append(Series(run.name, valid, color))
    note = Label("虚线为训练，实线为验证。", "Dashed: training; solid: held-out.") if len(runs) > 1 else ""
    return Plot(title, _EPOCHS, y, series, whole_x=True, note=note)


def _by_time(runs: Sequence[Run]) -> Plot:
    series = []
    for color, run in enumerate(runs):
        points = [(seconds / 60, bits) for seconds, bits in run.points("seconds", "valid_bits_per_character")]
        series.append(Series(run.name, points, color))
    title = Label("同样的时间换来什么", "What the same time buys")
    return Plot(
        title,
        Label("训练时间（分钟）", "minutes of training"),
        Label("验证比特/字", "held-out bits per character"),
        series,
    )


def _by_update(runs: Sequence[Run], max_points: int) -> Iterator[Plot]:
    """What the curve holds: raw, and smoothed."""
    kept = max(30, max_points // max(1, sum(1 + (len(runs) <= _FEW_RUNS) for _ in runs)))
    raw_curves = [_joined(run.curve, -(-len(run.curve) // kept)) for run in runs]
    smooth_curves = [_smoothed(run.curve, kept) for run in runs]
    note = Label(
        f"细线：每几次更新一点；粗线：前后共二十分之一（1/{_SMOOTHED}）全程的平均。",
        f"Thin: every few updates; thick: the mean of a {_SMOOTHED}th of the run around each point.",
    )

    def plot(
        title: Label,
        y: Words,
        figure: Callable[[Mapping[str, Any]], float | None],
        *,
        smooth: bool = True,
        **options: Any,
    ) -> Plot:
        series = []
        for color, run in enumerate(runs):
            name: Words = run.name if len(runs) > 1 else Label("平均", "smoothed") if smooth else ""
            raw = _points(raw_curves[color], figure)
            if not smooth:
                series.append(Series(name, raw, color))
                continue
            if len(runs) <= _FEW_RUNS:
                series.append(Series(Label("逐次", "raw"), raw, color, style="faint", in_legend=len(runs) == 1))
            series.append(Series(name, _points(smooth_curves[color], figure), color))
        return Plot(title, _UPDATES, y, series, note=note if smooth else "", **options)

    yield plot(
        Label("训练中的困惑度", "Perplexity while training"), _PERPLEXITY, _ratio("loss_sum", "num_targets", math.exp),
        log_y=True,
    )  # fmt: skip
    yield plot(
        Label("训练中的比特/字", "Bits per character while training"), _BITS,
        _ratio("loss_sum", "num_characters", lambda nats: nats / math.log(2)),
    )  # fmt: skip
    yield plot(
        Label("学习率", "Learning rate"), Label("学习率", "rate"), lambda record: number(record, "learning_rate"),
        smooth=False,
    )  # fmt: skip
    limits = {number(section(run.description, "options"), "max_grad_norm") for run in runs} - {None}
    yield plot(
        Label("梯度的范数（裁剪之前）", "Gradient norm before clipping"), Label("范数", "norm"),
        _ratio("gradient_norm_sum", "updates"), log_y=True,
        references=[(limit, Label("裁剪上限", "clipped above")) for limit in sorted(filter(None, limits))],
    )  # fmt: skip
    yield plot(
        Label("被裁剪的更新", "Updates whose gradients were clipped"), "%",
        _ratio("clipped_updates", "updates", lambda share: 100 * share),
    )  # fmt: skip
    yield plot(Label("速度", "Speed"), Label("词/秒", "tokens per second"), _ratio("num_targets", "seconds"))


def _ratio(
    over: str, under: str, then: Callable[[float], float] = float
) -> Callable[[Mapping[str, Any]], float | None]:
    """A function that takes one sum of a record over another."""

    def figure(record: Mapping[str, Any]) -> float | None:
        a, b = number(record, over), number(record, under)
        try:
            return then(a / b) if a is not None and b else None
        except OverflowError:
            return None

    return figure


def _points(records: Sequence[Mapping[str, Any]], figure: Callable[[Mapping[str, Any]], float | None]) -> Points:
    pairs = ((number(record, "step"), figure(record)) for record in records)
    return [(step, value) for step, value in pairs if step is not None and value is not None]


def _added(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums of records that follow each other, and the rest as it was in the middle one."""
    sums = {
        name: math.fsum(number(record, name) or 0.0 for record in records)
        for name in ("updates", "clipped_updates", "num_targets", "num_characters", "loss_sum", "gradient_norm_sum", "seconds")
        if name in records[0]
    }  # fmt: skip
    return {**records[len(records) // 2], **sums}


def _joined(curve: Sequence[Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
    """The curve in fewer records, of so many each."""
    return [_added(curve[begin : begin + count]) for begin in range(0, len(curve), max(1, count))]


def _smoothed(curve: Sequence[Mapping[str, Any]], kept: int) -> list[dict[str, Any]]:
    """Sums over a stretch around every record, or every few where fewer are to be kept; cut off at the ends."""
    half = max(1, len(curve) // (2 * _SMOOTHED))
    places = range(0, len(curve), max(1, -(-len(curve) // kept)))
    stretches = (curve[max(0, place - half) : place + half + 1] for place in places)
    return [
        {**_added(stretch), "step": curve[place].get("step")} for stretch, place in zip(stretches, places, strict=True)
    ]


def word_plots(runs: Sequence[Run], *, max_points: int) -> list[Plot]:
    """How often the tokens of the vocabulary occur, by rank, and what share of the text the first of them make up.

    Args:
        runs: The runs; those with the same counts are drawn once.
        max_points: Most points of all lines of a plot together.
    """
    groups: list[tuple[str, Sequence[int]]] = []
    for run in runs:
        if run.counts and all(run.counts != counts for _, counts in groups):
            groups.append((run.name, run.counts))
    if not groups:
        return []
    zipf, coverage = [], []
    for color, (name, counts) in enumerate(groups):
        ranks = _even_in_log(len(counts), max(30, max_points // (2 * len(groups))))
        total, reached = sum(counts), list(itertools.accumulate(counts))
        words: Words = name if len(groups) > 1 else Label("词表", "vocabulary")
        zipf.append(Series(words, [(rank, counts[rank - 1]) for rank in ranks], color))
        coverage.append(Series(words, [(rank, 100 * reached[rank - 1] / total) for rank in ranks], color))
    first = groups[0][1]
    ideal = [(1.0, float(first[0])), (float(len(first)), max(first[0] / len(first), 0.5))]
    zipf.append(Series(Label("频率 ∝ 1/名次", "frequency ∝ 1/rank"), ideal, len(groups), style="dotted"))
    rank = Label("名次", "rank")
    half = next(rank for rank, count in enumerate(itertools.accumulate(first), 1) if 2 * count >= sum(first))
    return [
        Plot(Label("齐夫定律：频率与名次", "Zipf’s law: frequency and rank"), rank, Label("出现次数", "occurrences"), zipf, log_x=True, log_y=True),
        Plot(
            Label("最常见的词占多少", "How much the most frequent tokens make up"), rank,
            Label("占训练文本 %", "% of the training text"), coverage, log_x=True,
            note=Label(
                f"最常见的 {format_number(half)} 个词占训练文本的一半。", f"The most frequent {format_number(half)} tokens are half of the training text."
            ),
        ),
    ]  # fmt: skip


def _even_in_log(length: int, count: int) -> list[int]:
    """Ranks from 1 to `length`, at equal distances on a logarithmic axis."""
    return sorted({round(length ** (part / count)) for part in range(count + 1)})
