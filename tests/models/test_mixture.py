"""Mixtures against the weighted mean of the probabilities of their models, computed one by one."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from zh_lstm_lm import (
    ConfigError,
    DynamicEvaluation,
    Ensemble,
    LanguageModel,
    LSTMLanguageModel,
    Mixture,
    ModelConfig,
    NonFiniteError,
    Sampler,
    SamplerConfig,
    TokenStream,
    Vocabulary,
    evaluate,
    rescore,
    score,
    score_batch,
    suggest,
)

WEIGHTS = [None, [0.7, 0.2, 0.1], [0.0, 0.25, 0.75], [0, 1, 0]]


@pytest.fixture
def models(vocabulary: Vocabulary) -> list[LSTMLanguageModel]:
    """Three that differ in size, in layers and in output layer."""
    configs = [
        ModelConfig(embedding_dim=8, hidden_size=12, num_layers=2, output="adaptive", cutoffs=(20, 60), seed=1),
        ModelConfig(embedding_dim=6, hidden_size=10, output="full", seed=2),
        ModelConfig(embedding_dim=10, hidden_size=10, tie_weights=True, seed=3),
    ]
    return [LSTMLanguageModel(vocabulary, config).eval() for config in configs]


def mean_log_probs(models: list[LSTMLanguageModel], weights: list[float] | None, text: str) -> list[float]:
    each = torch.tensor([score(model, text).log_probs for model in models], dtype=torch.float64)
    shares = torch.tensor(weights or [1 / len(models)] * len(models), dtype=torch.float64)
    return (shares[:, None] * each.exp()).sum(dim=0).log().tolist()


@pytest.mark.parametrize("weights", WEIGHTS)
def test_every_token_has_the_mean_of_the_probabilities(
    models: list[LSTMLanguageModel], texts: list[str], weights: list[float] | None
) -> None:
    mixture = Mixture(models, weights)
    expected = [mean_log_probs(models, weights, text) for text in texts]
    for scored, log_probs in zip(score_batch(mixture, texts), expected, strict=True):
        assert scored.log_probs == pytest.approx(log_probs, abs=1e-5)
    result = evaluate(mixture, TokenStream.from_texts(texts, tokenizer="characters"))
    assert result.log_prob == pytest.approx(math.fsum(map(math.fsum, expected)), rel=1e-6)
    assert [found.log_prob for found in rescore(mixture, texts[:1], end=False)] == pytest.approx(
        [math.fsum(expected[0])], rel=1e-6
    )


def test_all_probabilities_are_the_mean(models: list[LSTMLanguageModel]) -> None:
    mixture = Mixture(models, [0.5, 0.3, 0.2])
    vocabulary = mixture.vocabulary
    ids = torch.tensor([[0, *vocabulary.encode("展昭笑道")], [0, *vocabulary.encode("白玉堂道")]])
    with torch.no_grad():
        context, _ = mixture.read(ids)
        each = [model(ids)[0].softmax(-1).flatten(0, 1) for model in models]
        expected = 0.5 * each[0] + 0.3 * each[1] + 0.2 * each[2]
    torch.testing.assert_close(mixture.log_probs(context).exp(), expected, rtol=1e-4, atol=1e-7)


def test_it_generates_and_suggests(models: list[LSTMLanguageModel]) -> None:
    mixture = Ensemble(models)
    sampler = Sampler(mixture, SamplerConfig(temperature=0.0, balanced_pairs=False, tidy_paragraphs=False))
    text = "展昭"
    never = {0, *mixture.vocabulary.byte_ids}
    for _ in range(8):
        ids = torch.tensor([[0, *mixture.vocabulary.encode(text)]])
        with torch.no_grad():
            mean = torch.stack([model(ids)[0][0, -1].softmax(-1) for model in models]).mean(dim=0)
        text += mixture.vocabulary.id_to_token(
            max((i for i in range(len(mean)) if i not in never), key=lambda i: float(mean[i]))
        )
    assert sampler.generate("展昭", max_new_tokens=8) == text
    assert sampler.generate(["展昭", "雪"], max_new_tokens=8)[0] == text
    assert suggest(mixture, "展昭", k=1)[0].log_prob <= 0.0


def test_a_file_is_resumed_by_the_same_models_only(models: list[LSTMLanguageModel], tmp_path: Path) -> None:
    sampler = Sampler(Mixture(models[:2]))
    path = sampler.write(tmp_path / "a.txt", max_new_tokens=20)
    assert path.read_text(encoding="utf-8") == sampler.generate(max_new_tokens=20)


def test_the_models_and_the_options_of_the_first_stay_reachable(models: list[LSTMLanguageModel]) -> None:
    models[0].generation_config = SamplerConfig(temperature=0.4).to_dict()
    mixture = Mixture(models, [0.5, 0.25, 0.25])
    assert mixture.models == tuple(models)
    assert mixture.weights == (0.5, 0.25, 0.25)
    assert Ensemble(models[:2]).weights == (0.5, 0.5)
    assert Sampler(mixture).config.temperature == 0.4


def test_damaged_weights_are_named(models: list[LSTMLanguageModel]) -> None:
    mixture = Mixture(models)
    with torch.no_grad():
        models[1].embedding.weight.fill_(math.nan)
    for call in (lambda: score(mixture, "展昭"), lambda: Sampler(mixture), lambda: Mixture(models)):
        with pytest.raises(NonFiniteError, match=r"damaged: embedding\.weight"):
            call()


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        ([0.5, 0.6, 0.1], "must sum to 1"),
        ([1.5, -0.5, 0.0], "must lie between 0 and 1"),
        ([0.5, 0.5], "one number for each of the 3 models"),
        ([math.nan, 0.5, 0.5], "must lie between 0 and 1"),
        ([True, 0.0, 0.0], "must lie between 0 and 1"),
        ("111", "one number for each"),
        (0.3, "one number for each"),
    ],
)
def test_weights_that_are_no_distribution_are_refused(
    models: list[LSTMLanguageModel], weights: Any, named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        Mixture(models, weights)


def test_what_cannot_be_put_together_is_refused(models: list[LSTMLanguageModel]) -> None:
    other = LSTMLanguageModel(Vocabulary.from_stream(TokenStream.from_texts(["雪"], tokenizer="characters")))
    with pytest.raises(ConfigError, match=r"models\[1\] has another vocabulary than models\[0\]"):
        Mixture([models[0], other])
    bad: Any
    for bad in ([], models[0], "ab", None):
        with pytest.raises(ConfigError, match="models must be a list"):
            Mixture(bad)
    with pytest.raises(ConfigError, match=r"models\[1\] must be a LanguageModel"):
        Mixture([models[0], LSTMLanguageModel])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="one by one"):
        evaluate(Mixture(models), TokenStream.from_texts(["雪"], tokenizer="characters"), dynamic=DynamicEvaluation())
    assert isinstance(Mixture([Mixture(models), models[0]]), LanguageModel)
