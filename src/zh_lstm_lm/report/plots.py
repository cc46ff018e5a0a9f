"""Plots as SVG: series over two axes, with ticks, error bars, reference lines, a legend, and a title for every mark."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zh_lstm_lm.report.axes import Axis, format_number, make_axis
from zh_lstm_lm.report.labels import Words, in_both
from zh_lstm_lm.report.markup import Element, element, in_two_languages

__all__ = ["NUM_COLORS", "Plot", "Series", "draw"]

NUM_COLORS = 8
_WIDTH, _HEIGHT = 360, 250  # a phone's width, so that letters keep their size there
_TOP, _RIGHT, _BOTTOM = 30, 14, 44
_DIGIT = 6.7  # width of a digit at the size of a tick's label
_FEW_POINTS = 40  # that are still marked one by one
_HUGE = 1e100  # no figure is larger that means anything


@dataclass(frozen=True)
class Series:
    """Points that belong together.

    Attributes:
        name: What they are, for the legend.
        points: Pairs of x and y.
        color: Number of the colour, from 0.
        style: ``"line"``; ``"faint"`` (thin, behind the others); ``"dashed"``;
            ``"dotted"`` (without marks); ``"marks"`` (without a line).
        errors: Half the length of each point's error bar; none for no bars.
        in_legend: Whether the legend names it.
    """

    name: Words
    points: Sequence[tuple[float, float]]
    color: int = 0
    style: str = "line"
    errors: Sequence[float] = ()
    in_legend: bool = True


@dataclass(frozen=True)
class Plot:
    """What is drawn.

    Attributes:
        title: What the reader sees in it.
        x: Name and unit of the horizontal axis.
        y: Name and unit of the vertical axis.
        series: What is drawn, from back to front.
        log_x: Whether the horizontal axis is logarithmic.
        log_y: Whether the vertical axis is.
        whole_x: Whether only whole numbers of x are marked.
        x_ticks: Values of x to mark, and how they are written; none for round numbers.
        references: Heights of horizontal dashed lines, and what they are.
        note: A sentence under it.
    """

    title: Words
    x: Words
    y: Words
    series: Sequence[Series]
    log_x: bool = False
    log_y: bool = False
    whole_x: bool = False
    x_ticks: Sequence[tuple[float, str]] = ()
    references: Sequence[tuple[float, Words]] = ()
    note: Words = ""

    def kept(self, series: Series) -> Iterator[tuple[float, float, float]]:
        """The points that can be shown, with their errors; no logarithm has a place for 0."""
        errors = itertools.chain(series.errors, itertools.repeat(0.0))
        for (x, y), error in zip(series.points, errors, strict=False):
            if _can_be_shown(x, log=self.log_x) and _can_be_shown(y, log=self.log_y):
                yield x, y, error if _can_be_shown(error) else 0.0

    def has_marks(self, series: Series) -> bool:
        """Whether its points are marked one by one: where they are few, or there is no line."""
        few = sum(1 for _ in self.kept(series)) <= _FEW_POINTS
        return series.style == "marks" or (few and series.style not in {"faint", "dotted"})

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it can be shown."""
        return not any(True for series in self.series for _ in self.kept(series))


def _can_be_shown(value: float, *, log: bool = False) -> bool:
    """Whether a number has a place on an axis."""
    return abs(value) < _HUGE and (not log or value > 1 / _HUGE)


def draw(plot: Plot) -> Element:
    """Draws a plot as a figure with its title, legend and note."""
    points = [point for series in plot.series for point in plot.kept(series)]
    x_axis = make_axis((x for x, *_ in points), log=plot.log_x, whole=plot.whole_x, ticks=plot.x_ticks)
    heights = [height for _, y, error in points for height in (y - error, y + error) if height > 0 or not plot.log_y]
    heights += [height for height, _ in plot.references if not plot.log_y or height > 0]
    y_axis = make_axis(heights, log=plot.log_y)
    frame = _Frame(x_axis, y_axis)
    svg = element("svg", viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=in_both(plot.title))
    svg.extend(frame.grid(plot.x, plot.y))
    for height, words in plot.references:
        if not plot.log_y or height > 0:
            line = frame.horizontal(height, class_="reference")
            line.append(element("title", f"{in_both(words)}: {format_number(height)}"))
            svg.append(line)
    for series in sorted(plot.series, key=lambda series: series.style != "faint"):
        svg.extend(frame.lines(plot, series))
    return element(
        "figure",
        element("figcaption", *in_two_languages(plot.title)),
        svg,
        _legend(plot),
        element("p", *in_two_languages(plot.note), class_="note") if plot.note else None,
    )


class _Frame:
    """The rectangle between two axes."""

    def __init__(self, x: Axis, y: Axis) -> None:
        self.x_axis, self.y_axis = x, y
        self.left = 12 + _DIGIT * max(map(len, y.labels), default=1)

    def x(self, value: float) -> float:
        return self.left + self.x_axis(value) * (_WIDTH - _RIGHT - self.left)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - self.y_axis(value) * (_HEIGHT - _BOTTOM - _TOP)

    def horizontal(self, height: float, *, class_: str) -> Element:
        return element("path", d=f"M{self.left:.1f} {self.y(height):.1f}H{_WIDTH - _RIGHT}", class_=class_)

    def grid(self, x_name: Words, y_name: Words) -> Iterator[Element]:
        """Lines and labels of the ticks, and the names of the axes."""
        for value, text in zip(self.y_axis.ticks, self.y_axis.labels, strict=True):
            yield self.horizontal(value, class_="grid")
            yield element("text", text, x=self.left - 6, y=self.y(value) + 4, text_anchor="end", class_="tick")
        taken = -math.inf
        for value, text in zip(self.x_axis.ticks, self.x_axis.labels, strict=True):
            half = _width(text) / 2
            middle = min(self.x(value), _WIDTH - half)
            if middle - half < taken + 4:  # it would run into the one before it
                continue
            taken = middle + half
            yield element("path", d=f"M{self.x(value):.1f} {_HEIGHT - _BOTTOM}v4", class_="axis")
            yield element("text", text, x=middle, y=_HEIGHT - _BOTTOM + 17, text_anchor="middle", class_="tick")
        yield element("path", d=f"M{self.left:.1f} {_HEIGHT - _BOTTOM}H{_WIDTH - _RIGHT}", class_="axis")
        yield from in_two_languages(y_name, tag="text", x=2, y=14)
        middle = (self.left + _WIDTH - _RIGHT) / 2
        yield from in_two_languages(x_name, tag="text", x=middle, y=_HEIGHT - 6, text_anchor="middle")

    def lines(self, plot: Plot, series: Series) -> Iterator[Element]:
        """What is drawn of a series."""
        kept = list(plot.kept(series))
        color, name = f"c{series.color % NUM_COLORS}", in_both(series.name)
        if len(kept) > 1 and series.style != "marks":
            path = "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y, *_ in kept)
            yield element("path", element("title", name), d=f"M{path}", class_=f"line {series.style} {color}")
        if not plot.has_marks(series):
            return
        for x, y, error in kept:
            if error:
                low = self.y(max(y - error, self.y_axis.low))
                high, middle = self.y(y + error), self.x(x)
                bar = f"M{middle:.1f} {low:.1f}V{high:.1f}m-4 0h8M{middle - 4:.1f} {low:.1f}h8"
                yield element("path", d=bar, class_=f"bar {color}")
            spread = f" ± {format_number(error)}" if error else ""
            told = f"{name}: {in_both(plot.x)} {self._written(x)}, {in_both(plot.y)} {format_number(y)}{spread}"
            title = element("title", told)
            yield element("circle", title, cx=self.x(x), cy=self.y(y), r=3, class_=f"mark {color}")

    def _written(self, x: float) -> str:
        written = dict(zip(self.x_axis.ticks, self.x_axis.labels, strict=True))
        return written.get(x) or format_number(x)


def _width(text: str) -> float:
    """About how wide a tick's label is."""
    return sum(_DIGIT if character < "\u2e80" else 2 * _DIGIT for character in text)


def _legend(plot: Plot) -> Element | None:
    """The names of the series, with a piece of each; none where one series needs no name."""
    named = [series for series in plot.series if series.in_legend and any(True for _ in plot.kept(series))]
    if len(named) + len(plot.references) < 2:
        return None
    items = []
    for series in named:
        color = f"c{series.color % NUM_COLORS}"
        piece = [element("circle", cx=11, cy=5, r=3, class_=f"mark {color}")] if plot.has_marks(series) else []
        if series.style != "marks":
            piece.insert(0, element("path", d="M0 5H22", class_=f"line {series.style} {color}"))
        items.append(_legend_item(series.name, *piece))
    items += [_legend_item(words, element("path", d="M0 5H22", class_="reference")) for _, words in plot.references]
    return element("ul", *items, class_="legend")


def _legend_item(words: Words, *piece: Element) -> Element:
    swatch = element("svg", *piece, viewBox="0 0 22 10", width=22, height=10, aria_hidden="true")
    return element("li", swatch, *in_two_languages(words))
