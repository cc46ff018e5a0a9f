"""Quotes and brackets are closed, paragraphs begin as they should, and the draws stay those of the model."""

import re
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, Sampler, SamplerConfig, TokenStream, Vocabulary
from zh_lstm_lm.generation.punctuation import PAIRS, PunctuationRules, ends_sentences

MARKED = "他道：“好。‘行’吗？”「『是』」（书名《三国》）【注】\n，。！\n"


def is_balanced(text: str) -> bool:
    """Whether every paragraph closes what it opens, in order, and nothing else."""
    for paragraph in text.split("\n"):
        opened: list[str] = []
        for character in paragraph:
            if character in PAIRS:
                if character in opened:
                    return False
                opened.append(character)
            elif character in PAIRS.values() and (not opened or PAIRS[opened.pop()] != character):
                return False
        if opened:
            return False
    return True


def follows_the_rules(prompt: str, token: str) -> bool:
    """Whether a character may follow a prompt: it matches a mark, closes no empty pair and begins no paragraph badly."""
    opened = [mark for mark in prompt.rpartition("\n")[2] if mark in PAIRS]
    if token in PAIRS:
        return token not in opened
    if token in PAIRS.values():
        return bool(opened) and PAIRS[opened[-1]] == token and prompt[-1] not in "：:" and prompt[-1] not in PAIRS
    return not begins_badly(prompt.rpartition("\n")[2] + token)


def begins_badly(text: str) -> bool:
    """Whether a paragraph begins with a closing mark, or such a mark follows a comma or an opening mark."""
    return (
        re.search(r"(?m)^[，。！？：”’」』）》】]|[，；：、“‘「『（《【][，。；：、！？]|[。！？][，；：、]", text)
        is not None
    )


@pytest.fixture(scope="module", params=["adaptive", "full"])
def marked(request: pytest.FixtureRequest) -> LSTMLanguageModel:
    """A model that knows nothing and writes marks all the time."""
    vocabulary = Vocabulary.from_stream(TokenStream.from_texts([MARKED * 3], tokenizer="characters"))
    sizes: dict[str, Any] = {"output": "adaptive", "cutoffs": (12,)} if request.param == "adaptive" else {}
    return LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=8, **sizes)).eval()


LIMITS: list[dict[str, Any]] = [
    {"max_new_tokens": 1},
    {"max_new_tokens": 2},
    {"max_new_tokens": 25},
    {"max_characters": 9},
    {"max_characters": 40},
    {"max_sentences": 2, "max_new_tokens": 40},
    {"max_paragraphs": 2, "max_new_tokens": 40},
    {"max_new_tokens": 30, "max_characters": 20},
]


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("options", [{}, {"temperature": 0.0}, {"repetition_penalty": 1.1}])
def test_what_opens_is_closed_whatever_ends_the_text(
    marked: LSTMLanguageModel, limits: dict[str, Any], options: dict[str, Any]
) -> None:
    sampler = Sampler(marked, SamplerConfig(**{"temperature": 1.0, "top_p": 1.0, **options}))
    for text in sampler.generate(["", "他道：", "（他"], num_samples=5, **limits):
        assert is_balanced(text), text
        assert not begins_badly(text)
        if list(limits) == ["max_characters"]:
            assert len(text) == limits["max_characters"]


def test_without_the_rules_it_is_otherwise(marked: LSTMLanguageModel) -> None:
    config = SamplerConfig(temperature=1.0, top_p=1.0, balanced_pairs=False, tidy_paragraphs=False)
    texts = Sampler(marked, config).generate([""], num_samples=40, max_new_tokens=25)
    assert sum(not is_balanced(text) for text in texts) > 20
    assert any(map(begins_badly, texts))


def test_what_the_prompt_opened_is_closed(marked: LSTMLanguageModel) -> None:
    sampler = Sampler(marked, SamplerConfig(temperature=1.0, top_p=1.0))
    for text in sampler.generate(["“‘", "他道：“", "“‘（【《「"], num_samples=20, max_new_tokens=12):
        assert is_balanced(text), text


def test_quotes_that_open_anew_at_each_paragraph_are_read(marked: LSTMLanguageModel) -> None:
    rules = PunctuationRules(list(marked.vocabulary), balanced_pairs=True, tidy_paragraphs=True)
    assert rules.read("“他道\n“好") == "“"
    assert rules.read("“他道\n“好”") == ""
    assert rules.read("”他（‘道", "") == "（‘"
    text = Sampler(marked, SamplerConfig(temperature=1.0)).generate("“他道\n“好", max_new_tokens=9)
    assert is_balanced(text.partition("\n")[2])


@pytest.mark.parametrize(
    "options", [{}, {"top_p": 0.7}, {"temperature": 0.7, "top_p": 0.8}, {"top_k": 6}, {"min_p": 0.001}]
)
@pytest.mark.parametrize("prompt", ["他道：“好", "他道\n", "（《"])
def test_draws_are_the_models_without_what_is_forbidden(
    marked: LSTMLanguageModel, prompt: str, options: dict[str, Any]
) -> None:
    """Cut-offs first, then the forbidden tokens are taken out and the rest is renormalised; 600 draws."""
    settings: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0} | options
    vocabulary = marked.vocabulary
    rules = PunctuationRules(list(vocabulary), balanced_pairs=True, tidy_paragraphs=True)
    with torch.no_grad():
        scores = marked(torch.tensor([[vocabulary.bos_id, *vocabulary.encode(prompt)]]))[0][0, -1].double()
    scores[[vocabulary.bos_id, *vocabulary.byte_ids]] = -torch.inf
    probabilities = (scores / settings["temperature"]).softmax(-1).tolist()
    ranked = sorted(range(len(vocabulary)), key=lambda token_id: -probabilities[token_id])
    if settings["top_k"]:
        ranked = ranked[: settings["top_k"]]
    nucleus, total = [], 0.0
    for token_id in ranked:
        if total < settings["top_p"] and probabilities[token_id] > 0:
            nucleus.append(token_id)
            total += probabilities[token_id]
    opened = rules.read(prompt)
    shares: dict[int, float] = {}
    for token_id in nucleus:
        token = vocabulary.id_to_token(token_id)
        if opened and (token == "\n" or any(PAIRS[mark] == token for mark in opened[:-1])):
            # What ends a paragraph or an outer pair closes the innermost one first.
            token = PAIRS[opened[-1]]
        if follows_the_rules(prompt, token):
            comes = vocabulary.token_to_id(token)
            shares[comes] = shares.get(comes, 0.0) + probabilities[token_id]
    kept = list(shares)
    assert kept
    if not options:
        assert 2 <= len(kept) < len(nucleus)
    whole = sum(shares.values())
    results = Sampler(marked, SamplerConfig(**settings)).generate(
        [prompt], num_samples=600, max_new_tokens=4, return_results=True
    )
    counts = Counter(result.ids[0] for result in results)
    assert set(counts) <= set(kept)
    expected = {token_id: 600 * shares[token_id] / whole for token_id in kept}
    statistic = sum((counts[token_id] - awaited) ** 2 / awaited for token_id, awaited in expected.items())
    freedom = len(kept) - 1
    assert statistic < freedom + 6 * (2 * freedom) ** 0.5 + 6  # far beyond the 1 in 10^5 of a chi-square variable


def test_a_mark_that_the_model_never_closes_does_not_keep_the_paragraph_open(marked: LSTMLanguageModel) -> None:
    """The model writes no marks of itself: where it would end the paragraph, they are closed one by one."""
    marks = [
        marked.vocabulary.token_to_id(mark) for pair in PAIRS.items() for mark in pair if mark in marked.vocabulary
    ]

    def never(ids: Tensor, logits: Tensor) -> Tensor:
        logits[..., marks] = -torch.inf
        return logits

    for config in (SamplerConfig(temperature=1.0, top_p=1.0), SamplerConfig(temperature=1.0, top_p=0.9)):
        for text in Sampler(marked, config, processors=[never]).generate(
            ["他《", "「（《"], num_samples=10, max_new_tokens=400
        ):
            assert is_balanced(text)
            assert "》" in text[:200]
            assert "\n" in text[:300]


def test_banned_closing_mark_leaves_its_pair_alone(marked: LSTMLanguageModel) -> None:
    config = SamplerConfig(temperature=1.0, top_p=1.0, banned_words=["”"])
    texts = Sampler(marked, config).generate([""], num_samples=30, max_new_tokens=30)
    assert not any("”" in text for text in texts)
    assert any("“" in text for text in texts)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    words=st.lists(st.text("“”‘’。：好行\n", min_size=1, max_size=2), min_size=1, max_size=5),
    prompt=st.sampled_from(["", "“好", "他道：“‘好。"]),
    limits=st.sampled_from([*LIMITS, {"max_characters": 20, "end": "sentence"}]),
    temperature=st.sampled_from([0.0, 1.0]),
)
@example(words=["。”", "好”", "行”"], prompt="“好", limits={"max_new_tokens": 2}, temperature=0.0)
@example(words=["’"], prompt="他道：“‘好。", limits={"max_characters": 9}, temperature=1.0)
def test_no_rule_and_no_limit_writes_a_banned_word(
    marked: LSTMLanguageModel, words: list[str], prompt: str, limits: dict[str, Any], temperature: float
) -> None:
    """A closing mark that has to follow would complete some of them."""
    sampler = Sampler(marked, SamplerConfig(temperature=temperature, top_p=1.0, banned_words=words))
    texts = sampler.generate(prompt, num_samples=4, **limits)
    texts += [result.text for result in sampler.beam_search(prompt, num_beams=3, num_return_sequences=3, **limits)]
    for text in texts:
        for word in words:
            assert text.find(word, max(0, len(prompt) - len(word) + 1)) < 0, (text, word)


tokens = st.lists(
    st.sampled_from(["“", "”", "‘", "’", "（", "）", "\n", "。", "：", "好", "。”", "：”", "\n“", "“是”"]), max_size=30
)


@given(tokens)
def test_texts_that_follow_the_rules_are_those_that_are_balanced(words: list[str]) -> None:
    vocabulary = ["", "“", "”", "‘", "’", "（", "）", "\n", "。", "：", "好", "。”", "：”", "\n“", "“是”"]
    rules = PunctuationRules(vocabulary, balanced_pairs=True, tidy_paragraphs=False)
    opened = text = ""
    for word in words:
        verdict = rules.verdict(opened, text or "他", lambda token: 99)
        word_id = vocabulary.index(word)
        if word_id not in verdict.moved and word_id not in verdict.forbidden:
            text, opened = text + word, rules.read(word, opened)
            assert not re.search("[“‘（：][”’）]", text)
            assert is_balanced(text + "".join(PAIRS[mark] for mark in reversed(opened)))
        else:
            marks = "".join(PAIRS[mark] for mark in reversed(rules.read(word, opened)))
            assert not is_balanced(text + word + marks) or re.search("[“‘（：][”’）]", text + word)


@pytest.mark.parametrize(
    ("piece", "before", "count"),
    [
        ("好。", "", 1),
        ("。", "。", 0),
        ("？！", "么", 1),
        ("。”他说：“走！", "好", 2),
        ("\n", "回", 1),
        ("\n", "。", 0),
        ("\n", "”", 0),
        ("\n", "", 0),
        ("\n\n", "回", 1),
        ("好，", "", 0),
    ],
)
def test_sentences_are_counted(piece: str, before: str, count: int) -> None:
    assert ends_sentences(piece, before) == count
