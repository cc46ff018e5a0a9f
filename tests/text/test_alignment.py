"""Where normalised characters come from: each piece, normalised alone, must be what stands in the whole."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zh_lstm_lm import DataError
from zh_lstm_lm.text.normalization import align_text, normalize_text

MARKS = "aex가각ᄀ\u1161\u11a8\u0300\u0301\u0302\u0323\u0327\u0334\u0345\u09be\u09c7㈱ﬁ…Ａ１ｶ\uff9e\u0f71\u0f72\n 展"
marked = st.text(MARKS, max_size=15) | st.text(st.characters(exclude_categories=["Cs"]), max_size=15)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(text=marked, normalize=st.sampled_from(["none", "nfc", "width", "nfkc", "nfc+width", "width+nfkc"]))
@example(text="x\u0327\u0334\u0302", normalize="nfc")
@example(text="\u1100\u1161\u11a8\u11a8", normalize="nfc")
def test_every_character_comes_from_somewhere_and_pieces_are_independent(text: str, normalize: str) -> None:
    aligned = align_text(text, normalize)
    assert aligned.text == normalize_text(text, normalize)
    spans = [aligned.span(place, place + 1) for place in range(len(aligned.text))]
    reached = 0
    for place, (start, stop) in enumerate(spans):
        assert (start, stop) == spans[place - 1] or start == reached, "pieces lie side by side"
        assert start < stop
        reached = stop
        if place + 1 == len(spans) or spans[place + 1][0] >= stop:  # a piece ends here
            assert normalize_text(text[:stop], normalize) == aligned.text[: place + 1]
    assert reached == len(text)


def test_pieces_are_as_small_as_they_can_be() -> None:
    aligned = align_text("Ａe\u0301㈱\n展\u1100\u1161\u11a8", "nfkc")
    assert aligned.text == "Aé(株)\n展각"
    spans = [aligned.span(place, place + 1) for place in range(len(aligned.text))]
    assert spans == [(0, 1), (1, 3), (3, 4), (3, 4), (3, 4), (4, 5), (5, 6), (6, 9)]
    assert aligned.span(0, 2) == (0, 3)


def test_a_text_that_stays_as_it_is_needs_no_table() -> None:
    assert align_text("展昭道。", "nfc+width").spans is None


def test_traditional_characters_are_aligned_even_within_phrases() -> None:
    pytest.importorskip("opencc")
    text = "乾隆皇帝的乾糧，頭髮乾了。"
    aligned = align_text(text, "simplified")
    assert aligned.text == normalize_text(text, "simplified") == "乾隆皇帝的干粮，头发干了。"
    assert [aligned.span(place, place + 1) for place in range(len(text))] == [(n, n + 1) for n in range(len(text))]


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(DataError, match="must be a string"):
        align_text(5, "nfc")  # type: ignore[arg-type]
