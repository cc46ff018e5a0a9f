"""HTML and SVG elements in two languages; text is escaped when the tree is serialised."""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from typing import Literal

from zh_lstm_lm.runtime.control_characters import control_pictures
from zh_lstm_lm.studies.presentation import Label

__all__ = [
    "Element", "Label", "Section", "Words", "bits_label", "element", "epoch_label", "in_both", "in_two_languages",
    "sample_cards", "serialise", "table",
]  # fmt: skip

Element = ET.Element

_MAX_SAMPLES = 12
_MAX_SAMPLE_LENGTH = 600


Words = Label | str
"""A label, or text that is the same in every language, such as the name of a run."""

Section = tuple[str, Label, list[Element]]
"""An anchor, a heading and the elements under it."""


def in_both(words: Words) -> str:
    """Returns both languages on one line, for places that take plain text only."""
    return f"{words.zh} {words.en}" if isinstance(words, Label) else words


def element(tag: str, *children: Element | Words | None, **attributes: str | float | None) -> Element:
    """Creates an element; a label becomes one for each language, None is left out, ``class_`` is ``class``."""
    named = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    made = ET.Element(tag, {name: _plain(value) for name, value in named.items() if value is not None})
    for child in children:
        if isinstance(child, Label):
            made.extend(in_two_languages(child))
        elif isinstance(child, ET.Element):
            made.append(child)
        elif child and len(made):
            made[-1].tail = (made[-1].tail or "") + child
        elif child:
            made.text = (made.text or "") + child
    return made


def _plain(value: str | float) -> str:
    """Formats coordinates to a tenth of a pixel."""
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def in_two_languages(words: Words, *, tag: str = "span", **attributes: str | float | None) -> Iterable[Element]:
    """Creates an element for each language, or a single one for text that is the same in both."""
    if isinstance(words, str):
        return [element(tag, words, **attributes)]
    return [
        element(tag, words.zh, class_="zh", lang="zh-CN", **attributes),
        element(tag, words.en, class_="en", lang="en", **attributes),
    ]


def serialise(tree: Element, *, method: Literal["html", "xml"] = "html") -> str:
    """Serialises a tree; control characters are shown as symbols, such as ␛, and lone surrogates are replaced."""
    text = control_pictures(ET.tostring(tree, encoding="unicode", method=method))
    return text.encode("utf-8", "replace").decode("utf-8")


def table(
    heads: Sequence[Words], rows: Iterable[tuple[Words, Sequence[str], bool]], *, numbers: bool = False
) -> Element:
    """Creates a table that scrolls sideways on narrow screens; a row is its head, its cells, and whether it is marked."""
    kind = "number" if numbers else None
    first, *rest = heads
    head = element("tr", element("th", first), *(element("th", words, class_=kind, scope="col") for words in rest))
    body = [
        element(
            "tr",
            element("th", words, scope="row"),
            *(element("td", cell, class_=kind) for cell in cells),
            class_="differs" if marked else None,
        )
        for words, cells, marked in rows
    ]
    whole = element("table", element("thead", head), element("tbody", *body))
    return element("div", whole, class_="scroll", tabindex="0")


def epoch_label(epoch: float) -> Label:
    """Returns the title of what was generated after some epochs."""
    return Label(f"第 {epoch:.4g} 轮", f"Epoch {epoch:.4g}")


def bits_label(bits: float | None) -> Words:
    """Returns bits per character with their unit; an empty text for None."""
    return "" if bits is None else Label(f"{bits:.3f} 比特/字", f"{bits:.3f} bits per character")


def sample_cards(cards: Sequence[tuple[Words, Words, str]]) -> Element:
    """Creates cards with title, note and passage side by side, at most twelve from the first to the last."""
    if len(cards) > _MAX_SAMPLES:
        cards = [cards[round(index * (len(cards) - 1) / (_MAX_SAMPLES - 1))] for index in range(_MAX_SAMPLES)]
    articles = [
        element(
            "article",
            element("h4", title),
            element("p", note, class_="note") if note else None,
            element("blockquote", text[:_MAX_SAMPLE_LENGTH] + "…" * (len(text) > _MAX_SAMPLE_LENGTH), lang="zh"),
        )
        for title, note, text in cards
    ]
    return element("div", *articles, class_="samples")
