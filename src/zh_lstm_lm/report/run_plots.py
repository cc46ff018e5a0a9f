"""The plots of runs: metrics by evaluation, time and update, and the frequencies of tokens."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from zh_lstm_lm._config import check_choice, check_list, check_path
from zh_lstm_lm.errors import DataError
from zh_lstm_lm.report.axes import format_number
from zh_lstm_lm.report.markup import Label, Words
from zh_lstm_lm.report.plots import Plot, Series, Svg, to_svg
from zh_lstm_lm.report.runs import Run, number, section
from zh_lstm_lm.storage.atomic import atomic_write

__all__ = ["plot_history", "training_plots", "word_plots"]

_UPDATES = Label("更新次数", "updates")
_EPOCHS = Label("轮数", "epochs")
_PERPLEXITY = Label("困惑度（每词）", "perplexity per token")
_BITS = Label("比特/字", "bits per character")
# Each mean of a smoothed curve is over this part of the run.
_SMOOTHED = 20
# The raw curves of more runs are not distinguishable.
_FEW_RUNS = 3
_SUMS = ("updates", "clipped_updates", "num_targets", "num_characters", "loss_sum", "gradient_norm_sum", "seconds")

Metric: TypeAlias = Callable[[Mapping[str, Any]], float | None]


def training_plots(runs: Sequence[Run], *, max_points: int) -> list[Plot]:
    """Returns the plots over epochs, time and updates that have points, at most `max_points` each."""
    plots = [*_by_epoch(runs), *([_by_time(runs)] if len(runs) > 1 else []), *_by_update(runs, max_points)]
    return [plot for plot in plots if not plot.is_empty]


def plot_history(
    history: Iterable[Mapping[str, Any]],
    path: str | PathLike[str] | None = None,
    *,
    language: Literal["zh", "en"] = "zh",
) -> Svg:
    """Draws perplexity and bits per character over the epochs as an SVG picture.

    Args:
        history: The records of a run, as `Trainer.fit` returns them or `History.load` reads them.
        path: A file to write, such as ``"history.svg"``; None writes nothing.
        language: The language of the labels: ``"zh"`` or ``"en"``.

    Returns:
        The picture, a string that notebooks display.

    Raises:
        DataError: There is no record with a metric to plot.
        CheckpointError: The file cannot be written.
    """
    check_choice("language", language, ("zh", "en"))
    records = check_list("history", history, "a list of records")
    if path is not None:
        check_path("path", path)
    run = Run("", {}, [record for record in records if isinstance(record, Mapping)])
    plots = [plot for plot in _by_epoch([run]) if not plot.is_empty]
    if not plots:
        raise DataError(
            f"a history of {len(records)} records has nothing to plot; give that of a run with an evaluation"
        )
    picture = to_svg(plots, language=language)
    if path is not None:
        atomic_write(Path(path), picture.encode("utf-8"))
    return picture


def _by_epoch(runs: Sequence[Run]) -> list[Plot]:
    """Returns the plots of perplexity and bits per character at each evaluation."""
    plots = []
    for metric, title, y in (
        ("perplexity", Label("各次评估的困惑度", "Perplexity at each evaluation"), _PERPLEXITY),
        ("bits_per_character", Label("各次评估的比特/字", "Bits per character at each evaluation"), _BITS),
    ):
        series = []
        for color, run in enumerate(runs):
            train, valid = (run.points("epoch", f"{part}_{metric}") for part in ("train", "valid"))
            if len(runs) == 1:
                series.append(Series(Label("训练", "training"), train, 0, style="dashed"))
                series.append(Series(Label("验证", "validation"), valid, 1))
            else:
                series.append(Series(run.name, train, color, style="dashed", in_legend=not valid))
                series.append(Series(run.name, valid, color))
        note = Label("虚线为训练，实线为验证。", "Dashed: training; solid: validation.") if len(runs) > 1 else ""
        plots.append(Plot(title, _EPOCHS, y, series, whole_x=True, note=note))
    return plots


def _by_time(runs: Sequence[Run]) -> Plot:
    series = []
    for color, run in enumerate(runs):
        points = [(seconds / 60, bits) for seconds, bits in run.points("seconds", "valid_bits_per_character")]
        series.append(Series(run.name, points, color))
    return Plot(
        Label("验证比特/字与训练时间", "Validation bits per character by time"),
        Label("训练时间（分钟）", "minutes of training"),
        Label("验证比特/字", "validation bits per character"),
        series,
    )


class _Curve(NamedTuple):
    """A plot of the learning curve: title, vertical axis, metric of a record, and its form."""

    title: Label
    y: Words
    metric: Metric
    smooth: bool = True
    log_y: bool = False
    references: Sequence[tuple[float, Words]] = ()


def _by_update(runs: Sequence[Run], max_points: int) -> list[Plot]:
    """Returns the plots of the learning curve, raw and smoothed."""
    kept = max(30, max_points // (len(runs) * (1 + (len(runs) <= _FEW_RUNS))))
    raw_curves = [_joined(run.curve, kept) for run in runs]
    smooth_curves = [_smoothed(run.curve, kept) for run in runs]
    limits = {number(section(run.description, "options"), "max_grad_norm") for run in runs} - {None, 0.0}
    thresholds = [(limit, Label("裁剪上限", "clipping threshold")) for limit in sorted(filter(None, limits))]
    curves = (
        _Curve(Label("训练中的困惑度", "Perplexity during training"), _PERPLEXITY, _ratio("loss_sum", "num_targets", math.exp), log_y=True),
        _Curve(Label("训练中的比特/字", "Bits per character during training"), _BITS, _ratio("loss_sum", "num_characters", lambda nats: nats / math.log(2))),
        _Curve(Label("学习率", "Learning rate"), Label("学习率", "rate"), lambda record: number(record, "learning_rate"), smooth=False),
        _Curve(
            Label("梯度的范数（裁剪之前）", "Gradient norm before clipping"), Label("范数", "norm"),
            _ratio("gradient_norm_sum", "updates"), log_y=True, references=thresholds,
        ),
        _Curve(Label("被裁剪的更新", "Clipped updates"), "%", _ratio("clipped_updates", "updates", lambda share: 100 * share)),
        _Curve(Label("速度", "Speed"), Label("词/秒", "tokens per second"), _ratio("num_targets", "seconds")),
    )  # fmt: skip
    note = Label(
        f"细线：每几次更新一点；粗线：前后共二十分之一（1/{_SMOOTHED}）全程的平均。",
        f"Thin: a few updates; thick: the mean over 1/{_SMOOTHED} of the run around each point.",
    )
    plots = []
    for curve in curves:
        series = []
        for color, run in enumerate(runs):
            raw, smooth = (_points(each[color], curve.metric) for each in (raw_curves, smooth_curves))
            if not curve.smooth:
                series.append(Series(run.name if len(runs) > 1 else "", raw, color))
                continue
            if len(runs) <= _FEW_RUNS:
                series.append(Series(Label("逐次", "raw"), raw, color, style="faint", in_legend=len(runs) == 1))
            series.append(Series(run.name if len(runs) > 1 else Label("平均", "smoothed"), smooth, color))
        plots.append(
            Plot(
                curve.title,
                _UPDATES,
                curve.y,
                series,
                log_y=curve.log_y,
                references=curve.references,
                note=note if curve.smooth else "",
            )
        )
    return plots


def _ratio(over: str, under: str, then: Callable[[float], float] = float) -> Metric:
    """Returns a metric that divides one sum of a record by another."""

    def metric(record: Mapping[str, Any]) -> float | None:
        a, b = number(record, over), number(record, under)
        try:
            return then(a / b) if a is not None and b else None
        except OverflowError:
            return None

    return metric


def _points(records: Sequence[Mapping[str, Any]], metric: Metric) -> list[tuple[float, float]]:
    pairs = ((number(record, "step"), metric(record)) for record in records)
    return [(step, value) for step, value in pairs if step is not None and value is not None]


def _added(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Adds the sums of consecutive records; the other values are those of the middle one."""
    sums = {name: math.fsum(number(record, name) or 0.0 for record in records) for name in _SUMS if name in records[0]}
    return {**records[len(records) // 2], **sums}


def _joined(curve: Sequence[Mapping[str, Any]], kept: int) -> list[dict[str, Any]]:
    """Joins neighbouring records, so that at most `kept` are left."""
    count = max(1, math.ceil(len(curve) / kept))
    return [_added(curve[begin : begin + count]) for begin in range(0, len(curve), count)]


def _smoothed(curve: Sequence[Mapping[str, Any]], kept: int) -> list[dict[str, Any]]:
    """Adds the records around each of at most `kept` positions; the ends have fewer neighbours."""
    half = max(1, len(curve) // (2 * _SMOOTHED))
    positions = range(0, len(curve), max(1, math.ceil(len(curve) / kept)))
    return [
        {**_added(curve[max(0, position - half) : position + half + 1]), "step": curve[position].get("step")}
        for position in positions
    ]


def word_plots(runs: Sequence[Run], *, max_points: int) -> list[Plot]:
    """Returns the plots of token frequency and of text coverage by rank; equal vocabularies are drawn once."""
    groups: list[tuple[str, Sequence[int]]] = []
    for run in runs:
        if run.counts and all(run.counts != counts for _, counts in groups):
            groups.append((run.name, run.counts))
    if not groups:
        return []
    zipf, coverage = [], []
    for color, (name, counts) in enumerate(groups):
        # At equal distances on a logarithmic axis.
        kept = max(30, max_points // (2 * len(groups)))
        ranks = sorted({round(len(counts) ** (part / kept)) for part in range(kept + 1)})
        reached = list(itertools.accumulate(counts))
        words: Words = name if len(groups) > 1 else Label("词表", "vocabulary")
        zipf.append(Series(words, [(rank, counts[rank - 1]) for rank in ranks], color))
        coverage.append(Series(words, [(rank, 100 * reached[rank - 1] / reached[-1]) for rank in ranks], color))
    first = groups[0][1]
    ideal = [(1.0, float(first[0])), (float(len(first)), max(first[0] / len(first), 0.5))]
    zipf.append(Series(Label("频率 ∝ 1/名次", "frequency ∝ 1/rank"), ideal, len(groups), style="dotted"))
    half = next(rank for rank, count in enumerate(itertools.accumulate(first), 1) if 2 * count >= sum(first))
    half_size = format_number(half)
    rank = Label("名次", "rank")
    return [
        Plot(Label("齐夫定律：频率与名次", "Zipf’s law: frequency and rank"), rank, Label("出现次数", "occurrences"), zipf, log_x=True, log_y=True),
        Plot(
            Label("最常见的词占多少", "Coverage of the most frequent tokens"), rank,
            Label("占训练文本 %", "% of the training text"), coverage, log_x=True,
            note=Label(f"最常见的 {half_size} 个词占训练文本的一半。", f"The most frequent {half_size} tokens are half of the training text."),
        ),
    ]  # fmt: skip
