"""Decoding of Chinese text, with an account of what could not be decoded.

Chinese novels circulate in five encodings: UTF-8 and UTF-16 (with or without a byte order mark), GB18030 (which holds
GBK and GB2312) and Big5 with its supplements. A byte order mark decides; `detection` finds the others.
"""

import base64
import codecs
import contextlib
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.text.detection import big5_supplement, detect
from zh_lstm_lm.text.language import COMMON_CHARACTERS, check_language, how_to_read_anyhow

__all__ = [
    "MAX_FAULT_RATE",
    "MIN_COMMON",
    "DecodedText",
    "DecodingFault",
    "check_encoding",
    "common_proportion",
    "decode",
    "normalize_line_ends",
]

MAX_FAULT_RATE = 0.01
"""Proportion of undecodable bytes above which a file is refused."""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    # It begins with the mark of UTF-16 and so comes first.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
# Undecodable bytes that a file of any size may have.
_FAULTS_ALLOWED = 16
_STEP_BYTES, _MAX_CHARACTER_BYTES = 1 << 12, 4
# A byte depends on all before it, so these cannot be decoded in steps.
_STATEFUL = ("hz", "iso2022", "utf-7")
# Of a text, this much is looked at for escapes, and at the beginning of each stretch this much for mojibake.
_GARBLED_CHARACTERS, _MOJIBAKE_CHARACTERS, _MIN_MOJIBAKE = 20_000, 400, 8
_STRETCH, _MAX_COMMON = 2_000, 0.2
# Proportions: of escapes among all characters, and of common characters among those beyond ASCII in Chinese text.
_MIN_ESCAPED, MIN_COMMON = 0.3, 0.4
_SEVEN_BIT = {"hz": "HZ, a 7-bit form of GB2312", "utf-7": "UTF-7"}
_ESCAPES = (
    ("character references (&#23637;)", re.compile(r"&(?:amp;)*#[xX]?[0-9a-fA-F]{2,6};?"), "html.unescape"),
    (r"escapes (\u5c55)", re.compile(r"(?:\\[ux]\{?|%u|U\+)[0-9a-fA-F]{4,6}\}?|(?:\\|0)x[0-9a-fA-F]{2}|\\[0-7]{3}|\\[0-9a-fA-F]{4} "), "the JSON reader"),
    ("percent-encoding (%E5%B1%95)", re.compile(r"%[0-9A-Fa-f]{2}"), "urllib.parse.unquote"),
    ("quoted-printable (=E5=B1=95)", re.compile(r"=[0-9A-F]{2}"), "quopri.decodestring"),
)  # fmt: skip
_PACKED = (
    ("hexadecimal digits", re.compile("[0-9a-fA-F]+"), bytes.fromhex, "bytes.fromhex"),
    ("base64", re.compile("[A-Za-z0-9+/_-]{4,}={0,2}"), base64.urlsafe_b64decode, "base64.urlsafe_b64decode"),
)
# Printable bytes with their highest bit.
_HIGH = bytes(byte | 0x80 if 0x21 <= byte < 0x7F else byte for byte in range(256))
_LOST = ("锟斤拷", "\ufffd", "烫烫", "屯屯", "?")
# Beside NUL, tab, line ends and the end of a file in MS-DOS; a few are in texts as well.
_CONTROL = re.compile("[\x01-\x08\x0e-\x19\x1b-\x1f]")
_MAX_CONTROLS = 0.01
# No text mixes letters of so many scripts, each with this proportion of what is not ASCII.
_SCRIPTS_OF_NO_TEXT, _MIN_SCRIPT = 4, 0.02
_MOJIBAKE_RUN = re.compile(r"[^\x00-\x7f\u3000-\u3002\uff01-\uff1f]+")
_HALF_WIDTH_KANA = re.compile("[\uff61-\uff9f]")
# The encoding in which a text was read by mistake, and its own.
_MOJIBAKE = (
    *((wrong, right) for wrong in ("cp1252", "cp437", "cp850", "cp1250", "cp1251", "cp866", "koi8_r", "mac_roman") for right in ("utf-8", "gb18030", "big5")),
    ("gb18030", "utf-8"), ("big5hkscs", "utf-8"), ("big5hkscs", "gb18030"), ("gb18030", "big5"), ("cp932", "gb18030"), ("cp932", "utf-8"),
    ("cp949", "gb18030"),
)  # fmt: skip
# The encodings of which a file can be put together.
_PARTS = ("utf-8", "gb18030", "big5")
_WIDE = ("gb18030", "big5hkscs", "cp932", "cp949")
_LINE_END = re.compile(r"\r\r?\n|\r|\n")


@dataclass(frozen=True)
class DecodingFault:
    """Bytes that mean nothing in the encoding, with their offset in the file and their line; U+FFFD stands for them."""

    offset: int
    line: int
    data: bytes


@dataclass(frozen=True)
class DecodedText:
    """A decoded text with an account of how it was read.

    Attributes:
        text: The text, without a byte order mark, line ends as they were.
        encoding: Python's name of the encoding.
        faults: What could not be decoded; each stands as one U+FFFD in the text.
        confidence: Probability (0 to 1) that it is this encoding, given a sample of the file; 1.0 where a byte order mark
            or the caller decided.
    """

    text: str
    encoding: str
    faults: tuple[DecodingFault, ...] = ()
    confidence: float = 1.0


def normalize_line_ends(text: str) -> str:
    r"""Replaces every line end (``\n``, ``\r\n``, ``\r\r\n``, a bare ``\r``) by one ``\n``.

    So ``\r\n\n\r\n`` is three line ends. Vertical tab, form feed, U+0085, U+2028 and U+2029 stay: in files they separate
    pages or are garbage, and editors do not count them either.
    """
    return _LINE_END.sub("\n", text) if "\r" in text else text


def decode(
    data: bytes, *, encoding: str = "auto", name: str = "<bytes>", offset: int = 0, line: int = 1
) -> DecodedText:
    """Decodes the bytes of a Chinese text.

    Only a byte order mark is removed; NUL, U+FEFF inside the text, 0x1A, ``~}`` and line ends stay. A named encoding is
    not checked. Faults are reported by `offset` and `line`, at which a block of a file begins. Raises DataError if the
    encoding is unknown, cannot be found, or does not fit more than `MAX_FAULT_RATE` of the bytes, or if it is found and
    the file seems to be Japanese, Korean, Latin-1, or no text at all.
    """
    codec = check_encoding(encoding)
    marked = next((marked for mark, marked in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    if codec in ("utf-16", "utf-32"):
        # Their decoders read the mark themselves, but only at the start.
        codec = marked if marked is not None and marked.startswith(codec) else f"{codec}-le"
    if codec != "auto":
        return _decode_as(data, codec, 1.0, name, (offset, line))
    if marked is not None:
        decoded = _decode_as(data, marked, 1.0, name, (offset, line))
    else:
        codec, confidence = detect(data, name)
        codec = big5_supplement(data) if codec == "big5hkscs" else codec
        decoded = _decode_as(data, codec, confidence, name, (offset, line))
    check_language(decoded.text, name, decoded.encoding)
    if garbled := _find_escapes(decoded.text) or _find_mojibake(decoded.text[:_GARBLED_CHARACTERS]):
        raise DataError(f"{name}: {garbled}; {how_to_read_anyhow(decoded.encoding)}")
    for start in range(_STRETCH, len(decoded.text), _STRETCH):
        glance = decoded.text[start : start + _MOJIBAKE_CHARACTERS]
        ascii_bytes = len(glance.encode("ascii", "ignore"))
        # A table has few characters beyond ASCII, which can be uncommon ones by chance.
        is_odd = 2 * ascii_bytes < len(glance) and common_proportion(glance) < _MAX_COMMON
        if (is_odd or 2 * glance.count("?") > len(glance)) and (
            garbled := _find_mojibake(decoded.text[start : start + _STRETCH])
        ):
            place = line + len(_LINE_END.findall(decoded.text, 0, start))
            raise DataError(f"{name}, around line {place}: {garbled}; {how_to_read_anyhow(decoded.encoding)}")
    return decoded


def _find_escapes(text: str) -> str | None:
    """Returns the name of the escapes that most characters of a text stand in, with the next step."""
    sample = text[:_GARBLED_CHARACTERS]
    if "\x1b$" in sample:
        return "seems to be ISO-2022, a 7-bit form; read it with the encoding that it is, such as 'iso2022_jp', or convert it"
    if sample.isascii():
        for codec, shown in _SEVEN_BIT.items():
            try:
                decoded = sample[: max(sample.rfind("\n"), 0) or None].encode().decode(codec)
            except UnicodeDecodeError:
                continue
            if common_proportion(decoded) > MIN_COMMON:
                return f"seems to be {shown}; read it with encoding={codec!r}"
        high = sample.encode().translate(_HIGH).decode("gb2312", "ignore")
        varied = len(COMMON_CHARACTERS.intersection(high))
        if varied >= _MIN_MOJIBAKE and common_proportion(high) > MIN_COMMON:
            return "seems to be GB2312 of which the highest bit of each byte is lost; look for a better copy"
        whole = "".join(sample.split())
        for shown, alphabet, unpack, remedy in _PACKED:
            if alphabet.fullmatch(whole):
                data = unpack(whole[: len(whole) // 4 * 4])
                if any(
                    common_proportion(data.decode(codec, "ignore")) > MIN_COMMON
                    for codec in ("utf-8", "gb18030", "big5")
                ):
                    return f"its characters stand as {shown}; convert it first, as with {remedy}"
    if sample.lstrip()[:1] in ("{", "["):
        # JSON has escapes of its own.
        return None
    for shown, pattern, remedy in _ESCAPES:
        covered = sum(len(found) for found in pattern.findall(sample))
        if covered > _MIN_ESCAPED * len(sample):
            return f"its characters stand as {shown}; convert it first, as with {remedy}"
    return None


def _find_mojibake(text: str) -> str | None:
    """Returns what a text was decoded as instead of its encoding, with the next step."""
    sample = "".join(_MOJIBAKE_RUN.findall(text))[:_MOJIBAKE_CHARACTERS]
    if len(sample) >= _MIN_MOJIBAKE and common_proportion(sample) > MIN_COMMON:
        return None
    for mark in _LOST:
        beyond = sample if mark != "?" else text[:_MOJIBAKE_CHARACTERS]
        if len(beyond) >= _MIN_MOJIBAKE and beyond.count(mark) * len(mark) > _MIN_ESCAPED * len(beyond):
            return f"its characters are lost: {mark} stands in their place; look for a better copy"
    if len(_CONTROL.findall(text)) > max(_MIN_MOJIBAKE, _MAX_CONTROLS * len(text)):
        return "its characters are lost among control characters, as in binary data; look for a better copy"
    if len(sample) < _MIN_MOJIBAKE:
        return None
    if len(_HALF_WIDTH_KANA.findall(sample)) > _MIN_ESCAPED * len(sample):
        return "seems to be mojibake: GBK or Big5 that was read as cp932 and saved again; look for a better copy"
    start = text.index(sample[0])
    around = text[start : start + _MOJIBAKE_CHARACTERS]
    if found := _find_misreading(sample, around):
        return "seems to be mojibake: {} that was read as {} and saved again{}".format(*found)
    for wrong in ("cp1252", "gb18030"):
        inner = sample if wrong in _WIDE else around
        for times in ("twice", "three times"):
            inner = _to_bytes(inner, wrong).decode("utf-8", "ignore")
            if found := _find_misreading(inner, inner):
                return "seems to be mojibake: {} that was read as {} and saved again, {}".format(*found[:2], times)
    if sum(map(str.isalpha, sample)) < _MIN_ESCAPED * sum(map(str.isalpha, around)):
        # The letters of a Western text that has names of others.
        return None
    scripts = Counter(unicodedata.name(one, "").partition(" ")[0] for one in sample if one.isalpha())
    shown = sorted(script for script, number in scripts.items() if number > _MIN_SCRIPT * len(sample))
    if len(shown) >= _SCRIPTS_OF_NO_TEXT:
        return f"its characters are lost: letters of {', '.join(shown)} stand in their place; look for a better copy"
    return None


def _find_misreading(sample: str, around: str) -> tuple[str, str, str] | None:
    """Returns the encoding of mojibake, the one that it was read as, and how to repair it; None for other text.

    Args:
        sample: What of the text is not ASCII.
        around: The text from there on: of two bytes that became two characters, the second can be ASCII.
    """
    best, found = 0, None
    for wrong, right in _MOJIBAKE:
        garbled = sample if wrong in _WIDE else around
        data = _to_bytes(garbled, wrong)
        repaired = data.decode(right, "ignore")
        # Encodings of one byte agree in a part of their characters.
        varied = len(COMMON_CHARACTERS.intersection(repaired))
        if (
            varied > max(best, _MIN_MOJIBAKE - 1)
            and common_proportion(repaired) > MIN_COMMON
            and 4 * len(repaired) > len(data) > len(garbled) / 2
        ):
            shown = f"({sample[:6]} for {repaired[:3]})"
            best = varied
            found = right, wrong, f" {shown}; repair it with text.encode({wrong!r}).decode({right!r})"
    return found


def _to_bytes(text: str, codec: str) -> bytes:
    return text.encode(codec, "ignore") if codec != "cp1252" else _in_one_byte(text)


def _in_one_byte(text: str) -> bytes:
    """Encodes text as CP1252, and as Latin-1 what CP1252 does not have."""
    return b"".join(character.encode("cp1252", "ignore") or character.encode("latin-1", "ignore") for character in text)


def common_proportion(text: str) -> float:
    """Computes the proportion of common Chinese characters among those beyond ASCII."""
    beyond = [character for character in text if not character.isascii()]
    return sum(character in COMMON_CHARACTERS for character in beyond) / max(_MIN_MOJIBAKE, len(beyond))


def check_encoding(encoding: str) -> str:
    """Returns Python's own name of an encoding, or ``"auto"``; refuses what is no text encoding."""
    if encoding == "auto":
        return encoding
    try:
        info = codecs.lookup(encoding)
        # Codecs from bytes to bytes, such as base64, raise here.
        "".encode(info.name)
    except (LookupError, TypeError, ValueError) as error:
        raise DataError(
            f"encoding must be 'auto' or one of Python's text encodings ('utf-8', 'gb18030', 'big5hkscs', …), "
            f"got {encoding!r}"
        ) from error
    return "utf-8" if info.name == "utf-8-sig" else info.name


def _decode_as(data: bytes, codec: str, confidence: float, name: str, place: tuple[int, int]) -> DecodedText:
    """Decodes and replaces each fault; refuses bytes with more faults than `MAX_FAULT_RATE`."""
    mark = next((mark for mark, marked in _BYTE_ORDER_MARKS if marked == codec and data.startswith(mark)), b"")
    start = len(mark)
    with contextlib.suppress(UnicodeDecodeError):
        return DecodedText(codecs.decode(memoryview(data)[start:], codec), codec, (), confidence)
    pieces: list[str] = []
    # The offset in the bytes, the offset in the text, and the bytes.
    found: list[tuple[int, int, bytes]] = []
    length = bad = 0
    # The error of a decoder contains a copy of all bytes that it was given, so it is given few.
    step = len(data) if codec.startswith(_STATEFUL) else _STEP_BYTES
    while start < len(data):
        window = data[start : start + step]
        fault = None
        try:
            piece = window.decode(codec)
            read = len(window)
        except UnicodeDecodeError as error:
            read = error.start
            piece = window[:read].decode(codec)
            if read <= len(window) - _MAX_CHARACTER_BYTES or start + len(window) == len(data):
                fault = window[read : max(error.end, read + 1)]
            # Otherwise it can be a character that the step cuts, with which the next step begins.
        pieces.append(piece)
        start, length = start + read, length + len(piece)
        if fault:
            pieces.append("\ufffd")
            found.append((start, length, fault))
            start, length, bad = start + len(fault), length + 1, bad + len(fault)
            if bad > _FAULTS_ALLOWED and bad > MAX_FAULT_RATE * len(data):
                (first,) = _with_lines("".join(pieces), found[:1], place)
                rest = data[found[0][0] :][: 4 * _MOJIBAKE_CHARACTERS]
                other = next(
                    (one for one in _PARTS if common_proportion(rest.decode(one, "ignore")) > MIN_COMMON), codec
                )
                remedy = (
                    f"from there on it seems to be {other}: convert the parts one by one"
                    if other != codec
                    else "name another encoding, or repair the file"
                )
                raise DataError(
                    f"{name}, byte {first.offset}, line {first.line}: not valid {codec} ({first.data.hex(' ')}), "
                    f"like more than {MAX_FAULT_RATE:.0%} of the file; {remedy}"
                )
    text = "".join(pieces)
    return DecodedText(text, codec, _with_lines(text, found, place), confidence)


def _with_lines(text: str, found: list[tuple[int, int, bytes]], place: tuple[int, int]) -> tuple[DecodingFault, ...]:
    """Adds to each fault (offset in the bytes, offset in the text, the bytes) its line, and where the bytes begin."""
    faults, counted = [], 0
    first_offset, line = place
    for offset, end, data in found:
        line += len(_LINE_END.findall(text, counted, end))
        counted = end
        faults.append(DecodingFault(first_offset + offset, line, data))
    return tuple(faults)
