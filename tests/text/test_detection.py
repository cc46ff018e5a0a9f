"""What is found to be Chinese, in which encoding, and what is refused as something else."""

import base64
import binascii
import gzip
import io
import pickle
import quopri
import random
import re
import struct
import tarfile
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.text.decoding import decode
from zh_lstm_lm.text.detection import MIN_CONFIDENCE
from zh_lstm_lm.text.language import MAX_FOREIGN_SHARE

CHINESE = "第一回　風雪夜歸人。展昭道：「好大的雪！」二人推門進了酒店，店小二忙迎上來，你說這話，我們都不信。"
JAPANESE = "むかし、山の村に一人の男がいた。男は毎日、川へ行って魚をとり、町でそれを売って暮らしていた。ある日のこと、雨がふった。"
KOREAN = "옛날 어느 산골 마을에 한 남자가 살고 있었다. 남자는 날마다 강에 나가 고기를 잡아서 시장에 내다 팔았다. 어느 날 비가 왔다."
FRENCH = (
    "Il était une fois un pêcheur âgé qui habitait près de la forêt. Déjà l'été s'achevait, et le château était fermé."
)
GERMAN = (
    "Es war einmal ein alter Müller, der wohnte über dem Fluß und hörte gern schöne Lieder; größer als er war niemand."
)
SPANISH = (
    "Había una vez un niño pequeño que vivía en la montaña. Después de la lluvia volvió el sol, y él también volvió."
)
RUSSIAN = "Жил да был старик у самого синего моря, и каждый день ходил он ловить рыбу."
ENGLISH = "It was a dark and stormy night, and the rain fell in torrents."
ENCODINGS = ["utf-8", "gb18030", "big5hkscs", "cp950", "utf-16-le", "utf-16-be"]


def zip_of(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.txt"), text)  # without a time of day
    return buffer.getvalue()


def tar_of(text: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("a.txt")
        entry.size = len(text.encode())
        archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def refusal(data: bytes) -> str:
    with pytest.raises(DataError) as caught:
        decode(data, name="novel.txt")
    message = str(caught.value)
    assert message.startswith("novel.txt: ")
    assert "to read it anyhow, name the encoding, as in encoding='" in message
    return message


@pytest.mark.parametrize(
    ("text", "codec", "what"),
    [
        (JAPANESE, "cp932", "Japanese in Shift-JIS"),
        (JAPANESE, "euc_jp", "Japanese in EUC-JP"),
        *((JAPANESE, codec, "Japanese, not Chinese") for codec in ("utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "gb18030")),
        (KOREAN, "cp949", "Korean in EUC-KR"),
        *((KOREAN, codec, "Korean, not Chinese") for codec in ("utf-8", "utf-16", "utf-16-le", "utf-16-be")),
        (FRENCH, "latin-1", "Western"),
        (GERMAN, "cp1252", "Western"),
        (SPANISH, "latin-1", "Western"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("times", [1, 300])
def test_foreign_text_is_refused_as_such_and_read_by_name(text: str, codec: str, what: str, times: int) -> None:
    data = (text * times).encode(codec)

    message = refusal(data)

    assert f"seems to be {what}" in message or f"seems to be a {what}" in message
    assert decode(data, encoding=codec).text == text * times


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(50), "a PNG image"),
        (zip_of(CHINESE), "a ZIP archive"),
        (gzip.compress(CHINESE.encode(), mtime=0), "a gzip archive"),
        (b"\x7fELF\x02\x01\x01" + bytes(500), "a program"),
        (b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\n", "a PDF document"),
        (zlib.compress(random.Random(0).randbytes(3_000)), "binary data"),
        (tar_of(CHINESE), "a tar archive"),
        (bytes(60) + b"BOOKMOBI" + bytes(99) + CHINESE.encode(), "an e-book of Mobipocket"),
        (pickle.dumps([CHINESE], protocol=4), "serialised Python objects"),
        (b"\x93NUMPY\x01\0v\0{'descr': '<i8'}" + bytes(100) + b"\x01\0\0\0" * 300, "an array of NumPy"),
        (
            b"begin 644 a.txt\n"
            + b"".join(binascii.b2a_uu(CHINESE.encode()[at : at + 45]) for at in range(0, 900, 45)),
            "uuencoded data",
        ),
        (struct.pack("<2000i", *range(2_000)), "binary data"),
        (struct.pack("<2000d", *(number / 7 for number in range(2_000))), "binary data"),
        *((random.Random(seed).randbytes(size), "binary data") for seed in range(5) for size in (400, 5_001, 200_000)),
    ],
)
def test_binary_files_are_refused_as_such(data: bytes, what: str) -> None:
    message = refusal(data)

    assert "seems to be" in message
    assert what in message


@pytest.mark.parametrize(
    "text",
    [
        ENGLISH,
        ENGLISH * 500,
        FRENCH,
        RUSSIAN,
        "a,b,c\n1,2,3\n4,5,6\n",
        "0000000000000000\n",
        "5\t6\t7\t8\n" * 9,
        "yes\n",
        '{"title": 1}',
    ],
)
def test_other_valid_utf_8_is_read(text: str) -> None:
    decoded = decode(text.encode())

    assert decoded.text == text
    assert decoded.encoding == "utf-8"


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_english_is_read_from_utf_16(codec: str) -> None:
    assert decode(ENGLISH.encode(codec)).text == ENGLISH


@pytest.mark.parametrize("codec", ENCODINGS)
def test_chinese_with_japanese_names_in_it_is_read(codec: str) -> None:
    text = CHINESE * 3 + "他叫さくら，" * 3 + "她叫ナオミ。"
    if codec == "cp950":  # has no kana that anybody would use
        text = text.translate(dict.fromkeys(range(12353, 12543)))

    assert decode(text.encode(codec)).text == text


@pytest.mark.parametrize(("kana", "read"), [(24, True), (27, False)])
def test_kana_are_refused_above_their_share(kana: int, read: bool) -> None:
    text = "の" * kana + "人" * (100 - kana)
    assert MAX_FOREIGN_SHARE == 0.25

    if read:
        assert decode(text.encode()).text == text
    else:
        assert "Japanese" in refusal(text.encode())


def test_a_page_of_english_with_a_gbk_word_in_it_is_no_western_encoding() -> None:
    text = (
        "<p class=x>hello</p>\n" * 2_000 + "展昭道：好大的雪，你說這話我們都不信。" + "<p class=x>hello</p>\n" * 2_000
    )

    assert decode(text.encode("gb18030")).text == text


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_short_utf_16_is_right_or_refused_but_never_taken_for_utf_8(codec: str) -> None:
    choose, right, total = random.Random(0), 0, 0
    alike = [character for character in map(chr, range(0x4E00, 0x7F00)) if character.encode(codec).isascii()]
    for length in (1, 2, 3, 4, 6, 9):
        for _ in range(60):
            plain = "".join(choose.choice(CHINESE) for _ in range(length))
            odd = choose.choice("一三上不中之") + "".join(choose.choice(alike[:200]) for _ in range(min(length, 2) - 1))
            for text in (plain, odd):
                try:
                    decoded = decode(text.encode(codec))
                except DataError:
                    continue
                assert decoded.text == text
            if length > 4:
                total += 1
                right += decode(plain.encode(codec)).text == plain
    assert right == total


def test_too_little_evidence_is_an_error_that_lists_the_candidates() -> None:
    data = "雪".encode("gb18030")
    assert data.decode("utf-8") == "ѩ"  # and a character in most other encodings

    message = refusal(data)

    assert "cannot tell its encoding" in message
    for candidate in ("gb18030 0.", "big5hkscs 0.", "euc_jp 0."):
        assert candidate in message


def test_confidence_grows_with_the_evidence() -> None:
    few, many = (decode(CHINESE[:length].encode("gb18030")).confidence for length in (9, 40))

    assert MIN_CONFIDENCE <= few <= many <= 1.0
    assert decode(CHINESE.encode("gb18030"), encoding="gb18030").confidence == 1.0


@pytest.mark.parametrize(
    ("codec", "character"), [("cp950", "～"), ("cp950", "￥"), ("big5hkscs", "裏"), ("big5hkscs", "の")]
)
def test_the_supplements_of_big5_are_told_by_a_single_character_anywhere(codec: str, character: str) -> None:
    padding = "展昭道：「好大的雪！」\r\n" * 5_000
    text = padding + character + padding

    assert decode(text.encode(codec)).text == text


@pytest.mark.parametrize("codec", ENCODINGS)
@pytest.mark.parametrize("sign", "○□─　")
def test_a_page_full_of_one_sign_is_text(codec: str, sign: str) -> None:
    text = CHINESE.replace("。", sign * 60 + "\r\n")

    assert decode(text.encode(codec)).text == text


def test_snippets_of_real_texts_are_read_from_every_encoding(shared_data: Path) -> None:
    choose, tried = random.Random(0), 0
    for file, codec in (
        ("wuxia/争春园.txt", "utf-8"),
        ("gb18030/红楼梦.txt", "gb18030"),
        ("big5/鏡花緣.txt", "big5hkscs"),
        ("messy/gb18030_3138-PUA-chars_hardwrapped40_shiji.txt", "gb18030"),
        ("messy/utf8bom_crlf_watermarks_luxun.txt", "utf-8-sig"),
    ):
        text = (shared_data / file).read_bytes().decode(codec, errors="replace")
        for _ in range(25):
            start, length = choose.randrange(len(text) - 4_000), choose.randint(30, 4_000)
            snippet = text[start : start + length]
            for encoding in ENCODINGS:
                try:
                    data = snippet.encode(encoding)
                except UnicodeEncodeError:
                    continue
                tried += 1
                assert decode(data).text == snippet, (file, start, length, encoding)
    assert tried > 500


def test_english_wikipedia_is_read(shared_data: Path) -> None:
    # That of the test set begins with Japanese names.
    for name in ("train", "valid", "test"):
        data = (shared_data / "wikitext-2" / f"{name}.txt").read_bytes()[:2_000_000]
        data = data[: data.rfind(b"\n") + 1]

        assert decode(data).text == data.decode()


TRADITIONAL = "話說展爺聽了此言，心中大喜，連忙進了酒店，只見那人身高八尺，面如冠玉，便上前問道：你是何人？" * 9


def _read_as_gb18030(text: str) -> str:
    return text.encode().decode("gb18030", "ignore")


GARBLED: dict[str, Callable[[str], bytes]] = {
    "HZ": lambda text: text.encode("hz"),
    "UTF-7": lambda text: text.encode("utf-7"),
    "character references": lambda text: "".join(f"&#{ord(one)};" for one in text).encode(),
    "character references, in capitals": lambda text: "".join(f"&#X{ord(one):X};" for one in text).encode(),
    "escapes": lambda text: text.encode("unicode_escape"),
    "escapes, of URLs": lambda text: "".join(f"%u{ord(one):04X}" for one in text).encode(),
    "escapes, octal": lambda text: "".join(f"\\{byte:o}" for byte in text.encode()).encode(),
    "percent-encoding": lambda text: urllib.parse.quote(text).encode(),
    "quoted-printable": lambda text: quopri.encodestring(text.encode()),
    "base64": lambda text: base64.encodebytes(text.encode("gb18030")),
    "base64, of URLs": lambda text: base64.urlsafe_b64encode(text.encode()),
    "escapes, of Perl": lambda text: "".join(f"\\x{{{ord(one):x}}}" for one in text).encode(),
    "ISO-2022": lambda text: "雪夜".encode("iso2022_jp") + bytes(byte & 0x7F for byte in text.encode("gb2312")),
    "control characters": lambda text: text.encode("utf-16-le").decode("latin-1").encode(),
    "are lost: letters of ARABIC": lambda text: text.encode("gb18030").decode("utf-8", "ignore").encode(),
    "utf-8 that was read as koi8_r": lambda text: text.encode().decode("koi8_r").encode(),
    "gb18030 that was read as cp1250": lambda text: text.encode("gb18030").decode("cp1250", "replace").encode(),
    "big5 that was read as cp866": lambda text: TRADITIONAL.encode("big5").decode("cp866").encode(),
    "utf-8 that was read as cp1252 and saved again, twice": lambda text: text.encode().decode("latin-1").encode().decode("latin-1").encode(),
    "utf-8 that was read as gb18030 and saved again, twice": lambda text: _read_as_gb18030(_read_as_gb18030(text)).encode(),
    "utf-8 that was read as cp1252 and saved again, three times": lambda text: text.encode().decode("latin-1").encode().decode("latin-1").encode().decode("latin-1").encode(),
    "character references (&#23637;)": lambda text: "".join(f"&amp;#{ord(one)};" for one in text).encode(),
    r"escapes (\u5c55)": lambda text: "".join(f"\\{ord(one):x} " for one in text).encode(),
    "the highest bit of each byte is lost": lambda text: bytes(byte & 0x7F for byte in text.encode("gb2312")),
    "hexadecimal digits": lambda text: text.encode().hex().encode(),
    "are lost: 锟斤拷": lambda text: text.encode("gb18030").decode("utf-8", "replace").encode().decode("gb18030", "replace").encode(),
    "are lost: ?": lambda text: text.encode("latin-1", "replace"),
    "GBK or Big5 that was read as cp932": lambda text: text.encode("gb18030").decode("cp932", "replace").encode(),
    "utf-8 that was read as gb18030": lambda text: text.encode().decode("gb18030", "replace").encode(),
    "utf-8 that was read as cp1252": lambda text: text.encode().decode("latin-1").encode(),
    "utf-8 that was read as cp850": lambda text: text.encode().decode("cp850").encode(),
    "gb18030 that was read as cp1252": lambda text: text.encode("gb18030").decode("cp1252", "replace").encode(),
    "gb18030 that was read as mac_roman": lambda text: text.encode("gb18030").decode("mac_roman").encode(),
    "gb18030 that was read as big5hkscs": lambda text: text.encode("gb18030").decode("big5", "replace").encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", GARBLED)
def test_a_text_inside_another_encoding_is_refused_by_name(shared_data: Path, name: str) -> None:
    text = (shared_data / "wuxia" / "争春园.txt").read_text("utf-8-sig")[9_000:12_000]
    text = "".join(one for one in text if one.encode("gb2312", "ignore"))

    with pytest.raises(DataError, match=rf"a\.txt: .*{re.escape(name.partition(',')[0])}.*encoding='"):
        decode(GARBLED[name](text), name="a.txt")


@pytest.mark.parametrize(
    "name", ["utf-8 that was read as gb18030", "gb18030 that was read as cp1252", "are lost: 锟斤拷", "are lost: ?"]
)
@pytest.mark.parametrize("start", [4_000, 41_000])
def test_a_text_that_is_garbled_from_some_place_on_is_refused_with_the_line(
    shared_data: Path, name: str, start: int
) -> None:
    text = (shared_data / "wuxia" / "争春园.txt").read_text("utf-8-sig")[:60_000]
    text = "".join(one for one in text if one.encode("gb2312", "ignore"))
    sound, garbled, rest = text[:start], text[start : start + 5_000], text[start + 5_000 :]

    with pytest.raises(DataError, match=rf"a\.txt, around line \d+: .*{re.escape(name)}") as caught:
        decode(sound.encode() + GARBLED[name](garbled) + rest.encode(), name="a.txt", encoding="auto")

    line = int(str(caught.value).partition("line ")[2].partition(":")[0])
    assert 0 <= line - sound.count("\n") - 1 < 40, "at most 2,000 characters further on"


@pytest.mark.parametrize(
    "text",
    [
        "L'été dernier, à Orléans, le garçon était fâché : « où est ma mère ? » ",
        "Все счастливые семьи похожи друг на друга. ",
        "Zhǎn Zhāo tīng le cǐ yán, xīn zhōng dà xǐ. ",
        "魑魅魍魉饕餮龘靐齉爩鱻麤龗灪吁龖厵滟爨癵籱",
        "What? Why? Who? deadbeef ",
    ],
)
def test_text_of_other_letters_is_not_taken_for_garbled(text: str) -> None:
    assert decode((text * 20).encode()).text == text * 20


@pytest.mark.parametrize("text", ["Title\n==========", "a" * 41, "QWxhZGRpbjpvcGVuc2VzYW1lZ===", "deadb"])
def test_what_is_nearly_base64_is_read(text: str) -> None:
    assert decode(text.encode()).text == text


@pytest.mark.parametrize("codec", ["gb18030", "big5hkscs", "utf-16-le", "utf-16-be"])
def test_a_text_that_repeats_itself_is_little_evidence_however_long(codec: str) -> None:
    with pytest.raises(
        DataError, match=r"cannot tell its encoding \(it repeats itself: of \d+ bytes looked at, \d+ are"
    ):
        decode(("哈" * 5_000).encode(codec))
    varied = "展昭大喜，忙進了酒店。\n" if codec == "big5hkscs" else "展昭大喜，忙进了酒店。\n"
    assert decode((varied * 300).encode(codec)).text == varied * 300
