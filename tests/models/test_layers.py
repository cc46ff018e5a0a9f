"""One LSTM layer against its equations, written out in NumPy."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from zh_lstm_lm.models.layers import LSTMLayer, LSTMState

Array = npt.NDArray[np.float64]


@pytest.fixture
def layer() -> LSTMLayer:
    with torch.device("meta"):  # PyTorch's own first weights would come from the global random state
        layer = LSTMLayer(3, 4, batch_first=True)
    layer.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    return layer


def given(time: int) -> tuple[torch.Tensor, LSTMState]:
    """Inputs of two rows, and a state whose h and c differ."""
    generator = torch.Generator().manual_seed(1)
    h, c = torch.randn(2, 1, 2, 4, generator=generator)
    return torch.randn(2, time, 3, generator=generator), LSTMState(h, c)


def written_out(layer: LSTMLayer, inputs: torch.Tensor, state: LSTMState) -> tuple[list[Array], Array, Array]:
    """The outputs of each step, and h and c after the last (Hochreiter and Schmidhuber, 1997, with forget gates)."""
    weights = [parameter.detach().double().numpy() for parameter in layer.parameters()]
    h, c = (part[0].double().numpy() for part in state)
    outputs = []
    for step in inputs.double().unbind(dim=1):
        gates = step.numpy() @ weights[0].T + weights[2] + h @ weights[1].T + weights[3]
        i, f, g, o = np.split(gates, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        outputs.append(h)
    return outputs, h, c


@pytest.mark.parametrize("time", [1, 3])
@pytest.mark.parametrize("learning", [False, True])
def test_the_layer_computes_the_equations_of_an_lstm(layer: LSTMLayer, time: int, learning: bool) -> None:
    inputs, state = given(time)
    with torch.set_grad_enabled(learning):
        hidden, (h, c) = layer(inputs, state)
    outputs, last_h, last_c = written_out(layer, inputs, state)
    np.testing.assert_allclose(hidden.detach().numpy(), np.stack(outputs, axis=1), atol=1e-5)
    np.testing.assert_allclose(h.detach().numpy()[0], last_h, atol=1e-5)
    np.testing.assert_allclose(c.detach().numpy()[0], last_c, atol=1e-5)


@pytest.mark.parametrize("time", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_does_not_reach_into_the_layer(layer: LSTMLayer, time: int, dtype: torch.dtype) -> None:
    inputs, state = given(time)
    inputs = inputs.to(dtype)
    with torch.no_grad():
        expected, _ = layer(inputs.float(), state)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden, (h, c) = layer(inputs, state)
    assert hidden.dtype == h.dtype == c.dtype == torch.float32
    torch.testing.assert_close(hidden, expected, atol=1e-6, rtol=0)
