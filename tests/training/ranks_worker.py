"""One of the processes that test_torchrun.py starts: trains what its scenario says, and writes down what came of it.

python ranks_worker.py FOLDER SCENARIO
"""

import contextlib
import hashlib
import io
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save, save_file

from zh_lstm_lm import (
    Callback,
    LSTMLanguageModel,
    ModelConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    TrainerState,
    Vocabulary,
    ZhLstmLmError,
)
from zh_lstm_lm.cli.main import main as main_command

TEXTS = [
    "".join(
        f"第{number}回　风雪\n展昭道：“好大的雪！这是第{number * 7 % 11}场。”\n二人进了酒店，要了{number * 5 % 9}壶酒。\n"
        for number in range(first, first + 4)
    )
    for first in (1, 5, 9)
]
SIZES: dict[str, Any] = {"embedding_dim": 6, "hidden_size": 8, "output": "adaptive", "cutoffs": (20, 50)}
OPTIONS: dict[str, Any] = {"batch_size": 5, "bptt_len": 4, "max_steps": 200, "learning_rate": 0.01, "warmup_steps": 5}


_MONOTONIC = time.monotonic


class Losses(Callback):
    """Notes the loss of every update, summed over its targets."""

    def __init__(self) -> None:
        self.sums: list[float] = []
        self._before = 0.0

    def on_train_begin(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        self._before = state.loss_sum

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        self.sums.append(state.loss_sum - self._before)
        self._before = state.loss_sum

    def on_epoch_end(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        self._before = 0.0


class At(Callback):
    """Does something after one update."""

    def __init__(self, step: int, action: str) -> None:
        self._step, self._action = step, action

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        if state.step != self._step:
            return
        if self._action == "die":
            os._exit(9)
        state.request_stop(self._action)


@dataclass
class Clock:
    """Seconds that pass with every look; every rank's pass at another speed."""

    tick: float
    now: float = 0.0

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


def make_trainer(*callbacks: Callback, dropout: float = 0.0, tick: float | None = None, **options: Any) -> Trainer:
    """A tiny run in float64; equal wherever it is made."""
    stream = TokenStream.from_texts(TEXTS, tokenizer="characters")
    train, valid, _ = stream.split(valid=0.2, test=0.0)
    model = LSTMLanguageModel(Vocabulary.from_stream(train), ModelConfig(**SIZES, dropout=dropout)).double()
    time.monotonic = _MONOTONIC if tick is None else Clock(tick)
    config = TrainerConfig(**{**OPTIONS, **options})
    return Trainer(model, train, valid, config, callbacks=callbacks, progress=False)


def trainer_of(folder: Path, scenario: str, losses: Losses, rank: int) -> Trainer:
    """What a process trains in a scenario; in some of them the two differ."""
    dropout: dict[str, Any] = {"dropout": 0.3, "max_steps": 40}
    match scenario:
        case "plain":
            return make_trainer(losses)
        case "dropout":
            return make_trainer(losses, **dropout, run_dir=str(folder / "whole"))
        case "own":
            own = make_trainer(losses, max_steps=40, learning_rate=None)
            return Trainer(
                own.model,
                own.train,
                own.valid,
                own.config,
                optimizer=lambda weights: torch.optim.AdamW(weights, lr=0.01),
                schedule=lambda step, num_steps: 1 - step / num_steps,
                callbacks=[losses],
                progress=False,
            )
        case "interrupted":  # the second process is
            stop = [At(17, "interrupted")] if rank else []
            return make_trainer(losses, *stop, **dropout, run_dir=str(folder / "cut"))
        case "resumed":
            return make_trainer(losses, **dropout, run_dir=str(folder / "cut"))
        case "callback":
            return make_trainer(losses, *([At(17, "enough")] if rank else []))
        case "timed":
            return make_trainer(losses, tick=7.0 if rank else 0.03, max_steps=None, max_minutes=0.2)
        case "different":
            return make_trainer(losses, bptt_len=5 if rank else 4)
        case "rows":
            return make_trainer(losses, batch_size=1)
        case "death":
            return make_trainer(losses, *([At(90, "die")] if rank else []), run_dir=str(folder / "death"))
    raise ValueError(scenario)


def run_command(folder: Path) -> dict[str, Any]:
    """What the command prints and returns."""
    novel = folder / "novel.txt"
    novel.write_text("".join(TEXTS), encoding="utf-8")
    options = [
        "--tokenizer",
        "characters",
        "--clean",
        "none",
        "--max-epochs",
        "1",
        "--hidden-size",
        "8",
        "--min-freq",
        "1",
    ]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = main_command(
            ["train", str(novel), "--output", str(folder / "model"), "--cache-dir", str(folder), *options]
        )
    return {"status": status, "printed": printed.getvalue()}


def run(folder: Path, scenario: str, rank: int) -> dict[str, Any]:
    """Trains; returns what is compared."""
    losses = Losses()
    if scenario == "command":
        return run_command(folder)
    trainer = trainer_of(folder, scenario, losses, rank)
    history = trainer.fit(resume=True)
    if rank == 0:
        save_file(dict(trainer.model.state_dict()), folder / f"{scenario}.safetensors")
    state = trainer.state
    return {
        "losses": losses.sums,
        "history": [{key: value for key, value in record.items() if "second" not in key} for record in history],
        "step": state.step,
        "planned": state.planned_steps,
        "reason": state.stop_reason,
        "digest": hashlib.sha256(save(dict(trainer.model.state_dict()))).hexdigest(),
    }


def main() -> None:
    torch.set_num_threads(1)
    folder, rank = Path(sys.argv[1]), int(os.environ.get("RANK", "0"))
    for scenario in sys.argv[2:]:
        try:
            told = run(folder, scenario, rank)
        except ZhLstmLmError as error:
            told = {"error": type(error).__name__, "message": str(error)}
        (folder / f"{scenario}-{rank}.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
