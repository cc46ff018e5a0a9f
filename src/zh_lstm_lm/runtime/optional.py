"""Optional libraries, imported when they are needed."""

import importlib
import os
import sys
from types import ModuleType
from typing import Any

from zh_lstm_lm.errors import ConfigError, MissingDependencyError

__all__ = ["read_toml", "require"]


def require(module: str, *, extra: str) -> ModuleType:
    """Imports an optional library, or raises an error with the command that installs an extra of this package."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]
        problem = "is not installed" if missing else f"cannot be imported ({error})"
        raise MissingDependencyError(
            f"{module} {problem}; it comes with the extra {extra!r}: pip install 'zh-lstm-lm[{extra}]'"
        ) from error


def read_toml(path: str) -> dict[str, Any]:
    """Reads a TOML file; raises ConfigError if that cannot be done."""
    toml = require("tomllib", extra="toml") if sys.version_info >= (3, 11) else require("tomli", extra="toml")
    try:
        with open(os.path.expanduser(path), "rb") as file:
            # The editor of Windows begins a file with a mark.
            values: dict[str, Any] = toml.loads(file.read().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a TOML file of options") from error
    # A TOMLDecodeError or UnicodeDecodeError is one.
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error}); expected lines such as max-epochs = 3") from error
    return values
