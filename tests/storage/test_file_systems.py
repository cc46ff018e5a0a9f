"""File systems that lack locks or flushes, are full or read-only, and names that are not UTF-8; what reaches the disk."""

import copy
import errno
import logging
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import zh_lstm_lm
from zh_lstm_lm import (
    CheckpointError,
    DataError,
    History,
    LSTMLanguageModel,
    Sampler,
    TokenStream,
    Trainer,
    TrainerConfig,
    ZhLstmLmError,
)
from zh_lstm_lm.storage import file_systems
from zh_lstm_lm.storage.atomic import atomic_directory, atomic_write
from zh_lstm_lm.storage.locks import lock_folder
from zh_lstm_lm.storage.user_files import write_file

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has other locks, modes and flushes")

LACKING = [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL]


@pytest.fixture(autouse=True)
def _not_warned_yet() -> Iterator[None]:
    file_systems._warn_once.cache_clear()
    yield
    file_systems._warn_once.cache_clear()


def everything(folder: Path, model: LSTMLanguageModel, stream: TokenStream) -> None:
    """Writes all that the library writes, twice."""
    for _ in range(2):
        model.save_pretrained(folder / "model")
        Sampler(model).write(folder / "novel.txt", max_new_tokens=5)
        History([{"step": 1}]).save(folder / "history.jsonl")
        config = TrainerConfig(max_steps=2, batch_size=2, bptt_len=4, run_dir=folder / "run")
        # The second text is to be the first one, so the model itself stays as it is.
        Trainer(copy.deepcopy(model), stream, None, config, progress=False).fit(resume=True)
    LSTMLanguageModel.from_pretrained(folder / "model")
    assert sorted(os.listdir(folder)) == ["history.jsonl", "model", "novel.txt", "run"]
    assert not [name for name in os.listdir(folder / "run") if name.startswith(".") or name == "lock"]


@pytest.mark.parametrize("code", LACKING, ids=errno.errorcode.get)
def test_a_file_system_without_locks_is_warned_of_once(
    tmp_path: Path,
    model: LSTMLanguageModel,
    stream: TokenStream,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    def no_locks(*given: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with caplog.at_level(logging.WARNING, logger="zh_lstm_lm"):
        everything(tmp_path, model, stream)
    assert [message for message in caplog.messages if "no locks" in message] == [
        "this file system has no locks, so nothing keeps a second process from working in the same place"
    ]


@pytest.mark.parametrize("code", LACKING, ids=errno.errorcode.get)
def test_a_file_system_without_flushes_is_warned_of_once(
    tmp_path: Path,
    model: LSTMLanguageModel,
    stream: TokenStream,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    flush = os.fsync

    def no_flush(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", no_flush)
    with caplog.at_level(logging.WARNING, logger="zh_lstm_lm"):
        everything(tmp_path, model, stream)
    assert len([message for message in caplog.messages if "cannot flush" in message]) == 1


def test_a_file_system_that_flushes_nothing_is_written_to(
    tmp_path: Path, model: LSTMLanguageModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_flush(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", no_flush)
    with caplog.at_level(logging.WARNING, logger="zh_lstm_lm"):
        for _ in range(2):
            model.save_pretrained(tmp_path / "model")
            write_file(tmp_path / "text.txt", b"new")
    LSTMLanguageModel.from_pretrained(tmp_path / "model")
    assert sorted(os.listdir(tmp_path)) == ["model", "text.txt"]
    assert len(caplog.messages) == 2, "files and folders, once each"


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_any_other_failure_of_a_lock_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def broken(*given: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", broken)
    with pytest.raises(CheckpointError), lock_folder(tmp_path):
        pytest.fail("it was locked")


NO_LOCKS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to a file": lambda path: path.symlink_to(path.with_name("mine.txt")),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a file with another name": lambda path: os.link(path.with_name("mine.txt"), path),
    "a user's file": lambda path: path.write_text("mine"),
    "a large file": lambda path: path.write_bytes(b"process 1 on here" * 1000),
}


@pytest.mark.parametrize("name", NO_LOCKS)
def test_what_is_no_lock_is_refused_and_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.txt").write_text("")
    NO_LOCKS[name](tmp_path / "lock")
    before = os.lstat(tmp_path / "lock")
    with pytest.raises(CheckpointError, match=r"lock: (is there already|cannot be written)"), lock_folder(tmp_path):
        pytest.fail("it was locked")
    assert os.lstat(tmp_path / "lock") == before
    assert sorted(os.listdir(tmp_path)) == ["lock", "mine.txt"]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_write_that_fails_destroys_nothing(
    tmp_path: Path, model: LSTMLanguageModel, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    model.save_pretrained(tmp_path / "model")
    for name in ("text.txt", "state.json", "novel.txt"):
        (tmp_path / name).write_text("mine", encoding="utf-8")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def broken(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", broken)
    for write in (
        lambda: model.save_pretrained(tmp_path / "model"),
        lambda: atomic_write(tmp_path / "state.json", b"new"),
        lambda: write_file(tmp_path / "text.txt", b"new"),
        lambda: Sampler(model).write(tmp_path / "novel.txt", max_new_tokens=3),
    ):
        with pytest.raises(ZhLstmLmError, match=os.strerror(code)):
            write()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


class Disk:
    """Records what is flushed and renamed, by inode."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.flushed: list[int] = []
        self.renames: list[tuple[Path, int]] = []
        fsync = os.fsync

        def flush(descriptor: int) -> None:
            fsync(descriptor)
            self.flushed.append(os.fstat(descriptor).st_ino)

        monkeypatch.setattr(os, "fsync", flush)
        for name in ("rename", "replace"):
            monkeypatch.setattr(os, name, self._recorded(getattr(os, name)))

    def _recorded(self, call: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
        def rename(source: Path, target: Path) -> None:
            call(source, target)
            self.renames.append((Path(target), len(self.flushed)))

        return rename

    def check(self, path: Path) -> None:
        """All of a file or folder is flushed before it is renamed to its place, and the folder above afterwards."""
        moment = next(moment for target, moment in self.renames if target == path)
        before, after = set(self.flushed[:moment]), set(self.flushed[moment:])
        needed = {path, *path.iterdir()} if path.is_dir() else {path}
        assert not [part for part in needed if part.stat().st_ino not in before], "not flushed before the rename"
        assert path.parent.stat().st_ino in after, "the folder above was not flushed after the rename"


@pytest.mark.parametrize("there", [False, True])
def test_all_is_flushed_before_a_rename_and_the_folder_after_it(
    tmp_path: Path, model: LSTMLanguageModel, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    ways: dict[str, Callable[[Path], Any]] = {
        "model": model.save_pretrained,
        "state.json": lambda path: atomic_write(path, b"new"),
        "text.txt": lambda path: write_file(path, b"new"),
        "novel.txt": lambda path: Sampler(model).write(path, max_new_tokens=3),
        "history.jsonl": History([{"step": 1}]).save,
    }
    if there:
        for name, write in ways.items():
            write(tmp_path / name)
    for name, write in ways.items():
        with monkeypatch.context() as patched:
            disk = Disk(patched)
            write(tmp_path / name)
        disk.check(tmp_path / name)


def test_every_part_of_a_run_is_flushed(
    tmp_path: Path, model: LSTMLanguageModel, stream: TokenStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainerConfig(max_steps=2, batch_size=2, bptt_len=4, run_dir=tmp_path / "run")
    with monkeypatch.context() as patched:
        disk = Disk(patched)
        Trainer(model, stream, None, config, progress=False).fit()
    for path in (tmp_path / "run").iterdir():
        disk.check(path)


NAMES = [b"\xff\xfe", "风雪".encode("gb18030"), b"a\nb", b"\x1b[2J", b" ", b"-x", "\u202e".encode()]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_file_is_written_and_read(
    tmp_path: Path, model: LSTMLanguageModel, stream: TokenStream, name: bytes
) -> None:
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    everything(folder, model, stream)
    (folder / "model" / "config.json").write_bytes(b"")
    with pytest.raises(CheckpointError) as caught:
        LSTMLanguageModel.from_pretrained(folder / "model")
    assert str(caught.value).isprintable()
    target = tmp_path / os.fsdecode(name + b".d")
    model.save_pretrained(target)
    (target / os.fsdecode(name)).write_bytes(b"mine")
    model.save_pretrained(target)
    assert (target / os.fsdecode(name)).read_bytes() == b"mine"


READ_ONLY = """
import os, sys
from pathlib import Path
import torch
from zh_lstm_lm import LSTMLanguageModel, Sampler, ZhLstmLmError
from zh_lstm_lm.storage.user_files import write_file

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
folder, work = map(Path, sys.argv[1:])
try:
    LSTMLanguageModel.from_pretrained(folder / "closed")
except ZhLstmLmError as error:
    assert "closed: cannot be read (Permission denied)" in str(error), error
model = LSTMLanguageModel.from_pretrained(folder / "model")
for write in (
    lambda: model.save_pretrained(folder / "model"),
    lambda: model.save_pretrained(folder / "new"),
    lambda: write_file(folder / "text.txt", b"new"),
    lambda: write_file(folder / "new.txt", b"new"),
    lambda: Sampler(model).write(folder / "text.txt", max_new_tokens=2),
    lambda: Sampler(model).write(folder / "new.txt", max_new_tokens=2),
):
    try:
        write()
    except ZhLstmLmError as error:
        assert "Permission denied" in str(error) or "may not be written" in str(error), error
    else:
        raise AssertionError("it was written")
model.save_pretrained(work / "model")
(work / "model" / "plots").mkdir()
(work / "model" / "plots" / "a.svg").write_text("mine")
(work / "model" / "plots").chmod(0o555)
for _ in range(2):
    model.save_pretrained(work / "model")
assert (work / "model" / "plots" / "a.svg").read_text() == "mine"
assert (work / "model" / "plots").stat().st_mode & 0o777 == 0o555
assert os.listdir(work) == ["model"], os.listdir(work)
unlisted = work / "unlisted"
unlisted.mkdir(0o300)
for _ in range(2):
    model.save_pretrained(unlisted / "model")
write_file(unlisted / "text.txt", b"new")
LSTMLanguageModel.from_pretrained(unlisted / "model")
unlisted.chmod(0o700)
assert sorted(os.listdir(unlisted)) == ["model", "text.txt"], os.listdir(unlisted)
"""


def test_a_folder_that_may_only_be_read_is_read_and_left_as_it_is(tmp_path: Path, model: LSTMLanguageModel) -> None:
    folder = tmp_path / "read-only"
    model.save_pretrained(folder / "model")
    (folder / "text.txt").write_text("mine")
    (folder / "closed").mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "work").chmod(0o777)
    paths = [folder, *folder.rglob("*")]
    before = {path: path.read_bytes() for path in paths if path.is_file()}
    for path in paths:
        path.chmod(0 if path.name == "closed" else 0o555 if path.is_dir() else 0o444)
    above = [path for path in tmp_path.parents if os.stat(path).st_uid == os.geteuid() and len(path.parts) > 2]
    modes = {path: path.stat().st_mode for path in [tmp_path, *above]}
    try:
        for path in modes:
            path.chmod(0o755)
        environment = os.environ | {"PYTHONPATH": str(Path(zh_lstm_lm.__file__).parents[1]), "HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, str(folder), str(tmp_path / "work")],
            capture_output=True,
            text=True,
            timeout=120,
            env=environment,
        )
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
        for path in paths:
            path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_modes_that_cannot_be_set_do_not_end_a_save(
    tmp_path: Path, model: LSTMLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_modes(*given: object, **how: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    def no_links(*given: object, **how: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    model.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "plots").mkdir()
    (tmp_path / "model" / "plots" / "a.svg").write_text("mine")
    (tmp_path / "model" / "notes.txt").write_text("mine")
    monkeypatch.setattr(os, "chmod", no_modes)
    monkeypatch.setattr(os, "chown", no_modes)
    monkeypatch.setattr(os, "link", no_links)
    model.save_pretrained(tmp_path / "model")
    write_file(tmp_path / "model" / "notes.txt", b"changed")
    assert (tmp_path / "model" / "notes.txt").read_text() == "changed"
    assert (tmp_path / "model" / "plots" / "a.svg").read_text() == "mine"
    assert os.listdir(tmp_path) == ["model"]


def test_a_folder_without_a_name_is_told_of(model: LSTMLanguageModel) -> None:
    for path in ("/", "/proc/1/model", "/dev/null"):
        with pytest.raises(ZhLstmLmError):
            model.save_pretrained(path)
    with pytest.raises(CheckpointError, match="embedded null"), atomic_directory(Path("a\0b"), owned=frozenset()):
        pytest.fail("it was made")
    with pytest.raises(DataError):
        Sampler(model).write("/dev/full" if Path("/dev/full").exists() else "/", max_new_tokens=2)
    with pytest.raises(CheckpointError), atomic_directory(Path("/dev/null/x"), owned=frozenset()):
        pytest.fail("it was made")
