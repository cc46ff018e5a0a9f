"""Standard streams, pipes, devices and file names as they come: a clear outcome each, and no traceback."""

import errno
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zh_lstm_lm import evaluate, novelty
from zh_lstm_lm.cli.main import main

if sys.platform == "win32":
    pytest.skip("shells, devices and such file names are of POSIX systems", allow_module_level=True)

TINY = "--tokenizer characters --embedding-dim 4 --hidden-size 4 --steps 1"
Shell = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def shell(place: Any) -> Shell:
    """Runs a line of bash in which ``lm`` is the command line."""

    def run(line: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        script = f'lm() {{ "{sys.executable}" -m zh_lstm_lm "$@"; }}; {line}'
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=place.folder,
            # With buffers, as a user's streams have them.
            env={**os.environ, "PYTHONUNBUFFERED": "", "PYTHONUTF8": "1", "HOME": str(place.folder), **environment},
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            stdin=subprocess.DEVNULL,
            timeout=300,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert "Exception ignored" not in done.stderr, done.stderr
        return done

    return run


@pytest.mark.parametrize("line", ["info model", "score model 展昭", "generate model --max-new-tokens 9", "--help"])
def test_a_full_disk_behind_standard_output(line: str, shell: Shell) -> None:
    done = shell(f"lm {line} > /dev/full")
    assert done.returncode == 2
    assert done.stderr == (
        "zh-lstm-lm: error: standard output: cannot be written (No space left on device); check the file and its disk\n"
    )


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("lm info model >&-", 0),
        ("lm --version >&-", 0),
        ("lm score model 展昭 <&- >&- 2>&-", 0),
        ("lm info no-model 2>&-", 2),
        ("lm info no-model 2>/dev/full", 2),
        ("lm generate model --interactive <&-", 0),
        ("lm score model --file - <&-", 2),
        (f"lm train novels --output closed {TINY} <&- >&- 2>&-", 0),
    ],
)
def test_closed_streams(line: str, status: int, shell: Shell, place: Any) -> None:
    assert shell(line).returncode == status
    if "train" in line:
        assert place.model("closed").training_summary["epochs"] > 0


@pytest.mark.parametrize(
    ("line", "result"),
    [
        (f"lm train novels --output kept {TINY.replace('--steps 1', '--steps 60')}", "kept/model.safetensors"),
        (f"lm train novels --output unlogged {TINY} 2>/dev/full", "unlogged/model.safetensors"),
        (
            f"lm study epochs novels --output measured --budget 1 --equality updates --seeds 0 1 --shares 0.5 1 "
            f"{TINY.replace('--steps 1', '')}",
            "measured/study.json",
        ),
    ],
)
def test_a_reader_that_goes_away_does_not_end_long_work(line: str, result: str, shell: Shell, place: Any) -> None:
    done = shell(f"{line} | head -n 1; echo ${{PIPESTATUS[0]}}")
    assert done.stdout.splitlines()[-1] == "0"
    assert (place.folder / result).is_file()
    assert "study" not in line or place.json("measured", "study.json")["complete"]


class Filling(io.StringIO):
    """A file on a disk that is full after the first lines."""

    encoding = "utf-8"

    def flush(self) -> None:
        if self.tell() > 100:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_fills_behind_standard_output_does_not_end_a_run(
    place: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Filling())
    assert main(["train", "novels", "--output", "filled", "--steps", "30", *TINY.split()[:-2]]) == 2
    assert capsys.readouterr().err.endswith(
        "zh-lstm-lm: error: standard output: cannot be written (No space left on device); check the file and its disk\n"
    )
    assert place.lines("filled.run", "history.jsonl")[-1]["test_perplexity"]
    assert place.model("filled").training_summary["test_perplexity"]


def test_a_process_without_streams(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert main(["info", "model"]) == 0
    assert main(["info", "no-model"]) == 2
    assert sys.stdout is None


def test_a_file_gets_the_text_or_nothing_else(shell: Shell, place: Any) -> None:
    done = shell("lm generate model --prompt 𠮷展 --max-new-tokens 0 > text.txt", PYTHONIOENCODING="gbk")
    assert done.returncode == 2
    assert "standard output: its encoding gbk has no" in done.stderr
    assert "set PYTHONIOENCODING=utf-8" in done.stderr
    assert (place.folder / "text.txt").read_bytes() == b""
    assert (
        shell("lm generate model --prompt 展昭 --max-new-tokens 0 > text.txt", PYTHONIOENCODING="gbk").returncode == 0
    )
    assert (place.folder / "text.txt").read_bytes() == "展昭\n".encode("gbk")
    assert (
        shell("lm generate model --prompt 𠮷 --max-new-tokens 0 > text.txt", PYTHONIOENCODING="utf-8").returncode == 0
    )
    assert (place.folder / "text.txt").read_bytes() == "𠮷\n".encode()


def test_a_terminal_of_a_narrow_encoding_shows_escapes(place: Any) -> None:
    import pty

    master, slave = pty.openpty()
    command = [sys.executable, "-m", "zh_lstm_lm", "generate", "model", "--prompt", "𠮷展", "--max-new-tokens", "0"]
    environment = {**os.environ, "PYTHONIOENCODING": "gbk"}
    with subprocess.Popen(command, cwd=place.folder, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        shown = b""
        while not shown.endswith(b"\n"):
            shown += os.read(master, 4096)
    os.close(master)
    assert process.returncode == 0
    assert shown == "\\U00020bb7展\r\n".encode("gbk")


def test_a_message_with_a_name_that_the_stream_cannot_show(shell: Shell, place: Any) -> None:
    done = shell("lm generate model --output 小说.txt --max-new-tokens 0", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, "0 characters in \\u5c0f\\u8bf4.txt\n")


@pytest.mark.parametrize("source", ["<(cat novels/0.txt)", "- < novels/0.txt", "/dev/stdin < <(cat novels/0.txt)"])
def test_pipes_are_corpora(source: str, shell: Shell, place: Any) -> None:
    expected = evaluate(place.model(), place.stream("novels/0.txt", normalize="none"))
    done = shell(f"lm evaluate model {source}")
    assert f"{expected.bits_per_character:.4f} bits/character" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "line",
    [
        f"lm train <(cat novels/0.txt) --output from-pipe {TINY}",
        "lm inspect --files-only - < novels/0.txt",
        "lm generate model --max-new-tokens 3 --novelty /dev/stdin < <(cat novels/0.txt)",
    ],
)
def test_other_commands_read_pipes_too(line: str, shell: Shell) -> None:
    done = shell(line)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("source", "name"),
    [("- < /dev/null", "standard input"), ("<(printf '[1, 2]')", "/dev/fd/"), ("- < json", "standard input")],
)
@pytest.mark.parametrize("command", ["lm evaluate model", "lm inspect", f"lm train --output new {TINY}"])
def test_messages_call_a_pipe_as_it_was_given(command: str, source: str, name: str, shell: Shell, place: Any) -> None:
    Path(place.folder / "json").write_text("[1, 2]")
    done = shell(f"{command} {source}")
    assert name in done.stdout + done.stderr
    assert "standard-input.txt" not in done.stdout + done.stderr
    assert "pipe-1.txt" not in done.stdout + done.stderr


def test_pipes_are_texts_and_dictionaries(shell: Shell, place: Any) -> None:
    assert "\t展昭\t" in shell("lm score model --file <(echo 展昭) --per text").stdout
    assert shell("lm rescore model <(echo 展昭) --best").stdout == "展昭\n"
    done = shell("lm novelty <(echo 展昭) novels --tokenizer jieba --user-dictionary <(echo 展昭)")
    stream = place.stream(tokenizer="jieba")
    assert done.stdout.splitlines()[0] == str(novelty("展昭\n", stream)).splitlines()[0]


@pytest.mark.parametrize(
    "line",
    ["lm evaluate model /dev/null", "lm score model --file novels", f"lm train novels --output /dev/null {TINY}"],
)
def test_what_is_no_file_or_folder(line: str, shell: Shell) -> None:
    done = shell(line)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_names_that_are_not_utf_8(shell: Shell, place: Any) -> None:
    folder = os.fsdecode(b"caf\xe9")
    try:
        (place.folder / folder).mkdir()
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    shell("cp -r model novels words.txt $F", F=folder)
    train = (
        f"lm train $F/novels --output $F/trained --user-dictionary $F/words.txt {TINY.replace('characters', 'jieba')}"
    )
    assert shell(train, F=folder).returncode == 0
    for line in (
        f"{train} --resume",
        "lm train $F/novels --from $F/trained --output $F/next --steps 1",
        "lm report $F/trained.run --output $F/report.html",
        "lm evaluate $F/model $F/novels/0.txt --cache-dir $F/cache",
        "lm generate $F/model --output $F/text.txt --novelty $F/novels --max-new-tokens 3",
        "lm score $F/model --file $F/text.txt --html $F/page.html",
        "lm inspect $F/novels --files-only",
        "lm info $F/model",
        "lm export $F/model --format html --output $F/$F.html",
        "lm cache --cache-dir $F/cache",
        f"lm study epochs $F/novels --output $F/study --report $F/study.html --budget 1 --seeds 0 1 --shares 0.5 1 {TINY.replace(' --steps 1', '')}",
    ):
        place.run(*shlex.split(line.replace("$F", folder))[1:])
    for name in (f"{folder}.html", "trained", "next", "report.html", "text.txt.novelty.txt", "page.html", "study.html"):
        assert (place.folder / folder / name).exists(), name
    for line in ("lm info $F/no-model", "lm generate model --prompt $F", "lm score model $F"):
        done = shell(line, F=folder)
        assert done.returncode == 2
        assert r"\udce9" in done.stderr
        assert folder not in done.stderr


def test_the_home_folder_is_found_where_no_shell_expands_it(shell: Shell, place: Any) -> None:
    done = shell(
        "lm generate '~/model' --output=~/from-home.txt --novelty '~/novels' --max-new-tokens 3 --cache-dir='~/c'"
    )
    assert done.returncode == 0, done.stderr
    assert (place.folder / "from-home.txt").is_file()
    assert not Path("~").exists()


@pytest.mark.parametrize(
    "command", ["novelty - -", "generate model --max-new-tokens 3 --rename - --novelty -", "novelty - novels/0.txt -"]
)
def test_standard_input_is_not_taken_for_two_texts(place: Any, command: str) -> None:
    place.run(*command.split(), status=2)

    assert "standard input can be read once, and - stands for two different texts" in place.err
