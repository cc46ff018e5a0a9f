import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zh_lstm_lm.generation.logits_processors import (
    LogitsProcessor,
    banned_words,
    epsilon_cutoff,
    eta_cutoff,
    min_p,
    no_repeat_ngrams,
    occurrence_penalties,
    repetition_penalty,
    temperature,
    token_bias,
    top_h,
    top_k,
    top_p,
    typical_p,
)

SHAPES = [(), (1,), (2, 1)]  # leading shapes: (V,), (1, V) and (2, 1, V)
IDS = torch.tensor([0, 5, 3])
CUT = -math.inf
# probabilities 0.4, 0.3, 0.2, 0.1, in no order
TOKENS = ["展", "雪", "昭道", "白展昭"]
LOGITS = [math.log(0.2), math.log(0.4), math.log(0.1), math.log(0.3)]


def shaped(values: list[float], leading: tuple[int, ...]) -> Tensor:
    return torch.tensor(values).expand(*leading, len(values)).clone()


def assert_rows(actual: Tensor, expected: list[float], leading: tuple[int, ...]) -> None:
    assert actual.shape == (*leading, len(expected))
    torch.testing.assert_close(actual, shaped(expected, leading))


@pytest.mark.parametrize("leading", SHAPES)
@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.5, [2.0, -4.0, 0.0, CUT]), (2.0, [0.5, -1.0, 0.0, CUT]), (1.0, [1.0, -2.0, 0.0, CUT])],
)
def test_temperature_divides_the_logits(leading: tuple[int, ...], value: float, expected: list[float]) -> None:
    processed = temperature(value)(IDS, shaped([1.0, -2.0, 0.0, CUT], leading))
    likeliest = processed.amax(dim=-1, keepdim=True)
    assert_rows(processed - likeliest + max(expected), expected, leading)  # what is added to all makes no difference


@pytest.mark.parametrize("value", [1e-300, 1e-40, 1e-5])
@pytest.mark.parametrize("leading", SHAPES)
def test_coldest_temperatures_leave_the_likeliest_token(leading: tuple[int, ...], value: float) -> None:
    probabilities = torch.softmax(temperature(value)(IDS, shaped([-5.0, -2.0, -300.0, CUT], leading)), dim=-1)
    assert_rows(probabilities, [0.0, 1.0, 0.0, 0.0], leading)


@pytest.mark.parametrize("leading", SHAPES)
@pytest.mark.parametrize(
    ("k", "kept"),
    [(1, [1]), (2, [1, 3]), (3, [0, 1, 3]), (4, [0, 1, 2, 3]), (99, [0, 1, 2, 3]), (0, [0, 1, 2, 3])],
)
def test_top_k_keeps_the_k_likeliest(leading: tuple[int, ...], k: int, kept: list[int]) -> None:
    expected = [value if place in kept else CUT for place, value in enumerate(LOGITS)]
    assert_rows(top_k(k)(IDS, shaped(LOGITS, leading)), expected, leading)


@pytest.mark.parametrize("leading", SHAPES)
@pytest.mark.parametrize(
    ("p", "kept"),
    [
        (1e-9, [1]),
        (0.39, [1]),
        (0.41, [1, 3]),
        (0.69, [1, 3]),
        (0.71, [0, 1, 3]),
        (0.89, [0, 1, 3]),
        (0.91, [0, 1, 2, 3]),
        (1.0, [0, 1, 2, 3]),
    ],
)
def test_top_p_keeps_the_fewest_that_reach_the_probability(leading: tuple[int, ...], p: float, kept: list[int]) -> None:
    expected = [value if place in kept else CUT for place, value in enumerate(LOGITS)]
    assert_rows(top_p(p)(IDS, shaped(LOGITS, leading)), expected, leading)


def test_rows_of_a_batch_do_not_mix() -> None:
    logits = torch.tensor([[[3.0, 1.0, 2.0, 0.0]], [[0.0, 5.0, 5.0, 1.0]]])  # (2, 1, 4)

    torch.testing.assert_close(
        top_k(1)(IDS, logits), torch.tensor([[[3.0, CUT, CUT, CUT]], [[CUT, 5.0, 5.0, CUT]]]), equal_nan=False
    )
    torch.testing.assert_close(  # first row: 0.64 + 0.24 reach 0.7; second row: the two fives are 0.49 each
        top_p(0.7)(IDS, logits), torch.tensor([[[3.0, CUT, 2.0, CUT]], [[CUT, 5.0, 5.0, CUT]]])
    )


@pytest.mark.parametrize("processor", [temperature(1.0), top_k(0), top_p(1.0)])
@pytest.mark.parametrize("leading", SHAPES)
def test_neutral_values_change_nothing(processor: object, leading: tuple[int, ...]) -> None:
    logits = shaped([0.25, CUT, -3.5, 0.25, 1e4], leading)
    assert callable(processor)
    assert torch.equal(processor(IDS, logits), shaped([0.25, CUT, -3.5, 0.25, 1e4], leading))


@pytest.mark.parametrize("processor", [temperature(0.5), top_k(2), top_p(0.5)])
def test_the_given_logits_stay_as_they_are(processor: object) -> None:
    logits = shaped(LOGITS, ())
    assert callable(processor)
    processor(IDS, logits)
    assert torch.equal(logits, shaped(LOGITS, ()))


def test_top_k_keeps_all_that_are_as_likely_as_the_last() -> None:
    assert_rows(top_k(2)(IDS, torch.tensor([3.0, 2.0, 2.0, 1.0])), [3.0, 2.0, 2.0, CUT], ())
    assert_rows(top_k(1)(IDS, torch.tensor([2.0, 2.0, 2.0])), [2.0, 2.0, 2.0], ())


def test_top_p_of_equal_tokens_keeps_as_many_as_are_needed() -> None:
    kept = top_p(0.3)(IDS, torch.zeros(4))
    assert int((kept == 0).sum()) == 2  # 0.25 is too little, 0.5 is enough
    assert int((kept == CUT).sum()) == 2


@pytest.mark.parametrize("processor", [temperature(0.7), top_k(3), top_p(0.9)])
@pytest.mark.parametrize("leading", SHAPES)
def test_tokens_that_may_not_be_drawn_stay_out(processor: object, leading: tuple[int, ...]) -> None:
    assert callable(processor)
    processed = processor(IDS, shaped([CUT, 1.0, CUT, 0.5, CUT], leading))
    assert bool((processed[..., [0, 2, 4]] == CUT).all())
    assert bool(torch.isfinite(processed[..., 1]).all())
    probabilities = torch.softmax(processed, dim=-1)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(leading))


@pytest.mark.parametrize("processor", [temperature(0.7), top_k(1), top_p(1e-12)])
@pytest.mark.parametrize("leading", SHAPES)
def test_the_likeliest_token_always_stays(processor: object, leading: tuple[int, ...]) -> None:
    assert callable(processor)
    processed = processor(IDS, shaped([0.0, -1.0, 7.0, 6.9], leading))
    assert bool((processed.argmax(dim=-1) == 2).all())
    assert bool(torch.isfinite(processed[..., 2]).all())


@settings(deadline=None, derandomize=True, database=None, max_examples=100)
@given(
    values=st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=12),
    p=st.floats(0.01, 0.999),
    k=st.integers(1, 14),
)
def test_top_p_and_top_k_keep_the_head_of_the_sorted_list(values: list[float], p: float, k: int) -> None:
    logits = torch.tensor(values)
    exponents = [math.exp(value - max(values)) for value in values]
    probabilities = [exponent / sum(exponents) for exponent in exponents]

    kept = torch.isfinite(top_p(p)(IDS, logits)).tolist()
    inside = [probabilities[place] for place in range(len(values)) if kept[place]]
    outside = [probabilities[place] for place in range(len(values)) if not kept[place]]
    assert inside
    assert all(high >= low for high, low in itertools.product(inside, outside))
    assert sum(inside) >= p - 1e-5
    assert sum(inside) - min(inside) <= p + 1e-5  # one fewer would be too few

    kept = torch.isfinite(top_k(k)(IDS, logits)).tolist()
    bar = sorted(values, reverse=True)[min(k, len(values)) - 1]
    assert kept == [value >= bar for value in values]


@pytest.mark.parametrize("p", [0.01, 0.5, 0.95, 0.999999])
@pytest.mark.parametrize("sharpness", [0.0, 0.5, 4.0])
def test_top_p_of_a_large_vocabulary_keeps_the_head_too(p: float, sharpness: float) -> None:
    generator = torch.Generator().manual_seed(7)
    logits = sharpness * torch.randn(2, 1, 20_000, generator=generator)
    kept = torch.isfinite(top_p(p)(IDS, logits))
    probabilities = torch.softmax(logits.double(), dim=-1)
    for row in range(2):
        inside, outside = probabilities[row, 0][kept[row, 0]], probabilities[row, 0][~kept[row, 0]]
        assert float(inside.sum()) >= p - 1e-4
        assert float(inside.sum() - inside.min()) <= p + 1e-4
        assert len(outside) == 0 or float(inside.min()) >= float(outside.max())
    assert torch.equal(top_p(p)(IDS, logits)[kept], logits[kept])


@pytest.mark.parametrize("leading", SHAPES)
@pytest.mark.parametrize(
    ("process", "kept"),
    [
        (min_p(0.0), [0, 1, 2, 3]),
        (min_p(0.4), [0, 1, 3]),  # 0.4 of 0.4 is 0.16
        (min_p(0.6), [1, 3]),
        (min_p(1.0), [1]),
        # the entropy is 1.280 nats; the surprisals are 1.609, 0.916, 2.303 and 1.204
        (typical_p(0.2), [3]),
        (typical_p(0.4), [0, 3]),
        (typical_p(0.6), [0, 1, 3]),
        (typical_p(0.95), [0, 1, 2, 3]),
        (typical_p(1.0), [0, 1, 2, 3]),
        # the entropies of the first one, two and three are 0, 0.534 and 0.829 of it
        (top_h(0.5), [1]),
        (top_h(0.6), [1, 3]),
        (top_h(0.9), [0, 1, 3]),
        (top_h(1.0), [0, 1, 2, 3]),
        (epsilon_cutoff(0.0), [0, 1, 2, 3]),
        (epsilon_cutoff(0.15), [0, 1, 3]),
        (epsilon_cutoff(0.9), [1]),  # the likeliest stays
        (eta_cutoff(0.0), [0, 1, 2, 3]),
        (eta_cutoff(0.5), [0, 1, 3]),  # sqrt(0.5) exp(-1.280) is 0.197
        (eta_cutoff(0.9), [1, 3]),  # 0.264
        (eta_cutoff(0.05), [0, 1, 2, 3]),  # 0.05 is smaller than 0.062
    ],
)
def test_cutoffs_keep_what_their_papers_say(
    leading: tuple[int, ...], process: LogitsProcessor, kept: list[int]
) -> None:
    expected = [value if place in kept else CUT for place, value in enumerate(LOGITS)]
    assert_rows(process(IDS, shaped(LOGITS, leading)), expected, leading)


@pytest.mark.parametrize("process", [min_p(0.1), typical_p(0.9), epsilon_cutoff(0.01), eta_cutoff(0.01)])
def test_cutoffs_leave_what_is_cut_already(process: LogitsProcessor) -> None:
    processed = process(IDS, torch.tensor([0.0, CUT, -0.1, CUT]))
    assert torch.equal(processed, torch.tensor([0.0, CUT, -0.1, CUT]))
    kept = torch.isfinite(top_h(0.6)(IDS, torch.tensor([CUT, *LOGITS, CUT])))
    assert kept.tolist() == [False, False, True, False, True, False]


@settings(deadline=None, derandomize=True, database=None, max_examples=60)
@given(values=st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=9, unique=True), h=st.floats(0.01, 0.99))
def test_top_h_keeps_the_longest_head_within_the_entropy(values: list[float], h: float) -> None:
    def entropy(probabilities: list[float]) -> float:
        return -sum(p / sum(probabilities) * math.log(p / sum(probabilities)) for p in probabilities)

    ranked = sorted((math.exp(value) for value in values), reverse=True)
    allowed = h * entropy(ranked)
    kept = int(torch.isfinite(top_h(h)(IDS, torch.tensor(values))).sum())
    assert kept == 1 or entropy(ranked[:kept]) <= allowed + 1e-4
    assert kept == len(ranked) or entropy(ranked[: kept + 1]) > allowed - 1e-4


@pytest.mark.parametrize("leading", SHAPES)
@pytest.mark.parametrize(
    ("process", "expected"),
    [
        (repetition_penalty(1.0), [2.0, -2.0, 1.0, -1.0]),
        (repetition_penalty(2.0), [1.0, -4.0, 1.0, -1.0]),  # 0 and 1 occurred
        (repetition_penalty(0.5), [4.0, -1.0, 1.0, -1.0]),
        (repetition_penalty(2.0, window=1), [1.0, -2.0, 1.0, -1.0]),  # the last is 0
        (occurrence_penalties(0.0, 0.0), [2.0, -2.0, 1.0, -1.0]),
        (occurrence_penalties(0.5, 0.0), [1.0, -2.5, 1.0, -1.0]),
        (occurrence_penalties(0.0, 3.0), [-1.0, -5.0, 1.0, -1.0]),
        (occurrence_penalties(0.5, 3.0, window=2), [-1.5, -5.5, 1.0, -1.0]),
        (no_repeat_ngrams(0), [2.0, -2.0, 1.0, -1.0]),
        (no_repeat_ngrams(1), [CUT, CUT, 1.0, -1.0]),
        (no_repeat_ngrams(2), [2.0, CUT, 1.0, -1.0]),  # 0 1 has been
        (no_repeat_ngrams(3), [2.0, -2.0, 1.0, -1.0]),
        (no_repeat_ngrams(9), [2.0, -2.0, 1.0, -1.0]),
        # what was written is 展雪展, from 展, 雪, 昭道 and 白展昭
        (banned_words([], TOKENS), [2.0, -2.0, 1.0, -1.0]),
        (banned_words(["雪"], TOKENS), [2.0, CUT, 1.0, -1.0]),
        (banned_words(["展昭"], TOKENS), [2.0, -2.0, CUT, CUT]),  # parted between tokens, and inside one
        (banned_words(["雪展昭"], TOKENS), [2.0, -2.0, CUT, -1.0]),
        (banned_words(["雪昭", "雪雪"], TOKENS), [2.0, -2.0, 1.0, -1.0]),
        (banned_words(["展雪展展", "展展展展"], TOKENS), [CUT, -2.0, 1.0, -1.0]),
        (token_bias(torch.tensor([0.0, 5.0, -1.0, 0.0])), [2.0, 3.0, 0.0, -1.0]),
    ],
)
def test_penalties_by_hand(leading: tuple[int, ...], process: LogitsProcessor, expected: list[float]) -> None:
    ids = torch.tensor([0, 1, 0]).expand(*leading, 3)
    assert_rows(process(ids, shaped([2.0, -2.0, 1.0, -1.0], leading)), expected, leading)


def test_each_row_has_a_history_of_its_own() -> None:
    ids = torch.tensor([[0, 1, 0], [2, 3, 2]])
    logits = torch.zeros(2, 4)

    assert no_repeat_ngrams(2)(ids, logits).tolist() == [[0, CUT, 0, 0], [0, 0, 0, CUT]]
    assert occurrence_penalties(1.0, 0.0)(ids, logits).tolist() == [[-2, -1, 0, 0], [0, 0, -2, -1]]
    assert banned_words(["昭道雪"], TOKENS)(ids, logits).tolist() == [[0, 0, 0, 0], [0, CUT, 0, 0]]


@pytest.mark.parametrize("size", [10, 2000])
def test_of_equally_likely_tokens_the_first_stay(size: int) -> None:
    """However many rows there are, and however many tokens had to be looked at for them."""
    likely = torch.full((1, size), -8.0)
    likely[0, 3] = 0.0
    both = torch.cat([torch.zeros(1, size), likely])
    kept = top_p(0.4999)(torch.zeros(2, 1), both).isfinite()
    assert kept[0].nonzero().squeeze(1).tolist() == list(range(size // 2))
    assert kept[1].nonzero().squeeze(1).tolist() == [3]
    assert torch.equal(top_p(0.4999)(torch.zeros(1, 1), likely).isfinite(), kept[1:])
