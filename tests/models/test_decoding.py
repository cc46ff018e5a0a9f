"""Steps of one token, against the model reading the same tokens at once."""

from typing import Any

import pytest
import torch
from zh_lstm_lm.generation.decoder import SingleSteps

from zh_lstm_lm import Ensemble, LSTMLanguageModel, ModelConfig, Vocabulary
from zh_lstm_lm.models.lstm_layer import LSTMState
from zh_lstm_lm.runtime.batch_invariant import RowwiseLinear


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("rows", [1, 5])
def test_steps_are_what_the_model_reads(vocabulary: Vocabulary, num_layers: int, rows: int) -> None:
    sizes = ModelConfig(embedding_dim=6, hidden_size=8, num_layers=num_layers, dropout=0.5)
    model = LSTMLanguageModel(vocabulary, sizes).double().train()  # no mask is drawn all the same
    ids = torch.randint(len(vocabulary), (rows, 7), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, (h, c) = model.hidden_states(ids)
        state = model.initial_state(rows)
        read = SingleSteps(model, RowwiseLinear())
        for step in range(7):
            hidden, state = read(ids[:, step], state)
            torch.testing.assert_close(hidden, expected[:, step], atol=1e-12, rtol=0)
    torch.testing.assert_close(state, (h, c), atol=1e-12, rtol=0)


class Attentive(LSTMLanguageModel):
    """Reads in a way of its own."""

    def hidden_states(self, *given: Any, **options: Any) -> tuple[torch.Tensor, LSTMState]:
        hidden, state = super().hidden_states(*given, **options)
        return hidden + 1.0, state


def test_a_model_that_reads_in_its_own_way_is_asked(vocabulary: Vocabulary) -> None:
    model, ids = Attentive(vocabulary, ModelConfig(embedding_dim=4, hidden_size=6)), torch.tensor([[5], [9]])
    with torch.inference_mode():
        expected, _ = model.hidden_states(ids, model.initial_state(2))
        hidden, _ = SingleSteps(model, RowwiseLinear())(ids[:, 0], model.initial_state(2))
    assert torch.equal(hidden, expected[:, 0])


def test_the_models_of_an_ensemble_are_read_one_by_one(vocabulary: Vocabulary) -> None:
    models = [LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=6, seed=seed)) for seed in (1, 2)]
    both, ids = Ensemble(models), torch.tensor([[5], [9]])
    with torch.inference_mode():
        expected, (h, c) = both.hidden_states(ids, both.initial_state(2))
        hidden, state = SingleSteps(both, RowwiseLinear())(ids[:, 0], both.initial_state(2))
    torch.testing.assert_close(hidden, expected[:, 0])
    torch.testing.assert_close(state, (h, c))
