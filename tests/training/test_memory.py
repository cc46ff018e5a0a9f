"""Sizes that cannot fit are refused with an estimate, before anything is allocated."""

from pathlib import Path

import pytest
import torch

from zh_lstm_lm import (
    ConfigError,
    LSTMLanguageModel,
    ModelConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
)
from zh_lstm_lm.runtime import memory
from zh_lstm_lm.runtime.memory import check_fits, total_memory
from zh_lstm_lm.training.memory import scores_per_token, training_bytes, training_memory

CPU = torch.device("cpu")


def test_memory_of_this_machine_is_known_or_not_told() -> None:
    total = total_memory(CPU)
    assert total is None or total > 100_000_000
    assert total_memory(torch.device("meta")) is None


def test_a_containers_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "limit").write_text("123456\n")
    (tmp_path / "none").write_text("max\n")
    monkeypatch.setattr(memory, "_CONTAINER_LIMITS", (tmp_path / "none", tmp_path / "limit", tmp_path / "missing"))
    assert total_memory(CPU) in (123456, None)


def test_scores_of_a_token_are_those_of_the_head_and_of_its_tail() -> None:
    counts = torch.tensor([50, 30, 10, 5, 3, 2])
    assert scores_per_token(counts, None) == 6
    assert scores_per_token(counts, (2, 4)) == pytest.approx(2 + 2 + 0.15 * 2 + 0.05 * 2)


def test_what_cannot_fit_is_told_with_both_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "total_memory", lambda device: 2_000_000_000)
    check_fits("a model", 2_000_000_000, CPU, smaller="it")
    with pytest.raises(ConfigError, match=r"a model would take about 5\.0 GB .* cpu has 2\.0 GB; make it smaller"):
        check_fits("a model", 5_000_000_000, CPU, smaller="it")


def test_a_model_that_cannot_fit_is_not_allocated(vocabulary: Vocabulary) -> None:
    with pytest.raises(ConfigError, match=r"weights would take about 17,\d{3}\.\d GB"):
        LSTMLanguageModel(vocabulary, ModelConfig(hidden_size=1 << 20))


def test_a_training_that_cannot_fit_is_refused(stream: TokenStream, vocabulary: Vocabulary) -> None:
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=8))
    needed = training_memory(held=1000, num_tokens=8, hidden_size=8, num_layers=1, scores=100.0, itemsize=4)
    assert needed == 1000 + 4 * 8 * (64 + 200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "total_memory", lambda device: training_bytes(model, betas=(0.0, 0.999)))
        trainer = Trainer(model, stream, None, TrainerConfig(batch_size=2, bptt_len=4), progress=False)
        with pytest.raises(ConfigError, match="weights would take about"):
            trainer.fit()
    assert trainer.fit()
