import contextlib
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zh_lstm_lm
from zh_lstm_lm import CheckpointError
from zh_lstm_lm.storage.atomic import (
    atomic_directory,
    atomic_write,
    check_place,
    remove_directory,
    write_json,
)
from zh_lstm_lm.storage.cache import cached_files, clear_cache, user_cache_dir
from zh_lstm_lm.storage.file_systems import flush_folder
from zh_lstm_lm.storage.safe_reading import MANIFEST, digest, read_bytes, read_json, verify_manifest
from zh_lstm_lm.storage.saved_folder import open_folder
from zh_lstm_lm.storage.strict_json import to_json
from zh_lstm_lm.storage.workspace import finish_workspaces

posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has neither modes nor this kind of link")
OWNED = frozenset({"config.json", "weights.bin", "old.bin"})
OLD = {"config.json": b"old config", "weights.bin": b"old" * 1000, "old.bin": b"only in the old one"}
NEW = {"config.json": b"new config", "weights.bin": b"new" * 2000}
FOREIGN = {"notes.txt": b"mine", "plots/a.svg": b"<svg/>"}


def fill(folder: Path, contents: dict[str, bytes]) -> None:
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def save(path: Path, contents: dict[str, bytes]) -> None:
    with atomic_directory(path, owned=OWNED) as staged:
        fill(staged, contents)


def seen(folder: Path) -> dict[str, bytes]:
    """The files of a saved folder, as a reader gets them."""
    with open_folder(folder, OWNED, hint="") as files:
        return {name: files.read(name, max_bytes=1 << 20) for name in OWNED if name in files}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but the manifest, by its path inside."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != MANIFEST
    }


class FailingCalls:
    """Makes the n-th of the calls that reach the disk fail, as a full or broken disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: int, names: tuple[str, ...]) -> None:
        self.calls = 0
        self.failing = failing
        for name in names:
            monkeypatch.setattr(os, name, self._failing(getattr(os, name)))

    def _failing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls == self.failing:
                raise OSError(28, "No space left on device")
            return call(*args, **options)

        return wrapped


def test_atomic_write_makes_and_replaces_a_file(tmp_path: Path) -> None:
    atomic_write(tmp_path / "file.txt", b"one")
    assert (tmp_path / "file.txt").read_bytes() == b"one"
    atomic_write(tmp_path / "file.txt", b"two")
    assert (tmp_path / "file.txt").read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("failing", [1, 2])
def test_file_that_was_there_stays_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    atomic_write(tmp_path / "file.txt", b"old")
    with monkeypatch.context() as patch:
        FailingCalls(patch, failing, ("fsync", "replace"))
        with pytest.raises(CheckpointError, match=r"file\.txt: cannot be written \(No space left on device\)"):
            atomic_write(tmp_path / "file.txt", b"new")
    assert (tmp_path / "file.txt").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_file_in_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be written"):
        atomic_write(tmp_path / "nowhere" / "file.txt", b"new")


def test_file_is_not_written_over_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match="cannot be written"):
        atomic_write(tmp_path / "folder", b"new")
    assert os.listdir(tmp_path) == ["folder"]


def test_folder_is_written_with_its_parents(tmp_path: Path) -> None:
    save(tmp_path / "a" / "b" / "model", NEW)
    assert contents(tmp_path / "a" / "b" / "model") == NEW
    assert os.listdir(tmp_path / "a" / "b") == ["model"]


def test_folder_is_replaced_and_foreign_files_stay(tmp_path: Path) -> None:
    save(tmp_path / "model", OLD)
    fill(tmp_path / "model", FOREIGN)
    save(tmp_path / "model", NEW)
    assert contents(tmp_path / "model") == NEW | FOREIGN  # what the old one owned is gone
    assert set(verify_manifest(tmp_path / "model")) == set(NEW)
    assert os.listdir(tmp_path) == ["model"]


def test_folder_stays_when_the_writer_raises(tmp_path: Path) -> None:
    save(tmp_path / "model", OLD)
    fill(tmp_path / "model", FOREIGN)
    with pytest.raises(ZeroDivisionError), atomic_directory(tmp_path / "model", owned=OWNED) as staged:  # noqa: PT012
        (staged / "config.json").write_bytes(b"half of a new one")
        raise ZeroDivisionError
    assert contents(tmp_path / "model") == OLD | FOREIGN
    assert os.listdir(tmp_path) == ["model"]


def test_nothing_is_there_when_the_first_writer_raises(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_directory(tmp_path / "model", owned=OWNED) as staged:  # noqa: PT012
        (staged / "config.json").write_bytes(b"half of a new one")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_full_disk_inside_the_block_is_told(tmp_path: Path) -> None:
    save(tmp_path / "model", OLD)
    with (
        pytest.raises(CheckpointError, match=r"model: cannot be written \(No space left on device\)"),
        atomic_directory(tmp_path / "model", owned=OWNED),
    ):
        raise OSError(28, "No space left on device")
    assert contents(tmp_path / "model") == OLD


@pytest.mark.parametrize("failing", range(1, 20))
def test_reader_sees_the_old_folder_or_the_new_one_whatever_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    model = tmp_path / "model"
    save(model, OLD)
    fill(model, FOREIGN)
    with monkeypatch.context() as patch:
        disk = FailingCalls(patch, failing, ("fsync", "replace", "rename"))
        try:
            save(model, NEW)
            raised = False
        except CheckpointError:
            raised = True
    assert raised == (disk.calls >= failing)
    assert seen(model) in (OLD, NEW)
    verify_manifest(model)
    finish_workspaces(tmp_path, target="model")
    assert contents(model) in (OLD | FOREIGN, NEW | FOREIGN)

    save(model, NEW)  # and the place is not spoilt for the next time
    assert contents(model) == NEW | FOREIGN
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("failing", [1, 2])
def test_old_folder_stays_as_it_was_when_it_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    model = tmp_path / "model"
    save(model, OLD)
    fill(model, FOREIGN)
    with monkeypatch.context() as patch:
        FailingCalls(patch, failing, ("rename",))  # the old one aside, the new one into its place
        with pytest.raises(CheckpointError, match="cannot be written"):
            save(model, NEW)
    assert os.listdir(tmp_path) == ["model"]
    assert contents(model) == OLD | FOREIGN


CRASHING = """
import os, sys
from pathlib import Path
from zh_lstm_lm.storage.atomic import atomic_directory

EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.scandir", "os.listdir", "os.link", "shutil.rmtree"}

def save(path, data):
    with atomic_directory(path, owned=frozenset({"config.json", "weights.bin"})) as staged:
        (staged / "config.json").write_bytes(data)
        (staged / "weights.bin").write_bytes(data * 1000)

def crash_at(number):
    seen = 0
    def hook(event, details):
        nonlocal seen
        if event in EVENTS:
            seen += 1
            if seen == number:
                os._exit(9)
    sys.addaudithook(hook)

number = 0
while True:
    number += 1
    place = Path(sys.argv[1]) / str(number)
    save(place / "model", b"old")
    (place / "model" / "notes.txt").write_bytes(b"mine")
    (place / "model" / "plots").mkdir()
    (place / "model" / "plots" / "a.svg").write_bytes(b"<svg/>")
    child = os.fork()
    if child == 0:
        crash_at(number)
        save(place / "model", b"new")
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(number)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the crashing processes are forked")
def test_folder_survives_a_crash_at_any_moment(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(zh_lstm_lm.__file__).parents[1])}
    run = subprocess.run(
        [sys.executable, "-c", CRASHING, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert run.returncode == 0, run.stderr
    moments = int(run.stdout)
    assert moments > 15
    foreign = {"notes.txt": b"mine", "plots/a.svg": b"<svg/>"}
    outcomes, between_two_renames = [], []
    for number in range(1, moments + 1):
        model = tmp_path / str(number) / "model"
        data = seen(model)["config.json"]
        assert seen(model) == {"config.json": data, "weights.bin": data * 1000}
        if model.is_dir():
            assert contents(model).items() >= foreign.items()
        else:
            between_two_renames.append(number)
        finish_workspaces(model.parent, target="model")
        verify_manifest(model)
        assert contents(model) == {"config.json": data, "weights.bin": data * 1000} | foreign
        outcomes.append(data)
    assert len(between_two_renames) == 1
    first_new = outcomes.index(b"new")
    assert outcomes == [b"old"] * first_new + [b"new"] * (moments - first_new)
    assert first_new > 5


def test_recovery_leaves_a_whole_folder_alone(tmp_path: Path) -> None:
    save(tmp_path / "model", OLD)
    fill(tmp_path / "model", FOREIGN)
    for target in ("model", "missing", None):
        finish_workspaces(tmp_path, target=target)
    assert contents(tmp_path / "model") == OLD | FOREIGN
    assert os.listdir(tmp_path) == ["model"]


def test_folder_is_not_written_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"a file of mine")
    with pytest.raises(CheckpointError, match="is a file, expected a folder"):
        save(tmp_path / "model", NEW)
    assert (tmp_path / "model").read_bytes() == b"a file of mine"
    assert os.listdir(tmp_path) == ["model"]


def test_folder_below_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a file of mine")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save(tmp_path / "file" / "model", NEW)


@posix_only
def test_link_is_not_written_through(tmp_path: Path) -> None:
    save(tmp_path / "disk" / "model", OLD)
    (tmp_path / "latest").symlink_to(tmp_path / "disk" / "model", target_is_directory=True)
    with pytest.raises(CheckpointError, match="latest: is a symbolic link"):
        save(tmp_path / "latest", NEW)
    with pytest.raises(CheckpointError, match="latest: is a symbolic link"):
        remove_directory(tmp_path / "latest", owned=OWNED)
    assert contents(tmp_path / "disk" / "model") == OLD
    assert os.listdir(tmp_path / "disk") == ["model"]
    (tmp_path / "file.txt").symlink_to(tmp_path / "disk" / "model" / "config.json")
    atomic_write(tmp_path / "file.txt", b"new")
    assert (tmp_path / "file.txt").read_bytes() == b"new"
    assert contents(tmp_path / "disk" / "model") == OLD


@posix_only
def test_a_folder_that_is_replaced_keeps_its_mode(tmp_path: Path) -> None:
    save(tmp_path / "model", OLD)
    (tmp_path / "model").chmod(0o710)
    save(tmp_path / "model", NEW)
    assert (tmp_path / "model").stat().st_mode & 0o7777 == 0o710


@posix_only
def test_working_directory_outlives_saving_into_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    fill(tmp_path / "here", FOREIGN)
    monkeypatch.chdir(tmp_path / "here")
    with contextlib.suppress(CheckpointError):  # it may also be refused
        save(Path("."), NEW)
    assert Path(os.getcwd()) == tmp_path / "here"
    assert contents(Path(".")) in (FOREIGN, NEW | FOREIGN)
    assert os.listdir(tmp_path) == ["here"]


def test_place_is_checked_before_long_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    save(tmp_path / "model", OLD)
    for free in (tmp_path / "new", tmp_path / "a" / "b", tmp_path / "model"):
        check_place(free)
    assert contents(tmp_path) == {"file": b"mine"} | {f"model/{name}": data for name, data in OLD.items()}
    for taken in (tmp_path / "file", tmp_path / "file" / "model"):
        with pytest.raises(CheckpointError, match="file"):
            check_place(taken)


def test_first_of_two_writers_stays_where_nothing_is_to_be_replaced(tmp_path: Path) -> None:
    """Two processes that fill the same place of a cache."""
    with atomic_directory(tmp_path / "cache", owned=OWNED, replace=False) as slow:
        with atomic_directory(tmp_path / "cache", owned=OWNED, replace=False) as fast:
            assert slow != fast
            fill(fast, OLD)
        fill(slow, NEW)
    assert contents(tmp_path / "cache") == OLD
    verify_manifest(tmp_path / "cache")
    assert os.listdir(tmp_path) == ["cache"]


def test_last_of_two_writers_wins_where_it_replaces(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "model", owned=OWNED) as slow:
        fill(slow, NEW)
        save(tmp_path / "model", OLD)
    assert contents(tmp_path / "model") == NEW
    assert os.listdir(tmp_path) == ["model"]


def test_clearing_the_cache_leaves_what_is_not_of_this_library(tmp_path: Path) -> None:
    own = {f"streams/{'a' * 32}/tokens.bin": b"1", f"dictionaries/jieba-1-{'b' * 32}/index.json": b"2"}
    own["scratch/zh-lstm-lm-ab_9xyz1"] = b"3"
    others = {
        "notes.txt": b"mine", "more/a": b"4", "streams/thesis.txt": b"5", "streams/abc/tokens.bin": b"6", "scratch/a": b"7",
        f"streams/{'c' * 32}/tokens.bin": b"8", f"streams/{'c' * 32}/thesis.txt": b"9", "dictionaries/x/index.json": b"0",
    }  # fmt: skip
    fill(tmp_path, own | others)
    if os.name != "nt":
        fill(tmp_path, {f"elsewhere/{'d' * 32}/tokens.bin": b"linked"})
        (tmp_path / "streams" / ("d" * 32)).symlink_to(tmp_path / "elsewhere" / ("d" * 32))
        others[f"elsewhere/{'d' * 32}/tokens.bin"] = b"linked"
    assert {file.relative_to(tmp_path).as_posix() for file in cached_files(tmp_path)} == own.keys()
    clear_cache(tmp_path)
    assert contents(tmp_path) == others
    clear_cache(tmp_path)
    clear_cache(tmp_path / "missing")


@posix_only
def test_a_cache_behind_a_link_is_not_cleared(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", {f"{'a' * 32}/tokens.bin": b"1"})
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "streams").symlink_to(tmp_path / "elsewhere")
    assert cached_files(tmp_path / "cache") == []
    clear_cache(tmp_path / "cache")
    assert contents(tmp_path / "elsewhere") == {f"{'a' * 32}/tokens.bin": b"1"}
    assert os.listdir(tmp_path / "cache") == ["streams"]


@posix_only
@pytest.mark.parametrize(("umask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)])
def test_modes_follow_the_umask(tmp_path: Path, umask: int, file_mode: int, folder_mode: int) -> None:
    before = os.umask(umask)
    try:
        atomic_write(tmp_path / "file.txt", b"x")
        save(tmp_path / "model", NEW)
    finally:
        os.umask(before)
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == file_mode
    assert (tmp_path / "model").stat().st_mode & 0o777 == folder_mode
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "model").iterdir()} == {file_mode}


def test_removed_folder_is_gone(tmp_path: Path) -> None:
    save(tmp_path / "model", OLD)
    remove_directory(tmp_path / "model", owned=OWNED)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("foreign", [{"notes.txt": b"mine"}, {"old.bin/notes.txt": b"mine"}, {"empty/x": b""}])
def test_a_folder_with_a_users_files_is_not_removed(tmp_path: Path, foreign: dict[str, bytes]) -> None:
    save(tmp_path / "model", NEW)
    fill(tmp_path / "model", foreign)
    with pytest.raises(CheckpointError, match="which is not of this library; it stays"):
        remove_directory(tmp_path / "model", owned=OWNED)
    assert contents(tmp_path / "model") == NEW | foreign
    assert os.listdir(tmp_path) == ["model"]


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    ),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), children, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None, derandomize=True, database=None, max_examples=60)
@given(value=JSON)
def test_json_round_trips(value: Any) -> None:
    with TemporaryDirectory() as folder:
        write_json(Path(folder) / "value.json", value)
        assert read_json(Path(folder) / "value.json") == value


def test_json_shows_chinese_as_it_is_written() -> None:
    assert "展昭".encode() in to_json({"name": "展昭"})


@pytest.mark.parametrize("value", [math.nan, math.inf, [-math.inf], {"loss": math.nan}])
def test_json_that_is_none_is_not_written(tmp_path: Path, value: Any) -> None:
    write_json(tmp_path / "value.json", "old")
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == "old"


@pytest.mark.parametrize(
    "data",
    [
        b"NaN",
        b'{"loss": NaN}',
        b"[Infinity]",
        b"-Infinity",
        b'{"a": 1, "a": 2}',
        b'{"x": [{"a": 1, "b": 2, "a": 1}]}',
        b"[" * 200_000 + b"]" * 200_000,
        b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
        '{"a": "风雪"}'.encode("gb18030"),
        b"\xef\xbb\xbf{}",
        b"",
        b'{"a": 1',
        b'{"a": 1}}',
        b"{'a': 1}",
        b"1" * 5000,
    ],
    ids=lambda data: data[:12].decode("ascii", "replace") + ("…" if len(data) > 12 else ""),
)
def test_json_is_read_strictly(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "value.json").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"value\.json: not valid JSON"):
        read_json(tmp_path / "value.json")


def test_size_of_what_is_read_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "value.json").write_bytes(b'"' + b"x" * 98 + b'"')
    assert read_json(tmp_path / "value.json", max_bytes=100) == "x" * 98
    assert len(read_bytes(tmp_path / "value.json", max_bytes=100)) == 100
    with pytest.raises(CheckpointError, match="100 bytes, more than the 99"):
        read_json(tmp_path / "value.json", max_bytes=99)
    with pytest.raises(CheckpointError, match="100 bytes, more than the 99"):
        read_bytes(tmp_path / "value.json", max_bytes=99)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("folder", "missing"):
        with pytest.raises(CheckpointError, match=f"{name}: no such file"):
            read_bytes(tmp_path / name)
    with pytest.raises(CheckpointError, match="missing: no such file"):
        read_json(tmp_path / "missing")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_named_pipe_does_not_block_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    outer = signal.signal(signal.SIGALRM, lambda signum, frame: pytest.fail("the reader waits for the pipe"))
    signal.alarm(10)
    try:
        with pytest.raises(CheckpointError, match="no such file"):
            read_bytes(tmp_path / "pipe")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, outer)


@posix_only
def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (tmp_path / "model").mkdir()
    for number, target in enumerate([tmp_path / "secret.txt", Path("../secret.txt")]):
        link = tmp_path / "model" / f"link{number}"
        link.symlink_to(target)
        with pytest.raises(CheckpointError, match="symbolic link out of its folder"):
            read_bytes(link)
        with pytest.raises(CheckpointError, match="symbolic link out of its folder"):
            read_json(link)


@posix_only
def test_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    (tmp_path / "link").symlink_to("model.bin")
    assert read_bytes(tmp_path / "link") == b"weights"


@posix_only
def test_link_to_itself_is_an_error_of_the_library(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(CheckpointError, match="link"):
        read_bytes(tmp_path / "link")


@settings(deadline=None, derandomize=True, database=None, max_examples=40)
@given(
    name=st.sampled_from(sorted(NEW)),
    place=st.integers(0, 10_000),
    bit=st.integers(0, 7),
    lost=st.integers(0, 10_000),
    flips=st.booleans(),
)
def test_manifest_catches_every_flipped_bit_and_every_truncation(
    name: str, place: int, bit: int, lost: int, flips: bool
) -> None:
    with TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        save(model, NEW)
        verify_manifest(model)
        data = bytearray(NEW[name])
        if flips:
            data[place % len(data)] ^= 1 << bit
        else:
            del data[-(1 + lost % len(data)) :]
        (model / name).write_bytes(data)
        with pytest.raises(CheckpointError, match=rf"{name}: truncated or changed"):
            verify_manifest(model)


def test_manifest_tells_sizes_and_sums(tmp_path: Path) -> None:
    save(tmp_path / "model", NEW)
    expected = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in NEW.items()}
    assert verify_manifest(tmp_path / "model") == expected
    assert json.loads((tmp_path / "model" / MANIFEST).read_bytes()) == expected


def test_files_of_the_users_own_do_not_disturb_the_manifest(tmp_path: Path) -> None:
    save(tmp_path / "model", NEW)
    fill(tmp_path / "model", FOREIGN)
    assert set(verify_manifest(tmp_path / "model")) == set(NEW)


def test_missing_file_is_noticed(tmp_path: Path) -> None:
    save(tmp_path / "model", NEW)
    (tmp_path / "model" / "weights.bin").unlink()
    with pytest.raises(CheckpointError, match=r"weights\.bin"):
        verify_manifest(tmp_path / "model")


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b"3",
        b'{"weights.bin": 3}',
        b'{"../secret.txt": {"bytes": 6, "sha256": "x"}}',
        b'{"..": {"bytes": 6, "sha256": "x"}}',
        b'{"weights.bin": {}}',
        b'{"weights.bin": {"bytes": 6000}}',
    ],
)
def test_foreign_manifest_is_refused(tmp_path: Path, manifest: bytes) -> None:
    (tmp_path / "secret.txt").write_bytes(b"secret")
    save(tmp_path / "model", NEW)
    (tmp_path / "model" / MANIFEST).write_bytes(manifest)
    with pytest.raises(CheckpointError):
        verify_manifest(tmp_path / "model")


def test_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "model", NEW)
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        verify_manifest(tmp_path / "model")


def test_digest_is_sha256(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000  # more than two chunks of a megabyte
    (tmp_path / "file").write_bytes(data)
    assert digest(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZH_LSTM_LM_CACHE", str(tmp_path / "own"))
    assert user_cache_dir() == tmp_path / "own"
    monkeypatch.delenv("ZH_LSTM_LM_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert user_cache_dir() == tmp_path / "xdg" / "zh-lstm-lm"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert user_cache_dir() == tmp_path / ".cache" / "zh-lstm-lm"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert user_cache_dir() == tmp_path / "Library" / "Caches" / "zh-lstm-lm"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert user_cache_dir() == tmp_path / "local" / "zh-lstm-lm"
    assert not (tmp_path / "own").exists()  # naming a folder does not make it


def test_windows_has_no_flush_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("os.name", "nt")
        patch.setattr("os.open", lambda *given: pytest.fail("opened"))
        flush_folder(tmp_path)


def test_a_path_is_no_name_of_a_file_even_where_its_sum_is_right(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_bytes(b"secret")
    save(tmp_path / "model", NEW)
    entry = {"bytes": 6, "sha256": hashlib.sha256(b"secret").hexdigest()}
    (tmp_path / "model" / MANIFEST).write_text(json.dumps({"../secret.txt": entry}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="not a plain file name"):
        verify_manifest(tmp_path / "model")
