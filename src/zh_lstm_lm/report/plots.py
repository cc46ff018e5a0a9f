"""Line plots as SVG: ticks, error bars, reference lines, a legend, and a tooltip for every point."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

from zh_lstm_lm.report.axes import Axis, format_number, make_axis
from zh_lstm_lm.report.markup import Element, Words, element, in_both, in_two_languages, serialise

__all__ = ["Plot", "Series", "draw_bars", "draw_plots", "read_style", "to_svg"]

_NUM_COLORS = 8
# The width of a phone, on which letters keep their size.
_WIDTH, _HEIGHT = 360, 250
_TOP, _RIGHT, _BOTTOM = 30, 14, 44
# The width of a digit in a tick label.
_DIGIT = 6.7
# A line with more points has no marks.
_FEW_POINTS = 40
# A larger number is not a meaningful metric.
_HUGE = 1e100
_GAP = 16
# The height of a bar with its name, and the room for its value.
_BAR_ROW, _BAR_VALUE = 42, 60


@dataclass(frozen=True)
class Series:
    """The points of one line, with its name in the legend and the index of its colour.

    `style` is ``"line"``, ``"faint"`` (thin, behind the others), ``"dashed"`` or ``"dotted"`` (without marks). `errors`
    are half the lengths of the points' error bars; empty for no bars.
    """

    name: Words
    points: Sequence[tuple[float, float]]
    color: int = 0
    style: str = "line"
    errors: Sequence[float] = ()
    in_legend: bool = True


@dataclass(frozen=True)
class Plot:
    """A plot: its title, names and units of its axes, the lines from back to front, and a note under it.

    With `whole_x` only integers have ticks; `x_ticks` are values and labels of ticks, empty for round numbers,
    `references` values and names of horizontal lines.
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
        """Yields the points that the axes can show, with their errors."""
        errors = itertools.chain(series.errors, itertools.repeat(0.0))
        for (x, y), error in zip(series.points, errors, strict=False):
            if _can_be_shown(x, log=self.log_x) and _can_be_shown(y, log=self.log_y):
                yield x, y, error if _can_be_shown(error) else 0.0

    def has_marks(self, series: Series) -> bool:
        """Decides whether the points of a series have marks, as a few points of a plain or dashed line do."""
        return series.style in {"line", "dashed"} and sum(1 for _ in self.kept(series)) <= _FEW_POINTS

    @property
    def is_empty(self) -> bool:
        """True if no point can be shown."""
        return not any(True for series in self.series for _ in self.kept(series))


def _can_be_shown(value: float, *, log: bool = False) -> bool:
    """Decides whether an axis can show a number."""
    return abs(value) < _HUGE and (not log or value > 1 / _HUGE)


def draw_plots(plots: Sequence[Plot]) -> Element:
    """Draws plots as HTML figures side by side, as many as there is room for."""
    return element("div", *map(_draw_figure, plots), class_="plots")


def draw_bars(title: Words, bars: Sequence[tuple[str, float]]) -> Element:
    """Draws pairs of a name and a value as horizontal bars from 0, each with its name above it, as an HTML figure."""
    longest = max((value for _, value in bars if _can_be_shown(value)), default=0.0) or 1.0
    svg = element("svg", viewBox=f"0 0 {_WIDTH} {len(bars) * _BAR_ROW}", role="img", aria_label=in_both(title))
    for row, (name, value) in enumerate(bars):
        top = row * _BAR_ROW
        width = (_WIDTH - _BAR_VALUE) * max(0.0, min(value / longest, 1.0))
        tooltip = element("title", f"{name}: {format_number(value)}")
        svg.append(element("text", name, x=0, y=top + 14))
        svg.append(element("rect", tooltip, x=0, y=top + 20, width=width, height=12, class_="block c0"))
        shown = f"{value:.3f}" if value < 1e9 else format_number(value)
        svg.append(element("text", shown, x=width + 6, y=top + 30, class_="tick"))
    figure = element("figure", element("figcaption", title), svg)
    return element("div", figure, class_="plots")


def _draw_figure(plot: Plot) -> Element:
    items = [element("li", swatch, words) for words, swatch in _legend(plot)]
    return element(
        "figure",
        element("figcaption", plot.title),
        _draw(plot),
        element("ul", *items, class_="legend") if items else None,
        element("p", plot.note, class_="note") if plot.note else None,
    )


def read_style(name: str) -> str:
    """Reads a style sheet of this package."""
    return resources.files("zh_lstm_lm.report").joinpath(name).read_text(encoding="utf-8")


class Svg(str):
    """A picture as a string; notebooks display it."""

    __slots__ = ()

    def _repr_svg_(self) -> str:
        return str(self)


def to_svg(plots: Sequence[Plot], *, language: str) -> Svg:
    """Draws plots side by side as one standalone picture in one language (``"zh"`` or ``"en"``), on white."""
    # A notebook may put the picture into its own page, whose elements the style must not reach.
    style = re.sub(r"(^|} *)([^{}]+) {", r"\1.zh-lstm-lm-plot \2 {", read_style("plot.css"), flags=re.MULTILINE)
    light = dict(re.findall(r"--(\w+): (#\w+)", read_style("page.css").partition("@media")[0]))
    style = re.sub(r"var\(--(\w+)\)", lambda name: light[name[1]], style)
    width, height = len(plots) * (_WIDTH + _GAP) + _GAP, _HEIGHT + 4 * _GAP
    picture = element(
        "svg",
        element("style", style),
        element("rect", width=width, height=height, fill=light["paper"]),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        font_family="system-ui, sans-serif",
        class_="zh-lstm-lm-plot",
    )
    for index, plot in enumerate(plots):
        left = float(_GAP + index * (_WIDTH + _GAP))
        drawing = _draw(plot)
        for name, value in (("x", left), ("y", 2 * _GAP), ("width", _WIDTH), ("height", _HEIGHT)):
            drawing.set(name, str(value))
        picture.extend(in_two_languages(plot.title, tag="text", x=left, y=1.5 * _GAP, font_weight="600"))
        picture.append(drawing)
        for words, swatch in _legend(plot):
            swatch.set("x", str(left))
            swatch.set("y", str(height - 1.5 * _GAP))
            picture.append(swatch)
            picture.extend(in_two_languages(words, tag="text", x=left + 28, y=height - _GAP))
            left += 52 + _width(words if isinstance(words, str) else getattr(words, language))
    other = "en" if language == "zh" else "zh"
    for parent in list(picture.iter()):
        for child in [child for child in parent if child.get("class") == other]:
            parent.remove(child)
    return Svg(serialise(picture, method="xml"))


def _draw(plot: Plot) -> Element:
    """Draws the axes, lines and marks of a plot."""
    points = [point for series in plot.series for point in plot.kept(series)]
    x_axis = make_axis((x for x, *_ in points), log=plot.log_x, whole=plot.whole_x, ticks=plot.x_ticks)
    heights = [height for _, y, error in points for height in (y - error, y + error) if height > 0 or not plot.log_y]
    references = [(height, words) for height, words in plot.references if not plot.log_y or height > 0]
    y_axis = make_axis([*heights, *(height for height, _ in references)], log=plot.log_y)
    frame = _Frame(x_axis, y_axis)
    svg = element("svg", viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=in_both(plot.title))
    svg.extend(frame.grid(plot.x, plot.y))
    for height, words in references:
        line = frame.horizontal(height, class_="reference")
        line.append(element("title", f"{in_both(words)}: {format_number(height)}"))
        svg.append(line)
    for series in sorted(plot.series, key=lambda series: series.style != "faint"):
        svg.extend(frame.lines(plot, series))
    return svg


class _Frame:
    """The area between two axes."""

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
        """Yields the lines and labels of the ticks, and the names of the axes."""
        for value, text in zip(self.y_axis.ticks, self.y_axis.labels, strict=True):
            yield self.horizontal(value, class_="grid")
            yield element("text", text, x=self.left - 6, y=self.y(value) + 4, text_anchor="end", class_="tick")
        taken = -math.inf
        for value, text in zip(self.x_axis.ticks, self.x_axis.labels, strict=True):
            half = _width(text) / 2
            middle = min(self.x(value), _WIDTH - half)
            # It would overlap the label before it.
            if middle - half < taken + 4:
                continue
            taken = middle + half
            yield element("path", d=f"M{self.x(value):.1f} {_HEIGHT - _BOTTOM}v4", class_="axis")
            yield element("text", text, x=middle, y=_HEIGHT - _BOTTOM + 17, text_anchor="middle", class_="tick")
        yield element("path", d=f"M{self.left:.1f} {_HEIGHT - _BOTTOM}H{_WIDTH - _RIGHT}", class_="axis")
        yield from in_two_languages(y_name, tag="text", x=2, y=14)
        middle = (self.left + _WIDTH - _RIGHT) / 2
        yield from in_two_languages(x_name, tag="text", x=middle, y=_HEIGHT - 6, text_anchor="middle")

    def lines(self, plot: Plot, series: Series) -> Iterator[Element]:
        """Yields the line, error bars and marks of a series."""
        kept = list(plot.kept(series))
        color, name = f"c{series.color % _NUM_COLORS}", in_both(series.name)
        if len(kept) > 1:
            path = "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y, *_ in kept)
            yield element("path", element("title", name), d=f"M{path}", class_=f"line {series.style} {color}")
        if not plot.has_marks(series):
            return
        labels = dict(zip(self.x_axis.ticks, self.x_axis.labels, strict=True))
        for x, y, error in kept:
            if error:
                low = self.y(max(y - error, self.y_axis.low))
                high, middle = self.y(y + error), self.x(x)
                bar = f"M{middle:.1f} {low:.1f}V{high:.1f}m-4 0h8M{middle - 4:.1f} {low:.1f}h8"
                yield element("path", d=bar, class_=f"bar {color}")
            spread = f" ± {format_number(error)}" if error else ""
            position = labels.get(x) or format_number(x)
            tooltip = f"{name}: {in_both(plot.x)} {position}, {in_both(plot.y)} {format_number(y)}{spread}"
            title = element("title", tooltip)
            yield element("circle", title, cx=self.x(x), cy=self.y(y), r=3, class_=f"mark {color}")


def _width(text: str) -> float:
    """Estimates the width of a tick label."""
    return sum(_DIGIT if character < "\u2e80" else 2 * _DIGIT for character in text)


def _legend(plot: Plot) -> list[tuple[Words, Element]]:
    """Returns the names in the legend, each with a piece of its line; a single series needs none."""
    items = []
    for series in plot.series:
        if series.in_legend and any(True for _ in plot.kept(series)):
            color = f"c{series.color % _NUM_COLORS}"
            piece = [element("path", d="M0 5H22", class_=f"line {series.style} {color}")]
            if plot.has_marks(series):
                piece.append(element("circle", cx=11, cy=5, r=3, class_=f"mark {color}"))
            items.append((series.name, piece))
    items += [(words, [element("path", d="M0 5H22", class_="reference")]) for _, words in plot.references]
    if len(items) < 2:
        return []
    return [
        (words, element("svg", *piece, viewBox="0 0 22 10", width=22, height=10, aria_hidden="true"))
        for words, piece in items
    ]
