"""The command ``report``."""

import argparse

from zh_lstm_lm.cli.common import path, print_page

__all__ = ["add_report"]


def add_report(report: argparse.ArgumentParser) -> None:
    """Adds the options of ``report``."""
    report.set_defaults(run=_report)
    report.add_argument(
        "folders", type=path, nargs="+", metavar="RUN", help="folders of runs and studies, and JSON files of 'pairs'"
    )
    report.add_argument("--output", type=path, required=True, metavar="FILE", help="the page, such as report.html")
    report.add_argument(
        "--language", choices=["zh", "en"], default="zh", help="the language that is shown first (default: %(default)s)"
    )
    report.add_argument("--overwrite", action="store_true", help="replace the page if it exists")


def _report(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.report.document import write_report

    print_page(write_report(parsed.folders, parsed.output, language=parsed.language, overwrite=parsed.overwrite))
    return 0
