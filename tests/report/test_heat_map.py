"""The page of a scored text as its reader sees it."""

import itertools
import re
from html.parser import HTMLParser

import pytest

from zh_lstm_lm import ConfigError, LSTMLanguageModel, heat_map, score
from zh_lstm_lm.report.heat_map import _DARK, _INKS, _LIGHT

TEXT = "展昭道：“<b>好 & 大</b>的雪！”\n龘😀"


class Reader(HTMLParser):
    """The words of the paragraphs with their titles and classes, and the tags of the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-2:] == ["p", "span"]:
            self.words.append((data, str(self.tags[-1][1]["title"])))


def test_every_word_stands_in_the_page_with_its_figure(model: LSTMLanguageModel) -> None:
    scored = score(model, TEXT)
    reader = Reader(heat_map([scored]))
    assert "".join(word for word, _ in reader.words) == TEXT
    for (text, title), word in zip(reader.words, scored.words, strict=True):
        assert text == word.text
        assert f": {word.surprisal:.2f} bits" in title
    assert not reader.open
    assert reader.words[-1][1].endswith("pieces <0xF0> <0x9F> <0x98> <0x80>")


def test_the_colour_rises_with_surprisal(model: LSTMLanguageModel) -> None:
    scored = score(model, TEXT * 5)
    levels = [
        int(str(attributes["class"]).split()[0][1:])
        for tag, attributes in Reader(heat_map([scored])).tags
        if tag == "span" and "title" in attributes
    ]
    pairs = sorted(zip([word.surprisal for word in scored.words], levels, strict=True))
    assert [level for _, level in pairs] == [min(int(bits / 2), 8) for bits, _ in pairs]
    assert len(set(levels)) > 1


def test_the_page_needs_nothing_else_and_runs_nothing(model: LSTMLanguageModel) -> None:
    page = heat_map([score(model, TEXT), score(model, "展昭", end=True)], title="<雪>")
    reader = Reader(page)
    assert "script" not in page
    assert not {"src", "href", "onclick"} & {name for _, attributes in reader.tags for name in attributes}
    assert "url(" not in page
    assert "&lt;雪&gt;" in page
    assert reader.words[-1][0] == "¶"
    assert "prefers-color-scheme: dark" in page


def test_control_characters_stand_as_symbols(model: LSTMLanguageModel) -> None:
    page = heat_map([score(model, "雪\0夜\x1b[2J\r\u202e昭\x85\x7f\u2066。")], title="\x1b]0;\u202e雪")
    assert "".join(word for word, _ in Reader(page).words) == "雪␀夜␛[2J␍[U+202E]昭[U+0085]␡[U+2066]。"
    assert "<title>␛]0;[U+202E]雪</title>" in page
    assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)


def test_characters_that_one_became_are_one_word(texts: list[str]) -> None:
    from zh_lstm_lm import ModelConfig, TokenStream, Vocabulary

    stream = TokenStream.from_texts(texts, tokenizer="characters", normalize="nfkc")
    model = LSTMLanguageModel(Vocabulary.from_stream(stream), ModelConfig(embedding_dim=4, hidden_size=4)).eval()
    scored = score(model, "展㈱昭")
    words = Reader(heat_map([scored])).words
    assert [word for word, _ in words] == ["展", "㈱", "昭"]
    assert f"{sum(word.surprisal for word in scored.words[1:4]):.2f} bits" in words[1][1]


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(model: LSTMLanguageModel) -> None:
    page = heat_map(score(model, TEXT))
    assert page == heat_map([score(model, TEXT)]), "one text needs no list"
    parser = Reader(page._repr_html_())
    assert [tag for tag, _ in parser.tags] == ["iframe"], "its style stays inside"
    assert parser.tags[0][1]["srcdoc"] == page
    assert score(model, TEXT)._repr_html_() == page._repr_html_(), "a score shows its own page"


def test_what_is_no_score_is_refused(model: LSTMLanguageModel) -> None:
    with pytest.raises(ConfigError, match="each of the scores must be a Score, got '话说'"):
        heat_map(["话说"])  # type: ignore[list-item]


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("levels", "ink"), [(_LIGHT, _INKS[0]), (_DARK, _INKS[1])])
def test_text_is_readable_on_every_colour_and_colours_go_one_way(levels: tuple[str, ...], ink: str) -> None:
    values = [luminance(level) for level in levels]
    for value in values:
        low, high = sorted([value, luminance(ink)])
        assert (high + 0.05) / (low + 0.05) >= 4.5
    falls = [after < before for before, after in itertools.pairwise(values)]
    assert len(set(falls)) == 1
