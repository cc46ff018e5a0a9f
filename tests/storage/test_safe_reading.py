"""What the system does not give; what is in a file is judged in test_storage.py and test_hostile_folders.py."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zh_lstm_lm import CheckpointError
from zh_lstm_lm.storage.cache import clear_cache
from zh_lstm_lm.storage.safe_reading import MANIFEST, digest, open_regular, read_bytes, verify_manifest
from zh_lstm_lm.storage.tensors import read_kinds, write_tensors


def fails(*details: object, **options: object) -> Any:
    raise OSError(5, "Input/output error")


def kinds(path: Path) -> object:
    with open_regular(path) as file:
        return read_kinds(file, path)


@pytest.mark.parametrize(
    "read",
    [read_bytes, kinds, lambda path: verify_manifest(path.parent)],
    ids=["bytes", "kinds", "sums"],
)
def test_a_file_that_the_system_does_not_give_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object]
) -> None:
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"weight": torch.zeros(2)})
    entry = {"bytes": path.stat().st_size, "sha256": digest(path)}
    (tmp_path / MANIFEST).write_text(json.dumps({path.name: entry}), encoding="utf-8")
    read(path)
    opened = os.open
    monkeypatch.setattr(os, "open", lambda file, *how, **more: (fails if file == path else opened)(file, *how, **more))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read .*Input/output error"):
        read(path)


def test_a_cache_that_cannot_be_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "streams" / ("a" * 32)).mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr("os.rename", fails)
        with pytest.raises(CheckpointError, match="a: cannot be removed"):
            clear_cache(tmp_path)
    clear_cache(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
