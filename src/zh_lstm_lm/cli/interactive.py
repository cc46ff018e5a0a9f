"""Co-writing in the terminal: a command or a piece of text on each line, also when the lines come from a pipe."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zh_lstm_lm._config import nearest_name
from zh_lstm_lm.cli.common import INTERRUPTED, path, write_text
from zh_lstm_lm.cli.generate import parse_bias, parse_lengths, parse_word
from zh_lstm_lm.errors import ConfigError, ZhLstmLmError, escape_controls

if TYPE_CHECKING:
    from zh_lstm_lm.generation.co_writing import CoWriter
    from zh_lstm_lm.generation.sampler import Sampler

__all__ = ["co_write"]

_HELP = """Enter     let the model continue        again      another turn in place of its last
next N    N continuations; then the number of one chooses it
中文      Chinese is added as your own words; +TEXT adds any other text
undo      undo the last step            text       show the whole text
settings  show the settings             NAME VALUE change one, as in: temperature 0.7
save FILE write the text into a file    quit       end
help      show this"""
_COMMANDS = ("again", "next", "undo", "text", "settings", "save", "quit", "help")
_WORDS = {"none": None, "true": True, "on": True, "false": False, "off": False}


def co_write(sampler: "Sampler", prompt: str, limits: dict[str, Any]) -> int:
    """Reads lines until ``quit``, the end of the input or Ctrl-C; a mistake is reported, and the text stays."""
    from zh_lstm_lm.generation.co_writing import CoWriter

    _edit_lines()
    writer = CoWriter(sampler, prompt, **limits)
    saved = prompt
    print(_HELP)
    if prompt:
        print(prompt)
    while True:
        try:
            line = input("> ").rstrip("\r")
            if line.strip() == "quit":
                return 0
            print(_answer(writer, line))
            if line.strip().startswith("save "):
                saved = writer.text
        except ZhLstmLmError as error:
            print(f"! {error}")
        except (EOFError, KeyboardInterrupt) as end:
            print()
            if writer.text != saved and sys.stdin.isatty():
                _offer_to_save(writer.text)
            return INTERRUPTED if isinstance(end, KeyboardInterrupt) else 0


def _edit_lines() -> None:
    """Lets a terminal edit lines and recall them with the arrow keys, where Python has readline."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        try:
            import readline  # noqa: F401
        except ImportError:
            return


def _offer_to_save(text: str) -> None:
    """Asks for a file until the text is saved or the answer is empty."""
    while True:
        try:
            name = input("save the text as (Enter: do not save): ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if not name:
            return
        try:
            print(_save(text, name))
            return
        except ZhLstmLmError as error:
            print(f"! {error}")


def _answer(writer: "CoWriter", line: str) -> str:
    """Does what a line asks for; returns the text to show."""
    if line.startswith("+"):
        writer.add(line[1:])
        return line[1:]
    command, _, argument = line.strip().partition(" ")
    if command.isascii() and command.isdecimal() and not argument:
        return writer.choose(int(command))
    if command == "next":
        number = argument or "3"
        if not number.isdecimal() or not 1 <= int(number) <= 20:
            raise ConfigError(f"next needs a number from 1 to 20, as in 'next 3', got {argument!r}")
        return "\n".join(f"{position}: {text}" for position, text in enumerate(writer.choices(int(number)), start=1))
    if command == "save":
        return _save(writer.text, argument)
    if command == "undo" and not argument:
        return writer.text if writer.undo() else "! nothing to undo"
    answers: dict[str, Callable[[], str]] = {
        "": writer.go_on,
        "again": writer.again,
        "text": lambda: writer.text,
        "settings": lambda: "\n".join(f"{name} {_shown(value)}" for name, value in _settings(writer).items()),
        "help": lambda: _HELP,
    }
    if not argument and command in answers:
        return answers[command]()
    name, _, value = line.strip().replace("=", " ", "=" in command or argument.startswith("=")).partition(" ")
    if name.replace("-", "_") in _settings(writer):
        return _set(writer, name.replace("-", "_"), value.strip())
    if not line.isascii():
        writer.add(line)
        return line
    hint = nearest_name(command, [*_COMMANDS, *_settings(writer)])
    raise ConfigError(
        f"no command {line!r}{hint or ';'} 'help' and 'settings' show what there is, and +{line} adds it as text"
    )


def _settings(writer: "CoWriter") -> dict[str, Any]:
    """Returns the sampling options and the limits of a turn by name."""
    from zh_lstm_lm.generation.limits import Limits

    limits = Limits(**writer.limits).to_dict()
    return {**writer.sampler.config.to_dict(), **{name: limits[name] for name in limits if name != "stop_when"}}


def _set(writer: "CoWriter", name: str, text: str) -> str:
    """Changes a setting; returns a line that confirms it."""
    from zh_lstm_lm.generation.config import SamplerConfig
    from zh_lstm_lm.generation.limits import Limits
    from zh_lstm_lm.generation.sampler import Sampler

    value = _value(name, text)
    sampler = writer.sampler
    if name in SamplerConfig.option_names():
        config = SamplerConfig.from_dict({**sampler.config.to_dict(), name: value})
        writer.sampler = Sampler(sampler.model, config, processors=sampler.processors)
    else:
        limits: Any = {key: kept for key, kept in {**writer.limits, name: value}.items() if kept is not None}
        Limits(**limits)
        writer.limits = limits
    return f"{name} {_shown(_settings(writer)[name])}"


def _shown(value: Any) -> str:
    """Returns the value of a setting as it is typed."""
    if isinstance(value, list):
        pairs = [[part for part in item if part is not None] if isinstance(item, tuple) else [item] for item in value]
        return " ".join("=".join(map(str, pair)) for pair in pairs) or "none"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _value(name: str, text: str) -> Any:
    """Converts the value of a setting; the config that takes it checks it."""
    import argparse

    from zh_lstm_lm.generation.forms.names import parse_names

    items = [] if text.lower() == "none" else text.split()
    if name in ("banned_words", "stop"):
        return items
    try:
        if name == "word_bias":
            return dict(map(parse_bias, items))
        if name == "must_contain":
            return dict(map(parse_word, items))
        if name == "line_lengths" and items:
            return parse_lengths(",".join(items))
    except argparse.ArgumentTypeError as error:
        raise ConfigError(f"{name} {error}") from error
    if name == "rename":
        return parse_names("\n".join(items)) if items else []
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _save(text: str, name: str) -> str:
    if not name.strip():
        raise ConfigError("save needs the name of a file, as in 'save novel.txt'")
    write_text(path(name.strip()), text)
    return f"{len(text):,} characters in {escape_controls(name.strip())}"
