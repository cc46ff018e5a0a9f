"""Nothing of the user's is harmed: planted links and files, folders replaced while they are read, and damaged runs.

    python benchmarks/safety.py plants SCRATCH
    python benchmarks/safety.py race SCRATCH --seconds 120
    python benchmarks/safety.py damage SCRATCH

`SCRATCH` is a folder that is not there yet. Each prints what it found, and ends with an error where a promise is broken.
"""

import argparse
import collections
import contextlib
import hashlib
import io
import json
import logging
import multiprocessing
import os
import random
import shutil
import stat
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from zh_lstm_lm import (
    Callback,
    LSTMLanguageModel,
    ModelConfig,
    Sampler,
    TokenStream,
    Trainer,
    TrainerConfig,
    TrainerState,
    Vocabulary,
    ZhLstmLmError,
)
from zh_lstm_lm.cli.main import main as command

TEXTS = [
    "却说次日清晨，众人起身。\n那汉子道：“今日风大，行船须要小心。”\n船家应了一声，解缆开船。\n",
    "行了半日，天色转阴。\n忽听得岸上有人叫道：“船家且住！”\n众人看时，却是一个老者，背着一只竹箱。\n",
]


def corpus() -> tuple[TokenStream, TokenStream]:
    """Training and validation text."""
    train, valid, _ = TokenStream.from_texts(TEXTS * 2, tokenizer="characters").split(valid=0.3, test=0.0)
    return train, valid


def new_model(vocabulary: Vocabulary, **options: Any) -> LSTMLanguageModel:
    """A model of a few thousand weights."""
    sizes = {"embedding_dim": 4, "hidden_size": 6, "output": "full", "dropout": 0.2}
    return LSTMLanguageModel(vocabulary, ModelConfig(**{**sizes, **options}))


class StopAfter(Callback):
    """Stops a run, as Ctrl-C would: after an update, or after the evaluation at the end of an epoch."""

    def __init__(self, step: int = 0, *, epoch: float = 0.0) -> None:
        self.step, self.epoch = step, epoch

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        """Stops it after the update."""
        if state.step == self.step:
            state.request_stop("interrupted")

    def on_epoch_end(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        """Stops it after the epoch."""
        if record["epoch"] == self.epoch:
            state.request_stop("interrupted")


class Ticks:
    """A clock that goes on by one second whenever it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        self.now += 1.0
        return self.now


def trainer(run: Path, *callbacks: Callback, learning_rate: float = 0.02) -> Trainer:
    """A run of four epochs, with checkpoints inside of them."""
    train, valid = corpus()
    config = TrainerConfig(
        max_epochs=4, batch_size=2, bptt_len=6, learning_rate=learning_rate, warmup_steps=0, run_dir=run, keep_last=2,
        checkpoint_minutes=0.3,
    )  # fmt: skip
    model = new_model(Vocabulary.from_stream(train))
    return Trainer(model, train, valid, config, callbacks=callbacks, progress=False)


def snapshot(folder: Path) -> dict[str, tuple[Any, ...]]:
    """All that lies in a folder: kind, mode, size, time of change, inode, and SHA-256 sum or aim of a link."""
    found: dict[str, tuple[Any, ...]] = {}
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(parent, name)
            status = path.lstat()
            content = ""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
            found[str(path.relative_to(folder))] = (status.st_mode, size, status.st_mtime_ns, status.st_ino, content)
    return found


# ---- plants

Plant = Callable[[Path, Path], None]
"""Takes the place to plant at, and the folder of the victim."""


def link_to_folder(place: Path, victim: Path) -> None:
    """Plants a symbolic link to a folder of the user's."""
    place.symlink_to(os.path.relpath(victim, place.parent), target_is_directory=True)


def link_to_file(place: Path, victim: Path) -> None:
    """Plants a symbolic link to a file of the user's."""
    place.symlink_to(victim / "thesis.txt")


def hard_link(place: Path, victim: Path) -> None:
    """Plants another name of a file of the user's."""
    os.link(victim / "thesis.txt", place)


def folder_of_users(place: Path, victim: Path) -> None:
    """Plants a folder with files of the user's own, some named as the library's."""
    shutil.copytree(victim, place)


def folder_of_links(place: Path, victim: Path) -> None:
    """Plants a folder whose files are links."""
    place.mkdir()
    for name in ("config.json", "model.safetensors", "workspace.json", "manifest.json", "notes.txt", "old"):
        (place / name).symlink_to(victim / "thesis.txt" if name != "old" else victim)


def file_of_users(place: Path, victim: Path) -> None:
    """Plants a file of the user's own."""
    place.write_text("my own words\n", encoding="utf-8")


def pipe(place: Path, victim: Path) -> None:
    """Plants a named pipe."""
    os.mkfifo(place)


def copied_workspace(place: Path, victim: Path) -> None:
    """Plants what a crashed writer leaves, as it comes in an archive: a marker, and folders to be put back."""
    for target, folder in (("model", "old"), ("model", "left"), ("..", "left1")):
        (place / folder).mkdir(parents=True)
        for name in ("config.json", "generation_config.json", "notes.txt", "thesis.txt", "planted.txt"):
            (place / folder / name).write_text("{}", encoding="utf-8")
        marker = {"target": target, "owned": [], "inode": place.stat().st_ino + 1}
        (place / "workspace.json").write_text(json.dumps(marker), encoding="utf-8")
    (place / "removed").symlink_to(victim)


KINDS = (
    link_to_folder,
    link_to_file,
    hard_link,
    folder_of_users,
    folder_of_links,
    file_of_users,
    pipe,
    copied_workspace,
)
HEX = "0123456789abcdef" * 2
BESIDE = (
    ".{}.previous",
    f".{{}}.{HEX}.staged",
    f".{{}}.{HEX}.removed",
    f".{{}}.{HEX}.tmp",
    "{}.lock",
    "{}.part",
    ".{}",
)
MODEL_NAMES = (
    "config.json",
    "vocabulary.json",
    "model.safetensors",
    "generation_config.json",
    "manifest.json",
    "README.md",
)
RUN_NAMES = ("run.json", "history.jsonl", "curve.jsonl", "trainer_state.json")
CACHE_NAMES = ("tokens.bin", "stream.json", "streams", "dictionaries", "scratch")
OTHER_NAMES = (f".zh-lstm-lm-{HEX}", "lock", "notes.txt", f".config.json.{HEX}.tmp")


def places(world: Path) -> Iterator[Path]:
    """Where things are planted: beside every folder that the library reads, in it, and in what is around it."""
    newest = max((world / "dist" / "run").glob("checkpoint-*"))
    entry = next(path for path in (world / "cache" / "streams").iterdir() if path.is_dir())
    for folder in (world / "dist" / "model", world / "dist" / "run", world / "dist" / "run" / "best", newest, entry):
        for pattern in BESIDE:
            yield folder.with_name(pattern.format(folder.name))
        for name in OTHER_NAMES:
            yield folder / name
            if name != "lock" or folder.parent.name != "run":
                yield folder.parent / name
    for folder in (world / "dist" / "model", world / "dist" / "run" / "best"):
        yield from (folder / name for name in MODEL_NAMES)
    for name in ("model.safetensors", "trainer_state.json", "run.json", "manifest.json"):
        yield newest / name
    for name in ("run.json", "history.jsonl", "curve.jsonl", "best", "checkpoint-00000001", "checkpoint-99999999"):
        yield world / "dist" / "run" / name
    for name in ("tokens.bin", "stream.json", "manifest.json"):
        yield entry / name
    yield from (world / "cache" / name for name in ("streams", "dictionaries", "scratch"))
    yield from (
        world / "dist" / name for name in ("novel.txt.part", "novel.txt.part.state", "novel.txt.lock", "novel.txt")
    )


def build(world: Path) -> None:
    """Makes a user's folders, and what the library reads."""
    victim = world / "home" / "victim"
    (victim / "chapters").mkdir(parents=True)
    for name in ("thesis.txt", "README.md", "config.json", "model.safetensors", "notes.txt", "chapters/1.txt"):
        (victim / name).write_text(f"mine: {name}\n", encoding="utf-8")
    run = trainer(world / "dist" / "run", StopAfter(14))
    run.fit()
    assert (world / "dist" / "run" / "best").is_dir(), "the run ended before its first evaluation"
    run.model.generation_config = {"temperature": 0.5}
    run.model.save_pretrained(world / "dist" / "model")
    (world / "novels").mkdir()
    (world / "novels" / "a.txt").write_text(TEXTS[0], encoding="utf-8")
    read_corpus(world)


def read_corpus(world: Path) -> None:
    """Reads text by way of the cache."""
    TokenStream.from_files(world / "novels", tokenizer="characters", cache_dir=world / "cache")


def readers(world: Path) -> dict[str, Callable[[], object]]:
    """All that only reads."""
    dist = world / "dist"
    return {
        "from_pretrained": lambda: LSTMLanguageModel.from_pretrained(dist / "model"),
        "info": lambda: command(["info", str(dist / "model")]),
        "generate": lambda: command(["generate", str(dist / "run" / "best"), "--max-new-tokens", "2"]),
        "report": lambda: command(["report", str(dist / "run"), "--output", os.devnull]),
        "cache": lambda: command(["cache", "--cache-dir", str(world / "cache")]),
    }


def writers(world: Path) -> dict[str, Callable[[], object]]:
    """All that writes, into the library's own folders and a file that was named."""
    model = new_model(Vocabulary.from_stream(corpus()[0]))
    return {
        "save_pretrained": lambda: model.save_pretrained(world / "dist" / "model"),
        "fit": lambda: trainer(world / "dist" / "run").fit(resume=True),
        "write": lambda: Sampler(model).write(world / "dist" / "novel.txt", max_new_tokens=3),
        "from_files": lambda: read_corpus(world),
        "cache --clear": lambda: command(["cache", "--clear", "--cache-dir", str(world / "cache")]),
    }


def attempt(work: Callable[[], object]) -> str:
    """Does some work, of which errors of the library may come; returns what came of it."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            return "refused" if work() == 2 else "done"
        except ZhLstmLmError:
            return "refused"


def contents_of(path: Path) -> Any:
    """What a user has in a place."""
    if path.is_symlink():
        return os.readlink(path)
    if path.is_dir():
        return {key: value[-1] for key, value in snapshot(path).items()}
    return path.read_bytes() if path.is_file() else path.exists()


def is_ours(place: Path) -> bool:
    """Whether the library writes a file or folder of its own under this name, and may replace what is there."""
    return place.name in {*MODEL_NAMES, *RUN_NAMES, *CACHE_NAMES, "novel.txt", "best"}


def plants(scratch: Path, every: int) -> None:
    """Plants one thing after another, reads and writes, and looks for what has changed."""
    build(scratch / "template")
    outcomes: collections.Counter[str] = collections.Counter()
    where = list(dict.fromkeys(place.relative_to(scratch / "template") for place in places(scratch / "template")))
    tried = 0
    for place, kind in [(place, kind) for place in where for kind in KINDS][::every]:
        if kind in (pipe, link_to_file) and place.name == "novel.txt":
            continue  # what the user names is written to
        world = scratch / "world"
        shutil.copytree(scratch / "template", world, symlinks=True)
        planted, told = world / place, f"{kind.__name__} at {place}"
        shutil.rmtree(planted) if planted.is_dir() else planted.unlink(missing_ok=True)
        kind(planted, world / "home" / "victim")
        before, mine = snapshot(world), contents_of(planted)
        for name, work in readers(world).items():
            outcomes[f"{name}, {attempt(work)}"] += 1
        after = snapshot(world)
        changed = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
        assert not changed, f"{told}: reading changed {sorted(changed)}"
        for name, work in writers(world).items():
            outcomes[f"{name}, {attempt(work)}"] += 1
        after = snapshot(world)
        changed = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
        changed = [key for key in changed if Path(key).parts[0] in ("home", "novels")]
        assert not changed, f"{told}: writing changed {sorted(changed)}"
        assert is_ours(place) or contents_of(planted) == mine, f"{told}: writing changed it"
        tried += 1
        shutil.rmtree(world)
    print(
        f"plants: {tried} things planted at {len(where)} places; nothing that was read changed, and nothing of the user's"
    )
    for name, count in sorted(outcomes.items()):
        print(f"  {count:5,}  {name}")


# ---- race


def numbered(vocabulary: Vocabulary, number: int) -> LSTMLanguageModel:
    """A model of which every part tells its number."""
    model = new_model(vocabulary, seed=number, hidden_size=3 + number % 5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float(number))
    model.training_summary = {"number": number}
    model.generation_config = {"seed": number} if number % 3 else {}
    return model


def save_in_turn(folder: Path, end: float, counts: "multiprocessing.Queue[tuple[str, int]]") -> None:
    """Saves one model after another until the end."""
    vocabularies = [Vocabulary.from_stream(corpus()[0], min_freq=frequency) for frequency in (1, 2)]
    number = 0
    while time.time() < end:
        number += 1
        numbered(vocabularies[number % 2], number).save_pretrained(folder)
    counts.put(("saves", number))


def load_in_turn(folder: Path, end: float, counts: "multiprocessing.Queue[tuple[str, int]]") -> None:
    """Loads until the end; every part of a model must tell the same number."""
    sizes = [len(Vocabulary.from_stream(corpus()[0], min_freq=frequency)) for frequency in (1, 2)]
    found: collections.Counter[str] = collections.Counter()
    before = 0
    while time.time() < end:
        found["loads"] += 1
        try:
            model = LSTMLanguageModel.from_pretrained(folder)
        except ZhLstmLmError as error:
            found["errors"] += 1
            print(f"error: {error}", file=sys.stderr, flush=True)
            continue
        number = model.config.seed
        told = {float(parameter.detach().min()) for parameter in model.parameters()}
        told |= {float(parameter.detach().max()) for parameter in model.parameters()}
        parts = (model.training_summary["number"], model.generation_config.get("seed", number), len(model.vocabulary))
        found["mixtures"] += told != {float(number)} or parts != (number, number, sizes[number % 2])
        found["mixtures"] += bool(number % 3) != bool(model.generation_config)
        found["older than the one before"] += number < before
        found["models met"] += number != before
        before = number
    for what, count in found.items():
        counts.put((what, count))


def race(scratch: Path, seconds: float) -> None:
    """One process saves into a folder as fast as it can, and three others load from it."""
    folder = scratch / "dist" / "model"
    vocabulary = Vocabulary.from_stream(corpus()[0])
    numbered(vocabulary, 0).save_pretrained(folder)
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    context = multiprocessing.get_context("spawn")
    counts: multiprocessing.Queue[tuple[str, int]] = context.Queue()
    end = time.time() + seconds + 8.0  # in which they start
    workers = [context.Process(target=work, args=(folder, end, counts)) for work in (save_in_turn, *[load_in_turn] * 3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    totals: collections.Counter[str] = collections.Counter()
    while not counts.empty():
        what, count = counts.get()
        totals[what] += count
    print(
        "race: " + ", ".join(f"{count:,} {what}" for what, count in sorted(totals.items(), key=lambda item: -item[1]))
    )
    assert totals["saves"], "nothing was saved"
    assert totals["loads"], "nothing was loaded"
    assert not totals["errors"], "a load failed"
    assert not totals["mixtures"], "parts of two models were loaded"
    assert not totals["older than the one before"], "an old model came back"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model"], "something was left"
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "mine", "the user's file was lost"


# ---- damage


def damages(data: bytes, chance: random.Random, times: int) -> Iterator[tuple[str, bytes | None]]:
    """One flipped bit each, truncations, and removal."""
    yield "removal", None
    yield "truncation", b""
    for _ in range(times):
        yield "truncation", data[: chance.randrange(len(data))]
        flipped = bytearray(data)
        flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        yield "flipped bit", bytes(flipped)


def damage(scratch: Path, times: int, seed: int) -> None:
    """Every single damage of runs whose older checkpoint lies inside an epoch; each is resumed."""
    rising = damage_one(scratch / "old best", 0.02, StopAfter(22), times, seed)
    falling = damage_one(scratch / "new best", 0.002, StopAfter(epoch=3.0), times, seed)
    found = rising + falling
    print(
        f"damage: {sum(found.values())} single damages of two runs; each was resumed, and ended with the same weights"
    )
    for name, count in sorted(found.items()):
        print(f"  {count:5,}  {name}")


def damage_one(
    scratch: Path, learning_rate: float, stop: Callback, times: int, seed: int
) -> "collections.Counter[str]":
    """Damages a run that was stopped in every way, one at a time, and resumes it."""
    reference = trainer(scratch / "whole", learning_rate=learning_rate)
    reference.fit()
    expected = {name: tensor.clone() for name, tensor in reference.model.state_dict().items()}
    begun = trainer(scratch / "run", stop, learning_rate=learning_rate)
    begun.fit()
    steps = sorted(int(path.name[11:]) for path in (scratch / "run").glob("checkpoint-*"))
    measured = [record["step"] for record in begun.state.history]
    print(f"{scratch.name}: checkpoints {steps}, epochs end at {measured}, the best is {begun.state.best_step}")
    assert set(steps[-2:]) - set(measured), "there is no checkpoint inside an epoch"
    found: collections.Counter[str] = collections.Counter()
    for file in sorted(path.relative_to(scratch / "run") for path in (scratch / "run").rglob("*") if path.is_file()):
        data = (scratch / "run" / file).read_bytes()
        for how, broken in damages(data, random.Random(f"{seed} {file}"), times):
            copy = scratch / "copy"
            shutil.copytree(scratch / "run", copy)
            (copy / file).unlink() if broken is None else (copy / file).write_bytes(broken)
            resumed = trainer(copy, learning_rate=learning_rate)
            try:
                resumed.fit(resume=True)
            except ZhLstmLmError as error:
                raise AssertionError(f"{how} of {file}: {error}") from error
            weights = resumed.model.state_dict()
            assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items()), f"{how} of {file}"
            best = LSTMLanguageModel.from_pretrained(copy / "best").state_dict()
            assert all(torch.equal(best[name], tensor) for name, tensor in expected.items()), f"{how} of {file}: best"
            found[f"{file}, {how}"] += 1
            shutil.rmtree(copy)
    return found


def main() -> None:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["plants", "race", "damage"])
    parser.add_argument("scratch", type=Path, help="a folder that is not there yet")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long to race")
    parser.add_argument("--times", type=int, default=6, help="flipped bits and truncations of each file")
    parser.add_argument("--every", type=int, default=1, help="plant only every so many of the things, for a short look")
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args()
    parsed.scratch.mkdir(parents=True)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("zh_lstm_lm").setLevel(logging.CRITICAL)
    # Checkpoints come by the clock, so every reading of it counts.
    time.monotonic = Ticks()
    if parsed.what == "plants":
        plants(parsed.scratch, parsed.every)
    elif parsed.what == "race":
        race(parsed.scratch, parsed.seconds)
    else:
        damage(parsed.scratch, parsed.times, parsed.seed)


if __name__ == "__main__":
    main()
