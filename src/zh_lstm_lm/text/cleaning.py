"""Cleaning: named steps that remove what is not text to learn from.

Each step is a function from numbered lines to numbered lines. The steps are repeated until nothing changes any more, so
cleaning a cleaned text changes nothing.
"""

import re

from zh_lstm_lm._config import nearest_name
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.text.boilerplate import remove_adverts
from zh_lstm_lm.text.line_joining import join_wrapped_lines
from zh_lstm_lm.text.lines import Change, Context, Line, Step, display_width
from zh_lstm_lm.text.site_lines import count_site_lines, find_repeated_lines

__all__ = ["CLEANINGS", "CLEANING_STEPS", "CLEANING_VERSION", "Change", "check_cleaning", "clean_text", "explain"]

CLEANING_VERSION = 8
"""Increases whenever a preset gives another text, so that no cache outlives the change."""

_SPACES = "".join(filter(str.isspace, map(chr, range(0x3001))))
# Controls but tab and newline, zero-width space, word joiner, byte order mark; the marks of HZ, an encoding of the
# 1990s, whose remnants are in some novels. The letters between them are lost and stay.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2060\ufeff]|~[{}]")
# One set of characters is found far quicker.
_CONTROL_HINT = re.compile("[\x00-\x08\x0b-\x1f~\x7f-\x9f\u200b\u2060\ufeff]")
_HZ_MARK = re.compile("~[{}]|[!-}]{6,}~$")


def strip_controls(lines: list[Line], context: Context) -> list[Line]:
    """Removes control characters and what has no width; in a text with marks of HZ, a ``~`` at a line's end joins lines."""
    in_hz = any("~" in line.text and _HZ_MARK.search(line.text) for line in lines)
    stripped: list[Line] = []
    goes_on = False
    for line in lines:
        text = line.text
        if _CONTROL_HINT.search(text) is not None:
            text = _CONTROLS.sub("", text)
            if text != line.text:
                context.report("control", line, text)
        if goes_on:
            before = stripped.pop()
            whole = before.text[:-1] + text.lstrip(_SPACES)
            context.report("joined", before, whole, before=f"{before.text}\n{text}")
            stripped.append(Line(before.number, whole, before.indent))
        else:
            stripped.append(line if text == line.text else Line(line.number, text, line.indent))
        goes_on = in_hz and stripped[-1].text.endswith("~")
    return stripped


def strip_indents(lines: list[Line], context: Context) -> list[Line]:
    """Removes spaces of every kind (U+3000 too) at both ends of each line and keeps the width of the indent."""
    stripped = []
    for line in lines:
        text = line.text.strip(_SPACES)
        if len(text) == len(line.text):
            stripped.append(line)
            continue
        context.report("indent", line, text)
        stripped.append(Line(line.number, text, display_width(line.text[: line.text.index(text)]) if text else 0))
    return stripped


def drop_empty_lines(lines: list[Line], context: Context) -> list[Line]:
    """Removes empty lines."""
    for line in lines:
        if not line.text:
            context.report("empty", line, "")
    return [line for line in lines if line.text]


CLEANING_STEPS: dict[str, Step] = {
    "controls": strip_controls,
    "indents": strip_indents,
    "adverts": remove_adverts,
    "hard_wraps": join_wrapped_lines,
    "empty_lines": drop_empty_lines,
}
CLEANINGS: dict[str, tuple[str, ...]] = {"none": (), "novel": tuple(CLEANING_STEPS)}


def check_cleaning(clean: str) -> list[Step]:
    """Returns the steps of a preset, or those that are named one by one, as in ``"indents+empty_lines"``."""
    if not isinstance(clean, str):
        raise ConfigError(f"clean must be a string such as 'novel', got {clean!r}")
    names = CLEANINGS.get(clean, tuple(clean.split("+")))
    for name in names:
        if name not in CLEANING_STEPS:
            raise ConfigError(
                f"there is no cleaning {name!r}; clean must be {' or '.join(map(repr, CLEANINGS))}, or some of "
                f"{', '.join(CLEANING_STEPS)} joined by '+'{nearest_name(name, [*CLEANINGS, *CLEANING_STEPS])}"
            )
    return [CLEANING_STEPS[name] for name in names]


def clean_text(text: str, clean: str, *, repeated: frozenset[str] | None = None) -> str:
    """Applies a preset or steps by name (see `check_cleaning`); applying it again changes nothing.

    `repeated` are lines that are boilerplate because they recur in the corpus; None looks for those that recur in this
    text.
    """
    return _clean(text, clean, repeated, None)


def explain(text: str, clean: str, *, repeated: frozenset[str] | None = None) -> list[Change]:
    """Returns the changes that `clean_text` makes to a text, in the order of their lines, and then of their making."""
    changes: list[Change] = []
    _clean(text, clean, repeated, changes)
    return sorted(changes, key=lambda change: change.line)


def _clean(text: str, clean: str, repeated: frozenset[str] | None, changes: list[Change] | None) -> str:
    steps = check_cleaning(clean)
    lines = [Line(number, line) for number, line in enumerate(text.split("\n"), 1)] if text else []
    # This ends because every pass that changes anything leaves fewer lines or fewer characters.
    while True:
        recurring = repeated
        if recurring is None:
            recurring = find_repeated_lines([], count_site_lines(text)) if remove_adverts in steps else frozenset()
        context = Context(recurring, changes)
        for step in steps:
            lines = step(lines, context)
        cleaned = "\n".join(line.text for line in lines)
        if cleaned == text:
            return text
        text, lines = cleaned, [Line(line.number, line.text) if line.indent else line for line in lines]
