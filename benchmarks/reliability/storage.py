"""Full disks, damaged files, and hostile sizes; needs a system with `setrlimit`.

    python benchmarks/reliability/storage.py full-disk --times 500
    python benchmarks/reliability/storage.py damage --times 10000
    python benchmarks/reliability/storage.py refusal --times 20

All is drawn from `--seed`; the models are those of `tiny_runs.py`.
"""

import collections
import contextlib
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tiny_runs import TRAIN, VALID, WORDS, make_model, run_checks, run_config, same, weights

from zh_lstm_lm import (
    Callback,
    CheckpointError,
    LSTMLanguageModel,
    Trainer,
    TrainerState,
)
from zh_lstm_lm.training.run_folder import Checkpoint, RunFolder


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
        reference = Trainer(make_model(), TRAIN, VALID, run_config(Path(place) / "whole"), progress=False)
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
                trainer = Trainer(make_model(), TRAIN, VALID, run_config(folder), callbacks=steps, progress=False)
                trainer.fit(resume=True)
                assert same(weights(trainer.model), final), told
            failed += present.failed
            shutil.rmtree(folder)
    print(
        f"full-disk: {times} runs on disks that were full for a while; {failed} checkpoints failed, every run went on"
    )


def damage(times: int, seed: int) -> None:
    """Flipped bits and truncations of every file that is loaded."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        trainer = Trainer(make_model(), TRAIN, VALID, run_config(folder), progress=False)
        trainer.fit()
        expected = trainer._updater.snapshot(trainer.state)
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


if __name__ == "__main__":
    run_checks(__doc__, {"full-disk": full_disk, "damage": damage, "refusal": refusal})
