"""Control characters, escaped on terminals and in messages, and shown by symbols on pages.

A terminal obeys escape sequences, and bidirectional controls change the visible order of text. Files and pipes get text
unchanged.
"""

from zh_lstm_lm.errors import CONTROL_CHARACTERS, escape_controls

# True for type checkers; the command line loads this module, and neither typing nor logging.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable
    from typing import Any, TextIO

__all__ = ["control_pictures", "get_logger", "safe_terminal", "unescaped"]


def control_pictures(text: str) -> str:
    """Replaces control characters but tabs and line feeds by symbols such as ␛ and [U+202E], for pages."""
    import re  # noqa: PLC0415

    return re.sub(CONTROL_CHARACTERS, lambda found: _picture(found[0]), text)


def _picture(control: str) -> str:
    if control in "\n\t":
        return control
    if control == "\x7f":
        return "␡"
    return chr(0x2400 + ord(control)) if control < " " else f"[U+{ord(control):04X}]"


class _SafeTerminal:
    """A terminal that escapes control characters but tabs and line feeds; `unescaped` is the stream behind it."""

    def __init__(self, stream: "TextIO") -> None:
        self.unescaped = stream

    def write(self, text: str) -> int:
        """Writes text; see `io.TextIOBase.write`."""
        self.unescaped.write(escape_controls(text, keep="\n\t"))
        return len(text)

    def writelines(self, lines: "Iterable[str]") -> None:
        """Writes texts one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> "Any":
        return getattr(self.unescaped, name)


def safe_terminal(stream: "TextIO") -> "TextIO":
    """Wraps a stream to a terminal so that it escapes control characters; any other stream is returned as it is."""
    if stream is None or isinstance(stream, _SafeTerminal) or not stream.isatty():
        return stream
    return _SafeTerminal(stream)  # type: ignore[return-value]


def unescaped(stream: "TextIO") -> "TextIO":
    """Returns the stream behind `safe_terminal`, for progress that returns to the start of its own line."""
    return stream.unescaped if isinstance(stream, _SafeTerminal) else stream


def get_logger(name: str) -> "logging.Logger":
    """Returns the logger of a module, whose messages have their control characters escaped."""
    import logging  # noqa: PLC0415

    logger = logging.getLogger(name)
    logger.addFilter(_escape_message)
    return logger


def _escape_message(record: "logging.LogRecord") -> bool:
    record.msg, record.args = escape_controls(record.getMessage()), ()
    return True
