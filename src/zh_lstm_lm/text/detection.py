"""Detection of the encoding of a file, by the probability of its bytes under each encoding.

A hypothesis is an encoding with a language. Its likelihood is that of the decoded text in that language
(`text.language`), and Bayes' rule gives its probability. One more hypothesis is that the bytes are no text and all 256
are equally likely. This one measure covers long and short texts, tells Big5 from GB18030 (as which it decodes to rare and
private-use characters), finds UTF-16 that is also valid UTF-8, and refuses foreign encodings and binary data. With little
evidence, no hypothesis gets a high probability.

Most files need no weighing: a few hundred bytes are valid UTF-8 with many different characters, or decode to
`COMMON_CHARACTERS`, which text in a wrong encoding never does.
"""

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from math import exp, log

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.text.language import COMMON_CHARACTERS, how_to_read_anyhow, log_likelihoods

__all__ = ["MIN_CONFIDENCE", "big5_supplement", "detect"]

MIN_CONFIDENCE = 0.995
"""Least probability (0 to 1) of an encoding that is taken.

Two uncommon characters in UTF-16 whose bytes are printable ASCII come to 0.994 as ASCII; from eight characters on,
nearly all texts reach 0.9999.
"""

_UNICODE = ("utf-8", "utf-16-le", "utf-16-be")
_BIG5 = ("big5hkscs", "cp950")
_READ = ("utf-8", "gb18030", "big5hkscs", "cp950", "utf-16-le", "utf-16-be")
_FOREIGN = {
    "cp932": "Japanese in Shift-JIS",
    "euc_jp": "Japanese in EUC-JP",
    "cp949": "Korean in EUC-KR or CP949",
    "cp1252": "a Western text in Latin-1, or another in one byte a character",
}
_BINARY_FORMATS = {
    b"\x89PNG\r\n\x1a\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF87a": "a GIF image",
    b"GIF89a": "a GIF image",
    b"PK\x03\x04": "a ZIP archive (as EPUB and DOCX are)",
    b"PK\x05\x06": "an empty ZIP archive",
    b"\x1f\x8b\x08": "a gzip archive",
    b"BZh91AY&SY": "a bzip2 archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"%PDF-": "a PDF document",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "a document of an older Microsoft Office",
    b"{\\rtf": "an RTF document",
    b"\x7fELF": "a program (ELF)",
    b"RIFF": "a sound, a film or an image (RIFF)",
    b"SQLite format 3\0": "an SQLite database",
    b"\x93NUMPY": "an array of NumPy",
    b"\x80\x04\x95": "serialised Python objects",
    b"\xde\x12\x04\x95": "a catalogue of translations (MO)",
    b"begin 644 ": "uuencoded data",
    b"begin 664 ": "uuencoded data",
}
"""The first bytes of formats that can contain stretches of plain text."""
_BINARY_STARTS = tuple(_BINARY_FORMATS)
_MARKS_INSIDE = {
    (257, b"ustar"): "a tar archive",
    (60, b"BOOKMOBI"): "an e-book of Mobipocket or Kindle",
    (60, b"TEXtREAd"): "an e-book of PalmDOC",
}
"""The same for marks at an offset."""

_LOG_PRIOR_NO_TEXT = -5.0

_HEAD_BYTES, _WINDOW_BYTES, _WINDOWS = 1_536, 512, 3
# Bytes of the head and of a window, at first as few as mostly do.
_GLANCES = ((128, 48), (1_024, 384))
# Different characters beyond ASCII. One in GB18030 is valid UTF-8 by accident in one case of seven.
_PLAIN_UTF_8 = 16
# Different common characters, and their proportion of all different ones beyond ASCII, which is 0.06 in a wrong encoding.
_PLAIN_CHINESE, _PLAIN_SHARE = 16, 0.4
_ASCII = frozenset(map(chr, range(0x80)))
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\n\r\f"
# The bytes of eight Chinese characters in UTF-16 are hardly ever all printable ASCII.
_SURELY_ASCII_BYTES = 16
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
# An even number, so that UTF-16 stays in step.
_NUL_BLOCKS = re.compile(rb"\0\0\0\0(?:\0\0)*")
# Only in UTF-16 these are later bytes of a character.
_NEVER_INSIDE = re.compile(rb"[\0-\x2f]")


def _in_utf_32(data: bytes) -> str | None:
    """Returns the byte order of Chinese text in UTF-32, of whose four bytes the highest is always 0."""
    for codec, highest in (("utf-32-le", 3), ("utf-32-be", 0)):
        if data and not len(data) % 4 and not any(data[highest::4]):
            text = data.decode(codec, "ignore")
            if sum(character in COMMON_CHARACTERS for character in text) > _PLAIN_SHARE * len(data) / 4:
                return codec
    return None


def detect(data: bytes, name: str) -> tuple[str, float]:
    """Finds the encoding of a whole file without byte order mark, and its probability; Big5 is ``"big5hkscs"``.

    Raises DataError if none has a probability of `MIN_CONFIDENCE`, or a foreign one has it, or that of no text.
    """
    inside = next((what for (place, mark), what in _MARKS_INSIDE.items() if data.startswith(mark, place)), None)
    if inside or data.startswith(_BINARY_STARTS):
        what = next((what for start, what in _BINARY_FORMATS.items() if data.startswith(start)), inside)
        raise DataError(
            f"{name}: seems to be {what}, no plain text; convert it to text first, or {how_to_read_anyhow('gb18030')}"
        )
    if codec := _in_utf_32(data):
        return codec, 1.0
    sound = _NUL_BLOCKS.sub(b"", data) if b"\0\0\0\0" in data else data
    if not sound[:_HEAD_BYTES].strip(b"\0") and not sound.strip(b"\0"):
        # NULs alone are the same in all encodings.
        return "utf-8", 1.0
    if _is_plainly_ascii(sound):
        return "utf-8", 1.0
    for sizes in _GLANCES:
        plain = _glance(sound, *sizes)
        if plain is not None:
            return plain, 1.0
    # Bytes of another encoding are valid UTF-8 by accident only if they are few, or UTF-16 of characters like "N-".
    by_accident = len(sound) <= _HEAD_BYTES or not _is_utf_8(data)
    windows = list(_windows(sound, _HEAD_BYTES, _WINDOW_BYTES))
    distinct, size = _evidence(b"".join(sound[start:stop] for start, stop in windows))
    beliefs = _beliefs(sound, windows, (*_READ, *_FOREIGN) if by_accident else _UNICODE, weight=distinct / size)
    best, confidence = max(beliefs.items(), key=lambda item: item[1])
    if best in _BIG5:
        best, confidence = _BIG5[0], sum(beliefs.get(codec, 0.0) for codec in _BIG5)
    confidence = min(confidence, 1.0)
    if best in _READ and confidence >= MIN_CONFIDENCE:
        return best, confidence
    ranked = sorted(beliefs.items(), key=lambda item: -item[1])[:4]
    told = ", ".join(f"{codec} {belief:.2f}" for codec, belief in ranked)
    if confidence < MIN_CONFIDENCE:
        repeated = (
            f" (it repeats itself: of {size} bytes looked at, {distinct} are different)" if 2 * distinct < size else ""
        )
        raise DataError(
            f"{name}: cannot tell its encoding{repeated}; the candidates with their scores, of 1 in all: {told}. "
            f"If it is text, {how_to_read_anyhow('gb18030')}"
        )
    seems = _FOREIGN.get(best, "no text in any encoding tried, but binary data")
    raise DataError(
        f"{name}: seems to be {seems} ({told}); {how_to_read_anyhow(best if best in _FOREIGN else 'gb18030')}"
    )


def _glance(data: bytes, head: int, window: int) -> str | None:
    """Returns the encoding of a text where a few bytes decide it; None for others."""
    windows = list(_windows(data, head, window))
    try:
        if len(set(_read(data, windows, "utf-8", errors="strict")) - _ASCII) >= _PLAIN_UTF_8:
            return "utf-8"
    except UnicodeDecodeError:
        pass
    for codec in ("gb18030", "utf-16-le", "utf-16-be", "big5hkscs"):
        different = set(_read(data, windows, codec)) - _ASCII
        common = len(different & COMMON_CHARACTERS)
        if common >= _PLAIN_CHINESE and common >= _PLAIN_SHARE * len(different):
            return codec
    return None


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_plainly_ascii(data: bytes) -> bool:
    """Decides whether bytes are ASCII text, and not UTF-16 of a few characters whose bytes are printable ASCII."""
    if len(data) < _SURELY_ASCII_BYTES or not data.isascii() or data[:_HEAD_BYTES].translate(None, _PRINTABLE):
        return False
    if _evidence(data[:_HEAD_BYTES])[0] >= _SURELY_ASCII_BYTES:
        return True
    readings = "".join(data[:_HEAD_BYTES].decode(codec, "ignore") for codec in ("utf-16-le", "utf-16-be"))
    return COMMON_CHARACTERS.isdisjoint(readings)


def _evidence(data: bytes) -> tuple[int, int]:
    """Returns the number of different runs of four bytes, and of all: what repeats itself is no further evidence."""
    runs = [data[start : start + 4] for start in range(max(1, len(data) - 3))]
    # ASCII does not tell most encodings apart.
    runs = [run for run in runs if not run.isascii()] or runs
    return len(set(runs)), len(runs)


def _beliefs(
    data: bytes, windows: Sequence[tuple[int, int]], encodings: Iterable[str], *, weight: float
) -> dict[str, float]:
    """Computes the probability of each encoding, and of no text, by stretches of which a proportion is evidence."""
    num_bytes = weight * sum(end - start for start, end in windows)
    likelihoods = {"no text": _LOG_PRIOR_NO_TEXT - log(256) * num_bytes}
    readings: set[str] = set()
    for codec in encodings:
        text = _read(data, windows, codec)
        # Encodings that agree do not compete.
        if text not in readings:
            readings.add(text)
            likelihoods[codec] = max(log_likelihoods(text, weight=weight))
    most = max(likelihoods.values())
    shares = {codec: exp(likelihood - most) for codec, likelihood in likelihoods.items()}
    total = sum(shares.values())
    return {codec: share / total for codec, share in shares.items()}


def _windows(data: bytes, head: int, window: int) -> Iterator[tuple[int, int]]:
    """Yields the start and end of stretches to judge by: the head, the first byte beyond ASCII, and some in between.

    A stretch begins where a character does in any encoding (in UTF-16, here or one byte further), so that it is in step
    even in the middle of a line.
    """
    yield 0, min(head, len(data))
    if len(data) <= head:
        return
    beyond_ascii = _BEYOND_ASCII.search(data, head) if data[:head].isascii() else None
    if beyond_ascii:
        yield beyond_ascii.start(), min(beyond_ascii.start() + window, len(data))
    for number in range(1, _WINDOWS + 1):
        place = head + (len(data) - head) * number // (_WINDOWS + 1)
        step = _NEVER_INSIDE.search(data, place, place + _WINDOW_BYTES)
        if step:
            yield step.start(), min(step.start() + window, len(data))


def _read(data: bytes, windows: Sequence[tuple[int, int]], codec: str, *, errors: str = "replace") -> str:
    """Decodes stretches one by one; a character that the end of one cuts is left out, but at the end of the file."""
    decoder = codecs.getincrementaldecoder(codec)(errors)
    texts = []
    for start, end in windows:
        begin = start + start % 2 if codec.startswith("utf-16") else start
        texts.append(decoder.decode(data[begin:end], end == len(data)))
        decoder.reset()
    return "\n".join(texts)


def big5_supplement(data: bytes) -> str:
    """Chooses the supplement of Big5 that gives the likelier Chinese in the lines, few of a whole text, that differ."""
    readings = [data.decode(codec, errors="replace") for codec in _BIG5]
    if readings[0] == readings[1]:
        return _BIG5[0]
    lines = [reading.split("\n") for reading in readings]
    differing = [pair for pair in zip(*lines, strict=True) if pair[0] != pair[1]]
    likelihoods = [log_likelihoods("\n".join(column))[0] for column in zip(*differing, strict=True)]
    return _BIG5[likelihoods.index(max(likelihoods))]
