"""What survives: resumed runs, kills at every point of saving, full disks, damaged files, and many threads.

    python benchmarks/reliability.py resume --times 200
    python benchmarks/reliability.py kill --times 1000
    python benchmarks/reliability.py full-disk --times 500
    python benchmarks/reliability.py damage --times 10000
    python benchmarks/reliability.py determinism --times 20
    python benchmarks/reliability.py neighbours --times 500
    python benchmarks/reliability.py threads --times 8 --seconds 120
    python benchmarks/reliability.py memory --times 10000
    python benchmarks/reliability.py refusal --times 20

Each prints what it found, and ends with an error where a promise is broken. All is drawn from `--seed`; the models are
tiny, so that a try takes a few hundredths of a second. Kills and full disks need a system with `fork`.
"""

import argparse
import collections
import contextlib
import hashlib
import logging
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zh_lstm_lm import (
    Callback,
    CheckpointError,
    Ensemble,
    LSTMLanguageModel,
    ModelConfig,
    Sampler,
    SamplerConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    TrainerState,
    Vocabulary,
    score,
)
from zh_lstm_lm.training.run_folder import Checkpoint, RunFolder

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
UPDATE_SECONDS = 1 / 16


def make_model(**options: Any) -> LSTMLanguageModel:
    """A model of a few thousand weights."""
    return LSTMLanguageModel(WORDS, ModelConfig(**{"embedding_dim": 6, "hidden_size": 8, "dropout": 0.2, **options}))


def weights(model: LSTMLanguageModel) -> dict[str, Tensor]:
    """A copy of all weights."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(ours: Any, theirs: Any) -> bool:
    """Whether two sets of weights are equal to the last bit."""
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


# ---- resuming


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
    return Trainer(model, TRAIN, VALID, config, callbacks=callbacks, progress=False, clock=watch), watch


def resume_one(place: Path, chance: random.Random) -> str:
    """One run that is stopped at a random step and resumed, against one that was not; returns where it was stopped."""
    kind = chance.choice(KINDS)
    sizes = {**chance.choice(MODELS), "seed": chance.randrange(1000)}
    options: dict[str, Any] = {"seed": chance.randrange(1000), "batch_size": chance.choice([2, 3]), "bptt_len": 8}
    options |= {"warmup_steps": chance.choice([0, 5]), "schedule": chance.choice(["cosine", "constant"])}
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
    for number in range(times):
        with tempfile.TemporaryDirectory() as place:
            kinds[resume_one(Path(place), random.Random(f"{seed} {number}"))] += 1
    print(f"resume: {times} runs were stopped and resumed, all equal to the last bit to runs that were not")
    for kind, count in sorted(kinds.items()):
        print(f"  {count:4d}  {kind}")


# ---- kills


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
        for name in ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir", "truncate"):
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


def kill_config(folder: Path) -> TrainerConfig:
    """A run of three epochs with a checkpoint after every update, of which one is kept besides the best."""
    return TrainerConfig(
        max_epochs=3, batch_size=6, bptt_len=8, warmup_steps=0, learning_rate=0.05, run_dir=folder, keep_last=1,
        checkpoint_minutes=1e-9,
    )  # fmt: skip


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


def export(place: Path, killer: Killer) -> None:
    """Saves a model, which may be killed."""
    model = make_model(seed=2)
    killer.watch()
    model.save_pretrained(place)


def kill_export(place: Path, moment: int, chance: random.Random) -> str:
    """Kills a process that saves a model over another one; the one or the other must be there. Returns the point."""
    older, newer = make_model(seed=1), make_model(seed=2)
    older.save_pretrained(place)
    (place / "notes.txt").write_text("mine", encoding="utf-8")

    point = "".join(run_in_child(lambda report: export(place, Killer(moment, chance, report))))
    assert point, f"the process was not killed at call {moment}"
    loaded = LSTMLanguageModel.from_pretrained(place)
    assert any(same(loaded.state_dict(), model.state_dict()) for model in (older, newer)), point
    assert (place / "notes.txt").read_text(encoding="utf-8") == "mine", point
    return f"export: {point}"


def begin_training(folder: Path, *callbacks: Callback) -> Trainer:
    """A run whose saving may be killed."""
    return Trainer(make_model(), TRAIN, VALID, kill_config(folder), callbacks=callbacks, progress=False)


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


# ---- full disks


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Lets no file grow beyond a size, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Fill(Callback):
    """Fills the disk after one update, and frees it after another."""

    def __init__(self, full: int, free: int, size: int) -> None:
        self._full, self._free, self._size = full, free, size
        self._stack = contextlib.ExitStack()

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Fills or frees it."""
        if state.step == self._full:
            self._stack.enter_context(largest_file(self._size))
        if state.step == self._free:
            self._stack.close()


class Present(Callback):
    """Makes sure that there is a checkpoint at any time, and counts those that could not be written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.failed = 0

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Looks for that of the update before."""
        steps = {int(path.name[11:]) for path in self._folder.glob("checkpoint-*")}
        assert steps or state.step == 1, "there is no checkpoint at all"
        self.failed += state.step > 1 and state.step - 1 not in steps


def full_disk(times: int, seed: int) -> None:
    """Disks that are full at an offset of a file, for a while; the run goes on, and the checkpoint before stays."""
    failed = 0
    with tempfile.TemporaryDirectory() as place:
        reference = Trainer(make_model(), TRAIN, VALID, kill_config(Path(place) / "whole"), progress=False)
        reference.fit()
        final, last = weights(reference.model), reference.state.step
        sizes = [file.stat().st_size for file in (Path(place) / "whole").rglob("*") if file.is_file()]
        for number in range(times):
            chance, folder = random.Random(f"{seed} {number}"), Path(place) / str(number)
            full = chance.randint(2, last - 2)  # when there is a first checkpoint
            free, size = chance.randint(full + 1, last), chance.randrange(chance.choice(sizes))
            callbacks = [present := Present(folder), Fill(full, free, size)]
            told = f"full from update {full} to {free} at byte {size}"
            for steps in (callbacks, []):  # the second time the finished run is only loaded
                trainer = Trainer(make_model(), TRAIN, VALID, kill_config(folder), callbacks=steps, progress=False)
                trainer.fit(resume=True)
                assert same(weights(trainer.model), final), told
            failed += present.failed
            shutil.rmtree(folder)
    print(
        f"full-disk: {times} runs on disks that were full for a while; {failed} checkpoints failed, every run went on"
    )


# ---- damage


def damage(times: int, seed: int) -> None:
    """Flipped bits and truncations of every file that is loaded."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        trainer = Trainer(make_model(), TRAIN, VALID, kill_config(folder), progress=False)
        trainer.fit()
        expected = trainer._learner.snapshot(trainer.state)
        newest = max(folder.glob("checkpoint-*"))
        loaders: list[tuple[Path, Callable[[], object]]] = [
            (folder / "best", lambda: LSTMLanguageModel.from_pretrained(folder / "best")),
            (newest, lambda: load_newest(folder, expected)),
        ]
        noticed: collections.Counter[str] = collections.Counter()
        for number in range(times):
            chance = random.Random(f"{seed} {number}")
            where, load = loaders[number % 2]
            file = chance.choice(sorted(path for path in where.iterdir() if path.name != "README.md"))
            data = file.read_bytes()
            end = data.find(b'"README.md"') if file.name == "manifest.json" else len(data)  # a card may be rewritten
            how = chance.choice(["flipped bit", "truncation"])
            if how == "truncation":
                broken = data[: chance.randrange(len(data.rstrip()))]
            else:
                place_of_bit = chance.randrange(end if end > 0 else len(data))
                flipped = bytearray(data)
                flipped[place_of_bit] ^= 1 << chance.randrange(8)
                broken = bytes(flipped)
            file.write_bytes(broken)
            try:
                load()
            except CheckpointError:
                noticed[f"{where.name.split('-')[0]}/{file.name}, {how}"] += 1
            else:
                raise AssertionError(f"{how} in {file} (try {number}) was not noticed")
            file.write_bytes(data)
        for _, load in loaders:
            load()
    print(f"damage: {times} of {times} flipped bits and truncations noticed")
    for what, count in sorted(noticed.items()):
        print(f"  {count:5d}  {what}")


def load_newest(folder: Path, expected: Checkpoint) -> None:
    """Loads the newest checkpoint, and no other; `expected` is one of the same shapes."""
    checkpoint = RunFolder(folder, keep_last=1).newest(expected)
    newest = max(int(path.name[11:]) for path in folder.glob("checkpoint-*"))
    if checkpoint.state.step != newest:
        raise CheckpointError("passed over")


# ---- load


def fingerprint() -> str:
    """A sum of what a seed gives: ids, losses, weights and text."""
    trainer = Trainer(make_model(), TRAIN, VALID, TrainerConfig(max_epochs=2, batch_size=2, bptt_len=8), progress=False)
    losses = [record["valid_loss"] for record in trainer.fit()]
    text = Sampler(trainer.model, SamplerConfig(seed=1)).generate("展昭", max_new_tokens=30)
    values = [tensor.numpy().tobytes() for tensor in trainer.model.state_dict().values()]
    return hashlib.sha256(repr((WORDS.to_dict(), losses, text, values)).encode()).hexdigest()


def determinism(times: int, seed: int) -> None:
    """Equal runs in this process, and in others with other hash seeds."""
    sums = {fingerprint() for _ in range(times)}
    for number in range(4):
        command = [sys.executable, __file__, "fingerprint", "--times", "1"]
        environment = os.environ | {"PYTHONHASHSEED": str(seed + number)}
        sums.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip())
    assert len(sums) == 1, f"{len(sums)} different outcomes"
    print(f"determinism: {times} runs in one process and 4 in others, each with a hash seed of its own: one outcome")


SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 1.0, "top_p": 1.0},
    {"temperature": 1.3, "top_p": 0.9},
    {"temperature": 0.9, "top_p": 1.0, "top_k": 9},
    {"temperature": 0.9, "top_p": 0.9, "top_k": 20},
    {"temperature": 0.9, "top_p": 1.0, "min_p": 0.02},
    {"temperature": 0.0},
    {"repetition_penalty": 1.2, "penalty_window": 16},
    {"temperature": 1.0, "top_p": 1.0, "typical_p": 0.8},
]


def neighbours(times: int, seed: int) -> None:
    """Texts that are written side by side, with models and settings of all kinds, against each alone."""
    chance, texts = random.Random(seed), 0
    for _ in range(times):
        torch.set_num_threads(chance.choice([1, 2]))
        models = []
        for _ in range(chance.choice([1, 1, 1, 2, 6])):
            sizes = chance.choice([*MODELS, {"output": "adaptive", "cutoffs": (9, 30, 80)}])
            hidden_size = chance.choice([chance.randint(2, 60), chance.randint(60, 700)])
            models.append(make_model(**{**sizes, "hidden_size": hidden_size, "embedding_dim": chance.randint(2, 40)}))
            with torch.no_grad():
                for weight in models[-1].parameters():
                    weight.mul_(3.0)  # so that all words count, as they do in a trained model
        model = models[0] if len(models) == 1 else Ensemble(models)
        sampler = Sampler(model, SamplerConfig(seed=chance.randrange(10**6), **chance.choice(SETTINGS)))
        prompts = ["".join(chance.choices(TEXTS[0], k=chance.randint(0, 9))) for _ in range(chance.randint(1, 24))]
        limits: dict[str, Any] = {"max_characters": 40} if chance.random() < 0.5 else {"max_new_tokens": 30}
        side_by_side = sampler.generate_results(prompts, num_samples=chance.randint(1, 3), **limits)
        samples = len(side_by_side) // len(prompts)
        for number in chance.sample(range(len(side_by_side)), min(4, len(side_by_side))):
            [alone] = sampler.generate_results([prompts[number // samples]], first_sample=number % samples, **limits)
            among, texts = side_by_side[number], texts + 1
            equal = map(torch.equal, alone.state.lstm_state, among.state.lstm_state)
            told = f"{prompts[number // samples]!r} with {sampler.config} and {[each.config for each in models]}"
            assert (alone.text, alone.log_probs) == (among.text, among.log_probs), told
            assert all(equal), told
    print(
        f"neighbours: {texts:,} texts of {times:,} batches equal to those alone, to the last bit of scores and states"
    )


def resident_memory() -> float:
    """What this process holds in memory now, in MB."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def threads(times: int, seed: int, seconds: float) -> None:
    """Threads that share one model, in training mode to make it harder, against each alone."""
    model = make_model(output="adaptive", cutoffs=(20, 60))
    model.train()
    prompts = [TEXTS[number % 3][: 5 + number] for number in range(times)]
    alone = [
        (Sampler(model, SamplerConfig(seed=seed + n)).generate(p, max_new_tokens=30), score(model, p).log_probs)
        for n, p in enumerate(prompts)
    ]
    calls, wrong, memory = [0] * times, [0] * times, [resident_memory()]
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        while time.monotonic() < end:
            text = Sampler(model, SamplerConfig(seed=seed + number)).generate(prompts[number], max_new_tokens=30)
            wrong[number] += (text, score(model, prompts[number]).log_probs) != alone[number]
            calls[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(times)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        time.sleep(min(5.0, seconds / 4))
        memory.append(resident_memory())
    assert sum(wrong) == 0, f"{sum(wrong)} of {sum(calls)} differ from those alone"
    assert model.training, "the model's mode was changed"
    middle = memory[len(memory) // 2]
    print(
        f"threads: {times} threads, {sum(calls):,} texts and scores equal to those alone; memory {middle:.0f} MB half way, {memory[-1]:.0f} MB at the end"
    )


def memory(times: int, seed: int) -> None:
    """Many short generations; memory grows by next to nothing."""
    sampler = Sampler(make_model(), SamplerConfig(seed=seed))
    for _ in range(100):
        sampler.generate("展昭", max_new_tokens=8)
    before = resident_memory()
    for _ in range(times):
        sampler.generate("展昭", max_new_tokens=8)
    grown = resident_memory() - before
    print(f"memory: {times:,} generations, memory grew by {grown:.1f} MB")
    assert grown < 10, "memory leaks"


def refusal(times: int, seed: int) -> None:
    """A vocabulary of 10^12 tokens, in the config and in the header of the weights, is refused before it costs anything."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        make_model(seed=seed).save_pretrained(folder)
        (folder / "manifest.json").unlink()
        config, weights_file = folder / "config.json", folder / "model.safetensors"
        whole, data = config.read_bytes(), weights_file.read_bytes()
        size = f'"vocab_size": {len(WORDS)}'.encode()
        rows = f'"shape":[{len(WORDS)},'.encode()
        header = data[8 : 8 + int.from_bytes(data[:8], "little")]
        larger = header.replace(rows, b'"shape":[1000000000000,')
        assert size in whole
        assert rows in header
        hostile = {
            "the config": (whole.replace(size, b'"vocab_size": 1000000000000'), data),
            "the header": (whole, len(larger).to_bytes(8, "little") + larger + data[8 + len(header) :]),
        }
        for where, (told, tensors) in hostile.items():
            config.write_bytes(told)
            weights_file.write_bytes(tensors)
            memory_before, slowest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0
            for _ in range(times):
                began = time.process_time()
                with contextlib.suppress(CheckpointError):
                    LSTMLanguageModel.from_pretrained(folder)
                    raise AssertionError("it was loaded")
                slowest = max(slowest, time.process_time() - began)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_before) / 1024
            print(f"refusal: 10^12 tokens in {where}: at most {1000 * slowest:.0f} ms of the processor, {grown:.1f} MB")


KINDS_OF_CHECK: dict[str, Callable[[int, int], None]] = {
    "resume": resume,
    "kill": kill,
    "full-disk": full_disk,
    "damage": damage,
    "determinism": determinism,
    "neighbours": neighbours,
    "memory": memory,
    "refusal": refusal,
}


def main() -> None:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*KINDS_OF_CHECK, "threads", "fingerprint"])
    parser.add_argument("--times", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long threads work")
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells let background processes ignore
    logging.getLogger("zh_lstm_lm").setLevel(logging.ERROR)
    if parsed.what == "threads":
        threads(parsed.times, parsed.seed, parsed.seconds)
    elif parsed.what == "fingerprint":
        print(fingerprint())
    else:
        KINDS_OF_CHECK[parsed.what](parsed.times, parsed.seed)


if __name__ == "__main__":
    main()
