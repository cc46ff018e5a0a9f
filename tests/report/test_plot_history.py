"""The picture of a history, read by a parser of its own."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from zh_lstm_lm import ConfigError, DataError, History, plot_history

SVG = "{http://www.w3.org/2000/svg}"
HISTORY = History(
    {"epoch": epoch, "step": step, "valid_perplexity": perplexity, "valid_bits_per_character": perplexity / 10}
    for epoch, step, perplexity in [(0.25, 5, 80.0), (0.5, 10, 60.0), (1.0, 20, 50.0), (1.25, 25, 52.0)]
)


def texts(picture: str) -> list[str]:
    return [str(text.text) for text in ET.fromstring(picture).iter(f"{SVG}text")]


def test_every_evaluation_has_a_mark_at_its_place() -> None:
    perplexity, bits = ET.fromstring(plot_history(HISTORY)).findall(f"{SVG}svg/[@role='img']")
    for panel in (perplexity, bits):
        marks = [(float(mark.attrib["cx"]), float(mark.attrib["cy"])) for mark in panel.iter(f"{SVG}circle")]
        assert len(marks) == len(HISTORY), "those inside an epoch too"
        (x1, y1), (x2, y2), (x3, y3), (x4, _) = marks
        assert (x3 - x1) / (x4 - x1) == pytest.approx(0.75, abs=0.01)
        assert (x2 - x1) / (x4 - x1) == pytest.approx(0.25, abs=0.01)
        assert (y2 - y1) / (y3 - y1) == pytest.approx(2 / 3, abs=0.01)
        assert y1 < y2 < y3, "a lower perplexity lies lower"


@pytest.mark.parametrize(("language", "there", "not_there"), [("zh", "轮数", "epochs"), ("en", "epochs", "轮数")])
def test_labels_are_in_one_language(language: str, there: str, not_there: str) -> None:
    shown = texts(plot_history(HISTORY, language=language))  # type: ignore[arg-type]
    assert there in shown
    assert not_there not in shown


def test_the_picture_stands_alone_and_leaves_its_page_alone() -> None:
    picture = plot_history(HISTORY)
    assert "var(" not in picture
    style = str(next(ET.fromstring(picture).iter(f"{SVG}style")).text)
    selectors = [rule.rpartition("}")[2].strip() for rule in style.split("{")[:-1]]
    assert len(selectors) > 15
    assert all(selector.startswith(".zh-lstm-lm-plot ") for selector in selectors)


def test_training_and_validation_are_named_where_both_are_there() -> None:
    both = [{**record, "train_perplexity": 70.0, "train_bits_per_character": 7.0} for record in HISTORY]
    assert {"training", "validation"} <= set(texts(plot_history(both, language="en")))
    assert "validation" not in texts(plot_history(HISTORY, language="en"))


def test_a_vocabulary_without_bits_per_character_has_one_plot() -> None:
    closed = [{**record, "valid_bits_per_character": None} for record in HISTORY]
    assert len(ET.fromstring(plot_history(closed)).findall(f"{SVG}svg/[@role='img']")) == 1


def test_a_notebook_shows_a_history_as_its_plot() -> None:
    assert HISTORY._repr_html_() == plot_history(HISTORY)
    assert History()._repr_html_() is None, "the list itself is shown"


def test_a_notebook_shows_it_and_a_file_holds_it(tmp_path: Path) -> None:
    picture = plot_history(HISTORY, tmp_path / "history.svg")
    assert (tmp_path / "history.svg").read_text(encoding="utf-8") == picture
    assert picture._repr_svg_() == picture


def test_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 records has nothing to plot"):
        plot_history([])
    with pytest.raises(DataError, match="1 records has nothing to plot"):
        plot_history([{"epoch": 1.0, "valid_perplexity": "low"}])
    with pytest.raises(ConfigError, match="language must be one of 'zh', 'en'"):
        plot_history(HISTORY, language="de")  # type: ignore[arg-type]
