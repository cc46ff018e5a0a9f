"""Segmentation in several processes: the same tokens in the same order, whatever the script looks like."""

import contextlib
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import zh_lstm_lm
from zh_lstm_lm import TokenStream
from zh_lstm_lm.errors import ConfigError, DataError
from zh_lstm_lm.runtime.threads import available_cores
from zh_lstm_lm.tokenizers import workers as workers_module
from zh_lstm_lm.tokenizers.base import LosslessTokenizer
from zh_lstm_lm.tokenizers.plain_tokenizers import CharacterTokenizer
from zh_lstm_lm.tokenizers.registry import get_tokenizer
from zh_lstm_lm.tokenizers.workers import number_chunks, tokenize_paragraphs

CHUNKS = [
    "雪\n夜",
    "",
    "\n",
    "\n\n展昭\n",
    "𠮷野家🐑\r\x00\x85\u2028",
    *(f"第{n}回\n" + "雪" * n for n in range(40)),
    "字" * 90_000,
]


def by_hand(text: str) -> list[str]:
    """The characters of a text; a newline is one of them."""
    return list(text)


def tokens_of(tokenizer: LosslessTokenizer, chunks: Iterable[str], *, workers: int) -> Iterator[list[str]]:
    """Yields the tokens of each chunk, by way of their numbers."""
    lexicon: dict[str, int] = {}
    for numbers in number_chunks(tokenizer, chunks, lexicon, workers=workers):
        words = list(lexicon)
        yield [words[number] for number in numbers]


def write_novels(folder: Path) -> None:
    """Two novels, the first of several chunks."""
    paragraphs = [
        "展昭道：“好大的雪！”\n",
        "白玉堂笑道：“雪大，酒才好喝。”\n",
        "二人推门进了酒店，店小二忙迎上来。\n",
        "　　夜里三更，展昭换了夜行衣，出了店门。\n",
    ]
    (folder / "a.txt").write_text("".join(f"第{n}回\n{paragraphs[n % 4]}" for n in range(4_000)), encoding="utf-8")
    (folder / "b.txt").write_text("只见房上一条黑影，如飞而去。\n" * 9, encoding="utf-8")


def run_script(source: str, folder: Path, *, from_stdin: bool) -> str:
    """Runs a script of a user's, as a file or typed in, in an interpreter of its own; returns what it printed."""
    script = folder / "script.py"
    script.write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-" if from_stdin else str(script)],
        input=source if from_stdin else "",
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(Path(zh_lstm_lm.__file__).parents[1]), "PYTHONUTF8": "1"},
        cwd=folder,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_paragraph_ends_are_tokens_between_paragraphs() -> None:
    tokenizer = get_tokenizer("characters")

    assert tokenize_paragraphs(tokenizer, "一二\n\n三") == ["一", "二", "\n", "\n", "三"]
    assert tokenize_paragraphs(tokenizer, "") == []
    assert tokenize_paragraphs(tokenizer, "\n") == ["\n"]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_tokens_come_back_in_order_from_any_number_of_workers(workers: int) -> None:
    tokenizer = get_tokenizer("characters")

    assert list(tokens_of(tokenizer, iter(CHUNKS), workers=workers)) == [by_hand(chunk) for chunk in CHUNKS]


def test_no_chunks_give_no_tokens() -> None:
    assert list(tokens_of(get_tokenizer("characters"), [], workers=2)) == []


def test_several_workers_give_the_same_stream_as_one(tmp_path: Path) -> None:
    write_novels(tmp_path)
    alone = TokenStream.from_files(str(tmp_path / "*.txt"), workers=1, cache_dir=tmp_path / "one")
    together = TokenStream.from_files(str(tmp_path / "*.txt"), workers=2, cache_dir=tmp_path / "two")

    assert alone.num_characters > 1 << 16
    assert together.lexicon == alone.lexicon
    assert together.documents == alone.documents
    assert list(together) == list(alone)
    assert any(len(token) > 1 for token in alone.lexicon)


@pytest.mark.parametrize("hmm", [True, False])
def test_options_reach_the_workers(hmm: bool) -> None:
    (tokens,) = tokens_of(get_tokenizer("jieba", hmm=hmm), ["李小福是创新办主任"], workers=2)

    assert "".join(tokens) == "李小福是创新办主任"
    assert ("李小福" in tokens) == hmm


@pytest.mark.parametrize("from_stdin", [False, True], ids=["file", "stdin"])
def test_a_script_needs_no_main_guard(tmp_path: Path, from_stdin: bool) -> None:
    write_novels(tmp_path)
    script = (
        "from zh_lstm_lm import TokenStream\n"
        "print('once')\n"
        "stream = TokenStream.from_files(['a.txt', 'b.txt'], tokenizer='characters', workers=3, cache_dir='cache')\n"
        "print(stream.num_tokens)\n"
    )
    expected = sum(len((tmp_path / name).read_text(encoding="utf-8").replace("　", "")) for name in ("a.txt", "b.txt"))

    assert run_script(script, tmp_path, from_stdin=from_stdin) == f"once\n{expected}\n"


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_tokens_are_the_same_in_a_process_of_every_start_method(tmp_path: Path, method: str) -> None:
    write_novels(tmp_path)
    script = (
        "import multiprocessing\n"
        "from zh_lstm_lm import TokenStream\n"
        "def read():\n"
        "    stream = TokenStream.from_files('a.txt', tokenizer='characters', workers=2, cache_dir='cache')\n"
        "    print(''.join(stream), end='')\n"
        "if __name__ == '__main__':\n"
        f"    process = multiprocessing.get_context({method!r}).Process(target=read)\n"
        "    process.start()\n"
        "    process.join()\n"
    )
    alone = TokenStream.from_files(tmp_path / "a.txt", tokenizer="characters", workers=1, cache_dir=tmp_path / "one")

    assert run_script(script, tmp_path, from_stdin=False) == "".join(alone)


def test_workers_import_nothing_from_the_folder_they_start_in(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "json.py").write_text("raise SystemExit('not the json of Python')", encoding="utf-8")
    script = (
        "import os\n"
        "from zh_lstm_lm.tokenizers.registry import get_tokenizer\n"
        "from zh_lstm_lm.tokenizers.workers import number_chunks\n"
        f"os.chdir({str(here)!r})\n"
        "words = {}\n"
        "print(*map(list, number_chunks(get_tokenizer('characters'), ['好雪', '雪夜'], words, workers=2)), *words)\n"
    )

    assert run_script(script, tmp_path, from_stdin=False) == "[0, 1] [1, 2] 好 雪 夜\n"


def test_an_object_of_the_user_s_works_in_this_process_with_any_number_of_workers(tmp_path: Path) -> None:
    class Counting(CharacterTokenizer):
        calls = 0

        def tokenize(self, text: str) -> list[str]:
            self.calls += 1
            return super().tokenize(text)

    (tmp_path / "a.txt").write_text("一\n二\n三\n", encoding="utf-8")
    tokenizer = Counting()

    assert list(TokenStream.from_files(tmp_path, tokenizer=tokenizer, workers=4)) == [
        "一",
        "\n",
        "二",
        "\n",
        "三",
        "\n",
    ]
    assert tokenizer.calls == 3


@pytest.mark.parametrize("host", ["frozen", "embedding", "python-host", "nameless", "gone"])
def test_the_program_around_python_is_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, host: str
) -> None:
    starts = tmp_path / "starts"
    program = tmp_path / {"frozen": "python3.12", "embedding": "novelist", "gone": "python3"}.get(host, host)
    if host != "gone":
        program.write_text(f"#!/bin/sh\necho started >>{starts}\n", encoding="utf-8")
        program.chmod(0o755)
    monkeypatch.setattr(sys, "frozen", host == "frozen", raising=False)
    monkeypatch.setattr(sys, "executable", None if host == "nameless" else str(program))
    write_novels(tmp_path)

    stream = TokenStream.from_files(tmp_path / "a.txt", tokenizer="characters", workers=3, cache_dir=tmp_path / "cache")

    monkeypatch.undo()
    alone = TokenStream.from_files(tmp_path / "a.txt", tokenizer="characters", workers=1, cache_dir=tmp_path / "one")
    assert list(stream) == list(alone)
    assert not starts.exists()
    (message,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert message.startswith("text is segmented in one process, not in 3: ")
    assert {"frozen": "frozen application", "nameless": "None", "gone": "cannot be started"}.get(
        host, str(program)
    ) in message


@pytest.mark.parametrize(
    "name", ["python", "Python", "python3.13t", "pythonw.exe", "python_d.exe", "pypy3.10", "PYTHON.EXE"]
)
def test_an_interpreter_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(sys, "executable", f"C:\\Program Files\\{name}")
    assert workers_module._not_an_interpreter() is None


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links and fork")
def test_workers_started_in_part_are_ended(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = workers_module._start_process

    def fails_at_the_third() -> "subprocess.Popen[bytes]":
        if len(started) == 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        started.append(start())
        return started[-1]

    monkeypatch.setattr(workers_module, "_start_process", fails_at_the_third)

    tokens = list(tokens_of(get_tokenizer("characters"), CHUNKS, workers=4))

    assert tokens == [by_hand(chunk) for chunk in CHUNKS]
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)
    assert "Resource temporarily unavailable" in caplog.text


def test_a_worker_that_ends_early_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    broken = LosslessTokenizer(CharacterTokenizer(), name="characters", options={"none": "such"})

    with pytest.raises(DataError, match=r"ended early.*exit status 1\b.*workers=1"):
        list(tokens_of(broken, ["雪", "夜"], workers=2))
    # The message is the worker's own.
    assert "none" in capfd.readouterr().err


def test_what_goes_wrong_with_the_texts_reaches_the_caller() -> None:
    def chunks() -> Iterator[str]:
        yield from CHUNKS
        raise DataError("the disk is gone")

    with pytest.raises(DataError, match="the disk is gone"):
        list(tokens_of(get_tokenizer("characters"), chunks(), workers=2))


def test_segmentation_may_be_left_half_way() -> None:
    tokens = tokens_of(get_tokenizer("characters"), iter(CHUNKS), workers=2)

    assert next(tokens) == by_hand(CHUNKS[0])
    tokens.close()  # type: ignore[attr-defined]
    assert list(tokens) == []


@pytest.mark.parametrize("workers", [0, -1, True, 1.5, "2"])
def test_the_number_of_workers_is_checked(tmp_path: Path, workers: int) -> None:
    (tmp_path / "a.txt").write_text("雪\n", encoding="utf-8")

    with pytest.raises(ConfigError, match=f"workers must be .*got {workers!r}"):
        TokenStream.from_files(tmp_path, tokenizer="characters", workers=workers)


def test_available_cores_are_those_of_this_process() -> None:
    code = "from zh_lstm_lm.runtime.threads import available_cores; print(available_cores())"

    assert available_cores() >= 1
    if hasattr(os, "sched_setaffinity"):
        one = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}}); {code}"
        environment = {**os.environ, "PYTHONPATH": str(Path(zh_lstm_lm.__file__).parents[1])}
        assert json.loads(subprocess.check_output([sys.executable, "-c", one], env=environment)) == 1


PROC = Path("/proc")
needs_proc = pytest.mark.skipif(not (PROC / "self" / "stat").exists(), reason="processes are found through /proc")
ENDLESS = (
    "import sys\n"
    "from zh_lstm_lm.tokenizers.registry import get_tokenizer\n"
    "from zh_lstm_lm.tokenizers.workers import number_chunks\n"
    "def chunks():\n"
    "    while True:\n"
    "        yield '好大的雪' * 2000\n"
    "for number, _ in enumerate(number_chunks(get_tokenizer('characters'), chunks(), {}, workers=3)):\n"
    "    if number == 5:\n"
    "        print('running', flush=True)\n"
)


SIGNALS = {
    "group": signal.SIGINT,
    "parent": signal.SIGINT,
    "terminated": signal.SIGTERM,
    "killed": getattr(signal, "SIGKILL", signal.SIGTERM),
}


def children_of(process_id: int) -> list[int]:
    """The living child processes of a process."""
    found = []
    for folder in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == process_id and state != "Z":
                found.append(int(folder.name))
    return found


def alive(process_id: int) -> bool:
    try:
        return (PROC / str(process_id) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone_soon(processes: list[int]) -> bool:
    """Returns True if all of them end within ten seconds."""
    for _ in range(200):
        if not any(map(alive, processes)):
            return True
        time.sleep(0.05)
    return False


@needs_proc
@pytest.mark.parametrize("way", ["group", "parent", "terminated", "killed"])
def test_no_worker_outlives_its_parent(way: str) -> None:
    source = {"PYTHONPATH": str(Path(zh_lstm_lm.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **source},
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"running\n"
        workers = children_of(parent.pid)
        assert len(workers) == 3
        if way == "group":
            os.killpg(parent.pid, signal.SIGINT)
        else:
            parent.send_signal(SIGNALS[way])
        _, complaints = parent.communicate(timeout=30)

    assert parent.returncode == -SIGNALS[way]
    # The traceback is that of the parent.
    assert complaints.count(b"Traceback") == (SIGNALS[way] == signal.SIGINT), complaints
    assert gone_soon(workers)


@needs_proc
def test_a_killed_worker_is_told_and_leaves_no_other_behind() -> None:
    def chunks() -> Iterator[str]:
        while True:
            yield "好大的雪" * 2000

    before = set(children_of(os.getpid()))
    tokens = tokens_of(get_tokenizer("characters"), chunks(), workers=3)
    next(tokens)
    workers = sorted(set(children_of(os.getpid())) - before)
    assert len(workers) == 3

    os.kill(workers[1], signal.SIGKILL)

    with pytest.raises(DataError, match=r"ended early \(exit status -9\)"):
        for _ in tokens:
            pass
    assert not any(map(alive, workers))
