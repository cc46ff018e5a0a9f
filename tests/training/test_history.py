import os
import subprocess
import sys
from pathlib import Path

import pytest

from zh_lstm_lm import DataError, History, MissingDependencyError
from zh_lstm_lm.training.history import chinese_font

HISTORY = History(
    {
        "epoch": float(epoch),
        "train_perplexity": 100.0 / epoch,
        "valid_perplexity": 120.0 / epoch if epoch < 3 else None,
        "train_bits_per_character": 7.0 - epoch,
        "valid_bits_per_character": 7.5 - epoch,
    }
    for epoch in (1, 2, 3)
)


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'zh-lstm-lm\[plot\]'"):
        HISTORY.plot()


class TestWithMatplotlib:
    @pytest.fixture(autouse=True)
    def _needs_matplotlib(self) -> None:
        pytest.importorskip("matplotlib", reason="matplotlib (the extra plot) is not installed")

    def test_the_figures_are_drawn(self, tmp_path: Path) -> None:
        figure = HISTORY.plot(tmp_path / "history.png")
        assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
        perplexity, bits = figure.axes
        assert [list(line.get_ydata()) for line in perplexity.lines] == [[100, 50, 100 / 3], [120, 60]]
        assert [list(line.get_xdata()) for line in bits.lines] == [[1, 2, 3], [1, 2, 3]]

    def test_every_letter_is_in_the_font_that_draws_it(self) -> None:
        from matplotlib import font_manager

        figure = HISTORY.plot()
        legend = [text for axes in figure.axes for text in axes.get_legend().get_texts()]
        texts = [label for axes in figure.axes for label in (axes.xaxis.label, axes.yaxis.label)] + legend
        for text in texts:
            letters = font_manager.get_font(font_manager.findfont(text.get_fontproperties())).get_charmap()
            assert text.get_text()
            assert all(ord(letter) in letters for letter in text.get_text()), text

    def test_without_a_chinese_font_the_labels_are_english(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("zh_lstm_lm.training.history._FAMILIES", ())
        perplexity, bits = HISTORY.plot().axes
        assert perplexity.get_xlabel() == "epochs"
        assert bits.get_ylabel() == "bits per character"
        assert [text.get_text() for text in bits.get_legend().get_texts()] == ["training", "held-out"]

    def test_only_a_font_with_all_letters_is_taken(self, tmp_path: Path) -> None:
        import matplotlib

        folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        (tmp_path / "broken.ttf").write_bytes(b"no font")
        files = [str(tmp_path / "gone.ttf"), str(tmp_path / "broken.ttf"), str(folder / "DejaVuSans.ttf")]
        assert chinese_font("困惑度", files) is None
        assert chinese_font("epochs", files).get_file() == files[-1]

    def test_settings_and_backend_stay_as_they_are(self, tmp_path: Path) -> None:
        code = """
import sys, matplotlib
before = matplotlib.rcParams.copy()  # unlike dict(), it does not ask for the backend, which would choose one
from zh_lstm_lm import History
History([{"epoch": 1.0, "train_perplexity": 5.0}]).plot("h.svg")
assert matplotlib.rcParams.copy() == before
assert "matplotlib.pyplot" not in sys.modules
print(matplotlib.get_backend(auto_select=False))
"""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MPLCONFIGDIR": str(tmp_path / "mpl")}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == "None\n", "no backend was chosen"
        assert (tmp_path / "h.svg").is_file()

    def test_a_closed_vocabulary_and_an_empty_history(self) -> None:
        closed = History([{"epoch": 1.0, "train_perplexity": 5.0, "train_bits_per_character": None}])
        assert len(closed.plot().axes) == 1
        assert History().plot().axes[0].lines[:] == []

    def test_a_file_that_cannot_be_written(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="cannot be saved"):
            HISTORY.plot(tmp_path / "no" / "h.png")
        with pytest.raises(DataError, match=r"history\.novel: the figure cannot be saved"):
            HISTORY.plot(tmp_path / "history.novel")
