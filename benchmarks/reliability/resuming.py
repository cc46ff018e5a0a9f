"""Runs that are stopped anywhere and resumed, against runs that were not.

    python benchmarks/reliability/resuming.py resume --times 200

All is drawn from `--seed`; the models are those of `tiny_runs.py`.
"""

import collections
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from tiny_runs import (
    MODELS,
    TRAIN,
    VALID,
    make_model,
    run_checks,
)

from zh_lstm_lm import (
    Callback,
    LSTMLanguageModel,
    Sampler,
    SamplerConfig,
    Trainer,
    TrainerConfig,
    TrainerState,
)

UPDATE_SECONDS = 1 / 16


class Watch:
    """A clock that moves only with the model's work, by binary fractions, so that sums do not depend on their order."""

    def __init__(self, model: LSTMLanguageModel, *, start: float) -> None:
        self.now = start
        self.evaluated = 0  # windows
        self.interrupt_at: int | None = None
        model.embedding.register_forward_hook(self._work)

    def __call__(self) -> float:
        """The time."""
        return self.now

    def _work(self, module: object, inputs: object, output: object) -> None:
        if torch.is_inference_mode_enabled():
            self.evaluated += 1
            self.now += UPDATE_SECONDS / 4
            if self.evaluated == self.interrupt_at:
                signal.raise_signal(signal.SIGTERM)
        else:
            self.now += UPDATE_SECONDS


class Interrupt(Callback):
    """Sends a signal after one of the updates."""

    def __init__(self, step: int, signum: int) -> None:
        self.step, self.signum = step, signum

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Sends it."""
        if state.step == self.step:
            signal.raise_signal(self.signum)


def outcome(folder: Path, trainer: Trainer, *, timed: bool) -> dict[str, Any]:
    """All that a run leaves: history, weights, checkpoint files, best model, text."""
    newest = max(folder.glob("checkpoint-*"))
    files = {file.name: file.read_bytes() for file in newest.glob("*.safetensors")}
    files |= {f"best/{file.name}": file.read_bytes() for file in (folder / "best").iterdir()}
    ignored = () if timed else ("seconds", "tokens_per_second")
    history = [{key: value for key, value in record.items() if key not in ignored} for record in trainer.state.history]
    tensors = {name: tensor.numpy().tobytes() for name, tensor in trainer.model.state_dict().items()}
    text = Sampler(trainer.model, SamplerConfig(seed=3)).generate("展昭", max_new_tokens=20)
    return {"history": history, "weights": tensors, "text": text, "plan": trainer.state.planned_steps, **files}


KINDS = ["mid-epoch", "end of an epoch", "inside evaluation", "rate change", "time budget"]


def begin(
    folder: Path, sizes: dict[str, Any], options: dict[str, Any], chance: random.Random, *callbacks: Callback
) -> tuple[Trainer, Watch]:
    """A run whose time is the watch's."""
    model = make_model(**sizes)
    watch = Watch(model, start=float(chance.randrange(1000)))
    config = TrainerConfig(**options, run_dir=folder, checkpoint_minutes=chance.choice([0.005, 10.0]))
    time.monotonic = watch
    return Trainer(model, TRAIN, VALID, config, callbacks=callbacks, progress=False), watch


def resume_one(place: Path, chance: random.Random) -> str:
    """One run that is stopped at a random step and resumed, against one that was not; returns where it was stopped."""
    kind = chance.choice(KINDS)
    sizes = {**chance.choice(MODELS), "seed": chance.randrange(1000)}
    options: dict[str, Any] = {"seed": chance.randrange(1000), "batch_size": chance.choice([2, 3]), "bptt_len": 8}
    options |= {"warmup_steps": chance.choice([0, 5]), "schedule": chance.choice(["linear", "cosine", "constant"])}
    options |= {"max_minutes": chance.choice([3.0, 5.0]) / 60} if kind == "time budget" else {"max_epochs": 3}
    whole, watch = begin(place / "whole", sizes, options, chance)
    whole.fit()
    epoch, last = whole.state.steps_per_epoch, whole.state.step
    step = {"end of an epoch": epoch * chance.randint(1, (last - 1) // epoch), "rate change": 5}.get(kind)
    stop = Interrupt(step or chance.randint(1, last - 1), chance.choice([signal.SIGINT, signal.SIGTERM]))
    inside = kind == "inside evaluation"
    stopped, stopped_watch = begin(place / "run", sizes, options, chance, *([] if inside else [stop]))
    stopped_watch.interrupt_at = (
        chance.randint(1, watch.evaluated - 1) if inside else None
    )  # after the last, all is done
    stopped.fit()
    assert stopped.state.stop_reason == "interrupted", f"{kind}: {stopped.state.stop_reason}"
    resumed, _ = begin(place / "run", sizes, options, chance)
    with torch.no_grad():
        resumed.model.embedding.weight.fill_(0.5)  # what the model held before does not matter
    resumed.fit(resume=True)
    # An evaluation that was interrupted is made anew, and takes its time twice.
    left, right = (
        outcome(place / name, trainer, timed=not inside) for name, trainer in (("whole", whole), ("run", resumed))
    )
    different = [name for name in left if left[name] != right.get(name)]
    assert not different, f"{kind}, stopped at update {stopped.state.step}: {different} differ"
    return kind


def resume(times: int, seed: int) -> None:
    """Pairs of a run that is resumed and one that is not."""
    kinds: collections.Counter[str] = collections.Counter()
    before = time.monotonic
    try:
        for number in range(times):
            with tempfile.TemporaryDirectory() as place:
                kinds[resume_one(Path(place), random.Random(f"{seed} {number}"))] += 1
    finally:
        time.monotonic = before
    print(f"resume: {times} runs were stopped and resumed, all equal to the last bit to runs that were not")
    for kind, count in sorted(kinds.items()):
        print(f"  {count:4d}  {kind}")


if __name__ == "__main__":
    run_checks(__doc__, {"resume": resume})
