"""Decoding one token at a time, against the model reading the same tokens at once."""

from typing import Any

import pytest
import torch
from torch import Tensor

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, Vocabulary
from zh_lstm_lm.models.layers import LSTMContext, LSTMState


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("rows", [1, 5])
def test_steps_equal_what_the_model_reads(vocabulary: Vocabulary, num_layers: int, rows: int) -> None:
    sizes = ModelConfig(embedding_dim=6, hidden_size=8, num_layers=num_layers, dropout=0.5)
    # In training mode, where dropout must not act.
    model = LSTMLanguageModel(vocabulary, sizes).double().train()
    ids = torch.randint(len(vocabulary), (rows, 7), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        context, after = model.read(ids)
        expected = model.log_probs(context).view(rows, 7, -1)
        decoding = model.for_decoding()
        state = decoding.initial_state(rows)
        for step in range(7):
            read, state = decoding.read(ids[:, step : step + 1], state)
            torch.testing.assert_close(decoding.log_probs(read), expected[:, step], atol=1e-12, rtol=0)
    torch.testing.assert_close(state.h, after.h, atol=1e-12, rtol=0)
    torch.testing.assert_close(state.c, after.c, atol=1e-12, rtol=0)


class Shifted(LSTMLanguageModel):
    """Reads in a way of its own."""

    def read(self, *given: Any, **options: Any) -> tuple[LSTMContext, LSTMState]:
        context, state = super().read(*given, **options)
        return LSTMContext(context.hidden + 1.0), state


class Flat(LSTMLanguageModel):
    """Predicts in a way of its own."""

    def log_probs(self, context: LSTMContext) -> Tensor:
        return (super().log_probs(context) / 9).log_softmax(-1)


@pytest.mark.parametrize("subclass", [Shifted, Flat])
def test_a_subclass_that_predicts_in_its_own_way_is_asked(
    vocabulary: Vocabulary, subclass: type[LSTMLanguageModel]
) -> None:
    model, ids = subclass(vocabulary, ModelConfig(embedding_dim=4, hidden_size=6)), torch.tensor([[5], [9]])
    with torch.inference_mode():
        expected = model.log_probs(model.read(ids)[0])
        decoding = model.for_decoding()
        assert torch.equal(decoding.log_probs(decoding.read(ids)[0]), expected)


@pytest.mark.parametrize("change", ["in place", "data", "replaced"])
def test_changed_weights_are_seen(model: LSTMLanguageModel, change: str) -> None:
    ids = torch.tensor([[7]])
    with torch.no_grad():
        before = model.for_decoding().read(ids)[0].hidden
        weight = model.layers[0].get_parameter("bias_ih_l0")
        if change == "in place":
            weight.add_(0.5)
        elif change == "data":
            weight.data.add_(0.5)
        else:
            model.layers[0].bias_ih_l0 = torch.nn.Parameter(weight + 0.5)
        after = model.for_decoding().read(ids)[0].hidden
        torch.testing.assert_close(after, model.read(ids)[0].hidden, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(before, after, atol=1e-3)
