"""pyctcdecode's own decoder over the KenLM adapter, held to sums of log-probabilities."""

import importlib.util
import math
import sys
from typing import Any

import pytest

from zh_lstm_lm import LSTMLanguageModel, score
from zh_lstm_lm.evaluation import kenlm as adapter

ALPHA, BETA = 0.7, 5.0
# A word is followed by a space in pyctcdecode, and here it is a character.
LABELS = ["", " ", "展", "昭", "酒", "道", "雪"]


@pytest.fixture
def pyctcdecode(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package, which imports the adapter by the name of KenLM."""
    if importlib.util.find_spec("pyctcdecode") is None:
        pytest.skip("pyctcdecode is not installed")
    monkeypatch.setitem(sys.modules, "kenlm", adapter)
    yield importlib.import_module("pyctcdecode")
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyctcdecode"]:
        del sys.modules[name]


@pytest.fixture
def sounds() -> Any:
    """Log-probabilities of the labels in each frame: the second and third words sound like two others each."""
    numpy = pytest.importorskip("numpy")
    frames = [{"展": 0.9}, {" ": 0.9}, {"昭": 0.44, "酒": 0.46}, {" ": 0.9}, {"道": 0.44, "雪": 0.46}]
    rows = []
    for frame in frames:
        rest = (1 - sum(frame.values())) / (len(LABELS) - len(frame))
        rows.append([math.log(frame.get(label, rest)) for label in LABELS])
    return numpy.array(rows)


@pytest.mark.parametrize("saved", [True, False])
def test_a_decoder_ranks_by_sound_and_model(
    pyctcdecode: Any, sounds: Any, model: LSTMLanguageModel, tmp_path: Any, saved: bool
) -> None:
    if saved:
        model.save_pretrained(tmp_path / "model")
        decoder = pyctcdecode.build_ctcdecoder(
            LABELS, str(tmp_path / "model"), unigrams=LABELS[2:], alpha=ALPHA, beta=BETA
        )
    else:
        language_model = pyctcdecode.LanguageModel(adapter.Model(model), unigrams=LABELS[2:], alpha=ALPHA, beta=BETA)
        alphabet = pyctcdecode.Alphabet.build_alphabet(LABELS)
        decoder = pyctcdecode.BeamSearchDecoderCTC(alphabet, language_model)
    beams = {beam[0]: beam for beam in decoder.decode_beams(sounds)}
    texts = [f"展 {second} {third}" for second in "昭酒" for third in "道雪"]
    for text in texts:
        words = text.split()
        *_, sound, total = beams[text]
        expected = ALPHA * score(model, "".join(words), end=True).log_prob + BETA * len(words)
        assert total - sound == pytest.approx(expected, abs=1e-3)
    assert decoder.decode(sounds) == max(texts, key=lambda text: beams[text][-1])
    assert pyctcdecode.build_ctcdecoder(LABELS).decode(sounds) == "展 酒 雪"


def test_unknown_words_and_open_ends_are_scored(pyctcdecode: Any, model: LSTMLanguageModel) -> None:
    for boundary in (True, False):
        language_model = pyctcdecode.LanguageModel(adapter.Model(model), score_boundary=boundary, alpha=1.0, beta=0.0)
        start = language_model.get_start_state()
        assert start == language_model.get_start_state()
        known, state = language_model.score(start, "展")
        unknown, _ = language_model.score(state, "龘", is_last_word=True)
        expected = score(model, "展龘", end=boundary).log_prob
        if boundary:
            assert known + unknown == pytest.approx(expected - 10 * math.log(10), abs=1e-3)
        else:
            frequencies = model.vocabulary.counts
            share = frequencies[model.vocabulary.token_to_id("展")] / sum(max(count, 0.5) for count in frequencies[1:])
            assert known == pytest.approx(math.log(share), abs=1e-3)
