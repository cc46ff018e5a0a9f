"""What the cleaning presets take out, and what they leave alone."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.text.cleaning import CLEANING_STEPS, CLEANINGS, Change, clean_text, explain

QUICK = settings(max_examples=150, deadline=None, derandomize=True, database=None)
LINES = st.lists(st.text(st.sampled_from("雪夜 \u3000\t\xa0a・"), max_size=8), max_size=6).map("\n".join)
PIECES = st.sampled_from(
    [
        *"雪夜的，。！“”「」：；…\u3000 \t\n\n\n\x00\x1a\ufeff\u200b~{}〖〗【】*-[]/aW.第回章卷一",
        "天色渐渐暗了下来，远处的山只剩下一道影子",
        "　　老船夫把缆绳系在石桩上，抬头望了望天，雨还没有落下来，岸边的柳树却已经弯",
        "\n了腰，小姑娘提着灯笼从堤上走过，灯光在水里晃成一条线，她说道：“哥哥三天前进了城。",
        "\n第二回　夜行\n", "www.example.com", "免费电子书下载", "----〖电子文库(www.xys.org)〗", "~}", "本章字数:12\n",
        "书名：雪\n", "[雪 / 夜 著 ]\n", "------章节内容开始-------\n", "wwＷ。xiaoshuo=net小说", "一鸣扫描，雪儿校对\n", "Dear friend",
    ]
)  # fmt: skip
NASTY = st.lists(PIECES, max_size=40).map("".join)


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
        ("风\u200b雪\ufeff夜\x00行\x1a\n\x00\x00", "风雪夜行"),
        ("风雪\t夜行\t", "风雪\t夜行"),
        ("风\x0c雪\x0b夜\x85行\u2028比剑", "风雪夜行\u2028比剑"),
        ("展昭~}道：好雪！~{", "展昭道：好雪！"),
        ("展昭~{<:Ky~}道：好雪！", "展昭<:Ky道：好雪！"),
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


@settings(QUICK, max_examples=400)
@given(st.one_of(LINES, NASTY, NASTY.map(lambda text: text * 12), st.text()), st.frozensets(PIECES))
@example("\ufeff \ufeff雪", frozenset())
@example("〖〖www.〗〗www〗", frozenset())
@example("~~}}", frozenset())
def test_cleaning_twice_changes_nothing_more(text: str, repeated: frozenset[str]) -> None:
    for clean in CLEANINGS:
        once = clean_text(text, clean, repeated=repeated)

        assert clean_text(once, clean, repeated=repeated) == once
        assert explain(once, clean, repeated=repeated) == []


@QUICK
@given(st.one_of(LINES, NASTY))
def test_what_is_explained_is_what_is_done(text: str) -> None:
    changes = explain(text, "novel")

    assert bool(changes) == (clean_text(text, "novel") != text)
    lines = text.split("\n")
    for change in changes:
        assert 1 <= change.line <= len(lines)
        assert change.before != change.after or change.kind == "empty"
    assert [change.line for change in changes] == sorted(change.line for change in changes)
    touched = {change.line for change in changes}
    kept = clean_text(text, "novel").split("\n")
    spans = {change.line + offset for change in changes for offset in range(change.before.count("\n") + 1)}
    if not any(change.kind == "joined" for change in changes):
        assert all(line in kept for number, line in enumerate(lines, 1) if number not in spans)
    assert explain(text, "none") == []
    assert touched <= spans


def test_changes_are_told_by_kind_and_line() -> None:
    text = "第一回\n\n　　展昭\x00道：好雪！\n本章字数:12\n二人进店。----〖电子文库(www.xys.org)〗"

    assert explain(text, "novel") == [
        Change("empty", 2, "", ""),
        Change("control", 3, "　　展昭\x00道：好雪！", "　　展昭道：好雪！"),
        Change("indent", 3, "　　展昭道：好雪！", "展昭道：好雪！"),
        Change("advert", 4, "本章字数:12", ""),
        Change("advert", 5, "二人进店。----〖电子文库(www.xys.org)〗", "二人进店。"),
    ]


def test_an_unknown_preset_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        ConfigError, match=r"no cleaning 'novels'; clean must be 'none' or 'novel', .*; did you mean 'novel'"
    ):
        clean_text("雪", "novels")
    with pytest.raises(ConfigError, match="got None"):
        clean_text("雪", None)  # type: ignore[arg-type]


def test_steps_can_be_named_one_by_one() -> None:
    text = "\u3000\u3000展昭道：“好雪！”\n\n本书来自www.example.com免费txt小说下载站\n\x1a"

    assert clean_text(text, "indents") == "展昭道：“好雪！”\n\n本书来自www.example.com免费txt小说下载站\n\x1a"
    assert clean_text(text, "indents+empty_lines") == "展昭道：“好雪！”\n本书来自www.example.com免费txt小说下载站\n\x1a"
    assert clean_text(text, "+".join(CLEANING_STEPS)) == clean_text(text, "novel") == "展昭道：“好雪！”"


@pytest.mark.parametrize("bad", ["novels", "indents+", "", "indents+nothing", 3, None])
def test_what_is_no_cleaning_is_refused(bad: Any) -> None:
    with pytest.raises(ConfigError, match="clean"):
        clean_text("雪", bad)
