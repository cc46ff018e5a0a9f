"""The command ``export``: a saved model in the format of another program, or as a page that writes."""

import argparse

from zh_lstm_lm.cli.common import load_model, path, print_line, print_page, read_text
from zh_lstm_lm.errors import ConfigError

__all__ = ["add_export"]


def add_export(export: argparse.ArgumentParser) -> None:
    """Adds the options of ``export``."""
    export.set_defaults(run=_export)
    export.add_argument("model", type=path, help="folder of a saved model")
    export.add_argument(
        "--format",
        choices=["onnx", "html"],
        required=True,
        help="onnx: a step and a scorer for sherpa-onnx; html: one page that writes, without a network",
    )
    export.add_argument(
        "--output",
        type=path,
        required=True,
        metavar="PATH",
        help="folder for ONNX files, or the page, such as novel.html",
    )
    export.add_argument(
        "--text",
        type=path,
        metavar="FILE",
        help="html: text to measure the cost of 8-bit weights on (default: not measured)",
    )
    export.add_argument("--overwrite", action="store_true", help="html: replace the page if it exists")


def _export(parsed: argparse.Namespace) -> int:
    if parsed.format == "html":
        return _export_page(parsed)
    from zh_lstm_lm.integrations.onnx import export_onnx

    for option, value in (("--text", parsed.text), ("--overwrite", parsed.overwrite)):
        if value:
            raise ConfigError(f"{option} goes with --format html, got --format onnx; leave it out")
    for file in export_onnx(load_model(parsed.model), parsed.output):
        print_page(file)
    return 0


def _export_page(parsed: argparse.Namespace) -> int:
    from pathlib import Path

    from zh_lstm_lm.evaluation.score import score
    from zh_lstm_lm.integrations.page.export import check_target, make_page
    from zh_lstm_lm.storage.user_files import write_file

    target = Path(parsed.output)
    check_target(target, overwrite=parsed.overwrite)
    model = load_model(parsed.model)
    page = make_page(model, title=target.stem)
    write_file(target, page.html)
    print_page(target)
    print_line(", ".join(f"{name} {size / 1000:,.0f} KB" for name, size in page.sizes.items()))
    if page.is_part:
        print_line("only the LSTM of the mixture is in the page; n-grams and caches are left out")
    if parsed.text:
        text = read_text(parsed.text)
        before, after = (score(each, text).bits_per_character for each in (model, page.quantised.model))
        if before is not None and after is not None:
            print_line(f"bits per character: {after:.4f} in the page, {before:.4f} before ({after - before:+.4f})")
    return 0
