"""Processes that are killed at every point of saving; needs a system with `fork`.

    python benchmarks/reliability/crashes.py kill --times 1000

All is drawn from `--seed`; the models are those of `tiny_runs.py`.
"""

import collections
import os
import random
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tiny_runs import (
    TRAIN,
    VALID,
    make_model,
    run_checks,
    run_config,
    same,
    weights,
)
from torch import Tensor

from zh_lstm_lm import (
    Callback,
    LSTMLanguageModel,
    Trainer,
    TrainerState,
)


class Killer:
    """Ends the process at one of the calls that reach the disk: before it, after it, or in the middle of a write.

    Args:
        moment: Which of the calls, from 1; at 0 they are only counted.
        chance: Where in a write, and whether before or after another call.
        report: What tells the point of it, a pipe.
    """

    def __init__(self, moment: int, chance: random.Random, report: int) -> None:
        self.calls = 0
        self._moment, self._chance, self._report = moment, chance, report

    def watch(self) -> None:
        """Puts itself around the calls."""
        for name in ("fsync", "rename", "replace", "link", "mkdir", "unlink", "rmdir", "truncate"):
            setattr(os, name, self._around(name, getattr(os, name)))
        write = Path.write_bytes

        def write_bytes(path: Path, data: Any) -> int:
            if self._count():
                with path.open("wb", buffering=0) as file:
                    file.write(data[: self._chance.randrange(len(data) + 1)])
                self._end("in a write of", path)
            return write(path, data)

        Path.write_bytes = write_bytes  # type: ignore[method-assign, assignment]

    def _around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*details: Any, **options: Any) -> Any:
            if not self._count():
                return call(*details, **options)
            if self._chance.random() < 0.5:
                self._end(f"before {name} of", details[0])
            try:
                return call(*details, **options)
            finally:  # also where the call fails, as making a folder that is there
                self._end(f"after {name} of", details[0])

        return wrapped

    def _count(self) -> bool:
        self.calls += 1
        return self.calls == self._moment

    def _end(self, where: str, path: object) -> None:
        place = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) and sys.platform == "linux" else str(path)
        name = Path(place).name
        for pattern, shown in ((r"^tmp\w+$", "the folder above"), (r"^(\.?)\d+(\.|$)", r"\1folder\2")):
            name = re.sub(pattern, shown, name)  # a try's own folder is named by its number
        for pattern, shown in ((r"[0-9a-f]{32}", "…"), (r"\d{8}", "N")):
            name = re.sub(pattern, shown, name)
        os.write(self._report, f"{where} {name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


class Committed(Callback):
    """Reports every checkpoint that is there when training goes on."""

    def __init__(self, folder: Path, report: int) -> None:
        self._folder, self._report = folder, report

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Reports the newest."""
        steps = [int(path.name[11:]) for path in self._folder.glob("checkpoint-*")]
        os.write(self._report, f"committed {max(steps, default=0)}\n".encode())


def run_in_child(work: Callable[[int], None]) -> list[str]:
    """Forks, does the work, and returns the lines that it reported before it ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            work(writer)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as file:
        lines = file.read().splitlines()
    os.waitpid(child, 0)
    return lines


class Keep(Callback):
    """Keeps the weights before the first update and after every one."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []

    def on_train_begin(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Keeps the first."""
        self.weights.append(weights(model))

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Keeps the rest."""
        self.weights.append(weights(model))


def count_calls(work: Callable[[Killer], object]) -> int:
    """How many calls reach the disk in some work that is not killed."""

    def counted(report: int) -> None:
        killer = Killer(0, random.Random(), report)
        work(killer)
        os.write(report, f"{killer.calls}\n".encode())

    return int(run_in_child(counted)[-1])


def every_moment(calls: int, chance: random.Random) -> Iterator[int]:
    """The numbers of all calls in random order, again and again."""
    while True:
        yield from chance.sample(range(1, calls + 1), calls)


USERS = {"notes.txt": "mine", "plots/a.svg": "<svg/>"}


def add_users_files(place: Path) -> None:
    """Adds files of the user's own to a model's folder."""
    for name, text in USERS.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")


def export(place: Path, killer: Killer) -> None:
    """Saves a model, which may be killed."""
    model = make_model(seed=2)
    killer.watch()
    model.save_pretrained(place)


def kill_export(place: Path, moment: int, chance: random.Random) -> str:
    """Kills a process that saves a model over another one; the one or the other must be there. Returns the point."""
    older, newer = make_model(seed=1), make_model(seed=2)
    older.save_pretrained(place)
    add_users_files(place)

    point = "".join(run_in_child(lambda report: export(place, Killer(moment, chance, report))))
    assert point, f"the process was not killed at call {moment}"
    loaded = LSTMLanguageModel.from_pretrained(place)
    assert any(same(loaded.state_dict(), model.state_dict()) for model in (older, newer)), point
    # Between the two renames there is no folder; a reader finds the old one in the workspace.
    if place.is_dir():
        assert all((place / name).read_text(encoding="utf-8") == text for name, text in USERS.items()), point
    newer.save_pretrained(place)
    assert all((place / name).read_text(encoding="utf-8") == text for name, text in USERS.items()), point
    # An empty workspace may be left, where the kill came before its marker was written or after it was removed.
    left = [path.name for path in place.parent.rglob(".zh-lstm-lm-*/*")]
    assert set(left) <= {"workspace.json"}, f"{point}: {left}"
    return f"export: {point}"


def begin_training(folder: Path, *callbacks: Callback) -> Trainer:
    """A run whose saving may be killed."""
    return Trainer(make_model(), TRAIN, VALID, run_config(folder), callbacks=callbacks, progress=False)


def train(folder: Path, killer: Killer, report: int) -> None:
    """Trains, which may be killed, and reports the checkpoints that are there."""
    training = begin_training(folder, Committed(folder, report))
    killer.watch()
    training.fit()


def kill_training(
    folder: Path, moment: int, chance: random.Random, expected: list[dict[str, Tensor]], final: Trainer
) -> str:
    """Kills a process that trains, and resumes the run; returns the point.

    Args:
        folder: The run's folder.
        moment: The call at which it is killed.
        chance: Where in it.
        expected: The weights after every update.
        final: The trainer of a run that was not killed.
    """
    lines = run_in_child(lambda report: train(folder, Killer(moment, chance, report), report))
    point = "".join(line for line in lines if not line.startswith("committed "))
    assert point, f"the process was not killed at call {moment}"
    committed = max((int(line.split()[1]) for line in lines if line.startswith("committed ")), default=0)
    resumed = begin_training(folder, begun := Begun())
    resumed.fit(resume=True)
    assert begun.step >= committed, f"{point}: checkpoint {committed} was lost, resumed from {begun.step}"
    assert same(begun.weights, expected[begun.step]), f"{point}: checkpoint {begun.step} is a mixture"
    losses, expected_losses = ([record["valid_loss"] for record in run.state.history] for run in (resumed, final))
    assert losses == expected_losses, point
    best = LSTMLanguageModel.from_pretrained(folder / "best")
    assert same(weights(resumed.model), weights(final.model)), point
    assert same(best.state_dict(), weights(final.model)), point
    litter = [path.name for path in folder.iterdir() if path.name.startswith(".") or path.name == "lock"]
    assert not litter, f"{point}: {litter}"
    return f"train: {point}"


def kill(times: int, seed: int) -> None:
    """Processes that are killed at the points of saving, rotating and exporting."""
    points: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as place:
        keep = Keep()
        reference = begin_training(Path(place) / "whole", keep)
        reference.fit()
        older = Path(place) / "older"
        make_model(seed=1).save_pretrained(older)
        add_users_files(older)
        null = os.open(os.devnull, os.O_WRONLY)
        exports = count_calls(lambda killer: export(older, killer))
        trainings = count_calls(lambda killer: train(Path(place) / "counted", killer, null))
        order = random.Random(seed)
        of_export, of_training = every_moment(exports, order), every_moment(trainings, order)
        for number in range(times):
            chance, folder = random.Random(f"{seed} {number}"), Path(place) / str(number)
            if number % 4 == 0:
                points[kill_export(folder, next(of_export), chance)] += 1
            else:
                points[kill_training(folder, next(of_training), chance, keep.weights, reference)] += 1
            shutil.rmtree(folder)
    print(
        f"kill: {times} processes killed at {len(points)} points, among {exports} calls of exporting and {trainings} of "
        "training; nothing committed was lost or mixed, all went on"
    )
    for point, count in sorted(points.items()):
        print(f"  {count:4d}  {point}")


class Begun(Callback):
    """Keeps what a run begins from."""

    def on_train_begin(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Keeps it."""
        self.step, self.weights = state.step, weights(model)


if __name__ == "__main__":
    run_checks(__doc__, {"kill": kill})
