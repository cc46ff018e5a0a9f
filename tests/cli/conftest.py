"""A folder with novels, a model and a trained run, commands that run in it, and the options of all commands."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, TokenStream, Trainer, TrainerConfig, Vocabulary
from zh_lstm_lm.cli.main import _parser, main


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "options(command, *options): options of a command that the test holds")


class Place:
    """A folder, and the way to run commands in it.

    Attributes:
        folder: Holds ``novels``, ``words.txt`` and ``model``.
        err: Messages of the latest command.
    """

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
        self.folder, self._capsys, self._caplog = folder, capsys, caplog
        self.err = ""

    def run(self, *arguments: object, status: int = 0) -> str:
        """Runs a command to the given exit status; returns its output."""
        self._capsys.readouterr()
        self._caplog.clear()
        try:
            ended = main([str(argument) for argument in arguments])
        except SystemExit as end:
            ended = int(end.code or 0)
        shown = self._capsys.readouterr()
        self.err = shown.err + self._caplog.text
        assert ended == status, self.err
        return shown.out

    def json(self, *names: str) -> Any:
        return json.loads(self.folder.joinpath(*names).read_text(encoding="utf-8"))

    def lines(self, *names: str) -> list[Any]:
        return [json.loads(line) for line in self.folder.joinpath(*names).read_text(encoding="utf-8").splitlines()]

    def model(self, name: str = "model") -> LSTMLanguageModel:
        return LSTMLanguageModel.from_pretrained(self.folder / name)

    def stream(self, *names: str, **options: Any) -> TokenStream:
        return TokenStream.from_files(
            [self.folder / name for name in names or ("novels",)], **{"tokenizer": "characters", **options}
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, texts: list[str], vocabulary: Vocabulary) -> Path:
    """The folder of `place`."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "novels").mkdir()
    for number, text in enumerate(texts):
        (folder / "novels" / f"{number}.txt").write_text(text * 8, encoding="gb18030")
    (folder / "words.txt").write_text("好大的雪\n", encoding="utf-8")
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=16, hidden_size=32, output="full"))
    config = TrainerConfig(max_steps=120, batch_size=4, bptt_len=12, learning_rate=0.02)
    Trainer(model, TokenStream.from_texts(texts * 8, tokenizer="characters"), None, config, progress=False).fit()
    model.save_pretrained(folder / "model")
    return folder


@pytest.fixture
def place(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Place:
    """The working directory of a test."""
    monkeypatch.chdir(folder)
    return Place(folder, capsys, caplog)


@pytest.fixture
def options_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], list[dict[str, Any]]]:
    """Returns a list that gets the options of every call of a function from now on."""

    def record(owner: Any, name: str) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []
        function = getattr(owner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(options)
            return function(*arguments, **options)

        monkeypatch.setattr(owner, name, call)
        return calls

    return record


@pytest.fixture
def actions() -> dict[tuple[str, str], argparse.Action]:
    """All options by command and name."""
    parsers = next(action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)).choices
    for parser in parsers.values():
        parser.complete()
    return {
        (command, action.option_strings[0]): action
        for command, parser in parsers.items()
        for action in parser._actions
        if action.option_strings and action.dest != "help"
    }


@pytest.fixture
def check_all_held(request: pytest.FixtureRequest, actions: dict[tuple[str, str], Any]) -> Callable[..., None]:
    """Fails unless each option of some commands is in the mark of a test of the module, and every mark of an option."""

    def check(*commands: str) -> None:
        marks = (mark for value in vars(request.module).values() for mark in getattr(value, "pytestmark", []))
        held = {(mark.args[0], name) for mark in marks if mark.name == "options" for name in mark.args[1:]}
        # --config is held for all commands at once, in test_config_file.py.
        wanted = {(command, name) for command, name in actions if command in commands and name != "--config"}
        assert wanted - held == set(), "options without a test of their effect; write one, and mark it"
        assert held - wanted == set()

    return check
