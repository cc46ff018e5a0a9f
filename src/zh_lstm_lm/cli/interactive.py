"""Co-writing in the terminal: one command a line, also when the lines come from a pipe."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zh_lstm_lm.cli.common import write_text
from zh_lstm_lm.errors import ConfigError, ZhLstmLmError, escape_controls

if TYPE_CHECKING:
    from zh_lstm_lm.generation.co_writing import CoWriter
    from zh_lstm_lm.generation.sampler import Sampler

__all__ = ["co_write"]

_HELP = """Enter     let the model go on          again      another turn in place of its last
next N    N ways to go on; then its number chooses one
+TEXT     add words of your own        undo       take the last step back
text      show the whole text          save FILE  write it into a file
help      this                         quit       end"""


def co_write(sampler: "Sampler", prompt: str, limits: dict[str, Any]) -> int:
    """Reads commands until ``quit`` or the end of the input; a mistake is told, and the text stays."""
    from zh_lstm_lm.generation.co_writing import CoWriter

    writer = CoWriter(sampler, prompt, **limits)
    print(_HELP)
    if prompt:
        print(prompt)
    while True:
        try:
            line = input("> ").rstrip("\r")
        except EOFError:
            print()
            return 0
        if line.strip() == "quit":
            return 0
        try:
            print(_answer(writer, line))
        except ZhLstmLmError as error:
            print(f"! {error}")


def _answer(writer: "CoWriter", line: str) -> str:
    """Does what a line asks for, and says what to show."""
    if line.startswith("+"):
        writer.add(line[1:])
        return line[1:]
    command, _, argument = line.strip().partition(" ")
    if command.isdecimal() and not argument:
        return writer.choose(int(command))
    if command == "next":
        number = argument or "3"
        if not number.isdecimal() or not 1 <= int(number) <= 20:
            raise ConfigError(f"next needs a number from 1 to 20, as in 'next 3', got {argument!r}")
        return "\n".join(f"{place}: {text}" for place, text in enumerate(writer.choices(int(number)), start=1))
    if command == "save":
        return _save(writer.text, argument)
    if command == "undo" and not argument:
        return writer.text if writer.undo() else "! nothing to take back"
    answers: dict[str, Callable[[], str]] = {
        "": writer.go_on,
        "again": writer.again,
        "text": lambda: writer.text,
        "help": lambda: _HELP,
    }
    if argument or command not in answers:
        raise ConfigError(f"no command {line!r}; 'help' shows them, and a line that begins with + adds words of yours")
    return answers[command]()


def _save(text: str, name: str) -> str:
    if not name.strip():
        raise ConfigError("save needs the name of a file, as in 'save novel.txt'")
    write_text(name.strip(), text)
    return f"{len(text):,} characters in {escape_controls(name.strip())}"
