"""The dry run of reading."""

from pathlib import Path

import pytest

from zh_lstm_lm.errors import ConfigError, DataError
from zh_lstm_lm.text.documents import ReadingOptions, read_documents
from zh_lstm_lm.text.files import find_files
from zh_lstm_lm.text.inspection import FileInspection, inspect_files
from zh_lstm_lm.text.survey import survey_files

ADVERT = "本书来自www.example.com免费txt小说下载站"
SENTENCES = [f"第{number}天夜里，展昭又一次来到那座古庙之前，只见门上多了{number}个大字。" for number in range(40)]


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))


def told(inspection: FileInspection, *, max_changes: int = 3) -> str:
    return "\n".join(inspection.lines(max_changes=max_changes))


def test_what_would_be_removed_is_shown_as_a_diff_and_nothing_is_written(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": f"{ADVERT}\n\u3000\u3000{SENTENCES[1]}\n\n{SENTENCES[2]}\n"})
    before = (tmp_path / "a.txt").read_bytes()

    (inspection,) = inspect_files(tmp_path)

    lines = told(inspection).splitlines()
    assert "utf-8" in lines[0]
    assert f"    - {ADVERT}" in lines
    assert f"    + {SENTENCES[1]}" in lines
    assert "  advert: 1" in lines
    assert "  indent: 1" in lines
    (document,) = read_documents(survey_files(find_files(tmp_path)), ReadingOptions())
    assert inspection.num_characters == len("".join(document.blocks))
    assert (tmp_path / "a.txt").read_bytes() == before
    assert not any(line.startswith("    ") for line in told(inspection, max_changes=0).splitlines())


def test_encoding_confidence_and_faults_are_told(tmp_path: Path) -> None:
    head = "\n".join(SENTENCES[:8]).encode("gb18030")
    write(tmp_path, {"a.txt": head + b"\xff\n" + "\n".join(SENTENCES).encode("gb18030")})

    (inspection,) = inspect_files(tmp_path)

    assert inspection.survey is not None
    assert inspection.survey.encoding == "gb18030"
    assert 0.9 < inspection.survey.confidence <= 1
    assert "faults: 1 undecodable" in told(inspection)
    assert f"byte {len(head)} (line 8)" in told(inspection)


def test_a_text_that_stands_twice_is_found_in_another_encoding_too(tmp_path: Path) -> None:
    text = "\n".join(SENTENCES)
    write(
        tmp_path, {"a.txt": text, "b.txt": text.encode("gb18030"), "c.txt": "\n".join(reversed(SENTENCES[:5])) + "。"}
    )
    write(tmp_path, {"d.txt": "雪夜里，白玉堂一个人坐在酒店中，听着窗外的风声，想起了许多往事。\n"})

    found = {inspection.file.name: inspection.duplicates for inspection in inspect_files(tmp_path)}

    assert dict(found["a.txt"]) == {str(tmp_path / "b.txt"): 1.0}  # c.txt holds only a few lines of it
    assert dict(found["b.txt"]) == {str(tmp_path / "a.txt"): 1.0}
    assert [share for _, share in found["c.txt"]] == [pytest.approx(0.8)] * 2  # its last line ends otherwise
    assert found["d.txt"] == ()


def test_changes_are_told_by_their_line_in_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "展昭在雪夜中行了三里，来到一座古庙之前。\n"
    write(tmp_path, {"a.txt": line * 300 + "　　" + line + line * 300})
    (whole,) = inspect_files(tmp_path)
    monkeypatch.setattr("zh_lstm_lm.text.survey._BLOCK_BYTES", 5000)

    (in_blocks,) = inspect_files(tmp_path)

    assert [change.line for change in in_blocks.changes] == [change.line for change in whole.changes] == [301]


def test_a_broken_file_does_not_hide_the_others(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": SENTENCES[0], "b.txt": bytes(range(128, 256)) * 8, "inf.txt": "雪,夜,人"})

    good, broken, stray = inspect_files(tmp_path)

    assert good.error is None
    assert broken.error is not None
    assert told(broken).startswith(f"BROKEN: {tmp_path / 'b.txt'}: seems to be no text")
    assert told(broken).count("b.txt") == 1
    assert "would be skipped" in told(stray)


def test_bad_input_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": SENTENCES[0]})

    with pytest.raises(ConfigError, match="cleaning"):
        inspect_files(tmp_path, clean="novels")
    with pytest.raises(DataError, match="encoding"):
        inspect_files(tmp_path, encoding="gb")
    with pytest.raises(DataError, match="no such file"):
        inspect_files(tmp_path / "nothing")
