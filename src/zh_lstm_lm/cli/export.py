"""The command ``export``."""

import argparse

from zh_lstm_lm.cli.common import AddCommand, load_model, path, print_page

__all__ = ["add_command"]


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    export = add("export", _export, "Write a saved model in the format of another program.")
    export.add_argument("model", type=path, help="folder of a saved model")
    export.add_argument("--format", choices=["onnx"], required=True, help="onnx: a step and a scorer for sherpa-onnx")
    export.add_argument("--output", type=path, required=True, metavar="FOLDER", help="folder for the files")


def _export(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.integrations.onnx import export_onnx

    for file in export_onnx(load_model(parsed.model), parsed.output):
        print_page(file)
    return 0
