import contextlib
import json
import logging
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from zh_lstm_lm import (
    CheckpointError,
    History,
    LSTMLanguageModel,
    NonFiniteError,
    TokenStream,
    Trainer,
    TrainerConfig,
    TrainerState,
    ZhLstmLmError,
)
from zh_lstm_lm.storage.safe_reading import NewerFormatError
from zh_lstm_lm.training.run_folder import Checkpoint, RunFolder
from zh_lstm_lm.training.run_identity import fingerprint_of

DESCRIPTION: dict[str, Any] = {
    "options": {"max_epochs": 3, "max_steps": None, "max_minutes": None, "seed": 0, "bptt_len": 35, "run_dir": "a"},
    "model": {"hidden_size": 16},
    "vocabulary": "abc",
    "train": "def",
    "valid": None,
    "environment": {"torch": "2.6", "threads": 2},
}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def checkpoint_at(step: int) -> Checkpoint:
    state = TrainerState(
        step=step,
        window=step % 4,
        steps_per_epoch=4,
        planned_steps=100,
        seconds=1.5 * step,
        loss_sum=0.1 + 0.2,
        num_targets=17,
        num_characters=19,
        training_seconds=1.25,
        gradient_norm_sum=2.5,
        updates=3,
        learning_rate=1e-3 / 3,
        best_loss=4.0 / 3,
        history=History([{"step": 4, "train_loss": 2.0 / 3, "valid_bits_per_character": None}]),
        stop_reason="interrupted",
    )
    model = {"weight": random(3, 2, seed=step), "bias": random(2, seed=step + 1)}
    optimizer = {"weight/exp_avg": random(3, 2, seed=step + 2), "weight/step": torch.tensor(float(step))}
    carried = {
        "h": random(1, 2, 4),
        "c": random(1, 2, 4, seed=step),
        "generator": torch.Generator().manual_seed(step).get_state(),
    }
    return Checkpoint(state, model, optimizer, carried)


def described(**changes: Any) -> dict[str, Any]:
    return DESCRIPTION | changes


def with_options(**changes: Any) -> dict[str, Any]:
    return described(options=DESCRIPTION["options"] | changes)


def folder_of_run(path: Path, *, steps: tuple[int, ...] = (4,), keep_last: int = 10) -> RunFolder:
    folder = RunFolder(path / "run", keep_last=keep_last)
    with folder.locked():
        folder.begin(DESCRIPTION)
    for step in steps:
        folder.save(checkpoint_at(step))
    return folder


def resume(folder: RunFolder, description: dict[str, Any] = DESCRIPTION) -> tuple[Checkpoint, bool]:
    same_budget = folder.check_same(description)
    return folder.newest(checkpoint_at(0)), same_budget


def newest(folder: RunFolder) -> Path:
    return max(folder.path.glob("checkpoint-*"))


def assert_same(actual: Checkpoint, expected: Checkpoint) -> None:
    assert actual.state == expected.state
    assert isinstance(actual.state.history, History)
    for name in ("model", "optimizer", "carried"):
        ours, theirs = getattr(actual, name), getattr(expected, name)
        assert ours.keys() == theirs.keys()
        for key, tensor in theirs.items():
            assert ours[key].dtype == tensor.dtype
            assert torch.equal(ours[key], tensor)


def test_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    checkpoint, same_budget = resume(folder_of_run(tmp_path))
    assert_same(checkpoint, checkpoint_at(4))
    assert same_budget


def test_no_best_loss_yet_survives_json(tmp_path: Path) -> None:
    folder = folder_of_run(tmp_path, steps=())
    checkpoint = checkpoint_at(4)
    checkpoint.state.best_loss = math.inf
    folder.save(checkpoint)
    assert resume(folder)[0].state.best_loss == math.inf
    assert checkpoint.state.best_loss == math.inf  # saving changes nothing


def test_newest_checkpoint_is_the_one_with_the_most_updates(tmp_path: Path) -> None:
    folder = folder_of_run(tmp_path, steps=(12, 4, 100, 99))
    assert resume(folder)[0].state.step == 100


def test_only_folders_of_the_run_s_own_are_its_checkpoints(tmp_path: Path) -> None:
    folder = folder_of_run(tmp_path, steps=(4,))
    (folder.path / "checkpoint-00000009").write_text("mine", encoding="utf-8")
    (folder.path / "checkpoint-old").mkdir()
    shutil.copytree(newest(folder_of_run(tmp_path / "other", steps=(20,))), tmp_path / "elsewhere")
    if os.name != "nt":
        (folder.path / "checkpoint-00000020").symlink_to(tmp_path / "elsewhere")
    assert resume(folder)[0].state.step == 4


def test_folder_without_checkpoint_holds_no_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", keep_last=2)
    assert not folder.holds_run()
    folder = folder_of_run(tmp_path, steps=())
    assert not folder.holds_run()
    folder.save(checkpoint_at(4))
    assert folder.holds_run()


def test_run_is_described_in_readable_json(tmp_path: Path) -> None:
    folder = folder_of_run(tmp_path)
    written = json.loads((folder.path / "run.json").read_text(encoding="utf-8"))
    assert {name: written[name] for name in DESCRIPTION} == DESCRIPTION
    assert isinstance(written["format"], int)


def test_history_lies_beside_the_checkpoints(tmp_path: Path) -> None:
    folder = folder_of_run(tmp_path)
    assert History.load(folder.path / "history.jsonl") == checkpoint_at(4).state.history


@pytest.mark.parametrize("keep_last", [1, 2, 3])
def test_only_the_newest_checkpoints_are_kept(tmp_path: Path, keep_last: int) -> None:
    folder = folder_of_run(tmp_path, steps=(4, 8, 12, 16), keep_last=keep_last)
    kept = sorted(path.name for path in folder.path.glob("checkpoint-*"))
    assert len(kept) == keep_last
    assert kept == [f"checkpoint-{step:08d}" for step in (4, 8, 12, 16)[-keep_last:]]
    assert sorted(path.name for path in folder.path.iterdir()) == [*kept, "curve.jsonl", "history.jsonl", "run.json"]


def test_copies_that_the_user_made_are_no_checkpoints(tmp_path: Path) -> None:
    folder = folder_of_run(tmp_path, steps=(4, 8), keep_last=2)
    copies = [folder.path / "checkpoint-00000004-copy", folder.path / "checkpoint-good"]
    for copy in copies:
        shutil.copytree(folder.path / "checkpoint-00000004", copy)
    folder.save(checkpoint_at(12))
    assert all((copy / "model.safetensors").is_file() for copy in copies)
    assert (folder.path / "checkpoint-00000008").is_dir()
    assert resume(folder)[0].state.step == 12


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (with_options(seed=1), "seed=0, got 1"),
        (with_options(bptt_len=70), "bptt_len=35, got 70"),
        (described(vocabulary="xyz"), "another vocabulary"),
        (described(train="xyz"), "another train"),
        (described(valid="xyz"), "another valid"),
        (described(model={"hidden_size": 32}), "another model"),
    ],
)
def test_another_run_is_refused_and_the_difference_named(tmp_path: Path, changed: dict[str, Any], named: str) -> None:
    folder = folder_of_run(tmp_path)
    with pytest.raises(CheckpointError, match=named):
        resume(folder, changed)
    resume(folder)


@pytest.mark.parametrize("budget", [{"max_epochs": 5}, {"max_steps": 5}, {"max_minutes": 0.5}])
def test_another_budget_is_told(tmp_path: Path, budget: dict[str, Any]) -> None:
    checkpoint, same_budget = resume(folder_of_run(tmp_path), with_options(**budget))
    assert checkpoint.state.step == 4
    assert not same_budget


def test_run_folder_may_be_moved(tmp_path: Path) -> None:
    folder_of_run(tmp_path)
    (tmp_path / "run").rename(tmp_path / "moved")
    checkpoint, same_budget = resume(RunFolder(tmp_path / "moved", keep_last=2), with_options(run_dir="moved"))
    assert checkpoint.state.step == 4
    assert same_budget


def test_other_library_version_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = folder_of_run(tmp_path)
    with caplog.at_level(logging.WARNING, logger="zh_lstm_lm"):
        resume(folder)
        assert caplog.messages == []
        resume(folder, described(environment={"torch": "2.9", "threads": 2}))
    assert len(caplog.messages) == 1
    assert "torch 2.6, now 2.9" in caplog.messages[0]


FILES = ["model.safetensors", "optimizer.safetensors", "carried.safetensors", "trainer_state.json", "manifest.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "empty", "missing"])
def test_damaged_checkpoint_is_passed_over_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: str
) -> None:
    folder = folder_of_run(tmp_path, steps=(4, 8))
    file = newest(folder) / name
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(data[: len(data) // 2] if damage == "truncated" else b"")
    with caplog.at_level(logging.WARNING, logger="zh_lstm_lm"):
        checkpoint, _ = resume(folder)
    assert_same(checkpoint, checkpoint_at(4))
    assert len(caplog.messages) == 1
    assert "checkpoint-00000008: passed over" in caplog.messages[0]


@pytest.mark.parametrize("name", FILES[:-1])
def test_flipped_bit_is_noticed(tmp_path: Path, name: str) -> None:
    folder = folder_of_run(tmp_path, steps=(4, 8))
    data = bytearray((newest(folder) / name).read_bytes())
    data[-3] ^= 1
    (newest(folder) / name).write_bytes(data)
    assert resume(folder)[0].state.step == 4


def test_run_without_one_whole_checkpoint_is_an_error(tmp_path: Path) -> None:
    folder = folder_of_run(tmp_path, steps=(4, 8))
    for path in folder.path.glob("checkpoint-*"):
        (path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        resume(folder)


def rewrite(path: Path, name: str, data: bytes) -> None:
    """Puts another file in with a manifest that fits, as a newer version or somebody's hand would."""
    from zh_lstm_lm.storage.atomic import atomic_directory

    files = {file.name: file.read_bytes() for file in path.iterdir() if file.name != "manifest.json"}
    with atomic_directory(path, owned=frozenset(files)) as staged:
        for other, old in files.items():
            (staged / other).write_bytes(data if other == name else old)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("trainer_state.json", b"[]"),
        ("trainer_state.json", b"3"),
        ("trainer_state.json", b'{"format": "x"}'),
        ("trainer_state.json", b'{"format": 1, "speed": 3}'),
        ("trainer_state.json", b'{"format": 1, "step": 8}'),
        ("trainer_state.json", b'{"format": 1, "step": 8, "history": [3]}'),
        ("trainer_state.json", b'{"format": 1, "step": 8, "history": [{"step": 4, "valid_loss": "low"}]}'),
        ("trainer_state.json", b'{"format": 1, "step": -8, "history": []}'),
        ("trainer_state.json", b'{"format": 1, "step": true, "history": []}'),
        ("trainer_state.json", b'{"format": 1, "step": 8, "history": [], "steps_per_epoch": 5}'),
        ("trainer_state.json", b'{"format": 1, "step": 8, "history": [], "steps_per_epoch": 4, "window": 5}'),
        (
            "trainer_state.json",
            b'{"format": 1, "step": 8, "history": [], "steps_per_epoch": 4, "curve": [{"step": 1}]}',
        ),
        ("model.safetensors", b"PK\x03\x04 not tensors"),
    ],
)
def test_foreign_checkpoint_is_passed_over(tmp_path: Path, name: str, data: bytes) -> None:
    folder = folder_of_run(tmp_path, steps=(4, 8))
    rewrite(newest(folder), name, data)
    assert_same(resume(folder)[0], checkpoint_at(4))


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    folder = folder_of_run(tmp_path, steps=(4, 8))
    torch.save({"weight": random(3, 2)}, tmp_path / "model.pt")
    rewrite(newest(folder), "model.safetensors", (tmp_path / "model.pt").read_bytes())
    assert resume(folder)[0].state.step == 4
    for file in newest(folder).parent.rglob("*.safetensors"):
        if file.parent != newest(folder):
            safetensors.torch.load(file.read_bytes())


DESCRIPTIONS = [b"", b"[]", b"3", b"{}", b'{"options": 3}', b'{"options": {}, "model": NaN}', b'{"options": []', None]


def spoil(path: Path, data: bytes | None) -> None:
    path.unlink() if data is None else path.write_bytes(data)


@pytest.mark.parametrize("data", DESCRIPTIONS)
def test_damaged_description_is_made_again(tmp_path: Path, data: bytes | None) -> None:
    folder = folder_of_run(tmp_path, steps=(4, 8))
    whole = (folder.path / "run.json").read_bytes()
    spoil(folder.path / "run.json", data)
    spoil(newest(folder) / "run.json", data)  # the older one has it, too
    assert resume(RunFolder(folder.path, keep_last=2))[0].state.step == 4
    assert (folder.path / "run.json").read_bytes() == whole


@pytest.mark.parametrize("data", DESCRIPTIONS)
def test_description_without_a_whole_copy_is_an_error(tmp_path: Path, data: bytes | None) -> None:
    folder = folder_of_run(tmp_path)
    spoil(folder.path / "run.json", data)
    spoil(newest(folder) / "run.json", data)
    with pytest.raises(CheckpointError, match=r"run\.json"):
        resume(folder)


def test_changed_description_is_noticed(tmp_path: Path) -> None:
    folder = folder_of_run(tmp_path)
    path = folder.path / "run.json"
    path.write_bytes(path.read_bytes().replace(b'"bptt_len": 35', b'"bptt_len": 33'))
    assert resume(folder)[0].state.step == 4
    assert b'"bptt_len": 35' in path.read_bytes()


def test_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    folder = folder_of_run(tmp_path / "ours", steps=(4, 8))
    other = folder_of_run(tmp_path / "theirs", steps=(8,))
    shutil.rmtree(newest(folder))
    shutil.copytree(newest(other), folder.path / "checkpoint-00000008")
    ours = RunFolder(folder.path, keep_last=2)
    with pytest.raises(CheckpointError, match=r"checkpoint-00000008: is a checkpoint of another run .*move it away"):
        resume(ours)
    with pytest.raises(CheckpointError, match="another run"):
        ours.best_weights(8, checkpoint_at(0))
    (newest(folder) / "run.json").unlink()  # then the manifest tells of a file that is not there
    assert resume(ours)[0].state.step == 4
    shutil.rmtree(newest(folder))
    assert_same(resume(ours)[0], checkpoint_at(4))


def test_checkpoints_of_two_runs_without_a_description_are_refused(tmp_path: Path) -> None:
    folder = folder_of_run(tmp_path / "ours", steps=(4,))
    shutil.copytree(newest(folder_of_run(tmp_path / "theirs", steps=(8,))), folder.path / "checkpoint-00000008")
    (folder.path / "run.json").unlink()
    with pytest.raises(CheckpointError, match=r"run\.json"):
        resume(folder)


def test_a_damaged_format_number_is_damage_and_no_newer_version(tmp_path: Path) -> None:
    folder = folder_of_run(tmp_path, steps=(4, 8))
    for path in (newest(folder) / "trainer_state.json", newest(folder) / "run.json", folder.path / "run.json"):
        data = path.read_bytes()
        path.write_bytes(data.replace(b'"format": 1', b'"format": 9'))
        assert resume(RunFolder(folder.path, keep_last=2))[0].state.step == (8 if path.parent == folder.path else 4)
        path.write_bytes(data)


def test_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(CheckpointError, match="run_dir"), RunFolder(place, keep_last=2).locked():
            pass


def test_older_checkpoints_stay_when_a_new_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of_run(tmp_path, steps=(4,), keep_last=1)

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full_disk)
        with pytest.raises(CheckpointError, match="No space left on device"):
            folder.save(checkpoint_at(8))
    assert_same(resume(folder)[0], checkpoint_at(4))
    folder.save(checkpoint_at(8))
    assert [path.name for path in folder.path.glob("checkpoint-*")] == ["checkpoint-00000008"]


def test_fingerprint_follows_values_shape_and_type() -> None:
    values = torch.arange(6)
    assert fingerprint_of(values) == fingerprint_of(torch.arange(6))
    assert fingerprint_of(values) == fingerprint_of(torch.arange(12)[::2] // 2)  # however it lies in memory
    others = [torch.arange(7), values.view(2, 3), values.int(), values.flip(0)]
    assert len({fingerprint_of(tensor) for tensor in [values, *others]}) == 5


def test_newer_format_is_refused_with_the_version_that_reads_it(tmp_path: Path) -> None:
    folder = folder_of_run(tmp_path, steps=(4, 8))
    rewrite(newest(folder), "trainer_state.json", b'{"format": 999, "zh_lstm_lm_version": "7.8.9"}')
    with pytest.raises(NewerFormatError, match=r"format is 999.*'zh-lstm-lm>=7\.8\.9'"):
        resume(folder)


OTHERS: dict[str, Any] = {
    "a weight less": lambda part: part["model"].pop("bias"),
    "a weight of another shape": lambda part: part["model"].update(bias=random(3)),
    "a weight of another type": lambda part: part["model"].update(bias=random(2).double()),
    "a mean of no weight": lambda part: part["optimizer"].update({"other/exp_avg": random(2)}),
    "a mean of another shape": lambda part: part["optimizer"].update({"bias/exp_avg": random(3)}),
    "no generator": lambda part: part["carried"].pop("generator"),
    "half a state": lambda part: part["carried"].pop("h"),
    "a state of other lanes": lambda part: part["carried"].update(h=random(1, 3, 4)),
    "more than a state": lambda part: part["carried"].update(x=random(1)),
}


@pytest.mark.parametrize("change", OTHERS)
def test_checkpoint_of_another_model_is_passed_over(tmp_path: Path, change: str) -> None:
    folder = folder_of_run(tmp_path, steps=(4,))
    other = checkpoint_at(8)
    OTHERS[change](other._asdict())
    folder.save(other)
    assert_same(resume(folder)[0], checkpoint_at(4))


@pytest.mark.parametrize("part", ["model", "optimizer", "carried"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_never_committed(tmp_path: Path, part: str, value: float) -> None:
    folder = folder_of_run(tmp_path, steps=(4,))
    broken = checkpoint_at(8)
    name = {"model": "bias", "optimizer": "weight/exp_avg", "carried": "c"}[part]
    getattr(broken, part)[name].view(-1)[1] = value
    with pytest.raises(NonFiniteError, match=name):
        folder.save(broken)
    assert_same(resume(folder)[0], checkpoint_at(4))
    assert newest(folder).name == "checkpoint-00000004"


def test_best_checkpoint_is_kept_however_old(tmp_path: Path) -> None:
    folder = folder_of_run(tmp_path, steps=(), keep_last=1)
    losses = {4: 3.0, 8: 2.0, 12: 2.5, 16: 2.75}
    for step in losses:
        checkpoint = checkpoint_at(step)
        checkpoint.state.history = History(
            {"step": past, "valid_loss": losses[past]} for past in losses if past <= step
        )
        folder.save(checkpoint)
    assert sorted(path.name for path in folder.path.glob("checkpoint-*")) == [
        "checkpoint-00000008",
        "checkpoint-00000016",
    ]
    weights = folder.best_weights(8, checkpoint_at(0))
    assert torch.equal(weights["weight"], checkpoint_at(8).model["weight"])


def test_damaged_newer_checkpoint_costs_no_whole_one(tmp_path: Path) -> None:
    """Having gone back behind a damaged checkpoint, rotation must not take that one for the newest."""
    folder = folder_of_run(tmp_path, steps=(4, 20), keep_last=2)
    (newest(folder) / "model.safetensors").write_bytes(b"")
    folder.keep_last = 1
    folder.save(checkpoint_at(8))
    assert_same(resume(folder)[0], checkpoint_at(8))


def test_what_is_kept_keeps_its_best_checkpoint(tmp_path: Path) -> None:
    folder = folder_of_run(tmp_path, steps=(), keep_last=2)
    losses = {97: 3.0, 194: 2.0}
    for step in (97, 181, 194):
        checkpoint = checkpoint_at(step)
        checkpoint.state.history = History(
            {"step": past, "valid_loss": losses[past]} for past in losses if past <= step
        )
        folder.save(checkpoint)
    assert [path.name for path in sorted(folder.path.glob("checkpoint-*"))] == [
        f"checkpoint-{step:08d}" for step in (97, 181, 194)
    ]
    (newest(folder) / "model.safetensors").write_bytes(b"")
    older, _ = resume(folder)
    assert (older.state.step, older.state.best_step) == (181, 97)
    assert torch.equal(folder.best_weights(97, checkpoint_at(0))["weight"], checkpoint_at(97).model["weight"])


def test_two_trainers_do_not_share_a_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", keep_last=1)
    with folder.locked():
        with (
            pytest.raises(CheckpointError, match=rf"run: process {os.getpid()} on .* is at work in it"),
            RunFolder(tmp_path / "run", keep_last=1).locked(),
        ):
            pass
        assert (tmp_path / "run" / "lock").is_file()
    with folder.locked():
        pass
    assert list((tmp_path / "run").iterdir()) == []


def test_lock_of_a_crashed_trainer_is_taken_over(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "lock").write_text("process 1 on elsewhere\n")
    for number, half in enumerate(("new/model.safetensors", "removed/model.safetensors", "file")):
        place = run / f".zh-lstm-lm-{number}"
        (place / half).parent.mkdir(parents=True)
        (place / half).write_bytes(b"half")
        marker = {"target": "checkpoint-00000004", "owned": [], "inode": place.stat().st_ino}
        (place / "workspace.json").write_text(json.dumps(marker))
    (run / ".zh-lstm-lm-4").mkdir()
    (run / ".zh-lstm-lm-4" / "workspace.json").write_bytes(b"")
    (run / ".zh-lstm-lm-5").mkdir()
    others = {".notes": "mine", f".history.jsonl.{'0' * 32}.tmp": "mine", ".zh-lstm-lm-6/thesis.txt": "mine"}
    for name, text in others.items():
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(text)
    with RunFolder(run, keep_last=1).locked():
        left = {file.relative_to(run).as_posix() for file in run.rglob("*") if file.is_file()}
        assert left == {*others, "lock"}
        assert {path.name for path in run.glob(".zh*")} == {".zh-lstm-lm-6"}


@pytest.mark.parametrize("content", ["my thesis", "process of writing", "process 1 on here\nand more"])
def test_a_users_own_file_is_no_lock(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock").write_text(content)
    with pytest.raises(CheckpointError, match="lock: is there already, and is not a lock of this library"):
        RunFolder(tmp_path, keep_last=1).locked().__enter__()
    assert (tmp_path / "lock").read_text() == content


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_lock_with_another_name_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    os.link(tmp_path / "empty", tmp_path / "lock")
    with pytest.raises(CheckpointError, match="is not a lock"):
        RunFolder(tmp_path, keep_last=1).locked().__enter__()
    assert (tmp_path / "empty").read_bytes() == b""
    assert (tmp_path / "lock").exists()


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_in_a_run_folder_are_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "novel.txt").write_text("my novel", encoding="utf-8")
    folder = folder_of_run(tmp_path, steps=(4, 8), keep_last=1)
    (folder.path / "checkpoint-00000001").symlink_to(mine)
    folder.save(checkpoint_at(12))
    assert (mine / "novel.txt").read_text(encoding="utf-8") == "my novel"
    (folder.path / "checkpoint-00000016").symlink_to(mine)
    (folder.path / "history.jsonl").unlink()
    (folder.path / "history.jsonl").symlink_to(mine / "novel.txt")
    with pytest.raises(CheckpointError, match="checkpoint-00000016: is a symbolic link"):
        folder.save(checkpoint_at(16))
    folder.save(checkpoint_at(20))
    assert [path.name for path in mine.iterdir()] == ["novel.txt"]
    assert (mine / "novel.txt").read_text(encoding="utf-8") == "my novel"
    (folder.path / "lock").symlink_to(mine / "novel.txt")
    with pytest.raises(CheckpointError, match="lock: cannot be written"), folder.locked():
        pass
    assert (mine / "novel.txt").read_text(encoding="utf-8") == "my novel"


def test_name_of_the_holder_is_only_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: "a\x1b[2Jb")
    folder = RunFolder(tmp_path / "run", keep_last=1)
    with (
        folder.locked(),
        pytest.raises(CheckpointError, match=rf"process {os.getpid()} on a\[2Jb is at work"),
        RunFolder(tmp_path / "run", keep_last=1).locked(),
    ):
        pass


def test_room_on_the_disk_is_asked_for_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of_run(tmp_path, steps=(), keep_last=2)
    usage = shutil.disk_usage(tmp_path)
    for free, enough in ((14_000_000 - 1, False), (14_000_000, True)):  # 4 checkpoints of 3 MB, 2 models of 1 MB
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: usage._replace(free=free))
        if enough:
            folder.check_space(1_000_000, 2_000_000)
        else:
            with pytest.raises(CheckpointError, match=r"needs 14 MB for checkpoints and 14 MB are free; .*keep_last"):
                folder.check_space(1_000_000, 2_000_000)


@pytest.mark.parametrize(
    ("steps", "best", "needed"),
    [((), False, 14), ((), True, 13), ((4,), True, 10), ((4, 8, 12), True, 4), ((4, 8, 12, 16, 20), True, 4)],
)
def test_room_is_asked_for_what_is_not_yet_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: tuple[int, ...], best: bool, needed: int
) -> None:
    """In models: three for each checkpoint that is missing, at least one, one for ``best`` and one to replace it."""
    folder_of_run(tmp_path, steps=steps)
    folder = RunFolder(tmp_path / "run", keep_last=2)
    if best:
        folder.best.mkdir()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed * 1_000_000))
    folder.check_space(1_000_000, 2_000_000)
    with pytest.raises(CheckpointError):
        folder.check_space(1_000_001, 2_000_000)


def test_a_run_folder_is_made_with_the_folders_above_it(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "runs" / "wuxia" / "first", keep_last=2).locked():
        assert (tmp_path / "runs" / "wuxia" / "first").is_dir()


def test_a_checkpoint_at_the_very_end_of_an_epoch_is_whole(tmp_path: Path) -> None:
    folder = folder_of_run(tmp_path, steps=())
    checkpoint = checkpoint_at(4)
    checkpoint.state.window = checkpoint.state.steps_per_epoch
    folder.save(checkpoint)
    assert resume(folder)[0].state.window == 4


def test_options_that_came_later_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = folder_of_run(tmp_path)
    with caplog.at_level(logging.WARNING, logger="zh_lstm_lm"):
        resume(folder, with_options(wings=2))
    assert len(caplog.messages) == 1
    assert "option wings, goes on with 2" in caplog.messages[0]


def test_a_link_in_place_of_the_best_model_is_not_followed(
    tmp_path: Path, model: LSTMLanguageModel, stream: TokenStream
) -> None:
    model.save_pretrained(tmp_path / "mine")
    (tmp_path / "mine" / "thesis.txt").write_text("mine", encoding="utf-8")
    before = {file.name: file.read_bytes() for file in (tmp_path / "mine").iterdir()}
    config = TrainerConfig(max_steps=2, batch_size=1, run_dir=str(tmp_path / "run"))
    Trainer(model, stream, stream, config, progress=False).fit()
    shutil.rmtree(tmp_path / "run" / "best")
    (tmp_path / "run" / "best").symlink_to(tmp_path / "mine")
    with contextlib.suppress(ZhLstmLmError):
        again = TrainerConfig(max_steps=4, batch_size=1, run_dir=str(tmp_path / "run"))
        Trainer(LSTMLanguageModel(model.vocabulary, model.config), stream, stream, again, progress=False).fit(
            resume=True
        )
    assert {file.name: file.read_bytes() for file in (tmp_path / "mine").iterdir()} == before
