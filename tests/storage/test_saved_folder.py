"""A reader gets the old folder or the new one, whatever a writer does meanwhile."""

import os
from pathlib import Path
from typing import Any

import pytest

from zh_lstm_lm import CheckpointError, LSTMLanguageModel, ModelConfig, Vocabulary
from zh_lstm_lm.storage import safe_reading, saved_folder
from zh_lstm_lm.storage.atomic import atomic_directory
from zh_lstm_lm.storage.safe_reading import MANIFEST
from zh_lstm_lm.storage.saved_folder import open_folder

OWNED = frozenset({"a.json", "b.bin", "optional.json"})


def save(path: Path, text: str, *, optional: bool = False) -> None:
    with atomic_directory(path, owned=OWNED) as staged:
        for name in ("a.json", "b.bin", *(["optional.json"] if optional else [])):
            (staged / name).write_text(text)


def read(path: Path) -> dict[str, str]:
    with open_folder(path, OWNED, hint="look elsewhere") as files:
        return {name: files.read(name, max_bytes=100).decode() for name in sorted(OWNED) if name in files}


def text_of(text: str, *, optional: bool = False) -> dict[str, str]:
    return {name: text for name in sorted(OWNED) if optional or name != "optional.json"}


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("moment", range(1, 5))
@pytest.mark.parametrize(("before", "after"), [(False, True), (True, False), (True, True)])
def test_a_folder_that_is_replaced_while_it_is_opened_is_never_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int, before: bool, after: bool, signed: bool
) -> None:
    model = tmp_path / "model"
    save(model, "old", optional=before)
    if not signed:
        (model / MANIFEST).unlink()
    opened, calls = safe_reading.open_regular, 0

    def replaced_meanwhile(path: Path) -> Any:
        nonlocal calls
        calls += 1
        if calls == moment:
            save(model, "new", optional=after)
        return opened(path)

    monkeypatch.setattr(saved_folder, "open_regular", replaced_meanwhile)
    assert read(model) == text_of("new", optional=after)
    assert calls > 4


def test_what_was_opened_is_read_although_it_was_replaced(tmp_path: Path) -> None:
    if os.name == "nt":
        pytest.skip("open files cannot be removed there")
    save(tmp_path / "model", "old", optional=True)
    with open_folder(tmp_path / "model", OWNED, hint="") as files:
        save(tmp_path / "model", "new")
        assert {files.read(name, max_bytes=9) for name in OWNED} == {b"old"}


def test_a_reader_between_the_two_renames_gets_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "model", "old")
    rename, found = os.rename, []

    def with_reader(source: Path, target: Path) -> None:
        if Path(target) == tmp_path / "model":
            assert not (tmp_path / "model").exists()
            found.append(read(tmp_path / "model"))
        rename(source, target)

    monkeypatch.setattr(os, "rename", with_reader)
    save(tmp_path / "model", "new")
    assert found == [text_of("old")]
    assert read(tmp_path / "model") == text_of("new")
    assert os.listdir(tmp_path) == ["model"]


def test_a_folder_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for name in ("missing", "file", "file/below", "x" * 300, "a\0b"):
        with pytest.raises(CheckpointError, match="no such folder; look elsewhere"):
            read(tmp_path / name)


@pytest.mark.parametrize("name", sorted(OWNED))
def test_every_file_that_is_read_is_held_against_the_manifest(tmp_path: Path, name: str) -> None:
    save(tmp_path / "model", "old", optional=True)
    path = tmp_path / "model" / name
    path.write_text("olf")
    with pytest.raises(
        CheckpointError, match=rf"{name}: truncated or changed .*remove manifest.json if you changed it"
    ):
        read(tmp_path / "model")
    path.unlink()
    with pytest.raises(CheckpointError, match=rf"{name}: no such file"):
        read(tmp_path / "model")
    (tmp_path / "model" / MANIFEST).unlink()
    assert name not in read(tmp_path / "model")


def test_a_file_that_the_manifest_does_not_name_is_not_read(tmp_path: Path) -> None:
    save(tmp_path / "model", "old")
    (tmp_path / "model" / "optional.json").write_text("old")
    with pytest.raises(CheckpointError, match=r"optional\.json: truncated or changed"):
        read(tmp_path / "model")


def test_a_models_defaults_for_writing_are_covered(tmp_path: Path, vocabulary: Vocabulary) -> None:
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=4, output="full"))
    for name, temperature in (("one", 0.5), ("two", 0.25)):
        model.generation_config = {"temperature": temperature}
        model.save_pretrained(tmp_path / name)
    (tmp_path / "two" / "generation_config.json").replace(tmp_path / "one" / "generation_config.json")
    for name in ("one", "two"):  # another one, and none
        with pytest.raises(CheckpointError, match=r"generation_config\.json"):
            LSTMLanguageModel.from_pretrained(tmp_path / name)
    (tmp_path / "one" / MANIFEST).unlink()
    assert LSTMLanguageModel.from_pretrained(tmp_path / "one").generation_config == {"temperature": 0.25}


def test_a_link_that_is_given_another_aim_is_read_whole(tmp_path: Path, vocabulary: Vocabulary) -> None:
    if os.name == "nt":
        pytest.skip("links need rights there")
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=4, output="full"))
    (tmp_path / "v1").mkdir()
    (tmp_path / "latest").symlink_to("v1", target_is_directory=True)
    model.save_pretrained(tmp_path / "latest")
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "v1" / "config.json").is_file()
    assert LSTMLanguageModel.from_pretrained(tmp_path / "latest").num_parameters == model.num_parameters
