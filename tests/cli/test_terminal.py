"""Terminals: every command is given hostile names and text, and what a terminal receives holds no control character."""

import errno
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from zh_lstm_lm import ConfigError, LSTMLanguageModel, ModelConfig, TokenStream, Vocabulary
from zh_lstm_lm.cli.main import main

if sys.platform == "win32":
    pytest.skip("pseudo-terminals and such file names are of POSIX systems", allow_module_level=True)

NAME = "雪\x1b[2J\x07\u202e\x9b夜"
TEXT = "展\x1b]0;昭\x07\u202e雪\x9b2J\x7f\r夜\x08\u2066。\x00"
BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
READING = ["--clean", "none", "--cache-dir", "c"]
SIZES = ["--tokenizer", "characters", "--embedding-dim", "4", "--hidden-size", "4", *READING]

Transcript = Callable[..., tuple[int, str]]


def controls(shown: str) -> set[str]:
    """The characters that move a cursor, change a terminal or reorder its text; line ends and tabs are none."""
    shown = shown.replace("\r\n", "\n")
    return {
        character
        for character in shown
        if (unicodedata.category(character) in {"Cc", "Cs"} and character not in "\n\t")
        or unicodedata.bidirectional(character) in BIDIRECTIONAL
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a novel and a model, both hostile in name and content; the model writes control characters mostly."""
    folder = tmp_path_factory.mktemp("place")
    (folder / NAME).mkdir()
    (folder / NAME / f"{NAME}.txt").write_text((TEXT * 3 + "大雪。\n") * 60, encoding="utf-8", newline="")
    pair = {"good": TEXT, "bad": TEXT[::-1], "group": NAME}
    (folder / f"{NAME}.jsonl").write_text(json.dumps(pair), encoding="utf-8")
    words = sorted(set(TEXT))
    model = LSTMLanguageModel(
        Vocabulary([*words, *range(256)], tokenizer="characters"),
        ModelConfig(embedding_dim=4, hidden_size=4, output="full"),
    )
    bias = dict(model.named_parameters())["output.bias"]
    with torch.no_grad():
        for word in words:
            bias[model.vocabulary.token_to_id(word)] += 5.0
    model.training_summary = {NAME: NAME}
    model.save_pretrained(folder / f"model {NAME}")
    return folder


@pytest.fixture
def transcript(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Transcript]:
    """Runs a command whose output and messages go to a pseudo-terminal; gives its status and what the terminal received."""
    import pty

    monkeypatch.chdir(place)
    heard, ended = bytearray(), threading.Event()
    master, slave = pty.openpty()

    def listen() -> None:
        while not ended.is_set() or not heard.endswith(b"\x04"):
            heard.extend(os.read(master, 4096))

    thread = threading.Thread(target=listen)
    thread.start()

    def run(*arguments: str, typed: str = "") -> tuple[int, str]:
        with (
            open(slave, "w", encoding="utf-8", closefd=False) as out,
            open(slave, "w", encoding="utf-8", closefd=False) as err,
            monkeypatch.context() as patch,
        ):
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode()), encoding="utf-8"))
            try:
                status = main(arguments)
            except SystemExit as end:
                status = int(end.code or 0)
        ended.set()
        os.write(slave, b"\x04")
        thread.join(timeout=60)
        return status, bytes(heard[:-1]).decode("utf-8")

    yield run
    ended.set()
    if thread.is_alive():
        os.write(slave, b"\x04")
        thread.join(timeout=60)
    os.close(slave)
    os.close(master)


MODEL, NOVEL = f"model {NAME}", f"{NAME}/{NAME}.txt"
COMMANDS = {
    "train": ["train", NAME, "--output", f"trained {NAME}", "--epochs", "2", "--sample-prompt", "\x1b", *SIZES],
    "evaluate": ["evaluate", MODEL, NOVEL, *READING],
    "evaluate two": ["evaluate", MODEL, MODEL, NOVEL, *READING],
    "score": ["score", MODEL, TEXT],
    "score tokens": ["score", MODEL, TEXT, "--per", "token"],
    "score characters": ["score", MODEL, TEXT, "--per", "character"],
    "score as JSON": ["score", MODEL, TEXT, "--format", "jsonl"],
    "rescore": ["rescore", MODEL, NOVEL],
    "rescore best": ["rescore", MODEL, NOVEL, "--best"],
    "pairs": ["pairs", MODEL, f"{NAME}.jsonl"],
    "suggest": ["suggest", MODEL, "展\x1b", "\u202e"],
    "novelty": ["novelty", NOVEL, NAME, "--tokenizer", "characters", *READING],
    "novelty as JSON": ["novelty", NOVEL, NAME, "--format", "json", "--tokenizer", "characters", *READING],
    "generate": ["generate", MODEL, "--prompt", TEXT, "--max-new-tokens", "40"],
    "generate into a file": ["generate", MODEL, "--output", f"out {NAME}", "--max-new-tokens", "9", "--novelty", NAME],
    "generate with novelty": ["generate", MODEL, "--max-new-tokens", "40", "--novelty", NAME, "--cache-dir", "c"],
    "inspect": ["inspect", NAME, "--tokenizer", "characters", "--cache-dir", "c"],
    "info": ["info", MODEL],
    "cache": ["cache", "--cache-dir", f"c{NAME}"],
    "cache, cleared": ["cache", "--cache-dir", f"c{NAME}", "--clear"],
    "study": ["study", "epochs", NAME, "--output", f"study {NAME}", "--shares", "0.5", "1", "--seeds", "0", "1", "--budget", "1", *SIZES],
}  # fmt: skip
SILENT = {"evaluate"}  # it has figures alone to print
MISTAKES = {
    "no model": ["info", f"no {NAME}"],
    "no text": ["evaluate", MODEL, f"no {NAME}"],
    "a folder in its place": ["score", MODEL, "--file", NAME],
    "no option": ["info", MODEL, f"--{NAME}"],
    "no choice": ["score", MODEL, TEXT, "--per", NAME],
    "no number": ["generate", MODEL, "--top-k", NAME],
    "no command": [NAME],
    "no tokenizer": ["inspect", NAME, "--tokenizer", NAME],
    "no cleaning": ["inspect", NAME, "--clean", NAME],
    "no encoding": ["inspect", NAME, "--encoding", NAME],
    "no device": ["train", NAME, "--output", "x", "--device", NAME, *SIZES],
    "no dictionary": ["inspect", NAME, "--user-dictionary", NAME],
    "a folder in its place, to write": ["generate", MODEL, "--output", NAME],
    "a report of nothing": ["report", NAME, "--output", f"{NAME}.html"],
    "a study of nothing": ["study", "epochs", f"no {NAME}", "--output", "y"],
    "a field that is none": ["pairs", MODEL, f"{NAME}.jsonl", "--good-field", NAME],
    "a candidate that is none": ["rescore", MODEL, NOVEL, "--format", "jsonl"],
    "to go on from nothing": ["train", NAME, "--output", "x", "--from", NAME],
    "a surrogate": ["score", MODEL, "展\udc9b\x1b"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_send_no_control_characters(command: str, transcript: Transcript) -> None:
    status, shown = transcript(*COMMANDS[command])
    assert status == 0, shown
    assert shown
    assert re.search(r"\\x1b|\\u001b|\\u202e", shown) or command in SILENT, "something hostile was to be shown"
    progress = command in {"train", "study", "generate into a file"}  # which returns to the start of its own line
    assert controls(shown) <= ({"\r"} if progress else set())


@pytest.mark.parametrize("mistake", MISTAKES)
def test_messages_send_no_control_characters(mistake: str, transcript: Transcript) -> None:
    status, shown = transcript(*MISTAKES[mistake])
    assert status == 2, shown
    assert re.search(r"\\x1b|\\x9b|\\udc9b", shown), shown
    assert not controls(shown)


def test_co_writing_sends_no_control_characters(transcript: Transcript) -> None:
    lines = ["", "next 2", "1", f"+{TEXT.replace(chr(13), '')}", "text", f"save saved {NAME}", f"{NAME} {NAME}", "quit"]
    command = ["generate", MODEL, "--interactive", "--prompt", TEXT, "--max-new-tokens", "20"]
    status, shown = transcript(*command, typed="\n".join(lines))
    assert status == 0
    assert "characters in saved 雪\\x1b[2J" in shown
    assert not controls(shown)


def test_report_pages_and_their_names(transcript: Transcript, place: Path) -> None:
    assert main(["train", NAME, "--output", f"for {NAME}", "--epochs", "1", "--quiet", *SIZES]) == 0
    status, shown = transcript("report", f"for {NAME}.run", "--output", f"page {NAME}.html", "--overwrite")
    assert status == 0, shown
    assert "page 雪\\x1b[2J\\x07\\u202e\\x9b夜.html" in shown
    assert not controls(shown)
    assert not controls((place / f"page {NAME}.html").read_text(encoding="utf-8"))


def test_a_mistake_in_the_library_is_told_of_without_control_characters(
    transcript: Transcript, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> None:
        raise RuntimeError(f"failed at {path}")

    monkeypatch.setattr("zh_lstm_lm.cli.inspection.load_model", fail)
    status, shown = transcript("info", NAME)
    assert status == 1
    assert "Traceback" in shown
    assert "RuntimeError: failed at 雪\\x1b[2J" in shown
    assert not controls(shown)


def test_a_place_for_temporary_files_that_is_missing_is_named(
    transcript: Transcript, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's error names no file."""

    def fail(path: str) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr("zh_lstm_lm.cli.inspection.load_model", fail)
    status, shown = transcript("info", NAME)
    assert status == 2
    assert "error: temporary files: No such file or directory; check the place" in shown


def test_a_terminal_that_has_gone_ends_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    import pty

    master, slave = pty.openpty()
    with open(slave, "w", encoding="utf-8") as gone:
        os.close(master)
        monkeypatch.setattr(sys, "stderr", gone)
        assert main(["info", "no-model"]) == 2


def test_a_process_of_its_own_sends_none_either(place: Path) -> None:
    """Through ``python -m``, with warnings of files that are skipped or faulty."""
    import pty

    for number, data in enumerate([b"\xff\xfe\xff" * 3 + "雪夜，展昭。".encode() * 200, b"", TEXT.encode() * 50]):
        folder = place / "faulty"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}{NAME}.txt").write_bytes(data)
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "zh_lstm_lm", "novelty", NOVEL, "faulty", "--encoding", "utf-8"]
    options = ["--cache-dir", "c", "--tokenizer", "characters"]
    with subprocess.Popen([*command, *options], cwd=place, stdout=slave, stderr=slave) as process:
        os.close(slave)
        heard = b""
        while True:
            try:
                piece = os.read(master, 4096)
            except OSError:  # the last one that could write has ended
                break
            if not piece:
                break
            heard += piece
    os.close(master)
    shown = heard.decode("utf-8")
    assert process.returncode == 0, shown
    assert "not valid utf-8" in shown
    assert "\\x1b[2J" in shown
    assert not controls(shown)


def test_a_pipe_gets_the_text_as_it_is_and_names_escaped(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    assert main(["generate", MODEL, "--prompt", TEXT, "--max-new-tokens", "0"]) == 0
    assert capsys.readouterr().out == f"{TEXT}\n"
    assert main(["generate", MODEL, "--prompt", TEXT, "--max-new-tokens", "0", "--output", f"kept {NAME}"]) == 0
    assert (place / f"kept {NAME}").read_bytes() == TEXT.encode()
    assert main(["info", f"no {NAME}"]) == 2
    with pytest.raises(SystemExit):
        main(["info", MODEL, f"--{NAME}"])
    shown = capsys.readouterr()
    assert "in kept 雪\\x1b[2J" in shown.out
    assert "no such option: --雪\\x1b[2J" in shown.err
    assert not controls(shown.out + shown.err)


def test_the_streams_and_the_level_of_the_log_are_given_back(transcript: Transcript) -> None:
    before = sys.stdout, sys.stderr, logging.getLogger("zh_lstm_lm").level
    transcript("info", MODEL)
    assert (sys.stdout, sys.stderr, logging.getLogger("zh_lstm_lm").level) == before


def test_log_records_of_the_library_hold_no_control_characters(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(place)
    Path("plain.txt").write_text("大雪。\n" * 50, encoding="utf-8")
    for _ in range(2):
        TokenStream.from_files("plain.txt", tokenizer="characters", cache_dir=f"cache {NAME}")
        for file in Path(f"cache {NAME}").rglob("*.json"):
            file.write_text("{}", encoding="utf-8")
    assert "cache 雪\\x1b[2J" in caplog.text
    assert "a damaged cache is made again" in caplog.text
    assert not controls(caplog.text)


def test_messages_of_errors_hold_no_control_characters() -> None:
    error = ConfigError(f"{NAME}\nsaved", "its second line")
    assert str(error) == "雪\\x1b[2J\\x07\\u202e\\x9b夜\\nsaved\nits second line"
    assert not controls("".join(error.args))
