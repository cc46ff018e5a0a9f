"""The command ``export``: a saved model in the format of another program, or as a page that writes."""

import argparse

from zh_lstm_lm.cli.common import load_model, output_path, path, print_line, print_page, read_text
from zh_lstm_lm.errors import ConfigError

__all__ = ["add_export"]

# Characters of the bundled novella that the cost is measured on.
_SAMPLE = 5000


def add_export(export: argparse.ArgumentParser) -> None:
    """Adds the options of ``export``."""
    export.set_defaults(run=_export)
    add = export.add_argument
    add("model", type=path, help="folder of a saved model")
    add(
        "--format",
        choices=["onnx", "html"],
        required=True,
        help="onnx: a step and a scorer for sherpa-onnx; html: one page that writes, without a network",
    )
    add(
        "--output",
        type=output_path,
        required=True,
        metavar="PATH",
        help="folder for ONNX files, or the page, such as novel.html",
    )
    add(
        "--text",
        type=path,
        metavar="FILE",
        help="html: text to measure on what rounding and pruning cost (default: the start of the bundled novella)",
    )
    add("--overwrite", action="store_true", help="html: replace the page if it exists")


def _export(parsed: argparse.Namespace) -> int:
    if parsed.format == "html":
        return _export_page(parsed)
    from zh_lstm_lm.integrations.onnx import export_onnx
    from zh_lstm_lm.models.components import nested_models
    from zh_lstm_lm.models.lstm import LSTMLanguageModel

    for option, value in (("--text", parsed.text), ("--overwrite", parsed.overwrite)):
        if value:
            raise ConfigError(f"{option} goes with --format html, got --format onnx; leave it out")
    model = load_model(parsed.model)
    lstm = next((each for each in nested_models(model) if isinstance(each, LSTMLanguageModel)), model)
    for file in export_onnx(lstm, parsed.output):
        print_page(file)
    if lstm is not model:
        print_line("the files hold the LSTM alone; n-grams and a cache have no form in ONNX")
    return 0


def _export_page(parsed: argparse.Namespace) -> int:
    from pathlib import Path

    from zh_lstm_lm.corpus.token_stream import sample_novel
    from zh_lstm_lm.evaluation.score import score
    from zh_lstm_lm.integrations.page.export import check_target, make_page
    from zh_lstm_lm.storage.user_files import write_file

    target = Path(parsed.output)
    check_target(target, overwrite=parsed.overwrite)
    text = read_text(parsed.text) if parsed.text else sample_novel()[:_SAMPLE]
    model = load_model(parsed.model)
    page = make_page(model, title=target.stem)
    whole, rounded, inside = (score(each, text).bits_per_character for each in (model, page.rounded, page.model))
    write_file(target, page.html)
    print_page(target)
    print_line(", ".join(f"{name} {size / 1000:,.0f} KB" for name, size in page.sizes.items()))
    before, after = page.num_ngrams
    if after < before:
        print_line(f"{after:,} of {before:,} n-grams are in the page: those that predict most")
    if page.left_out:
        print_line(f"a page has no {', '.join(page.left_out)}, which this model sets for sampling")
    if whole is not None and rounded is not None and inside is not None:
        pruned = f", as in the page {inside:.4f} ({inside - whole:+.4f})" if after < before else ""
        print_line(
            f"bits per character of {parsed.text or 'the bundled novella'}: {whole:.4f}, with weights of 8 bits "
            f"{rounded:.4f} ({rounded - whole:+.4f}){pruned}"
        )
    return 0
