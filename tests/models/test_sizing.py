"""Sizes for a time budget: the arithmetic against the weights of real models, on a machine of known speed."""

import dataclasses
import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from zh_lstm_lm import ConfigError, LSTMLanguageModel, ModelConfig, TokenStream, Vocabulary
from zh_lstm_lm.models.config import choose_sizes, machine_rate, training_operations, training_rate
from zh_lstm_lm.models.output_layers import default_cutoffs

MINUTES = [0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0, 1e5, 1e8]
COUNTS = torch.arange(9000, 0, -1)


@pytest.fixture(autouse=True)
def _known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zh_lstm_lm.models.config.training_rate", lambda counts, full, device: 6e10)


def matrix_elements(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.dim() > 1)


@pytest.mark.parametrize(("embedding_dim", "hidden_size"), [(64, 100), (125, 250)])
def test_operations_are_six_for_every_weight_that_a_token_touches(
    stream: TokenStream, embedding_dim: int, hidden_size: int
) -> None:
    vocabulary = Vocabulary.from_stream(stream)
    for number in range(6000 - len(vocabulary)):
        vocabulary.add_token(f"词{number}")
    counts = torch.arange(6000, 0, -1)
    with torch.device("meta"):
        full, adaptive = (
            LSTMLanguageModel(
                vocabulary, ModelConfig(embedding_dim=embedding_dim, hidden_size=hidden_size, output=kind)
            )
            for kind in ("full", "adaptive")
        )
    lstm = sum(matrix_elements(layer) for layer in full.layers)
    assert training_operations(embedding_dim, hidden_size, counts, full=True) == pytest.approx(
        6 * (lstm + matrix_elements(full.output))
    )
    bounds = [*default_cutoffs(6000), 6000]
    touched = float(lstm + matrix_elements(adaptive.output.get_submodule("head")))
    for tail, (start, stop) in enumerate(itertools.pairwise(bounds)):
        share = float(counts[start:stop].sum() / counts.sum())
        touched += share * matrix_elements(adaptive.output.get_submodule(f"narrow.{tail}"))
        touched += share * matrix_elements(adaptive.output.get_submodule(f"tails.{tail}"))
    assert training_operations(embedding_dim, hidden_size, counts, full=False) == pytest.approx(6 * touched)


def test_more_time_never_gives_a_smaller_model_and_a_lot_gives_a_larger_one() -> None:
    for num_tokens in (10_000, 1_000_000, 100_000_000):
        sizes = [choose_sizes(COUNTS, num_tokens, 60 * minutes)[:2] for minutes in MINUTES]
        assert sizes == sorted(sizes)
        assert all(before[1] <= after[1] for before, after in itertools.pairwise(sizes))
    assert sizes[0] < sizes[-1]


def test_given_ids_are_sized_for_the_full_softmax_that_they_have(stream: TokenStream, tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_text("".join(f"{chr(0x4E00 + n)} {n}\n" for n in range(9000)), encoding="utf-8")
    given = Vocabulary.from_token_list(tmp_path / "tokens.txt")
    counts = torch.tensor(given.counts)
    seconds = [10.0**power for power in range(-3, 4)]
    configs = [ModelConfig.for_budget(stream, given, minutes=each / 60) for each in seconds]
    chosen = [(each.embedding_dim, each.hidden_size, each.dropout, each.tie_weights) for each in configs]
    assert chosen == [choose_sizes(counts, len(stream), each, full=True) for each in seconds]
    assert chosen != [choose_sizes(counts, len(stream), each) for each in seconds]


def test_more_text_never_gives_a_smaller_model() -> None:
    for minutes in MINUTES:
        sizes = [choose_sizes(COUNTS, num_tokens, 60 * minutes)[:2] for num_tokens in (1, 10**4, 10**6, 10**8)]
        assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_more_passes_over_the_text_call_for_more_dropout() -> None:
    chosen = [choose_sizes(COUNTS, 1_000, seconds)[2] for seconds in (1e-3, 1.0, 10.0, 1e3, 1e6)]
    assert chosen == sorted(chosen)
    assert 0 == chosen[0] < chosen[-1] < 0.99


@pytest.mark.parametrize(
    ("passes", "dropout"),
    [
        (0.9, 0.0),
        (1.2, 0.0),
        (1.4, 0.0),
        (1.6, 0.0),
        (1.9, 0.0),
        (2.1, 0.1),
        (4.9, 0.1),
        (5.1, 0.2),
        (6.9, 0.2),
        (7.1, 0.3),
        (9.9, 0.3),
        (10.1, 0.5),
    ],
)
def test_dropout_and_tying_are_those_of_the_expected_passes(passes: float, dropout: float) -> None:
    # Seconds at the smallest sizes; 15 µs a token are for embedding and optimizer.
    a_pass = 1_000 * (training_operations(64, 128, COUNTS, full=False) / 6e10 + 1.5e-5)
    assert choose_sizes(COUNTS, 1_000, passes * a_pass) == (64, 128, dropout, passes >= 1.7)
    assert choose_sizes(COUNTS, 1_000, passes * a_pass, full=True)[3] is False


def test_for_budget_follows_the_time_there_is(texts: list[str], vocabulary: Vocabulary) -> None:
    stream = TokenStream.from_texts(["".join(texts) * 2000], tokenizer="characters")
    sizes = [ModelConfig.for_budget(stream, vocabulary, minutes=minutes).hidden_size for minutes in MINUTES]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize("minutes", MINUTES)
def test_for_budget_gives_a_config_that_builds(stream: TokenStream, vocabulary: Vocabulary, minutes: float) -> None:
    config = ModelConfig.for_budget(stream, vocabulary, minutes=minutes)
    assert isinstance(config, ModelConfig)
    assert ModelConfig.from_dict(config.to_dict()) == config
    with torch.device("meta"):
        model = LSTMLanguageModel(vocabulary, config)
    assert model.config.hidden_size == config.hidden_size


def test_for_budget_keeps_what_is_settled_already(stream: TokenStream, vocabulary: Vocabulary) -> None:
    free = ModelConfig.for_budget(stream, vocabulary, minutes=1)
    config = ModelConfig.for_budget(stream, vocabulary, minutes=1, hidden_size=33, seed=7)
    assert config == dataclasses.replace(free, hidden_size=33, seed=7)


@pytest.mark.parametrize(
    "minutes", [0, -1, float("nan"), float("inf"), "5", None, True, pytest.param(10**400, id="huge")]
)
def test_minutes_must_be_a_positive_number(stream: TokenStream, vocabulary: Vocabulary, minutes: object) -> None:
    with pytest.raises(ConfigError, match="minutes"):
        ModelConfig.for_budget(stream, vocabulary, minutes=minutes)  # type: ignore[arg-type]


def test_an_unknown_option_names_the_nearest_one(stream: TokenStream, vocabulary: Vocabulary) -> None:
    with pytest.raises(ConfigError, match="hidden_size"):
        ModelConfig.for_budget(stream, vocabulary, minutes=1, hiden_size=3)


def test_a_vocabulary_made_by_hand_has_a_budget_too(stream: TokenStream) -> None:
    vocabulary = Vocabulary(tokenizer="characters")
    assert sum(vocabulary.counts) == 0
    assert isinstance(ModelConfig.for_budget(stream, vocabulary, minutes=1), ModelConfig)
    assert training_operations(64, 128, torch.zeros(6000, dtype=torch.int64), full=False) > 0


def test_the_machines_rate_is_a_positive_number() -> None:
    assert 0 < machine_rate(seconds=1e-4) < 1e18


@pytest.mark.parametrize("slow", [{0}, {1, 2}, {0, 3}])
def test_a_slow_moment_does_not_change_the_rate(monkeypatch: pytest.MonkeyPatch, slow: set[int]) -> None:
    """Two of five products take a hundred times as long as the others."""
    looks = itertools.count()
    now = 0.0

    def clock() -> float:
        nonlocal now
        product, ended = divmod(next(looks), 2)
        now += ended * (1.0 if product in slow else 0.01)
        return now

    monkeypatch.setattr("zh_lstm_lm.models.config.perf_counter", clock)
    assert machine_rate(seconds=0.0) == pytest.approx(2 * 1024**3 / 0.01)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("counts", [COUNTS, torch.zeros(5000, dtype=torch.int64)])
def test_the_rate_of_training_is_a_positive_number_that_leaves_no_trace(counts: Tensor, full: bool) -> None:
    before = torch.get_rng_state()
    with torch.inference_mode(), torch.device("meta"):
        assert 0 < training_rate(counts[:200], full=True, seconds=0.0) < 1e18
    assert 0 < training_rate(counts, full=full, seconds=0.0) < 1e18
    assert torch.equal(torch.get_rng_state(), before)


def test_a_device_that_waits_for_its_host_gets_larger_models(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, num_tokens = torch.device("cuda"), 10**9
    monkeypatch.setattr(
        "zh_lstm_lm.models.config.training_rate",
        lambda counts, full, device: 1.5e14 if device.type == "cuda" else 6e10,
    )
    sizes = [choose_sizes(COUNTS, num_tokens, seconds, cuda)[:2] for seconds in (1.0, 60.0, 600.0, 1e4)]
    assert sizes == sorted(sizes)
    assert sizes[-1] > max(choose_sizes(COUNTS, num_tokens, 1e4)[:2], (512, 1024))


def test_a_budget_on_a_device_that_is_not_here_is_refused(stream: TokenStream, vocabulary: Vocabulary) -> None:
    with pytest.raises(ConfigError, match="device='auto'"):
        ModelConfig.for_budget(stream, vocabulary, minutes=1, device="gpu")
