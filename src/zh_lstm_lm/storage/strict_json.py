"""JSON without surprises: finite numbers, no key twice, bounded depth, and Chinese as it is written."""

import json
import math
from typing import Any

from zh_lstm_lm.errors import CheckpointError

__all__ = ["parse_json", "to_json"]

_MAX_DEPTH = 16


def to_json(value: Any) -> bytes:
    """Strict JSON in UTF-8, indented; a list of plain values stays on one line."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    # UTF-8 has no lone surrogates, which stand for the bytes of a file name that is not UTF-8; JSON escapes them so.
    return text.encode("utf-8", "backslashreplace")


def parse_json(data: bytes, *, name: str) -> Any:
    """Reads strict JSON: finite numbers only, no key twice, not nested deeper than 16.

    Args:
        data: UTF-8.
        name: What to call it in an error.

    Raises:
        CheckpointError: It is not such JSON.
    """
    try:
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
