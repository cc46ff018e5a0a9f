"""Full and adaptive softmax against NumPy formulas and PyTorch's own adaptive softmax."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from zh_lstm_lm.corpus.batches import IGNORED
from zh_lstm_lm.models.output_layers import AdaptiveSoftmax, FullSoftmax, OutputLayer, default_cutoffs

Array = npt.NDArray[np.float64]

HIDDEN, VOCAB, CUTOFFS = 32, 50, (10, 25)
BOUNDARIES = [0, 9, 10, 24, 25, 49]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def full(tied: nn.Embedding | None = None) -> FullSoftmax:
    # PyTorch's own first weights would come from the global random state.
    with torch.device("meta"):
        return FullSoftmax(HIDDEN, VOCAB, tied=tied)


def adaptive(hidden_size: int = HIDDEN, cutoffs: Sequence[int] = CUTOFFS, div_value: float = 2.5) -> AdaptiveSoftmax:
    with torch.device("meta"):
        return AdaptiveSoftmax(hidden_size, VOCAB, cutoffs, div_value=div_value)


def fill(layer: OutputLayer) -> None:
    """Gives every weight and bias a random value of its own."""
    layer.to_empty(device="cpu")
    generator = seeded()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0.0, 0.5, generator=generator)


def array(tensor: Tensor) -> Array:
    return tensor.detach().double().numpy()


def log_softmax(scores: Array) -> Array:
    shifted = scores - scores.max(axis=-1, keepdims=True)
    normalised: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised


def make(kind: str) -> OutputLayer:
    """Builds a layer of a kind."""
    width = {"tied": HIDDEN, "projected": 12}.get(kind)
    embedding = None
    if width is not None:
        embedding = nn.Embedding(VOCAB, width, _weight=torch.randn(VOCAB, width, generator=seeded(5)))
    layer: OutputLayer = adaptive() if kind == "adaptive" else full(embedding)
    fill(layer)
    return layer


KINDS = ["full", "tied", "projected", "adaptive"]


@pytest.mark.parametrize("kind", ["full", "tied", "projected"])
def test_full_scores_are_one_linear_map(kind: str) -> None:
    layer = make(kind)
    assert isinstance(layer, FullSoftmax)
    hidden = torch.randn(6, HIDDEN, generator=seeded(1))
    read = array(hidden)
    if kind == "projected":
        assert layer.projection is not None
        read = read @ array(layer.projection.weight).T
    else:
        assert layer.projection is None, "equal widths need no projection"
    np.testing.assert_allclose(
        array(layer.scores(hidden)), read @ array(layer.shared_weight).T + array(layer.bias), atol=1e-5
    )


def test_a_tied_layer_has_no_weight_of_its_own() -> None:
    layer = make("tied")
    assert [tuple(parameter.shape) for parameter in layer.parameters()] == [(VOCAB,)]


def test_adaptive_scores_are_the_cluster_times_the_word_within_it() -> None:
    layer = make("adaptive")
    assert isinstance(layer, AdaptiveSoftmax)
    hidden = torch.randn(6, HIDDEN, generator=seeded(1))
    read = array(hidden)
    head = log_softmax(read @ array(layer.head.weight).T + array(layer.head.bias))
    expected = [head[:, : CUTOFFS[0]]]
    for number, (narrow, tail) in enumerate(zip(layer.narrow, layer.tails, strict=True)):
        assert isinstance(narrow, nn.Linear)
        assert isinstance(tail, nn.Linear)
        within = log_softmax(read @ array(narrow.weight).T @ array(tail.weight).T + array(tail.bias))
        expected.append(within + head[:, [CUTOFFS[0] + number]])
    np.testing.assert_allclose(array(layer.scores(hidden)), np.concatenate(expected, axis=1), atol=1e-5)


def test_adaptive_probabilities_sum_to_one() -> None:
    scores = make("adaptive").scores(torch.randn(20, HIDDEN, generator=seeded(1)))
    assert torch.allclose(scores.exp().sum(-1), torch.ones(20), atol=1e-5)


def test_adaptive_equals_pytorchs_own_with_the_same_weights() -> None:
    ours = adaptive(div_value=2.0)
    fill(ours)
    with torch.random.fork_rng(devices=[]):
        theirs = nn.AdaptiveLogSoftmaxWithLoss(HIDDEN, VOCAB, list(CUTOFFS), div_value=2.0, head_bias=True)
    weights = {"head.weight": ours.head.weight, "head.bias": ours.head.bias}
    with torch.no_grad():
        for number, (narrow, tail) in enumerate(zip(ours.narrow, ours.tails, strict=True)):
            assert isinstance(narrow, nn.Linear)
            assert isinstance(tail, nn.Linear)
            tail.bias.zero_()  # PyTorch's tails have none
            weights |= {f"tail.{number}.0.weight": narrow.weight, f"tail.{number}.1.weight": tail.weight}
    theirs.load_state_dict(weights)
    hidden = torch.randn(200, HIDDEN, generator=seeded(1))
    targets = torch.randint(VOCAB, (200,), generator=seeded(2))
    assert torch.allclose(ours.scores(hidden), theirs.log_prob(hidden), atol=1e-5)
    assert torch.allclose(ours.target_log_probs(hidden, targets), theirs(hidden, targets).output, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "targets",
    [BOUNDARIES, [3, 9, 0], [10, 24], [25, 49], [0, IGNORED, 49, IGNORED, 10], [7, 7, 7]],
    ids=["boundaries", "head only", "first tail only", "second tail only", "some ignored", "one token"],
)
def test_target_log_probs_are_the_scores_of_the_targets(kind: str, targets: list[int]) -> None:
    layer = make(kind)
    hidden = torch.randn(len(targets), HIDDEN, generator=seeded(1), requires_grad=True)
    result = layer.target_log_probs(hidden, torch.tensor(targets))
    everything = torch.log_softmax(layer.scores(hidden), dim=-1)
    expected = torch.stack(
        [everything[row, target] if target != IGNORED else torch.zeros(()) for row, target in enumerate(targets)]
    )
    assert torch.allclose(result, expected, atol=1e-5)
    assert not result[torch.tensor(targets) == IGNORED].any()
    (gradient,) = torch.autograd.grad(result.sum(), hidden, retain_graph=True)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), hidden)
    assert torch.allclose(gradient, expected_gradient, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_those_of_pytorchs_loss_however_often_they_are_taken(kind: str) -> None:
    layer = make(kind)
    hidden = torch.randn(len(BOUNDARIES), HIDDEN, generator=seeded(1), requires_grad=True)
    targets = torch.tensor(BOUNDARIES)
    wanted = [hidden, *layer.parameters()]
    weights = torch.linspace(0.5, 2.0, len(BOUNDARIES))
    expected = torch.autograd.grad(
        -(weights * nn.functional.cross_entropy(layer.scores(hidden), targets, reduction="none")).sum(), wanted
    )
    total = (weights * layer.target_log_probs(hidden, targets)).sum()
    for _ in range(2):
        for gradient, other in zip(torch.autograd.grad(total, wanted, retain_graph=True), expected, strict=True):
            assert torch.allclose(gradient, other, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_counted_is_nothing_lost(kind: str) -> None:
    layer = make(kind)
    hidden = torch.randn(3, HIDDEN, generator=seeded(1))
    result = layer.target_log_probs(hidden, torch.full((3,), IGNORED))
    assert torch.equal(result, torch.zeros(3))
    result.sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in layer.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_new_weights_predict_the_frequencies_before_anything_is_read(kind: str) -> None:
    layer = make(kind)
    counts = torch.cat([torch.arange(VOCAB - 2, 0, -1), torch.zeros(2, dtype=torch.int64)])
    layer.reset_parameters(seeded(3), counts)
    probabilities = torch.softmax(layer.scores(torch.zeros(1, HIDDEN)), dim=-1)[0]
    smoothed = np.maximum(array(counts), 0.5)
    np.testing.assert_allclose(array(probabilities), smoothed / smoothed.sum(), rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_new_weights_come_from_the_generator_alone(kind: str) -> None:
    drawn = []
    for seed in (3, 3, 4):
        layer = make(kind)
        layer.reset_parameters(seeded(seed), torch.ones(VOCAB, dtype=torch.int64))
        drawn.append(torch.cat([parameter.detach().flatten() for parameter in layer.parameters()]))
    assert torch.equal(drawn[0], drawn[1])
    assert torch.isfinite(drawn[0]).all()
    if kind != "tied":  # it has only a bias, which is not drawn
        assert not torch.equal(drawn[0], drawn[2])


def test_new_weights_vary_by_the_root_of_what_they_sum_over() -> None:
    counts = torch.ones(2000, dtype=torch.int64)
    with torch.device("meta"):
        layers = [
            FullSoftmax(64, 2000),
            FullSoftmax(64, 2000, tied=nn.Embedding(2000, 400)),
            AdaptiveSoftmax(64, 2000, (500, 1000), div_value=2.0),
        ]
    deviations = []
    for layer in layers:
        layer.to_empty(device="cpu")
        layer.reset_parameters(seeded(3), counts)
        deviations += [(w.shape[1], float(w.detach().std())) for w in layer.parameters() if w.dim() == 2]
    assert sorted(width for width, _ in deviations) == [16, 32, 64, 64, 64, 64, 64]
    for width, deviation in deviations:
        # Of at least 1,024 values: six standard deviations of the estimate.
        assert deviation * width**0.5 == pytest.approx(1.0, abs=6 / 2048**0.5)


def test_tails_get_narrower_down_to_eight_and_never_wider_than_the_hidden_state() -> None:
    def widths(hidden_size: int, div_value: float) -> list[int]:
        layer = adaptive(hidden_size, (5, 10, 20, 30), div_value)
        return [narrow.out_features for narrow in layer.narrow if isinstance(narrow, nn.Linear)]

    assert widths(100, 2.5) == [40, 16, 8, 8]
    assert widths(100, 1.0) == [100, 100, 100, 100]
    assert widths(6, 2.5) == [6, 6, 6, 6]


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(vocab_size=st.integers(2, 1_000_000))
def test_default_cutoffs_rise_within_the_vocabulary(vocab_size: int) -> None:
    cutoffs = default_cutoffs(vocab_size)
    assert cutoffs
    assert list(cutoffs) == sorted(set(cutoffs))
    assert cutoffs[0] >= 1
    assert cutoffs[-1] < vocab_size


def test_default_cutoffs_double_to_16_000_and_then_keep_their_distance() -> None:
    assert default_cutoffs(60_000) == (500, 1000, 2000, 4000, 8000, 16_000, 32_000, 48_000)
    assert default_cutoffs(56_000)[-1] == 32_000, "a last tail of less than 15 % of the vocabulary is none"
