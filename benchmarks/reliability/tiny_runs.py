"""Tiny models and runs that the scripts of this folder share; a try takes a few hundredths of a second."""

import argparse
import logging
import signal
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zh_lstm_lm import (
    LSTMLanguageModel,
    ModelConfig,
    TokenStream,
    TrainerConfig,
    Vocabulary,
)

TEXTS = [
    "第一回　风雪\n展昭道：“好大的雪！”\n白玉堂笑道：“雪大，酒才好喝。”\n二人推门进了酒店，店小二忙迎上来。\n",
    "第二回　夜行\n夜里三更，展昭换了夜行衣，出了店门。\n只见房上一条黑影，如飞而去。\n展昭喝道：“哪里走！”\n",
    "第三回　比剑\n白玉堂拔剑在手，道：“展兄，请。”\n展昭道：“得罪了。”\n二人你来我往，斗了三十余合，不分胜负。\n",
]
TRAIN, VALID, _ = TokenStream.from_texts(TEXTS, tokenizer="characters").split(valid=0.3, test=0.0)
WORDS = Vocabulary.from_stream(TRAIN)
MODELS: list[dict[str, Any]] = [
    {},
    {"tie_weights": True, "num_layers": 2},
    {"output": "adaptive", "cutoffs": (20, 60), "dropout": 0.5},
]


def make_model(**options: Any) -> LSTMLanguageModel:
    """A model of a few thousand weights."""
    return LSTMLanguageModel(WORDS, ModelConfig(**{"embedding_dim": 6, "hidden_size": 8, "dropout": 0.2, **options}))


def weights(model: LSTMLanguageModel) -> dict[str, Tensor]:
    """A copy of all weights."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(ours: Any, theirs: Any) -> bool:
    """Whether two sets of weights are equal to the last bit."""
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def run_config(folder: Path) -> TrainerConfig:
    """A run of three epochs with a checkpoint after every update, of which one is kept besides the best."""
    return TrainerConfig(
        max_epochs=3, batch_size=6, bptt_len=8, warmup_steps=0, learning_rate=0.05, run_dir=folder, keep_last=1,
        checkpoint_minutes=1e-9,
    )  # fmt: skip


def parser_of(about: str | None, checks: Iterable[str]) -> argparse.ArgumentParser:
    """The options of a script: one of its checks, how often, and the seed."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(checks))
    parser.add_argument("--times", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def prepare() -> None:
    """Sets one thread, a Ctrl-C that is heard, and a library that logs errors only."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells let background processes ignore
    logging.getLogger("zh_lstm_lm").setLevel(logging.ERROR)


def run_checks(about: str | None, checks: Mapping[str, Callable[[int, int], None]]) -> None:
    """Runs the check that was asked for; it prints what it found, and ends with an error where a promise is broken."""
    parsed = parser_of(about, checks).parse_args()
    prepare()
    checks[parsed.what](parsed.times, parsed.seed)
