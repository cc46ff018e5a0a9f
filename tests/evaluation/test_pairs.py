"""Minimal pairs against the scores of single sentences and against other ways to the statistics."""

import math
import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zh_lstm_lm import (
    ConfigError,
    ContinuousCache,
    DataError,
    LSTMLanguageModel,
    Mixture,
    ModelConfig,
    NGramLanguageModel,
    NonFiniteError,
    TokenStream,
    Vocabulary,
    compare_pairs,
    score,
)
from zh_lstm_lm.evaluation.score import read_rows
from zh_lstm_lm.evaluation.shared_prefixes import sum_log_probs
from zh_lstm_lm.text.normalization import normalize_text

Z = 1.959963984540054
EXPONENTS = {"log_prob": 0.0, "per_character": 1.0, "slln": 0.5}


def make_pairs(texts: list[str], number: int = 60) -> list[tuple[str, str, str]]:
    """Sentences with a changed copy, in three groups; some copies are longer, shorter or unchanged."""
    chance = random.Random(0)
    sentences = [line for text in texts for line in text.split("\n") if line]
    pairs = []
    for index in range(number):
        good = chance.choice(sentences)
        place = chance.randrange(1, len(good))
        bad = chance.choice([good[:place] + good[place + 1 :], good[:place] + "了龘" + good[place:], good, good[::-1]])
        pairs.append((good, bad, "abc"[index % 3]))
    return pairs


@pytest.fixture(params=["lstm", "ngram", "mixture", "cache", "own spelling"])
def any_model(request: pytest.FixtureRequest, model: LSTMLanguageModel, stream: TokenStream) -> Any:
    ngram = NGramLanguageModel.from_stream(stream, model.vocabulary, order=3)
    if request.param == "own spelling":
        texts = ["展昭大喜。白玉堂也大喜。ＡＢＣ\n"] * 3
        own = Vocabulary.from_stream(TokenStream.from_texts(texts, tokenizer="jieba", normalize="nfkc"))
        return LSTMLanguageModel(own, ModelConfig(embedding_dim=8, hidden_size=8)).eval()
    mixture = Mixture([model, ngram])
    return {"lstm": model, "ngram": ngram, "mixture": mixture, "cache": ContinuousCache(mixture)}[request.param]


def test_every_figure_is_that_of_single_scores(any_model: Any, texts: list[str]) -> None:
    pairs = make_pairs(texts)
    result = compare_pairs(any_model, pairs)
    points: dict[str, dict[str, list[float]]] = {measure: {} for measure in EXPONENTS}
    for (good, bad, group), found in zip(pairs, result.log_probs, strict=True):
        expected = [score(any_model, text).log_prob for text in (good, bad)]
        assert found == pytest.approx(expected, rel=1e-5)
        for measure, exponent in EXPONENTS.items():
            lengths = [len(normalize_text(text, any_model.vocabulary.normalize)) for text in (good, bad)]
            a, b = (value / length**exponent for value, length in zip(expected, lengths, strict=True))
            point = 0.5 if good == bad else float(a > b)
            points[measure].setdefault(group, []).append(point)
    assert [group.name for group in result.groups] == ["a", "b", "c"]
    assert [group.num_pairs for group in result.groups] == [20, 20, 20]
    for measure, of_groups in points.items():
        means = [sum(values) / len(values) for values in of_groups.values()]
        assert [getattr(group, measure).accuracy for group in result.groups] == pytest.approx(means)
        ties = [values.count(0.5) for values in of_groups.values()]
        assert [getattr(group, measure).ties for group in result.groups] == ties
        assert getattr(result.macro, measure).accuracy == pytest.approx(sum(means) / 3)
        assert getattr(result.macro, measure).ties == sum(ties) > 0


def test_the_measures_decide_differently(stream: TokenStream, vocabulary: Vocabulary) -> None:
    ngram = NGramLanguageModel.from_stream(stream, vocabulary, order=3)
    result = compare_pairs(ngram, [("剑", "展昭道：“好大的雪！”")])
    assert (result.macro.log_prob.accuracy, result.macro.per_character.accuracy) == (1.0, 0.0)


def test_a_batch_changes_nothing(any_model: Any, texts: list[str]) -> None:
    pairs = make_pairs(texts, 20)
    whole, single = compare_pairs(any_model, pairs), compare_pairs(any_model, pairs, batch_size=1)
    assert torch.tensor(whole.log_probs).allclose(torch.tensor(single.log_probs), rtol=1e-5)
    assert whole.groups == single.groups


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=5), min_size=1, max_size=12), st.integers(1, 5), st.data()
)
def test_shared_prefixes_are_sums_of_whole_rows(rows: list[list[int]], batch_size: int, data: st.DataObject) -> None:
    stream = TokenStream.from_texts(["一二三一二\n三三一\n"], tokenizer="characters")
    vocabulary = Vocabulary.from_stream(stream)
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=4, output="full")).eval()
    chosen: Any = data.draw(st.sampled_from([model, NGramLanguageModel.from_stream(stream, vocabulary, order=3)]))
    expected = [math.fsum(log_probs) for log_probs, _ in read_rows(chosen, rows)]
    assert sum_log_probs(chosen, rows, batch_size=batch_size) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("right", "wrong", "ties"), [(7, 3, 0), (0, 5, 0), (5, 0, 0), (0, 0, 4), (3, 6, 2), (1, 0, 0)])
@pytest.mark.parametrize(("confidence", "z"), [(0.95, Z), (0.8, 1.2815515655446004)])
def test_wilson_ends_are_where_the_score_test_just_rejects(
    model: LSTMLanguageModel, right: int, wrong: int, ties: int, confidence: float, z: float
) -> None:
    better, worse = sorted(["展昭道", "玉雪堂"], key=lambda text: -score(model, text).log_prob)
    pairs = [(better, worse)] * right + [(worse, better)] * wrong + [(better, better)] * ties
    found = compare_pairs(model, pairs, confidence=confidence).groups[0].log_prob
    number, proportion = len(pairs), (right + ties / 2) / len(pairs)
    assert found.accuracy == pytest.approx(proportion)
    assert found.ties == ties
    assert 0 <= found.low <= proportion <= found.high <= 1
    for end in (found.low, found.high):
        assert (proportion - end) ** 2 == pytest.approx(z**2 * end * (1 - end) / number, abs=1e-9)


def test_the_macro_interval_combines_those_of_the_groups(model: LSTMLanguageModel) -> None:
    better, worse = sorted(["展昭道", "玉雪堂"], key=lambda text: -score(model, text).log_prob)
    good, bad = (better, worse), (worse, better)
    alone = compare_pairs(model, [good] * 6 + [bad] * 4)
    assert alone.macro.log_prob.low == pytest.approx(alone.groups[0].log_prob.low)
    assert alone.macro.log_prob.high == pytest.approx(alone.groups[0].log_prob.high)
    four = [(*pair, str(group)) for group in range(4) for pair in [good] * 6 + [bad] * 4]
    macro, of_one = compare_pairs(model, four).macro.log_prob, alone.macro.log_prob
    assert macro.accuracy == pytest.approx(0.6)
    assert 0.6 - macro.low == pytest.approx((0.6 - of_one.low) / 2), "four groups halve the error"
    assert macro.high - 0.6 == pytest.approx((of_one.high - 0.6) / 2)
    # Each group has equal weight, whatever its number of pairs.
    uneven = compare_pairs(model, [(*good, "small")] * 2 + [(*bad, "large")] * 50)
    assert uneven.macro.log_prob.accuracy == 0.5


def test_the_macro_interval_covers_the_truth(model: LSTMLanguageModel) -> None:
    better, worse = sorted(["展昭道", "玉雪堂"], key=lambda text: -score(model, text).log_prob)
    chance, truths, covered = random.Random(1), (0.9, 0.6, 0.5), 0
    for _ in range(200):
        pairs = [
            (better, worse, str(truth)) if chance.random() < truth else (worse, better, str(truth))
            for truth in truths
            for _ in range(30)
        ]
        macro = compare_pairs(model, pairs).macro.log_prob
        covered += macro.low <= sum(truths) / 3 <= macro.high
    assert 0.91 <= covered / 200 <= 0.995


def test_unknown_characters_are_shown(model: LSTMLanguageModel) -> None:
    result = compare_pairs(model, [("展昭龘龘道", "展龘靐", "x"), ("雪大", "大雪", "x"), ("靐", "龘", "y")])
    assert result.unknown_characters == {"靐": 2, "龘": 2}
    assert [group.num_unknown for group in result.groups] == [1, 1]
    assert result.macro.num_unknown == 2
    assert [row["unknown"] for row in result.to_rows()] == [1, 1, 2]


def test_words_that_become_unk_are_unknown(stream: TokenStream) -> None:
    closed = Vocabulary.from_stream(stream, unknown="unk")
    model = LSTMLanguageModel(closed, ModelConfig(embedding_dim=4, hidden_size=4)).eval()
    result = compare_pairs(model, [("展昭龘", "昭展"), ("雪大", "大雪")])
    assert result.unknown_characters == {"龘": 1}
    assert result.macro.num_unknown == 1


def test_rows_and_values_hold_the_same(model: LSTMLanguageModel, texts: list[str]) -> None:
    result = compare_pairs(model, make_pairs(texts, 9))
    values, rows = result.to_dict(), result.to_rows()
    assert [row["group"] for row in rows] == ["a", "b", "c", "macro average"]
    for row, group in zip(rows, [*values["groups"], values["macro"]], strict=True):
        assert row["pairs"] == group["num_pairs"]
        assert all(row[f"{m}_{name}"] == value for m in EXPONENTS for name, value in group[m].items())


def test_mappings_and_tuples_are_alike(model: LSTMLanguageModel) -> None:
    mappings: list[Any] = [{"good": "展昭", "bad": "昭展", "group": "x", "other": 1}, {"good": "雪大", "bad": "大雪"}]
    assert compare_pairs(model, mappings) == compare_pairs(model, [("展昭", "昭展", "x"), ("雪大", "大雪")])
    assert compare_pairs(model, mappings).groups[1].name == "all"


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        ([], "no pair"),
        ("展昭", "pairs must be a list"),
        (None, "pairs must be a list"),
        ([("展", "昭"), "展昭"], r"pairs\[1\] must be"),
        ([("展",)], r"pairs\[0\] must be"),
        ([{"good": "展"}], r"pairs\[0\] must be"),
        ([("展", "")], r"pairs\[0\]: the bad sentence is empty"),
        ([(" ", "展")], "the good sentence is empty"),
        ([("展", "昭", "")], "the group is empty"),
        ([("展", 5)], "the bad sentence must be a string, got 5"),
        ([("展", "\ud800")], "lone surrogate"),
        ([("展", "昭", None)], "the group must be a string"),
    ],
)
def test_what_is_no_pair_is_refused(model: LSTMLanguageModel, pairs: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        compare_pairs(model, pairs)


def test_options_and_models_that_cannot_be_are_refused(model: LSTMLanguageModel) -> None:
    for option in ({"batch_size": 0}, {"confidence": 1.0}, {"confidence": "0.9"}):
        with pytest.raises(ConfigError, match=next(iter(option))):
            compare_pairs(model, [("展", "昭")], **option)
    with pytest.raises(ConfigError, match="LanguageModel"):
        compare_pairs("wuxia", [("展", "昭")])  # type: ignore[arg-type]
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    with pytest.raises(NonFiniteError):
        compare_pairs(model, [("展", "昭")])
