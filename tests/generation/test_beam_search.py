"""Beam search against all texts, one by one."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from zh_lstm_lm import ConfigError, LSTMLanguageModel, ModelConfig, Sampler, SamplerConfig, TokenStream, Vocabulary

FREE: dict[str, Any] = {"balanced_pairs": False, "tidy_paragraphs": False}


@pytest.fixture(scope="module")
def small() -> LSTMLanguageModel:
    """A model of four characters and the paragraph end, far from uniform."""
    vocabulary = Vocabulary.from_stream(TokenStream.from_texts(["风雪夜归\n" * 3], tokenizer="characters"))
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=8, seed=5)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5)
    return model


def all_texts(model: LSTMLanguageModel, length: int, stop: str = "") -> Iterator[tuple[str, float]]:
    """Every continuation up to a length or a stop string, with its log-probability among what may be drawn."""
    vocabulary = model.vocabulary
    ids = [token_id for token_id in range(1, len(vocabulary)) if token_id not in vocabulary.byte_ids]
    seen = set()
    for drawn in itertools.product(ids, repeat=length):
        text = vocabulary.decode(drawn)
        cut = text.find(stop) + 1 if stop and stop in text else length
        if text[:cut] in seen:
            continue
        seen.add(text[:cut])
        with torch.no_grad():
            scores = model(torch.tensor([[vocabulary.bos_id, *drawn[:cut]]]))[0][0].double()
        masked = torch.full_like(scores, -torch.inf)
        masked[:, ids] = scores[:, ids]
        log_probs = masked.log_softmax(-1)
        yield text[:cut], sum(float(log_probs[place, drawn[place]]) for place in range(cut))


def test_enough_beams_find_the_likeliest_texts_of_all(small: LSTMLanguageModel) -> None:
    ranked = sorted(all_texts(small, 4), key=lambda pair: -pair[1])
    sampler = Sampler(small, SamplerConfig(**FREE))
    found = sampler.beam_search(num_beams=125, num_return_sequences=10, max_new_tokens=4)
    assert [result.text for result in found] == [text for text, _ in ranked[:10]]
    assert all(result.finish_reason == "max_new_tokens" for result in found)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0, -1.0])
def test_texts_of_different_lengths_are_compared_by_the_length_penalty(
    small: LSTMLanguageModel, length_penalty: float
) -> None:
    ranked = sorted(all_texts(small, 4, stop="雪"), key=lambda pair: -pair[1] / len(pair[0]) ** length_penalty)
    found = Sampler(small, SamplerConfig(**FREE)).beam_search(
        num_beams=400, num_return_sequences=8, length_penalty=length_penalty, max_new_tokens=4, stop="雪"
    )
    assert [result.text for result in found] == [text for text, _ in ranked[:8]]
    assert len({len(result.text) for result in found}) > 1 or length_penalty > 0


def test_one_beam_takes_the_likeliest_token_each_time(model: LSTMLanguageModel) -> None:
    greedy = Sampler(model, SamplerConfig(temperature=0.0, **FREE)).generate("展昭", max_new_tokens=20)
    (found,) = Sampler(model, SamplerConfig(**FREE)).beam_search("展昭", num_beams=1, max_new_tokens=20)
    assert found.text == greedy


def test_more_beams_are_no_worse_and_the_state_goes_on(model: LSTMLanguageModel) -> None:
    sampler = Sampler(model, SamplerConfig(temperature=0.0, **FREE))
    results = [sampler.beam_search("展昭", num_beams=beams, max_new_tokens=10)[0] for beams in (1, 8)]
    assert results[1].log_prob >= results[0].log_prob - 1e-4
    best = results[1]
    on = sampler.generate(state=best.state, max_new_tokens=5, return_results=True)
    assert best.text + on.text == sampler.generate(best.text, max_new_tokens=5)


def test_processors_and_rules_hold_for_beams(model: LSTMLanguageModel) -> None:
    config = SamplerConfig(no_repeat_ngram_size=2, banned_words=["雪"])
    for result in Sampler(model, config).beam_search(
        "展昭道：“", num_beams=4, num_return_sequences=4, max_new_tokens=25
    ):
        assert "雪" not in result.text[5:]
        pairs = list(itertools.pairwise(result.ids))
        assert len(set(pairs)) >= len(pairs) - 1  # a closing mark at the end may be the second of its kind
        assert result.text.count("“") == result.text.count("”")


@pytest.mark.parametrize(
    "options",
    [{"num_beams": 0}, {"num_beams": 2, "num_return_sequences": 3}, {"length_penalty": "1"}, {"length_penalty": 17.0}],
)
def test_bad_options_are_refused(model: LSTMLanguageModel, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="|".join(options)):
        Sampler(model).beam_search("展昭", **options)


@pytest.mark.parametrize("length_penalty", [-16.0, 16.0])
def test_the_largest_length_penalties_are_numbers(model: LSTMLanguageModel, length_penalty: float) -> None:
    (result,) = Sampler(model).beam_search("展昭", num_beams=2, length_penalty=length_penalty, max_characters=9)
    assert len(result.text) == 9


def test_nothing_to_write_gives_the_prompt(model: LSTMLanguageModel) -> None:
    (result,) = Sampler(model).beam_search("展昭", max_new_tokens=0)
    assert result.text == "展昭"
    assert result.finish_reason == "max_new_tokens"
