"""Regular expressions that are compiled when they are first used, not when a module is imported."""

import re
from typing import cast

__all__ = ["lazy_pattern"]


def lazy_pattern(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """A pattern as `re.compile` gives it, but compiled on the first use of one of its methods."""
    return cast(re.Pattern[str], _LazyPattern(pattern, flags))


class _LazyPattern:
    def __init__(self, pattern: str, flags: int) -> None:
        self._arguments = pattern, flags

    def __getattr__(self, name: str) -> object:
        method: object = getattr(re.compile(*self._arguments), name)
        setattr(self, name, method)  # so that this is asked once
        return method
