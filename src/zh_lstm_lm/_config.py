"""The base class of the configs, and checks of names, types and ranges with messages of one form."""

import dataclasses
import difflib
import math
import os
import reprlib
from collections.abc import Collection, Iterable, Mapping
from os import PathLike
from typing import Any

from typing_extensions import Self

from zh_lstm_lm.errors import ConfigError, DataError, ZhLstmLmError

__all__ = [
    "Config", "check_choice", "check_integer", "check_list", "check_number", "check_path", "check_text", "check_type",
    "is_list", "nearest_name", "shown",
]  # fmt: skip

# Longer names are not compared: the time grows with the square of the length.
_LONGEST_NAME = 100
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = 200
_SHOWN.maxlist = _SHOWN.maxtuple = _SHOWN.maxdict = _SHOWN.maxset = 20


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` for the known name nearest to `name`, or an empty string."""
    if len(name) > _LONGEST_NAME:
        return ""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def shown(value: object) -> str:
    """Returns the representation of a value that was received, cut short where it is long."""
    # Python writes no integer of more than 4,300 digits.
    if isinstance(value, int) and value.bit_length() > 4096:
        return f"an integer of {value.bit_length()} bits"
    return _SHOWN.repr(value)


class Config:
    """Base of the frozen config dataclasses: keyword-only, unknown names refused, JSON both ways."""

    def __new__(cls, *args: object, **options: object) -> Self:
        """Refuses positional and unknown options before the dataclass sees them."""
        names = cls.option_names()
        if args:
            raise ConfigError(f"{cls.__name__} takes its options by name, as in {cls.__name__}({names[0]}=…)")
        for name in options:
            if name not in names:
                hint = nearest_name(name, names)
                raise ConfigError(f"{cls.__name__} has no option {shown(name)}{hint}; it has {', '.join(names)}")
        return super().__new__(cls)

    @classmethod
    def option_names(cls) -> list[str]:
        """Returns the names of all options, in the order of their definition."""
        return [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Returns the options as plain JSON values."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self.option_names()}
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> Self:
        """Builds the config from `to_dict`'s output; raises ConfigError for an unknown name or a value out of range."""
        if not isinstance(options, Mapping):
            raise ConfigError(f"{cls.__name__} needs a mapping of options, got {shown(options)}")
        return cls(**{str(name): value for name, value in options.items()})


def check_integer(
    name: str, value: object, *, minimum: int, maximum: int | None = None, optional: bool = False
) -> None:
    """Raises ConfigError unless `value` is an integer in the range (or None, if `optional`)."""
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name} must be an integer{' or None' * optional}, got {shown(value)}")
    if value < minimum or (maximum is not None and value > maximum):
        # A maximum that no ordinary value reaches is not worth naming.
        at_least = maximum is None or (value < minimum and maximum >= 1 << 62)
        wanted = f"at least {minimum}" if at_least else f"from {minimum} to {maximum}"
        raise ConfigError(f"{name} must be {wanted}, got {shown(value)}")


def check_number(
    name: str,
    value: object,
    *,
    minimum: float = 0.0,
    maximum: float = math.inf,
    exclusive: bool = False,
    optional: bool = False,
) -> None:
    """Raises ConfigError unless `value` is a finite number in the range, without its ends if `exclusive`."""
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"{name} must be a number{' or None' * optional}, got {shown(value)}")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        # An integer beyond all floats.
        finite = False
    inside = minimum < value < maximum if exclusive else minimum <= value <= maximum
    if not inside or not finite:
        if maximum == math.inf:
            wanted = f"{'greater than' if exclusive else 'at least'} {minimum:g}, and finite"
        else:
            wanted = f"{'between' if exclusive else 'from'} {minimum:g} {'and' if exclusive else 'to'} {maximum:g}"
        raise ConfigError(f"{name} must be {wanted}, got {shown(value)}")


def check_type(name: str, value: object, *kinds: type) -> None:
    """Raises ConfigError unless `value` is an instance of one of `kinds`; NoneType among them allows None."""
    if not isinstance(value, kinds) and not _is_reloaded(value, kinds):
        wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
        raise ConfigError(f"{name} must be a {wanted}, got {shown(value)}")


def _is_reloaded(value: object, kinds: tuple[type, ...]) -> bool:
    """Returns True for an instance of another version of a class, as IPython's ``%autoreload`` creates it."""
    names = {(kind.__module__, kind.__qualname__) for kind in kinds}
    return any((base.__module__, base.__qualname__) in names for base in type(value).__mro__)


def check_path(name: str, path: object) -> None:
    """Raises ConfigError unless `path` is a string or path that can be that of a file or folder."""
    check_type(name, path, str, PathLike)
    try:
        valid = b"\0" not in os.fsencode(path)  # type: ignore[arg-type]
    except UnicodeEncodeError:
        valid = False
    if not valid:
        raise ConfigError(f"{name} must be a path without zero bytes and lone surrogates, got {shown(path)}")


def is_list(value: object) -> bool:
    """Returns True for a list or another iterable, but not for a text, a mapping or a tensor without dimensions."""
    is_other = isinstance(value, (str, bytes, Mapping, type)) or getattr(value, "ndim", 1) == 0
    return isinstance(value, Iterable) and not is_other


def check_list(
    name: str,
    values: Any,
    wanted: str,
    *,
    single: type | tuple[type, ...] = (),
    error: type[ZhLstmLmError] = DataError,
) -> list[Any]:
    """Returns the items of a list or another iterable; raises the error for what is none (see `is_list`).

    A value of a type in `single` stands for a list of it alone.
    """
    if isinstance(values, single):
        return [values]
    if not is_list(values):
        hint = f"; give [{name.removesuffix('s')}]" if isinstance(values, (str, Mapping)) else ""
        raise error(f"{name} must be {wanted}, got {shown(values)}{hint}")
    return list(values)


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Raises ConfigError unless `value` is one of the names in `choices`."""
    if not isinstance(value, str) or value not in choices:
        hint = nearest_name(value, choices) if isinstance(value, str) else ""
        raise ConfigError(f"{name} must be one of {', '.join(map(repr, choices))}, got {shown(value)}{hint}")


def check_text(name: str, text: object) -> str:
    """Returns a text if UTF-8 can encode it; raises DataError unless it is a string without lone surrogates."""
    if not isinstance(text, str):
        raise DataError(f"{name} must be a string, got {shown(text)}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{name}: character {error.start} is a lone surrogate ({text[error.start]!a}), which is no text; "
            "decode the bytes that it came from properly, or take it out"
        ) from None
    return text
