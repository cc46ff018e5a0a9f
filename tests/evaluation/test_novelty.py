"""Copied passages and new n-grams against plain search through the texts."""

from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zh_lstm_lm import ConfigError, DataError, Novelty, Tokenizer, TokenStream, novelty

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True, database=None)
spaced = st.text("ab \n", min_size=1, max_size=40)
small = st.text("ab", min_size=1, max_size=40) | st.text("abc\n", min_size=1, max_size=60)


class Pairs:
    """Cuts text into words of two characters."""

    def tokenize(self, text: str) -> list[str]:
        return [text[place : place + 2] for place in range(0, len(text), 2)]

    def detokenize(self, tokens: Sequence[str]) -> str:
        return "".join(tokens)


def new_share(items: list[str], documents: list[list[str]], n: int) -> float:
    known = {tuple(document[i : i + n]) for document in documents for i in range(len(document) - n + 1)}
    grams = [tuple(items[i : i + n]) for i in range(len(items) - n + 1)]
    return sum(gram not in known for gram in grams) / len(grams)


def copied(text: str, documents: list[str], shortest: int) -> dict[tuple[int, int], str]:
    """Every copied passage that does not lie within a longer one."""
    found = {
        (start, stop)
        for start in range(len(text))
        for stop in range(start + shortest, len(text) + 1)
        if any(text[start:stop] in document for document in documents)
    }
    return {
        (start, stop): text[start:stop]
        for start, stop in found
        if not any((a, b) != (start, stop) and a <= start and stop <= b for a, b in found)
    }


def words_of(text: str, tokenizer: Tokenizer) -> list[str]:
    words: list[str] = []
    for number, line in enumerate(text.split("\n")):
        words += [*["\n"] * bool(number), *(tokenizer.tokenize(line) if line else [])]
    return words


def hold(result: Novelty, text: str, stream: TokenStream, max_n: int) -> None:
    documents = list(stream.texts())
    top = min(max_n, len(text))
    characters = [new_share(list(text), [list(document) for document in documents], n) for n in range(1, top + 1)]
    assert result.new_characters == pytest.approx(characters)
    words, *of_documents = (words_of(each, stream.tokenizer) for each in (text, *documents))
    of_words = [new_share(words, of_documents, n) for n in range(1, min(max_n, len(words)) + 1)]
    assert result.new_words == pytest.approx(of_words)
    expected = copied(text, documents, top)
    assert sorted(passage.text for passage in result.passages) == sorted(set(expected.values())), "each once"
    assert all(expected[passage.start, passage.stop] == passage.text for passage in result.passages)
    lengths = [len(passage.text) for passage in result.passages]
    assert lengths == sorted(lengths, reverse=True)
    assert result.longest_copy == max((stop - start for start, stop in copied(text, documents, 1)), default=0)
    by_name = dict(zip((span.name for span in stream.documents), documents, strict=True))
    for passage in result.passages:
        assert by_name[passage.document][passage.position :].startswith(passage.text)


@SETTINGS
@given(text=small, documents=st.lists(small, min_size=1, max_size=4), max_n=st.integers(1, 9))
@example(text="aaaaaaaaaaaa", documents=["aaaaaaa", "aaaaaaaaab"], max_n=3)
@example(text="ab", documents=["ba"], max_n=8)
def test_it_finds_what_plain_search_finds(text: str, documents: list[str], max_n: int) -> None:
    stream = TokenStream.from_texts(documents, tokenizer=Pairs())
    hold(novelty(text, stream, max_n=max_n, num_passages=1000), text, stream, max_n)


@SETTINGS
@given(text=small, documents=st.lists(small, min_size=2, max_size=4), block=st.sampled_from([1, 5]))
def test_the_size_of_blocks_makes_no_difference(text: str, documents: list[str], block: int) -> None:
    stream = TokenStream.from_texts(documents, tokenizer=Pairs())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zh_lstm_lm.evaluation.novelty._BLOCK_TOKENS", block)
        hold(novelty(text, stream, max_n=4, num_passages=1000), text, stream, 4)


@SETTINGS
@given(text=spaced, documents=st.lists(spaced, min_size=1, max_size=4), max_n=st.integers(1, 9))
@example(text="b", documents=["a\nb"], max_n=1)
def test_words_between_spaces_are_found_where_they_are(text: str, documents: list[str], max_n: int) -> None:
    stream = TokenStream.from_texts(documents, tokenizer="whitespace")
    hold(novelty(text, stream, max_n=max_n, num_passages=1000), text, stream, max_n)


def test_a_long_copy_is_found_where_short_ones_abound(monkeypatch: pytest.MonkeyPatch) -> None:
    """More pairs of equal n-grams than may be looked at, so that longer ones have to be."""
    monkeypatch.setattr("zh_lstm_lm.evaluation.novelty._MAX_PAIRS", 40)
    copy = "展昭夜行衣出店门" * 3
    stream = TokenStream.from_texts([("酒" * 9 + "好") * 20 + copy + "雪" * 20], tokenizer="characters")
    result = novelty("酒" * 9 + "白" + copy + "酒" * 9, stream, max_n=4)
    assert result.passages[0].text == copy
    assert result.longest_copy == len(copy) == 24


def test_places_are_those_of_the_text_as_it_was_given() -> None:
    stream = TokenStream.from_texts(["他有ABC12345两银子。"], tokenizer="characters", normalize="nfkc")
    text = "㈱她有ＡＢＣ１２３４５两金子"
    (passage,) = novelty(text, stream).passages
    assert passage.text == text[passage.start : passage.stop] == "有ＡＢＣ１２３４５两"


def test_a_text_of_the_training_part_is_all_copy_and_a_foreign_one_all_new(stream: TokenStream) -> None:
    own = next(stream.texts())
    result = novelty(own, stream)
    assert set(result.new_characters) == set(result.new_words) == {0.0}
    assert [passage.text for passage in result.passages] == [own]
    foreign = novelty("αβγδεζηθικ", stream)
    assert set(foreign.new_characters) == set(foreign.new_words) == {1.0}
    assert (foreign.longest_copy, foreign.passages) == (0, ())


def test_it_prints_as_a_table(stream: TokenStream) -> None:
    shown = str(novelty("展昭道：“好大的雪！”龘", stream)).splitlines()
    assert shown[0] == "12 characters, 12 words; longest copy 11"
    assert "1:" in shown[1]
    assert "8.33%" in shown[1]
    assert shown[3].endswith("'展昭道：“好大的雪！”'")


def test_what_cannot_be_compared_is_refused(stream: TokenStream) -> None:
    with pytest.raises(DataError, match="text is empty"):
        novelty("", stream)
    with pytest.raises(DataError, match="surrogate"):
        novelty("展\ud800", stream)
    with pytest.raises(DataError, match="string"):
        novelty(5, stream)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="stream"):
        novelty("展昭", "展昭")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_n"):
        novelty("展昭", stream, max_n=0)
    with pytest.raises(DataError, match="stream is empty"):
        novelty("展昭", stream.split(valid=0.0, test=0.3)[1])
