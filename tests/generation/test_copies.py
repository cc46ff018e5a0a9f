"""Samplers, results and states are copied and pickled like other Python objects."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from zh_lstm_lm import CoWriter, LSTMLanguageModel, Sampler, SamplerConfig, score

COPIES = [copy.copy, copy.deepcopy, lambda given: pickle.loads(pickle.dumps(given))]
Copy = Callable[[Any], Any]


def prefer_snow(ids: Tensor, logits: Tensor) -> Tensor:
    return torch.cat([logits[..., :1], logits[..., 1:] / 2], dim=-1)


@pytest.fixture
def sampler(model: LSTMLanguageModel) -> Sampler:
    config = SamplerConfig(temperature=1.0, repetition_penalty=1.1, banned_words=["雪"], word_bias={"酒": 1.0})
    return Sampler(model, config, processors=[prefer_snow])


@pytest.mark.parametrize("duplicate", COPIES)
def test_a_copied_sampler_writes_the_same(sampler: Sampler, duplicate: Copy) -> None:
    text = sampler.generate("展昭", max_new_tokens=30)
    other = duplicate(sampler)
    assert type(other) is Sampler
    assert other.config == sampler.config
    assert other.generate("展昭", max_new_tokens=30) == text
    assert (other.model is sampler.model) == (duplicate is copy.copy)


@pytest.mark.parametrize("duplicate", COPIES)
def test_a_copied_state_goes_on_the_same(sampler: Sampler, duplicate: Copy) -> None:
    result = sampler.generate("展昭", max_new_tokens=5, return_results=True)
    other = duplicate(result)
    assert (other.text, other.ids, other.log_probs, other.finish_reason) == (
        result.text,
        result.ids,
        result.log_probs,
        result.finish_reason,
    )
    expected = sampler.generate(state=result.state, max_new_tokens=9)
    assert sampler.generate(state=other.state, max_new_tokens=9) == expected
    assert sampler.generate(state=duplicate(result.state), max_new_tokens=9) == expected
    scored = score(sampler.model, "展昭\n笑道")
    again = duplicate(scored)
    assert again == scored
    assert again.error_bars(20) == scored.error_bars(20)
    assert score(sampler.model, "：“", state=again.state) == score(sampler.model, "：“", state=scored.state)


@pytest.mark.parametrize("duplicate", COPIES[1:])
def test_a_copied_co_writer_goes_on_by_itself(sampler: Sampler, duplicate: Copy) -> None:
    writer = CoWriter(sampler, "展昭", max_new_tokens=6)
    writer.go_on()
    other = duplicate(writer)
    assert writer.go_on() == other.go_on()
    assert other.undo()
    assert other.text != writer.text
