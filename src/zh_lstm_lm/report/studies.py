"""Study folders as plain values: the rows of each setting, means over seeds, and the plots that their kind declares."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.report.markup import Label, Words
from zh_lstm_lm.report.plots import Plot, Series
from zh_lstm_lm.report.runs import finite
from zh_lstm_lm.studies.base import Study as StudyKind
from zh_lstm_lm.studies.claims import Spread, spread_of
from zh_lstm_lm.studies.kinds import KINDS
from zh_lstm_lm.studies.presentation import CurvePlot, MetricPlot
from zh_lstm_lm.studies.result import StudyResult

__all__ = ["Setting", "Study", "means", "read_study", "study_plots"]

Row = Mapping[str, Any]

# The styles of the lines of a plot of several metrics.
_STYLES = ("line", "dashed", "dotted")


@dataclass(frozen=True)
class Setting:
    """One setting of a study: its name, that of its line in plots, empty for a single line, and a row for each seed."""

    name: Label
    line: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Study:
    """The contents of a study's folder: its name in the report, its kind, ``study.json``, and the settings in order."""

    name: str
    kind: type[StudyKind]
    result: StudyResult
    settings: Sequence[Setting]


def read_study(folder: Path, name: str) -> Study:
    """Reads a study's folder; raises DataError without a row yet, CheckpointError for a damaged file."""
    result = StudyResult.load(folder)
    kind = KINDS[result.kind]
    groups: dict[str, tuple[Row, list[Row]]] = {}
    for row in result.rows:
        if isinstance(row, dict):
            values = {field: row.get(field) for field in kind.setting_fields}
            groups.setdefault(repr(values), (values, []))[1].append(row)
    if not groups:
        raise DataError(f"{folder}: the study has no result yet; let it go on, and report then")
    settings = [Setting(kind.name_setting(values), kind.name_line(values), rows) for values, rows in groups.values()]
    return Study(name, kind, result, settings)


def means(setting: Setting, field: str) -> Spread | None:
    """Returns mean and deviation of a field over the seeds; None if no row has it."""
    return _spread([row.get(field) for row in setting.rows])


def _list_means(setting: Setting, field: str) -> list[Spread | None]:
    """Returns mean and deviation at each position of a list field, as far as the shortest list reaches."""
    lists = [row[field] for row in setting.rows if isinstance(row.get(field), list)]
    return [_spread(items) for items in zip(*lists, strict=False)]


def _spread(items: Sequence[Any]) -> Spread | None:
    values = [value for item in items if (value := finite(item)) is not None]
    return spread_of(values) if values else None


def study_plots(study: Study, *, max_points: int) -> list[Plot]:
    """Returns the plots of a study that have points, at most `max_points` each."""
    kept = min(40, max(20, max_points // len(study.settings)))
    plots = [
        _draw_metrics(study, plot) if isinstance(plot, MetricPlot) else _draw_curves(study, plot, kept)
        for plot in study.kind.plots
    ]
    return [plot for plot in plots if not plot.is_empty]


def _draw_metrics(study: Study, plot: MetricPlot) -> Plot:
    """Draws metrics over the varied field: a line for each metric, or for each group of settings."""
    field, x = study.kind.varied
    groups: dict[str, list[Setting]] = {}
    for setting in study.settings:
        groups.setdefault(setting.line, []).append(setting)
    lines: list[tuple[Words, str, str, Sequence[Setting]]]
    if len(groups) > 1:
        lines = [(name, "line", plot.fields[0], settings) for name, settings in groups.items()]
    else:
        names: Sequence[Words] = plot.names or [""]
        named = zip(names, _STYLES, plot.fields, strict=False)
        lines = [(name, style, metric, study.settings) for name, style, metric in named]
    series = []
    for color, (name, style, metric, settings) in enumerate(lines):
        points = sorted(
            (at.mean, value.mean, value.deviation)
            for setting in settings
            if (at := means(setting, field)) is not None and (value := means(setting, metric)) is not None
        )
        errors = [error for *_, error in points]
        series.append(Series(name, [(a, b) for a, b, _ in points], color, style=style, errors=errors))
    ticks = []
    if field in study.kind.setting_fields:
        ticks = sorted((at.mean, f"{at.mean:g}") for s in study.settings if (at := means(s, field)))
        ticks = [tick for tick in ticks if tick[0] > 0]
    return Plot(plot.title, x, plot.y, series, log_x=True, x_ticks=ticks)


def _draw_curves(study: Study, plot: CurvePlot, kept: int) -> Plot:
    """Draws a line for each setting; on a logarithmic axis, points are averaged and have no error bars."""
    series = []
    for color, setting in enumerate(study.settings):
        metrics = _list_means(setting, plot.field)
        positions: Sequence[float | None] = range(1, len(metrics) + 1)
        if plot.positions:
            positions = [None if at is None else at.mean for at in _list_means(setting, plot.positions)]
        found = [
            (position, metric.mean, metric.deviation)
            for position, metric in zip(positions, metrics, strict=False)
            if position is not None and metric is not None
        ]
        points, errors = [(a, b) for a, b, _ in found], [error for *_, error in found]
        if plot.log_x:
            points, errors = _thinned(points, kept), []
        series.append(Series(setting.name, points, color, errors=errors))
    return Plot(plot.title, plot.x, plot.y, series, log_x=plot.log_x, whole_x=not plot.log_x)


def _thinned(points: list[tuple[float, float]], kept: int) -> list[tuple[float, float]]:
    """Averages runs of points, so that about equal distances on a logarithmic axis are left."""
    ends = sorted({round(len(points) ** (part / kept)) for part in range(1, kept + 1)}) if points else []
    stretches = [points[begin:end] for begin, end in itertools.pairwise([0, *ends])]
    return [(stretch[len(stretch) // 2][0], statistics.fmean(y for _, y in stretch)) for stretch in stretches]
