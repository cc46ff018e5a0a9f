"""The command ``study``."""

import argparse
import sys

from zh_lstm_lm._config import check_choice
from zh_lstm_lm.cli.common import (
    INTERRUPTED,
    AddCommand,
    add_reading,
    chosen_tokenizer,
    given,
    read_stream,
    tell,
    tell_page,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zh_lstm_lm.corpus.token_stream import TokenStream

__all__ = ["add_command"]

_SIZES = ("embedding_dim", "hidden_size", "num_layers", "dropout")
_TRAINING = ("batch_size", "bptt_len", "learning_rate", "max_grad_norm", "device")


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    study = add("study", _study, "Train under one condition after another, measure, and judge what is claimed.")
    study.add_argument("kind", help="what is studied: seq-len, epochs or vocabulary")
    study.add_argument("paths", nargs="*", help="folders, files or glob patterns of text; none: the bundled novella")
    study.add_argument("--output", required=True, metavar="FOLDER", help="where the study is kept; it goes on there")
    study.add_argument("--report", metavar="FILE", help="write a page of it too, as the command report does")
    study.add_argument("--overwrite", action="store_true", help="replace that page if it is there")
    add_reading(study)
    varied = study.add_argument_group("what is varied, and what stays equal")
    varied.add_argument("--lengths", type=int, nargs="+", help="windows in tokens, for seq-len (5 10 20 35 70 140)")
    varied.add_argument("--shares", type=float, nargs="+", help="shares of the text, for epochs (0.125 0.25 0.5 1)")
    varied.add_argument(
        "--max-sizes", type=int, nargs="+", help="sizes of the vocabulary (a quarter, a half, the whole)"
    )
    varied.add_argument(
        "--tokenizers", nargs="+", help="for vocabulary, beside --tokenizer (jieba characters, rjieba if installed)"
    )
    varied.add_argument("--equality", help="what all settings get the same of: tokens (the default), updates, minutes")
    varied.add_argument("--budget", type=_number, help="how much: passes over the text, updates, or minutes")
    varied.add_argument("--seeds", type=int, nargs="+", help="every setting is trained with each (0 1 2)")
    varied.add_argument("--reset-state", action="store_true", help="begin every window from the zero state")
    varied.add_argument("--prompt", help="what the passages begin with")
    sizes = study.add_argument_group("vocabulary, model and training")
    sizes.add_argument("--min-freq", type=int, help="spell words that occur less often (2)")
    sizes.add_argument("--max-size", type=int, help="most entries of the vocabulary (60000)")
    sizes.add_argument("--embedding-dim", type=int, help="64 where no size is given")
    sizes.add_argument("--hidden-size", type=int, help="128 where no size is given")
    sizes.add_argument("--num-layers", type=int)
    sizes.add_argument("--dropout", type=float, help="0.3 where no size is given")
    sizes.add_argument("--batch-size", type=int, help="lanes, the same for all settings (16)")
    sizes.add_argument("--bptt-len", type=int, help="window length in tokens, where it is not what is studied")
    sizes.add_argument("--learning-rate", type=float)
    sizes.add_argument("--max-grad-norm", type=float)
    sizes.add_argument("--device", help="auto, cpu, cuda, cuda:1 …")


def _number(text: str) -> float:
    """A number as it was typed: an integer stays one."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def _study(parsed: argparse.Namespace) -> int:
    from pathlib import Path

    from zh_lstm_lm.models.config import ModelConfig
    from zh_lstm_lm.report.document import check_page, write_report
    from zh_lstm_lm.studies.config import StudyConfig
    from zh_lstm_lm.studies.kinds import KINDS
    from zh_lstm_lm.studies.study import study
    from zh_lstm_lm.training.config import TrainerConfig

    check_choice("the kind of study", parsed.kind, KINDS)
    if parsed.report:
        check_page(Path(parsed.report), overwrite=parsed.overwrite)
    config = StudyConfig(**given(parsed, *StudyConfig.option_names()))
    sizes = given(parsed, *_SIZES)
    result = study(
        parsed.kind,
        _corpus(parsed),
        config,
        model_config=ModelConfig(**sizes) if sizes else None,
        trainer_config=TrainerConfig(carry_state=not parsed.reset_state, **given(parsed, *_TRAINING)),
        output=parsed.output,
        progress=not parsed.quiet,
    )
    if not result.complete:
        tell(
            f"interrupted; {len(result.rows)} runs are in {parsed.output}, and the same command goes on",
            file=sys.stderr,
        )
        return INTERRUPTED
    print(result)
    tell(f"kept in {parsed.output}")
    if parsed.report:
        tell_page(write_report(parsed.output, parsed.report, overwrite=parsed.overwrite))
    return 0


def _corpus(parsed: argparse.Namespace) -> "TokenStream":
    """The files that were named, or the bundled novella."""
    if parsed.paths:
        return read_stream(parsed, chosen_tokenizer(parsed), parsed.normalize)
    from zh_lstm_lm.corpus.sample_novel import sample_novel
    from zh_lstm_lm.corpus.token_stream import TokenStream

    return TokenStream.from_texts([sample_novel()], tokenizer=chosen_tokenizer(parsed))
