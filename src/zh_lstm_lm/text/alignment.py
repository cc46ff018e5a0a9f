"""Where the characters of a normalised text come from in the text as it was given."""

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from zh_lstm_lm.text.normalization import NORMALIZATION_STEPS, check_normalization, normalize_text

__all__ = ["AlignedText", "align_text"]

Span = tuple[int, int]


@dataclass(frozen=True)
class AlignedText:
    """A normalised text and where it comes from.

    Attributes:
        text: The normalised text.
        spans: For each of its characters the start and stop of what it comes from in the text that was given; None
            where every character comes from the one in its place.
    """

    text: str
    spans: tuple[Span, ...] | None = None

    def span(self, start: int, stop: int) -> Span:
        """The part of the given text that a part of the normalised text (not an empty one) comes from.

        A character that is one of several that one given character became has the span of that one.
        """
        if self.spans is None:
            return start, stop
        return self.spans[start][0], self.spans[stop - 1][1]


def align_text(text: str, normalize: str) -> AlignedText:
    """Normalises a text as `normalize_text` does, and keeps where each character comes from.

    Args:
        text: The text.
        normalize: Names of steps joined by ``+``, as in ``"nfc+width"``; ``"none"`` for no step.

    Raises:
        DataError: The text is not a string.
    """
    aligned = AlignedText(normalize_text(text, "none"))
    for step in check_normalization(normalize):
        apply = NORMALIZATION_STEPS[step]
        changed = apply(aligned.text)
        if changed != aligned.text:
            aligned = AlignedText(changed, tuple(aligned.span(*span) for span in _step_spans(aligned.text, apply)))
    return aligned


def _step_spans(text: str, apply: Callable[[str], str]) -> Iterator[Span]:
    """For each character of the normalised text the span that it comes from; no step reaches across a newline."""
    position = 0
    for number, line in enumerate(text.split("\n")):
        if number:
            yield position, position + 1
            position += 1
        changed = apply(line)
        pieces = [line] if changed == line else list(_pieces(line, apply))
        if "".join(map(apply, pieces)) != changed:  # a phrase of more characters than the pieces know of
            pieces = [line]
        for piece in pieces:
            done = apply(piece)
            size = len(done)
            if done == piece or (
                size == len(piece) and not any(map(unicodedata.combining, piece))
            ):  # none changed places
                yield from ((place, place + 1) for place in range(position, position + size))
            else:
                yield from [(position, position + len(piece))] * size
            position += len(piece)


def _pieces(line: str, apply: Callable[[str], str]) -> Iterator[str]:
    """Cuts a line where the two sides are normalised independently: never before a mark, nor within what composes."""
    piece = done = ""
    for character in line:
        alone, together = apply(character), apply(piece + character)
        is_mark = unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) > 0
        if piece and not is_mark and together == done + alone:
            yield piece
            piece, done = character, alone
        else:
            piece, done = piece + character, together
    if piece:
        yield piece
