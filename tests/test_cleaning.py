"""What the cleaning presets take out, and what they leave alone."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.text.cleaning import CLEANINGS, clean_text

QUICK = settings(max_examples=150, deadline=None, derandomize=True, database=None)
LINES = st.lists(st.text(st.sampled_from("雪夜 \u3000\t\xa0\ufeffa。"), max_size=8), max_size=6).map("\n".join)


def bare(text: str) -> str:
    """The text without any space or byte order mark."""
    return "".join(text.replace("\ufeff", " ").split())


@QUICK
@given(st.text())
def test_none_leaves_the_text_as_it_is(text: str) -> None:
    assert clean_text(text, "none") == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\u3000\u3000展昭道：好雪！\n\u3000\u3000二人进店。", "展昭道：好雪！\n二人进店。"),
        ("第一回\n\n\n \t\u3000\n风雪\n", "第一回\n风雪"),
        ("\t展昭 \xa0\n白玉堂\t", "展昭\n白玉堂"),
        ("第二回　夜 行", "第二回　夜 行"),
        ("风雪\n\ufeff夜行\n　\ufeff　比剑", "风雪\n夜行\n比剑"),
        ("", ""),
        ("\n\u3000\n", ""),
    ],
)
def test_novel_takes_out_indents_and_empty_lines(text: str, expected: str) -> None:
    assert clean_text(text, "novel") == expected


@QUICK
@given(LINES)
def test_novel_keeps_everything_but_space_at_the_ends_of_lines(text: str) -> None:
    cleaned = clean_text(text, "novel")

    kept = [line for line in text.split("\n") if bare(line)]
    lines = cleaned.split("\n") if cleaned else []
    assert len(lines) == len(kept)
    for line, original in zip(lines, kept, strict=True):
        assert line in original
        assert bare(line) == bare(original)
        assert bare(line[0]) + bare(line[-1]), "a line begins and ends with something that is no space"
        assert bare(line[0]) == line[0]
        assert bare(line[-1]) == line[-1]


@QUICK
@given(LINES)
@example("\ufeff \ufeff雪")
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    for clean in CLEANINGS:
        once = clean_text(text, clean)

        assert clean_text(once, clean) == once


def test_an_unknown_preset_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"clean must be one of 'none', 'novel', got 'novels'; did you mean 'novel'"):
        clean_text("雪", "novels")
    with pytest.raises(ConfigError, match="got None"):
        clean_text("雪", None)  # type: ignore[arg-type]
