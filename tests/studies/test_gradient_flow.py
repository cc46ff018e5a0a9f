"""Gradients by distance against differences of the loss itself."""

import pytest
import torch

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, Vocabulary
from zh_lstm_lm.studies.gradient_flow import gradient_by_distance


def tiny(vocabulary: Vocabulary, **options: object) -> LSTMLanguageModel:
    sizes = {"embedding_dim": 4, "hidden_size": 5, "dropout": 0.5, "output": "full", **options}
    return LSTMLanguageModel(vocabulary, ModelConfig(**sizes)).double()  # type: ignore[arg-type]


@pytest.mark.parametrize("num_layers", [1, 2])
def test_norms_are_those_of_differences(vocabulary: Vocabulary, num_layers: int) -> None:
    model = tiny(vocabulary, num_layers=num_layers)
    ids = torch.tensor([vocabulary.bos_id, *vocabulary.encode("展昭道：好大的雪！白玉堂笑道")])
    hidden, cell = gradient_by_distance(model, ids, max_distance=3, num_positions=1)
    place = 4
    inputs, target = ids[None, place - 4 : place], int(ids[place])

    def loss(after: int, part: int, index: tuple[int, int], change: float) -> float:
        """The loss at `place` when one number of the state after so many inputs is changed."""
        with torch.no_grad():
            state = model.read(inputs[:, :after])[1]
            state[part][index[0], 0, index[1]] += change
            scores = model(inputs[:, after:], state)[0][0, -1]
            return -float(torch.log_softmax(scores, dim=-1)[target])

    model.eval()
    step = 1e-5
    for part, norms in enumerate((hidden, cell)):
        for distance, norm in enumerate(norms, start=1):
            differences = [
                (loss(4 - distance, part, (layer, unit), step) - loss(4 - distance, part, (layer, unit), -step))
                / (2 * step)
                for layer in range(num_layers)
                for unit in range(5)
            ]
            assert norm == pytest.approx(float(torch.tensor(differences).norm()), rel=1e-4)


def test_a_model_that_forgets_lets_nothing_through(vocabulary: Vocabulary) -> None:
    model = tiny(vocabulary)
    layer = model.layers[0]
    with torch.no_grad():
        # The hidden state is not read, and the forget gate is shut.
        layer.get_parameter("weight_hh_l0").zero_()
        layer.get_parameter("bias_ih_l0")[5:10] = -50.0
    ids = torch.tensor(vocabulary.encode("展昭道：好大的雪！白玉堂笑道：雪大，酒才好喝。"))
    hidden, cell = gradient_by_distance(model, ids, max_distance=4)
    assert hidden == [0.0] * 4
    assert max(cell) < 1e-15


def test_model_is_given_back_as_it_was(vocabulary: Vocabulary) -> None:
    model = tiny(vocabulary).train()
    ids = torch.tensor(vocabulary.encode("展昭道：好大的雪！"))
    first = gradient_by_distance(model, ids, max_distance=2)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert gradient_by_distance(model, ids, max_distance=2) == first, "dropout is off"
