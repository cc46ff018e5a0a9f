"""Stimulus tables against sums computed by hand, and the tables that spreadsheets write against the csv module."""

import csv
import io
import math
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
    TokenStream,
    Vocabulary,
    score,
    score_batch,
    score_table,
)
from zh_lstm_lm.evaluation.stimuli import read_table

ROWS: list[dict[Any, Any]] = [
    {"item": 1, "sentence": "展昭道：“好大的雪！”", "context": "第一回\n"},
    {"item": 2, "sentence": "酒才好喝。", "context": ""},
    {"item": 3, "sentence": "龘展昭", "context": "雪大，"},
]


def by_hand(model: LSTMLanguageModel, before: list[int], ids: list[int]) -> list[float]:
    """The surprisal of each id in bits, from the logits of one pass over the whole text."""
    row = [model.vocabulary.bos_id, *before, *ids]
    with torch.inference_mode():
        log_probs = model(torch.tensor([row[:-1]]))[0].double().log_softmax(-1)[0]
    return [-float(log_probs[place, row[place + 1]]) / math.log(2) for place in range(len(before), len(row) - 1)]


@pytest.fixture(scope="module")
def words(texts: list[str]) -> LSTMLanguageModel:
    """A model of jieba's words, of which some are spelled."""
    vocabulary = Vocabulary.from_stream(TokenStream.from_texts(texts), min_freq=2)
    return LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=8, output="full")).eval()


def test_words_have_the_surprisals_of_the_whole_text(model: LSTMLanguageModel, texts: list[str]) -> None:
    vocabulary = model.vocabulary
    scored = score_table(model, ROWS, "sentence", context_column="context")
    assert ["".join(unit["word"] for unit in scored if unit["item"] == row["item"]) for row in ROWS] == [
        row["sentence"] for row in ROWS
    ]
    for row in ROWS:
        units = [unit for unit in scored if unit["item"] == row["item"]]
        assert [unit["index"] for unit in units] == list(range(1, len(units) + 1))
        bits = by_hand(model, vocabulary.encode(row["context"]), vocabulary.encode(row["sentence"]))
        assert sum(unit["surprisal"] for unit in units) == pytest.approx(sum(bits), rel=1e-5)
        for unit in units:
            assert list(unit) == [*row, "word", "index", "surprisal", "frequency", "kind"]
            assert {name: unit[name] for name in row} == row
            known = unit["word"] in vocabulary
            assert unit["frequency"] == ("".join(texts).count(unit["word"]) if known else None)
            assert unit["kind"] == ("word" if known else "bytes")
    alone = score_table(model, ROWS[1:2], "sentence")
    assert sum(unit["surprisal"] for unit in alone) == pytest.approx(-score(model, "酒才好喝。").log_prob / math.log(2))


def test_given_words_stay_words(words: LSTMLanguageModel) -> None:
    vocabulary = words.vocabulary
    text, context = "白 玉堂 展昭\u3000酒店龘 。", "展昭 道 ：\n二人"
    given_words = ["白", "玉堂", "展昭", "酒店龘", "。"]
    spelled = [vocabulary.spell(word) for word in given_words]
    before = [*(i for word in ["展昭", "道", "："] for i in vocabulary.spell(word)), 1, *vocabulary.spell("二人")]
    bits = iter(by_hand(words, before, [i for ids in spelled for i in ids]))
    expected = [sum(next(bits) for _ in ids) for ids in spelled]
    rows = [{"text": text, "before": context}]
    scored = score_table(words, rows, "text", context_column="before", pre_tokenized=True)
    assert [unit["word"] for unit in scored] == given_words
    assert [unit["surprisal"] for unit in scored] == pytest.approx(expected, rel=1e-5)
    assert {unit["word"]: unit["kind"] for unit in scored} == {
        word: "word" if word in vocabulary else "bytes" if "龘" in word else "characters" for word in given_words
    }
    (whole,) = score_table(words, rows, "text", context_column="before", pre_tokenized=True, per="text")
    assert whole["surprisal"] == pytest.approx(sum(expected), rel=1e-5)
    assert (whole["words"], whole["kind"]) == (5, "bytes")


def test_given_words_that_the_tokenizer_finds_too_score_as_the_text(words: LSTMLanguageModel) -> None:
    text = "白玉堂拔剑在手，道：“展兄，请。”\n二人推门"
    found = [word.text for word in score(words, text).words]
    spaced = score(words, " ".join(found), pre_tokenized=True, end=True)
    assert spaced.log_prob == pytest.approx(score(words, text, end=True).log_prob)
    assert [word.text for word in spaced.words] == [*found, ""]
    (batched,) = score_batch(words, [" ".join(found)], pre_tokenized=True, end=True)
    assert batched.log_prob == pytest.approx(spaced.log_prob)
    with pytest.raises(DataError, match="empty"):
        score(words, " \t", pre_tokenized=True)


def test_a_vocabulary_of_given_words_implies_the_spaces() -> None:
    stream = TokenStream.from_texts(["展昭 大喜 。\n白玉堂 大喜 。\n" * 3], tokenizer="whitespace")
    model = LSTMLanguageModel(Vocabulary.from_stream(stream), ModelConfig(embedding_dim=4, hidden_size=4)).eval()
    expected = score(model, "展昭 大喜 龘 。")
    scored = score_table(model, [{"s": "展昭 大喜 龘 。"}], "s")
    assert [unit["word"] for unit in scored] == ["展昭", "大喜", "龘", "。"]
    assert [unit["frequency"] for unit in scored] == [3, 6, None, 6]
    assert sum(unit["surprisal"] for unit in scored) == pytest.approx(sum(expected.surprisals))
    given_words = score(model, "展昭   大喜\t龘 。", pre_tokenized=True)
    assert given_words.log_prob == pytest.approx(expected.log_prob)


def test_given_words_are_normalised_with_their_places() -> None:
    stream = TokenStream.from_texts(["ABC大喜12\n" * 3], tokenizer="characters", normalize="nfkc")
    model = LSTMLanguageModel(Vocabulary.from_stream(stream), ModelConfig(embedding_dim=4, hidden_size=4)).eval()
    found = score(model, "ＡＢ\u3000大①", pre_tokenized=True)
    assert [(word.text, word.start, word.stop) for word in found.words] == [("ＡＢ", 0, 2), ("大①", 3, 5)]
    assert found.log_prob == pytest.approx(score(model, "AB大1").log_prob)


def test_every_model_has_tables(model: LSTMLanguageModel, stream: TokenStream) -> None:
    ngram = NGramLanguageModel.from_stream(stream, model.vocabulary, order=3)
    for each in (ngram, Mixture([model, ngram]), ContinuousCache(model)):
        scored = score_table(each, ROWS, "sentence", context_column="context", per="text")
        for row, unit in zip(ROWS, scored, strict=True):
            whole, context = score(each, row["context"] + row["sentence"]), row["context"]
            before = score(each, context).log_prob if context else 0.0
            assert unit["surprisal"] == pytest.approx((before - whole.log_prob) / math.log(2), rel=1e-4)


def test_previous_surprisals_stand_beside_each(model: LSTMLanguageModel) -> None:
    scored = score_table(model, ROWS, "sentence", previous=2)
    for unit, before, second in zip(scored[2:], scored[1:], scored, strict=False):
        same = unit["index"] > 2
        assert unit["surprisal_previous_1"] == (before["surprisal"] if unit["index"] > 1 else None)
        assert unit["surprisal_previous_2"] == (second["surprisal"] if same else None)


REGIONS = ["展昭", "道：“", "好大的雪", "！”"]


def test_rows_of_a_text_are_its_regions(words: LSTMLanguageModel) -> None:
    text = "".join(REGIONS)
    # Two readers, one after the other.
    rows = [{"text": text, "region": region} for region in REGIONS * 2]
    scored = score_table(words, rows, "text", region_column="region", previous=1)
    expected = score(words, text)
    assert [(unit["text"], unit["region"]) for unit in scored] == [(text, unit["region"]) for unit in scored]
    ends = {word.stop for word in expected.words} | {0}
    place = 0
    for unit, region in zip(scored, REGIONS, strict=False):
        start, place = place, place + len(region)
        assert unit["surprisal"] == pytest.approx(sum(expected.character_surprisals[start:place]))
        inside = [word for word in expected.words if word.stop > start and word.start < place]
        assert unit["words"] == len(inside)
        assert unit["cut_words"] == (start not in ends) + (place not in ends)
        if not unit["cut_words"]:
            assert unit["surprisal"] == pytest.approx(sum(word.surprisal for word in inside), rel=1e-5)
    assert sum(unit["surprisal"] for unit in scored[:4]) == pytest.approx(sum(expected.surprisals), rel=1e-5)
    bits = [unit["surprisal"] for unit in scored]
    assert bits[4:] == bits[:4]
    assert [unit["surprisal_previous_1"] for unit in scored] == [None, *bits[:3], None, *bits[:3]]


def test_a_cell_can_have_all_regions(words: LSTMLanguageModel) -> None:
    text = "".join(REGIONS)
    one = score_table(words, [{"t": text, "r": " | ".join(REGIONS)}], "t", region_column="r", previous=2)
    many = score_table(words, [{"t": text, "r": region} for region in REGIONS], "t", region_column="r", previous=2)
    assert [{**unit, "r": None} for unit in one] == [{**unit, "r": None} for unit in many]
    assert [unit["region"] for unit in one] == REGIONS


def test_white_space_belongs_to_the_region_after_it(model: LSTMLanguageModel) -> None:
    rows = [{"t": "展昭 道： 雪 ", "r": region} for region in ("展昭", "道：", "雪")]
    scored = score_table(model, rows, "t", region_column="r")
    expected = score(model, "展昭 道： 雪 ")
    assert sum(unit["surprisal"] for unit in scored) == pytest.approx(sum(expected.surprisals))
    assert scored[1]["surprisal"] == pytest.approx(sum(expected.surprisals[2:5]))
    given_words = score_table(model, rows, "t", region_column="r", pre_tokenized=True)
    assert [unit["surprisal"] for unit in given_words] == pytest.approx(
        [word.surprisal for word in score(model, "展昭 道： 雪", pre_tokenized=True).words]
    )
    assert [(unit["index"], unit["words"], unit["cut_words"]) for unit in given_words] == [
        (1, 1, 0),
        (2, 1, 0),
        (3, 1, 0),
    ]


def test_a_critical_region_occurs_once(model: LSTMLanguageModel) -> None:
    rows = [{"t": "好大的雪！", "r": "大的"}, {"t": "好大的雪！", "r": "雪"}, {"t": "酒才好喝。", "r": "好喝"}]
    scored = score_table(model, rows, "t", region_column="r", previous=1)
    expected = score(model, "好大的雪！").surprisals
    assert scored[0]["surprisal"] == pytest.approx(expected[1] + expected[2])
    assert scored[1]["surprisal"] == pytest.approx(expected[3])
    assert [unit["surprisal_previous_1"] for unit in scored] == [None, scored[0]["surprisal"], None]
    assert [unit["index"] for unit in scored] == [2, 4, 3]
    with pytest.raises(DataError, match=r"rows\[0\]: the region '酒' is not in the text"):
        score_table(model, [{"t": "好大的雪！", "r": "酒"}], "t", region_column="r")
    with pytest.raises(DataError, match=r"rows\[1\]: the region '雪' occurs several times"):
        score_table(model, [rows[0], {"t": "雪大雪", "r": "雪"}], "t", region_column="r")
    with pytest.raises(DataError, match="has an empty region"):
        score_table(model, [{"t": "雪大", "r": "雪|"}], "t", region_column="r")


def test_names_that_are_taken_stay_with_their_columns(model: LSTMLanguageModel) -> None:
    row = {"word": "酒", "kind": "a", "lm_kind": "b"}
    (unit,) = score_table(model, [row], "word")
    assert {name: unit[name] for name in row} == row
    assert (unit["lm_word"], unit["lm_lm_kind"]) == ("酒", "word")
    assert row == {"word": "酒", "kind": "a", "lm_kind": "b"}


def test_an_unknown_frequency_is_none() -> None:
    vocabulary = Vocabulary(["展", *range(256)], tokenizer="characters")
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=4)).eval()
    (unit,) = score_table(model, [{"t": "展"}], "t")
    assert (unit["kind"], unit["frequency"]) == ("word", None)


def test_the_end_is_a_row_of_its_own(model: LSTMLanguageModel) -> None:
    scored = score_table(model, [{"t": "展昭"}], "t", end=True)
    assert [(unit["word"], unit["kind"]) for unit in scored] == [("展", "word"), ("昭", "word"), ("", "end")]
    assert sum(unit["surprisal"] for unit in scored) == pytest.approx(sum(score(model, "展昭", end=True).surprisals))
    assert score_table(model, [], "t") == []


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"s": "雪"}, "has no column 't'; its columns are 's'"),
        ({"t": " "}, "the column 't' is empty"),
        ({"t": math.nan}, "the column 't' must be a string"),
        ({"t": "\ud800"}, "lone surrogate"),
        ("雪", "has no column 't'"),
    ],
)
def test_broken_rows_are_named(model: LSTMLanguageModel, row: Any, told: str) -> None:
    with pytest.raises(DataError, match=r"rows\[1\]: ") as caught:
        score_table(model, [{"t": "雪"}, row], "t")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"per": "token"}, "per"),
        ({"previous": -1}, "previous"),
        ({"previous": 1, "per": "text"}, "previous goes with words"),
        ({"region_column": "t", "per": "text"}, "region_column does not go together with per"),
        ({"region_column": "t", "end": True}, "region_column does not go together with end"),
        ({"pre_tokenized": 1}, "pre_tokenized"),
    ],
)
def test_options_out_of_range_are_refused(model: LSTMLanguageModel, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        score_table(model, [{"t": "雪"}], "t", **options)


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(CELLS.filter(str.strip), CELLS, CELLS), min_size=1, max_size=4),
    st.sampled_from("\t,;"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
def test_every_table_is_read_as_it_was_written(rows: list[tuple[str, ...]], delimiter: str, quoting: Any) -> None:
    file = io.StringIO(newline="\n")
    header = ("sentence", "a, b; c", "")
    csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerows([header, *rows])
    read, names = read_table(file.getvalue(), "f", ["sentence"])
    assert [tuple(row.values()) for row in read] == rows
    assert list(read[0]) == ["sentence", "a, b; c", 2]
    assert names[0] == f"f, row 2 (line {2})"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no column 't'; its columns are none"),
        ("a,b\n1,2\n", "has no column 't'; its columns are 'a', 'b'"),
        ("t\tb\n\n", "there is no row below the header"),
        ("t\tt\n1\t2\n", "the column 't' occurs twice"),
        ('t,b\n"一\n二",1\n\n三\n', "f, row 4 (line 5): expected 2 cells as in the header, got 1"),
        ("t,b\n一,1,2\n", "f, row 2 (line 2): expected 2 cells as in the header, got 3"),
        ('t\tb\n一\t1\n"二\t2\n三\t3\n', "f, row that begins in line 3: not a row of a table"),
        ('t\tb\n"好"，他说。\t1\n', "f, row that begins in line 2: not a row of a table"),
    ],
)
def test_broken_tables_are_refused(text: str, told: str) -> None:
    with pytest.raises(DataError) as caught:
        read_table(text, "f", ["t"])
    assert told in str(caught.value)
