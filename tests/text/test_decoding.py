"""Which encoding a text is in, and what becomes of bytes that do not fit."""

import codecs
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.text.decoding import MAX_FAULT_RATE, decode, normalize_line_ends
from zh_lstm_lm.text.language import COMMON_CHARACTERS

SIMPLIFIED = [
    "第一回　风雪夜归人",
    "展昭道：“好大的雪！”",
    "白玉堂笑道：“雪大，酒才好喝。”",
    "二人推门进了酒店，店小二忙迎上来。",
    "夜里三更，展昭换了夜行衣，出了店门。",
    "只见房上一条黑影，如飞而去。",
    "二人你来我往，斗了三十余合，不分胜负。",
    "你说这话，我们都不信；他是什么人，你又不是不知道。",
]
TRADITIONAL = [
    "第一回　風雪夜歸人",
    "展昭道：「好大的雪！」",
    "白玉堂笑道：「雪大，酒纔好喝。」",
    "二人推門進了酒店，店小二忙迎上來。",
    "夜裏三更，展昭換了夜行衣，出了店門。",
    "只見房上一條黑影，如飛而去。",
    "二人你來我往，鬥了三十餘合，不分勝負。",
    "你說這話，我們都不信；他是甚麼人，你又不是不知道。",
]
BIG5_GAPS = str.maketrans("裏纔", "裡才")  # plain Big5 lacks them, the Hong Kong supplement has them

SIMPLIFIED_CODECS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gbk", "gb18030"]
TRADITIONAL_CODECS = [*SIMPLIFIED_CODECS, "big5", "cp950", "big5hkscs"]
CASES = [
    *(pytest.param(SIMPLIFIED, codec, id=f"simplified-{codec}") for codec in SIMPLIFIED_CODECS),
    *(pytest.param(TRADITIONAL, codec, id=f"traditional-{codec}") for codec in TRADITIONAL_CODECS),
]
COMMON_IN_ALL = sorted(
    character for character in COMMON_CHARACTERS if character.encode("cp950", "ignore").decode("big5hkscs") == character
)
QUICK = settings(max_examples=80, deadline=None, derandomize=True, database=None)


def encodable(lines: list[str], codec: str) -> list[str]:
    return [line.translate(BIG5_GAPS) for line in lines] if codec in ("big5", "cp950") else lines


def long_text(lines: list[str], length: int, end: str) -> str:
    choose = random.Random(0)
    text = ""
    while len(text) < length:
        text += choose.choice(lines) + end
    return text[:length]


def codec_faults(data: bytes, codec: str) -> tuple[str, list[tuple[int, bytes]]]:
    """What Python's own decoder gives and where it stumbles, with one U+FFFD a place."""
    faults: list[tuple[int, bytes]] = []

    def note(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeDecodeError)
        faults.append((error.start, bytes(error.object[error.start : error.end])))
        return "\ufffd", error.end

    codecs.register_error("zh-lstm-lm-test-note", note)
    return data.decode(codec, errors="zh-lstm-lm-test-note"), faults


@pytest.mark.parametrize(("lines", "codec"), CASES)
def test_one_sentence_is_read_in_any_encoding(lines: list[str], codec: str) -> None:
    for sentence in encodable(lines, codec):
        decoded = decode(sentence.encode(codec))

        assert decoded.text == sentence
        assert decoded.faults == ()


@pytest.mark.parametrize("end", ["\n", "\r\n", ""], ids=["lf", "crlf", "one-line"])
@pytest.mark.parametrize(("lines", "codec"), CASES)
def test_a_long_text_is_read_in_any_encoding(lines: list[str], codec: str, end: str) -> None:
    # 70,000 and 70,001 characters: a look into the middle meets a character's first byte, or its second
    for length in (70_000, 70_001):
        text = long_text(encodable(lines, codec), length, end)

        decoded = decode(text.encode(codec))

        assert decoded.text == text
        assert decoded.faults == ()


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("gbk", "gb18030"),
        ("gb18030", "gb18030"),
        ("big5hkscs", "big5hkscs"),
    ],
)
def test_the_encoding_that_was_found_is_named(codec: str, name: str) -> None:
    assert decode("\n".join(TRADITIONAL).encode(codec)).encoding == name


@pytest.mark.parametrize(
    ("mark", "codec"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
        ("\ufeff".encode("gb18030"), "gb18030"),
    ],
)
@pytest.mark.parametrize("by_name", [False, True], ids=["auto", "named"])
def test_a_byte_order_mark_decides_and_is_no_text(mark: bytes, codec: str, by_name: bool) -> None:
    decoded = decode(mark + "雪\ufeff停".encode(codec), encoding=codec if by_name else "auto")

    assert decoded.text == "雪\ufeff停"
    assert decoded.encoding == codec
    assert decoded.confidence == 1.0


def test_a_named_encoding_is_taken_at_its_word() -> None:
    data = "雪".encode("gb18030")
    assert data.decode("utf-8") != "雪"  # it is valid UTF-8 too

    assert decode(data, encoding="gb18030").text == "雪"
    assert decode(data, encoding="GBK").text == "雪"


def test_utf_16_by_its_plain_name_reads_on_after_a_fault() -> None:
    text = "\n".join(SIMPLIFIED)
    for mark, codec, lone in (
        (codecs.BOM_UTF16_BE, "utf-16-be", b"\xd8\x00"),
        (codecs.BOM_UTF16_LE, "utf-16-le", b"\x00\xd8"),
    ):
        data = mark + text.encode(codec) + lone + text.encode(codec)

        assert decode(data, encoding="utf-16").text == f"{text}\ufffd{text}"


def test_an_empty_file_is_an_empty_text() -> None:
    decoded = decode(b"")

    assert decoded.text == ""
    assert decoded.faults == ()


@pytest.mark.parametrize("codec", ["utf-8", "gb18030", "big5hkscs", "cp950", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("nuls", [1, 2, 3, 9, 58, 580, 50_001])
@pytest.mark.parametrize("place", ["{text}{nuls}", "{nuls}{text}", "{text}{nuls}{text}"])
def test_nuls_do_not_hide_the_encoding_and_stay(codec: str, nuls: int, place: str) -> None:
    lines = "\n".join(encodable(TRADITIONAL, "cp950"))
    text = place.format(text=lines, nuls="\0" * nuls)

    decoded = decode(text.encode(codec))

    assert decoded.text == text
    assert decoded.encoding == ("big5hkscs" if codec == "cp950" else codec)


def test_plain_ascii_is_read() -> None:
    assert decode(b"It was a dark and stormy night.\r\n").text == "It was a dark and stormy night.\r\n"


def test_characters_beyond_the_bmp_are_read() -> None:
    text = "\n".join([*SIMPLIFIED, "𠮷野家里有三只🐑。"])
    for codec in ("utf-8", "utf-16-le", "utf-16-be", "gb18030"):
        assert decode(text.encode(codec)).text == text


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        (b"\xec ", b"\xec"),
        (b"\x92 ", b"\x92"),
        (b"\xa3\r\n", b"\xa3"),
        (b"\x80", b"\x80"),
        (b"\xff", b"\xff"),
    ],
)
def test_half_a_character_in_a_gb_file_costs_that_character_only(broken: bytes, fault: bytes) -> None:
    before, after = ("\n".join(SIMPLIFIED) + "\n").encode("gb18030"), "\n".join(SIMPLIFIED).encode("gb18030")

    decoded = decode(before + broken + after)

    assert decoded.encoding == "gb18030"
    assert decoded.text == before.decode("gb18030") + "\ufffd" + (broken[1:] + after).decode("gb18030")
    (only,) = decoded.faults
    assert (only.offset, only.line, only.data) == (len(before), len(SIMPLIFIED) + 1, fault)


@pytest.mark.parametrize("codec", ["utf-8", "gb18030"])
def test_a_file_cut_off_inside_its_last_character_loses_only_that(codec: str) -> None:
    text = "\n".join(SIMPLIFIED)
    data = (text + "话").encode(codec)[:-1]

    decoded = decode(data)

    assert decoded.text == text + "\ufffd"
    assert [fault.offset for fault in decoded.faults] == [len(text.encode(codec))]
    assert decoded.faults[0].line == len(SIMPLIFIED)


@QUICK
@given(
    codec=st.sampled_from(["utf-8", "gb18030", "big5hkscs", "utf-16-le", "utf-16-be"]),
    named=st.booleans(),
    spoiled=st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=3)), max_size=4),
)
def test_faults_are_where_python_s_own_decoder_finds_them(
    codec: str, named: bool, spoiled: list[tuple[int, bytes]]
) -> None:
    data = "\n".join(TRADITIONAL * 40).encode(codec)
    for number, noise in spoiled:
        place, garbage = number % len(data), noise
        if codec.startswith("utf-16"):  # a lone surrogate; a byte too many would shift all behind it
            place, garbage = place // 2 * 2, "\ud800".encode(codec, "surrogatepass")
        data = data[:place] + garbage + data[place:]
    text, faults = codec_faults(data, codec)

    decoded = decode(data, encoding=codec if named else "auto")

    assert decoded.encoding == codec
    assert decoded.text == text
    assert [(fault.offset, fault.data) for fault in decoded.faults] == faults
    lines = [data[:offset].decode(codec, errors="replace").count("\n") + 1 for offset, _ in faults]
    assert [fault.line for fault in decoded.faults] == lines


@QUICK
@given(
    text=st.text(st.sampled_from(COMMON_IN_ALL), min_size=50, max_size=120),
    codec=st.sampled_from(["utf-8", "gb18030", "big5hkscs", "cp950", "utf-16-le", "utf-16-be"]),
)
def test_any_fifty_common_characters_come_back_from_any_encoding(text: str, codec: str) -> None:
    decoded = decode(text.encode(codec))

    assert decoded.text == text
    assert 0.995 <= decoded.confidence <= 1.0


@pytest.mark.parametrize("codec", ["utf-8", "gb18030", "big5hkscs", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "inside", ["\ufeff", "\0", "\x1a", "~}", "\x85", "\u2028", "\x0b", "\x0c", "\t", "\r\r\n", "\r"]
)
def test_odd_characters_stay_as_they_are(codec: str, inside: str) -> None:
    text = inside.join(TRADITIONAL) + inside
    try:
        data = text.encode(codec)
    except UnicodeEncodeError:
        pytest.skip(f"{codec} has no {inside!r}")

    assert decode(data).text == text


def test_neither_a_file_of_nuls_nor_of_line_ends_has_an_encoding_to_find() -> None:
    for data in (b"\0" * 600, b"\r\n", b"\r\r\n" * 50, b"\x1a"):
        decoded = decode(data)

        assert decoded.text == data.decode("ascii")
        assert decoded.encoding == "utf-8"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n", "\r"])
@pytest.mark.parametrize("codec", ["utf-8", "gb18030", "big5hkscs", "utf-16-le"])
def test_the_line_of_a_fault_is_counted_as_in_normalize_line_ends(codec: str, end: str) -> None:
    sound = end.join([*TRADITIONAL * 30, ""])
    broken = b"\x00\xd8" if codec == "utf-16-le" else b"\xff"
    data = sound.encode(codec) + broken + end.encode(codec) + broken + "\x0b\u2028".encode(codec, "ignore") + broken

    decoded = decode(data)

    first, second, third = (fault.line for fault in decoded.faults)
    assert first == normalize_line_ends(sound).count("\n") + 1 == len(TRADITIONAL) * 30 + 1
    assert second == third == first + 1


@pytest.mark.parametrize("codec", ["utf-8", "gb18030", "big5hkscs"])
@pytest.mark.parametrize("shift", range(4))
def test_many_faults_in_one_long_line_are_each_found(codec: str, shift: int) -> None:
    # 200,000 characters without a line end: the faults lie at every place relative to whatever pieces it is read in
    sentence = ("好" * shift + "".join(TRADITIONAL)).encode(codec)
    data = (sentence * 3 + b"\xff") * (200_000 // (3 * 130))
    text, faults = codec_faults(data, codec)

    decoded = decode(data)

    assert decoded.text == text
    assert [(fault.offset, fault.data) for fault in decoded.faults] == faults
    assert len(faults) > 500
    assert {fault.line for fault in decoded.faults} == {1}


def test_an_encoding_with_states_is_read_on_beyond_a_fault() -> None:
    data = ("第一回　风雪夜归人\n".encode("hz") * 900) + b"\xff" + "好大的雪".encode("hz")

    decoded = decode(data, encoding="hz")

    assert decoded.text == "第一回　风雪夜归人\n" * 900 + "\ufffd好大的雪"
    assert [(fault.offset, fault.line) for fault in decoded.faults] == [(data.index(b"\xff"), 901)]


@pytest.mark.parametrize(("first", "second"), [("utf-8", "gb18030"), ("gb18030", "utf-8"), ("utf-8", "big5")])
def test_a_file_of_two_encodings_is_refused_with_the_place_of_the_second(first: str, second: str) -> None:
    text = "展昭在雪中行了三里來到古廟之前只見門上有幾個大字便下馬走了進去說道好大的雪我們不知是何人也。\n" * 9

    with pytest.raises(
        DataError, match=rf"line \d+: .* from there on it seems to be ({first}|{second}): convert the parts"
    ):
        decode(text.encode(first) + text.encode(second))


@pytest.mark.parametrize("codec", ["utf-32-le", "utf-32-be"])
def test_utf_32_without_a_mark_is_read(codec: str) -> None:
    text = "話說展昭在雪中行了三里，來到古廟之前。𠮷\n"

    for times in (1, 300):
        assert decode((text * times).encode(codec)) == decode((text * times).encode(codec), encoding=codec)


def test_too_many_faults_are_refused_with_the_first_of_them() -> None:
    head = "".join(line + "\n" for line in SIMPLIFIED).encode("gb18030")
    data = head + b"\x80\n" * 40

    with pytest.raises(DataError) as caught:
        decode(data, encoding="gb18030", name="novel.txt")

    message = str(caught.value)
    assert message.startswith(f"novel.txt, byte {len(head)}, line {len(SIMPLIFIED) + 1}: not valid gb18030 (80)")
    assert "another encoding" in message


def test_faults_up_to_the_limit_are_only_counted() -> None:
    sound = b"a" * 9_900
    assert MAX_FAULT_RATE == 0.01

    assert len(decode(sound + b"\xff" * 100, encoding="utf-8").faults) == 100
    with pytest.raises(DataError, match="not valid utf-8"):
        decode(sound + b"\xff" * 101, encoding="utf-8")


@pytest.mark.parametrize("name", ["gb2313", "", "base64", "rot13", "utf-8\0", None, 8])
def test_an_unknown_encoding_is_refused_by_name(name: str) -> None:
    with pytest.raises(DataError, match=rf"encoding must be 'auto' or .*got {re.escape(repr(name))}"):
        decode("雪".encode(), encoding=name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("一\n二", "一\n二"),
        ("一\r\n二\r\n", "一\n二\n"),
        ("一\r二\r", "一\n二\n"),
        ("一\r\r\n二", "一\n二"),
        ("一\r\n\n\r\n二", "一\n\n\n二"),
        ("一\r\r\r\n二", "一\n\n二"),
        ("一\r\r\r\r\n二", "一\n\n\n二"),
        ("一\r\n二\n三\r四\r\r\n五", "一\n二\n三\n四\n五"),
        ("一\u2028二\x85三\x0b四\x0c五\u2029", "一\u2028二\x85三\x0b四\x0c五\u2029"),
        ("一\0\ufeff~}\x1a二", "一\0\ufeff~}\x1a二"),
    ],
)
def test_every_kind_of_line_end_becomes_a_newline(text: str, expected: str) -> None:
    assert normalize_line_ends(text) == expected


@QUICK
@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\r\n"), min_size=1), min_size=1, max_size=6),
    ends=st.lists(st.sampled_from(["\n", "\r\n", "\r\r\n", "\r"]), min_size=6, max_size=6),
)
def test_mixed_line_ends_lose_no_line_and_add_none(lines: list[str], ends: list[str]) -> None:
    mixed = "".join(line + end for line, end in zip(lines, ends, strict=False))

    assert normalize_line_ends(mixed) == "".join(line + "\n" for line in lines)


@pytest.mark.parametrize(("folder", "codec"), [("gb18030", "gb18030"), ("big5", "big5hkscs")])
def test_real_novels_are_read_in_their_encoding(shared_data: Path, folder: str, codec: str) -> None:
    files = sorted((shared_data / folder).glob("*.txt"))
    assert len(files) == 4
    for file in files:
        data = file.read_bytes()
        text, faults = codec_faults(data, codec)

        decoded = decode(data)

        assert decoded.encoding == codec, file.name
        assert decoded.text == text, file.name
        assert [(fault.offset, fault.data) for fault in decoded.faults] == faults


def test_messy_real_files_are_read(shared_data: Path) -> None:
    codec_of = {"gb18030": "gb18030", "gbk-traditional": "gb18030", "utf8": "utf-8", "utf8bom": "utf-8"}
    files = sorted((shared_data / "messy").iterdir())
    assert len(files) == 7
    for file in files:
        codec = codec_of[file.name.split("_")[0]]
        data = file.read_bytes()

        decoded = decode(data)

        assert decoded.encoding == codec, file.name
        assert decoded.text == data.decode(codec).removeprefix("\ufeff"), file.name
        assert decoded.faults == ()


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "gb18030"])
def test_a_real_novel_is_read_from_other_encodings(shared_data: Path, codec: str) -> None:
    text = (shared_data / "wuxia" / "争春园.txt").read_text(encoding="utf-8")

    assert decode(text.encode(codec)).text == text
