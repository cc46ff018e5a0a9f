"""The command that shows everything once, and completion in a shell."""

import io
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from zh_lstm_lm import ContinuousCache, ModelConfig, from_pretrained
from zh_lstm_lm.cli.main import main
from zh_lstm_lm.errors import MissingDependencyError
from zh_lstm_lm.runtime import optional


@pytest.mark.options("demo", "--epochs", "--output", "--quiet")
def test_the_demo_runs_the_commands_that_it_prints(place: Any) -> None:
    output = place.folder / "my demo"
    printed = place.run("demo", "--epochs", 1, "--output", output, "--quiet")
    train, generate = (shlex.split(line)[2:] for line in printed.splitlines() if line.startswith("$ zh-lstm-lm "))
    assert train[:4] == ["train", str(output / "novel.txt"), "--output", str(output / "model")]
    assert generate[:2] == ["generate", str(output / "model")]
    text = (output / "generated.txt").read_text(encoding="utf-8")
    assert 1900 < len(text) <= 2000, "it ends after a sentence"
    assert printed.endswith(f"the text begins:\n{text[:300]}\n")
    assert isinstance(from_pretrained(output / "model"), ContinuousCache)
    config = place.model("my demo/model").config
    assert config.hidden_size < ModelConfig().hidden_size
    assert config.dropout > ModelConfig().dropout, "for a short text that is read many times"
    assert "epoch 1" not in printed
    again = place.run("demo", "--epochs", 1, "--output", output, "--quiet")
    assert "--resume" in again, "a second time it goes on from what is there"
    assert (output / "generated.txt").read_text(encoding="utf-8") == text


def test_the_demo_ends_with_the_command_that_fails(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def fail(words: list[str]) -> int:
        asked.append(words)
        return 7

    monkeypatch.setattr("zh_lstm_lm.cli.main.main", fail)
    printed = place.run("demo", "--output", "failed", status=7)
    assert printed == f"$ zh-lstm-lm {shlex.join(asked[0])}\n"
    place.run("demo", "--output", "failed", "--epochs", 3, status=7)
    assert [words[4:6] for words in asked] == [["--epochs", "5"], ["--epochs", "3"]]


def test_a_reader_that_goes_away_does_not_end_the_demo(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pipe(io.StringIO):
        encoding = "utf-8"

        def flush(self) -> None:
            if self.tell() > 300:
                raise BrokenPipeError

    asked: list[str] = []

    def run(words: list[str]) -> int:
        asked.append(words[0])
        print("lines of progress\n" * 20, flush=True)
        Path("read/generated.txt").write_text("展昭", encoding="utf-8")
        return 0

    monkeypatch.setattr("zh_lstm_lm.cli.main.main", run)
    monkeypatch.setattr(sys, "stdout", Pipe())
    assert main(["demo", "--output", "read"]) == 0
    assert asked == ["train", "generate"]


def test_the_demo_spares_a_novel_of_the_users(place: Any) -> None:
    folder = place.folder / "novels of mine"
    folder.mkdir()
    (folder / "novel.txt").write_text("我的小说", encoding="utf-8")
    place.run("demo", "--epochs", 1, "--output", folder, status=2)
    assert "novel.txt: holds another text than the bundled novella; give another --output" in place.err
    assert [path.name for path in folder.iterdir()] == ["novel.txt"]
    assert (folder / "novel.txt").read_text(encoding="utf-8") == "我的小说"


def test_the_completion_knows_the_options_of_every_command(place: Any) -> None:
    pytest.importorskip("shtab", reason="shtab is not installed")
    script = place.run("--print-completion", "bash")
    for option in ("--max-epochs", "--top-p", "--text-field", "--seeds"):
        assert option in script
    place.run("--print-completion", "powershell", status=2)


def test_completion_without_its_library_names_the_extra(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str, *, extra: str) -> None:
        raise MissingDependencyError(f"{module} is not installed; it comes with the extra {extra!r}")

    monkeypatch.setattr(optional, "require", missing)
    place.run("--print-completion", "bash", status=2)
    assert "shtab is not installed; it comes with the extra 'completion'" in place.err
