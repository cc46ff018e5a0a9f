from pathlib import Path
from typing import Any

import pytest

import zh_lstm_lm
from zh_lstm_lm import History


def test_a_history_is_drawn_by_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(history: History, path: Path | None) -> str:
        drawn.append((history, path))
        return "<svg/>"

    drawn: list[Any] = []
    monkeypatch.setattr(zh_lstm_lm, "plot_history", draw, raising=False)
    history = History([{"epoch": 1.0, "train_perplexity": 5.0}])
    assert history.plot(tmp_path / "history.svg") == history.plot() == "<svg/>"
    assert drawn == [(history, tmp_path / "history.svg"), (history, None)]
