"""The columns and plots that a kind of study declares, and its table as text."""

from collections.abc import Sequence
from typing import NamedTuple

from zh_lstm_lm.studies.spread import by_setting, spread_of
from zh_lstm_lm.studies.verdicts import Rows, Text

__all__ = [
    "BITS",
    "LOSS",
    "QUALITY_COLUMNS",
    "QUALITY_PLOTS",
    "VALID_BY_EPOCH",
    "Column",
    "CurvePlot",
    "MetricPlot",
    "by_epoch",
    "format_table",
]

BITS = Text(en="bits per character", zh="比特/字")
LOSS = Text(en="nats per token", zh="奈特/词")


class Column(NamedTuple):
    """A column of a study's table.

    Attributes:
        heading: Its heading, with the unit.
        field: The field of the rows.
        form: The format of a number.
    """

    heading: Text
    field: str
    form: str


class MetricPlot(NamedTuple):
    """A plot of metrics over what the study varies, with error bars over the seeds.

    Attributes:
        title: Its title.
        y: Name and unit of the vertical axis.
        fields: The fields of the rows, one for each line.
        names: The names of the lines; empty for a single line.
    """

    title: Text
    y: Text
    fields: Sequence[str]
    names: Sequence[Text] = ()


class CurvePlot(NamedTuple):
    """A plot of a list in each row, with a line for each setting.

    Attributes:
        title: Its title.
        x: Name and unit of the horizontal axis.
        y: Name and unit of the vertical axis.
        field: The field that holds the list.
        positions: The field that holds the horizontal positions; None counts from 1.
        log_x: Whether the horizontal axis is logarithmic; such a curve has no error bars.
        log_y: Whether the vertical axis is logarithmic.
    """

    title: Text
    x: Text
    y: Text
    field: str
    positions: str | None = None
    log_x: bool = False
    log_y: bool = False


QUALITY_COLUMNS = (
    Column(Text(en="train perplexity", zh="训练困惑度"), "train_perplexity", ",.1f"),
    Column(Text(en="test perplexity", zh="测试困惑度"), "test_perplexity", ",.1f"),
    Column(Text(en="test bits/character", zh="测试比特/字"), "test_bits_per_character", ".3f"),
    Column(Text(en="gap bits/character", zh="差距（比特/字）"), "gap_bits_per_character", ".3f"),
)
_PARTS = (Text(en="test", zh="测试"), Text(en="training", zh="训练"))
QUALITY_PLOTS = (
    MetricPlot(
        Text(en="Bits per character", zh="比特/字"),
        BITS,
        ("test_bits_per_character", "train_bits_per_character"),
        _PARTS,
    ),
    MetricPlot(
        Text(en="Perplexity", zh="困惑度"),
        Text(en="perplexity per token", zh="困惑度（每词）"),
        ("test_perplexity", "train_perplexity"),
        _PARTS,
    ),
    MetricPlot(Text(en="Gap between test and training loss", zh="测试与训练之差"), BITS, ("gap_bits_per_character",)),
)


def by_epoch(title: Text, y: Text, field: str) -> CurvePlot:
    """Declares a plot of a metric at the end of each epoch."""
    return CurvePlot(title, Text(en="epochs", zh="轮数"), y, field, positions="epoch")


VALID_BY_EPOCH = by_epoch(
    Text(en="Validation bits per character by epoch", zh="验证比特/字，逐轮"),
    BITS,
    "valid_bits_per_character_by_epoch",
)


def format_table(rows: Rows, settings: Sequence[str], columns: Sequence[Column]) -> str:
    """Formats rows as a Markdown table with columns of equal width: mean and deviation of each setting.

    Args:
        rows: The rows.
        settings: The fields that identify a setting.
        columns: The other columns.
    """
    lines = [[*settings, *(column.heading["en"] for column in columns)]]
    for setting, group in by_setting(rows, *settings).items():
        cells = []
        for column in columns:
            values = [row[column.field] for row in group if row[column.field] is not None]
            cells.append(format(spread_of(values), column.form) if values else "-")
        lines.append([*map(str, setting), *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, [f"{'-' * (width - 1)}:" for width in widths])
    padded = ([cell.rjust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)
