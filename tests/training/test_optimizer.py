"""Updates against PyTorch's clipping and Adam written in NumPy; a restored optimizer takes the very same step."""

import copy
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, Vocabulary
from zh_lstm_lm.models.gradients import clip_gradients, settle_rows, sparse_embedding
from zh_lstm_lm.training.memory import optimizer_bytes, training_bytes
from zh_lstm_lm.training.optimizer import Optimizer
from zh_lstm_lm.training.schedule import default_learning_rate, learning_rate_at

KINDS: dict[str, dict[str, Any]] = {
    "full": {"output": "full"},
    "adaptive": {"output": "adaptive", "cutoffs": (20, 60), "tie_weights": False},
    "tied": {"tie_weights": True, "num_layers": 2},
    "tied, adaptive": {"tie_weights": True, "output": "adaptive", "cutoffs": (20, 60)},
}
BY_ROWS = {
    "full": ("embedding.weight", "embedding.characters"),
    "adaptive": ("embedding.weight", "embedding.characters"),
    "tied": (),
    "tied, adaptive": ("embedding.characters",),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
BETAS = (0.9, 0.99)
every_mean = pytest.mark.parametrize("betas", [BETAS, (0.0, 0.999)], ids=["with a mean", "without"])


def make(vocabulary: Vocabulary, kind: str) -> LSTMLanguageModel:
    config = ModelConfig(**{"embedding_dim": 6, "hidden_size": 8, "dropout": 0.0, **KINDS[kind]})
    return LSTMLanguageModel(vocabulary, config).train()


def batches(vocabulary: Vocabulary) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows of few different tokens, so that each stands in several places."""
    generator = torch.Generator().manual_seed(0)
    while True:
        ids = torch.randint(len(vocabulary), (4, 8), generator=generator)
        ids[1:] = ids[0]
        ids[:, 3], ids[:, 5] = 7, 33  # so that every cluster of the adaptive softmax has a target
        yield ids[:, :-1], ids[:, 1:]


def compute_gradients(model: LSTMLanguageModel, batch: tuple[Tensor, Tensor], *, scale: float = 1.0) -> None:
    with sparse_embedding(model):
        (scale * model.loss(*batch)[0]).backward()  # type: ignore[no-untyped-call]


def dense_gradients(model: nn.Module) -> dict[str, Tensor]:
    gradients = {}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        gradients[name] = parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad
    return gradients


def test_settled_rows_are_the_same_gradient(vocabulary: Vocabulary) -> None:
    model, batch = make(vocabulary, "full"), next(batches(vocabulary))
    compute_gradients(model, batch)
    gradient = model.embedding.weight.grad
    assert gradient is not None
    rows = torch.unique(torch.cat([batch[0].flatten(), torch.tensor([0, len(vocabulary) - 1])]))  # more than it has
    settled = settle_rows(gradient, rows)
    assert settled.is_coalesced()
    assert torch.equal(settled._indices()[0], rows)
    torch.testing.assert_close(settled.to_dense(), gradient.to_dense())
    settled.coalesce()._values().mul_(2.0)  # clipping scales in place
    torch.testing.assert_close(settled.to_dense(), 2.0 * gradient.to_dense())


# --- clipping -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_norm", [1e-3, 0.5, 1e6])
def test_clipping_dense_gradients_equals_pytorchs(vocabulary: Vocabulary, max_norm: float) -> None:
    ours, theirs = make(vocabulary, "tied"), make(vocabulary, "tied")
    batch = next(batches(vocabulary))
    for model in (ours, theirs):
        compute_gradients(model, batch)
    norm = clip_gradients(ours.parameters(), max_norm)
    expected = nn.utils.clip_grad_norm_(theirs.parameters(), max_norm)
    assert norm.shape == ()
    assert torch.allclose(norm, expected)
    for gradient, wanted in zip(dense_gradients(ours).values(), dense_gradients(theirs).values(), strict=True):
        assert torch.allclose(gradient, wanted, atol=1e-8)


@pytest.mark.parametrize("max_norm", [1e-3, 0.5, 1e6])
@pytest.mark.parametrize("kind", ["full", "adaptive"])
def test_sparse_gradients_are_clipped_as_dense_ones(vocabulary: Vocabulary, kind: str, max_norm: float) -> None:
    sparse, dense = make(vocabulary, kind), make(vocabulary, kind)
    batch = next(batches(vocabulary))
    compute_gradients(sparse, batch)
    dense.loss(*batch)[0].backward()  # type: ignore[no-untyped-call]
    assert sparse.embedding.weight.grad is not None
    assert sparse.embedding.weight.grad.is_sparse
    norm = clip_gradients(sparse.parameters(), max_norm)
    expected = nn.utils.clip_grad_norm_(dense.parameters(), max_norm)
    assert torch.allclose(norm, expected, rtol=1e-5)
    wanted = dense_gradients(dense)
    for name, gradient in dense_gradients(sparse).items():
        assert torch.allclose(gradient, wanted[name], atol=1e-7), name
    clipped = torch.stack([gradient.norm() for gradient in dense_gradients(sparse).values()]).norm()
    assert float(clipped) == pytest.approx(min(max_norm, float(norm)), rel=1e-3)


def test_clipping_without_gradients_does_nothing(vocabulary: Vocabulary) -> None:
    model = make(vocabulary, "full")
    assert float(clip_gradients(model.parameters(), 1.0)) == 0.0
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_norm_that_is_no_number_is_told() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([math.nan, 1.0])
    assert math.isnan(float(clip_gradients([parameter], 1.0)))


# --- the sparse embedding -----------------------------------------------------------------------------------------


def test_the_embedding_is_sparse_inside_the_block_only(vocabulary: Vocabulary) -> None:
    batch = next(batches(vocabulary))
    for kind, expected in (("full", True), ("adaptive", True), ("tied", False)):
        model = make(vocabulary, kind)
        with suppress(KeyboardInterrupt), sparse_embedding(model):
            model.loss(*batch)[0].backward()  # type: ignore[no-untyped-call]
            raise KeyboardInterrupt
        assert model.embedding.weight.grad is not None
        assert model.embedding.weight.grad.is_sparse == expected
        model.zero_grad()
        model.loss(*batch)[0].backward()  # type: ignore[no-untyped-call]
        assert not model.embedding.weight.grad.is_sparse


# --- Adam ---------------------------------------------------------------------------------------------------------


class NumpyAdam:
    """Adam for one weight; with `lazy`, rows without a gradient keep all, and the others' squares are averaged."""

    def __init__(self, weight: Tensor, *, betas: tuple[float, float], lazy: bool, decay: float = 0.0) -> None:
        self.weight: npt.NDArray[np.float64] = weight.detach().double().numpy().copy()
        self.mean, self.square = np.zeros_like(self.weight), np.zeros_like(self.weight)
        self.betas, self.lazy, self.decay, self.steps = betas, lazy, decay, 0

    def step(self, gradient: Tensor, learning_rate: float, rows: list[int]) -> None:
        self.steps += 1
        g = gradient.double().numpy()
        mean = self.betas[0] * self.mean + (1 - self.betas[0]) * g
        squares = np.broadcast_to((g**2).mean(axis=1, keepdims=True), g.shape) if self.lazy else g**2
        square = self.betas[1] * self.square + (1 - self.betas[1]) * squares
        corrected = mean / (1 - self.betas[0] ** self.steps), square / (1 - self.betas[1] ** self.steps)
        weight = (1 - learning_rate * self.decay) * self.weight
        weight -= learning_rate * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
        updated = rows if self.lazy else slice(None)
        for old, new in ((self.weight, weight), (self.mean, mean), (self.square, square)):
            old[updated] = new[updated]


@every_mean
@every_kind
@pytest.mark.parametrize("decay", [0.0, 5.0])
def test_steps_equal_adam_written_out_and_lazy_rows_wait(
    vocabulary: Vocabulary, kind: str, betas: tuple[float, float], decay: float
) -> None:
    model = make(vocabulary, kind)
    optimizer = Optimizer(model, betas=betas, weight_decay=decay)
    expected = {
        name: NumpyAdam(
            parameter,
            betas=betas,
            lazy=name in BY_ROWS[kind],
            decay=decay if re.fullmatch(r"layers\.\d+\.weight_(ih|hh)_l0", name) else 0.0,
        )
        for name, parameter in model.named_parameters()
    }
    assert sum(adam.decay > 0 for adam in expected.values()) == (2 * len(model.layers) if decay else 0)
    before = model.embedding.for_decoding().weight.detach().clone()
    seen: set[int] = set()
    for learning_rate, batch in zip((0.01, 0.02, 0.005), batches(vocabulary), strict=False):
        compute_gradients(model, batch, scale=1e4)  # far above Adam's epsilon, whose place differs between the two
        touched = {id(table): rows.tolist() for table, rows in model.embedding.touched_rows(batch[0])}
        rows = sorted(set(batch[0].flatten().tolist()))
        seen |= set(rows)
        assert touched.get(id(model.embedding.weight)) == (None if kind == "tied, adaptive" else rows)
        for name, gradient in dense_gradients(model).items():
            adam, parameter = expected[name], model.get_parameter(name)
            rate = learning_rate * (3 if adam.lazy else 1)
            adam.step(gradient, rate, touched.get(id(parameter), []))
        optimizer.step(learning_rate)
        assert all(parameter.grad is None for parameter in model.parameters()), "gradients are dropped"
        for name, parameter in model.named_parameters():
            np.testing.assert_allclose(parameter.detach().numpy(), expected[name].weight, atol=2e-6, err_msg=name)
    moved = (model.embedding.for_decoding().weight != before).any(dim=1).nonzero().squeeze(1).tolist()
    assert moved == (list(range(len(vocabulary))) if "tied" in kind else sorted(seen))


def steps(
    model: LSTMLanguageModel, optimizer: Optimizer, windows: Iterator[tuple[Tensor, Tensor]], number: int
) -> None:
    for _ in range(number):
        compute_gradients(model, next(windows))
        clip_gradients(model.parameters(), 0.5)
        optimizer.step(0.01)


@every_mean
@every_kind
def test_a_restored_optimizer_takes_the_same_steps_to_the_bit(
    vocabulary: Vocabulary, kind: str, betas: tuple[float, float]
) -> None:
    model, windows = make(vocabulary, kind), batches(vocabulary)
    optimizer = Optimizer(model, betas=betas)
    steps(model, optimizer, windows, 3)
    saved = safetensors.torch.save(optimizer.state_tensors())
    weights = copy.deepcopy(model.state_dict())
    ahead = [next(windows) for _ in range(2)]
    steps(model, optimizer, iter(ahead), 2)

    resumed = make(vocabulary, kind)
    resumed.load_state_dict(weights)
    restored = Optimizer(resumed, betas=betas)
    restored.load_state_tensors(safetensors.torch.load(saved))
    steps(resumed, restored, iter(ahead), 2)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    expected = optimizer.state_tensors()
    for name, tensor in restored.state_tensors().items():
        assert torch.equal(tensor, expected[name]), name

    forgetful = make(vocabulary, kind)
    forgetful.load_state_dict(weights)
    steps(forgetful, Optimizer(forgetful, betas=betas), iter(ahead), 2)
    assert not torch.equal(forgetful.embedding.weight, model.embedding.weight), "the state matters"


def test_two_optimizers_do_not_share_a_loaded_state(vocabulary: Vocabulary) -> None:
    model, windows = make(vocabulary, "adaptive"), batches(vocabulary)
    optimizer = Optimizer(model, betas=BETAS)
    steps(model, optimizer, windows, 2)
    twin = copy.deepcopy(model)
    other = Optimizer(twin, betas=BETAS)
    other.load_state_tensors(optimizer.state_tensors())
    batch = next(windows)
    steps(model, optimizer, iter([batch]), 1)
    steps(twin, other, iter([batch]), 1)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, twin.state_dict()[name]), name


@every_kind
def test_the_state_is_named_after_the_parameters(vocabulary: Vocabulary, kind: str) -> None:
    model = make(vocabulary, kind)
    optimizer = Optimizer(model, betas=BETAS)
    assert optimizer.state_tensors() == {}
    steps(model, optimizer, batches(vocabulary), 1)
    tensors = optimizer.state_tensors()
    assert {name.rpartition("/")[0] for name in tensors} == set(dict(model.named_parameters()))
    for name, parameter in model.named_parameters():
        assert tensors[f"{name}/exp_avg"].shape == parameter.shape
        by_rows = name in BY_ROWS[kind]
        assert tensors[f"{name}/exp_avg_sq"].shape == ((len(parameter), 1) if by_rows else parameter.shape)
        assert float(tensors[f"{name}/step"]) == 1


def test_a_table_by_rows_keeps_one_number_a_row(vocabulary: Vocabulary) -> None:
    model = make(vocabulary, "adaptive")
    optimizer = Optimizer(model, betas=(0.0, 0.999))
    steps(model, optimizer, batches(vocabulary), 1)
    kept = {
        key: tensor.shape for key, tensor in optimizer.state_tensors().items() if key.startswith("embedding.weight")
    }
    assert kept == {"embedding.weight/step": (), "embedding.weight/exp_avg_sq": (len(vocabulary), 1)}


@every_kind
@every_mean
def test_the_bytes_of_training_are_those_of_what_it_holds(
    vocabulary: Vocabulary, kind: str, betas: tuple[float, float]
) -> None:
    model = make(vocabulary, kind)
    optimizer = Optimizer(model, betas=betas)
    compute_gradients(model, next(batches(vocabulary)))
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    dense = sum(gradient.nbytes for gradient in gradients if not gradient.is_sparse)
    optimizer.step(1e-3)
    means = sum(tensor.nbytes for name, tensor in optimizer.state_tensors().items() if not name.endswith("/step"))
    weights = sum(parameter.nbytes for parameter in model.parameters())
    assert optimizer_bytes(model, betas=betas) == means
    assert training_bytes(model, betas=betas) == weights + dense + means


# --- the learning rate --------------------------------------------------------------------------------------------


def rate(step: int, **options: Any) -> float:
    return learning_rate_at(
        step,
        **{"peak": 0.004, "schedule": "linear", "warmup_steps": 10, "progress": min(1.0, step / 100), **options},
    )


@pytest.mark.parametrize(
    ("schedule", "quarter", "half", "late"),
    [
        ("linear", 1 - 0.5 * 25 / 85, 1 - 0.5 * 50 / 85, 0.5 - 0.49 * 0.5),
        ("cosine", *(0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2 for done in (0.25, 0.5, 0.9))),
    ],
)
def test_the_rate_rises_in_a_line_and_falls_to_a_hundredth(
    schedule: str, quarter: float, half: float, late: float
) -> None:
    assert rate(4, progress=0.0, schedule=schedule) == pytest.approx(0.002)
    assert rate(0, schedule=schedule) == pytest.approx(0.0004)
    assert rate(0, warmup_steps=0, schedule=schedule) == pytest.approx(0.004)
    assert rate(25, schedule=schedule) == pytest.approx(0.004 * quarter)
    assert rate(50, schedule=schedule) == pytest.approx(0.004 * half)
    assert rate(90, schedule=schedule) == pytest.approx(0.004 * late)
    assert rate(100, schedule=schedule) == pytest.approx(0.00004)
    assert rate(5000, schedule=schedule) == pytest.approx(0.00004), "a run that goes on keeps the lowest rate"
    falling = [rate(step, schedule=schedule) for step in range(10, 101)]
    assert falling == sorted(falling, reverse=True)


def test_a_constant_rate_stays_after_the_warmup() -> None:
    assert [rate(step, schedule="constant") for step in (9, 10, 50, 100, 5000)] == [0.004] * 5
    assert rate(0, schedule="constant") == pytest.approx(0.0004)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    step=st.integers(0, 10**6),
    peak=st.floats(1e-8, 10.0),
    schedule=st.sampled_from(["linear", "cosine", "constant"]),
    warmup_steps=st.integers(0, 1000),
    progress=st.floats(0.0, 1.0),
)
def test_the_rate_is_above_zero_and_never_above_its_peak(
    step: int, peak: float, schedule: str, warmup_steps: int, progress: float
) -> None:
    value = rate(step, peak=peak, schedule=schedule, warmup_steps=warmup_steps, progress=progress)
    assert 0 < value <= peak * (1 + 1e-12)


def test_longer_runs_have_lower_rates_unless_one_is_given() -> None:
    assert default_learning_rate(None) == default_learning_rate(1) == default_learning_rate(3_000) == 5e-3
    assert default_learning_rate(24_000) == pytest.approx(2.5e-3)
    rates = [default_learning_rate(steps) for steps in (1, 2_999, 3_001, 10_000, 10**6, 10**9)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] > 0
