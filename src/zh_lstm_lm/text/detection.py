"""In which encoding a file is, by how well each encoding explains its bytes.

A hypothesis is an encoding with a language. It explains the bytes if what they decode to is likely as text of that
language: of the probability of a character we know only its kind's, spread evenly over the kind (two of three
characters of a Chinese text are among the thousand of `COMMON_CHARACTERS`; next to none is for private use). Summed
over a sample, the logarithms give each hypothesis a likelihood, and Bayes' rule its share of belief, beside one more:
that the bytes are no text, all 256 being equally likely. So one measure covers long texts and short ones, tells Big5
from GB18030 (as which it decodes to rare and private-use characters), finds UTF-16 that happens to be valid UTF-8, and
refuses what is in a foreign encoding or no text at all. Where evidence is scarce, no hypothesis gets most of the belief.

Most files are plain enough that nothing needs to be weighed: a few hundred bytes are valid UTF-8 with many different
characters, or what they decode to is made of `COMMON_CHARACTERS`, which text in a wrong encoding never is.
"""

import codecs
import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from math import exp, inf, log

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.text.common_characters import COMMON_CHARACTERS, COMMON_HANGUL

__all__ = ["MAX_FOREIGN_SHARE", "MIN_CONFIDENCE", "big5_supplement", "check_language", "detect"]

MIN_CONFIDENCE = 0.995
"""Belief (0 to 1) an encoding must have to be taken.

Two uncommon characters in UTF-16 whose bytes are printable ASCII come to 0.994 as ASCII; from eight characters on,
nearly all texts reach 0.9999.
"""

MAX_FOREIGN_SHARE = 0.25
"""Share of kana, or of hangul, among a text's letters, above which it is Japanese, or Korean, and refused.

Japanese prose has a share of 0.5 to 0.75, Korean of more than 0.9; in a Chinese or English text, Japanese names and
quotations seldom come to 0.05.
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
}
"""How files begin that may hold stretches of plain text, and what they are."""
_BINARY_STARTS = tuple(_BINARY_FORMATS)

_TYPOGRAPHIC_SIGNS = frozenset("·–—‘’“”…«»○●□■─━")  # with those that stand for lost characters, and rules
# From which character on which kind begins, where the sets above do not say; "" is left to the Unicode category
_BEGINNINGS = (
    (0x00, "NUL"),
    (0x01, "control"),
    (0x09, "lower-case ASCII"),  # tab, line ends, vertical tab, form feed
    (0x0E, "control"),
    (0x1A, "other ASCII"),  # the end of a file in MS-DOS
    (0x1B, "control"),
    (0x20, "lower-case ASCII"),  # space
    (0x21, "other ASCII"),
    (0x61, "lower-case ASCII"),
    (0x7B, "other ASCII"),
    (0x7F, "control"),
    (0xA0, ""),
    (0xC0, "Western letter"),
    (0x100, "alphabetic letter"),  # Latin Extended, Greek, Cyrillic, Hebrew, Arabic
    (0x700, ""),
    (0x3000, "East Asian sign"),
    (0x3020, "other"),
    (0x3040, "kana"),
    (0x3100, ""),
    (0x3400, "rare Han"),
    (0x4DC0, ""),
    (0x4E00, "other Han"),
    (0xA000, ""),
    (0xAC00, "other hangul"),
    (0xD7A4, ""),
    (0xE000, "private use"),
    (0xF900, "rare Han"),
    (0xFB00, ""),
    (0xFE30, "East Asian sign"),
    (0xFE50, ""),
    (0xFF01, "East Asian sign"),
    (0xFF5F, "other"),  # with the half-width kana
    (0xFFE0, "East Asian sign"),  # the full-width currency signs
    (0xFFE7, "other"),
    (0xFFFD, "undecodable"),
    (0xFFFE, ""),
    (0x20000, "rare Han"),
    (0x323B0, ""),
    (0xF0000, "private use"),
)
_BEGINS = [begin for begin, _ in _BEGINNINGS]

# The kinds of characters: how many there are of each, and which share of a text in each language they make up. The
# shares are round figures; they need not be exact, since true and false readings differ by nats a character. ASCII has
# one share in all languages: it reads the same in all encodings but UTF-16, and must not decide between the others.
# The columns are the languages of `_LOG_PRIORS`.
_KINDS: dict[str, tuple[int, tuple[float, ...]]] = {
    "lower-case ASCII": (30, (0.6, 0.6, 0.6, 0.6, 0.6)),
    "other ASCII": (70, (0.4, 0.4, 0.4, 0.4, 0.4)),
    "common Han": (len(COMMON_CHARACTERS), (0.7, 0.3, 0.02, 1e-3, 1e-3)),
    "other Han": (20_992 - len(COMMON_CHARACTERS), (0.12, 0.1, 0.01, 1e-3, 1e-3)),
    "rare Han": (70_000, (2e-3, 1e-3, 1e-4, 1e-4, 1e-4)),
    "East Asian sign": (160, (0.15, 0.1, 0.05, 1e-3, 1e-3)),
    "typographic sign": (len(_TYPOGRAPHIC_SIGNS), (0.05, 0.01, 0.05, 0.1, 0.05)),
    "kana": (180, (3e-4, 0.5, 1e-3, 1e-4, 1e-4)),
    "common hangul": (len(COMMON_HANGUL), (1e-4, 1e-4, 0.7, 1e-5, 1e-5)),
    "other hangul": (11_172 - len(COMMON_HANGUL), (1e-4, 1e-4, 0.2, 1e-5, 1e-5)),
    "Western letter": (64, (1e-3, 1e-3, 1e-3, 0.9, 0.1)),
    "alphabetic letter": (1_000, (1e-3, 1e-3, 1e-3, 0.01, 0.5)),
    "other letter": (20_000, (2e-3, 2e-3, 2e-3, 2e-3, 0.1)),
    "other": (8_000, (5e-3, 5e-3, 5e-3, 5e-3, 5e-3)),
    "private use": (137_468, (2e-4, 2e-4, 2e-4, 2e-4, 2e-4)),
    "control": (60, (1e-5, 1e-5, 1e-5, 1e-5, 1e-5)),
    "NUL": (1, (1e-4, 1e-4, 1e-4, 1e-4, 1e-4)),
    "undecodable": (256, (1e-4, 1e-4, 1e-4, 1e-4, 1e-4)),
}
_LOG_PROBABILITIES = {kind: [log(share / size) for share in shares] for kind, (size, shares) in _KINDS.items()}
_LOG_PRIORS = {"Chinese": 0.0, "Japanese": -5.0, "Korean": -5.0, "Western": -5.0, "other": -8.0}
_LOG_PRIOR_NO_TEXT = -5.0

_HEAD_BYTES, _WINDOW_BYTES, _WINDOWS = 1_536, 512, 3
_GLANCES = ((128, 48), (1_024, 384))  # bytes of the head and of a window, first as few as mostly do
_PLAIN_UTF_8 = 16  # different characters beyond ASCII; one in GB18030 is valid UTF-8 by accident in one case of seven
# Different common characters, and their share of all different ones beyond ASCII. In a wrong encoding, the share is 0.06.
_PLAIN_CHINESE, _PLAIN_SHARE = 16, 0.4
_MAX_NUL_SHARE = 0.3  # outside of blocks; arrays of small numbers have more
_LETTERS_SAMPLED = 2_000
_ASCII = frozenset(map(chr, range(0x80)))
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\n\r\f"
_SURELY_ASCII_BYTES = 16  # of eight Chinese characters in UTF-16, hardly ever are all bytes printable ASCII
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_NUL_BLOCKS = re.compile(rb"\0\0\0\0(?:\0\0)*")  # an even number, so that UTF-16 stays in step
_FOREIGN_LETTER = re.compile("[\u3040-\u30ff\uac00-\ud7a3]")
_NEVER_INSIDE = re.compile(rb"[\0-\x2f]")  # in none of the encodings but UTF-16 a later byte of a character


def detect(data: bytes, name: str) -> tuple[str, float]:
    """Finds the encoding of a text without byte order mark.

    Args:
        data: The whole file.
        name: What to call it in an error.

    Returns:
        Python's name of the encoding, and the share of belief that it is right (0 to 1). Big5 is ``"big5hkscs"``,
        whatever its supplement (`big5_supplement`).

    Raises:
        DataError: No encoding is believed by `MIN_CONFIDENCE`, or a foreign one is, or that the bytes are no text.
    """
    if data.startswith(_BINARY_STARTS):
        what = next(what for start, what in _BINARY_FORMATS.items() if data.startswith(start))
        raise DataError(f"{name}: seems to be {what}, no plain text; convert it to text first, or {_anyhow('gb18030')}")
    sound = _NUL_BLOCKS.sub(b"", data) if b"\0\0\0\0" in data else data
    if not sound[:_HEAD_BYTES].strip(b"\0") and not sound.strip(b"\0"):
        return "utf-8", 1.0  # nothing to judge by, and the same in all
    if len(sound) >= _SURELY_ASCII_BYTES and sound.isascii() and not sound[:_HEAD_BYTES].translate(None, _PRINTABLE):
        return "utf-8", 1.0
    for sizes in _GLANCES:
        plain = _glance(sound, *sizes)
        if plain is not None:
            return plain, 1.0
    # Bytes of another encoding pass as UTF-8 by accident only if they are few, or UTF-16 of characters like "N-"
    by_accident = len(sound) <= _HEAD_BYTES or not _is_utf_8(data)
    beliefs = _beliefs(sound, (*_READ, *_FOREIGN) if by_accident else _UNICODE)
    best, confidence = max(beliefs.items(), key=lambda item: item[1])
    if best in _BIG5:
        best, confidence = _BIG5[0], sum(beliefs.get(codec, 0.0) for codec in _BIG5)
    confidence = min(confidence, 1.0)
    if best in _READ and confidence >= MIN_CONFIDENCE:
        return best, confidence
    ranked = sorted(beliefs.items(), key=lambda item: -item[1])[:4]
    told = ", ".join(f"{codec} {belief:.2f}" for codec, belief in ranked)
    if confidence < MIN_CONFIDENCE:
        raise DataError(
            f"{name}: cannot tell its encoding; the candidates with their scores, of 1 in all: {told}. "
            f"If it is text, {_anyhow('gb18030')}"
        )
    seems = _FOREIGN.get(best, "no text in any encoding tried, but binary data")
    raise DataError(f"{name}: seems to be {seems} ({told}); {_anyhow(best if best in _FOREIGN else 'gb18030')}")


def _glance(data: bytes, head: int, window: int) -> str | None:
    """The encoding of a text of which that is plain at first sight; None if it is not."""
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


def _beliefs(data: bytes, encodings: Iterable[str]) -> dict[str, float]:
    """The share of belief that each of the encodings has, or that the bytes are no text."""
    windows = list(_windows(data, _HEAD_BYTES, _WINDOW_BYTES))
    likelihoods = {"no text": _LOG_PRIOR_NO_TEXT - log(256) * sum(end - start for start, end in windows)}
    readings: set[str] = set()
    for codec in encodings:
        text = _read(data, windows, codec)
        if text not in readings:  # encodings that agree do not compete
            readings.add(text)
            likelihoods[codec] = max(_log_likelihoods(text))
    most = max(likelihoods.values())
    shares = {codec: exp(likelihood - most) for codec, likelihood in likelihoods.items()}
    total = sum(shares.values())
    return {codec: share / total for codec, share in shares.items()}


def check_language(text: str, name: str, encoding: str) -> None:
    """Refuses a text that is Japanese or Korean rather than Chinese.

    Raises:
        DataError: More than `MAX_FOREIGN_SHARE` of its letters are kana, or hangul.
    """
    if text.isascii():
        return
    sample = text[:: 1 + len(text) // _LETTERS_SAMPLED]
    if not _FOREIGN_LETTER.search(sample):
        return
    kinds = Counter(map(_kind, filter(str.isalpha, sample)))
    letters = max(1, kinds.total())
    for language, number in (
        ("Japanese", kinds["kana"]),
        ("Korean", kinds["common hangul"] + kinds["other hangul"]),
    ):
        share = number / letters
        if share > MAX_FOREIGN_SHARE:
            raise DataError(
                f"{name}: seems to be {language}, not Chinese ({share:.0%} of its letters, in {encoding}); "
                f"{_anyhow(encoding)}"
            )


def _anyhow(codec: str) -> str:
    return f"to read it anyhow, name the encoding, as in encoding={codec!r}"


def _windows(data: bytes, head: int, window: int) -> Iterator[tuple[int, int]]:
    """Yields the start and end of stretches to judge by: the head, the first byte beyond ASCII, and some in between.

    A stretch begins where a character does in any encoding (in UTF-16, here or one byte further), so that it is in step
    even in the middle of a line.

    Args:
        data: The whole file.
        head: Bytes of the first stretch.
        window: Bytes of each of the others.
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


def _log_likelihoods(text: str) -> list[float]:
    """The logarithms of the text's probability in each language."""
    if text.count("\0") > _MAX_NUL_SHARE * len(text):
        return [-inf]
    kinds = Counter(map(_kind, text)).items()
    return [
        prior + sum(number * _LOG_PROBABILITIES[kind][language] for kind, number in kinds)
        for language, prior in enumerate(_LOG_PRIORS.values())
    ]


@cache
def _kind(character: str) -> str:
    if character in COMMON_CHARACTERS:
        return "common Han"
    if character in COMMON_HANGUL:
        return "common hangul"
    if character in _TYPOGRAPHIC_SIGNS:
        return "typographic sign"
    if kind := _BEGINNINGS[bisect_right(_BEGINS, ord(character)) - 1][1]:
        return kind
    category = unicodedata.category(character)
    return "other letter" if category[0] in "LM" else "control" if category in ("Cc", "Cn", "Cs") else "other"


def big5_supplement(data: bytes) -> str:
    """Which of the two supplements of Big5 gives the likelier Chinese; the lines decide in which they differ.

    They seldom do, so that it takes all of a text.
    """
    readings = [data.decode(codec, errors="replace") for codec in _BIG5]
    if readings[0] == readings[1]:
        return _BIG5[0]
    lines = [reading.split("\n") for reading in readings]
    differing = [pair for pair in zip(*lines, strict=True) if pair[0] != pair[1]]
    likelihoods = [_log_likelihoods("\n".join(column))[0] for column in zip(*differing, strict=True)]
    return _BIG5[likelihoods.index(max(likelihoods))]
