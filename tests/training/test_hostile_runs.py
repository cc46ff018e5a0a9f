"""Runs that strangers made, with manifests that fit: resuming one is refused or works, and never fails otherwise."""

import hashlib
import json
import math
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from zh_lstm_lm import (
    DataError,
    History,
    LSTMLanguageModel,
    ModelConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    TrainerState,
    Vocabulary,
    ZhLstmLmError,
)

STATE = "trainer_state.json"


def trainer(texts: list[str], run: Path, steps: int) -> Trainer:
    train, valid, _ = TokenStream.from_texts(texts, tokenizer="characters").split(valid=0.2, test=0.0)
    config = TrainerConfig(max_steps=steps, batch_size=2, bptt_len=8, run_dir=run, eval_steps=2, betas=(0.5, 0.9))
    sizes = ModelConfig(embedding_dim=4, hidden_size=4, output="full")
    return Trainer(LSTMLanguageModel(Vocabulary.from_stream(train), sizes), train, valid, config, progress=False)


@pytest.fixture(scope="module")
def run(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    trainer(texts, folder, 4).fit()
    return folder


def newest(run: Path) -> Path:
    return max(run.glob("checkpoint-*"))


def sign(folder: Path) -> None:
    """Writes a manifest that fits, as whoever changes the files can."""
    entries = {}
    for file in folder.iterdir():
        data = file.read_bytes()
        entries[file.name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    entries.pop("manifest.json")
    (folder / "manifest.json").write_text(json.dumps(entries), encoding="utf-8")


def resumed(run: Path, copy: Path, change: Callable[[Path], None], texts: list[str]) -> str | None:
    """Changes the only checkpoint of a copy and resumes; returns the error, None if it went on."""
    shutil.copytree(run, copy)
    for folder in sorted(copy.glob("checkpoint-*"))[:-1]:
        shutil.rmtree(folder)
    change(newest(copy))
    sign(newest(copy))
    try:
        trainer(texts, copy, 6).fit(resume=True)
    except ZhLstmLmError as error:
        return str(error)
    return None


def values(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        state = json.loads((folder / STATE).read_bytes())
        (folder / STATE).write_text(json.dumps(state | changes), encoding="utf-8")

    return change


def tensor(name: str, key: str, new: Callable[[torch.Tensor], torch.Tensor | None]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tensors = load_file(folder / f"{name}.safetensors")
        value = new(tensors.pop(key))
        if value is not None:
            tensors[key] = value
        save_file(tensors, folder / f"{name}.safetensors")

    return change


RECORD = {"epoch": 1.0, "step": 2, "valid_loss": 1.0}
REFUSED: dict[str, Callable[[Path], None]] = {
    "rollbacks that are a power of two to compute": values(rollbacks=10**15 * 10),
    "a step beyond all floats": values(step=10**400),
    "planned updates beyond all floats": values(planned_steps=10**400),
    "a sum that overflows with the next one": values(loss_sum=1e308),
    "updates without targets": values(updates=3, num_targets=0),
    "an epoch that has ended without updates": values(window=10**3, updates=0),
    "a perplexity that is text": values(history=[RECORD | {"valid_perplexity": "low"}]),
    "a foreign perplexity that is text": values(history=[RECORD | {"x_perplexity": ["low"]}]),
    "a loss beyond all floats": values(history=[RECORD | {"valid_loss": 10**400}]),
    "a record without a number": values(history=[{"step": True}]),
    "a best record of a step that is none": values(history=[RECORD | {"step": -7}]),
    "a best record of an endless step": values(history=[RECORD | {"step": 10**300}]),
    "a counter before its start": tensor("optimizer", "embedding.weight/step", lambda step: -torch.ones_like(step)),
    "a counter of another type": tensor("optimizer", "output.bias/step", lambda step: step.long()),
    "a mean that is missing": tensor("optimizer", "output.bias/exp_avg", lambda mean: None),
    "a mean of one number": tensor("optimizer", "output.bias/exp_avg", lambda mean: torch.zeros(())),
    "means of another type": tensor("optimizer", "output.bias/exp_avg_sq", lambda mean: mean.double()),
    "a generator that is text": tensor("carried", "generator", lambda state: torch.zeros(3)),
    "a generator of two dimensions": tensor("carried", "generator", lambda state: state[None]),
    "weights that are not finite": tensor("model", "output.bias", lambda bias: bias * math.nan),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_checkpoint_is_refused(name: str, run: Path, texts: list[str], tmp_path: Path) -> None:
    assert resumed(run, tmp_path / "copy", lambda folder: None, texts) is None
    error = resumed(run, tmp_path / "hostile", REFUSED[name], texts)
    assert error is not None
    assert len(error) < 1000


NUMBERS = st.one_of(
    st.integers(-(10**400), 10**400), st.floats(allow_nan=False), st.booleans(), st.none(), st.text(max_size=3)
)


@settings(deadline=None, derandomize=True, database=None, max_examples=200)
@given(name=st.sampled_from([*TrainerState.names(), "x"]), value=NUMBERS | st.lists(NUMBERS, max_size=2))
def test_a_state_is_refused_or_can_be_computed_with(name: str, value: Any) -> None:
    try:
        state = TrainerState.from_dict({"step": 1, "steps_per_epoch": 4, "history": [], name: value})
    except DataError:
        return
    for field in TrainerState.names():
        number = getattr(state, field)
        if isinstance(number, (int, float)):
            assert 0 <= float(number) <= 1e100 or field == "best_loss"
        else:
            assert isinstance(number, (History, str)) or number is None
    assert math.isfinite(state.epoch)


HEAVY = {
    "many lines": b"{}\n" * 70_000,
    "lines of many numbers": (b'{"a": [' + b"0.5," * 400_000 + b"1]}\n") * 4,
    "lines of many texts": (b'{"a": [' + b'"",' * 400_000 + b"1]}\n") * 4,
    "lines of many objects": (b'{"a": [' + b"{}," * 60_000 + b"1]}\n") * 4,
    "a long number": b'{"step": ' + b"9" * 4000 + b"}\n",
    "one line of 70 MB": b" " * (70 << 20),
}


@pytest.mark.parametrize("name", HEAVY)
def test_a_history_that_causes_much_work_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_bytes(HEAVY[name])
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="not a history of training"):
            History.load(tmp_path / "history.jsonl")
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


def test_a_long_history_is_loaded(tmp_path: Path) -> None:
    history = History({"step": step, "valid_loss": step / 3, "seconds": 0.5} for step in range(20_000))
    history.save(tmp_path / "history.jsonl")
    assert History.load(tmp_path / "history.jsonl") == history
