"""The command line: the library's own calls, with a few lines around each. Nothing heavy is imported before it is needed."""

import argparse
import sys
from collections.abc import Callable, Sequence

from zh_lstm_lm._version import __version__
from zh_lstm_lm.cli import (
    cache,
    evaluate,
    generate,
    info,
    inspection,
    novelty,
    report,
    rescore,
    score,
    study,
    suggest,
    train,
)
from zh_lstm_lm.cli.common import INTERRUPTED
from zh_lstm_lm.errors import ZhLstmLmError
from zh_lstm_lm.runtime.threads import settle_threads

TYPE_CHECKING = False  # true for type checkers; typing, difflib and logging would double the time of --help
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["main"]

# Commands that read a token or a short text at a time, which is faster with one thread.
_ONE_THREAD = ("generate", "suggest", "rescore")


class _Parser(argparse.ArgumentParser):
    """An argument parser that names the nearest option for one that there is not."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuses unknown options here, where this command's own are known."""
        parsed, unknown = super().parse_known_args(args, namespace)
        for option in unknown:
            import difflib

            matches = difflib.get_close_matches(option.split("=")[0], self._option_string_actions, n=1, cutoff=0.5)
            self.error(f"no such option: {option}" + (f"; did you mean {matches[0]}?" if matches else ""))
        return parsed, []

    def error(self, message: str) -> "NoReturn":
        """Two lines and exit status 2."""
        self.exit(2, f"{self.prog}: error: {message}\n{self.prog} --help shows what there is\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: What was typed after the program's name; None takes it from the process.

    Returns:
        The exit status: 0, 2 for bad input, 130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # rare characters print on a console of any encoding
    parsed = _parser().parse_args(arguments)
    # A program that calls this function keeps its environment.
    if arguments is None:
        settle_threads(one=parsed.run.__module__.rpartition(".")[2] in _ONE_THREAD)
    import logging

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("zh_lstm_lm").setLevel(logging.WARNING if parsed.quiet else logging.INFO)
    try:
        status: int = parsed.run(parsed)
        sys.stdout.flush()
    except ZhLstmLmError as error:
        print(f"zh-lstm-lm: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("zh-lstm-lm: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to write has a place to go
        return 0
    return status


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="zh-lstm-lm", description="Word-level LSTM language models of Chinese text.")
    parser.add_argument("--version", action="version", version=f"zh-lstm-lm {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(name, help=about, description=about)
        command.set_defaults(run=run)
        command.add_argument("--quiet", action="store_true", help="print results and warnings only")
        return command

    for command in (
        train,
        evaluate,
        score,
        rescore,
        suggest,
        novelty,
        generate,
        study,
        report,
        info,
        inspection,
        cache,
    ):
        command.add_command(add)
    return parser


if __name__ == "__main__":
    sys.exit(main())
