"""The commands ``study`` and ``report``."""

import argparse
import sys
from typing import TYPE_CHECKING

from zh_lstm_lm.cli.common import (
    INTERRUPTED,
    add_reading,
    chosen_tokenizer,
    given,
    output_path,
    path,
    print_line,
    print_page,
    read_stream,
    text,
)
from zh_lstm_lm.errors import ConfigError

if TYPE_CHECKING:
    from zh_lstm_lm.corpus.token_stream import TokenStream

__all__ = ["add_report", "add_study"]

_SIZES = ("embedding_dim", "hidden_size", "num_layers", "dropout")
_TRAINING = ("batch_size", "bptt_len", "learning_rate", "max_grad_norm", "device")


def add_study(study: argparse.ArgumentParser) -> None:
    """Adds the options of ``study``, some of which are those of `StudyConfig`."""
    study.set_defaults(run=_study)
    import dataclasses

    from zh_lstm_lm.studies.config import StudyConfig

    add = study.add_argument
    add("kind", help="the condition that varies: seq-len, epochs or vocabulary")
    add("paths", type=path, nargs="*", help="folders, files or glob patterns of text (default: the bundled novella)")
    add(
        "--output", type=output_path, required=True, metavar="FOLDER", help="folder of the study, which continues there"
    )
    add("--report", type=path, metavar="FILE", help="write an HTML page of it as well (default: none)")
    add("--overwrite", action="store_true", help="replace that page if it exists")
    add_reading(study)
    add = study.add_argument_group("conditions").add_argument
    for option in dataclasses.fields(StudyConfig):
        about, default = option.metadata["help"], option.default
        if default is not None and "default:" not in about:
            about += f" (default: {' '.join(map(str, default)) if isinstance(default, tuple) else default})"
        parse = option.metadata["parse"]
        add(
            f"--{option.name.replace('_', '-')}",
            type=text if parse is str else parse,
            nargs=None if option.metadata["at_least"] is None else "+",
            help=about,
        )
    add("--reset-state", action="store_true", help="start each segment from the zero state (default: carry it)")
    add = study.add_argument_group("model and training").add_argument
    add("--embedding-dim", type=int, default=64, help="width of the embedding (default: %(default)s)")
    add("--hidden-size", type=int, default=128, help="width of the LSTM layers (default: %(default)s)")
    add("--num-layers", type=int, default=1, help="number of LSTM layers (default: %(default)s)")
    add("--dropout", type=float, default=0.3, help="dropout rate (default: %(default)s)")
    add("--batch-size", type=int, help="batch rows, equal for all conditions (default: 16)")
    add("--bptt-len", type=int, help="length of BPTT segments, except for seq-len (default: 35)")
    add("--learning-rate", type=float, help="peak learning rate (default: by the number of updates)")
    add("--max-grad-norm", type=float, help="norm to which gradients are clipped (default: 0.5)")
    add("--device", help="auto, cpu, cuda or cuda:N (default: auto)")


def add_report(report: argparse.ArgumentParser) -> None:
    """Adds the options of ``report``."""
    report.set_defaults(run=_report)
    add = report.add_argument
    add("folders", type=path, nargs="+", metavar="RUN", help="folders of runs and studies, and JSON files of 'pairs'")
    add("--output", type=output_path, required=True, metavar="FILE", help="the page, such as report.html")
    add(
        "--language", choices=["zh", "en"], default="zh", help="the language that is shown first (default: %(default)s)"
    )
    add("--overwrite", action="store_true", help="replace the page if it exists")


def _study(parsed: argparse.Namespace) -> int:
    from pathlib import Path

    from zh_lstm_lm._config import check_choice
    from zh_lstm_lm.models.config import ModelConfig
    from zh_lstm_lm.report.document import check_page, write_report
    from zh_lstm_lm.studies.config import StudyConfig
    from zh_lstm_lm.studies.kinds import KINDS
    from zh_lstm_lm.studies.result import StudyResult
    from zh_lstm_lm.studies.study import check_study_folder, study
    from zh_lstm_lm.training.config import TrainerConfig

    # Mistakes are reported before the corpus is read.
    check_choice("the kind of study", parsed.kind, KINDS)
    hint = "give another --output"
    if check_study_folder(Path(parsed.output), hint=hint):
        begun = StudyResult.load(parsed.output).kind
        if begun != parsed.kind:
            raise ConfigError(f"{parsed.output}: holds a study of {begun}, got {parsed.kind}; {hint}")
    if parsed.report:
        check_page(Path(parsed.report), overwrite=parsed.overwrite)
    config = StudyConfig(**given(parsed, *StudyConfig.option_names()))
    model_config = ModelConfig(**given(parsed, *_SIZES))
    trainer_config = TrainerConfig(carry_state=not parsed.reset_state, **given(parsed, *_TRAINING))
    result = study(
        parsed.kind,
        _corpus(parsed),
        config,
        model_config=model_config,
        trainer_config=trainer_config,
        output=parsed.output,
        progress=not parsed.quiet,
    )
    if not result.complete:
        print_line(
            f"interrupted; {len(result.rows)} runs are in {parsed.output}; the same command continues", file=sys.stderr
        )
        return INTERRUPTED
    print(result)
    print_line(f"saved in {parsed.output}")
    if parsed.report:
        print_page(write_report(parsed.output, parsed.report, overwrite=parsed.overwrite))
    return 0


def _corpus(parsed: argparse.Namespace) -> "TokenStream":
    """Reads the files, or the bundled novella if there are none."""
    if parsed.paths:
        return read_stream(parsed, chosen_tokenizer(parsed), parsed.normalize)
    from zh_lstm_lm.corpus.token_stream import TokenStream, sample_novel

    return TokenStream.from_texts([sample_novel()], tokenizer=chosen_tokenizer(parsed))


def _report(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.report.document import write_report

    print_page(write_report(parsed.folders, parsed.output, language=parsed.language, overwrite=parsed.overwrite))
    return 0
