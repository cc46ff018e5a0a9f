"""From folders, files, patterns and lists to documents."""

import io
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.text import survey
from zh_lstm_lm.text.documents import Document, ReadingOptions, read_documents, report_findings
from zh_lstm_lm.text.files import Paths, find_files
from zh_lstm_lm.text.survey import decoded_blocks, survey_file, survey_files

NOVEL = "展昭道：“好大的雪！”\n二人进了酒店。\n"
LIST_OF_NAMES = "三侠五义,小五义,续小五义"


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def names(paths: Paths) -> list[str]:
    return [file.name for file in find_files(paths)]


def text_of(document: Document) -> str:
    return "".join(document.blocks)


def read(paths: Paths, *, encoding: str = "auto", clean: str = "novel", normalize: str = "none") -> list[Document]:
    """The documents, each as one block."""
    options = ReadingOptions(encoding, clean, normalize)
    surveys = survey_files(find_files(paths), encoding=encoding, clean=clean)
    report_findings(surveys, options)
    return [Document(document.name, (text_of(document),)) for document in read_documents(surveys, options)]


def test_a_folder_gives_its_txt_files_at_any_depth_in_order(tmp_path: Path) -> None:
    content = dict.fromkeys(
        ["b.txt", "a.txt", "sub/deep/c.TXT", "sub/a.txt", "notes.md", ".hidden.txt", "a.txt~"], NOVEL
    )
    write(tmp_path, dict(content))

    expected = ["a.txt", "b.txt", "sub/a.txt", "sub/deep/c.TXT"]
    assert names(tmp_path) == expected
    assert names(str(tmp_path)) == expected
    assert [document.name for document in read(tmp_path)] == expected


def test_a_file_is_read_whatever_its_name_ends_in(tmp_path: Path) -> None:
    write(tmp_path, {"novel.md": NOVEL})

    assert read(tmp_path / "novel.md") == [Document("novel.md", (NOVEL.rstrip("\n"),))]


def test_a_pattern_gives_the_files_that_match_in_order(tmp_path: Path) -> None:
    write(tmp_path, {"b1.txt": NOVEL, "a1.txt": NOVEL, "a2.md": NOVEL, "sub/a3.txt": NOVEL, "a4.txt/x.md": NOVEL})

    assert names(str(tmp_path / "*1.txt")) == ["a1.txt", "b1.txt"]
    assert names(str(tmp_path / "**" / "a*.txt")) == ["a1.txt", "a3.txt"]
    assert names(tmp_path / "?2.md") == ["a2.md"]


def test_a_file_with_brackets_in_its_name_is_that_file(tmp_path: Path) -> None:
    write(tmp_path, {"[完]雪.txt": NOVEL, "完雪.txt": "别的。\n"})

    assert names(tmp_path / "[完]雪.txt") == ["[完]雪.txt"]


def test_a_list_keeps_its_order_and_takes_each_file_once(tmp_path: Path) -> None:
    write(tmp_path, {"x/b.txt": NOVEL, "x/a.txt": NOVEL, "c.txt": NOVEL})
    (tmp_path / "link.txt").symlink_to(tmp_path / "c.txt")

    paths: list[str | Path] = [
        tmp_path / "c.txt",
        str(tmp_path / "x"),
        tmp_path / "x" / "a.txt",
        str(tmp_path / "x" / "*.txt"),
    ]
    assert names(paths) == ["c.txt", "a.txt", "b.txt"]
    assert names(iter(paths)) == ["c.txt", "a.txt", "b.txt"]
    assert names([tmp_path / "c.txt", tmp_path / "link.txt", tmp_path / "x" / ".." / "c.txt"]) == ["c.txt"]


def test_notes_beside_the_novels_are_skipped_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    strays = {"inf.txt": LIST_OF_NAMES, "README.txt": NOVEL, "书目.txt": "射雕，神雕，倚天\n", "licence.TXT": NOVEL}
    strays |= {
        "数据来源.txt": "本数据来自网络。\n",
        "版权声明（必看）.txt": "仅供学习。\n",
        "欢迎访问本站.txt": "雪夜书屋\n",
    }
    write(tmp_path, {"novel.txt": NOVEL, **strays})

    with caplog.at_level(logging.WARNING):
        assert [document.name for document in read(tmp_path)] == ["novel.txt"]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == len(strays)
    for stray in strays:
        assert any(stray in line and "name it itself" in line for line in told)
    assert [document.name for document in read(str(tmp_path / "*.txt"))] == ["novel.txt"]


@pytest.mark.parametrize("stray", ["inf.txt", "README.txt"])
def test_a_note_that_is_named_itself_is_read(tmp_path: Path, stray: str) -> None:
    write(tmp_path, {"novel.txt": NOVEL, stray: LIST_OF_NAMES})

    assert read(tmp_path / stray) == [Document(stray, (LIST_OF_NAMES,))]


@pytest.mark.parametrize("folder_first", [False, True])
def test_a_note_that_is_named_beside_its_folder_is_read(tmp_path: Path, folder_first: bool) -> None:
    write(tmp_path, {"novel.txt": NOVEL, "inf.txt": LIST_OF_NAMES})
    paths = [tmp_path / "inf.txt", tmp_path]

    found = read(reversed(paths) if folder_first else paths)

    assert {document.name for document in found} == {"inf.txt", "novel.txt"}


def test_a_collection_beside_its_novels_is_read_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    novels = [
        "".join(f"第{part}卷第{number}天夜里，展昭又一次来到那座古庙之前。\n" for number in range(50))
        for part in "一二三"
    ]
    write(tmp_path, {f"{number}.txt": novel for number, novel in enumerate(novels)})
    write(tmp_path, {"全集.txt": "".join(novels)})

    with caplog.at_level(logging.WARNING):
        found = {document.name: text_of(document) for document in read(tmp_path)}

    assert found["全集.txt"].count("\n") == 3 * 50 - 1
    assert len(found) == 4
    for number in range(3):
        assert f"{number}.txt: 100 % of its long paragraphs also stand in {tmp_path / '全集.txt'}" in caplog.text


def test_short_texts_that_are_no_lists_stay(tmp_path: Path) -> None:
    texts = {
        "a.txt": "雪，夜，人，归来。",
        "b.txt": "雪夜",
        "c.txt": "雪,夜,人\n雪,夜,人",
        "d.txt": "雪,夜," + "人" * 21,
    }
    write(tmp_path, dict(texts))

    assert {document.name: text_of(document) for document in read(tmp_path)} == texts


def test_files_without_text_are_skipped_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, {"a.txt": "", "b.txt": " \u3000\n\r\n", "c.txt": NOVEL, "d.txt": "\ufeff"})

    with caplog.at_level(logging.WARNING):
        assert [document.name for document in read(tmp_path)] == ["c.txt"]
    told = [record.getMessage() for record in caplog.records]
    assert [line.split(": ")[0] for line in told] == [str(tmp_path / name) for name in ("a.txt", "b.txt", "d.txt")]
    assert all("no text" in line for line in told)


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
@pytest.mark.parametrize("clean", ["novel", "none"])
def test_nothing_but_empty_files_is_told(tmp_path: Path, content: str, clean: str) -> None:
    write(tmp_path, {"a.txt": content})

    with pytest.raises(DataError, match=r"no text to learn from in .*a\.txt"):
        read(tmp_path / "a.txt", clean=clean)


def test_what_does_not_exist_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": NOVEL, "only-md/a.md": NOVEL})

    with pytest.raises(DataError, match=r"nowhere: no such file or folder"):
        find_files(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"b\.txt: no such file"):
        find_files([tmp_path / "a.txt", tmp_path / "b.txt"])
    with pytest.raises(DataError, match=r"only-md: no \.txt file in this folder"):
        find_files(tmp_path / "only-md")
    with pytest.raises(DataError, match=r"z\*\.txt: no file matches"):
        find_files(str(tmp_path / "z*.txt"))


@pytest.mark.parametrize("nothing", [[], (), iter([])])
def test_an_empty_list_of_paths_is_told(nothing: Paths) -> None:
    with pytest.raises(DataError, match="no file was named"):
        find_files(nothing)


@pytest.mark.parametrize("wrong", [None, 5, [None], ["a.txt", 5], b"a.txt"])
def test_what_is_no_path_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Paths) -> None:
    write(tmp_path, {"a.txt": NOVEL})
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DataError, match="paths must be a folder, a file, a glob pattern or a list of these, got"):
        find_files(wrong)


def test_a_whole_text_in_place_of_a_path_is_told() -> None:
    with pytest.raises(DataError):
        find_files(NOVEL * 100)


def test_an_empty_path_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a.txt": NOVEL})
    monkeypatch.chdir(tmp_path)

    assert names(".") == ["a.txt"]
    with pytest.raises(DataError):
        find_files("")


def test_all_broken_files_are_named_at_once(tmp_path: Path) -> None:
    faulty = NOVEL.encode("utf-8") * 10 + b"\xff\n" * 30
    write(tmp_path, {"a.txt": bytes(range(256)) * 20, "b.txt": NOVEL, "c.txt": faulty})

    with pytest.raises(DataError) as caught:
        read(tmp_path)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{tmp_path / 'a.txt'}: seems to be no text")
    assert second.startswith(f"{tmp_path / 'c.txt'}, byte {len(NOVEL.encode('utf-8')) * 10}, line 21: not valid utf-8")


def test_very_many_broken_files_are_counted(tmp_path: Path) -> None:
    write(tmp_path, {f"{number:02}.txt": bytes(range(256)) * 20 for number in range(23)})

    with pytest.raises(DataError, match=r"19\.txt: seems to be no text") as caught:
        read(tmp_path)
    assert "20.txt" not in str(caught.value)
    assert str(caught.value).endswith("… and 3 more")


def test_an_unknown_encoding_is_told_once_not_for_every_file(tmp_path: Path) -> None:
    write(tmp_path, {f"{number}.txt": NOVEL for number in range(5)})

    with pytest.raises(DataError) as caught:
        read(tmp_path, encoding="gb2313")
    assert str(caught.value).count("gb2313") == 1


def test_undecodable_places_are_reported_once_with_byte_and_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = (NOVEL * 20).encode("gb18030")
    write(tmp_path, {"a.txt": head + b"\x80\n\xff" + head})

    with caplog.at_level(logging.WARNING):
        (document,) = read(tmp_path)
    assert text_of(document) == f"{NOVEL * 20}\ufffd\n\ufffd{NOVEL * 20}".rstrip("\n")
    (record,) = caplog.records
    told = record.getMessage()
    assert told.startswith(f"{tmp_path / 'a.txt'}: 2 places are not valid gb18030")
    assert told.endswith(f"at byte {len(head)}, line 41")


def test_each_file_of_a_folder_is_decoded_by_itself(tmp_path: Path) -> None:
    codecs = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030"]
    write(tmp_path, {f"{number}.txt": NOVEL.encode(codec) for number, codec in enumerate(codecs)})

    assert [text_of(document) for document in read(tmp_path)] == [NOVEL.rstrip("\n")] * len(codecs)


def test_line_ends_are_newlines_under_every_cleaning(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": "\u3000一更。\r\n\r\n二更。\r\r\n三更。\r四更。\n"})

    assert text_of(read(tmp_path, clean="none")[0]) == "\u3000一更。\n\n二更。\n三更。\n四更。\n"
    assert text_of(read(tmp_path, clean="novel")[0]) == "一更。\n二更。\n三更。\n四更。"


@pytest.mark.parametrize(
    ("text", "paragraphs"),
    [("", []), ("\n", [""]), ("雪", ["雪"]), ("雪\n", ["雪"]), ("雪\n\n夜", ["雪", "", "夜"]), ("雪\n\n", ["雪", ""])],
)
def test_a_newline_ends_a_paragraph(text: str, paragraphs: list[str]) -> None:
    assert list(Document("a", (text,)).paragraphs()) == paragraphs


@pytest.mark.parametrize("codec", ["utf-8", "gb18030", "big5hkscs", "utf-16-le", "utf-16"])
@pytest.mark.parametrize("clean", ["novel", "none"])
def test_a_large_file_is_read_in_blocks_as_it_is_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, clean: str
) -> None:
    lines = [
        f"\u3000\u3000二人在雪夜中行了{number}里，來到一座古廟之前，只見門上寫著三個大字。" for number in range(400)
    ]
    write(tmp_path, {"a.txt": "\r\n\r\n".join(lines).encode(codec)})
    (whole,) = read_documents(survey_files(find_files(tmp_path), clean=clean), ReadingOptions(clean=clean))
    expected = list(whole.paragraphs())
    monkeypatch.setattr(survey, "_BLOCK_BYTES", 5000)

    (document,) = read_documents(survey_files(find_files(tmp_path), clean=clean), ReadingOptions(clean=clean))
    blocks = list(document.blocks)

    assert len(blocks) > 4
    assert list(Document("a", blocks).paragraphs()) == expected


def test_faults_of_a_large_file_are_told_by_their_place_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "展昭在雪夜中行了三里，来到一座古庙之前。\r\n".encode("gb18030")
    write(tmp_path, {"a.txt": line * 400 + b"\xff" + line * 400})
    monkeypatch.setattr(survey, "_BLOCK_BYTES", 5000)

    found = survey_file(find_files(tmp_path)[0], encoding="auto")

    assert [(fault.offset, fault.line) for fault in found.faults] == [(400 * len(line), 401)]
    assert found.encoding == "gb18030"
    assert found.num_characters == 800 * (len(line.decode("gb18030")) - 1) + 1


@pytest.mark.parametrize(
    ("own", "named", "warned"),
    [
        ("utf-8", "utf-16", True),
        ("utf-8", "latin-1", True),
        ("gb18030", "latin-1", True),
        ("utf-8", "utf-8", False),
        ("gb18030", "gbk", False),
    ],
)
def test_an_encoding_that_is_named_by_mistake_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, own: str, named: str, warned: bool
) -> None:
    (tmp_path / "a.txt").write_bytes(
        ("展昭在雪夜里来到古庙之前，只见门上有几个大字，便下马走了进去，说道：好大的雪。\n" * 9).encode(own)
    )

    survey_files(find_files(tmp_path / "a.txt"), encoding=named)

    assert (f"a.txt: read as {named}, as it was named, but its bytes seem to be {own}" in caplog.text) == warned


def test_three_broken_files_of_a_thousand_are_named_together(tmp_path: Path) -> None:
    write(tmp_path, {f"{number:04}.txt": f"第{number}回。雪夜，他来到了古庙之前。" for number in range(1000)})
    broken = ("0003.txt", "0500.txt", "0999.txt")
    for name in broken:
        (tmp_path / name).write_bytes(bytes(range(128, 256)) * 8)

    with pytest.raises(DataError) as raised:
        read(tmp_path)

    told = str(raised.value).splitlines()
    assert len(told) == 3
    assert all(name in line for name, line in zip(broken, told, strict=True))


def test_links_that_lead_in_circles_are_followed_once(tmp_path: Path) -> None:
    write(tmp_path, {"novels/a.txt": NOVEL, "elsewhere/b.txt": NOVEL})
    (tmp_path / "novels" / "self").symlink_to(tmp_path / "novels")
    (tmp_path / "novels" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "novels")

    assert names(tmp_path / "novels") == ["a.txt", "more/b.txt"]


def test_links_that_lead_nowhere_are_named_as_broken_files(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": NOVEL, "broken.txt": bytes(range(128, 256)) * 8})
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    (tmp_path / "dangling.txt").symlink_to(tmp_path / "nothing.txt")

    for paths in (tmp_path, tmp_path / "*.txt"):
        with pytest.raises(DataError) as raised:
            read(paths)
        told = str(raised.value).splitlines()
        assert len(told) == 3
        assert all(name in line for name, line in zip(("broken.txt", "dangling.txt", "loop.txt"), told, strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes for a name")
def test_a_name_that_is_no_utf8_is_shown_as_text(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode("包公案.txt".encode("gbk"))).write_text(NOVEL, encoding="utf-8")

    (document,) = read(tmp_path)

    assert document.name.encode("utf-8").endswith(b".txt")
    assert "\ufffd" in document.name


def test_a_file_that_the_system_does_not_give_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a.txt": NOVEL, "b.txt": NOVEL, "c.txt": NOVEL})
    opened = Path.open

    def refuse(path: Path, *options: Any, **more: Any) -> Any:
        if path.name in ("a.txt", "c.txt"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *options, **more)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"a\.txt: cannot be read \(Permission denied\)(.|\n)*c\.txt: cannot"):
        read(tmp_path)


def test_files_that_may_not_be_looked_at_are_not_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a.txt": NOVEL, "locked/b.txt": NOVEL})
    looked_at = Path.stat

    def refuse(path: Path, **options: Any) -> os.stat_result:
        if path.name == "b.txt":
            raise PermissionError(13, "Permission denied")
        return looked_at(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)

    assert names(tmp_path) == ["a.txt", "locked/b.txt"]
    assert names(tmp_path / "**" / "*.txt") == ["a.txt", "b.txt"]


def test_text_is_normalised_after_it_is_cleaned(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": "\u3000\u3000展昭ＡＢ１２，好！\n"})

    assert text_of(read(tmp_path, normalize="nfc+width")[0]) == "展昭AB12，好！"
    assert text_of(read(tmp_path)[0]) == "展昭ＡＢ１２，好！"


def test_an_error_in_a_large_file_names_its_place_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "展昭在雪夜中行了三里，来到一座古庙之前。\r\n".encode("gb18030")
    write(tmp_path, {"a.txt": line * 400 + b"\xff" * 200 + line * 400})
    monkeypatch.setattr(survey, "_BLOCK_BYTES", 5000)

    with pytest.raises(DataError, match=f"byte {400 * len(line)}, line 401: not valid gb18030"):
        read(tmp_path)


def test_a_large_file_that_is_no_text_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a.txt": bytes(range(128, 256)) * 80})
    monkeypatch.setattr(survey, "_BLOCK_BYTES", 5000)

    with pytest.raises(DataError, match=r"a\.txt: seems to be no text"):
        read(tmp_path)


def test_a_long_line_without_a_full_stop_is_no_list_of_names(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("雪夜展昭道好大的雪，" * 20_000, encoding="utf-8")

    (found,) = survey_files(find_files(tmp_path))

    assert found.skipped is None


def test_a_disk_that_gives_up_halfway_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a.txt": NOVEL})

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    (file,) = find_files(tmp_path)
    monkeypatch.setattr(type(file), "open", lambda self: Failing())
    with pytest.raises(DataError, match=r"a\.txt: cannot be read \(Input/output error\)"):
        list(decoded_blocks(file, encoding="auto"))


def test_bytes_of_a_newline_within_two_characters_end_no_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(["ਅ一" * 80, "展昭", "ਅ一" * 100])  # 0A 00 in UTF-16, but not where a character begins
    write(tmp_path, {"a.txt": text.encode("utf-16-le")})
    monkeypatch.setattr(survey, "_BLOCK_BYTES", 64)

    blocks = [decoded.text for decoded in decoded_blocks(find_files(tmp_path)[0], encoding="utf-16-le")]

    assert "".join(blocks) == text
    assert len(blocks) > 1


def test_what_may_not_be_listed_or_looked_up_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a.txt": NOVEL, "locked/b.txt": NOVEL})
    listed = os.scandir

    def refuse(path: Any = ".") -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        with pytest.raises(DataError, match=r"locked: cannot be listed \(Permission denied\)"):
            find_files(tmp_path)

    def forbid(path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_file", forbid)
        with pytest.raises(DataError, match=r"a\.txt: cannot be read \(Permission denied\)"):
            find_files(tmp_path / "a.txt")


def test_short_messages_without_full_stops_are_read_where_the_folder_consists_of_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(9):
        (tmp_path / f"{number}.txt").write_text(f"下雪了，真好看，第{number}次了", encoding="utf-8")

    documents = [*read_documents(survey_files(find_files(tmp_path)), ReadingOptions())]

    assert len(documents) == 9
    assert "skipped" not in caplog.text


def test_of_many_files_with_the_same_finding_the_first_ones_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(200):
        (tmp_path / f"{number:03}.txt").write_text(
            "展昭来了，他说道：好大的雪，我们进去喝一杯酒吧。\n", encoding="utf-8"
        )

    surveys = survey_files(find_files(tmp_path))
    report_findings(surveys, ReadingOptions())

    assert len(caplog.records) == 20
    assert "181 more files like that; zh-lstm-lm inspect" in caplog.records[-1].getMessage()
