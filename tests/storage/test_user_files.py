"""Files that a user named are written whole or not at all, by every command that writes one."""

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from zh_lstm_lm import DataError, History, LSTMLanguageModel, Sampler, TokenStream, Trainer, TrainerConfig
from zh_lstm_lm.cli.main import main
from zh_lstm_lm.generation import resumable_file
from zh_lstm_lm.report.document import write_report
from zh_lstm_lm.storage.user_files import write_file

posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has neither modes nor this kind of link")
Write = Callable[[Path], object]


@pytest.fixture(
    params=[
        "write_file",
        "History.save",
        "report",
        "score --html",
        "pairs --html",
        "generate --output",
        "novelty",
        "save",
    ]
)
def write(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    model: LSTMLanguageModel,
    stream: TokenStream,
    texts: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Write:
    """One of the ways in which a user's file is written."""
    place = tmp_path_factory.mktemp("model")
    model.save_pretrained(place / "m")
    pairs = place / "pairs.tsv"
    pairs.write_text("good\tbad\n展昭道\t展道昭\n", encoding="utf-8")

    def command(*words: str) -> None:
        if main(list(words)):
            raise DataError("the command failed")

    if request.param == "report":
        Trainer(model, stream, None, TrainerConfig(max_steps=2, run_dir=place / "run"), progress=False).fit()

    def report(path: Path) -> None:
        write_report(place / "run", path, overwrite=True)

    def generate(path: Path) -> None:
        command("generate", str(place / "m"), "--max-new-tokens", "5", "--output", str(path))

    def novelty(path: Path) -> None:
        (place / "corpus.txt").write_text(texts[0], encoding="utf-8")
        name = path.name.removesuffix(".novelty.txt")
        command(
            *("generate", str(place / "m"), "--max-new-tokens", "5", "--output", str(path.with_name(name))),
            *("--novelty", str(place / "corpus.txt"), "--cache-dir", str(place)),
        )
        path.with_name(name).unlink()

    def save(path: Path) -> None:
        lines = iter(["+展昭", f"save {path}"])

        def typed(prompt: str) -> str:
            try:
                return next(lines)
            except StopIteration:
                raise EOFError from None

        monkeypatch.setattr("builtins.input", typed)
        command("generate", str(place / "m"), "--interactive", "--max-new-tokens", "2")

    ways: dict[str, Write] = {
        "write_file": lambda path: write_file(path, b"new"),
        "History.save": lambda path: History([{"step": 1}]).save(path),
        "score --html": lambda path: command("score", str(place / "m"), "展昭", "--html", str(path)),
        "report": report,
        "pairs --html": lambda path: command("pairs", str(place / "m"), str(pairs), "--html", str(path)),
        "generate --output": generate,
        "novelty": novelty,
        "save": save,
    }
    return ways[request.param]


NAME = "novel.txt.novelty.txt"
# The calls of the library replace a file, as Python's own do, and so does a page that is to be overwritten.
REPLACING = ("write_file", "History.save", "report")


def test_a_file_is_replaced_and_nothing_of_the_library_is_left_beside_it(
    tmp_path: Path, write: Write, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / NAME
    path.write_text("an older text")
    write(path)
    assert path.read_text(encoding="utf-8") not in ("an older text", "")
    beside = set(os.listdir(tmp_path)) - {NAME}
    if request.node.callspec.params["write"] not in REPLACING:
        # A file that a command replaces can be somebody's work, so it is kept.
        assert beside == {f"{NAME}.~1~"}
        assert (tmp_path / f"{NAME}.~1~").read_text() == "an older text"
        assert f"the earlier file is kept as {NAME}.~1~" in caplog.text
    else:
        assert not beside


def test_a_full_disk_leaves_the_file_that_was_there(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / NAME
    path.write_text("an older text")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        try:
            write(path)
        except (DataError, FileNotFoundError) as error:
            told = f"{error} {capsys.readouterr().err}"
        else:  # which tells of it and goes on
            told = capsys.readouterr().out
    assert "No space left on device" in told
    assert path.read_text() == "an older text"
    assert os.listdir(tmp_path) == [NAME]


@posix_only
def test_a_link_stays_and_what_it_leads_to_keeps_its_mode(tmp_path: Path, write: Write) -> None:
    (tmp_path / "texts").mkdir()
    target = tmp_path / "texts" / "target.txt"
    target.write_text("an older text")
    target.chmod(0o640)
    (tmp_path / NAME).symlink_to("texts/target.txt")
    write(tmp_path / NAME)
    assert os.readlink(tmp_path / NAME) == "texts/target.txt"
    assert target.read_text(encoding="utf-8") != "an older text"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert {file.name for file in (tmp_path / "texts").iterdir()} <= {"target.txt", "target.txt.~1~"}


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("options", [(), ("--num-samples", "2"), ("--best-of", "2")])
def test_no_text_of_a_writer_is_lost_however_often_texts_are_written(
    model: LSTMLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], links: bool
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(1, "Operation not permitted")

    model.save_pretrained(tmp_path / "m")
    (tmp_path / "texts").mkdir()
    path = tmp_path / "texts" / "novel.txt"
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    path.write_text("a novel of my own")
    command = ["generate", str(tmp_path / "m"), "--max-new-tokens", "9", "--output", str(path), *options]
    written = ["a novel of my own"]
    for seed in (1, 1, 2, 2):
        assert main([*command, "--seed", str(seed)]) == 0
        written.append(path.read_text(encoding="utf-8"))
    assert written[1] == written[2] != written[3] == written[4]
    kept = [file.read_text(encoding="utf-8") for file in sorted(path.parent.iterdir()) if file != path]
    # The same text written again is not kept twice.
    assert kept == [written[0], written[1]]


def test_a_text_that_is_continued_is_not_kept_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "novel.txt"
    for text in ("", "展昭", "展昭道", "展昭道：好", "另一篇"):
        write_file(path, text.encode(), keep=True)
    assert {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()} == {
        "novel.txt": "另一篇",
        "novel.txt.~1~": "展昭道：好",
    }


@posix_only
def test_a_pipe_is_written_through(tmp_path: Path, write: Write, request: pytest.FixtureRequest) -> None:
    if request.node.callspec.params["write"] == "novelty":
        pytest.skip("its text has to be read again")
    os.mkfifo(tmp_path / NAME)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / NAME).read_bytes()))
    reader.start()
    write(tmp_path / NAME)
    reader.join(30)
    assert got
    assert got[0]
    assert stat.S_ISFIFO((tmp_path / NAME).stat().st_mode)
    assert os.listdir(tmp_path) == [NAME]


@posix_only
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_device_is_told_of(model: LSTMLanguageModel) -> None:
    for write in (lambda path: write_file(path, b"new"), lambda path: Sampler(model).write(path, max_new_tokens=3)):
        with pytest.raises(DataError, match=r"/dev/full: cannot be written \(No space left on device\)"):
            write(Path("/dev/full"))
        assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@posix_only
def test_standard_output_is_no_file_to_replace(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with (tmp_path / "out.txt").open("w") as file:
        before = os.dup(1)
        os.dup2(file.fileno(), 1)
        try:
            os.write(1, b"a table\n")
            write_file("/dev/stdout", b"a page\n")
            os.write(1, b"more\n")
        finally:
            os.dup2(before, 1)
            os.close(before)
    assert "a table\n" in (tmp_path / "out.txt").read_text()
    assert "more\n" in (tmp_path / "out.txt").read_text()
    assert os.listdir(tmp_path) == ["out.txt"]


@pytest.mark.parametrize("name", ["", "folder", "missing/file.txt", "a\0b", "x" * 300])
def test_what_is_no_file_is_told_of(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        write_file(tmp_path / name, b"new")
    assert os.listdir(tmp_path) == ["folder"]


def test_the_longest_name_that_a_file_may_have_is_written(tmp_path: Path) -> None:
    write_file(tmp_path / ("x" * 255), b"new")
    assert (tmp_path / ("x" * 255)).read_bytes() == b"new"


@posix_only
def test_a_file_that_may_not_be_written_to_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file.txt").write_text("old")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as for a user who is not root
    with pytest.raises(DataError, match="may not be written to"):
        write_file(tmp_path / "file.txt", b"new")
    assert (tmp_path / "file.txt").read_text() == "old"


# ---- the text that grows


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["a.txt.part", "a.txt.part.state", "a.txt.lock"])
def test_a_users_own_file_beside_a_text_is_left_alone(
    tmp_path: Path, model: LSTMLanguageModel, name: str, resume: bool
) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        Sampler(model).write(tmp_path / "a.txt", max_new_tokens=5, resume=resume)
    assert (tmp_path / name).read_text() == "mine"
    assert os.listdir(tmp_path) == [name]


@posix_only
@pytest.mark.parametrize("link", [os.symlink, os.link])
@pytest.mark.parametrize("name", ["a.txt.part", "a.txt.part.state", "a.txt.lock"])
def test_links_beside_a_text_are_not_followed(
    tmp_path: Path,
    model: LSTMLanguageModel,
    name: str,
    link: Callable[[Path, Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resumable_file, "WORDS_BETWEEN_STATES", 2)
    path, victim = tmp_path / "a.txt", tmp_path / "victim.txt"

    def stop(characters: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # a state that is whole, for the text to be taken for the library's own
        Sampler(model).write(path, max_new_tokens=9, progress=stop)
    victim.write_text("mine")
    (tmp_path / name).unlink(missing_ok=True)
    link(victim, tmp_path / name)
    for resume in (True, False):
        with pytest.raises(DataError):
            Sampler(model).write(path, max_new_tokens=9, resume=resume)
    assert victim.read_text() == "mine"
    assert not path.exists()


def test_the_folder_is_flushed_after_the_last_rename(
    tmp_path: Path, model: LSTMLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.name == "nt":
        pytest.skip("Windows has no flush of a folder")
    calls: list[str] = []
    replace, fsync = os.replace, os.fsync

    def replaced(source: Path, target: Path) -> None:
        replace(source, target)
        calls.append(f"replace {Path(target).name}")

    def flushed(descriptor: int) -> None:
        fsync(descriptor)
        calls.append("flush folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "flush file")

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(os, "fsync", flushed)
    Sampler(model).write(tmp_path / "a.txt", max_new_tokens=5)
    assert calls[-3:] == ["flush file", "replace a.txt", "flush folder"]
