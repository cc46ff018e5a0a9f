"""The plots that a kind of study declares, drawn from its rows."""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import replace

from zh_lstm_lm.report.markup import Label, Words
from zh_lstm_lm.report.plots import Plot, Series
from zh_lstm_lm.report.studies import Setting, Study, list_means, means
from zh_lstm_lm.studies.presentation import CurvePlot, MetricPlot

__all__ = ["study_plots"]


def study_plots(study: Study, *, max_points: int) -> list[Plot]:
    """Returns the plots of a study that have points.

    Args:
        study: The study.
        max_points: Maximum number of points of all lines of a plot together.
    """
    kept = min(40, max(20, max_points // len(study.settings)))
    plots = [
        _draw_metrics(study, plot) if isinstance(plot, MetricPlot) else _draw_curves(study, plot, kept)
        for plot in study.kind.plots
    ]
    return [plot for plot in plots if not plot.is_empty]


def _draw_metrics(study: Study, plot: MetricPlot) -> Plot:
    """Draws metrics over the varied field: a line for each metric, or for each group of settings."""
    field, x = study.kind.varied
    lines = dict.fromkeys(setting.line for setting in study.settings)
    series = []
    if len(lines) > 1:
        for color, name in enumerate(lines):
            settings = [setting for setting in study.settings if setting.line == name]
            series.append(_with_points(Series(name, (), color), settings, field, plot.fields[0]))
    else:
        names: list[Words] = [*(Label(**name) for name in plot.names), ""]
        for color, (words, metric) in enumerate(zip(names, plot.fields, strict=False)):
            line = Series(words, (), color, style="dashed" if color else "line")
            series.append(_with_points(line, study.settings, field, metric))
    ticks = []
    if field in study.kind.setting_fields:
        ticks = sorted((place.mean, f"{place.mean:g}") for s in study.settings if (place := means(s, field)))
        ticks = [tick for tick in ticks if tick[0] > 0]
    return Plot(Label(**plot.title), Label(**x), Label(**plot.y), series, log_x=True, x_ticks=ticks)


def _with_points(line: Series, settings: Sequence[Setting], x: str, y: str) -> Series:
    """Returns a line with the means of two fields of settings, and error bars."""
    found = sorted(
        (position.mean, metric.mean, metric.deviation)
        for setting in settings
        if (position := means(setting, x)) is not None and (metric := means(setting, y)) is not None
    )
    points, errors = [(a, b) for a, b, _ in found], [error for *_, error in found]
    return replace(line, points=points, errors=errors)


def _draw_curves(study: Study, plot: CurvePlot, kept: int) -> Plot:
    """Draws a line for each setting; on a logarithmic axis, points are averaged and have no error bars."""
    series = []
    for color, setting in enumerate(study.settings):
        metrics = list_means(setting, plot.field)
        positions = list_means(setting, plot.positions) if plot.positions else range(1, len(metrics) + 1)
        found = [
            (position if isinstance(position, int) else position.mean, metric.mean, metric.deviation)
            for position, metric in zip(positions, metrics, strict=False)
            if position is not None and metric is not None
        ]
        points = [(a, b) for a, b, _ in found]
        errors = [] if plot.log_x else [error for *_, error in found]
        series.append(Series(setting.name, _thinned(points, kept) if plot.log_x else points, color, errors=errors))
    title, x, y = (Label(**text) for text in (plot.title, plot.x, plot.y))
    return Plot(title, x, y, series, log_x=plot.log_x, log_y=plot.log_y, whole_x=not plot.log_x)


def _thinned(points: list[tuple[float, float]], kept: int) -> list[tuple[float, float]]:
    """Averages runs of points, so that about equal distances on a logarithmic axis are left."""
    ends = sorted({round(len(points) ** (part / kept)) for part in range(1, kept + 1)}) if points else []
    stretches = [points[begin:end] for begin, end in itertools.pairwise([0, *ends])]
    return [(stretch[len(stretch) // 2][0], statistics.fmean(y for _, y in stretch)) for stretch in stretches]
