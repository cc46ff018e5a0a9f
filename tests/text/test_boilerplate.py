"""What download sites put into novels goes; what a novel says stays."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zh_lstm_lm.text.cleaning import clean_text, explain
from zh_lstm_lm.text.decoding import decode, normalize_line_ends
from zh_lstm_lm.text.documents import ReadingOptions, read_documents
from zh_lstm_lm.text.files import find_files
from zh_lstm_lm.text.headings import is_heading
from zh_lstm_lm.text.site_lines import edge_lines, find_repeated_lines
from zh_lstm_lm.text.survey import survey_files

STORY = ["展昭推门进来，抖了抖身上的雪。", "“好大的雪！”他说。", "二人对坐饮酒，直到三更。"]


def clean(lines: list[str], *, repeated: frozenset[str] | None = None) -> list[str]:
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
     "楔子　夜行", "序", "自序", "尾声", "目录", "第三卷", "十二", "Chapter 12 Snow", "第五节 谁是凶手？",
     "☆、第一章", "☆、第一章 初遇", "（一）", "(12)", "（上）", "1、", "1、初遇", "01.风雪夜", "一、风雪", "番外（一）", "【第三章】风雪", "第12章(上)",
     "☆、初遇", "第壹章 风雪", "第3话 初遇", "第12-13章 风雪", "====第一章====", "[3]", "001 初遇", "番外1", "番外之初遇", "大结局上", "间章 雪夜", "完结感言",
     "楔　子", "后　记", "前　言", "终 章", "最终章", "外传 雪夜", "代序", "12章 雪夜", "012章", "（一）雪夜", "(12)初遇", "☆、1 雪夜",
     "第一季 雪", "第一场", "第三案 雪夜", "VIP卷 第三章", "chapter12 Snow", "第二章 杀！", "第二章：原来是他……"],
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
        "1、他先去了酒店，再来",
        "3.14",
        "2、3、5",
        "（他没有说话）",
        "第二章他终于杀到！",
        "幕间他睡着了",
        "100 元",
        "第一场雪下了三天",
        "（一）他走了，雪还在下。",
        "外传他已经死了",
        "12章程",
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


RECURRING = [
    "天才一秒记住本站地址：www.example.com",
    "一秒记住【雪夜小说网】，精彩小说无弹窗免费阅读！",
    "请记住本书首发域名：www.example.com。雪夜小说网手机版阅读网址：m.example.com",
    "手机用户请浏览m.example.com阅读，更优质的阅读体验。",
    "手机用户请到m.example.com阅读",
    "最新网址：www.example.com",
    "（本章未完，请翻页）",
    "（本章未完，请点击下一页继续阅读）",
    "本章未完，点击下一页继续阅读",
    "章节错误,点此举报(免注册),举报后维护人员会在两分钟内校正章节内容,请耐心等待,并刷新页面。",
    "章节报错（免登陆）",
    "上一章 返回目录 下一章",
    "上一页 ← 章节目录 → 下一页 加入书签",
    "加入书签，方便阅读",
    "投推荐票 上一章 章节目录 下一章 加入书签",
    "喜欢雪夜请大家收藏：(www.example.com)雪夜雪夜小说网更新速度最快。",
    "雪夜小说网更新最快的小说网，无弹窗！",
    "《雪夜》无错章节将持续在雪夜小说网小说网更新，站内无任何广告，还请大家收藏和推荐雪夜小说网！",
    "最快更新雪夜最新章节！",
    "雪夜最新章节由雪夜小说网首发",
    "看最新章节请到雪夜小说网",
    "更多精彩小说请访问雪夜小说网",
    "看更多好书请关注微信公众号：xueye123",
    "加书友群：123456789",
    "欢迎加入读者交流群，QQ群：123456789",
    "求推荐票，求收藏！",
    "PS：求月票，求订阅，谢谢大家的支持！",
    "（未完待续。如果您喜欢这部作品，欢迎您来起点投推荐票、月票，您的支持，就是我最大的动力。）",
    "（未完待续）",
    "未完待续……",
    "本书由雪夜论坛整理上传",
    "本书来自雪夜书库，更多好书尽在雪夜书库",
    "声明：本书由雪夜电子书网用户上传，仅供预览，请在下载后24小时内删除",
    "本作品来自互联网,本人不做任何负责】内容版权归作者所有",
    "更多精校小说尽在雪夜书库下载：http://www.example.com/",
    "小说下载尽在 http://bbs.example.com--雪夜书库【某某】整理",
    "第(1/3)页",
    "第1/3页",
    "readx();",
    "chaptererror();",
    "&nbsp;&nbsp;&nbsp;&nbsp;",
    "<br/>",
    "百度搜索“雪夜小说网”即可找到本站最新章节",
    "推荐阅读：雪夜归人 风雪夜行 古庙奇谈",
    "新书推荐：",
    "正版订阅请到起点中文网",
    "支持正版，请到起点阅读",
    "本站所有小说为转载作品，所有章节均由网友上传",
    "ＷＷＷ．ｅｘａｍｐｌｅ．ＣＯＭ",
    "www.example.com",
    "雪夜小说 www.example.com",
    "八零电子书 www.example.com 免费下载",
    "书友们看完记得收藏【雪夜小说网】www.example.com，下次我更新您才方便继续阅读哦",
    "温馨提示：按 回车[Enter]键 返回书目，按 ←键 返回上一页， 按 →键 进入下一页。",
    "【雪夜小说网】最快更新，无弹窗阅读",
    "免费小说阅读网，雪夜小说网欢迎您",
    "小提示：按【空格键】返回目录，按(键盘左键)返回上一章 按(键盘右键)进入下一章",
    "您可以在百度里搜索“雪夜 雪夜小说网”查找最新章节！",
    "雪夜全文阅读由作者提供，本站仅提供雪夜TXT下载",
    "如果您觉得雪夜不错，请把雪夜小说网的网址推荐给您的朋友",
    "本书最新TXT下载请点击：http://www.example.com",
    "本书手机阅读：http://m.example.com",
    "发表书评：http://www.example.com/book/1.html",
    '为了方便下次阅读，你可以在顶部"加入书签"记录本次（第1章）的阅读记录，下次打开书架即可看到！',
    "请向你的朋友（QQ、博客、微信等方式）推荐本书，谢谢您的支持！！",
    "喜欢《雪夜》请大家收藏",
    "-->>本章未完，点击下一页继续阅读(第1页/共2页)",
    "正在手打中，请稍等片刻，内容更新后，请重新刷新页面，即可获取最新更新！",
    "雪夜正在手打中，请稍等片刻",
    "防盗章节，请到正版网站订阅阅读",
    "感谢书友雪夜的打赏",
    "感谢“雪夜”、“归人”投出的月票",
    "本文网址：http://www.example.com/1.html，手机用户请浏览：m.example.com",
    "免责声明：小说《雪夜》所有的文字、目录、评论均由网友发表上传并维护或来自搜索引擎结果",
    "txt下载地址：http://www.example.com/txt/1.html",
    "手机请直接访问：m.example.com 更新更快广告少",
    "雪夜小说网 > 武侠 > 雪夜 > 第12章",
]


@pytest.mark.parametrize("line", RECURRING)
def test_a_line_of_a_site_that_recurs_in_one_file_goes(line: str) -> None:
    story = [f"这是第{number}段，展昭在雪夜里行了{number}里。" for number in range(30)]

    assert clean([part for paragraph in story for part in (paragraph, line)]) == story


@pytest.mark.parametrize(
    "line",
    [
        "关注公众号：xueye，回复“雪夜”看后续",
        "QQ交流群：123456",
        "（本章完）",
        "本章完",
        "第3页/共300页",
        "[3/300]",
        "Page 3 of 300",
        "推荐都市大神老施新书:",
        "ＱＱ群：1234567",
        "加群123456，一起讨论剧情",
        "扫一扫，手机接着看",
        "章节报错 ｜ 点此举报",
        "分享到：新浪微博 QQ空间",
        "【3/5更】",
        "今日第3更",
        "加更：为盟主展昭加更",
        "【看书领现金】关注vx公.众号【书友大本营】，看书还可领现金！",
        "阅读模式：",
        "字体大小：大 中 小",
        "&lt;center&gt;",
        'var cpro_id="u123";',
        "(adsbygoogle = window.adsbygoogle || []).push({});",
        "P.S. 今天3更",
        "加入书架",
        "求鲜花，求评价票！",
        "跪求月票！！！",
        "鸣谢：xueye打赏100起点币",
        "« 上一篇 | 返回列表 | 下一篇 »",
        "返回顶部",
        "举报本章错误（无需登录）",
        "当前位置：首页 > 小说 > 雪夜 > 第9章",
        "All rights reserved.",
        "天才壹秒記住『雪夜小說網→www.example.com』，為您提供精彩小說閱讀。",
        "先定个小目标，比如1秒记住：书客居",
        '<a href="http://www.example.com">雪夜</a>',
        "&lt;/p&gt;",
        "扫描校对：雪儿",
        "请勿用于商业用途，下载后请于24小时内删除",
        "雪-夜-小-说-网",
        "雪 夜 小 说 网 w w w . x y . c o m",
        "笔^趣^阁",
        "请访问 xueye dot com",
        "企鹅群：123456789",
        "普群：12345678",
        "薇信搜：雪夜文学",
        "当前第1页，共3页",
        "第十二页，共三十页",
        "简体 繁體",
        "设置 书架 首页 夜间",
        "关灯 护眼 大 中 小",
        "背景色： 字号：",
        "评论(12)",
        "发表评论",
        "猜你喜欢：雪夜归人",
        "展开全文",
        "京ICP备12345678号",
        "版权所有，翻印必究",
        "此为防盗章",
        "更多好书",
        "=========雪夜书社=========",
        "责任编辑：展昭",
        "本文独家发表于晋江文学城",
        "[/font][/color]",
        "上一篇：第11章 下一篇：没有了",
        "雪夜小说网 - 武侠 - 雪夜 - 第12章",
        "添加到主屏幕",
        "-->>(请翻页)",
        "第3页",
        "扫码关注，免费领书",
        "欢迎加入企鹅裙12345678",
        "加威信 abc1",
        "想看更多好文请加1123456",
        "4看书网",
        "v本v文v来v自v雪v夜v小v说v网",
        "不想错过《雪夜》更新？安装雪夜专用APP，作者更新立即推送！终生免费，永无广告！",
        "请使用访问本站。",
        "如遇到内容无法显示或者显示不全，请更换谷歌浏览器即可恢复正常。",
        "未登录用户只能浏览前3章",
        "/11/111.html",
    ],
)
def test_another_line_of_a_site_goes(line: str) -> None:
    story = [f"这是第{number}段，展昭在雪夜里行了{number}里。" for number in range(30)]

    assert clean([part for paragraph in story for part in (paragraph, line)]) == story


@pytest.mark.parametrize(
    "advert",
    [
        "一秒记住【雪夜小说网】，精彩小说无弹窗免费阅读！",
        "天才一秒记住本站地址：www.example.com",
        "手机用户请浏览m.example.com阅读，更优质的阅读体验。",
        "请记住本书首发域名：www.example.com。雪夜小说网手机版阅读网址：m.example.com",
        "最新网址：www.example.com",
        "雪夜小说网更新最快的小说网，无弹窗！",
        "最快更新雪夜最新章节！",
    ],
)
@pytest.mark.parametrize("sentence", ["展昭推门进来，抖了抖身上的雪。", "“好大的雪！”", "他去了哪里？没有人知道……"])
def test_of_a_paragraph_that_an_advert_ends_the_story_stays(sentence: str, advert: str) -> None:
    """However short it is: the advert may not take the sentences before it along."""
    assert clean([STORY[0], sentence + advert, STORY[2]]) == [STORY[0], sentence, STORY[2]]


@pytest.mark.parametrize("letters", ["{}", "ab{}cd", "{}/q"])
def test_letters_do_not_make_a_recurring_line_another_one(letters: str) -> None:
    story = [f"这是第{number}段，展昭在雪夜里行了{number}里。" for number in range(12)]
    adverts = [f"收藏本站永久域名 {letters.format(chr(97 + number))}.cc 防止丢失。" for number in range(12)]

    assert clean([part for pair in zip(story, adverts, strict=True) for part in pair]) == story


def test_hosts_of_other_forms_do_not_make_a_recurring_line_another_one() -> None:
    story = [f"这是第{number}段，展昭在雪夜里行了{number}里。" for number in range(5)]
    hosts = ["www.xy1.com", "xy2.net", "m.xy-3.cc", "www.a.xy4.info/x_1", "xy5.la:80"]

    cleaned = clean(
        [part for paragraph, host in zip(story, hosts, strict=True) for part in (paragraph, f"域名：{host}")]
    )

    assert cleaned == story


@pytest.mark.parametrize(
    "page", ["第({}/9)页", "雪夜小说网更新于2021年{}月，记住本站网址：www.example.com", "本章未完，请点击下一页({}/9)"]
)
def test_numbers_do_not_make_a_recurring_line_another_one(page: str) -> None:
    story = [f"这是第{number}段，展昭在雪夜里行了{number}里。" for number in range(9)]

    assert clean([part for number, paragraph in enumerate(story) for part in (paragraph, page.format(number))]) == story


@pytest.mark.parametrize("place", ["inside", "between"])
def test_a_line_counts_inside_files_as_between_them(tmp_path: Path, place: str) -> None:
    advert = "想看后文的朋友，百度一下雪夜小说网，正版章节抢先读"
    story = [f"这是第{number}段，展昭在雪夜里行了{number}里。" for number in range(40)]
    inserted = [*story[:20], *[advert] * (3 if place == "inside" else 1), *story[20:]]
    for number in range(3):
        own = [f"{line}{number}" if line != advert else line for line in inserted]
        (tmp_path / f"{number}.txt").write_text("\n".join(own), encoding="utf-8")

    documents = [*read_documents(survey_files(find_files(tmp_path)), ReadingOptions())]

    assert not any(advert in "".join(document.blocks) for document in documents)
    assert advert in clean(inserted if place == "between" else [*story, advert])


@pytest.mark.parametrize(
    "line",
    ["手机响了。", "“收藏好你的推荐信！”", "请收藏好这封信。", "众人求收藏家割爱。", "他把手机关了，不再看更新。", "整理行装。", "未完的棋局摆在桌上。", "下一页空着。",
     "钟声又响了。", "风雪更大了。", "话分两头。", "本书分为三卷。", "微信响了。", "3/4", "目录", "＊＊＊", "叮！", "雪一直下。", "如此三秒。", "最新的章程贴在墙上。", "下一页。", "【叮，恭喜您获得免费抽奖机会】", "谢谢朋友们的支持", "亲爱的朋友，您好", "归去来兮，田园将芜胡不归？",
     "关灯", "大", "中", "下载", "举报！", "三更时分", "今夜三更", "分割线", "听书", "【正在加载中】", "谢谢大家的支持", "悦来客栈", "他喜欢听书。", "第三夜",
     "他说的那一页是第3页。", "天已三更", "让我们分享吧。", "var", "（三）", "a = b", "网友评论：", "作者：佚名", "您好，朋友！"],
)  # fmt: skip
def test_a_line_of_a_story_stays_however_often_it_recurs(line: str) -> None:
    lines = [part for number in range(50) for part in (f"这是第{number}段，展昭行了{number}里。", line)]

    assert clean(lines) == lines


GUTENBERG = """The Project Gutenberg EBook of Xue Ye, by Wuming

This eBook is for the use of anyone anywhere at no cost.

Title: Xue Ye

*** START OF THIS PROJECT GUTENBERG EBOOK XUE YE ***

Produced by Some One
and Another

{story}

*** END OF THIS PROJECT GUTENBERG EBOOK XUE YE ***

***** This file should be named 12345-0.txt or 12345-0.zip *****
Section 1. General Terms of Use and Redistributing Project Gutenberg works
You may copy it, give it away or re-use it under the terms of this licence."""
FRAMES = {
    "gutenberg": GUTENBERG,
    "gutenberg, newer": GUTENBERG.replace("THIS", "THE").replace("*** START OF ", "***START OF "),
    "gutenberg, older end": "{story}\nEnd of the Project Gutenberg EBook of Xue Ye, by Wuming\nlicence\nlicence",
    "gutenberg, a title of two lines": GUTENBERG.replace("XUE YE ***", "XUE YE\n(A SNOWY NIGHT) ***"),
    "gutenberg, in Chinese": (
        "古登堡计划电子书：雪夜\n\n本电子书可供任何人免费使用。\n\n*** 古登堡计划电子书 雪夜 开始 ***\n\n{story}\n\n"
        "*** 古登堡计划电子书 雪夜 结束 ***\n\n本电子书的许可证"
    ),
    "gutenberg, in traditional Chinese": "*** 雪夜 古騰堡計劃電子書開始 ***\n\n{story}\n\n*** 雪夜 古騰堡計劃電子書結束 ***\n\n授權條款",
    "haodoo": "《雪夜》無名氏\n《二○○六年十一月廿七日版》\n《好讀書櫃》經典版\n\n\n{story}",
    "zxcs": (
        "===============================\n更多精校小说尽在知轩藏书下载：http://www.zxcs8.com/\n===============================\n"
        "《雪夜》（校对版全本）作者：无名氏\n\n内容简介：\n　　一个雪夜的故事。\n\n第一章 风雪\n{story}"
        "\n===============================\n更多精校小说尽在知轩藏书下载：http://www.zxcs8.com/\n==============================="
    ),
    "txtnovel": (
        "┏━━━━━━━━━━━━━┓\n┃小说下载尽在 http://bbs.example.com--书香门第【某某】整理\n┃附：【本作品来自互联网,本人不做任何负责】内容版权归作者所有\n"
        "┗━━━━━━━━━━━━━┛\n{story}"
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_the_frame_of_a_publisher_goes_at_either_end(name: str) -> None:
    story = [*STORY * 20, "全书完"]

    cleaned = clean(FRAMES[name].format(story="\n".join(story)).split("\n"))

    assert [line for line in cleaned if line != "第一章 风雪"] == story


@pytest.mark.parametrize("rule", ["* * *", "——————", "=========="])
def test_a_rule_between_scenes_stays(rule: str) -> None:
    assert clean([*STORY, rule, *STORY]) == [*STORY, rule, *STORY]


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
