"""HTML and SVG as trees: whatever is put in as text is escaped when the tree is written out."""

import xml.etree.ElementTree as ET
from collections.abc import Iterable

from zh_lstm_lm.report.labels import Words
from zh_lstm_lm.runtime.control_characters import control_pictures

__all__ = ["Child", "Element", "element", "in_two_languages", "to_html"]

Element = ET.Element
Child = ET.Element | str | None
"""What an element may hold; None is left out."""


def element(tag: str, *children: Child, **attributes: str | float | None) -> Element:
    """Makes an element.

    Args:
        tag: Its name.
        children: Elements and text, in order.
        attributes: By name; ``class_`` is ``class``, ``stroke_width`` is ``stroke-width``, and None is left out.
    """
    named = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    made = ET.Element(tag, {name: _plain(value) for name, value in named.items() if value is not None})
    for child in children:
        if isinstance(child, ET.Element):
            made.append(child)
        elif child and len(made):
            made[-1].tail = (made[-1].tail or "") + child
        elif child:
            made.text = (made.text or "") + child
    return made


def _plain(value: str | float) -> str:
    """Coordinates to a tenth, which no eye can tell from the exact ones."""
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def in_two_languages(words: Words, *, tag: str = "span", **attributes: str | float | None) -> Iterable[Element]:
    """An element for each language, of which the page shows one; a single one for text that is the same in both."""
    if isinstance(words, str):
        return [element(tag, words, **attributes)]
    return [
        element(tag, words.zh, class_="zh", lang="zh-CN", **attributes),
        element(tag, words.en, class_="en", lang="en", **attributes),
    ]


def to_html(tree: Element) -> str:
    """The tree as text; control characters stand as symbols, such as ␛."""
    return control_pictures(ET.tostring(tree, encoding="unicode", method="html"))
