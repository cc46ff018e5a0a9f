"""Figures of updates that are read together are those that were put in, in order."""

import math

import pytest
import torch

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, NonFiniteError, TokenStream, Trainer, TrainerConfig, Vocabulary
from zh_lstm_lm.training.state import UpdateMetrics
from zh_lstm_lm.training.updater import MetricsQueue


def put(queue: MetricsQueue, step: int) -> None:
    metrics = UpdateMetrics(step, 0.5**step, math.nan, math.nan, 10 + step, 20 + step)
    queue.put(metrics, torch.tensor(step / 4), torch.tensor(2.0 * step))


@pytest.mark.parametrize(("device", "room"), [("cpu", 1), ("cuda", 20), ("meta", 20)])
def test_figures_are_read_when_there_are_enough(device: str, room: int) -> None:
    queue = MetricsQueue(torch.device(device))
    assert queue.read() == []
    for step in range(1, room + 1):
        assert not queue.full()
        put(queue, step)
    assert queue.full()
    assert queue.read() == [
        UpdateMetrics(step, 0.5**step, step / 4, 2.0 * step, 10 + step, 20 + step) for step in range(1, room + 1)
    ]
    assert not queue.full()
    assert queue.read() == []


class FarQueue(MetricsQueue):
    """What a queue on another device than the CPU does."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(torch.device("meta"))


def trainer(stream: TokenStream, vocabulary: Vocabulary) -> Trainer:
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=6, hidden_size=8))
    config = TrainerConfig(max_epochs=3, batch_size=1, bptt_len=5)
    return Trainer(model, stream, stream, config, progress=False)


def test_a_run_tells_the_same_when_figures_are_read_late(
    stream: TokenStream, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(run: Trainer) -> list[dict[str, float]]:
        return [{name: value for name, value in record.items() if "second" not in name} for record in run.fit()]

    prompt, late = trainer(stream, vocabulary), trainer(stream, vocabulary)
    expected = told(prompt)
    monkeypatch.setattr("zh_lstm_lm.training.updater.MetricsQueue", FarQueue)
    assert told(late) == expected
    assert prompt.state.step % 20, "the last figures are read because the run ends"
    assert [record["step"] for record in late.state.curve] == [record["step"] for record in prompt.state.curve]


def test_an_update_that_diverged_is_told_of_at_the_next_read(
    stream: TokenStream, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zh_lstm_lm.training.updater.MetricsQueue", FarQueue)
    run = trainer(stream, vocabulary)
    with torch.no_grad():
        run.model.embedding.weight[5:] = float("nan")
    with pytest.raises(NonFiniteError, match=r"update 1: the loss is nan"):
        run.fit()
    assert run.state.step == 19
