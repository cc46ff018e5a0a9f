"""What download sites put into novels goes; what a novel says stays."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zh_lstm_lm.text.cleaning import clean_text, explain
from zh_lstm_lm.text.decoding import decode, normalize_line_ends
from zh_lstm_lm.text.headings import is_heading
from zh_lstm_lm.text.site_lines import edge_lines, find_repeated_lines

STORY = ["展昭推门进来，抖了抖身上的雪。", "“好大的雪！”他说。", "二人对坐饮酒，直到三更。"]


def clean(lines: list[str], *, repeated: frozenset[str] = frozenset()) -> list[str]:
    return clean_text("\n".join(lines), "novel", repeated=repeated).split("\n")


@pytest.mark.parametrize(
    "advert",
    [
        "本书来自www.example.com免费txt小说下载站",
        "更多更新免费电子书请关注www.example.com",
        "八千电子书下载网www.example.com",
        "《雪夜》最新章节和相关书籍请到《雪夜》专题网址http://www.example.com/xueye/11/",
        "某某书库 https://www.example5.com，最有文艺气息的文学网站，我们提供给您的小说不求最多，但求最好",
        'wＷw．xiＡoshＵoxx.neｔt@xt`小$说$天"堂',
        "ww　w　.　xia　oshu　oxx.ne tt.xt.小..说...天.堂",
        "www、xiaoshuoxx.nettxt。小＿说＿天堂",
        "------章节内容开始-------",
        "本章字数:1306",
        "更新时间:2007-11-16 7:55:51 本章字数:4804",
        "作品仅供读者预览,请在下载24小时内删除，不得用作商业用途；请您购买正版图书!",
        "一鸣扫描，雪儿校对",
        "古月齋 掃瞄校對",
        "古月齋 輸入",
        "扫描：一鸣 校对：雪儿",
    ],
)
def test_a_line_that_is_an_advert_goes(advert: str) -> None:
    assert clean([advert, *STORY, f"　　{advert}", *STORY, advert]) == STORY * 2


@pytest.mark.parametrize(
    "sentence",
    [
        "他打开电脑，登录www.example.com，看到了那条消息。",
        "“你去www.example.com下载免费的电子书吧。”她笑着说。",
        "我们在网站上下载了资料。",
        "她在图书馆里整理旧报纸，顺便校对译稿。",
        "本书仅供读者参考",
        "这份名单仅供内部使用，请在看完之后烧掉。",
        "他要在二十四小时内删除所有记录。",
        "全身扫描",
        "更新时间",
        "本章完",
        "全书完",
        "作者：无名氏",
        "WWW",
        "——〖雪夜〗——",
        "【告示】捉拿钦犯一名，赏银百两。",
        "他在纸上写道：更多的雪，更多的酒。",
    ],
)
def test_a_sentence_of_a_novel_stays(sentence: str) -> None:
    assert clean([*STORY, sentence, *STORY]) == [*STORY, sentence, *STORY]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("二人对坐饮酒，直到三更。----〖某某电子文库(www.example.org)〗", "二人对坐饮酒，直到三更。"),
        ("二人对坐【更多好书 www.example.org】饮酒。", "二人对坐饮酒。"),
        ("第三回　比剑〖某某电子文库(www.example.org)〗", "第三回　比剑"),
    ],
)
def test_of_a_line_with_an_advert_in_it_only_the_advert_goes(line: str, expected: str) -> None:
    assert clean([STORY[0], line]) == [STORY[0], expected]


def test_the_header_of_an_ebook_goes_with_its_summary() -> None:
    lines = [
        "[雪夜 / 无名氏 著 ]",
        "书籍介绍:",
        "一个雪夜的故事。",
        "------章节内容开始-------",
        "第一回　风雪",
        *STORY,
    ]

    assert clean(lines) == ["第一回　风雪", *STORY]
    assert clean(["书名：雪夜", "男女主角：展昭", "简介：一个雪夜。", "", "第一回　风雪", *STORY]) == [
        "第一回　风雪",
        *STORY,
    ]
    box = ["*" * 20, "*  雪夜          *", "*  http://www.example.com/  *", "*" * 20]
    assert clean([*box, "", *STORY]) == STORY


def test_fields_inside_a_story_stay() -> None:
    lines = [*STORY, "作者：无名氏", "简介：一个雪夜。", *STORY]

    assert clean(lines) == lines
    assert clean(["雪夜", "作者：无名氏", *STORY]) == ["雪夜", "作者：无名氏", *STORY]


@pytest.mark.parametrize("heading", ["第一回　www.example.com免费下载", "第十章 更新时间", "楔子", "卷一 本章字数:5"])
def test_headings_stay(heading: str) -> None:
    assert clean([*STORY, heading, *STORY], repeated=frozenset({heading})) == [*STORY, heading, *STORY]


@pytest.mark.parametrize(
    "heading",
    ["第一回", "第1章 风雪", "第二十三回　风雪夜　归来人", "正文 第一回 风雪", "上卷 第一回　风雪", "卷一 风雪", "卷之二", "●卷一·风雪第一",
     "楔子　夜行", "序", "自序", "尾声", "目录", "第三卷", "十二", "Chapter 12 Snow", "第五节 谁是凶手？"],
)  # fmt: skip
def test_headings_are_known(heading: str) -> None:
    assert is_heading(heading)


@pytest.mark.parametrize(
    "line",
    [
        "第二回他又来了，被展昭一把拉住。",
        "第三次见面",
        "序幕拉开，灯光一暗。",
        "一人一马，冒雪而来",
        "卷起袖子",
        "正文风",
        "",
        *STORY,
    ],
)
def test_sentences_are_no_headings(line: str) -> None:
    assert not is_heading(line)


def test_lines_that_several_files_begin_or_end_with_are_boilerplate() -> None:
    footer, credit = "天涯某某书库 整理收藏", "某某论坛 连载"
    texts = [f"第一回\n{credit}\n" + "\n".join(STORY) + f"\n\n　　{footer}\n" for _ in range(4)]

    repeated = find_repeated_lines([edge_lines(text) for text in texts])

    assert repeated == {footer, credit}
    assert clean([*STORY, footer], repeated=repeated) == STORY
    assert find_repeated_lines([edge_lines(text) for text in texts[:2]]) == frozenset()


@pytest.mark.parametrize(
    "line",
    [
        "第一回 电子书下载",
        "全书完",
        "话说天下大势。",
        "“下载完了没有？”",
        "欲知后事如何，且听下回分解。",
        "诗曰：",
        "　",
        "完",
        "正是：",
    ],
)
def test_what_may_be_a_story_is_no_boilerplate_however_often_it_recurs(line: str) -> None:
    assert find_repeated_lines([[line.strip()] for _ in range(50)]) == frozenset()


def test_edge_lines_are_the_first_and_the_last_ones() -> None:
    text = "\n\n".join(f"　　第{number}行\x00" for number in range(40))

    edges = edge_lines(text)

    assert edges[0] == "第0行"
    assert edges[-1] == "第39行"
    assert 4 <= len(edges) <= 20
    assert edge_lines("雪\n\n夜") == ["雪", "夜"]
    assert edge_lines("\n \n") == []


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.text(st.sampled_from("雪夜他说道在的，。！“”（）《》—…０９Ａｂ "), max_size=60))
def test_ordinary_text_is_never_an_advert(line: str) -> None:
    assert not [change for change in explain(line, "novel") if change.kind == "advert"]


def test_every_watermark_of_a_real_file_goes_and_no_sentence(shared_data: Path) -> None:
    data = (shared_data / "messy" / "utf8bom_crlf_watermarks_luxun.txt").read_bytes()
    text = normalize_line_ends(decode(data).text)

    gone = [change.before for change in explain(text, "novel") if change.kind == "advert"]

    letters = ["".join(filter(str.isalnum, unicodedata.normalize("NFKC", line).lower())) for line in gone]
    assert sum(line.startswith("wwwxiaoshuotxtnet") for line in letters) == 300
    assert len(gone) == 303, "three more invite to the site"
    assert all("xiaoshuotxt" in line for line in letters)
    assert "xiaoshuotxt" not in unicodedata.normalize("NFKC", clean_text(text, "novel")).lower().replace(" ", "")


def test_nothing_goes_from_real_novels_without_boilerplate(shared_data: Path) -> None:
    for path in sorted((shared_data / "wuxia").glob("*.txt"))[::4]:
        text = normalize_line_ends(decode(path.read_bytes()).text)
        assert not [change for change in explain(text, "novel") if change.kind == "advert"], path.name
