"""Numbered lines, and the record of changes that cleaning steps make to them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

__all__ = ["Change", "Context", "Line", "Step", "display_width"]


class Line(NamedTuple):
    """A line of a text that is being cleaned, without newline and indent, whose display columns are kept.

    The number is that in the input, counted from 1; of joined lines the number of the first.
    """

    number: int
    text: str
    indent: int = 0


@dataclass(frozen=True)
class Change:
    r"""A change that cleaning makes to a text.

    Attributes:
        kind: ``"control"``, ``"indent"``, ``"advert"``, ``"joined"`` or ``"empty"``.
        line: The line's number in the input, counted from 1; of joined lines the number of the first.
        before: The text before; joined lines are separated by ``\n``.
        after: The text after; empty if the whole line was removed.
    """

    kind: str
    line: int
    before: str
    after: str


@dataclass
class Context:
    """The input of a step besides the lines: those that recur, and the changes reported so far, None if not wanted."""

    repeated: frozenset[str] = frozenset()
    changes: list[Change] | None = None

    def report(self, kind: str, line: Line, after: str, *, before: str | None = None) -> None:
        """Adds a change of a line, if changes are wanted."""
        if self.changes is not None:
            self.changes.append(Change(kind, line.number, line.text if before is None else before, after))


Step: TypeAlias = Callable[[list[Line], Context], list[Line]]


def display_width(text: str) -> int:
    """Computes the columns of a text on a terminal: two for a Chinese character, one for an ASCII one.

    A character has as many bytes in GB18030 as columns in the old editors and downloaders that wrapped lines.
    """
    return len(text.encode("gb18030", "replace"))
