"""What a CUDA graph is given and gives back, with a stand-in for the graph that computes anew; `test_cuda` has the real one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from zh_lstm_lm.generation.decoder import SingleSteps, captured_steps
from zh_lstm_lm.runtime.cuda_graphs import CapturedFunction

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, Sampler, SamplerConfig, Vocabulary
from zh_lstm_lm.runtime import cuda_graphs as module
from zh_lstm_lm.runtime.batch_invariant import RowwiseLinear


class Again:
    """Does at each replay what was done at the capture, into the same outputs."""

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], inputs: tuple[Tensor, ...]) -> None:
        self._function, self._inputs = function, inputs
        self.outputs = tuple(output.clone() for output in function(*inputs))

    def replay(self) -> None:
        for output, new in zip(self.outputs, self._function(*self._inputs), strict=True):
            output.copy_(new)


@contextmanager
def stand_in(captured: list[int]) -> Iterator[None]:
    """Notes the rows of each capture."""

    def capture(self: CapturedFunction, inputs: Sequence[Tensor], capacity: int) -> Any:
        captured.append(capacity)
        statics = tuple(given.new_zeros(capacity, *given.shape[1:]) for given in inputs)
        again = Again(self._function, statics)
        return module._Capture(again, statics, again.outputs)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CapturedFunction, "_capture", capture)
        yield


@settings(deadline=None)
@given(st.lists(st.integers(1, 70), min_size=1, max_size=8))
def test_any_number_of_rows_gives_what_the_function_gives(rows: list[int]) -> None:
    captured: list[int] = []
    with stand_in(captured):
        call = CapturedFunction(lambda left, right: (left * 2, left + right[:, 0]), [])
        results = []
        for number, count in enumerate(rows):
            left, right = torch.arange(count) + number, torch.full((count, 3), float(number))
            results.append((call(left, right), (left * 2, left + right[:, 0])))
    for found, expected in results:  # what an earlier call gave is not written over
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert sorted(captured) == sorted(set(captured))
    assert set(captured) <= {1, 4, 16, 64, 256}


def test_weights_that_moved_are_captured_anew() -> None:
    captured: list[int] = []
    weight = torch.nn.Parameter(torch.ones(2, 2))
    with stand_in(captured), torch.no_grad():
        call = CapturedFunction(lambda rows: (rows @ weight,), [weight])
        ones = torch.ones(1, 2)
        assert call(ones)[0].tolist() == [[2.0, 2.0]]
        weight.mul_(3)
        assert call(ones)[0].tolist() == [[6.0, 6.0]]
        assert captured == [1]
        weight.data = torch.zeros(2, 2)
        assert call(ones)[0].tolist() == [[0.0, 0.0]]
    assert captured == [1, 1]


@pytest.mark.parametrize(
    "options", [{"output": "full"}, {"output": "adaptive", "cutoffs": (20, 60)}, {"tie_weights": True, "num_layers": 2}]
)
@pytest.mark.parametrize(
    "settings",
    [
        SamplerConfig(temperature=1.0, top_p=1.0),
        SamplerConfig(),
        SamplerConfig(temperature=0.0),
        SamplerConfig(temperature=1.3, top_k=20, min_p=0.01, typical_p=0.95, top_h=0.9),
        SamplerConfig(temperature=1.1, epsilon_cutoff=1e-4, eta_cutoff=1e-4),
    ],
)
def test_captured_steps_write_what_the_plain_loop_writes(
    vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], settings: SamplerConfig
) -> None:
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=16, hidden_size=24, **options)).double()
    plain, captured = Sampler(model, settings), Sampler(model, settings)
    plain._drawer._adaptive = None  # which takes its random numbers otherwise
    monkeypatch.setattr("zh_lstm_lm.generation.next_token._REDRAWS", 1)  # each takes a random number
    prompts = ["", "展昭道：", "夜里三更，", "二人", "雪"]
    with stand_in([]):
        with monkeypatch.context() as patch:
            patch.setattr(LSTMLanguageModel, "device", torch.device("cuda"))
            captured._drawer.steps = SingleSteps(model, RowwiseLinear(), captured_steps(model))
        captured._drawer._captured = CapturedFunction(captured._drawer._draw_captured, list(model.parameters()))
        captured._drawer._adaptive = None
        told = captured.generate_batch(prompts, num_samples=2, max_new_tokens=40, max_characters=100)
    assert told == plain.generate_batch(prompts, num_samples=2, max_new_tokens=40, max_characters=100)
