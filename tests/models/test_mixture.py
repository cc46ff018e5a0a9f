"""Ensembles against the mean of the probabilities of their models, computed one by one."""

import math
from pathlib import Path

import pytest
import torch

from zh_lstm_lm import (
    ConfigError,
    Ensemble,
    LSTMLanguageModel,
    ModelConfig,
    Sampler,
    SamplerConfig,
    TokenStream,
    Vocabulary,
    evaluate,
    evaluate_dynamically,
    rescore,
    score,
    score_batch,
    suggest,
)


@pytest.fixture
def models(vocabulary: Vocabulary) -> list[LSTMLanguageModel]:
    """Three that differ in size, in layers and in output layer."""
    configs = [
        ModelConfig(embedding_dim=8, hidden_size=12, num_layers=2, output="adaptive", cutoffs=(20, 60), seed=1),
        ModelConfig(embedding_dim=6, hidden_size=10, output="full", seed=2),
        ModelConfig(embedding_dim=10, hidden_size=10, tie_weights=True, seed=3),
    ]
    return [LSTMLanguageModel(vocabulary, config).eval() for config in configs]


def mean_log_probs(models: list[LSTMLanguageModel], text: str) -> list[float]:
    each = torch.tensor([score(model, text).log_probs for model in models], dtype=torch.float64)
    return each.exp().mean(dim=0).log().tolist()


def test_every_token_has_the_mean_of_the_probabilities(models: list[LSTMLanguageModel], texts: list[str]) -> None:
    ensemble = Ensemble(models)
    expected = [mean_log_probs(models, text) for text in texts]
    for scored, log_probs in zip(score_batch(ensemble, texts), expected, strict=True):
        assert scored.log_probs == pytest.approx(log_probs, abs=1e-5)
    result = evaluate(ensemble, TokenStream.from_texts(texts, tokenizer="characters"))
    assert result.log_prob == pytest.approx(math.fsum(map(math.fsum, expected)), rel=1e-6)
    assert [found.log_prob for found in rescore(ensemble, texts[:1], end=False)] == pytest.approx(
        [math.fsum(expected[0])], rel=1e-6
    )


def test_all_scores_make_one_distribution_and_a_state_goes_on(models: list[LSTMLanguageModel]) -> None:
    ensemble = Ensemble(models)
    ids = torch.tensor([[0, *ensemble.vocabulary.encode("展昭笑道")], [0, *ensemble.vocabulary.encode("白玉堂道")]])
    with torch.no_grad():
        log_probs, _ = ensemble(ids)
        probabilities = torch.stack([model(ids)[0].softmax(-1) for model in models]).mean(dim=0)
        first, state = ensemble(ids[:, :2])
        second, _ = ensemble(ids[:, 2:], state)
    torch.testing.assert_close(log_probs.exp(), probabilities, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(torch.cat([first, second], dim=1), log_probs, rtol=1e-4, atol=1e-5)
    before = score(ensemble, "展昭笑").state
    assert score(ensemble, "道", state=before).log_probs[0] == pytest.approx(
        score(ensemble, "展昭笑道").log_probs[-1], abs=1e-5
    )


def test_they_write_and_suggest_together(models: list[LSTMLanguageModel]) -> None:
    ensemble = Ensemble(models)
    sampler = Sampler(ensemble, SamplerConfig(temperature=0.0, balanced_pairs=False, tidy_paragraphs=False))
    text = "展昭"
    never = {0, *ensemble.vocabulary.byte_ids}
    for _ in range(8):
        ids = torch.tensor([[0, *ensemble.vocabulary.encode(text)]])
        with torch.no_grad():
            mean = torch.stack([model(ids)[0][0, -1].softmax(-1) for model in models]).mean(dim=0)
        text += ensemble.vocabulary.id_to_token(
            max((i for i in range(len(mean)) if i not in never), key=lambda i: float(mean[i]))
        )
    assert sampler.generate("展昭", max_new_tokens=8) == text
    assert sampler.generate(["展昭", "雪"], max_new_tokens=8)[0] == text
    assert suggest(ensemble, "展昭", k=1)[0].log_prob <= 0.0


def test_a_file_is_resumed_by_the_same_models_only(models: list[LSTMLanguageModel], tmp_path: Path) -> None:
    sampler = Sampler(Ensemble(models[:2]))
    path = sampler.write(tmp_path / "a.txt", max_new_tokens=20)
    assert path.read_text(encoding="utf-8") == sampler.generate(max_new_tokens=20)


def test_what_cannot_be_put_together_is_refused(
    models: list[LSTMLanguageModel], vocabulary: Vocabulary, tmp_path: Path
) -> None:
    other = LSTMLanguageModel(Vocabulary.from_stream(TokenStream.from_texts(["雪"], tokenizer="characters")))
    with pytest.raises(ConfigError, match=r"models\[1\] has another vocabulary than models\[0\]"):
        Ensemble([models[0], other])
    with pytest.raises(ConfigError, match="models must be a list of models"):
        Ensemble([])
    with pytest.raises(ConfigError, match=r"models\[0\] must be a single LSTMLanguageModel"):
        Ensemble([Ensemble(models)])
    with pytest.raises(ConfigError, match="save its models"):
        Ensemble(models).save_pretrained(tmp_path / "ensemble")
    with pytest.raises(ConfigError, match="or train them, one by one"):
        evaluate_dynamically(Ensemble(models), TokenStream.from_texts(["雪"], tokenizer="characters"))
