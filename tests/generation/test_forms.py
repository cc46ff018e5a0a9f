"""Forms of texts: each holds over a thousand texts of a model that knows nothing, by rules that are written here again."""

import logging
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from zh_lstm_lm import (
    ConfigError,
    GenerationResult,
    LSTMLanguageModel,
    ModelConfig,
    Sampler,
    SamplerConfig,
    TokenStream,
    Vocabulary,
)
from zh_lstm_lm.generation import resumable_file
from zh_lstm_lm.generation.punctuation import PAIRS

AtEachWord = Callable[[Callable[[], object]], AbstractContextManager[None]]

WORDS = [
    *("，", "。", "！", "？", "“", "”", "（", "）", "：", "、", "……", "！？"),
    *("好", "风", "雪", "春", "夏", "秋", "冬", "山", "水", "月", "白", "玉", "堂", "展", "昭", "宝", "剑"),
    *("展昭", "春风", "秋水", "夏日炎", "冬雪", "你来我往", "白玉"),
]
NUMBER = 1000
# Of combinations.
FEWER = 150


pytestmark = pytest.mark.usefixtures("one_thread")


def sampler_of(words: list[str], **options: Any) -> Sampler:
    vocabulary = Vocabulary([*words, *range(256)], tokenizer="characters")
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=4)).eval()
    return Sampler(model, SamplerConfig(**{"temperature": 1.0, "top_p": 1.0, **options}))


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    """Words of one to four characters, among them marks and quotes."""
    return sampler_of(WORDS)


def write(sampler: Sampler, prompt: str = "", number: int = NUMBER, **limits: Any) -> list[GenerationResult]:
    """Texts in which nothing is missing, and quotes and brackets are closed unless a stop string breaks off."""
    results = sampler.generate([prompt], num_samples=number, return_results=True, **limits)
    for result in results:
        assert result.unmet == ()
        if result.finish_reason == "stop":
            continue
        for paragraph in result.text.split("\n"):
            opened = [mark for mark in paragraph if mark in PAIRS]
            assert len(opened) == sum(mark in PAIRS.values() for mark in paragraph), result.text
    return results


def han(text: str) -> str:
    return "".join(re.findall("[一-鿿]", text))


def lines_of(text: str) -> list[str]:
    """The lines of a text without their marks."""
    return [han(line) for line in re.split("[，。！？：\n]", text) if han(line)]


def sentences_of(text: str) -> int:
    return len(re.findall("[。！？]+|(?<=[^。！？”）\n])\n", text))


# ---- lines


@pytest.mark.parametrize("lengths", [[5, 7, 5, 7], [1, 2]])
def test_lines_have_their_lengths(sampler: Sampler, lengths: list[int]) -> None:
    for result in write(sampler, line_lengths=lengths):
        assert list(map(len, lines_of(result.text))) == lengths
        assert result.finish_reason == "form"
        assert re.search("[。！？\n][”）]*$", result.text)


def test_lines_begin_with_their_characters(sampler: Sampler) -> None:
    for result in write(sampler, line_lengths=7, first_characters="春夏秋冬"):
        lines = lines_of(result.text)
        assert list(map(len, lines)) == [7] * 4
        assert "".join(line[0] for line in lines) == "春夏秋冬"


@pytest.mark.parametrize("limits", [{"max_characters": 24}, {"max_new_tokens": 16}, {"max_characters": 8}])
def test_paragraphs_begin_with_their_characters(sampler: Sampler, limits: dict[str, Any]) -> None:
    number = NUMBER if limits == {"max_characters": 24} else FEWER
    for result in write(sampler, number=number, first_characters="春夏秋冬", **limits):
        paragraphs = result.text.split("\n")
        assert paragraphs.pop() == ""
        assert [han(paragraph)[0] for paragraph in paragraphs] == list("春夏秋冬")
        assert len(result.text) <= limits.get("max_characters", 1000)
        assert len(result.ids) <= limits.get("max_new_tokens", 1000)


def test_paragraphs_share_the_room() -> None:
    sampler = sampler_of([word for word in WORDS if word not in ("“", "”", "（", "）")])
    several: list[dict[str, Any]] = [{"max_characters": 120}, {"max_new_tokens": 80}]
    for limits in several:
        results = write(sampler, number=50, first_characters="春夏秋冬", **limits)
        lengths = [[len(paragraph) for paragraph in result.text.split("\n")] for result in results]
        assert all(sum(each[number] for each in lengths) / 50 > 10 for number in range(4))


@pytest.mark.parametrize(
    ("limits", "reasons"),
    [
        ({"max_characters": 24}, {"max_characters"}),
        ({"max_new_tokens": 20}, {"max_new_tokens"}),
        ({"max_sentences": 2}, {"max_sentences"}),
        ({"stop": "月", "max_new_tokens": 30}, {"stop", "max_new_tokens"}),
        ({"max_characters": 24, "end": "sentence"}, {"max_characters"}),
    ],
)
def test_any_number_of_lines_ends_with_a_whole_line(
    sampler: Sampler, limits: dict[str, Any], reasons: set[str]
) -> None:
    number = NUMBER if limits == {"max_characters": 24} else FEWER
    for result in write(sampler, number=number, line_lengths=5, **limits):
        lines = lines_of(result.text)
        assert lines
        assert set(map(len, lines)) == {5}
        assert result.finish_reason in reasons
        assert re.search("[，。！？：\n]\n?[”）]*$", result.text)
        if result.finish_reason == "max_characters" and "end" not in limits:
            assert 24 - 7 < len(result.text) <= 24
        if result.finish_reason == "stop":
            assert "月" in lines[-1]
            assert "月" not in "".join(lines[:-1])
        if "max_sentences" in limits:
            assert sentences_of(result.text) == 2


def test_unfinished_line_of_the_prompt_is_the_first_line(sampler: Sampler) -> None:
    for result in write(sampler, "好风，雪。春山", FEWER, line_lengths=[5, 5], first_characters="春夏"):
        assert list(map(len, lines_of(result.text))) == [2, 1, 5, 5]
        assert [line[0] for line in lines_of(result.text)[2:]] == ["春", "夏"]


def test_lines_of_words_of_two_characters_have_even_lengths() -> None:
    sampler = sampler_of(["，", "。", "展昭", "春风", "秋水", "冬雪", "白玉", "宝剑", "明月", "夜行"])
    for result in write(sampler, "", FEWER, line_lengths=[4, 6]):
        assert list(map(len, lines_of(result.text))) == [4, 6]
    with pytest.raises(ConfigError, match=r"line_lengths: the words of the vocabulary make no line of 5 characters"):
        sampler.generate(line_lengths=5)


# ---- words


def test_words_occur_in_a_text_of_exactly_so_many_characters(sampler: Sampler) -> None:
    for limit, number in ((7, FEWER), (14, NUMBER), (40, FEWER)):
        for result in write(sampler, "好", number, max_characters=limit + 1, must_contain=["展昭", "宝剑", "白玉堂"]):
            assert len(result.text) == limit + 1
            assert all(word in result.text for word in ("展昭", "宝剑", "白玉堂"))


@pytest.mark.parametrize("limit", [{"max_sentences": 1}, {"max_sentences": 3}, {"max_paragraphs": 1}])
def test_words_occur_before_the_last_sentence_or_paragraph_ends(sampler: Sampler, limit: dict[str, int]) -> None:
    for result in write(sampler, "", FEWER, must_contain=["展昭", "宝剑"], **limit):
        assert {"展昭", "宝剑"} <= set(re.findall("展昭|宝剑", result.text[:100]))
        assert result.finish_reason in limit
        if "max_sentences" in limit:
            assert sentences_of(result.text) == limit["max_sentences"]
        else:
            assert result.text.count("\n") == 1


def test_words_occur_within_their_span(sampler: Sampler) -> None:
    texts = write(sampler, "山山", must_contain={"白玉堂": 20, "展昭": 6, "春风": 8}, max_new_tokens=15)
    for result in texts:
        new = result.text[2:]
        assert "展昭" in new[:6]
        assert "春风" in new[:8]
        assert "白玉堂" in new[:20]
    # Words are not all put off to their last moment.
    assert sum("白玉堂" in result.text[2:18] for result in texts) > NUMBER / 2


def test_stops_wait_for_the_words(sampler: Sampler) -> None:
    for result in write(sampler, "", FEWER, must_contain=["展昭", "剑"], stop="。"):
        assert "展昭" in result.text
        assert result.finish_reason in ("stop", "max_new_tokens")
        if result.finish_reason == "stop":
            assert result.text.endswith("。")
    for result in write(sampler, "", FEWER, must_contain=["展昭"], max_characters=60, end="sentence"):
        assert "展昭" in result.text


def test_words_find_room_in_lines(sampler: Sampler) -> None:
    for result in write(sampler, line_lengths=[5, 3, 4], must_contain=["展昭", "白玉堂", "宝剑", "春风", "雪山"]):
        assert list(map(len, lines_of(result.text))) == [5, 3, 4]
        for word in ("展昭", "白玉堂", "宝剑", "春风", "雪山"):
            assert any(word in line for line in lines_of(result.text)), result.text
    for result in write(
        sampler, "", FEWER, line_lengths=3, first_characters="春白夏", must_contain=["春风", "白玉堂", "剑山"]
    ):
        lines = lines_of(result.text)
        assert [line[0] for line in lines] == ["春", "白", "夏"]
        assert lines[1] == "白玉堂"
        assert (lines[0], lines[2]) in [("春剑山", "夏春风"), ("春春风", "夏剑山")] or lines[0][:2] + lines[
            2
        ] == "春风夏剑山"


def test_words_find_room_in_any_number_of_lines_and_in_paragraphs(sampler: Sampler) -> None:
    for result in write(
        sampler, "", FEWER, line_lengths=5, max_characters=14, must_contain=["展昭", "白玉堂", "你来我往"]
    ):
        assert list(map(len, lines_of(result.text))) == [5, 5]
        assert all(word in result.text for word in ("展昭", "白玉堂", "你来我往"))
    for result in write(
        sampler, "", FEWER, first_characters="春夏", max_characters=24, must_contain={"展昭": 20, "白玉堂": 24}
    ):
        assert [han(paragraph)[0] for paragraph in result.text.split("\n")[:-1]] == ["春", "夏"]
        assert len(result.text) <= 24
        assert "展昭" in result.text[:20]
        assert "白玉堂" in result.text


# ---- the same text everywhere

FORMS: list[dict[str, Any]] = [
    {"line_lengths": [5, 5], "first_characters": "春夏", "must_contain": ["白玉堂"]},
    {"line_lengths": 7, "max_characters": 40},
    {"first_characters": "春夏", "max_characters": 30, "must_contain": ["宝剑"]},
    {"must_contain": {"宝剑": 20, "展昭": 60}, "max_sentences": 4},
]


@pytest.mark.parametrize("form", FORMS)
def test_a_text_is_the_same_alone_in_a_batch_and_piece_by_piece(
    sampler: Sampler, exact_products: None, form: dict[str, Any], tmp_path: Path
) -> None:
    texts = sampler.generate([""], num_samples=20, **form)
    assert texts == sampler.generate([""], num_samples=20, **form)
    assert texts[:3] == [sampler.generate(num_samples=1, first_sample=number, **form)[0] for number in range(3)]
    assert "".join(sampler.stream(**form)) == texts[0]
    assert sampler.write(tmp_path / "a.txt", **form).read_text(encoding="utf-8") == texts[0]


@pytest.mark.parametrize("form", FORMS)
def test_interrupted_form_is_resumed_exactly(
    sampler: Sampler,
    form: dict[str, Any],
    tmp_path: Path,
    at_each_word: AtEachWord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resumable_file, "WORDS_BETWEEN_STATES", 2)
    whole = sampler.generate("好。\n", **form)
    presses = 0
    for after in (1, 3, 4, 5, 6, 9):
        left = after

        def press() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt

        try:
            with at_each_word(press):
                path = sampler.write(tmp_path / "a.txt", prompt="好。\n", resume=True, **form)
        except KeyboardInterrupt:
            presses += 1
    assert presses > 2
    path = sampler.write(tmp_path / "a.txt", prompt="好。\n", resume=True, **form)
    assert path.read_text(encoding="utf-8") == whole


@pytest.mark.parametrize("form", FORMS)
def test_beam_search_meets_the_form(sampler: Sampler, form: dict[str, Any]) -> None:
    results = sampler.beam_search(num_beams=4, num_return_sequences=2, **form)
    assert results
    for result in results:
        assert result.unmet == ()
        if "line_lengths" in form:
            assert set(map(len, lines_of(result.text))) == {5 if isinstance(form["line_lengths"], list) else 7}
        assert all(word in result.text for word in form.get("must_contain", ()))


def test_narrow_sampling_and_penalties_meet_the_form() -> None:
    options: list[dict[str, Any]] = [
        {"temperature": 0.0},
        {"top_k": 1},
        {"top_p": 0.1, "min_p": 0.5},
        {"no_repeat_ngram_size": 1},
        {"balanced_pairs": False, "tidy_paragraphs": False},
        {"banned_words": ["春风", "展", "。"]},
    ]
    for each in options:
        results = sampler_of(WORDS, **each).generate(
            [""], num_samples=50, return_results=True, line_lengths=[5] * 4, must_contain=["宝剑"]
        )
        for result in results:
            assert list(map(len, lines_of(result.text))) == [5] * 4
            assert "宝剑" in result.text
            assert not any(word in result.text for word in each.get("banned_words", ()))


# ---- what cannot be met


def test_what_was_not_met_is_said(sampler: Sampler, caplog: pytest.LogCaptureFixture) -> None:
    hurried = sampler.generate(return_results=True, line_lengths=[5] * 4, must_contain=["宝剑", "展昭"], max_time=1e-9)
    assert hurried.unmet[0] == "line_lengths: 1 of 4 lines"
    assert "must_contain: 宝剑" in hurried.unmet
    with caplog.at_level(logging.WARNING):
        sampler.generate(line_lengths=[5] * 4, max_time=1e-9)
        "".join(sampler.stream(line_lengths=[5] * 4, max_time=1e-9))
    assert caplog.messages == ["could not be met: line_lengths: 1 of 4 lines"] * 2


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"line_lengths": 0}, "line_lengths must be at least 1, got 0|line_lengths must be from 1"),
        ({"line_lengths": [5, 0]}, "line_lengths must be"),
        ({"line_lengths": []}, "line_lengths must be a number or a list"),
        ({"line_lengths": "5,5"}, "line_lengths must be a number or a list"),
        ({"line_lengths": True}, "line_lengths must be an integer"),
        ({"first_characters": ""}, "first_characters must be a string"),
        ({"first_characters": "春，"}, "without punctuation"),
        ({"first_characters": ["春"]}, "first_characters must be a string"),
        ({"first_characters": "春龘"}, "no word of the vocabulary begins with '龘'"),
        ({"first_characters": "春夏", "line_lengths": [5, 5, 5]}, "line_lengths has 3 lines and first_characters 2"),
        ({"first_characters": "春夏", "max_paragraphs": 1}, "first_characters and max_paragraphs contradict"),
        ({"line_lengths": [5, 5], "max_sentences": 1}, "line_lengths and max_sentences contradict"),
        ({"line_lengths": 5, "max_chapters": 1}, "line_lengths and max_chapters contradict"),
        ({"line_lengths": [5, 5], "max_characters": 11}, "12 characters do not fit into the 11 that max_characters"),
        ({"line_lengths": 5, "max_new_tokens": 5}, "6 characters do not fit into the 5 that max_new_tokens"),
        ({"must_contain": "展昭"}, "must_contain must be a list"),
        ({"must_contain": ["展昭", "展昭"]}, "must name a word once"),
        ({"must_contain": [""]}, "must_contain must hold words"),
        ({"must_contain": ["“好”"]}, "must_contain must hold words without quotes"),
        ({"must_contain": ["好，好"]}, "must_contain must hold words without"),
        ({"must_contain": {"展昭": 1}}, "must_contain: the number of characters for 展昭 must be"),
        ({"must_contain": ["龘"]}, "must_contain: '龘' cannot be written with this vocabulary"),
        (
            {"must_contain": ["展昭", "宝剑"], "max_characters": 3},
            "展昭, 宝剑 do not fit into the 3 that max_characters",
        ),
        ({"must_contain": {"展昭": 3, "宝剑": 3}}, "展昭, 宝剑 do not fit"),
        ({"must_contain": ["你来我往"], "line_lengths": [3, 3]}, "你来我往 do not fit into the lines"),
        ({"must_contain": {"展昭": 9}, "line_lengths": [3, 3]}, "leave the numbers of characters out"),
    ],
)
def test_forms_that_cannot_be_met_are_refused(sampler: Sampler, form: dict[str, Any], message: str) -> None:
    for call in (sampler.generate, sampler.stream, sampler.beam_search):
        with pytest.raises(ConfigError, match=message):
            call(**form)


def test_prompt_that_contradicts_the_form_is_refused(sampler: Sampler) -> None:
    with pytest.raises(ConfigError, match="the prompt begins a line with '好', which has to begin with '春'"):
        sampler.generate("好。好", first_characters="春夏", line_lengths=5)
    with pytest.raises(ConfigError, match="the prompt begins a line with 3 characters, which cannot have 2"):
        sampler.generate("好风雪", line_lengths=[2, 2])
    spaced = Vocabulary.from_stream(TokenStream.from_texts(["good snow ."], tokenizer="whitespace"))
    model = LSTMLanguageModel(spaced, ModelConfig(embedding_dim=4, hidden_size=4))
    with pytest.raises(ConfigError, match="need a model of text without spaces"):
        Sampler(model).generate(line_lengths=5)
