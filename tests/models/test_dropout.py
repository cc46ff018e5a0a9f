"""Locked dropout: one mask for all time steps of a row, from a generator of the caller's."""

import pytest
import torch

from zh_lstm_lm.models.layers import BatchRowGenerator, locked_dropout


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_the_mask_is_constant_over_time_and_keeps_the_mean(probability: float) -> None:
    values = torch.full((40, 7, 50), 3.0)
    dropped = locked_dropout(values, probability, seeded())
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    kept = dropped != 0
    assert torch.allclose(dropped[kept], torch.tensor(3.0 / (1 - probability)))
    # 2,000 independent features: five standard deviations
    assert float(kept[:, 0].float().mean()) == pytest.approx(1 - probability, abs=5 * 0.5 / 2000**0.5)


def test_rows_have_masks_of_their_own() -> None:
    dropped = locked_dropout(torch.ones(2, 3, 64), 0.5, seeded())
    assert not torch.equal(dropped[0], dropped[1])


def test_zero_changes_nothing_and_draws_nothing() -> None:
    values = torch.arange(24.0).view(2, 3, 4)
    generator = seeded()
    before = generator.get_state()
    assert torch.equal(locked_dropout(values, 0.0, generator), values)
    assert torch.equal(generator.get_state(), before)


def test_the_mask_comes_from_the_generator_alone() -> None:
    values = torch.ones(2, 3, 32)
    first, again, other = (locked_dropout(values, 0.5, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    generator = seeded()
    assert not torch.equal(locked_dropout(values, 0.5, generator), locked_dropout(values, 0.5, generator))


def test_masks_of_lanes_do_not_depend_on_their_division() -> None:
    values = torch.ones(7, 3, 5)
    whole = locked_dropout(values, 0.5, seeded())
    parts = []
    for first, last in ((0, 2), (2, 6), (6, 7)):
        generator = BatchRowGenerator()
        generator.manual_seed(0)
        generator.first, generator.num_rows = first, 7
        parts.append(locked_dropout(values[first:last], 0.5, generator))
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(generator.get_state(), drawn_once(7))


def drawn_once(rows: int) -> torch.Tensor:
    """The state of the generator after a mask for so many rows."""
    generator = seeded()
    locked_dropout(torch.ones(rows, 3, 5), 0.5, generator)
    return generator.get_state()


def test_without_a_generator_it_follows_the_global_seed() -> None:
    values = torch.ones(2, 3, 32)
    masks = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            masks.append(locked_dropout(values, 0.5, None))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_gradients_pass_only_where_values_do() -> None:
    values = torch.full((2, 3, 16), 2.0, requires_grad=True)
    dropped = locked_dropout(values, 0.5, seeded())
    (gradient,) = torch.autograd.grad(dropped.sum(), values)
    assert torch.equal(gradient, dropped.detach() / 2.0)
    assert torch.equal(values.detach(), torch.full((2, 3, 16), 2.0)), "the input stays as it was"
