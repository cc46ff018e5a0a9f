"""What the page's sections are made of: paragraphs, plots, tables, passages of text."""

from collections.abc import Iterable, Sequence

from zh_lstm_lm.report.labels import Label, Words
from zh_lstm_lm.report.markup import Element, element, in_two_languages
from zh_lstm_lm.report.plots import Plot, draw

__all__ = ["Section", "paragraph", "plots_of", "sample_cards", "table"]

Section = tuple[str, Label, list[Element]]
"""An anchor, a heading and what stands under it."""

_MAX_SAMPLES = 12
_MAX_SAMPLE_LENGTH = 600


def paragraph(words: Words, **attributes: str) -> Element:
    """A paragraph."""
    return element("p", *in_two_languages(words), **attributes)


def plots_of(plots: Sequence[Plot]) -> Element:
    """Plots side by side, as many as there is room for."""
    return element("div", *map(draw, plots), class_="plots")


def table(
    heads: Sequence[Words], rows: Iterable[tuple[Words, Sequence[str], bool]], *, numbers: bool = False
) -> Element:
    """A table that can be moved sideways where the screen is narrower than it.

    Args:
        heads: What the columns are.
        rows: The head of each row, its cells, and whether it is marked.
        numbers: Whether the cells are numbers.
    """
    kind = "number" if numbers else None
    first, *rest = heads
    head = element("tr", element("th", *in_two_languages(first)), *(
        element("th", *in_two_languages(words), class_=kind, scope="col") for words in rest
    ))  # fmt: skip
    body = [
        element(
            "tr",
            element("th", *in_two_languages(words), scope="row"),
            *(element("td", cell, class_=kind) for cell in cells),
            class_="differs" if marked else None,
        )
        for words, cells, marked in rows
    ]
    whole = element("table", element("thead", head), element("tbody", *body))
    return element("div", whole, class_="scroll", tabindex="0")


def sample_cards(cards: Sequence[tuple[Words, Words, str]]) -> Element:
    """Passages side by side: title, note and text of each; of many, some from the first to the last."""
    if len(cards) > _MAX_SAMPLES:
        cards = [cards[round(number * (len(cards) - 1) / (_MAX_SAMPLES - 1))] for number in range(_MAX_SAMPLES)]
    articles = [
        element(
            "article",
            element("h4", *in_two_languages(title)),
            paragraph(note, class_="note") if note else None,
            element("blockquote", text[:_MAX_SAMPLE_LENGTH] + "…" * (len(text) > _MAX_SAMPLE_LENGTH), lang="zh"),
        )
        for title, note, text in cards
    ]
    return element("div", *articles, class_="samples")
