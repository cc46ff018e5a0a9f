"""The command ``report``."""

import argparse

from zh_lstm_lm.cli.common import AddCommand, tell_page

__all__ = ["add_command"]


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    report = add("report", _report, "Write what runs and studies came to as one HTML page.")
    report.add_argument("folders", nargs="+", metavar="RUN", help="folders of training runs and of studies")
    report.add_argument("--output", required=True, metavar="FILE", help="the page to write, such as report.html")
    report.add_argument("--language", choices=["zh", "en"], default="zh", help="the language that is shown first")
    report.add_argument("--overwrite", action="store_true", help="replace the file if it is there")


def _report(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.report.document import write_report

    tell_page(write_report(parsed.folders, parsed.output, language=parsed.language, overwrite=parsed.overwrite))
    return 0
