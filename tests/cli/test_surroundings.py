"""Full disks, removed folders, pipes and signals: a clear outcome of every command, and nothing half done."""

import contextlib
import errno
import io
import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from zh_lstm_lm import LSTMLanguageModel, NGramLanguageModel, TokenStream, Vocabulary, from_pretrained
from zh_lstm_lm.cli import train as train_command
from zh_lstm_lm.cli.main import main
from zh_lstm_lm.evaluation import evaluate as evaluation
from zh_lstm_lm.evaluation import parts
from zh_lstm_lm.training.updater import Updater

if sys.platform == "win32":
    pytest.skip("limits of files, pipes and signals are those of POSIX systems", allow_module_level=True)

SIZES = ["--tokenizer", "characters", "--embedding-dim", "4", "--hidden-size", "4"]
STUDY = ["--budget", "1", "--equality", "updates", "--seeds", "0", "1", "--shares", "0.5", "1", *SIZES]
NOVEL = "novels/0.txt"


@pytest.fixture(scope="module", autouse=True)
def inputs(folder: Path) -> None:
    """A text, pairs and a study in the folder."""
    folder.joinpath("text.txt").write_text("展昭道：好大的雪！\n白玉堂笑道。\n", encoding="utf-8")
    folder.joinpath("pairs.tsv").write_text("good\tbad\n好大的雪\t雪的大好\n", encoding="utf-8")


def piped(data: bytes) -> str:
    """The path of a pipe that holds some bytes."""
    reads, writes = os.pipe()
    os.write(writes, data)
    os.close(writes)
    return f"/dev/fd/{reads}"


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Every file is as on a full disk beyond some bytes."""
    import resource  # Windows has none

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def messages(place: Any) -> list[str]:
    """The lines on standard error; a cached corpus is not segmented again."""
    return [line for line in place.err.splitlines() if "segmenting with characters" not in line]


def test_every_corpus_can_be_a_pipe_or_standard_input(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in (
        ["evaluate", "model", NOVEL],
        ["evaluate", "model", "model", NOVEL],
        ["novelty", "text.txt", NOVEL, "--tokenizer", "characters"],
        ["generate", "model", "--prompt", "展昭", "--like", NOVEL, "--max-new-tokens", "20"],
        ["generate", "model", "--prompt", "展昭", "--novelty", NOVEL, "--max-new-tokens", "20"],
    ):
        expected = place.run(*command), messages(place)
        for name in ("-", None):
            data = Path(NOVEL).read_bytes()
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data if name else b"")))
            shown = place.run(*((name or piped(data)) if word == NOVEL else word for word in command))
            assert (shown, messages(place)) == expected


def test_standard_input_is_read_once(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def give() -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(NOVEL).read_bytes())))

    give()
    assert place.run("evaluate", "model", "-", "-") == place.run("evaluate", "model", NOVEL)
    give()
    place.run("train", "-", "--valid-file", "-", "--output", "x", status=2)
    assert "error: standard input: --valid-file is among the training files" in place.err


def test_a_full_disk_behind_the_copy_of_a_pipe(place: Any) -> None:
    with files_of_at_most(10):
        place.run("evaluate", "model", piped(b"0123456789" * 9), status=2)
    assert "cannot be copied into a temporary file (File too large); free some space, or set TMPDIR" in place.err
    assert place.err.startswith("zh-lstm-lm: error: /dev/fd/")
    assert len(place.err.splitlines()) == 1


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
@pytest.mark.parametrize("command", [["evaluate", "model"], ["inspect"], ["generate", "model", "--like"]])
def test_devices_are_no_corpora(command: list[str], device: str, place: Any) -> None:
    place.run(*command, device, status=2)
    assert f"error: {device}: is neither a file nor a folder; copy what it holds into a file" in place.err


def test_links_that_lead_to_themselves_are_named(place: Any) -> None:
    Path("texts").mkdir()
    os.symlink("loop.txt", "texts/loop.txt")
    for name in ("texts", "texts/*", "texts/loop.txt"):
        place.run("train", NOVEL, name, "--output", "x", status=2)
        assert "error: texts/loop.txt: " in place.err


def test_a_folder_that_is_no_run_is_told_of_by_any_name(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    place.run("report", "/", "--output", "x.html", status=2)
    assert "/: not the folder of a run or of a study" in place.err
    Path("inside").mkdir()
    Path("inside.run").mkdir()
    monkeypatch.chdir("inside")
    place.run("report", ".", "--output", "x.html", status=2)
    assert f"its run is in {place.folder / 'inside.run'}" in place.err


def test_a_folder_that_holds_others_is_not_replaced(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place.folder / "novels"))
    for name, held in {"novels": "home folder", ".": "working directory", "..": "working directory"}.items():
        place.run("train", NOVEL, "--output", name, "--steps", "1", *SIZES, status=2)
        assert place.err.startswith(f"zh-lstm-lm: error: {name}: holds the {held} and cannot be replaced; save into")


WRITERS = {
    "train": (["train", NOVEL, "--output", "out", "--steps", "2", *SIZES], "out.run"),
    "score": (["score", "model", "展昭", "--html", "old"], "old"),
    "pairs": (["pairs", "model", "pairs.tsv", "--html", "old"], "old"),
    "generate": (["generate", "model", "--output", "old", "--max-new-tokens", "90"], "old"),
    "samples": (["generate", "model", "--output", "old", "--num-samples", "3"], "old"),
    "export": (["export", "model", "--format", "html", "--output", "old", "--overwrite", "--text", "text.txt"], "old"),
    "study": (["study", "epochs", NOVEL, "--output", "a-study", *STUDY], "a-study"),
    "demo": (["demo", "--output", "a-demo"], "a-demo/novel.txt"),
}


@pytest.mark.parametrize("command", WRITERS)
def test_a_full_disk_is_told_and_what_was_there_stays(command: str, place: Any) -> None:
    words, name = WRITERS[command]
    Path("old").write_text("an old text", encoding="utf-8")
    before = {path.name for path in Path().iterdir()}
    with files_of_at_most(100):
        place.run(*words, status=2)
    assert f"error: {name}" in place.err or f"error: {Path(name).resolve()}" in place.err
    assert "cannot be written (File too large)" in place.err
    assert Path("old").read_text(encoding="utf-8") == "an old text"
    assert {path.name for path in Path().iterdir()} - before <= {"out", "out.run", "a-study", "a-demo", "old.part", "old.part.state"}  # fmt: skip
    assert not [*Path().rglob(".zh-lstm-lm-*")]


@pytest.mark.parametrize(
    "command",
    [
        ["train", "novels", "--output", "x"],
        ["evaluate", "model", "novels"],
        ["score", "model", "展昭", "--html", "page.html"],
        ["rescore", "model", "text.txt"],
        ["suggest", "model", "展昭"],
        ["novelty", "text.txt", "novels"],
        ["pairs", "model", "pairs.tsv"],
        ["generate", "model", "--output", "text.txt"],
        ["study", "epochs", "--output", "x"],
        ["report", "model.run", "--output", "page.html"],
        ["export", "model", "--format", "html", "--output", "page.html"],
        ["serve", "model", "--port", "0"],
        ["info", "model"],
        ["inspect", "novels"],
        ["demo"],
    ],
    ids=lambda command: command[0],
)
def test_a_working_directory_that_was_removed(command: list[str], place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if command[0] == "serve":
        pytest.importorskip("starlette", reason="starlette is not installed (extra 'serve')")
    gone = place.folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert place.run(*command, status=2) == ""
    assert len(place.err.splitlines()) == 1, place.err


TRAIN = ["train", NOVEL, "--output", "stopped", "--steps", "4", "--eval-steps", "2", *SIZES]
STAGES: dict[str, tuple[Any, str, int]] = {
    "reading": (TokenStream, "from_files", 1),
    "the vocabulary": (Vocabulary, "from_stream", 1),
    "the n-grams": (NGramLanguageModel, "from_stream", 1),
    "an update": (Updater, "update", 3),
    "saving the model": (parts, "mix_models", 1),
    "fitting the weights": (parts, "mix_models", 2),
    "the final test": (evaluation, "evaluate", 2),
    "the last measurement": (train_command, "_novelty", 1),
}


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The weights of a run that nothing stops."""
    output = tmp_path_factory.mktemp("whole") / "model"
    words = [str(folder / NOVEL) if word == NOVEL else str(output) if word == "stopped" else word for word in TRAIN]
    assert main(words) == 0
    return LSTMLanguageModel.from_pretrained(output).state_dict()


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_at_every_stage_of_a_run(
    stage: str, whole: dict[str, Any], place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stopped", "stopped.run"):
        shutil.rmtree(name, ignore_errors=True)
    owner, name, number = STAGES[stage]
    function, calls = getattr(owner, name), itertools.count(1)

    def interrupt(*arguments: Any, **options: Any) -> Any:
        if next(calls) == number:
            signal.raise_signal(signal.SIGINT)
        return function(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupt)
        place.run(*TRAIN, status=130)
    assert "interrupted" in place.err
    assert next(calls) > number
    if Path("stopped").exists():
        from_pretrained("stopped")
    place.run(*TRAIN, *(["--resume"] if Path("stopped.run").exists() else []))
    resumed = place.model("stopped").state_dict()
    assert all(torch.equal(weights, resumed[name]) for name, weights in whole.items())
    assert not [*Path().rglob(".zh-lstm-lm-*")]


# The signal comes while a page is written, and while standard input is copied.
STOPPED = {
    "os.replace": ["score", "model", "展昭", "--html", "old"],
    "shutil.copyfileobj": ["evaluate", "model", "-"],
}


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_and_leaves_no_temporary_files(signum: int, place: Any) -> None:
    Path("old").write_text("an old text", encoding="utf-8")
    Path("temporary").mkdir(exist_ok=True)
    before = sorted(place.folder.rglob("*"))
    code = f"""
import os, shutil, signal, sys
import torch
from zh_lstm_lm.cli.main import main
# Where the tests were started with nohup it is ignored.
signal.signal({int(signum)}, signal.SIG_DFL)
def stop(*arguments):
    signal.raise_signal({int(signum)})
for owner, name, *words in {[[*call.rsplit(".", 1), *words] for call, words in STOPPED.items()]!r}:
    if os.fork() == 0:
        setattr(eval(owner), name, stop)
        sys.argv = ["zh-lstm-lm", *words]
        sys.exit(main())
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(place.folder / "temporary"), "OMP_NUM_THREADS": "1"},
        input="展昭道",
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert [line for line in done.stdout.splitlines() if line.startswith("-")] == [f"-{int(signum)}"] * 2, done.stderr
    assert "Traceback" not in done.stderr
    assert Path("old").read_text(encoding="utf-8") == "an old text"
    assert sorted(place.folder.rglob("*")) == before


def test_an_export_with_nothing_to_score_writes_no_page(place: Any) -> None:
    Path("empty.txt").write_text("", encoding="utf-8")
    place.run("export", "model", "--format", "html", "--output", "page.html", "--text", "empty.txt", status=2)
    assert "there is nothing to score: the text is empty" in place.err
    assert not Path("page.html").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["train", NOVEL, "--output", "-"],
        ["train", NOVEL, "--output", "x", "--run-dir", "-"],
        ["generate", "model", "--output", "-"],
        ["score", "model", "展昭", "--html", "-"],
        ["pairs", "model", "pairs.tsv", "--html", "-"],
        ["pairs", "model", "pairs.tsv", "--output", "-"],
        ["export", "model", "--format", "html", "--output", "-"],
        ["study", "epochs", NOVEL, "--output", "-"],
        ["report", "model.run", "--output", "-"],
        ["demo", "--output", "-"],
    ],
    ids=lambda command: " ".join(command[:1] + command[-2:]),
)
def test_a_hyphen_is_no_file_to_write_to(command: list[str], place: Any) -> None:
    place.run(*command, status=2)
    assert "must be a path, got '-'; /dev/stdout is standard output, ./- a file of this name" in place.err
    assert not Path("-").exists()


def test_a_disk_that_cannot_read_a_corpus_is_told(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("zh_lstm_lm.text.files.TextFile.open", lambda file: Broken())
    for command in (["train", NOVEL, "--output", "x"], ["evaluate", "model", NOVEL], ["inspect", NOVEL]):
        shown = place.run(*command, status=2)
        assert "cannot be read (Input/output error)" in shown + place.err
