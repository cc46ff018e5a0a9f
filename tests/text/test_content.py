"""Content that is not running text, and records read by a field."""

import csv
import io
import json
import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zh_lstm_lm import DataError, TokenStream
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.text.content.kinds import identify_content
from zh_lstm_lm.text.decoding import decode
from zh_lstm_lm.text.inspection import inspect_files

NOVEL = "\n".join(f"第{number}天夜里，展昭又一次来到那座古庙之前，只见门上多了几个大字。" for number in range(60))
TEXTS = [f"展昭在雪夜中行了{number}里，来到一座古庙之前。\n只见庙门半掩。" for number in range(12)]
RECORDS = [{"id": number, "title": f"第{number}回", "content": text} for number, text in enumerate(TEXTS)]


CHAPTER = "风雪夜归人一路行来见古庙"


def table(delimiter: str) -> str:
    written = io.StringIO()
    writer = csv.DictWriter(written, RECORDS[0], delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(RECORDS)
    return written.getvalue()


def subtitles(number: int) -> str:
    return f"{number}\n00:0{number % 10}:01,000 --> 00:0{number % 10}:03,500\n展昭道：好大的雪\nWhat a snow\n"


CONTENT = {
    "a.json": (json.dumps(RECORDS, ensure_ascii=False), "JSON"),
    "b.json": (json.dumps({"data": RECORDS}, ensure_ascii=False, indent=1), "JSON"),
    "c.json": (json.dumps(RECORDS), "JSON"),
    "d.jsonl": ("\n".join(json.dumps(record, ensure_ascii=False) for record in RECORDS), "JSON Lines"),
    "e.jsonl": ("\n".join(json.dumps(record) for record in RECORDS), "JSON Lines"),
    "f.csv": (table(","), "a table"),
    "g.tsv": (table("\t"), "a table"),
    "h.csv": ("书名,字数,简介\n" + "\n".join(f"雪夜{n},{n}000,一个雪夜的故事。" for n in range(9)), "a table"),
    "i.tsv": ("\n".join(f"展昭\t{n}\tnr" for n in range(30)), "a table"),
    "j.html": ("<!DOCTYPE html><html><body>" + "".join(f"<p>{text}</p>\n" for text in TEXTS) + "</body></html>", "HTML or XML"),
    "k.html": ("\n".join(f"<p>{text}</p>" for text in TEXTS), "HTML or XML"),
    "l.xml": ("<?xml version='1.0'?>\n<book>" + NOVEL + "</book>", "HTML or XML"),
    "m.srt": ("\n".join(map(subtitles, range(20))), "SRT or WebVTT subtitles"),
    "n.vtt": ("WEBVTT\n\n" + "\n".join(map(subtitles, range(20))).replace(",", "."), "SRT or WebVTT subtitles"),
    "o.ass": ("[Script Info]\nTitle: x\n[Events]\n" + "Dialogue: 0,0:00:01.00,0:00:03.00,Default,,0,0,0,,展昭道：好大的雪，二人进了酒店\n" * 9, "ASS subtitles"),
    "q.json": (json.dumps([[n, text] for n, text in enumerate(TEXTS)], ensure_ascii=False), "JSON"),
    "r.json": ("[null, " + json.dumps(RECORDS, ensure_ascii=False)[1:], "JSON"),
    "s.jsonl": ("\n".join(json.dumps([n, text]) for n, text in enumerate(TEXTS)), "JSON Lines"),
    "t.csv": ("姓名,门派,武功\n" + "展昭,南侠,燕子飞\n白玉堂,陷空岛,点穴\n" * 4, "a table"),
    "u.md": ("| 姓名 | 门派 |\n|---|---|\n" + "| 展昭 | 南侠 |\n" * 6, "a table"),
    "v.xml": ("\n".join(f"<s n='{n}'><w>展昭</w><w>道</w></s>" for n in range(9)), "HTML or XML"),
    "w.txt": ('<doc id="1" title="展昭">\n' + NOVEL + "\n</doc>", "HTML or XML"),
    "x.html": ("\n".join(f"{text}<br>" for text in TEXTS), "HTML or XML"),
    "y.sbv": ("\n\n".join(f"0:00:{n:02}.000,0:00:{n + 1:02}.000\n展昭道：好大的雪" for n in range(20)), "SRT or WebVTT subtitles"),
    "z.srt": ("\n\n".join(f"{n}\n00:00:{n:02} --> 00:00:{n + 1:02}\n展昭\nZhan\n雪\nsnow" for n in range(20)), "SRT or WebVTT subtitles"),
    "za.sub": ("\n".join(f"{{{n * 25}}}{{{n * 25 + 40}}}展昭道：好大的雪" for n in range(20)), "MicroDVD subtitles"),
    "zb.srt": ("\n\n".join(f"{n}\n00:00:{n:02},000 → 00:00:{n:02},900\n展昭道：好大的雪" for n in range(20)), "SRT or WebVTT subtitles"),
    "zc.txt": ("\n".join(f"0:{n:02}\n展昭道：好大的雪" for n in range(20)), "a transcript with times"),
    "zd.js": ("var novel = " + json.dumps(RECORDS, ensure_ascii=False) + ";", "JSON"),
    "ze.js": ("callback(" + json.dumps(RECORDS, ensure_ascii=False) + ")", "JSON"),
    "zf.jsonl": ("# 2024\n" + "\n".join(json.dumps(record, ensure_ascii=False) for record in RECORDS), "JSON Lines"),
    "zg.txt": ("\n".join(map(repr, RECORDS)), "Python objects"),
    "zh.txt": ("\n".join(json.dumps(text, ensure_ascii=False) for text in TEXTS), "quoted strings"),
    "zi.csv": ("id,title,text\n" + "\n".join(f"{n},雪夜,{'展昭来了,' * (n % 3 + 1)}又走了." for n in range(20)), "a table"),
    "zj.log": ("\n".join(f"2024-01-02 12:00:{n:02},5 INFO 用户展昭登录成功" for n in range(20)), "a log or a chat"),
    "zk.log": ("\n".join(f"Jan  2 12:00:{n:02} host app[{n}]: 展昭登录成功" for n in range(20)), "a log or a chat"),
    "zl.log": ("\n".join(f'127.0.0.1 - - [10/Oct/2000:13:55:{n:02} -0700] "GET /{CHAPTER}" 200' for n in range(20)), "a log or a chat"),
    "zm.txt": ("\n\n".join(f"展昭 2024-01-02 12:{n:02}:00\n好大的雪啊" for n in range(20)), "a log or a chat"),
    "zn.txt": ("\n".join(f"[2024/1/2 12:{n:02}:00] 展昭: 好大的雪啊" for n in range(20)), "a log or a chat"),
    "zo.txt": ("\n".join(f"[color=red]{text}[/color]" for text in TEXTS), "BBCode"),
    "zp.tex": ("\\documentclass{ctexart}\n\\begin{document}\n" + "\n\n".join(f"\\section{{雪夜}}\n{text}" for text in TEXTS), "LaTeX"),
    "zq.md": ("\n".join(f"- [雪夜第{n}回](http://example.com/{n})" for n in range(20)), "a list of links"),
    "zr.ini": ("[雪夜]\n" + "\n".join(f"title{n} = 雪夜第{n}回" for n in range(20)), "settings"),
    "zs.c": ("#include <stdio.h>\nint main() {\n" + '    printf("展昭");\n' * 9 + "}\n", "source code"),
    "zt.txt": ("\n".join(f"展昭 {n} nr" for n in range(30)), "a word list"),
    "zu.txt": ("展 B-PER\n昭 I-PER\n道 O\n" * 9, "tokens with labels"),
    "p.lrc": ("\n".join(f"[00:{n:02}.50]风雪夜归人" for n in range(20)), "LRC lyrics"),
}  # fmt: skip


PROSE = ["展昭道：好大的雪，", "他推门进去，原来是个老僧。", "三更时分，屋上瓦响。", "那人低声道：“南侠别来无恙？”"] * 5
NAMES = ["展昭", "白玉堂", "蒋平", "卢方", "徐庆", "韩彰", "包拯", "公孙策", "丁兆兰", "欧阳春"]


def form(line: str, number: int = 20) -> str:
    """Lines of one form; {n} is a number, {s} a sentence, {w} a name."""
    return "\n".join(line.format(n=n, s=PROSE[n % 20], w=NAMES[n % 10], x=n * 0.37) for n in range(number))


FORMS = {
    "time before each line": ("\n".join(f"{n // 60}:{n % 60:02} {PROSE[n % 20]}" for n in range(0, 300, 7)), "a transcript with times"),
    "time in brackets": (form("（00:{n:02}）{s}"), "a transcript with times"),
    "speaker and time in brackets": (form("说话人 1（00:00:{n:02}）：{s}"), "a transcript with times"),
    "subtitles with full-width letters": (form("{n}\n００：００：{n:02}，０００ －－＞ ００：０１：{n:02}，０００\n{s}"), "SRT or WebVTT subtitles"),
    "subtitles with short times": (form("{n}\n01:{n:02} - 02:{n:02}\n{s}"), "SRT or WebVTT subtitles"),
    "MPL2": (form("[{n}][9{n}]{s}"), "MicroDVD subtitles"),
    "e-mails": (form("From: a{n}@example.com\nTo: b@example.com\nSubject: 雪夜\nDate: Mon\n\n{s}\n> {s}\n"), "e-mail"),
    "e-mails in Chinese": (form("发件人: {w}\n收件人: 展昭\n主题: 雪夜\n\n{s}\n{s}\n"), "e-mail"),
    "chat, name and time": (form("{w}  10:{n:02}\n好大的雪啊"), "a log or a chat"),
    "chat, name and number": (form("{w}(1234567{n}) 10:{n:02}:00\n好大的雪啊"), "a log or a chat"),
    "chat, half days": (form("{w} 下午 3:{n:02}\n好大的雪啊"), "a log or a chat"),
    "chat, day first": (form("[01.03.24 10:{n:02}] {w}: 好大的雪啊"), "a log or a chat"),
    "chat, names in angles": (form("<zhan{n}> {s}"), "data or a program"),
    "forum": (form("#{n} {w} 发表于 3 天前\n{s}\n支持 反对"), "a log or a chat"),
    "log without times": (form("[INFO] 用户{w}登录成功"), "a log or a chat"),
    "wiki": (form("== 生平{n} ==\n'''展昭'''，字[[熊飞]]，[[北宋]]人。"), "wiki markup"),
    "wiki template": ("{{Infobox\n| name = 展昭\n}}\n" + form("[[分类:侠客{n}]]\n{{{{cite|雪夜}}}}"), "wiki markup"),
    "pinyin": (form("zhǎn zhāo zài xuě yè\n{s}"), "a dictionary or text with pinyin"),
    "pinyin in brackets": (form("展(zhǎn)昭(zhāo)在(zài)雪(xuě)夜(yè)"), "a dictionary or text with pinyin"),
    "dictionary": (form("【{w}】zhǎn zhāo ①名词。{s}"), "a dictionary or text with pinyin"),
    "CC-CEDICT": (form("展昭 展昭 [zhan3 zhao1] /a hero/"), "a dictionary or text with pinyin"),
    "parts of speech": (form("展昭/nr 在/p 雪夜/n 中/f 行/v 了/u"), "tokens with labels"),
    "treebank": (form("( (IP (NP (NR 展昭)) (VP (VV 来))) )"), "tokens with labels"),
    "exam": (form("{n}. 下列各句正确的一项是\nA. {s}\nB. {s}\nC. {s}\nD. {s}"), "an exam paper"),
    "exam with blanks": (form("{n}、展昭是________府的护卫。（　　）"), "an exam paper"),
    "contents": (form("第{n}回　雪夜……………………{n}"), "a table of contents"),
    "headings alone": (form("第{n}回　雪夜{w}"), "a table of contents"),
    "a box": ("┌──┬──┐\n" + form("│{w}│侠客│") + "\n└──┴──┘", "a drawn table"),
    "a tree": (form("│   ├── 第{n}回.txt"), "a drawn table"),
    "columns of spaces": ("姓名    绰号    年龄\n" + form("{w}    侠客    {n}"), "columns"),
    "word vectors": (form("{w} 0.{n} 0.2 -0.{n}"), "columns"),
    "fields, one a line": (form("姓名：{w}\n性别：男\n年龄：{n}\n职业：侠客\n"), "records"),
    "fields in a line": (form("姓名：{w}　性别：男　年龄：{n}　住址：开封"), "records"),
    "vCard": (form("BEGIN:VCARD\nVERSION:3.0\nFN:{w}\nTEL:138{n}\nEND:VCARD"), "records"),
    "YAML": (form("- name: {w}\n  title: 南侠\n  age: {n}"), "data or a program"),
    "server-sent events": (form('data: {{"text": "{s}"}}\n'), "data or a program"),
    "SQL values": (form("({n},'雪夜','{s}'),"), "data or a program"),
    "labelled sentences": (form("__label__{n} {s}"), "data or a program"),
    "utterances": (form("utt{n:04} {s}"), "data or a program"),
    "prompts": (form("<|im_start|>user\n{s}<|im_end|>"), "data or a program"),
    "a list of Python": (repr(PROSE), "Python objects"),
    "addresses": (form("https://example.com/book/{n}.html"), "a list of links"),
    "frequencies": (form("{w}：{n}"), "a word list"),
    "words alone": ("\n".join(a + b for a in "春夏秋冬" for b in ("风", "雨", "天", "日", "夜", "晓", "末", "游人", "光", "色", "意")), "a word list"),
    "numbers": (form("{x}"), "numbers"),
    "base64": (form("iVBORw0KGgoAAAANSUhEUgAAAAUA" * 2), "encoded data"),
    "a text as one string": ('"' + form("{s}").replace("\n", "\\n") + '"', "JSON"),
    "a dump of a database": ("INSERT INTO `novel` VALUES " + form("({n},'{s}'),").replace("\n", "") + ";", "source code"),
    "a web archive": (form("WARC/1.0\nWARC-Type: conversion\nContent-Length: 9\n\n{s}\n{s}\n{s}\n{s}\n{s}\n"), "a web archive"),
    "one e-mail": ("Date: Mon, 1 Jan 2024\nFrom: a@example.com\nX-Id: 1\n  2\n\n" + form("{s}"), "e-mail"),
    "IRC": (form("12:{n:02} <{w}> {s}"), "a log or a chat"),
    "parts of speech below a date": (form("19980101-01-001-0{n:02}/m  展昭/nr  [开封/ns  府/n]nt  来/v"), "tokens with labels"),
    "cells between marks": (form("{w}_!_{n}_!_story_!_{s}"), "a table"),
    "fields in Chinese": (form("标题: {w}\n正文: {s}"), "records"),
    "a table without edges": ("姓名 | 武功\n--- | :--\n" + form("{w} | {s}"), "a table"),
    "a certificate": ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "encoded data"),
    "a diff": ("@@ -1,3 +1,3 @@\n" + form(" {s}\n-{s}\n+{s}"), "a difference of files"),
    "a script": ("#!/bin/bash\n# 备份\necho 完成\n", "source code"),
    "code with comments": (form("# 统计字数\ncount{n} = len(text)\n# 去掉空格\nprint(count)"), "source code"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_content_is_identified_by_the_form_of_its_lines(name: str) -> None:
    text, expected = FORMS[name]
    assert identify_content(text) == expected
    # Where it is a part, such as a letter, a table or a score in a novel, it is read.
    assert identify_content(NOVEL + "\n" + "\n".join(text.replace("@@ ", "").split("\n")[2:6]) + "\n" + NOVEL) is None


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("codec", ["utf-8", "gb18030", "utf-16"])
def test_content_is_identified_after_decoding(name: str, codec: str) -> None:
    text, expected = CONTENT[name]

    assert identify_content(decode(text.encode(codec)).text) == expected


@pytest.mark.parametrize(
    "text",
    [
        NOVEL,
        "",
        "春眠不觉晓,处处闻啼鸟.\n夜来风雨声,花落知多少.\n" * 5,
        "[雪夜 / 无名氏 著 ]\n书籍介绍:\n" + NOVEL,
        "{雪}\n" + NOVEL,
        "\n".join(f"\t{line}" for line in NOVEL.split("\n")),
        "<雪夜>\n" + NOVEL + "\n<全书完>",
        " <unk> is the word , and <unk> too .\n" * 50,
        NOVEL.replace("。", "。<br>", 2),
        "他说，三点零五分\n[00:01.00]歌声响起\n" + NOVEL,
        "雪夜\n\n1\n\n风雪\n" * 3,
        '{"引子"}\n' + NOVEL + "\n{注：此处缺一页}\n" * 9,
        "[1]" + NOVEL.replace("，", "[2]，", 9),
        NOVEL.replace("。", "。<br>", 9),
        NOVEL.replace("展昭", "<b>展昭</b>", 6),
        "\n".join(f"他读了<三国演义>第{n}回，又读<红楼梦>，不觉天明。" for n in range(30)),
        "人之初,性本善,性相近,习相远\n苟不教,性乃迁,教之道,贵以专\n" * 4,
        "展昭听了,心中大喜,忙进了酒店.\n只见那人,身高八尺,面如冠玉.\n" * 9,
        "\n".join(f"{n // 30 + 1}:{n % 30 + 1} 起初神创造天地。" for n in range(90)),
        "\n".join(f"展昭：好大的雪，这是第{n}天了。" for n in range(30)),
        "\n".join(f"19{n:02}年3月5日，晴。今天又下了一夜的雪。" for n in range(30)),
        "12:05\n" + NOVEL + "\n13:40\n" + NOVEL,
        "\n".join(f"好大的雪啊[哈哈]#雪夜{n}# http://t.cn/{n}" for n in range(30)),
        "# 雪夜\n\n" + NOVEL + "\n\n- 一\n- 二\n\n**完**",
        NOVEL.replace("天", '天\n"好大的雪！"\n'),
        "若a = b，则c > d;\n" * 3 + NOVEL,
        "He came, he saw, he won.\nShe came, she saw, she lost.\n" * 9,
        form("- {s}"),
        form("——{s}"),
        form("展昭：{s}\n老僧：好\n白玉堂（拔剑）：来\n"),
        form("【{w}】{s}"),
        form("[{w}] {s}"),
        form("[{n}] {s}"),
        form("{n:03} {s}"),
        form("{n}.1 子曰：“{s}”"),
        form("第{n}场 夜 内\n人物：展昭、老僧\n△展昭推门\n展昭：{s}\n老僧：{s}"),
        form("问：{s}\n答：{s}"),
        form("A：{s}\nB：{s}"),
        form("Tom: {s}\nMary: {s}"),
        form("#雪夜{n}# {s}"),
        form("@展昭 {s}[微笑]"),
        form("> {s}\n{s}\n{s}"),
        form("## 第{n}章\n\n{s}\n{s}"),
        form("春眠不觉晓　　处处闻啼鸟　　{n}\n夜来风雨声　　花落知多少"),
        form("{n}  春眠不觉晓，"),
        "人之初\n性本善\n性相近\n习相远\n" * 12,
        form("{w}", 60),
        "大雪\n" * 60_000,
        form("发件人：玉堂\n收件人：展昭\n\n{s}\n{s}\n{s}\n{s}\n{s}\n"),
        form("【叮！获得经验值+{n}】\n【等级：{n}】\n{s}\n{s}"),
        form("姓名：展昭\n等级：{n}\n{s}\n{s}\n{s}\n{s}"),
        form("他算了一下：{n}+{n}，再乘以{n}。"),
        form("1{n}:{n:02} 起初神创造天地。"),
        form("他打开iPhone {n}，连上Wi-Fi，用App查了GDP。"),
        "目录\n" + form("第{n}回　雪夜") + "\n" + NOVEL,
        form("标题：{w}\n{s}\n{s}"),
        form("12:{n:02} 展昭推门进来，{s}"),
        "From: 展昭\n" + NOVEL,
        '"' + NOVEL + '"',
        NOVEL + "\nINSERT INTO 他看不懂。\n" + NOVEL,
    ],
)
def test_running_text_is_taken_for_nothing_else(text: str) -> None:
    assert identify_content(text) is None


@pytest.mark.parametrize(
    "unit",
    [
        "a1",
        "1",
        "。",
        "(",
        "( ",
        "A.",
        "A.B.",
        "=",
        "_",
        " ",
        "'",
        ".",
        "[[",
        "【】",
        "ā",
        "ā ",
        "ab cd ",
        "展",
        "展 ",
        "展(ā",
        "\\t",
        "|",
        "{",
    ],
)
def test_looking_ends_on_any_line(unit: str) -> None:
    """The time is in proportion to the length: with its square, this would take minutes."""
    for text in (unit * 100_000, "x" + unit * 100_000 + "y", f"{unit * 400}\n" * 200):
        identify_content(text)


def test_real_texts_are_running_text(shared_data: Path) -> None:
    for path in [*shared_data.glob("wuxia/*"), *shared_data.glob("gb18030/*"), *shared_data.glob("messy/*.txt")]:
        assert identify_content(decode(path.read_bytes()).text) is None, path.name
    assert (
        identify_content((shared_data / "messy" / "utf8_111-astral_poet.song.244000.json").read_text("utf-8")) == "JSON"
    )
    assert identify_content((shared_data / "messy" / "utf8_longline-190634_sanguo.txt.html").read_text("utf-8"))


@pytest.mark.parametrize("name", CONTENT)
def test_content_that_is_named_is_refused_with_the_next_step(name: str, tmp_path: Path) -> None:
    text, kind = CONTENT[name]
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")

    with pytest.raises(DataError, match=rf"{name}: holds {kind}, not running text; (read one field|convert it)"):
        TokenStream.from_files(tmp_path / name, tokenizer="characters", cache_dir=tmp_path / "cache")
    stream = TokenStream.from_files(tmp_path / name, tokenizer="characters", clean="none", encoding="utf-8")
    assert "".join(stream.texts()).rstrip("\n") == text.rstrip("\n")


def test_content_among_novels_is_skipped_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.txt").write_text(NOVEL, encoding="utf-8")
    (tmp_path / "b.txt").write_text(CONTENT["d.jsonl"][0], encoding="utf-8")

    with caplog.at_level(logging.WARNING):
        stream = TokenStream.from_files(tmp_path, tokenizer="characters", cache_dir=tmp_path / "cache")

    assert [document.name for document in stream.documents] == ["a.txt"]
    assert "b.txt: skipped (holds JSON Lines, not running text; read one field" in caplog.text


def test_inspect_shows_the_content_and_the_proportion_of_han(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(NOVEL, encoding="utf-8")
    (tmp_path / "b.txt").write_text(CONTENT["e.jsonl"][0], encoding="utf-8")
    (tmp_path / "c.txt").write_text(NOVEL[:500] + "the snow fell all night " * 40, encoding="utf-8")

    novel, records, mixed = ("\n".join(one.lines()) for one in inspect_files(tmp_path))

    assert "100% of its letters Han" in novel
    assert "holds JSON Lines" in records
    assert 20 < int(mixed.partition("%")[0].rpartition(" ")[2]) < 60


@pytest.mark.parametrize("name", ["a.json", "b.json", "c.json", "d.jsonl", "e.jsonl", "f.csv", "g.tsv"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "gb18030"])
def test_records_are_read_by_their_field(name: str, codec: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(CONTENT[name][0].encode(codec))

    stream = TokenStream.from_records(
        tmp_path, text_field="content", tokenizer="characters", cache_dir=tmp_path / "cache"
    )

    assert list(stream.texts()) == [text + "\n" for text in TEXTS]
    assert [document.name for document in stream.documents][:2] == [f"{name}#1", f"{name}#2"]
    again = TokenStream.from_records(tmp_path, text_field="title", tokenizer="characters", cache_dir=tmp_path / "cache")
    assert next(again.texts()) == "第0回\n"


STRINGS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=20)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.lists(STRINGS, min_size=2, max_size=8).filter(lambda texts: any(map(str.strip, texts))), st.booleans())
def test_every_string_comes_back_from_json_lines(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], ascii_only: bool
) -> None:
    path = tmp_path_factory.mktemp("records") / "a.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}, ensure_ascii=ascii_only) for text in texts), encoding="utf-8")

    stream = TokenStream.from_records(path, text_field="text", tokenizer="characters", encoding="utf-8", clean="none")

    assert list(stream.texts()) == [text if text.endswith("\n") else text + "\n" for text in texts if text]


def test_records_are_read_by_a_field_inside_an_object_and_longer_than_what_is_looked_at(tmp_path: Path) -> None:
    texts = [TEXTS[0], "雪夜。" * 60_000, TEXTS[1]]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"d": {"text": text}}) for text in texts[1:]), "utf-8")
    with (tmp_path / "b.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "d.text"], *enumerate(texts)])

    stream = TokenStream.from_records(tmp_path, text_field="d.text", tokenizer="characters", cache_dir=tmp_path / "c")

    assert list(stream.texts()) == [text + "\n" for text in [*texts[1:], *texts]]


def test_lists_of_strings_are_paragraphs(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "messy" / "utf8_111-astral_poet.song.244000.json"

    stream = TokenStream.from_records(path, text_field="paragraphs", tokenizer="characters", cache_dir=tmp_path)

    poems = json.loads(path.read_text("utf-8"))
    assert stream.num_documents == sum(any(map(str.strip, poem["paragraphs"])) for poem in poems)
    assert next(stream.texts()).startswith(poems[0]["paragraphs"][0].strip())


def test_bad_records_are_named(tmp_path: Path) -> None:
    def read(text: str, field: str = "text") -> None:
        (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
        TokenStream.from_records(
            tmp_path / "a.jsonl", text_field=field, tokenizer="characters", cache_dir=tmp_path / "c"
        )

    with pytest.raises(DataError, match=r"a\.jsonl, record 2: has no field 'text'; its fields are 'body'"):
        read('{"text": "雪夜"}\n{"body": "雪夜"}\n')
    with pytest.raises(DataError, match=r"record 1: the field 'text' must be a string or a list of strings, got 5"):
        read('{"text": 5}\n{"text": "雪"}')
    broken = r"a\.jsonl, line %d: is no JSON \(.+ at character \d+\); correct the line, or take it out"
    with pytest.raises(DataError, match=broken % 4):
        read('{"text": "雪夜"}\n\n{"text": "雪夜"}\n{"text": \n')
    with pytest.raises(DataError, match=broken % 1):
        read('{"text": "雪夜}\n{"text": "雪夜"}\n{"text": "雪夜"}\n')
    with pytest.raises(DataError, match=broken % 2):
        read('{"text": "雪夜"}\n{"text": "雪夜",}\n{"text": "雪夜"}\n')
    with pytest.raises(DataError, match=r"record 1: has no field 'text'"):
        read(NOVEL)
    with pytest.raises(ConfigError, match="text_field must be a str"):
        read('{"text": "雪夜"}', field=None)  # type: ignore[arg-type]


def test_each_line_of_a_text_is_a_record(tmp_path: Path) -> None:
    (tmp_path / "poems.txt").write_text("床前明月光，疑是地上霜。\n\n春眠不觉晓，处处闻啼鸟。", encoding="utf-8")
    stream = TokenStream.from_records(
        tmp_path / "poems.txt", text_field="line", tokenizer="characters", cache_dir=tmp_path / "c"
    )
    assert list(stream.texts()) == ["床前明月光，疑是地上霜。\n", "春眠不觉晓，处处闻啼鸟。\n"]
