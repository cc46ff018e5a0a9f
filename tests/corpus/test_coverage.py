"""Coverage of a text by a vocabulary, against a count by hand."""

import math
import xml.etree.ElementTree as ET
from collections import Counter

import pytest
import torch

from zh_lstm_lm import ConfigError, TokenStream, Vocabulary
from zh_lstm_lm.corpus.coverage import zipf_slope


class Barred:
    """Words stand between bars, which are tokens too."""

    def tokenize(self, text: str) -> list[str]:
        return [token for word in text.split("|") for token in (word, "|")][:-1]


def stream_of(*texts: str) -> TokenStream:
    return TokenStream.from_texts(texts, tokenizer=Barred())


TRAINING = "展昭|道|展昭|笑|道|白玉堂|展昭|白玉堂|蒋平|道\n徐庆|道\n"
HELD_OUT = "展昭|道|智化|徐庆|艾虎|展道\n"


def test_report_of_the_training_text_by_hand() -> None:
    stream = stream_of(TRAINING)
    report = Vocabulary.from_stream(stream, min_freq=2).report(stream)

    counts = Counter(token for token in stream if token != "\n")
    assert report.num_tokens == sum(counts.values())
    assert report.num_types == len(counts)
    assert report.num_hapaxes == sum(count == 1 for count in counts.values()) == 3
    # 展昭 3, 白玉堂 2 are words; 蒋平, 徐庆 are spelled; 道, 笑, | are characters
    (whole,) = report.sizes
    assert whole.num_words == 2
    assert whole.spelled_in_characters == pytest.approx(2 / report.num_tokens)
    assert whole.spelled_in_bytes == 0
    assert dict(report.spelled_words) == {"蒋平": 1, "徐庆": 1}


def test_smaller_sizes_keep_the_most_frequent_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zh_lstm_lm.corpus.coverage._SIZES", (1, 3, 1000))
    stream = stream_of(TRAINING)
    report = Vocabulary.from_stream(stream).report(stream)

    assert [size.num_words for size in report.sizes] == [1, 3, 4]
    spelled = [round(size.spelled_in_characters * report.num_tokens) for size in report.sizes]
    # First 展昭 (3 times) has no id, then the last of 徐庆 and 蒋平.
    assert spelled == [4, 1, 0]


def test_held_out_words_are_spelled_in_characters_or_bytes() -> None:
    report = Vocabulary.from_stream(stream_of(TRAINING)).report(stream_of(HELD_OUT))

    # The word is 展道.
    assert report.sizes[-1].spelled_in_characters == pytest.approx(1 / report.num_tokens)
    # The words are 智化 and 艾虎.
    assert report.sizes[-1].spelled_in_bytes == pytest.approx(2 / report.num_tokens)
    assert {word for word, _ in report.spelled_words} == {"智化", "艾虎", "展道"}


def test_in_a_closed_vocabulary_the_unknown_share_stands_there() -> None:
    report = Vocabulary.from_stream(stream_of(TRAINING), unknown="unk").report(stream_of(HELD_OUT))

    assert report.sizes[-1].spelled_in_characters == pytest.approx(3 / report.num_tokens)
    assert report.sizes[-1].spelled_in_bytes == 0


def test_the_report_prints_every_figure() -> None:
    stream = stream_of(TRAINING)
    told = str(Vocabulary.from_stream(stream, min_freq=2).report(stream))

    assert "types" in told
    assert "hapaxes" in told
    assert "Zipf" in told
    assert "蒋平 1" in told


@pytest.mark.parametrize("exponent", [0.7, 1.0, 1.3])
def test_zipf_slope_of_a_text_that_follows_the_law(exponent: float) -> None:
    counts = (1e6 / torch.arange(1, 5000).double() ** exponent).long()

    assert zipf_slope(counts[torch.randperm(len(counts), generator=torch.Generator().manual_seed(0))]) == pytest.approx(
        -exponent, abs=0.02
    )


def test_zipf_slope_of_a_few_types_is_not_a_number() -> None:
    assert math.isnan(zipf_slope(torch.tensor([5, 1, 1, 1])))


def test_what_is_no_stream_is_refused() -> None:
    with pytest.raises(ConfigError, match="stream"):
        Vocabulary().report("展昭")  # type: ignore[arg-type]


def test_a_notebook_shows_the_report_as_a_table() -> None:
    report = Vocabulary.from_stream(stream_of(TRAINING), min_freq=2).report(stream_of("展昭|<b>&|<b>&|道\n"))
    root = ET.fromstring(f"<div>{report._repr_html_()}</div>")
    cells = [[cell.text for cell in row] for row in root.iter("tr")]
    assert cells[0] == ["words", "spelled in characters", "in bytes"]
    assert [row[0] for row in cells[1:]] == [f"{size.num_words:,}" for size in report.sizes]
    shown = [str(part.text) for part in root.iter("p")]
    assert shown == [line for line in str(report).splitlines() if ":" in line or "Zipf" in line]
    assert "<b>& 2" in shown[1]
