"""Which encoding a Chinese text is in, and its decoding with an account of what could not be decoded.

Chinese novels circulate in five encodings: UTF-8 and UTF-16 (with or without a byte order mark), GB18030 (which holds
GBK and GB2312) and Big5 with its supplements. A byte order mark decides; `detection` finds the others.
"""

import codecs
import re
from dataclasses import dataclass

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.text.detection import big5_supplement, detect
from zh_lstm_lm.text.language import check_language

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
_FAULTS_ALLOWED = 16  # bytes, in however short a file
_STEP_BYTES, _MAX_CHARACTER_BYTES = 1 << 12, 4
_STATEFUL = ("hz", "iso2022", "utf-7")  # what a byte means depends on all before, so that these cannot be read in steps
_LINE_END = re.compile(r"\r\r?\n|\r|\n")


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
        confidence: Share of belief (0 to 1) that it is this encoding rather than another or no text, given a sample of
            the file; 1.0 where a byte order mark or the caller settled it.
    """

    text: str
    encoding: str
    faults: tuple[DecodingFault, ...] = ()
    confidence: float = 1.0


def normalize_line_ends(text: str) -> str:
    r"""Turns every line end into ``\n``: ``\n``, ``\r\n``, ``\r\r\n`` (one, not two), a bare ``\r``.

    So ``\r\n\n\r\n`` is three line ends. Vertical tab, form feed, U+0085, U+2028 and U+2029 are no line ends but stay
    as they are: in files they separate pages or are garbage, and editors do not count them either.
    """
    return _LINE_END.sub("\n", text) if "\r" in text else text


def decode(
    data: bytes, *, encoding: str = "auto", name: str = "<bytes>", offset: int = 0, line: int = 1
) -> DecodedText:
    """Decodes the bytes of a Chinese text.

    Every character stays as it is (NUL, a U+FEFF inside, 0x1A, ``~}``, line ends); only a byte order mark goes.

    Args:
        data: The whole file.
        encoding: ``"auto"``, or the name of any of Python's text encodings, which is taken at its word.
        name: What to call the text in an error.
        offset: Where the bytes begin in their file, for a block of one; faults are told by their place in the file.
        line: The line that they begin with.

    Raises:
        DataError: The encoding is unknown, or does not fit more than `MAX_FAULT_RATE` of the bytes; or it is
            ``"auto"`` and cannot be told, or the file seems to be Japanese, Korean, Latin-1, or no text at all.
    """
    codec = check_encoding(encoding)
    marked = next((marked for mark, marked in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    if codec in ("utf-16", "utf-32"):  # these read the mark themselves, but only at the start
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
    return decoded


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


def _decode_strictly(data: bytes | memoryview, codec: str) -> str | None:
    try:
        return codecs.decode(data, codec)
    except UnicodeDecodeError:
        return None


def _decode_as(data: bytes, codec: str, confidence: float, name: str, place: tuple[int, int]) -> DecodedText:
    """Decodes strictly, noting and replacing each fault, and gives up above `MAX_FAULT_RATE`."""
    mark = next((mark for mark, marked in _BYTE_ORDER_MARKS if marked == codec and data.startswith(mark)), b"")
    start = len(mark)
    whole = _decode_strictly(memoryview(data)[start:], codec)
    if whole is not None:
        return DecodedText(whole, codec, (), confidence)
    pieces: list[str] = []
    found: list[tuple[int, int, bytes]] = []  # offset in the file, offset in the text, bytes
    length = bad = 0
    # In steps, because the error of a decoder carries a copy of all that it was given
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
            # else it may be a character that the step cut: the next step begins with it
        pieces.append(piece)
        start, length = start + read, length + len(piece)
        if fault:
            pieces.append("\ufffd")
            found.append((start, length, fault))
            start, length, bad = start + len(fault), length + 1, bad + len(fault)
            if bad > _FAULTS_ALLOWED and bad > MAX_FAULT_RATE * len(data):
                (first,) = _with_lines("".join(pieces), found[:1], place)
                raise DataError(
                    f"{name}, byte {first.offset}, line {first.line}: not valid {codec} ({first.data.hex(' ')}), "
                    f"like more than {MAX_FAULT_RATE:.0%} of the file; name another encoding, or repair the file"
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
