"""N-best lists against the sums that the formula asks for."""

import math

import pytest

from zh_lstm_lm import ConfigError, DataError, LSTMLanguageModel, rescore, rescore_batch, score

CANDIDATES = [("展昭道", -3.0), ("展兆道", -2.5), ("展昭到：好", -4.0), ("龘", -1.0)]


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("length_normalization", ["none", "words", "characters"])
def test_the_order_is_that_of_the_formula(model: LSTMLanguageModel, length_normalization: str, end: bool) -> None:
    rescored = rescore(
        model,
        CANDIDATES,
        weight=0.7,
        word_bonus=0.4,
        length_normalization=length_normalization,  # type: ignore[arg-type]
        end=end,
    )
    assert [candidate.score for candidate in rescored] == sorted((c.score for c in rescored), reverse=True)
    assert sorted(candidate.index for candidate in rescored) == [0, 1, 2, 3]
    for candidate in rescored:
        text, given = CANDIDATES[candidate.index]
        log_prob = score(model, text, end=end).log_prob
        length = 1 if length_normalization == "none" else len(text) + end  # a word is a character here
        assert (candidate.text, candidate.given_score, candidate.num_words) == (text, given, len(text))
        assert candidate.log_prob == pytest.approx(log_prob, abs=1e-4)
        assert candidate.score == pytest.approx(given + 0.7 * log_prob / length + 0.4 * len(text), abs=1e-4)


def test_weights_settle_who_decides(model: LSTMLanguageModel) -> None:
    assert [c.index for c in rescore(model, CANDIDATES, weight=0.0)] == [3, 1, 0, 2]
    texts = [text for text, _ in CANDIDATES]
    by_model = sorted(range(4), key=lambda n: -score(model, texts[n], end=True).log_prob)
    assert [c.index for c in rescore(model, texts)] == by_model
    assert [c.index for c in rescore(model, ["展", "展", "展"])] == [0, 1, 2], "equal ones keep their order"
    assert rescore(model, CANDIDATES, word_bonus=1e6)[0].index == 2


def test_what_was_read_before_counts(model: LSTMLanguageModel) -> None:
    state = score(model, "展昭").state
    (found,) = rescore(model, ["道"], state=state, end=False)
    assert found.log_prob == pytest.approx(score(model, "展昭道").log_probs[-1], abs=1e-5)


def test_many_lists_at_once_are_each_as_alone(model: LSTMLanguageModel) -> None:
    lists = [CANDIDATES, [("酒", 0.0)], CANDIDATES[::-1]]
    for found, candidates in zip(rescore_batch(model, lists), lists, strict=True):
        alone = rescore(model, candidates)
        assert [c.index for c in found] == [c.index for c in alone]
        assert [c.score for c in found] == pytest.approx([c.score for c in alone], abs=1e-4)
    assert rescore_batch(model, []) == []


@pytest.mark.parametrize("candidates", ["展昭", [], [5], [("展", "1")], [("展", math.nan)], [("展", 1.0, 2)], None])
def test_what_is_no_list_is_refused(model: LSTMLanguageModel, candidates: object) -> None:
    with pytest.raises(DataError, match="candidate"):
        rescore(model, candidates)  # type: ignore[arg-type]


def test_options_out_of_range_are_refused(model: LSTMLanguageModel) -> None:
    with pytest.raises(ConfigError, match="weight"):
        rescore(model, CANDIDATES, weight=-1.0)
    with pytest.raises(ConfigError, match="length_normalization"):
        rescore(model, CANDIDATES, length_normalization="tokens")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="empty"):
        rescore(model, [""], end=False)


def test_a_score_beyond_all_numbers_is_refused(model: LSTMLanguageModel) -> None:
    with pytest.raises(DataError, match="finite score"):
        rescore(model, [("展昭", 10**400)])
