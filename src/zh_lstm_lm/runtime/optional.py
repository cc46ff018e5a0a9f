"""Optional libraries, imported when they are needed."""

import importlib
from types import ModuleType

from zh_lstm_lm.errors import MissingDependencyError

__all__ = ["require"]


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
