"""Scores of single texts, against steps of one token at a time and against each other."""

import math
from itertools import accumulate

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zh_lstm_lm import (
    ConfigError,
    DataError,
    LSTMLanguageModel,
    ModelConfig,
    NonFiniteError,
    Score,
    TextState,
    TokenStream,
    Vocabulary,
    rescore,
    score,
    score_batch,
    suggest,
)
from zh_lstm_lm.evaluation.kenlm import Model
from zh_lstm_lm.text.normalization import normalize_text

SETTINGS = settings(max_examples=60, deadline=None, derandomize=True, database=None)
any_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
chinese = st.text("展昭白玉堂道：“酒好喝。”\n龘😀aＡ１", min_size=1, max_size=25)


def model_of(vocabulary: Vocabulary) -> LSTMLanguageModel:
    config = ModelConfig(embedding_dim=6, hidden_size=8, dropout=0.4, output="adaptive", cutoffs=(20, 60))
    return LSTMLanguageModel(vocabulary, config).eval()


@pytest.fixture(scope="module")
def tiny(vocabulary: Vocabulary) -> LSTMLanguageModel:
    return model_of(vocabulary)


@pytest.fixture(scope="module")
def words(texts: list[str]) -> LSTMLanguageModel:
    """A model of words, most of them of several characters; the normalisation is the most that can be had."""
    stream = TokenStream.from_texts([text * 2 for text in texts], tokenizer="jieba", normalize="nfkc")
    return model_of(Vocabulary.from_stream(stream))


@pytest.fixture(scope="module")
def spaced() -> LSTMLanguageModel:
    """A model of words between spaces."""
    stream = TokenStream.from_texts(["展昭 道 雪\n展昭  雪\n"], tokenizer="whitespace")
    return model_of(Vocabulary.from_stream(stream))


def test_each_log_probability_is_that_of_its_token_after_those_before(
    tiny: LSTMLanguageModel, texts: list[str]
) -> None:
    text = ("".join(texts) * 30)[:4200]
    scored = score(tiny, text)
    assert isinstance(scored, Score)
    assert len(scored.tokens) > 4096, "longer than a window"
    assert "".join(scored.tokens) == text
    ids = tiny.vocabulary.encode(text)
    state, before = None, tiny.vocabulary.bos_id
    for token_id, token, log_prob in zip(ids, scored.tokens, scored.log_probs, strict=True):
        with torch.no_grad():
            scores, state = tiny(torch.tensor([[before]]), state)
        assert log_prob == pytest.approx(scores[0, 0, token_id].item(), abs=1e-5)
        assert token == tiny.vocabulary.id_to_token(token_id)
        before = token_id


def test_what_follows_does_not_change_the_score_of_what_stands_before(tiny: LSTMLanguageModel) -> None:
    short, longer = score(tiny, "展昭道"), score(tiny, "展昭道：好大的雪")
    assert longer.tokens[:3] == short.tokens
    assert longer.log_probs[:3] == pytest.approx(short.log_probs, abs=1e-6)


@SETTINGS
@given(text=any_text)
@example(text="\n")
@example(text="<bos><unk>😀\r\n")
def test_any_text_can_be_scored(tiny: LSTMLanguageModel, text: str) -> None:
    scored = score(tiny, text)
    assert scored.num_characters == len(text)
    assert scored.num_tokens == len(scored.tokens) == len(scored.log_probs)
    assert all(-math.inf < value <= 0 for value in scored.log_probs)
    assert scored.log_prob == pytest.approx(sum(scored.log_probs))
    assert scored.bits_per_character == pytest.approx(-scored.log_prob / math.log(2) / len(text))


def test_a_character_outside_the_vocabulary_is_scored_byte_by_byte(tiny: LSTMLanguageModel) -> None:
    scored = score(tiny, "展龘")
    assert scored.tokens == ("展", "<0xE9>", "<0xBE>", "<0x98>")
    assert scored.num_characters == 2


# --- offsets and words --------------------------------------------------------------------------------------------


@SETTINGS
@given(text=any_text | chinese)
@example(text="e\u0301㈱ﬁ각\u1100\u1161\u11a8Ａ１x\u0327\u0302…")
def test_offsets_are_those_of_the_text_as_it_was_given(words: LSTMLanguageModel, text: str) -> None:
    scored = score(words, text)
    assert scored.text == text
    assert sum(scored.word_sizes) == len(scored.tokens) == len(scored.offsets)
    reached = 0
    for start, stop in scored.offsets:
        assert 0 <= start < stop <= len(text)
        assert start <= reached, "no character is left out"
        assert stop >= reached, "tokens come in order"
        reached = stop
    assert reached == len(text)
    spans = [(word.start, word.stop) for word in scored.words]
    for word in scored.words:
        assert word.text == text[word.start : word.stop]
        overlapping = [1 for start, stop in spans if start < word.stop and stop > word.start]
        if len(overlapping) == 1 and word.kind == "word":
            assert normalize_text(word.text, "nfkc") == word.tokens[0]


def test_normalised_characters_point_to_what_they_come_from(words: LSTMLanguageModel) -> None:
    scored = score(words, "Ａe\u0301㈱好")
    found = [
        (token, scored.text[start:stop]) for token, (start, stop) in zip(scored.tokens, scored.offsets, strict=True)
    ]
    assert ("好", "好") in found
    assert [given for _, given in found].count("㈱") >= 3, "(株) are three characters, and one was given"
    assert {given for _, given in found} == {"Ａ", "e\u0301", "㈱", "好"}


def test_words_are_grouped_and_what_was_spelled_is_marked(words: LSTMLanguageModel) -> None:
    scored = score(words, "白玉堂笑道展酒😀\n", end=True)
    kinds = {word.text: word.kind for word in scored.words}
    assert kinds["白玉堂"] == "word"
    assert kinds["😀"] == "bytes"
    assert kinds["\n"] == "word"
    spelled = [word for word in scored.words if word.kind == "characters"]
    assert all("".join(word.tokens) == word.text and len(word.text) > 1 for word in spelled)
    assert score(words, "龘昭").words[-1].kind == "word"
    last = scored.words[-1]
    assert (last.kind, last.text, last.tokens, last.start) == ("end", "", ("\n",), len(scored.text))
    assert sum(word.surprisal for word in scored.words) == pytest.approx(-scored.log_prob / math.log(2))
    assert [word.tokens for word in scored.words if word.kind == "bytes"] == [("<0xF0>", "<0x9F>", "<0x98>", "<0x80>")]
    mixed = score(words, "雪店").words  # two characters that no word of the training text joins
    assert [word.kind for word in mixed] in (["characters"], ["word", "word"])


def test_an_unknown_word_is_marked(texts: list[str]) -> None:
    stream = TokenStream.from_texts(texts, tokenizer="characters")
    model = model_of(Vocabulary.from_stream(stream, unknown="unk"))
    scored = score(model, "展龘")
    assert [word.kind for word in scored.words] == ["word", "unknown"]
    assert scored.words[1].text == "龘"
    assert scored.offsets == ((0, 1), (1, 2))


@SETTINGS
@given(text=any_text | chinese)
def test_the_surprisal_of_characters_sums_up_to_that_of_the_text(words: LSTMLanguageModel, text: str) -> None:
    scored = score(words, text)
    assert len(scored.character_surprisals) == len(text)
    assert sum(scored.character_surprisals) == pytest.approx(-scored.log_prob / math.log(2), rel=1e-9)
    first = scored.words[0]
    if first.kind == "word" and (len(scored.words) == 1 or scored.words[1].start == first.stop):
        assert scored.character_surprisals[0] == pytest.approx(first.surprisal / len(first.text))


@SETTINGS
@given(text=st.text("展昭 \n雪", min_size=1, max_size=20))
@example(text=" 展昭")
def test_the_surprisal_of_implied_spaces_is_not_lost(spaced: LSTMLanguageModel, text: str) -> None:
    scored = score(spaced, text, end=True)
    expected = -(scored.log_prob - scored.log_probs[-1]) / math.log(2)
    assert sum(scored.character_surprisals) == pytest.approx(expected, rel=1e-9)


# --- the end, streams, batches ------------------------------------------------------------------------------------


def test_the_end_is_a_paragraph_end_that_is_scored_too(tiny: LSTMLanguageModel) -> None:
    without, with_end, typed = score(tiny, "展昭道"), score(tiny, "展昭道", end=True), score(tiny, "展昭道\n")
    assert with_end.log_probs == pytest.approx(typed.log_probs)
    assert with_end.log_probs[:-1] == pytest.approx(without.log_probs)
    assert (with_end.num_tokens, with_end.num_characters) == (4, 4)
    assert sum(with_end.character_surprisals) == pytest.approx(-without.log_prob / math.log(2))
    assert score(tiny, "", end=True).tokens == ("\n",)


@SETTINGS
@given(text=chinese, data=st.data())
def test_parts_that_are_cut_at_word_ends_have_the_scores_of_the_whole(
    tiny: LSTMLanguageModel, text: str, data: st.DataObject
) -> None:
    whole = score(tiny, text)
    ends = list(accumulate(whole.word_sizes))
    cut = data.draw(st.integers(0, len(ends) - 1))
    place = whole.words[cut].stop
    first = score(tiny, text[:place])
    parts = [*first.log_probs]
    if place < len(text):
        second = score(tiny, text[place:], state=first.state)
        parts += second.log_probs
        assert score_batch(tiny, [text[place:]] * 3, state=first.state)[2].log_probs == pytest.approx(
            second.log_probs, abs=1e-5
        )
    assert parts == pytest.approx(whole.log_probs, abs=1e-5)


def test_a_state_can_be_read_on_from_by_the_model_itself(tiny: LSTMLanguageModel) -> None:
    read = score(tiny, "展昭").state
    assert read is not None
    log_probs, _ = tiny(torch.tensor([[read.last_id]]), read.before)
    expected = log_probs[0, 0, tiny.vocabulary.token_to_id("道")]
    assert score(tiny, "展昭道").log_probs[-1] == pytest.approx(expected.item(), abs=1e-5)
    expected.backward()


@pytest.mark.parametrize("end", [False, True])
def test_a_batch_gives_what_each_text_gives_alone_and_in_order(
    tiny: LSTMLanguageModel, texts: list[str], end: bool
) -> None:
    many = [line for text in texts for line in text.split("\n") if line] * 2 + ["".join(texts), "龘😀", "酒"]
    expected = [score(tiny, text, end=end) for text in many]
    for batch_size in (1, 3, 256):
        found = score_batch(tiny, iter(many), end=end, batch_size=batch_size)
        for one, alone in zip(found, expected, strict=True):
            assert one.log_probs == pytest.approx(alone.log_probs, abs=1e-5)
            assert (one.text, one.tokens, one.offsets, one.words[-1].kind) == (
                alone.text,
                alone.tokens,
                alone.offsets,
                alone.words[-1].kind,
            )
            assert one.bits_per_character == pytest.approx(alone.bits_per_character, rel=1e-5)
    assert score_batch(tiny, []) == []


def test_streams_go_on_side_by_side(tiny: LSTMLanguageModel, texts: list[str]) -> None:
    parts = [["展昭笑道", "雪", "白玉"], ["：“好", "大", "堂拔剑"], ["”", "酒好喝。", "！"]]
    states: list[TextState | None] = [None] * 3
    totals = [0.0] * 3
    for texts_now in parts:
        found = score_batch(tiny, texts_now, state=states, with_states=True, batch_size=2)
        states = [scored.state for scored in found]
        totals = [total + scored.log_prob for total, scored in zip(totals, found, strict=True)]
    assert totals == pytest.approx(
        [score(tiny, "".join(stream)).log_prob for stream in zip(*parts, strict=True)], abs=1e-4
    )
    alone = score(tiny, "雪大酒好喝。").state
    for mine, its in zip(states[1].before, alone.before, strict=True):  # type: ignore[union-attr, arg-type]
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-5)
    assert score_batch(tiny, ["雪"])[0].state is None
    with pytest.raises(DataError, match="one state for each of the 2 texts, got 3"):
        score_batch(tiny, ["雪", "酒"], state=states)
    with pytest.raises(ConfigError, match="state must be a TextState or None"):
        score_batch(tiny, ["雪"], state=["展"])  # type: ignore[list-item]


def test_each_text_of_a_batch_has_error_bars_of_its_own(tiny: LSTMLanguageModel, texts: list[str]) -> None:
    for scored, text in zip(score_batch(tiny, texts), texts, strict=True):
        bars = score(tiny, text).error_bars(30, seed=4)
        assert scored.error_bars(30, seed=4).perplexity == pytest.approx(bars.perplexity, rel=1e-5)


def test_texts_that_cannot_be_scored_are_named(tiny: LSTMLanguageModel) -> None:
    with pytest.raises(DataError, match=r"texts\[1\].*empty"):
        score_batch(tiny, ["展昭", ""])
    with pytest.raises(DataError, match=r"texts\[0\].*surrogate"):
        score_batch(tiny, ["\ud800"])
    with pytest.raises(DataError, match="list of strings"):
        score_batch(tiny, "展昭")
    with pytest.raises(ConfigError, match="state"):
        score(tiny, "展昭", state=(1, 2))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="end"):
        score(tiny, "展昭", end=1)  # type: ignore[arg-type]


def test_error_bars_of_a_score(tiny: LSTMLanguageModel, texts: list[str]) -> None:
    scored = score(tiny, "".join(texts))
    bars = scored.error_bars(100)
    assert bars.num_paragraphs == 12
    low, high = bars.bits_per_character or (0.0, 0.0)
    assert low < (scored.bits_per_character or 0.0) < high
    with pytest.raises(DataError, match="two paragraphs"):
        score(tiny, "展昭").error_bars(100)


def test_a_damaged_model_is_told(vocabulary: Vocabulary) -> None:
    model = model_of(vocabulary)
    with torch.no_grad():
        model.embedding.weight.fill_(math.nan)
    for call in (
        lambda: score(model, "展昭"),
        lambda: score_batch(model, ["展昭"]),
        lambda: rescore(model, ["展昭", "展兆"]),
        lambda: suggest(model, "展昭", "道"),
        lambda: Model(model).score("展 昭"),
    ):
        with pytest.raises(NonFiniteError, match="damaged"):
            call()
