"""Control characters: what is replaced, by what, and what stays as it is."""

import copy
import pickle
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zh_lstm_lm import DataError, MissingDependencyError
from zh_lstm_lm.errors import escape_controls
from zh_lstm_lm.runtime.control_characters import control_pictures

BIDI_CONTROLS = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}  # Unicode's Bidi_Control
ANY_TEXT = st.text(st.characters(categories=["Cc", "Cs", "Cf", "Zl", "Zp", "Zs", "Lo", "Po", "Co"]))


def is_control(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} or ord(character) in BIDI_CONTROLS


def test_every_control_of_unicode_is_replaced_and_nothing_else() -> None:
    for code in range(0x110000):
        character = chr(code)
        assert (escape_controls(character) != character) == is_control(character), hex(code)


@given(ANY_TEXT)
def test_escapes_are_those_of_python(text: str) -> None:
    escaped = escape_controls(text)
    assert not any(map(is_control, escaped))
    assert escape_controls(escaped) == escaped
    if "\\" not in text:
        plain = "".join(c if is_control(c) or ord(c) < 128 else f"\\U{ord(c):08x}" for c in text)
        assert escape_controls(plain).encode("ascii").decode("unicode_escape") == text


@given(ANY_TEXT)
def test_what_is_to_stay_stays(text: str) -> None:
    kept = escape_controls(text, keep="\n\t")
    assert [kept.count(c) for c in "\n\t"] == [text.count(c) for c in "\n\t"]
    assert not any(is_control(c) for c in kept if c not in "\n\t")


@given(ANY_TEXT)
def test_pages_hold_no_controls(text: str) -> None:
    shown = control_pictures(text)
    assert not any(is_control(c) for c in shown if c not in "\n\t")
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("control", "picture"),
    [
        ("\0", "␀"),
        ("\x1b", "␛"),
        ("\r", "␍"),
        ("\x7f", "␡"),
        ("\x85", "[U+0085]"),
        ("\u202e", "[U+202E]"),
        ("\n", "\n"),
    ],
)
def test_pictures_are_those_of_unicode(control: str, picture: str) -> None:
    assert control_pictures(f"雪{control}夜") == f"雪{picture}夜"


@pytest.mark.parametrize("kind", [DataError, MissingDependencyError])
def test_errors_are_the_same_after_copying_and_pickling(kind: type[Exception]) -> None:
    error = kind("雪\x1b\n夜", "昭")
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is kind
        assert str(again) == str(error) == "雪\\x1b\\n夜\n昭"
