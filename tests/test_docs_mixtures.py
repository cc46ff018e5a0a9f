"""The guide to mixtures: its code and its commands run as they are written, the training for less than 10 minutes."""

import re
import shlex
from pathlib import Path

import pytest

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, TokenStream, Vocabulary, sample_novel
from zh_lstm_lm.cli.main import main

GUIDE = Path(__file__).parents[1] / "docs" / "mixtures.md"


def blocks(language: str) -> list[str]:
    if not GUIDE.is_file():
        pytest.skip("the guide is not beside the tests")
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("novels").mkdir()
    Path("novels/1.txt").write_text(sample_novel()[:6000], encoding="utf-8")
    vocabulary = Vocabulary.from_stream(TokenStream.from_files("novels/"))
    LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=8)).save_pretrained("wuxia-lstm")


@pytest.mark.usefixtures("_workplace")
def test_the_code_of_the_guide_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec("\n".join(blocks("python")), {"__name__": "guide"})
    shown = capsys.readouterr().out
    assert re.search(r"^4-gram: \d\.\d+ bits per character$", shown, re.MULTILINE)
    assert "ContinuousCache 0." in shown


@pytest.mark.usefixtures("_workplace")
def test_the_commands_of_the_guide_run(capsys: pytest.CaptureFixture[str]) -> None:
    for line in "".join(blocks("console")).splitlines():
        name, *arguments = shlex.split(line.replace("--minutes 10", "--minutes 0.02"))
        assert name == "zh-lstm-lm"
        assert main(arguments) == 0, line
        assert "LSTM + 4-gram + cache" in capsys.readouterr().out or arguments[0] == "generate"
