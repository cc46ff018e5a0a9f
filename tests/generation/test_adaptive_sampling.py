"""Draws that leave clusters out follow the distribution that the processors give over the full scores."""

import math
import random

import pytest
import torch
from torch import Tensor
from zh_lstm_lm.generation.adaptive_sampling import AdaptiveSampler, draw_from

from zh_lstm_lm import NonFiniteError
from zh_lstm_lm.generation import logits_processors
from zh_lstm_lm.models.output_layers import AdaptiveSoftmax

HIDDEN, SIZE, DRAWS = 12, 60, 20_000


@pytest.fixture
def layer() -> AdaptiveSoftmax:
    """A layer whose clusters hold a good part of the probability."""
    with torch.device("meta"):  # PyTorch's initialisers would draw from the global random state
        layer = AdaptiveSoftmax(HIDDEN, SIZE, (10, 25))
    layer.to_empty(device="cpu")
    layer.reset_parameters(torch.Generator().manual_seed(0), torch.linspace(100, 1, SIZE))
    return layer


def draw(
    layer: AdaptiveSoftmax,
    allowed: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Counts of many draws, and the expected probabilities. **Shape:** (SIZE,), twice."""
    processors = [
        logits_processors.temperature(temperature),
        logits_processors.top_k(top_k),
        logits_processors.top_p(top_p),
        logits_processors.min_p(min_p),
    ]
    sampler = AdaptiveSampler(layer, allowed, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(1, HIDDEN, generator=generator)
    numbers = random.Random(seed)
    with torch.inference_mode():
        drawn = sampler.draw(
            hidden.expand(DRAWS, HIDDEN),
            lambda rows: [numbers.random() for _ in rows],
        )
        scores = layer.scores(hidden).masked_fill(~allowed, -torch.inf)
        for process in processors:
            scores = process(torch.zeros(1, 1), scores)
    return torch.bincount(torch.tensor(drawn), minlength=SIZE), scores[0].double().softmax(0)


def chi_square(counts: Tensor, expected: Tensor) -> float:
    """The statistic over its degrees of freedom, in standard deviations from what chance gives."""
    probable = expected > 5 / DRAWS
    observed = torch.cat([counts[probable].double(), counts[~probable].double().sum()[None]])
    wanted = DRAWS * torch.cat([expected[probable], expected[~probable].sum()[None]])
    kept = wanted > 0
    degrees = int(kept.sum()) - 1
    statistic = float(((observed - wanted)[kept] ** 2 / wanted[kept]).sum())
    return (statistic - degrees) / math.sqrt(max(1, 2 * degrees))


@pytest.mark.parametrize(
    "top",
    [{}, {"top_k": 1}, {"top_k": 4}, {"top_k": 30}, {"top_p": 0.3}, {"top_p": 0.9}, {"min_p": 0.1}, {"min_p": 0.6}],
)
@pytest.mark.parametrize("temperature", [0.1, 0.8, 1.0, 1.7])
def test_draws_follow_the_processors(layer: AdaptiveSoftmax, temperature: float, top: dict[str, float]) -> None:
    counts, expected = draw(layer, torch.ones(SIZE, dtype=torch.bool), temperature=temperature, **top)  # type: ignore[arg-type]

    assert not counts[expected == 0].any()
    assert chi_square(counts, expected) < 5


@pytest.mark.parametrize("top", [{}, {"top_k": 4, "top_p": 0.9}, {"top_p": 0.8}, {"min_p": 0.2}])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_what_is_not_allowed_is_never_drawn(layer: AdaptiveSoftmax, temperature: float, top: dict[str, float]) -> None:
    allowed = torch.rand(SIZE, generator=torch.Generator().manual_seed(5)) < 0.5
    allowed[-1] = False
    counts, expected = draw(layer, allowed, temperature=temperature, **top)  # type: ignore[arg-type]

    assert not counts[~allowed].any()
    assert chi_square(counts, expected) < 5


def test_a_cluster_of_which_nothing_is_allowed_does_not_stop_the_draw(layer: AdaptiveSoftmax) -> None:
    allowed = torch.arange(SIZE) < 10
    counts, expected = draw(layer, allowed, top_p=0.9)

    assert not counts[10:].any()
    assert chi_square(counts, expected) < 5


def test_low_temperatures_end_with_the_likeliest_token(layer: AdaptiveSoftmax) -> None:
    counts, expected = draw(layer, torch.ones(SIZE, dtype=torch.bool), temperature=1e-3)

    assert int(counts.argmax()) == int(expected.argmax())
    assert int(counts.max()) == DRAWS


def test_what_a_row_draws_depends_on_no_other_row(layer: AdaptiveSoftmax) -> None:
    """Each row has numbers of its own, however many another row needs."""
    sampler = AdaptiveSampler(layer, torch.ones(SIZE, dtype=torch.bool), temperature=1.0, top_k=0, top_p=0.7)
    hidden = torch.randn(50, HIDDEN, generator=torch.Generator().manual_seed(2))

    def numbers(first: int) -> list[random.Random]:
        return [random.Random(first + row) for row in range(50)]

    def drawn(rows: list[int], generators: list[random.Random]) -> list[int]:
        with torch.inference_mode():
            return sampler.draw(hidden[rows], lambda asked: [generators[rows[row]].random() for row in asked])

    together = drawn(list(range(50)), numbers(7))
    assert together == [drawn([row], numbers(7))[0] for row in range(50)]


def test_draw_from_inverts_the_distribution_function() -> None:
    scores = torch.tensor([[0.2, 0.0, 0.5, 0.3]]).log().expand(5, 4)
    uniform = torch.tensor([0.0, 0.1999, 0.2001, 0.6999, 0.9999], dtype=torch.float64)

    assert draw_from(scores, uniform).tolist() == [0, 0, 2, 2, 3]


@pytest.mark.parametrize("top", [{"top_k": 1}, {"top_k": 3}, {"top_p": 0.02}])
@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_a_flat_distribution_with_few_tokens_left_is_drawn_at_once(
    layer: AdaptiveSoftmax, temperature: float, top: dict[str, float]
) -> None:
    """Nearly all draws are rejected there; each row takes a number for each, and not hundreds."""
    for weight in layer.parameters():
        weight.data.mul_(0.05)
    sampler = AdaptiveSampler(layer, torch.ones(SIZE, dtype=torch.bool), temperature=temperature, **top)  # type: ignore[arg-type]
    numbers, asked = random.Random(0), [0] * 500

    def uniforms(rows: list[int]) -> list[float]:
        for row in rows:
            asked[row] += 1
        return [numbers.random() for _ in rows]

    with torch.inference_mode():
        hidden = torch.randn(1, HIDDEN, generator=torch.Generator().manual_seed(0)).expand(500, HIDDEN)
        drawn = sampler.draw(hidden, uniforms)
        scores = logits_processors.temperature(temperature)(torch.zeros(1, 1), layer.scores(hidden[:1]))
        [process] = [getattr(logits_processors, name)(value) for name, value in top.items()]
        left = process(torch.zeros(1, 1), scores)[0].isfinite()
    assert max(asked) < 20
    assert set(drawn) == set(left.nonzero().squeeze(1).tolist())


def test_scores_that_are_not_numbers_end_the_draw(layer: AdaptiveSoftmax) -> None:
    sampler = AdaptiveSampler(layer, torch.ones(SIZE, dtype=torch.bool), temperature=0.8, top_p=0.9)
    _, tail = list(layer.clusters())[1]
    tail.bias.data[3] = math.nan
    with torch.inference_mode(), pytest.raises(NonFiniteError, match="not numbers"):
        sampler.draw(torch.zeros(40, HIDDEN), lambda rows: [(row + 0.5) / 40 for row in rows])
