"""Every error that this library raises on purpose; the whole tree:

    ZhLstmLmError
    ├── ConfigError (ValueError)              an option: unknown name, wrong type, out of range, contradiction
    ├── DataError (ValueError)                a text, a file or a folder that cannot be read, used or written
    │   └── NonFiniteError                    a loss, gradient or weight that is no finite number
    ├── VocabularyError (ValueError)          a token or an id that a vocabulary does not have, or may not take
    ├── CheckpointError (ValueError)          a saved folder that is missing, foreign, damaged, or cannot be written
    ├── RankError (RuntimeError)              another process of a run of several has ended, or says nothing
    └── MissingDependencyError (ImportError)  an optional library that is not installed

`except ZhLstmLmError` catches them all. A message names the thing, the value received, what was expected and the
next step; whatever was given stands in it with its control characters escaped. Errors that tell of a mistake inside the
library itself stay what they are.
"""

from zh_lstm_lm.control_characters import escape_controls

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "MissingDependencyError",
    "NonFiniteError",
    "RankError",
    "VocabularyError",
    "ZhLstmLmError",
]


class ZhLstmLmError(Exception):
    """Base of all errors that the library raises on purpose.

    Args:
        lines: The lines of the message; control characters in them are escaped.
    """

    def __init__(self, *lines: object) -> None:
        super().__init__(*(escape_controls(str(line)) for line in lines))

    def __str__(self) -> str:
        return "\n".join(self.args)


class ConfigError(ZhLstmLmError, ValueError):
    """An option has an unknown name, a wrong type, or a value out of range."""


class DataError(ZhLstmLmError, ValueError):
    """A text, file or folder cannot be read, cannot be used, or cannot be written."""


class NonFiniteError(DataError):
    """A loss, a gradient or a weight is infinite or not a number: training has diverged."""


class VocabularyError(ZhLstmLmError, ValueError):
    """A vocabulary lacks the token or id asked for, or may not take the one given."""


class CheckpointError(ZhLstmLmError, ValueError):
    """A saved model or run is missing, foreign, damaged, or cannot be written."""


class RankError(ZhLstmLmError, RuntimeError):
    """Another process of a run of several has ended or says nothing; without it the others cannot go on."""


class MissingDependencyError(ZhLstmLmError, ImportError):
    """An optional library is needed and not installed; the message has the install command."""
