"""What crashed writers left is finished by the next writer, and nothing else is ever touched."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from zh_lstm_lm import CheckpointError
from zh_lstm_lm.storage.atomic import atomic_directory, atomic_write
from zh_lstm_lm.storage.saved_folder import open_folder
from zh_lstm_lm.storage.user_files import write_file
from zh_lstm_lm.storage.workspace import finish_workspaces, folders_set_aside, workspace

posix_only = pytest.mark.skipif(os.name == "nt", reason="links need rights there")
OWNED = frozenset({"config.json"})


def fill(folder: Path, contents: dict[str, str]) -> None:
    for name, text in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    """What a folder holds: files by their text, links by where they lead, empty folders."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(parent, name)
            key = path.relative_to(folder).as_posix()
            if path.is_symlink():
                found[key] = f"-> {os.readlink(path)}"
            elif path.is_fifo():
                found[key] = "pipe"
            elif path.is_file():
                found[key] = path.read_text()
            elif not any(path.iterdir()):
                found[key] = "empty"
    return found


def abandoned(folder: Path, *, target: str = "model", owned: list[str] | None = None, **files: str) -> Path:
    """A workspace as a crashed process leaves it."""
    place = folder / ".zh-lstm-lm-0123"
    place.mkdir()
    values = {"target": target, "owned": ["config.json", "manifest.json"] if owned is None else owned}
    marker = json.dumps({**values, "inode": place.stat().st_ino})
    fill(place, {"workspace.json": marker, **{name.replace("__", "/"): text for name, text in files.items()}})
    return place


def read(folder: Path) -> str:
    with open_folder(folder, OWNED, hint="") as files:
        return files.read("config.json", max_bytes=100).decode()


def save(path: Path, text: str) -> None:
    with atomic_directory(path, owned=OWNED) as staged:
        (staged / "config.json").write_text(text)


def test_a_folder_set_aside_is_read_where_it_lies_and_put_back_by_the_next_writer(tmp_path: Path) -> None:
    place = abandoned(tmp_path, old__config_json="", new__x="half")
    fill(place, {"old/config.json": "old", "old/notes.txt": "mine"})
    (place / "old" / "config_json").unlink()
    before = contents(tmp_path)
    assert folders_set_aside(tmp_path / "model") == [place / "old"]
    assert read(tmp_path / "model") == "old"
    with pytest.raises(CheckpointError, match="other: no such folder"):
        read(tmp_path / "other")
    assert contents(tmp_path) == before
    save(tmp_path / "model", "new")
    assert read(tmp_path / "model") == "new"
    assert os.listdir(tmp_path) == ["model"]
    assert (tmp_path / "model" / "notes.txt").read_text() == "mine"


def test_files_of_a_user_whose_names_are_taken_stay_where_they_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path = tmp_path / ("a\x1b[2J" if os.name != "nt" else "a")
    tmp_path.mkdir()
    place = abandoned(tmp_path)
    fill(place, {"old/config.json": "old", "old/notes.txt": "the older", "old/config.d/a": "b"})
    fill(tmp_path, {"model/config.json": "new", "model/notes.txt": "the newer"})
    with caplog.at_level(logging.WARNING, logger="zh_lstm_lm"):
        finish_workspaces(tmp_path, target="model")
    assert (tmp_path / "model" / "notes.txt").read_text() == "the newer"
    assert (tmp_path / "model" / "config.d" / "a").read_text() == "b"
    assert contents(place / "left") == {"notes.txt": "the older"}
    (message,) = caplog.messages
    assert "keeps files of a replaced folder whose names are taken" in message
    assert message.isprintable()


def test_a_workspace_in_use_is_left_alone(tmp_path: Path) -> None:
    with workspace(tmp_path / "model", owned=OWNED) as place:
        (place / "new").mkdir()
        finish_workspaces(tmp_path)
        finish_workspaces(tmp_path, target="model", alone=True)
        assert (place / "new").is_dir()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("write", [write_file, atomic_write])
def test_the_next_writer_of_a_file_removes_what_a_crash_left(tmp_path: Path, write: Callable[..., None]) -> None:
    abandoned(tmp_path, target="text.txt", owned=[], file="half")
    write(tmp_path / "text.txt", b"new")
    assert contents(tmp_path) == {"text.txt": "new"}


def test_only_what_was_named_is_finished(tmp_path: Path) -> None:
    abandoned(tmp_path, target="other", file="half")
    before = contents(tmp_path)
    save(tmp_path / "model", "new")
    atomic_write(tmp_path / "file.txt", b"new")
    assert contents(tmp_path).items() >= before.items()
    finish_workspaces(tmp_path, target="other")
    assert sorted(os.listdir(tmp_path)) == ["file.txt", "model"]


FOREIGN: dict[str, Callable[[Path], object]] = {
    "a folder of the former name": lambda folder: fill(folder, {".model.previous/config.json": "mine"}),
    "litter of the former name": lambda folder: fill(folder, {f".model.{'0' * 32}.staged/a": "mine", "b.tmp": "c"}),
    "a folder without a marker": lambda folder: fill(folder, {".zh-lstm-lm-0/old/config.json": "mine"}),
    "a marker that is no JSON": lambda folder: fill(folder, {".zh-lstm-lm-0/workspace.json": "mine"}),
    "a marker of another kind": lambda folder: fill(folder, {".zh-lstm-lm-0/workspace.json": '{"target": "model"}'}),
    "a marker that is a list": lambda folder: fill(
        folder, {".zh-lstm-lm-0/workspace.json": "[]", ".zh-lstm-lm-0/old/a": ""}
    ),
    "a target elsewhere": lambda folder: abandoned(folder, target="../model", old__a="mine"),
    "a target above": lambda folder: abandoned(folder, target="..", left__a="mine"),
    "a target without a name": lambda folder: abandoned(folder, target="", left__a="mine"),
    "a target that is the folder itself": lambda folder: abandoned(folder, target=".", left__a="mine"),
    "owned files elsewhere": lambda folder: abandoned(folder, owned=["../victim.txt"], old__a="mine"),
    "a file of a workspace's name": lambda folder: fill(folder, {".zh-lstm-lm-0": "mine"}),
}
if os.name != "nt":

    def linked_workspace(folder: Path) -> None:
        fill(folder, {"victim/config.json": "mine", "victim/workspace.json": '{"target": "model", "owned": []}'})
        (folder / ".zh-lstm-lm-0").symlink_to("victim")

    def linked_marker(folder: Path) -> None:
        fill(folder, {"marker.json": '{"target": "model", "owned": []}', ".zh-lstm-lm-0/old/config.json": "mine"})
        (folder / ".zh-lstm-lm-0" / "workspace.json").symlink_to("../marker.json")

    def former_link(folder: Path) -> None:
        fill(folder, {"victim/thesis.txt": "mine", "victim/README.md": "mine"})
        (folder / ".model.previous").symlink_to("victim")

    FOREIGN |= {
        "a link of the former name": former_link,
        "a workspace that is a link": linked_workspace,
        "a marker that is a link": linked_marker,
    }


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("there", [True, False])
def test_nothing_but_a_workspace_of_the_library_is_touched(tmp_path: Path, name: str, there: bool) -> None:
    FOREIGN[name](tmp_path)
    before = contents(tmp_path)
    if there:
        save(tmp_path / "model", "old")
        assert read(tmp_path / "model") == "old"
    else:
        with pytest.raises(CheckpointError, match="no such folder"):
            read(tmp_path / "model")
    save(tmp_path / "model", "new")
    finish_workspaces(tmp_path, alone=True)
    after = contents(tmp_path)
    assert {key: text for key, text in after.items() if not key.startswith("model/")} == before


@posix_only
def test_links_inside_a_workspace_are_removed_and_not_followed(tmp_path: Path) -> None:
    fill(tmp_path, {"victim/thesis.txt": "mine", "victim.txt": "mine"})
    before = contents(tmp_path)
    place = abandoned(tmp_path, new__x="half")
    (place / "new" / "link").symlink_to(tmp_path / "victim")
    (place / "file").symlink_to(tmp_path / "victim.txt")
    (place / "removed").symlink_to(tmp_path / "victim")
    (place / "old").symlink_to(tmp_path / "victim")
    assert folders_set_aside(tmp_path / "model") == []
    finish_workspaces(tmp_path, target="model")
    assert contents(tmp_path) == before


@posix_only
def test_files_are_not_carried_behind_a_link(tmp_path: Path) -> None:
    fill(tmp_path, {"victim/thesis.txt": "mine"})
    place = abandoned(tmp_path, old__notes="a stranger's")
    (tmp_path / "model").symlink_to("victim")
    finish_workspaces(tmp_path, target="model")
    assert contents(tmp_path / "victim") == {"thesis.txt": "mine"}
    assert (place / "left" / "notes").is_file()


def test_a_workspace_that_was_copied_is_never_finished(tmp_path: Path) -> None:
    """As one that came in an archive, with a marker of this library."""
    fill(abandoned(tmp_path), {"old/config.json": "old", "left/generation_config.json": "{}", "file": "half"})
    (tmp_path / "copied").mkdir()
    shutil.copytree(tmp_path / ".zh-lstm-lm-0123", tmp_path / "copied" / ".zh-lstm-lm-0123")
    before = contents(tmp_path / "copied")
    assert read(tmp_path / "copied" / "model") == "old"
    save(tmp_path / "copied" / "model", "new")
    finish_workspaces(tmp_path / "copied", alone=True)
    after = contents(tmp_path / "copied")
    assert {name: text for name, text in after.items() if not name.startswith("model/")} == before
    assert sorted(os.listdir(tmp_path / "copied" / "model")) == ["config.json", "manifest.json"]


USERS = {"notes.txt": "mine", "plots/a.svg": "mine", "plots/old/b.svg": "mine", "config.d/c": "mine"}


@pytest.mark.parametrize("links", [True, False])
def test_files_of_a_user_are_in_the_new_folder_from_the_first_moment_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    save(tmp_path / "model", "old")
    fill(tmp_path / "model", USERS)
    (tmp_path / "model" / "plots" / "empty").mkdir()
    if os.name != "nt":
        (tmp_path / "model" / "latest").symlink_to("plots/a.svg")
        (tmp_path / "model" / "plots" / "link").symlink_to("nowhere")
        os.mkfifo(tmp_path / "model" / "pipe")
    before = contents(tmp_path / "model")
    rename, seen = os.rename, []

    def with_a_look(source: Path, target: Path) -> None:
        rename(source, target)
        if Path(target) == tmp_path / "model":
            seen.append(contents(tmp_path / "model"))

    def no_links(*given: object, **how: object) -> None:
        raise OSError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", with_a_look)
        if not links:
            patched.setattr(os, "link", no_links)
        save(tmp_path / "model", "new")
    expected = {**before, "config.json": "new", "manifest.json": (tmp_path / "model" / "manifest.json").read_text()}
    assert len(seen) == 1
    assert (seen[0] == expected) == links
    assert contents(tmp_path / "model") == expected
    assert os.listdir(tmp_path) == ["model"]
    if links:
        assert (tmp_path / "model" / "notes.txt").stat().st_nlink == 1


def test_a_file_that_changes_while_a_folder_is_replaced_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "model", "old")
    fill(tmp_path / "model", {"notes.txt": "first", "plots/a.svg": "first"})
    rename = os.rename

    def with_an_editor(source: Path, target: Path) -> None:
        if Path(source) == tmp_path / "model":
            for name, text in {"notes.txt": "second", "plots/a.svg": "second", "plots/b.svg": "new"}.items():
                (source / "edited").write_text(text)
                os.replace(source / "edited", source / name)
            (source / "more.txt").write_text("new")
        rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", with_an_editor)
        save(tmp_path / "model", "new")
    found = contents(tmp_path / "model")
    assert (found["more.txt"], found["plots/b.svg"]) == ("new", "new")
    everywhere = [path.read_text() for path in tmp_path.rglob("*") if path.name in ("notes.txt", "a.svg")]
    assert sorted(everywhere) == ["first", "first", "second", "second"]


@posix_only
def test_a_workspace_of_another_user_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    abandoned(tmp_path, old__a="mine", file="half")
    before = contents(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: 12345)
        finish_workspaces(tmp_path, alone=True)
        assert contents(tmp_path) == before
        assert folders_set_aside(tmp_path / "model"), "the owner of the folder above has put it there"
    finish_workspaces(tmp_path)
    assert contents(tmp_path) == {"model/a": "mine"}


def test_workspaces_of_a_stranger_cause_little_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1000):
        (tmp_path / f".zh-lstm-lm-{number:04d}").mkdir()
    looked_at: set[str] = set()
    lstat = os.lstat

    def counted(path: Path) -> os.stat_result:
        looked_at.add(str(path))
        return lstat(path)

    monkeypatch.setattr(os, "lstat", counted)
    with pytest.raises(CheckpointError, match="no such folder"):
        read(tmp_path / "model")
    assert len(looked_at) < 500
