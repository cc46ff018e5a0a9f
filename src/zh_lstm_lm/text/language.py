"""The kinds of characters, and how likely a text is in each language by the kinds that it is made of.

Of the probability of a character we know only its kind's, spread evenly over the kind: two of three characters of a
Chinese text are among the thousand of `COMMON_CHARACTERS`; next to none is for private use.
"""

import unicodedata
from bisect import bisect_right
from collections import Counter
from functools import cache
from math import inf, log

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.text.language import COMMON_CHARACTERS, COMMON_HANGUL
from zh_lstm_lm.text.patterns import lazy_pattern

__all__ = ["MAX_FOREIGN_SHARE", "check_language", "how_to_read_anyhow", "log_likelihoods"]

MAX_FOREIGN_SHARE = 0.25
"""Share of kana, or of hangul, among a text's letters, above which it is Japanese, or Korean, and refused.

Japanese prose has a share of 0.5 to 0.75, Korean of more than 0.9; in a Chinese or English text, Japanese names and
quotations seldom come to 0.05.
"""

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
_MAX_NUL_SHARE = 0.3  # outside of blocks; arrays of small numbers have more
_LETTERS_SAMPLED = 2_000
_FOREIGN_LETTER = lazy_pattern("[\u3040-\u30ff\uac00-\ud7a3]")


def log_likelihoods(text: str) -> list[float]:
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
                f"{how_to_read_anyhow(encoding)}"
            )


def how_to_read_anyhow(codec: str) -> str:
    """What to do where a text is refused, for the message."""
    return f"to read it anyhow, name the encoding, as in encoding={codec!r}"
