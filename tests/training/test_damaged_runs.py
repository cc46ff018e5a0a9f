"""Every single damage of a run leaves it resumable, with the same result; what it keeps keeps all that it needs."""

import itertools
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from zh_lstm_lm import (
    Callback,
    CheckpointError,
    History,
    LSTMLanguageModel,
    ModelConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    TrainerState,
    Vocabulary,
)


class Stop(Callback):
    """Stops a run after the evaluation of an epoch."""

    def on_epoch_end(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        if record["epoch"] == 2.0:
            state.request_stop("interrupted")


@pytest.fixture(autouse=True, scope="module")
def _ticks() -> Iterator[None]:
    """A clock that moves on by a second whenever it is read."""
    seconds = itertools.count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.monotonic", lambda: float(next(seconds)))
        yield


def trainer(texts: list[str], run: Path, *callbacks: Callback, **options: Any) -> Trainer:
    """A run with checkpoints inside its epochs, whose held-out loss falls."""
    train, valid, _ = TokenStream.from_texts(texts, tokenizer="characters").split(valid=0.2, test=0.0)
    chosen: dict[str, Any] = {
        "max_epochs": 3,
        "batch_size": 2,
        "bptt_len": 8,
        "learning_rate": 0.003,
        "warmup_steps": 0,
    }
    config = TrainerConfig(run_dir=run, checkpoint_minutes=0.3, **{**chosen, **options})
    sizes = ModelConfig(embedding_dim=4, hidden_size=6, output="full", dropout=0.2)
    model = LSTMLanguageModel(Vocabulary.from_stream(train), sizes)
    return Trainer(model, train, valid, config, callbacks=callbacks, progress=False)


@pytest.fixture(scope="module")
def run(_ticks: None, texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped after its second epoch."""
    folder = tmp_path_factory.mktemp("run") / "run"
    trainer(texts, folder, Stop()).fit()
    return folder


def steps(run: Path) -> list[int]:
    return sorted(int(path.name[11:]) for path in run.glob("checkpoint-*"))


def damages(data: bytes, chance: random.Random) -> Iterator[bytes | None]:
    flipped = bytearray(data)
    flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    yield from (None, data[: chance.randrange(len(data))], bytes(flipped))


def test_the_older_checkpoint_lies_inside_an_epoch_and_keeps_its_best(run: Path) -> None:
    first, timed, newest = steps(run)
    epoch = next(record["step"] for record in History.load(run / "history.jsonl") if record["epoch"] == 1.0)
    assert (first, newest) == (epoch, 2 * epoch)
    assert epoch < timed < 2 * epoch


def test_every_single_damage_leaves_a_run_resumable(run: Path, texts: list[str], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    whole = trainer(texts, copy)
    whole.fit(resume=True)
    expected = {name: tensor.clone() for name, tensor in whole.model.state_dict().items()}
    files = [path.relative_to(run) for path in sorted(run.rglob("*")) if path.is_file()]
    assert len(files) > 20
    for file in files:
        data = (run / file).read_bytes()
        for broken in damages(data, random.Random(str(file))):
            shutil.rmtree(copy)
            shutil.copytree(run, copy)
            (copy / file).unlink() if broken is None else (copy / file).write_bytes(broken)
            resumed = trainer(texts, copy)
            resumed.fit(resume=True)
            best = LSTMLanguageModel.from_pretrained(copy / "best")
            for state in (resumed.model.state_dict(), best.state_dict()):
                assert all(torch.equal(state[name], tensor) for name, tensor in expected.items()), file


def test_another_runs_checkpoint_is_refused(run: Path, texts: list[str], tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "ours")
    trainer(texts, tmp_path / "theirs", Stop()).fit()  # equal in all but its id
    name = f"checkpoint-{steps(run)[-1]:08d}"
    shutil.rmtree(tmp_path / "ours" / name)
    shutil.copytree(tmp_path / "theirs" / name, tmp_path / "ours" / name)
    with pytest.raises(CheckpointError, match=rf"{name}: is a checkpoint of another run"):
        trainer(texts, tmp_path / "ours").fit(resume=True)
    shutil.rmtree(tmp_path / "ours" / name)
    trainer(texts, tmp_path / "ours").fit(resume=True)
