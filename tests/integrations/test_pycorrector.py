"""pycorrector's own detector over the KenLM adapter, held to its rule applied to the scores of the model."""

import importlib.util
import math
import statistics
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from zh_lstm_lm import LSTMLanguageModel, NGramLanguageModel, TokenStream, Vocabulary
from zh_lstm_lm.evaluation import kenlm as adapter

NEEDED = ("pycorrector", "ahocorasick", "loguru", "pypinyin", "six", "numpy")


@pytest.fixture
def detector_class(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The class, which imports the adapter by the name of KenLM."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    monkeypatch.setenv("PYCORRECTOR_DATA_DIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, "kenlm", adapter)
    # The package itself imports its neural correctors, which need transformers and pandas; the detector needs neither.
    package = ModuleType("pycorrector")
    package.__path__ = list(importlib.util.find_spec("pycorrector").submodule_search_locations or ())  # type: ignore[union-attr]
    monkeypatch.setitem(sys.modules, "pycorrector", package)
    yield importlib.import_module("pycorrector.detector").Detector
    for name in [name for name in sys.modules if name.startswith("pycorrector.")]:
        del sys.modules[name]


def make_detector(detector_class: Any, path: Path) -> Any:
    """A detector without dictionaries, which would change jieba for all tests."""
    names = (
        "word_freq_path",
        "person_name_path",
        "place_name_path",
        "stopwords_path",
        "proper_name_path",
        "stroke_path",
    )
    detector = detector_class(language_model_path=str(path), **dict.fromkeys(names, ""))
    detector.enable_word_error(False)
    detector.check_detector_initialized()
    return detector


def found_by_hand(lm: adapter.Model, sentence: str) -> list[int]:
    """The places of characters whose n-grams score more than two deviations below the median."""
    averages = []
    for n in (2, 3):
        scores = [lm.score(" ".join(sentence[i : i + n]), bos=False, eos=False) for i in range(len(sentence) - n + 1)]
        padded = [scores[0]] * (n - 1) + scores + [scores[-1]] * (n - 1)
        averages.append([statistics.fmean(padded[i : i + n]) for i in range(len(sentence))])
    values = [statistics.fmean(pair) for pair in zip(*averages, strict=True)]
    median = statistics.median(values)
    deviation = statistics.median(abs(value - median) for value in values)
    return [i for i, v in enumerate(values) if v < median and 0.6745 * (median - v) / deviation > 2]


def test_a_detector_finds_the_wrong_character(
    detector_class: Any, stream: TokenStream, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    model = NGramLanguageModel.from_stream(stream, vocabulary, order=3)
    model.save_pretrained(tmp_path / "model")
    detector = make_detector(detector_class, tmp_path / "model")
    assert isinstance(detector.lm, adapter.Model)
    right, wrong = "只见房上一条黑影如飞而去", "只见房上一条黑影如非而去"
    assert detector.ppl_score(list(right)) < detector.ppl_score(list(wrong))
    for sentence in (right, wrong):
        found = found_by_hand(adapter.Model(model), sentence)
        assert [start for _, start, _, kind in detector.detect(sentence) if kind == "char"] == found
    assert ["非", 9, 10, "char"] in detector.detect(wrong)


def test_a_detector_reads_a_model_of_words(detector_class: Any, trained: LSTMLanguageModel, tmp_path: Path) -> None:
    trained.save_pretrained(tmp_path / "model")
    detector = make_detector(detector_class, tmp_path / "model")
    detector.lm = adapter.Model(trained, resegment=True)
    sentence = "白玉堂拔剑在手夜里三更展昭换了夜行医"
    assert math.isfinite(detector.ngram_score(list(sentence)))
    found = [start for _, start, _, _ in detector.detect(sentence)]
    assert found == found_by_hand(detector.lm, sentence)
