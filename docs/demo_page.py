"""Trains a model on the bundled novella and writes it as a page: `python docs/demo_page.py PAGE [--minutes MINUTES]`."""

import argparse
import tempfile
from importlib import resources
from pathlib import Path

import zh_lstm_lm
from zh_lstm_lm.cli.main import main


def write_demo(page: Path, minutes: float) -> None:
    """Trains for some minutes with the defaults of `zh-lstm-lm train`, and replaces the page."""
    page.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, resources.as_file(resources.files("zh_lstm_lm") / "data") as data:
        model = Path(folder, "model")
        if main(["train", str(data / "sample_novel.txt"), "--output", str(model), "--minutes", str(minutes)]):
            raise SystemExit("the model of the demo page was not trained")
        zh_lstm_lm.export_html(zh_lstm_lm.from_pretrained(model), page, title="空匣镖", overwrite=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--minutes", type=float, default=1.0)
    options = parser.parse_args()
    write_demo(options.page, options.minutes)
