"""Normalisation: one written form for what is the same character, before text is cut into words.

It is a part of the model: prompts and scored texts go through the same steps as the files that it learned from.
"""

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from zh_lstm_lm._config import nearest_name, shown
from zh_lstm_lm.errors import ConfigError, DataError
from zh_lstm_lm.runtime.optional import require

__all__ = ["NORMALIZATION_STEPS", "check_normalization", "normalization_fingerprint", "normalize_text"]

_FULL_WIDTH = [*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B)]  # ０-９, Ａ-Ｚ, ａ-ｚ
_FOLDED = {code: code - 0xFEE0 for code in _FULL_WIDTH}


def fold_width(text: str) -> str:
    """Full-width letters and digits to ASCII; punctuation, which is full-width in Chinese, stays."""
    return text.translate(_FOLDED)


def to_nfc(text: str) -> str:
    """Unicode's canonical composition: what looks the same is the same."""
    return unicodedata.normalize("NFC", text)


def to_nfkc(text: str) -> str:
    """Unicode's compatibility composition. It makes Chinese punctuation half-width, too."""
    return unicodedata.normalize("NFKC", text)


def to_simplified(text: str) -> str:
    """Traditional characters to simplified ones (OpenCC, the extra ``opencc``)."""
    converted: str = _converter().convert(text)
    return converted


@lru_cache(maxsize=1)
def _converter() -> Any:
    return require("opencc", extra="opencc").OpenCC("t2s")


NORMALIZATION_STEPS: dict[str, Callable[[str], str]] = {
    "nfc": to_nfc,
    "width": fold_width,
    "nfkc": to_nfkc,
    "simplified": to_simplified,
}


def check_normalization(normalize: str) -> list[str]:
    """The steps that a normalisation names.

    Args:
        normalize: Names of steps joined by ``+``, as in ``"nfc+width"``; ``"none"`` for no step.

    Raises:
        ConfigError: There is no such step, or one stands twice.
        MissingDependencyError: A step's library is not installed.
    """
    if not isinstance(normalize, str):
        raise ConfigError(f"normalize must be a string such as 'nfc+width', got {shown(normalize)}")
    steps = [] if normalize == "none" else normalize.split("+", maxsplit=len(NORMALIZATION_STEPS))
    for step in steps:
        if step not in NORMALIZATION_STEPS:
            raise ConfigError(
                f"there is no normalisation {shown(step)}; normalize must be 'none', or some of "
                f"{', '.join(NORMALIZATION_STEPS)} joined by '+'{nearest_name(step, NORMALIZATION_STEPS)}"
            )
    if len(set(steps)) < len(steps):
        raise ConfigError(f"a normalisation names each step once, got {shown(normalize)}")
    if "simplified" in steps:
        _converter()
    return steps


def normalize_text(text: str, normalize: str) -> str:
    """Applies a normalisation, step by step in the order that it names them.

    Raises:
        DataError: The text is not a string.
    """
    if not isinstance(text, str):
        raise DataError(f"text must be a string, got {text!r}")
    for step in check_normalization(normalize):
        text = NORMALIZATION_STEPS[step](text)
    return text


def normalization_fingerprint(normalize: str) -> str:
    """The normalisation and everything that its result depends on."""
    steps = check_normalization(normalize)
    tables = [f"unicode {unicodedata.unidata_version}"] if {"nfc", "nfkc"} & set(steps) else []
    return " ".join([normalize, *tables, *([f"opencc {version('opencc')}"] if "simplified" in steps else [])])
