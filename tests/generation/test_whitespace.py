"""Models of text whose words are separated by spaces: rules and bans look past the separators."""

import re
from typing import Any

import pytest

from zh_lstm_lm import (
    LSTMLanguageModel,
    ModelConfig,
    Sampler,
    SamplerConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
)

TEXT = "展昭 笑 道 ： “ 好大 的 雪 ！ ”\n白玉堂 道 ： “ 好 酒 。 ”\n"


@pytest.fixture(scope="module")
def spaced() -> LSTMLanguageModel:
    stream = TokenStream.from_texts([TEXT * 30], tokenizer="whitespace")
    model = LSTMLanguageModel(
        Vocabulary.from_stream(stream), ModelConfig(embedding_dim=16, hidden_size=24, dropout=0.0)
    )
    config = TrainerConfig(max_steps=100, batch_size=4, bptt_len=12, learning_rate=0.02, weight_decay=0.0)
    Trainer(model, stream, None, config, progress=False).fit()
    return model


def write(
    model: LSTMLanguageModel, prompt: str = "", limits: dict[str, Any] | None = None, **options: Any
) -> list[str]:
    sampler = Sampler(model, SamplerConfig(temperature=1.4, top_p=0.98, **options))
    texts: list[str] = sampler.generate([prompt], num_samples=40, **(limits or {"max_new_tokens": 60}))
    return texts


@pytest.mark.parametrize("prompt", ["", "展昭", "展昭 笑\n", "“ 好"])
def test_a_paragraph_begins_without_a_separator(spaced: LSTMLanguageModel, prompt: str) -> None:
    for text in write(spaced, prompt):
        assert not re.search(r"(?m)^ ", text)
    vocabulary = spaced.vocabulary
    result = Sampler(spaced).generate(prompt, max_new_tokens=60, return_results=True)
    assert vocabulary.decode([*vocabulary.encode(prompt), *result.ids]) == result.text
    more = Sampler(spaced).generate(state=result.state, max_new_tokens=9, return_results=True)
    assert vocabulary.decode([*vocabulary.encode(prompt), *result.ids, *more.ids]) == result.text + more.text


def test_pairs_are_balanced_with_marks_that_are_words(spaced: LSTMLanguageModel) -> None:
    for text in write(spaced):
        assert re.fullmatch(r"([^“”]|“[^“”\n]*”)*", text)
        assert not re.search(r"[^ \n]”|“ ”(?!$)|： ”(?!$)", text)
    assert any(not re.fullmatch(r"([^“”]|“[^“”\n]*”)*", text) for text in write(spaced, balanced_pairs=False))


def test_no_paragraph_begins_with_closing_punctuation(spaced: LSTMLanguageModel) -> None:
    assert not any(re.search(r"(?m)^[。！：”]", text) for text in write(spaced))
    assert any(
        re.search(r"(?m)^[。！：”]", text) for text in write(spaced, balanced_pairs=False, tidy_paragraphs=False)
    )


@pytest.mark.parametrize("banned", ["好大", "大的", "好大 的", "道："])
def test_a_ban_reaches_across_separators(spaced: LSTMLanguageModel, banned: str) -> None:
    plain = banned.replace(" ", "")
    assert any(plain in text.replace(" ", "") for text in write(spaced))
    assert not any(plain in text.replace(" ", "") for text in write(spaced, banned_words=[banned]))


def test_a_text_ends_with_a_sentence(spaced: LSTMLanguageModel) -> None:
    for text in write(spaced, limits={"max_characters": 60, "end": "sentence"}):
        assert re.search(r"([。！] ?”?|\n)$", text)
        assert text.count("“") == text.count("”")
