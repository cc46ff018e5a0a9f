"""The labels, columns and plots that a kind of study declares."""

from collections.abc import Sequence
from typing import NamedTuple

__all__ = [
    "BITS", "LOSS", "QUALITY_COLUMNS", "QUALITY_PLOTS", "TEST_BITS", "VALID_BY_EPOCH", "Column", "CurvePlot", "Label",
    "MetricPlot", "by_epoch",
]  # fmt: skip


class Label(NamedTuple):
    """A text in Chinese and in English."""

    zh: str
    en: str


BITS = Label("比特/字", "bits per character")
TEST_BITS = Label("测试集每字比特数", "bits per character on the test set")
LOSS = Label("奈特/词", "nats per token")


class Column(NamedTuple):
    """A column of a study's table: its heading with the unit, the field of the rows, and the format of a number."""

    heading: Label
    field: str
    form: str


class MetricPlot(NamedTuple):
    """A plot of fields of the rows over what the study varies, a named line for each, with error bars over the seeds."""

    title: Label
    y: Label
    fields: Sequence[str]
    names: Sequence[Label] = ()


class CurvePlot(NamedTuple):
    """A plot of a list in each row, with a line for each setting.

    `positions` is the field of the horizontal positions; None counts from 1. A curve with `log_x` has no error bars.
    """

    title: Label
    x: Label
    y: Label
    field: str
    positions: str | None = None
    log_x: bool = False


def by_epoch(title: Label, y: Label, field: str) -> CurvePlot:
    """Declares a plot of a metric at the end of each epoch."""
    return CurvePlot(title, Label("轮数", "epochs"), y, field, positions="epoch")


QUALITY_COLUMNS = (
    Column(Label("训练困惑度", "train perplexity"), "train_perplexity", ",.1f"),
    Column(Label("测试困惑度", "test perplexity"), "test_perplexity", ",.1f"),
    Column(Label("测试比特/字", "test bits/character"), "test_bits_per_character", ".3f"),
    Column(Label("差距（比特/字）", "gap bits/character"), "gap_bits_per_character", ".3f"),
    Column(Label("n 元模型比特/字", "n-gram bits/character"), "ngram_bits_per_character", ".3f"),
)
_LINES = (Label("测试", "test"), Label("训练", "training"), Label("测试，n 元模型", "test, n-gram model"))
QUALITY_PLOTS = (
    MetricPlot(Label("比特/字", "Bits per character"), BITS, ("test_bits_per_character", "train_bits_per_character", "ngram_bits_per_character"), _LINES),
    MetricPlot(Label("困惑度", "Perplexity"), Label("困惑度（每词）", "perplexity per token"), ("test_perplexity", "train_perplexity"), _LINES[:2]),
    MetricPlot(Label("测试与训练之差", "Gap between test and training loss"), BITS, ("gap_bits_per_character",)),
)  # fmt: skip
VALID_BY_EPOCH = by_epoch(
    Label("验证比特/字，逐轮", "Validation bits per character by epoch"), BITS, "valid_bits_per_character_by_epoch"
)
