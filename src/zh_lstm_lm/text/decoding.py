"""Which encoding a Chinese text is in, and its decoding with an account of what could not be decoded.

Chinese novels circulate in five encodings: UTF-8 and UTF-16 (with or without a byte order mark), GB18030 (which holds
GBK and GB2312) and Big5 with the Hong Kong supplement. A byte order mark or strict UTF-8 settles most files. The rest
is decoded in each candidate, and the one that reads as the most ordinary Chinese wins: the bytes of one encoding read
in another give rare and private-use characters, not the few hundred that make up most of any real text.
"""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.text.common_characters import COMMON_CHARACTERS

__all__ = ["MAX_FAULT_RATE", "DecodedText", "DecodingFault", "check_encoding", "decode", "normalize_line_ends"]

MAX_FAULT_RATE = 0.01
"""Share of undecodable bytes above which a file is refused."""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: it begins with UTF-16's mark
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
_CANDIDATES = ("utf-8", "gb18030", "big5hkscs", "utf-16-le", "utf-16-be")
_SAMPLE_BYTES = 1 << 15
_MIN_SCORE = 0.35  # real Chinese scores 0.6 to 0.9, a wrong encoding under 0.1
_MIN_LEAD = 0.15


@dataclass(frozen=True)
class DecodingFault:
    """Bytes that mean nothing in the encoding, replaced by U+FFFD.

    Attributes:
        offset: Offset of the first byte in the file.
        line: Its line, counted from 1.
        data: The bytes.
    """

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
    """

    text: str
    encoding: str
    faults: tuple[DecodingFault, ...] = ()


def normalize_line_ends(text: str) -> str:
    r"""Turns every line end (``\n``, ``\r\n``, ``\r\r\n``, a bare ``\r``) into ``\n``."""
    if "\r" not in text:
        return text
    return text.replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")


def decode(data: bytes, *, encoding: str = "auto", name: str = "<bytes>") -> DecodedText:
    """Decodes the bytes of a Chinese text.

    Args:
        data: The whole file.
        encoding: ``"auto"``, or the name of any of Python's text encodings.
        name: What to call the text in an error.

    Raises:
        DataError: The encoding is unknown, cannot be told, or does not fit more than `MAX_FAULT_RATE` of the bytes.
    """
    codec = check_encoding(encoding)
    marked = next((marked for mark, marked in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    if codec in ("utf-16", "utf-32"):  # these read the mark themselves, but only at the start
        codec = marked if marked is not None and marked.startswith(codec) else f"{codec}-le"
    if codec != "auto" or marked is not None:
        return _decode_as(data, codec if codec != "auto" else str(marked), name)
    if data.count(0) * 20 <= len(data):  # UTF-16 of ASCII text is valid UTF-8, but full of NULs
        try:
            return DecodedText(data.decode("utf-8"), "utf-8")
        except UnicodeDecodeError:
            pass
    return _decode_as(data, _detect(data, name), name)


def check_encoding(encoding: str) -> str:
    """Returns Python's own name of an encoding, or ``"auto"``.

    Raises:
        DataError: There is no such text encoding.
    """
    if encoding == "auto":
        return encoding
    try:
        info = codecs.lookup(encoding)
        "".encode(info.name)  # refuses bytes-to-bytes codecs such as base64
    except (LookupError, TypeError, ValueError) as error:
        raise DataError(
            f"encoding must be 'auto' or one of Python's text encodings ('utf-8', 'gb18030', 'big5hkscs', …), "
            f"got {encoding!r}"
        ) from error
    return "utf-8" if info.name == "utf-8-sig" else info.name


def _detect(data: bytes, name: str) -> str:
    scores: dict[str, float] = {}
    for codec in _CANDIDATES:
        if codec.startswith("utf-16") and len(data) % 2:
            continue
        wide = codec.startswith("utf-16")
        scores[codec] = sum(_score(sample, count_ascii=wide) for sample in _samples(data, codec)) / 2
    ranked = sorted(scores, key=lambda codec: -scores[codec])
    best, second = ranked[0], ranked[1]
    if scores[best] < _MIN_SCORE or scores[best] - scores[second] < _MIN_LEAD:
        told = ", ".join(f"{codec} {scores[codec]:.2f}" for codec in ranked)
        raise DataError(
            f"{name}: cannot tell its encoding; how much it reads like Chinese (0 to 1) in each: {told}. "
            "If it is text, name its encoding, as in encoding='gb18030'"
        )
    return best


def _samples(data: bytes, codec: str) -> Iterator[str]:
    """Yields the decoded head of the file and a piece from its middle, cut at a line end."""
    middle = 0
    if len(data) > 3 * _SAMPLE_BYTES:
        middle = len(data) // 2
        if codec.startswith("utf-16"):
            middle -= middle % 2
        else:  # in none of the other encodings is 0x0A a part of a character
            middle = data.find(b"\n", middle, middle + _SAMPLE_BYTES) + 1 or middle
    for start in (0, middle):
        decoder = codecs.getincrementaldecoder(codec)(errors="replace")
        yield decoder.decode(data[start : start + _SAMPLE_BYTES])


def _score(text: str, *, count_ascii: bool) -> float:
    """The share of common characters; garbage counts against the text.

    ASCII says nothing in encodings that all hold it as it is, and much in UTF-16 (`count_ascii`).
    """
    common = other = 0
    for character in text:
        code = ord(character)
        if character in COMMON_CHARACTERS or 0x3000 <= code <= 0x3015 or 0xFF01 <= code <= 0xFF1F:
            common += 1
        elif 0x20 <= code < 0x7F:
            common += count_ascii
        elif code > 0x7F or (code < 0x20 and character not in "\t\n\r\x1a\0"):
            # private use, replacement, control
            other += 2 if 0xE000 <= code < 0xF900 or code == 0xFFFD or code < 0xA0 else 1
    return common / (common + other) if common + other else 0.0


def _decode_as(data: bytes, codec: str, name: str) -> DecodedText:
    """Decodes strictly, noting and replacing each fault, and gives up above `MAX_FAULT_RATE`."""
    view, start, line = memoryview(data), 0, 1
    for mark, marked in _BYTE_ORDER_MARKS:
        if marked == codec and data.startswith(mark):
            start = len(mark)
    pieces: list[str] = []
    faults: list[DecodingFault] = []
    bad = 0
    while start < len(data):
        try:
            pieces.append(codecs.decode(view[start:], codec))
            break
        except UnicodeDecodeError as error:
            piece = codecs.decode(view[start : start + error.start], codec)
            offset, end = start + error.start, start + max(error.end, error.start + 1)
            line += piece.count("\n")
            faults.append(DecodingFault(offset, line, bytes(view[offset:end])))
            pieces += (piece, "\ufffd")
            start, bad = end, bad + end - offset
            if bad > 16 and bad > MAX_FAULT_RATE * len(data):
                first = faults[0]
                raise DataError(
                    f"{name}, byte {first.offset}, line {first.line}: not valid {codec} "
                    f"({first.data.hex(' ')}), like more than {MAX_FAULT_RATE:.0%} of the file; "
                    "name another encoding, or repair the file"
                ) from None
    return DecodedText("".join(pieces), codec, tuple(faults))
