"""Dynamic evaluation against the same by hand, and against evaluation without learning."""

import copy
import math

import pytest
import torch

from zh_lstm_lm import (
    ConfigError,
    DataError,
    DynamicEvaluation,
    LSTMLanguageModel,
    ModelConfig,
    TokenStream,
    Vocabulary,
    evaluate,
)


@pytest.fixture(params=["full", "adaptive"])
def lm(vocabulary: Vocabulary, request: pytest.FixtureRequest) -> LSTMLanguageModel:
    cutoffs = (20, 60) if request.param == "adaptive" else None
    config = ModelConfig(embedding_dim=8, hidden_size=12, dropout=0.3, output=request.param, cutoffs=cutoffs)
    return LSTMLanguageModel(vocabulary, config).eval()


def test_without_learning_it_is_evaluate(lm: LSTMLanguageModel, stream: TokenStream) -> None:
    expected = evaluate(lm, stream)
    found = evaluate(lm, stream, dynamic=DynamicEvaluation(learning_rate=0.0))
    assert found.log_prob == pytest.approx(expected.log_prob, rel=1e-6)
    assert (found.num_tokens, found.num_characters, found.clean) == (
        expected.num_tokens,
        expected.num_characters,
        expected.clean,
    )
    assert found.error_bars(50).perplexity == pytest.approx(expected.error_bars(50).perplexity, rel=1e-5)


def test_it_is_gradient_descent_after_each_window(lm: LSTMLanguageModel, stream: TokenStream) -> None:
    total = 0.0
    for text in stream.texts():
        learner = copy.deepcopy(lm)
        given = [weight.detach().clone() for weight in learner.parameters()]
        ids = [0, *lm.vocabulary.encode(text)]
        state = None
        for start in range(0, len(ids) - 1, 7):
            window = torch.tensor([ids[start : start + 8]])
            logits, state = learner(window[:, :-1], state)
            state = (state[0].detach(), state[1].detach())
            chosen = torch.log_softmax(logits[0], -1).gather(1, window[0, 1:, None])
            total += float(chosen.detach().double().sum())
            learner.zero_grad()
            (-chosen.mean()).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(learner.parameters(), 0.5)
            with torch.no_grad():
                for weight, first in zip(learner.parameters(), given, strict=True):
                    moved = weight - 0.8 * weight.grad if weight.grad is not None else weight
                    weight.copy_(moved + 0.1 * (first - moved))
    options = DynamicEvaluation(learning_rate=0.8, decay=0.1, window_len=7, max_grad_norm=0.5)
    found = evaluate(lm, stream, dynamic=options)
    assert found.log_prob == pytest.approx(total, rel=1e-4)
    assert found.log_prob != pytest.approx(evaluate(lm, stream).log_prob, rel=1e-3)


def test_text_that_repeats_itself_is_learned_and_the_model_stays(lm: LSTMLanguageModel, texts: list[str]) -> None:
    stream = TokenStream.from_texts([texts[0] * 24], tokenizer="characters")
    before = copy.deepcopy(lm.state_dict())
    gain = evaluate(lm, stream).perplexity / evaluate(lm, stream, dynamic=DynamicEvaluation()).perplexity
    assert gain > 1.2
    assert all(torch.equal(before[name], value) for name, value in lm.state_dict().items())
    assert not lm.training
    assert all(weight.grad is None for weight in lm.parameters())
    with torch.no_grad():
        assert evaluate(lm, stream, dynamic=DynamicEvaluation()).perplexity < evaluate(lm, stream).perplexity


def test_what_cannot_be_is_refused(lm: LSTMLanguageModel, stream: TokenStream) -> None:
    for option in ({"learning_rate": -1.0}, {"decay": 2.0}, {"window_len": 0}, {"max_grad_norm": math.inf}):
        with pytest.raises(ConfigError, match=next(iter(option))):
            DynamicEvaluation(**option)
    with pytest.raises(DataError, match="no token"):
        evaluate(lm, stream.split(valid=0.0, test=0.3)[1], dynamic=DynamicEvaluation())
    with pytest.raises(ConfigError, match="temperature=2 does not go together with dynamic evaluation"):
        evaluate(lm, stream, temperature=2.0, dynamic=DynamicEvaluation())
    with pytest.raises(ConfigError, match="dynamic must be a DynamicEvaluation or None"):
        evaluate(lm, stream, dynamic=True)  # type: ignore[arg-type]
