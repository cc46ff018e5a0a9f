"""The command ``demo``: the commands ``train`` and ``generate`` on the bundled novella."""

import argparse
import shlex

from zh_lstm_lm.cli.common import at_least, output_path, print_line, read_text, write_text
from zh_lstm_lm.errors import ConfigError

__all__ = ["add_demo"]

# Sizes for a short text that is read many times, which needs more dropout.
_TRAINING = ["--min-freq", "2", "--embedding-dim", "96", "--hidden-size", "192", "--dropout", "0.4"]


def add_demo(demo: argparse.ArgumentParser) -> None:
    """Adds the options of ``demo``."""
    demo.set_defaults(run=_demo)
    add = demo.add_argument
    add("--epochs", type=at_least(1), default=5, help="passes over the text (default: %(default)s)")
    add(
        "--output",
        type=output_path,
        default="demo",
        metavar="FOLDER",
        help="folder for the results (default: %(default)s)",
    )


def _demo(parsed: argparse.Namespace) -> int:
    from pathlib import Path

    from zh_lstm_lm.cli.main import main
    from zh_lstm_lm.corpus.token_stream import sample_novel

    folder = Path(parsed.output)
    novel, model, text = (str(folder / name) for name in ("novel.txt", "model", "generated.txt"))
    folder.mkdir(parents=True, exist_ok=True)
    if not Path(novel).exists():
        write_text(novel, sample_novel())
    elif Path(novel).read_bytes() != sample_novel().encode("utf-8"):
        raise ConfigError(f"{novel}: holds another text than the bundled novella; give another --output")
    train = ["train", novel, "--output", model, "--epochs", str(parsed.epochs), *_TRAINING]
    if Path(f"{model}.run").exists():
        train.append("--resume")
    for command in (train, ["generate", model, "--max-characters", "2000", "--output", text]):
        print_line(f"$ zh-lstm-lm {shlex.join(command)}")
        status = main([*command, *(["--quiet"] if parsed.quiet else [])])
        if status:
            return status
    print_line("the text begins:")
    print(read_text(text)[:300])
    return 0
