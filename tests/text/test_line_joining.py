"""Hard-wrapped files become paragraphs again; all others stay as they are."""

import hashlib
import json
import random
import re
from bisect import bisect_left
from itertools import accumulate
from pathlib import Path

import pytest

from zh_lstm_lm.text.cleaning import clean_text, explain
from zh_lstm_lm.text.decoding import decode, normalize_line_ends
from zh_lstm_lm.text.lines import display_width

_TEXT = """天色渐渐暗了下来 远处的山只剩下一道影子 老船夫把缆绳系在石桩上 他抬头望了望天 雨还没有落下来 岸边的柳树却已经弯了腰
小姑娘提着灯笼从堤上走过 灯光在水里晃成一条线 她是来找哥哥的 哥哥三天前进了城 说好今晚回来 渡口的茶棚里坐着两个客人
一个穿着灰布长衫 另一个背着一只旧木箱 木箱里不知装了什么 走动时叮当作响 卖茶的婆婆添了一回水 谁也没有先开口
风把门帘吹得啪啪直响 桌上的蜡烛忽明忽暗 客人终于放下了茶碗 他问去县城的路还有多远 婆婆伸手指了指对岸 过了河再走二十里便是
可是今夜没有船肯过河 水涨得太快了 上游怕是下了大雨 背木箱的人叹了一口气 他把箱子轻轻放在脚边"""
CLAUSES = re.findall(r"\w+", _TEXT)
HEADINGS = ["第一回　渡口灯影摇寒水　茶棚夜语动归心", "第二回　老船夫冒雨寻人", "楔子"]
VERSES = ["一叶孤舟水上横，半江风雨半江灯。", "归人不识来时路，且听滩声到五更。"]


def paragraphs(count: int = 40, *, seed: int = 5) -> list[str]:
    draw = random.Random(seed)
    result = []
    for _ in range(count):
        clauses = [draw.choice(CLAUSES) + draw.choice("，，，。") for _ in range(draw.randint(3, 16))]
        result.append("".join(clauses)[:-1] + "。")
    return result


def wrap(paragraph: str, width: int, *, first: str = "　　", others: str = "") -> list[str]:
    """Breaks a paragraph as old editors did: at a width, but never before punctuation."""
    lines, line = [], first
    for character in paragraph:
        if display_width(line) >= width and character not in "，。":
            lines.append(line)
            line = others
        line += character
    return [*lines, line]


def wrapped(texts: list[str], width: int = 60, *, others: str = "") -> str:
    return "\n".join(line for text in texts for line in wrap(text, width, others=others))


@pytest.mark.parametrize("width", [44, 60, 72, 104])
def test_indents_tell_the_paragraphs_of_a_wrapped_file(width: int) -> None:
    texts = paragraphs()

    assert clean_text(wrapped(texts, width), "novel").split("\n") == texts


def test_empty_lines_tell_the_paragraphs_as_well() -> None:
    texts = paragraphs()
    text = "\n\n".join("\n".join(wrap(paragraph, 60, first="")) for paragraph in texts)

    assert clean_text(text, "novel").split("\n") == texts


@pytest.mark.parametrize("gap", ["\n", "\n\n"])
def test_where_every_line_is_indented_lines_that_end_inside_a_sentence_are_joined(gap: str) -> None:
    texts = paragraphs()
    text = gap.join(wrapped(texts, 60, others="　　").split("\n"))

    cleaned = clean_text(text, "novel")

    assert cleaned.replace("\n", "") == "".join(texts)
    assert all(line.endswith("。") for line in cleaned.split("\n"))
    assert len(cleaned.split("\n")) >= len(texts), "no two paragraphs are joined"


def test_lines_cut_anywhere_are_joined_and_their_open_speech_too() -> None:
    draw = random.Random(3)
    texts = paragraphs(120)
    lines = []
    for text in texts:
        cut = draw.randint(25, len(text) - 5) if len(text) > 60 else len(text)
        while text[cut - 1 : cut] in "，。" and cut < len(text):
            cut -= 1
        lines += [text[:cut], text[cut:]] if cut < len(text) else [text]
    speech = [
        "婆婆放下茶壶，慢慢地说道：“今夜没有船肯过河，水涨得太快了。",
        "你们还是明天一早再走吧。”说完便进屋去了。",
    ]

    cleaned = clean_text("\n".join(f"　　{line}" for line in [*lines, *speech]), "novel")

    assert cleaned.split("\n") == [*texts, "".join(speech)]


def test_headings_and_verses_of_a_wrapped_file_stand_alone() -> None:
    texts = paragraphs()
    poem = [f"　　　　{verse}" for verse in VERSES]
    lines = [HEADINGS[2], *wrap(texts[0], 60), HEADINGS[0], *wrap(texts[1], 60), *poem]
    text = "\n".join([*lines, wrapped(texts[2:20]), HEADINGS[1], wrapped(texts[20:])])

    cleaned = clean_text(text, "novel").split("\n")

    assert cleaned == [*(HEADINGS[2], texts[0], HEADINGS[0], texts[1], *VERSES, *texts[2:20], HEADINGS[1], *texts[20:])]


def test_a_heading_right_after_a_full_line_is_not_drawn_into_it() -> None:
    texts = paragraphs()
    cut = wrap(texts[0], 60)[0]

    cleaned = clean_text("\n".join([wrapped(texts), cut, HEADINGS[1], wrapped(texts)]), "novel").split("\n")

    assert HEADINGS[1] in cleaned
    assert cut.strip() in cleaned


def test_latin_words_are_joined_with_a_space() -> None:
    texts = paragraphs()
    letter = [
        "　　" + CLAUSES[0] + "，信封上写的是三行外国文字，谁也不认得，只见头一行是 Dear",
        "friend，下面画着一只船。",
    ]

    cleaned = clean_text("\n".join([wrapped(texts), *letter]), "novel").split("\n")

    assert cleaned[-1].endswith("头一行是 Dear friend，下面画着一只船。")


@pytest.mark.parametrize(
    "lines",
    [
        [f"　　{text}" for text in paragraphs()],
        VERSES * 40,
        [f"{verse}{verse}" for verse in VERSES] * 40,
        [f"第{number}回　渡口灯影摇寒水　茶棚夜语动归心" for number in range(1, 80)],
        ["上联：一叶孤舟水上横", "下联：半江风雨半江灯"] * 40,
        ["背木箱的人：", "见信如面。", "", "婆婆", "三月初九日"] * 20,
        [f"第{number}位客人，姓名不详，背着一只旧木箱；" for number in range(60)],
    ],
    ids=["paragraphs", "verses", "long verses", "contents", "couplets", "letters", "list"],
)
def test_files_that_are_not_wrapped_stay(lines: list[str]) -> None:
    expected = [line.strip() for line in lines if line]

    assert clean_text("\n".join(lines), "novel").split("\n") == expected


def test_sentences_without_a_full_stop_one_a_line_are_not_taken_for_a_wrapped_file() -> None:
    lines = [text[:-1] for text in paragraphs(400, seed=8)]
    assert len(lines) > 300

    assert clean_text("\n".join(lines), "novel").split("\n") == lines


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["展昭道：“好大的雪", "”他说完便走了。"], ["展昭道：“好大的雪”他说完便走了。"]),
        (["展昭道：「好大的雪！", "」他說完便走了。"], ["展昭道：「好大的雪！」他說完便走了。"]),
        (["二人对坐饮酒，直到三更", "。", "第二天又下雪了。"], ["二人对坐饮酒，直到三更。", "第二天又下雪了。"]),
        (["二人对坐饮酒", "，直到三更。"], ["二人对坐饮酒，直到三更。"]),
        (["他在门外（只隔一层纸", "）听得真切。"], ["他在门外（只隔一层纸）听得真切。"]),
        (["二人对坐饮酒", "", "，直到三更。"], ["二人对坐饮酒，直到三更。"]),
        (["他说：‘走吧", "’便走了。"], ["他说：‘走吧’便走了。"]),
        (["二人〔只隔一层纸", "〕坐了."], ["二人〔只隔一层纸〕坐了."]),
        (["二人对坐饮酒", ",直到三更", "!"], ["二人对坐饮酒,直到三更!"]),
        (["他说(只隔一层纸", ")听得真切。"], ["他说(只隔一层纸)听得真切。"]),
        (["他说｛只隔一层纸", "｝听得真切。"], ["他说｛只隔一层纸｝听得真切。"]),
        (["他见〖风雪客栈", "〗四字。"], ["他见〖风雪客栈〗四字。"]),
        (["他说：〝好大的雪", "〞便走了。"], ["他说：〝好大的雪〞便走了。"]),
        (["二人对坐饮酒", ". 直到三更."], ["二人对坐饮酒. 直到三更."]),
        (["二人对坐饮酒", "．第二天又下雪了。"], ["二人对坐饮酒．第二天又下雪了。"]),
        (["他说：“雪大", "，走吧", "”便走了。"], ["他说：“雪大，走吧”便走了。"]),
        (["他说：“雪大。", "明天再走。", "”"], ["他说：“雪大。", "明天再走。”"]),
    ],
)
def test_a_line_that_begins_with_a_closing_mark_belongs_to_the_one_before(
    lines: list[str], expected: list[str]
) -> None:
    story = ["“哪里走！”他喝道。", "二人进了酒店。"]

    assert clean_text("\n".join([*story, *lines, *story]), "novel").split("\n") == [*story, *expected, *story]


@pytest.mark.parametrize(
    "lines",
    [
        ["他抬头一看", "...他没有说话。", ".5里之外。", ".txt文件。", "(不知是谁)"],
        ["他抬头一看。", "！！！", "？", "。。。。。。", "……他没有说话。"],
        ["第三回　比剑", "，这一行没有头。"],
        ["他说：“大虫不吃伏肉。”", "”你两个进来。“史进道。"],
        ["二人上首坐了。", "，薛二人半日方才得自在。"],
    ],
)
def test_marks_that_close_nothing_stay_where_they_are(lines: list[str]) -> None:
    assert clean_text("\n".join(lines), "novel").split("\n") == lines


def test_quotation_marks_the_wrong_way_round_join_nothing() -> None:
    lines = [f"」第{number}天还下雪吗？「他问道，「雪" for number in range(30)]

    assert clean_text("\n".join(lines), "novel").split("\n") == lines


def test_in_a_text_with_leftovers_of_hz_a_tilde_at_the_end_joins_lines() -> None:
    leftover = "不觉大惊。χK#,UfFxDZA&JG5ZR;R*"
    assert clean_text(f"他走了。\n{leftover}~}}\n只见那人已去~\n　　了，不知何处。", "novel") == (
        f"他走了。\n{leftover}\n只见那人已去了，不知何处。"
    )
    assert clean_text(f"{leftover}~\n只见那人已去了。", "novel") == f"{leftover}只见那人已去了。"
    assert clean_text("“好的~\n”她说~\n“再见~”", "none") == "“好的~\n”她说~\n“再见~”"
    assert clean_text("好的~\n再见啦~\n拜拜", "novel") == "好的~\n再见啦~\n拜拜"


ENGLISH = [
    "I have been waiting for you in this old temple all night",
    "What do you want from me, in the middle of the snow",
    "We should leave before the others come back to the house",
    "Nobody knows where the old man went after the battle",
]
CHINESE = [
    "我在这座古庙里等了你整整一夜，你知道吗我很冷很冷啊啊",
    "你在这大雪之中想要我做什么，请你现在就告诉我吧朋友",
    "他从来没有告诉过我那天门还开着，所以我没有进去看看",
    "我们应该在其他人回来之前离开这里，不然就太迟太迟了",
]


@pytest.mark.parametrize(
    "pairs", [list(zip(ENGLISH, CHINESE, strict=True)), list(zip(CHINESE, ENGLISH, strict=True)),
              [(line,) for line in ENGLISH], [(line,) for line in CHINESE]],
)  # fmt: skip
def test_lines_of_subtitles_are_not_glued(pairs: list[tuple[str, ...]]) -> None:
    lines = [f"{line} {number}" if line.isascii() else line for number in range(20) for pair in pairs for line in pair]

    assert clean_text("\n".join(lines), "novel").split("\n") == lines


def test_explain_tells_what_is_joined_and_where() -> None:
    texts = paragraphs()
    text = f"楔子\n\n{wrapped(texts)}"

    joined = [change for change in explain(text, "novel") if change.kind == "joined"]

    assert [change.after for change in joined] == [one for one in texts if display_width(one) > 60]
    for change in joined:
        assert change.before.replace("\n", "") == change.after
        assert text.split("\n")[change.line - 1].strip() == change.before.split("\n")[0]


def _joined_breaks(text: str) -> set[int]:
    """Numbers of the lines, counted from 1, that are joined to the next one with text."""
    with_text = [number for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    breaks: set[int] = set()
    for change in explain(text, "novel"):
        if change.kind == "joined":
            first = bisect_left(with_text, change.line)
            breaks.update(with_text[first : first + change.before.count("\n")])
    return breaks


@pytest.mark.parametrize(("part", "least"), [("files", 500), ("unseen", 150)])
def test_the_breaks_of_real_files_are_judged_as_a_reader_judged_them(shared_data: Path, part: str, least: int) -> None:
    verdicts = json.loads(Path(__file__).with_name("line_breaks.json").read_text("utf-8"))[part]
    right = wrongly_joined = total = 0
    for name, judged in verdicts.items():
        path = shared_data / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != judged["sha256"]:
            pytest.skip(f"{name} is not the file whose breaks were judged")
        text = normalize_line_ends(decode(path.read_bytes()).text)
        ends = list(accumulate(len(line) + 1 for line in text.split("\n")))
        joined = _joined_breaks(text)
        for verdict in ("join", "keep"):
            for offset in judged[verdict]:
                assert text[offset] == "\n"
                agrees = (bisect_left(ends, offset + 1) + 1 in joined) == (verdict == "join")
                right += agrees
                wrongly_joined += verdict == "keep" and not agrees
                total += 1

    assert total >= least
    assert right >= 0.98 * total
    assert wrongly_joined <= 0.005 * total


@pytest.mark.parametrize("style", ["first line", "every line", "no line", "empty lines"])
@pytest.mark.parametrize("share", [1.0, 0.3], ids=["whole", "in part"])
def test_a_real_novel_that_was_wrapped_at_a_width_is_itself_again(shared_data: Path, style: str, share: float) -> None:
    """Wrapped are all paragraphs or some stretches of them, with the indents that such files have."""
    novel = (shared_data / "wuxia" / "荡寇志.txt").read_text("utf-8-sig")
    whole = [line.strip() for line in novel.split("\n") if line.strip()][200:600]
    draw = random.Random(style)
    first = "　　" if style in ("first line", "every line") else ""
    lines: list[str] = []
    goes_on: set[int] = set()
    stretches = [draw.random() < share for _ in whole[::20]]
    for number, paragraph in enumerate(whole):
        others = first if style == "every line" else ""
        run = wrap(paragraph, 70, first=first, others=others) if stretches[number // 20] else [first + paragraph]
        goes_on.update(range(len(lines) + 1, len(lines) + len(run)))
        lines += [*run, ""] if style == "empty lines" else run

    joined = _joined_breaks("\n".join(lines))

    breaks = sum(map(bool, lines)) - 1
    assert breaks > 750
    assert len(joined ^ goes_on) <= 0.02 * breaks
