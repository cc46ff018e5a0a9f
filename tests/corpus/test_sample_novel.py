import re
from importlib import resources

import pytest

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, TokenStream, Trainer, TrainerConfig, Vocabulary, sample_novel

HEADING = re.compile(r"^第[一二三四五六七八九十百]+[回章](\s|$)")


pytestmark = pytest.mark.usefixtures("one_thread")


def test_novel_is_long_enough_to_learn_from() -> None:
    text = sample_novel()
    assert len(text) >= 40_000
    assert sum(0x4E00 <= ord(character) <= 0x9FFF for character in text) > 0.7 * len(text)


def test_novel_has_numbered_chapters_in_order() -> None:
    numerals = ["一", "二", "三", "四", "五", "六", "七", "八", "九", "十"]
    numerals += [f"十{numeral}" for numeral in numerals[:9]] + ["二十"]
    headings = [line for line in sample_novel().splitlines() if HEADING.match(line)]
    assert len(headings) == 16
    for heading, numeral in zip(headings, numerals, strict=False):
        assert re.match(f"^第{numeral}[回章]", heading)
    assert len(set(headings)) == len(headings)


def test_quotes_are_balanced_in_every_paragraph() -> None:
    pairs = {"”": "“", "’": "‘", "》": "《", "）": "（"}
    for paragraph in sample_novel().splitlines():
        open_ones: list[str] = []
        for character in paragraph:
            if character in pairs.values():
                open_ones.append(character)
            elif character in pairs:
                assert open_ones, paragraph
                assert open_ones.pop() == pairs[character], paragraph
        assert not open_ones, paragraph


def test_no_paragraph_stands_twice() -> None:
    paragraphs = [line for line in sample_novel().splitlines() if line]
    assert len(paragraphs) > 500
    assert len(set(paragraphs)) == len(paragraphs)


def test_lines_are_clean() -> None:
    text = sample_novel()
    assert text.endswith("\n")
    assert "\r" not in text
    assert "\ufeff" not in text
    assert "\ufffd" not in text
    assert all(line == line.strip() for line in text.splitlines())


def test_licence_lies_beside_the_novel() -> None:
    licence = resources.files("zh_lstm_lm").joinpath("data", "sample_novel.LICENSE.txt").read_text(encoding="utf-8")
    assert "CC0" in licence
    # The first line is the title.
    assert sample_novel().splitlines()[0] in licence


def test_a_model_learns_from_the_novel() -> None:
    stream = TokenStream.from_texts([sample_novel()[:4000]], tokenizer="characters")
    train, valid, _ = stream.split(valid=0.1, test=0.0)
    model = LSTMLanguageModel(Vocabulary.from_stream(train), ModelConfig(embedding_dim=8, hidden_size=16, dropout=0.0))
    config = TrainerConfig(max_epochs=2, batch_size=2, warmup_steps=0, learning_rate=0.02)
    first, second = Trainer(model, train, valid, config, progress=False).fit()
    assert second["train_perplexity"] < 0.9 * first["train_perplexity"]
