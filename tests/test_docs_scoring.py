"""The guide to scoring: its code runs as it is written, and its commands too."""

import re
import shlex
from pathlib import Path

import pytest

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, TokenStream, Vocabulary, sample_novel
from zh_lstm_lm.cli.main import main

GUIDE = Path(__file__).parents[1] / "docs" / "scoring.md"


def blocks(language: str) -> list[str]:
    if not GUIDE.is_file():
        pytest.skip("the guide is not beside the tests")
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = sample_novel()[:3000]
    Path("novels").mkdir()
    Path("novels/1.txt").write_text(text, encoding="utf-8")
    vocabulary = Vocabulary.from_stream(TokenStream.from_files("novels/"))
    LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=8)).save_pretrained("wuxia-lstm")
    Path("lines.txt").write_text("展爷大喜。\n出了店门。\n", encoding="utf-8")
    Path("n-best.tsv").write_text("a\t-3.2\t展爷大喜\na\t-3.1\t展爷大戏\n", encoding="utf-8")
    Path("written.txt").write_text(text[500:600], encoding="utf-8")


@pytest.mark.usefixtures("_workplace")
def test_the_code_of_the_guide_runs(capsys: pytest.CaptureFixture[str]) -> None:
    parts = blocks("python")
    assert len(parts) > 8
    exec("\n".join(parts), {"__name__": "guide"})
    shown = capsys.readouterr().out
    assert "longest copy" in shown
    assert "展爷大" in shown
    assert "</html>" in Path("heat-map.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("_workplace")
def test_the_commands_of_the_guide_run(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for block in blocks("console") for line in block.splitlines()]
    assert len(lines) > 7
    for line in lines:
        name, *arguments = shlex.split(line)
        assert name == "zh-lstm-lm"
        assert main(arguments) == 0, line
        assert capsys.readouterr().out or "--html" in line
