"""Words for a gap, against trying every word of the vocabulary."""

import math

import pytest
import torch

from zh_lstm_lm import ConfigError, DataError, LSTMLanguageModel, ModelConfig, Vocabulary, score, suggest


@pytest.fixture(scope="module")
def sure(vocabulary: Vocabulary) -> LSTMLanguageModel:
    """Random weights, large enough that what stands beside a word matters."""
    config = ModelConfig(embedding_dim=8, hidden_size=12, output="adaptive", cutoffs=(20, 60), dropout=0.5)
    model = LSTMLanguageModel(vocabulary, config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return model


def tried(model: LSTMLanguageModel, left: str, right: str) -> list[tuple[float, str]]:
    """Each word of the vocabulary in its place, the best first."""
    words = [token for token in model.vocabulary if len(token) == 1 and not token.isspace()]
    before = score(model, left).log_prob if left else 0.0
    return sorted(((score(model, left + word + right).log_prob - before, word) for word in words), reverse=True)


@pytest.mark.parametrize(("left", "right"), [("展昭", "好大的雪"), ("", "昭道"), ("白玉", "")])
def test_the_best_words_are_found_in_order(sure: LSTMLanguageModel, left: str, right: str) -> None:
    expected = tried(sure, left, right)
    found = suggest(sure, left, right, k=8)
    assert [suggestion.word for suggestion in found] == [word for _, word in expected[:8]]
    assert [suggestion.log_prob for suggestion in found] == pytest.approx([p for p, _ in expected[:8]], abs=1e-4)
    shares = [math.exp(p) for p, _ in expected]
    total = sum(shares) if right else 1.0
    assert [s.probability for s in found] == pytest.approx([share / total for share in shares[:8]], rel=1e-3)
    assert sure.training, "the mode is given back"


def test_what_follows_changes_the_choice(sure: LSTMLanguageModel) -> None:
    alone, with_right = suggest(sure, "展昭"), suggest(sure, "展昭", "雪大")
    assert [s.word for s in alone] != [s.word for s in with_right]
    few = suggest(sure, "展昭", "雪大", k=3, num_candidates=3)
    assert {s.word for s in few} == {s.word for s in alone[:3]}


def test_all_words_and_no_more_can_be_had(sure: LSTMLanguageModel) -> None:
    words = [s.word for s in suggest(sure, "展", k=10_000)]
    assert set(words) == {token for token in sure.vocabulary if len(token) == 1 and not token.isspace()}
    assert len(words) == len(set(words))


def test_what_cannot_be_is_refused(sure: LSTMLanguageModel) -> None:
    with pytest.raises(ConfigError, match="k must"):
        suggest(sure, "展", k=0)
    with pytest.raises(DataError, match="string"):
        suggest(sure, None)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="surrogate"):
        suggest(sure, "展", "\ud800")
