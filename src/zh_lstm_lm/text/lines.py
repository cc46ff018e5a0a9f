"""What the cleaning steps hand on: numbered lines, and an account of every change."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

__all__ = ["Change", "Context", "Line", "Step", "display_width"]


class Line(NamedTuple):
    """A line of a text that is being cleaned.

    Attributes:
        number: Its number in the input, counted from 1; of joined lines the number of the first.
        text: Its text, without the newline.
        indent: Display columns of space that were taken off its beginning.
    """

    number: int
    text: str
    indent: int = 0


@dataclass(frozen=True)
class Change:
    r"""One thing that cleaning does to a text.

    Attributes:
        kind: ``"control"``, ``"indent"``, ``"advert"``, ``"joined"`` or ``"empty"``.
        line: The line's number in the input, counted from 1; of joined lines the number of the first.
        before: What stood there; joined lines are separated by ``\n``.
        after: What stands there now; empty where the whole line went.
    """

    kind: str
    line: int
    before: str
    after: str


@dataclass
class Context:
    """What a step is given beside the lines.

    Attributes:
        repeated: Lines known to be boilerplate because several files of a corpus begin or end with them.
        changes: Where a step reports what it changes; None where nobody asks.
    """

    repeated: frozenset[str] = frozenset()
    changes: list[Change] | None = None

    def report(self, kind: str, line: Line, after: str, *, before: str | None = None) -> None:
        """Notes a change of a line, if anybody asks."""
        if self.changes is not None:
            self.changes.append(Change(kind, line.number, line.text if before is None else before, after))


Step: TypeAlias = Callable[[list[Line], Context], list[Line]]


def display_width(text: str) -> int:
    """Columns of a text on a terminal: two for a Chinese character, one for an ASCII one.

    GB18030 has as many bytes for a character as old editors and downloaders gave it columns, which is what they
    wrapped lines by.
    """
    return len(text.encode("gb18030", "replace"))
