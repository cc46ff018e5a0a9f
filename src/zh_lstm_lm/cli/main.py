"""The command line: one module for a command or a few like ones; nothing heavy is imported before it is needed."""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

from zh_lstm_lm._version import __version__
from zh_lstm_lm.errors import ConfigError, ZhLstmLmError, escape_controls
from zh_lstm_lm.runtime.interruption import ended_by_signals
from zh_lstm_lm.runtime.standard_streams import abandon, deferred_failures, regular_files, standard_streams
from zh_lstm_lm.runtime.threads import settle_threads

# True for type checkers; importing typing, difflib and logging would double the time of --help.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

__all__ = ["main"]

# Each command with its module and its purpose; the module is imported and the options are declared when it is used.
_COMMANDS = {
    "demo": ("demo", "Train on the bundled novella and write a text, in a few minutes."),
    "train": ("train", "Train a model on novels and save it."),
    "evaluate": ("evaluate", "Evaluate a model on text, or compare two: bits per character, perplexity."),
    "score": ("score", "Print the surprisal of each word of texts."),
    "rescore": ("rescore", "Rescore n-best lists."),
    "suggest": ("rescore", "Find the likeliest words for a gap."),
    "novelty": ("novelty", "Measure how much of a text is new and how much was copied."),
    "pairs": ("pairs", "Measure how often a model prefers the good sentence of minimal pairs."),
    "generate": ("generate", "Write text with a model."),
    "study": ("study", "Train under one condition after another, measure, and test common claims."),
    "report": ("study", "Write an HTML page of training runs, studies and minimal pairs."),
    "export": ("export", "Write a saved model in another format."),
    "serve": ("serve", "Answer completions requests over HTTP."),
    "info": ("inspection", "Describe a saved model."),
    "inspect": ("inspection", "Inspect novels before training: encodings, cleaning, duplicates, coverage."),
    "cache": ("inspection", "Show the place and the size of the cache of segmented text, or clear it."),
}
# Commands that read a token or a short text at a time, which is faster with one thread.
_ONE_THREAD = ("generate", "suggest", "rescore", "serve")
# Commands whose work goes on when nobody reads their output any more.
_LONG = ("demo", "train", "study")

# Calls of the library in its messages, and the options that stand for them.
_CALLS = {
    "overwrite=True": "--overwrite",
    "output='full'": "--softmax full",
    "output='adaptive'": "--softmax adaptive",
    "TokenStream.from_records(…, text_field='…')": "--text-field NAME",
}


class _ConfigFile(argparse.Action):
    """Reads options of a command from a file."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: "Any", option_string: "Any" = None
    ) -> None:
        assert isinstance(parser, _Parser)
        parser.read_config(values)


class _Completion(argparse.Action):
    """Prints a script that completes the options of all commands in a shell."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: "Any", shell: "Any", option: "Any" = None) -> None:
        from zh_lstm_lm.runtime.optional import require

        shtab = require("shtab", extra="completion")
        for command in parser._subparsers._group_actions[0].choices.values():  # type: ignore[union-attr]
            command.complete()
        print(shtab.complete(parser, shell))
        parser.exit()


class _Parser(argparse.ArgumentParser):
    """An argument parser that suggests the nearest option for one that does not exist."""

    def __init__(self, **options: "Any") -> None:
        super().__init__(**options)
        self.color = False  # Python 3.14 colours the help, by escape sequences, which a terminal is not sent.
        # The command whose options are still to be declared.
        self.undeclared: str | None = None
        # The values of --config by option, and the names that the command line gives.
        self._config: dict[argparse.Action, Any] = {}
        self._typed: set[str] = set()
        self._intermixing = False

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuses unknown options here, where the options of the command are known.

        The paths and the texts of a command can stand before, between and after its options.
        """
        if self._intermixing:
            return super().parse_known_args(args, namespace)
        self.complete()
        if self._subparsers is None:
            parsed, unknown = self._parse_intermixed(args, namespace)
        else:
            first = next(iter(sys.argv[1:] if args is None else args), "").partition("=")[0]
            if first.startswith("-") and not any(each.startswith(first) for each in self._option_string_actions):
                self._refuse(first)
            parsed, unknown = super().parse_known_args(args, namespace)
        for argument in unknown:
            self._refuse(argument)
        for action, value in self._config.items():
            if self._typed.isdisjoint(each.dest for each in self._excluded_by(action)):
                setattr(parsed, action.dest, value)
        return parsed, []

    def _parse_intermixed(self, *arguments: "Any") -> tuple[argparse.Namespace, list[str]]:
        # The base class cannot do this with a place in a group whose members exclude each other.
        groups = [(group, list(group._group_actions)) for group in self._mutually_exclusive_groups]
        for group, actions in groups:
            group._group_actions = [action for action in actions if action.option_strings]
        self._intermixing = True
        try:
            result = self.parse_known_intermixed_args(*arguments)
        finally:
            self._intermixing = False
            for group, actions in groups:
                group._group_actions = actions
        for _, actions in groups:
            given = [action for action in actions if action.dest in self._typed]
            if len(given) > 1:
                self.error(str(argparse.ArgumentError(given[1], f"not allowed with argument {given[0].dest}")))
        return result

    def _refuse(self, argument: str) -> None:
        """Ends with an error for an argument that no option and no place takes."""
        from zh_lstm_lm._config import nearest_name

        if not argument.startswith("-"):
            self.error(f"nothing takes the argument {argument!r}")
        self.error(f"no such option: {argument}{nearest_name(argument.partition('=')[0], self._option_string_actions)}")

    def _check_value(self, action: argparse.Action, value: "Any") -> None:
        """Suggests the nearest command or choice for one that does not exist."""
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            from zh_lstm_lm._config import nearest_name

            hint = nearest_name(str(value), map(str, action.choices or ()))
            raise argparse.ArgumentError(action, error.message + hint) from None

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> "Any":
        """Notes that an option is on the command line."""
        # An argument that is left out comes here too.
        if action.option_strings or arg_strings:
            self._typed.add(action.dest)
        return super()._get_values(action, arg_strings)

    def _excluded_by(self, action: argparse.Action) -> "list[argparse.Action]":
        """Returns the options that an option excludes, itself among them."""
        groups = (group._group_actions for group in self._mutually_exclusive_groups)
        return next((group for group in groups if action in group), [action])

    def read_config(self, path: str) -> None:
        """Reads the options of a TOML file, which those of the command line replace; refuses what does not fit."""
        from zh_lstm_lm._config import nearest_name
        from zh_lstm_lm.runtime.optional import read_toml

        found: dict[argparse.Action, Any] = {}
        options = {name[2:]: action for name, action in self._option_string_actions.items() if name.startswith("--")}
        for name in ("help", "config"):
            del options[name]
        for key, value in read_toml(path).items():
            action = options.get(key.replace("_", "-"))
            if action is None:
                hint = nearest_name(key, options)
                raise ConfigError(f"{path}: no such option: {key}{hint}; '{self.prog} --help' shows the options")
            others = [each.option_strings[0][2:] for each in self._excluded_by(action) if each in found]
            if others:
                raise ConfigError(f"{path}: {key} and {others[0]} exclude each other; leave one out")
            found[action] = self._converted(action, value, f"{path}: {key}")
            action.required = False
        self._config |= found

    def _converted(self, action: argparse.Action, value: object, name: str) -> "Any":
        """Returns the value of an option for one in a file, which has the type that the option asks for."""
        if action.nargs == 0:
            if not isinstance(value, bool):
                raise ConfigError(f"{name} must be true or false, got {value!r}")
            if isinstance(action, argparse.BooleanOptionalAction):
                return value
            return action.const if value else action.default
        several = action.nargs in ("+", "*") or isinstance(action, (argparse._AppendAction, argparse._ExtendAction))
        listed = value if several and isinstance(value, list) else [value]
        values = []
        for each in listed:
            if isinstance(each, bool) or not isinstance(each, (str, int, float)):
                raise ConfigError(f"{name} must be a number or a string{' or a list' * several}, got {each!r:.80}")
            try:
                values.append(self._get_value(action, str(each)))
                self._check_value(action, values[-1])
            except argparse.ArgumentError as error:
                raise ConfigError(f"{name}: {error.message}") from error
            if isinstance(each, str) != isinstance(values[-1], str) and isinstance(values[-1], (str, int, float)):
                wanted = "string" if isinstance(values[-1], str) else "number"
                raise ConfigError(f"{name} must be a {wanted}, got {each!r}")
        if not values:
            raise ConfigError(f"{name} must have at least one value, got an empty list")
        return values if several else values[0]

    def complete(self) -> None:
        """Declares the options of the command, once."""
        name, self.undeclared = self.undeclared, None
        if name is not None:
            import importlib

            module = importlib.import_module(f"zh_lstm_lm.cli.{_COMMANDS[name][0]}")
            self.set_defaults(parser=self, command=name)
            self.add_argument("--quiet", action="store_true", help="print results and warnings only")
            self.add_argument(
                "--config",
                action=_ConfigFile,
                metavar="FILE",
                help="TOML file of long options, such as max-epochs = 3; options given here win (default: none)",
            )
            getattr(module, f"add_{name}")(self)

    def error(self, message: str) -> "NoReturn":
        """Prints two lines and exits with status 2."""
        self.exit(2, f"{self.prog}: error: {escape_controls(message)}\n{self.prog} --help shows the options\n")

    def in_options(self, message: str) -> str:
        """Replaces the names of the library's options in a message by those of the command line."""
        import re

        for call, option in _CALLS.items():
            message = message.replace(call, option)
        for action in self._actions:
            if action.option_strings:
                name, option = re.escape(action.dest), action.option_strings[0]
                # Not inside of a path, a word or a quoted value.
                message = re.sub(rf"(?<![\w/\\.'\"-]){name}=(?=[^=\s])", f"{option} ", message)
                if "_" in name:
                    message = re.sub(rf"(?<![\w/\\.'\"-]){name}(?![\w/\\'\"-]|\.\w)", option, message)
                else:
                    message = re.sub(rf"^{name}(?= must )", option, message)
        return message


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 1 for an error of the library itself, 2 for bad input, 130 after Ctrl-C."""
    # A program that calls `main` with arguments keeps its environment and its signals.
    with ended_by_signals() if arguments is None else contextlib.nullcontext(), standard_streams():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    parser: Any = None
    try:
        try:
            parsed = _parser().parse_args(arguments)
        finally:
            # The help is written here as well.
            sys.stdout.flush()
        parser = parsed.parser
        if arguments is None:
            settle_threads(one=parsed.command in _ONE_THREAD)
        output = deferred_failures() if parsed.command in _LONG else contextlib.nullcontext()
        with _log_lines(parsed.quiet), regular_files(parsed), output:
            status: int = parsed.run(parsed)
        sys.stdout.flush()
    except ZhLstmLmError as error:
        _print_error(f"zh-lstm-lm: error: {parser.in_options(str(error)) if parser else error}\n")
        return 2
    except KeyboardInterrupt:
        from zh_lstm_lm.cli.common import INTERRUPTED

        _print_error("zh-lstm-lm: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the output has gone.
        abandon(sys.stdout)
        return 0
    except Exception as error:
        if isinstance(error, OSError) and (place := _place_of(error)):
            _print_error(f"zh-lstm-lm: error: {place}: {error.strerror}; check the place and its permissions\n")
            return 2
        import traceback

        _print_error(escape_controls(traceback.format_exc(), keep="\n\t"))
        return 1
    return status


def _place_of(error: OSError) -> str:
    """Returns the file or folder that an error is about; PyTorch names none where it lacks a place for temporary files."""
    if error.filename is not None:
        return escape_controls(os.fsdecode(error.filename))
    if not isinstance(error, FileNotFoundError):
        return ""
    with contextlib.suppress(OSError):
        os.getcwd()
        return "temporary files"
    return "the working directory"


def _print_error(message: str) -> None:
    """Prints a message; what cannot be written to a standard stream any more is dropped."""
    with contextlib.suppress(OSError):
        sys.stderr.write(message)
        sys.stderr.flush()
    try:
        sys.stdout.flush()
    except (ZhLstmLmError, BrokenPipeError):
        abandon(sys.stdout)


@contextlib.contextmanager
def _log_lines(quiet: bool) -> "Iterator[None]":
    """Prints the library's log lines; a program that calls `main` gets its level back."""
    import logging

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logger = logging.getLogger("zh_lstm_lm")
    before = logger.level
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="zh-lstm-lm", description="Word-level LSTM language models of Chinese text.")
    parser.add_argument("--version", action="version", version=f"zh-lstm-lm {__version__}")
    shells = ("bash", "fish", "tcsh", "zsh")
    parser.add_argument("--print-completion", action=_Completion, choices=shells, help="print a script for a shell")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    for name, (_, purpose) in _COMMANDS.items():
        commands.add_parser(name, help=purpose, description=purpose).undeclared = name
    return parser


if __name__ == "__main__":
    sys.exit(main())
