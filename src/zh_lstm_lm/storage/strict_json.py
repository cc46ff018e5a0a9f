"""Strict JSON: finite numbers, unique keys, bounded depth and size, and Chinese without escapes."""

import json
import math
from typing import Any, NamedTuple

from zh_lstm_lm.errors import CheckpointError

__all__ = ["MAX_VOCABULARY_BYTES", "VOCABULARY_LIMITS", "JSONLimits", "check_work", "parse_json", "to_json"]

_MAX_DEPTH = 16
_CONTINUATION = bytes(range(0x80, 0xC0))
_BELOW_ASTRAL = bytes(range(0xF0))
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_BLOCK, _SMALL_BLOCK = 1 << 23, 1 << 16
# The bytes of a long list of numbers.
_NUMERIC = b"0123456789.eE+-,[]{} \t\r\n"
# Reading a number takes time that grows with the square of its length.
_LONG_NUMBER = b"0" * 1000


class JSONLimits(NamedTuple):
    """Bounds on the work of the parser; a file that exceeds one is refused before it is parsed.

    Keys count as strings as well; `values` are the members of lists and objects in all.
    """

    strings: int = 1 << 19
    values: int = 1 << 19
    keys: int = 1 << 18
    containers: int = 1 << 16
    decoded_bytes: int = 96 << 20


MAX_VOCABULARY_BYTES = 1 << 26
"""Size of the largest saved vocabulary."""
VOCABULARY_LIMITS = JSONLimits(strings=3 << 19, values=5 << 19, keys=1 << 19, containers=1000)
"""Limits of a saved vocabulary: a million tokens, their counts, and half a million words of a user dictionary."""


def to_json(value: Any) -> bytes:
    """Returns a value as strict, indented JSON in UTF-8."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    # UTF-8 has no lone surrogates, which stand for the bytes of a file name that is not UTF-8; JSON escapes them so.
    return text.encode("utf-8", "backslashreplace")


def parse_json(data: bytes, *, name: str, limits: JSONLimits | None = None) -> Any:
    """Reads strict JSON: finite numbers only, no key twice, not nested deeper than 16, nothing beyond the limits."""
    try:
        check_work(data, limits or JSONLimits())
        value = json.loads(
            data.decode("utf-8"), parse_constant=_finite, parse_float=_finite, object_pairs_hook=_unique_keys
        )
        level = [value]
        for _ in range(_MAX_DEPTH):
            level = [inner for outer in level if isinstance(outer, (dict, list)) for inner in _containers(outer)]
        if level:
            raise ValueError(f"nested deeper than {_MAX_DEPTH}")
        return value
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{name}: not valid JSON ({error}); the file is damaged or foreign") from error


def check_work(data: bytes, limits: JSONLimits) -> None:
    """Counts what parsing would produce, from the bytes alone; raises ValueError if a limit is exceeded."""
    width = 1 if data.isascii() else 4 if data.translate(None, delete=_BELOW_ASTRAL) else 2
    _check("bytes of text", width * len(data.translate(None, delete=_CONTINUATION)), limits.decoded_bytes)
    # Without escapes, every quote that is left begins or ends a string.
    plain = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    _check("strings", plain.count(b'"') // 2, limits.strings)
    for start in range(0, len(plain) - _BLOCK, _BLOCK):
        block = plain[start : start + _BLOCK]
        if b'"' not in block and block.translate(None, delete=_NUMERIC):
            raise ValueError(f"a string of more than {_BLOCK:,} bytes")
    try:
        _check_outside(plain, limits)
    except ValueError:
        _check_outside(_without_strings(plain), limits)


def _without_strings(plain: bytes) -> bytes:
    """Removes all strings from JSON without escapes, in blocks, since the parts of a whole file take much memory."""
    outside, inside = [], 0
    for start in range(0, len(plain), _SMALL_BLOCK):
        parts = plain[start : start + _SMALL_BLOCK].split(b'"')
        outside.append(b"".join(parts[inside::2]))
        inside ^= (len(parts) - 1) % 2
    return b"".join(outside)


def _check_outside(plain: bytes, limits: JSONLimits) -> None:
    _check("values", plain.count(b","), limits.values)
    _check("keys", plain.count(b":"), limits.keys)
    _check("lists and objects", plain.count(b"[") + plain.count(b"{"), limits.containers)
    if _LONG_NUMBER in plain.translate(_DIGITS):
        raise ValueError(f"a number of {len(_LONG_NUMBER):,} digits or more")


def _check(what: str, found: int, most: int) -> None:
    if found > most:
        raise ValueError(f"{found:,} {what}, more than the {most:,} expected at most")


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise ValueError(f"{number:.20} is no finite number")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key stands twice")
    return keys


def _containers(value: "dict[str, Any] | list[Any]") -> list[Any]:
    return [
        inner for inner in (value.values() if isinstance(value, dict) else value) if isinstance(inner, (dict, list))
    ]
