"""What an update holds, counted."""

import torch

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, Vocabulary
from zh_lstm_lm.corpus.batches import Batch
from zh_lstm_lm.training.memory import update_memory


def window(length: int) -> Batch:
    return Batch(torch.full((4, length), 5), torch.full((4, length), 6))


def test_memory_grows_with_the_window_by_the_same_for_every_token(vocabulary: Vocabulary) -> None:
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=16, output="full"))
    weights = sum(parameter.numel() * 4 for parameter in model.parameters())
    held = [update_memory(model, window(length), betas=(0.9, 0.999)) for length in (10, 20, 30)]
    assert held[2] - held[1] == held[1] - held[0]
    kept = (held[1] - held[0]) / (10 * 4 * 4)  # numbers for each token
    assert kept >= 16 + len(vocabulary), "its hidden state, and its scores or probabilities"
    assert held[0] - 10 * 4 * 4 * kept < 4 * weights
    assert held[0] > 3 * weights


def test_model_is_left_as_it_was(model: LSTMLanguageModel) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = update_memory(model, window(5), betas=(0.0, 0.999))
    assert first == update_memory(model, window(5), betas=(0.0, 0.999))
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
