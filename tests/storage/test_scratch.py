"""Large tensors in temporary files."""

import shutil
from pathlib import Path

import pytest
import torch

from zh_lstm_lm.storage import scratch as _scratch
from zh_lstm_lm.storage.scratch import scratch_tensor


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_scratch, "_IN_MEMORY_BYTES", 1000)
    monkeypatch.setenv("ZH_LSTM_LM_CACHE", str(tmp_path))
    return tmp_path / "scratch"


def test_a_large_tensor_is_ones_own_to_fill_and_leaves_no_file(folder: Path) -> None:
    first, second = scratch_tensor(1000), scratch_tensor(1000)
    first.copy_(torch.arange(1000))
    second.fill_(7)
    assert torch.equal(first, torch.arange(1000, dtype=torch.int32))
    assert folder.is_dir()
    assert list(folder.iterdir()) == []


def test_memory_is_what_is_left_where_a_file_cannot_be_mapped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("unable to mmap")

    monkeypatch.setattr(torch, "from_file", refuse)
    assert scratch_tensor(1000).shape == (1000,)
    assert list(folder.iterdir()) == []


def test_memory_is_what_is_left_on_a_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(folder.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=7999))
    assert scratch_tensor(1000).shape == (1000,)
    assert list(folder.iterdir()) == []
