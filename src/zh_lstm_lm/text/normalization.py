"""Normalisation: one written form for what is the same character, before text is cut into words.

It is a part of the model: prompts and scored texts go through the same steps as the files that it learned from.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from typing import Any

from zh_lstm_lm._config import check_text, nearest_name, shown
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.runtime.optional import require

__all__ = [
    "NORMALIZATION_STEPS", "AlignedText", "align_text", "check_normalization", "normalization_fingerprint",
    "normalize_text",
]  # fmt: skip

_Span = tuple[int, int]

_FULL_WIDTH = [*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B)]  # ０-９, Ａ-Ｚ, ａ-ｚ
_FOLDED = {code: code - 0xFEE0 for code in _FULL_WIDTH}
# To search for the few characters is quicker than to translate all.
_FULL_WIDTH_RUN = re.compile("[０-９Ａ-Ｚａ-ｚ]+")


def fold_width(text: str) -> str:
    """Folds full-width letters and digits to ASCII; punctuation, which is full-width in Chinese, stays."""
    return _FULL_WIDTH_RUN.sub(lambda run: run[0].translate(_FOLDED), text)


def to_simplified(text: str) -> str:
    """Converts traditional characters to simplified ones (OpenCC, the extra ``opencc``)."""
    converted: str = _converter().convert(text)
    return converted


@lru_cache(maxsize=1)
def _converter() -> Any:
    return require("opencc", extra="opencc").OpenCC("t2s")


NORMALIZATION_STEPS: dict[str, Callable[[str], str]] = {
    "nfc": partial(unicodedata.normalize, "NFC"),
    "width": fold_width,
    # It makes Chinese punctuation half-width, too.
    "nfkc": partial(unicodedata.normalize, "NFKC"),
    "simplified": to_simplified,
}


def check_normalization(normalize: str) -> list[str]:
    """Returns the steps that a normalisation names, as in ``"nfc+width"``; ``"none"`` for no step."""
    if not isinstance(normalize, str):
        raise ConfigError(f"normalize must be a string such as 'nfc+width', got {shown(normalize)}")
    steps = [] if normalize == "none" else normalize.split("+", maxsplit=len(NORMALIZATION_STEPS))
    for step in steps:
        if step not in NORMALIZATION_STEPS:
            raise ConfigError(
                f"there is no normalisation {shown(step)}; normalize must be 'none', or some of "
                f"{', '.join(NORMALIZATION_STEPS)} joined by '+'{nearest_name(step, NORMALIZATION_STEPS)}"
            )
    if len(set(steps)) < len(steps):
        raise ConfigError(f"a normalisation names each step once, got {shown(normalize)}")
    if "simplified" in steps:
        _converter()
    return steps


def normalize_text(text: str, normalize: str) -> str:
    """Applies a normalisation, step by step in the order that it names them; refuses what is no string."""
    check_text("text", text)
    for step in check_normalization(normalize):
        text = NORMALIZATION_STEPS[step](text)
    return text


def normalization_fingerprint(normalize: str) -> str:
    """Returns the normalisation and everything that its result depends on."""
    steps = check_normalization(normalize)
    tables = [f"unicode {unicodedata.unidata_version}"] if {"nfc", "nfkc"} & set(steps) else []
    return " ".join([normalize, *tables, *([f"opencc {version('opencc')}"] if "simplified" in steps else [])])


@dataclass(frozen=True)
class AlignedText:
    """A normalised text, with the start and stop of each character in the original; None if all are the same."""

    text: str
    spans: tuple[_Span, ...] | None = None

    def span(self, start: int, stop: int) -> _Span:
        """Returns the span of the original that a span of the normalised text, not an empty one, comes from."""
        if self.spans is None:
            return start, stop
        return self.spans[start][0], self.spans[stop - 1][1]


def align_text(text: str, normalize: str) -> AlignedText:
    """Normalises a text as `normalize_text` does, and aligns it to the original."""
    aligned = AlignedText(normalize_text(text, "none"))
    for step in check_normalization(normalize):
        apply = NORMALIZATION_STEPS[step]
        changed = apply(aligned.text)
        if changed != aligned.text:
            aligned = AlignedText(changed, tuple(aligned.span(*span) for span in _step_spans(aligned.text, apply)))
    return aligned


def _step_spans(text: str, apply: Callable[[str], str]) -> Iterator[_Span]:
    """Yields the original span of each character of the normalised text; no step reaches across a newline."""
    position = 0
    for number, line in enumerate(text.split("\n")):
        if number:
            yield position, position + 1
            position += 1
        changed = apply(line)
        pieces = [line] if changed == line else list(_pieces(line, apply))
        # A step can depend on more characters than a piece has, as in phrases.
        if "".join(map(apply, pieces)) != changed:
            pieces = [line]
        for piece in pieces:
            done = apply(piece)
            size = len(done)
            keeps_order = size == len(piece) and not any(map(unicodedata.combining, piece))
            if done == piece or keeps_order:
                yield from ((place, place + 1) for place in range(position, position + size))
            else:
                yield from [(position, position + len(piece))] * size
            position += len(piece)


def _pieces(line: str, apply: Callable[[str], str]) -> Iterator[str]:
    """Cuts a line between characters that are normalised independently, never before a combining mark."""
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
