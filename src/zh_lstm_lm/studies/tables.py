"""The rows of a study as a table: a line for each setting, mean and deviation over its seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from zh_lstm_lm.studies.spread import by_setting, spread_of

__all__ = ["COLUMNS", "SETTINGS", "Column", "format_table", "line_of"]


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        heading: What stands above it, with its unit.
        field: The field of the rows.
        form: How a number is written.
    """

    heading: str
    field: str
    form: str


SETTINGS: Mapping[str, tuple[str, ...]] = {
    "seq-len": ("bptt_len",),
    "epochs": ("train_share",),
    "vocabulary": ("tokenizer", "unknown", "max_size"),
}
"""The fields by which the rows of each kind of study differ."""

_QUALITY = (
    Column("train perplexity", "train_perplexity", ",.1f"),
    Column("test perplexity", "test_perplexity", ",.1f"),
    Column("test bits/character", "test_bits_per_character", ".3f"),
    Column("gap bits/character", "gap_bits_per_character", ".3f"),
)
COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "seq-len": (
        Column("updates", "updates", ",.0f"),
        Column("µs/token", "microseconds_per_token", ",.0f"),
        Column("MB", "memory_mb", ",.1f"),
        *_QUALITY,
        Column("gradient norm", "gradient_norm", ".2f"),
        Column("clipped", "clipped_share", ".0%"),
        Column("context used", "context_used_tokens", ",.0f"),
    ),
    "epochs": (
        Column("tokens", "train_tokens", ",.0f"),
        Column("epochs", "epochs", ",.1f"),
        Column("best epoch", "best_epoch", ",.1f"),
        *_QUALITY,
    ),
    "vocabulary": (
        Column("entries", "vocabulary_size", ",.0f"),
        Column("characters/token", "characters_per_token", ".2f"),
        Column("unknown", "unknown_rate", ".1%"),
        Column("µs/character", "microseconds_per_character", ",.0f"),
        *_QUALITY[1:],
    ),
}
"""What is shown of each kind of study."""


def format_table(kind: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of a study, in Markdown and in columns of equal width.

    Args:
        kind: The kind of study.
        rows: Its rows.
    """
    lines = [[*SETTINGS[kind], *(column.heading for column in COLUMNS[kind])]]
    for setting, group in by_setting(rows, *SETTINGS[kind]).items():
        cells = []
        for column in COLUMNS[kind]:
            values = [row[column.field] for row in group if row[column.field] is not None]
            cells.append(format(spread_of(values), column.form) if values else "-")
        lines.append([*map(str, setting), *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, [f"{'-' * (width - 1)}:" for width in widths])
    padded = ([cell.rjust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)


def line_of(kind: str, row: Mapping[str, Any]) -> str:
    """A row as a line of text."""
    setting = ", ".join(f"{field} {row[field]}" for field in (*SETTINGS[kind], "seed"))
    shown = [f"{c.heading} {row[c.field]:{c.form}}" for c in COLUMNS[kind] if row[c.field] is not None]
    return f"{setting}:  {',  '.join(shown)}"
