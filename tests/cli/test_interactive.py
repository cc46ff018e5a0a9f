"""Co-writing in the terminal: commands, settings, plain Chinese, and a text that is not lost."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from zh_lstm_lm import CoWriter, Sampler, SamplerConfig


@pytest.fixture
def talk(place: Any) -> Callable[..., str]:
    """Types lines into the command through a pipe; returns what it shows."""

    def run(*lines: str, options: tuple[str, ...] = ()) -> str:
        command = [
            sys.executable,
            "-m",
            "zh_lstm_lm",
            "generate",
            "model",
            "--interactive",
            "--prompt",
            "展昭",
            *options,
        ]
        typed = "".join(f"{line}\n" for line in lines)
        environment = {**os.environ, "PYTHONUTF8": "1"}
        done = subprocess.run(
            command, cwd=place.folder, input=typed, capture_output=True, encoding="utf-8", env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    return run


@pytest.mark.options("generate", "--interactive")
def test_a_line_of_chinese_is_added_and_a_turn_continues_it(place: Any, talk: Callable[..., str]) -> None:
    shown = talk("“好大的雪！”3月", "+plain words", "", "text")
    writer = CoWriter(Sampler(place.model(), SamplerConfig()), "展昭")
    writer.add("“好大的雪！”3月")
    writer.add("plain words")
    writer.go_on()
    assert shown.rstrip("> \n").endswith(writer.text)


def test_settings_are_changed_by_their_names(place: Any, talk: Callable[..., str]) -> None:
    changes = ["temperature 0", "max_sentences=none", "max-new-tokens = 7", "banned_words 昭 ，", "word-bias 雪=3.5"]
    shown = talk(*changes, "balanced_pairs off", "", "settings", "text", options=("--seed", "5"))
    config = SamplerConfig(
        temperature=0.0, banned_words=["昭", "，"], word_bias={"雪": 3.5}, balanced_pairs=False, seed=5
    )
    writer = CoWriter(Sampler(place.model(), config), "展昭", max_new_tokens=7)
    writer.go_on()
    assert shown.rstrip("> \n").endswith(writer.text)
    assert re.search(r"(?m)temperature 0$(.|\n)*^seed 5$(.|\n)*^max_new_tokens 7$", shown)


def test_next_shows_three_continuations_unless_told(talk: Callable[..., str]) -> None:
    shown = talk("next", "next 2", options=("--max-new-tokens", "2"))
    assert re.findall(r"^(?:> )?(\d): ", shown, flags=re.MULTILINE) == ["1", "2", "3", "1", "2"]


def test_forms_are_settings_too(talk: Callable[..., str]) -> None:
    changes = [
        "must_contain 酒店 展昭=60",
        "must_contain none",
        "max_sentences none",
        "line_lengths 5 7",
        "line_lengths 5",
    ]
    shown = talk(*changes, "first-characters 雪展", "rename 展=李", "line_lengths five", "settings")
    for line in (*changes, "first_characters 雪展", "rename 展=李"):
        assert f"> {line}\n" in shown
    assert "! line_lengths must be numbers, as in 7 or 5,7,5,7" in shown
    assert re.search(r"(?m)^rename 展=李$(.|\n)*^line_lengths 5$(.|\n)*^first_characters 雪展$", shown)


def test_another_turn_is_written_with_the_new_settings(place: Any, talk: Callable[..., str]) -> None:
    shown = talk("", "temperature 3", "again", "text")
    writer = CoWriter(Sampler(place.model(), SamplerConfig()), "展昭")
    writer.go_on()
    writer.sampler = Sampler(place.model(), SamplerConfig(temperature=3.0))
    writer.again()
    assert shown.rstrip("> \n").endswith(writer.text.rstrip("\n"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("temprature 0.7", "no command 'temprature 0.7'; did you mean 'temperature'? 'help'"),
        ("temperature", "temperature must be a number, got ''"),
        ("temperature hot", "temperature must be a number, got 'hot'"),
        ("top_p 7", "top_p must be from 0 to 1, got 7"),
        ("max_sentences 0", "max_sentences must be at least 1"),
        ("word_bias 雪", "as in 展昭=2"),
        ("write more", "+write more adds it as text"),
        ("save", "save needs the name of a file"),
        ("save no-such-folder/x.txt", "cannot be written"),
    ],
)
def test_a_mistake_is_reported_and_the_text_stays(line: str, said: str, talk: Callable[..., str]) -> None:
    shown = talk(line, "text")
    assert re.search(f"> ! .*{re.escape(said)}", shown)
    assert shown.rstrip("> \n").endswith("展昭")


def test_a_text_is_saved_below_the_home_folder(place: Any, monkeypatch: pytest.MonkeyPatch, talk: Any) -> None:
    monkeypatch.setenv("HOME", str(place.folder))
    talk("酒", "save ~/saved.txt")
    assert (place.folder / "saved.txt").read_text(encoding="utf-8") == "展昭酒"


class Terminal:
    """A process whose standard streams are a terminal."""

    def __init__(self, folder: Path) -> None:
        import pty

        self._master, slave = pty.openpty()
        command = [sys.executable, "-X", "utf8", "-m", "zh_lstm_lm", "generate", "model", "--interactive"]
        environment = {**os.environ, "TERM": "xterm"}
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self.shown = ""

    def type(self, keys: str, *, then: str) -> None:
        """Types keys, and waits until something is shown."""
        os.write(self._master, keys.encode())
        assert self.wait(then), self.shown

    def wait(self, wanted: str, *, seconds: float = 60) -> bool:
        start, until = len(self.shown), time.monotonic() + seconds
        while wanted not in self.shown[start:] and time.monotonic() < until:
            if select.select([self._master], [], [], 1)[0]:
                try:
                    self.shown += os.read(self._master, 4096).decode("utf-8", errors="replace")
                except OSError:  # the process has closed its side
                    break
        return wanted in self.shown[start:]

    def interrupt(self, *, then: str) -> None:
        """Presses Ctrl-C; once more where the first one came before readline had begun to wait for keys."""
        self.process.send_signal(signal.SIGINT)
        if not self.wait(then, seconds=5):
            self.process.send_signal(signal.SIGINT)
            assert self.wait(then), self.shown

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(place: Any) -> Iterator[Terminal]:
    if sys.platform == "win32":
        pytest.skip("pseudo-terminals are of POSIX systems")
    pytest.importorskip("readline")
    terminal = Terminal(place.folder)
    assert terminal.wait("> ")
    yield terminal
    terminal.close()


def test_arrow_keys_edit_a_line_and_recall_the_last_one(terminal: Terminal, place: Any) -> None:
    terminal.type("昭雪\x1b[D\x1b[D展\n", then="> ")
    terminal.type("\x1b[A\n", then="> ")
    terminal.type("save typed.txt\n", then="characters in")
    assert (place.folder / "typed.txt").read_text(encoding="utf-8") == "展昭雪展昭雪"


@pytest.mark.parametrize(("name", "saved"), [("kept.txt", True), ("", False)])
def test_ctrl_c_offers_to_save(terminal: Terminal, place: Any, name: str, saved: bool) -> None:
    terminal.type("展昭酒\n", then="> ")
    terminal.interrupt(then="do not save): ")
    terminal.type(f"{name}\n", then="characters in" if saved else "\n")
    assert terminal.process.wait(timeout=60) == 130
    assert (place.folder / "kept.txt").exists() is saved
    (place.folder / "kept.txt").unlink(missing_ok=True)


def test_ctrl_c_with_nothing_to_save_ends_it(terminal: Terminal) -> None:
    terminal.interrupt(then="\n")
    assert terminal.process.wait(timeout=60) == 130
    assert "Traceback" not in terminal.shown
