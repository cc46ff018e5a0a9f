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

__all__ = [
    "CONTROL_CHARACTERS", "CheckpointError", "ConfigError", "DataError", "MissingDependencyError", "NonFiniteError",
    "RankError", "VocabularyError", "ZhLstmLmError", "escape_controls",
]  # fmt: skip

# C0, DEL and C1; bidirectional controls with the separators of lines and paragraphs between them; lone surrogates.
CONTROL_CHARACTERS = "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"


def escape_controls(text: str, *, keep: str = "") -> str:
    r"""Replaces control characters, except those in `keep`, by escapes such as ``\x1b`` and ``\u202e``."""
    if text.isprintable():
        return text
    import re  # noqa: PLC0415

    return re.sub(CONTROL_CHARACTERS, lambda found: found[0] if found[0] in keep else repr(found[0])[1:-1], text)


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
