import itertools
import json
import logging
import math
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

import zh_lstm_lm
from zh_lstm_lm import (
    CheckpointError,
    ConfigError,
    DataError,
    EarlyStopping,
    History,
    LSTMLanguageModel,
    ModelConfig,
    NonFiniteError,
    Sampler,
    TokenStream,
    Trainer,
    TrainerConfig,
    TrainerState,
    Vocabulary,
    evaluate,
)
from zh_lstm_lm.training.callbacks import Callback

Parts = tuple[TokenStream, TokenStream]
TIMING = ("seconds", "tokens_per_second")
RECORD = {"epoch", "step", "learning_rate", "gradient_norm", "tokens_per_second", "seconds"}
RECORD |= {"largest_gradient_norm", "clipped_share"}
RECORD |= {f"train_{figure}" for figure in ("loss", "perplexity", "bits_per_character")}
EPOCH = 8  # updates in an epoch of `parts` with the options of `make_config`
VALID = {f"valid_{figure}" for figure in ("loss", "perplexity", "bits_per_character", "tokens")}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _own_clock() -> Iterator[None]:
    """Tests may put a clock of their own in the place of the system's."""
    before = time.monotonic
    yield
    time.monotonic = before


@pytest.fixture
def heard_signals() -> Iterator[None]:
    """No signal is ignored, as SIGHUP is by what `nohup` has started, and by training in it."""
    used = {signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)}
    ignored = [each for each in used if signal.getsignal(each) is signal.SIG_IGN]
    for each in ignored:
        signal.signal(each, signal.SIG_DFL)
    yield
    for each in ignored:
        signal.signal(each, signal.SIG_IGN)


@pytest.fixture(scope="module")
def parts(stream: TokenStream) -> Parts:
    train, valid, _ = stream.split(valid=0.3, test=0.0)
    return train, valid


@pytest.fixture(scope="module")
def words(parts: Parts) -> Vocabulary:
    return Vocabulary.from_stream(parts[0])


def make_model(words: Vocabulary, **options: Any) -> LSTMLanguageModel:
    return LSTMLanguageModel(words, ModelConfig(**{"embedding_dim": 8, "hidden_size": 12, "dropout": 0.2, **options}))


def make_config(**options: Any) -> TrainerConfig:
    if isinstance(options.get("run_dir"), Path):
        options["run_dir"] = str(options["run_dir"])
    return TrainerConfig(**{"max_epochs": 2, "batch_size": 2, "bptt_len": 8, "warmup_steps": 0, **options})


def make_trainer(
    model: LSTMLanguageModel, parts: Parts, *callbacks: Callback, with_valid: bool = True, **options: Any
) -> Trainer:
    valid = parts[1] if with_valid else None
    return Trainer(model, parts[0], valid, make_config(**options), callbacks=callbacks, progress=False)


def untimed(history: History) -> list[dict[str, Any]]:
    return [{key: value for key, value in record.items() if key not in TIMING} for record in history]


def weights(model: LSTMLanguageModel) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


class StopAt(Callback):
    """Stops as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        if state.step == self.step:
            state.request_stop("interrupted")


class Watcher(Callback):
    """Keeps the weights after every update, and those that every evaluation saw."""

    def __init__(self) -> None:
        self.after_updates: list[dict[str, Tensor]] = []
        self.evaluated: list[dict[str, Tensor]] = []

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        self.after_updates.append(weights(model))

    def on_evaluate(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        self.evaluated.append(weights(model))


class Rates(Callback):
    """Keeps the learning rate of every update."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        self.rates.append(state.learning_rate)


class Clock:
    """A clock that moves a little whenever it is looked at, and when it is told to."""

    def __init__(self, tick: float, *, start: float = 0.0) -> None:
        self.tick = tick
        self.now = start

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


UPDATE_SECONDS = 0.0625
BUDGET_SECONDS = 6.0


def timed_trainer(
    words: Vocabulary, parts: Parts, *callbacks: Callback, start: float = 0.0, with_valid: bool = True, **options: Any
) -> tuple[Trainer, Clock]:
    """A run of six seconds by a clock on which an update takes a sixteenth of a second, and evaluation a third a token."""
    clock, model = Clock(0.0, start=start), make_model(words)

    def take_time(embedding: torch.nn.Module, inputs: tuple[Tensor], _: Tensor) -> None:
        clock.now += UPDATE_SECONDS * inputs[0].numel() / (2 * 8) * (0.33 if torch.is_inference_mode_enabled() else 1.0)

    model.embedding.register_forward_hook(take_time)
    config = make_config(**{"max_epochs": None, "max_minutes": BUDGET_SECONDS / 60, **options})
    valid = parts[1] if with_valid else None
    time.monotonic = clock
    return Trainer(model, parts[0], valid, config, progress=False, callbacks=callbacks), clock


# ---- what is learnt and what is told


def test_training_loss_and_perplexity_fall(words: Vocabulary, parts: Parts) -> None:
    trainer = make_trainer(make_model(words, dropout=0.0), parts, max_epochs=5, learning_rate=0.02, batch_size=1)
    history = trainer.fit()
    assert len(history) == 5
    losses = [record["train_loss"] for record in history]
    assert losses == sorted(losses, reverse=True)
    assert history[-1]["train_perplexity"] < 0.5 * history[0]["train_perplexity"]


def test_history_has_a_plain_record_for_every_epoch(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    trainer = make_trainer(make_model(words), parts, max_epochs=3)
    history = trainer.fit()
    assert isinstance(history, History)
    assert [record["epoch"] for record in history] == [1.0, 2.0, 3.0]
    assert [record["step"] for record in history] == [trainer.state.steps_per_epoch * epoch for epoch in (1, 2, 3)]
    for record in history:
        assert set(record) == RECORD | VALID
        assert all(type(value) in (int, float) for value in record.values())
        for part, stream in zip(("train", "valid"), parts, strict=True):
            loss = record[f"{part}_loss"]
            assert record[f"{part}_perplexity"] == pytest.approx(math.exp(loss))
            spelled = sum(words.count_ids(stream)[1:])  # what is not in the vocabulary is spelled in bytes
            bits = loss * spelled / math.log(2) / stream.num_characters
            assert record[f"{part}_bits_per_character"] == pytest.approx(bits)
        assert record["tokens_per_second"] > 0
    seconds = [record["seconds"] for record in history]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert json.loads(json.dumps(history, allow_nan=False)) == history
    history.save(tmp_path / "history.jsonl")
    assert History.load(tmp_path / "history.jsonl") == history


def test_without_held_out_text_nothing_is_told_of_it(words: Vocabulary, parts: Parts) -> None:
    for record in make_trainer(make_model(words), parts, with_valid=False).fit():
        assert set(record) == RECORD


def read_at_once(model: LSTMLanguageModel, texts: list[str]) -> float:
    """The mean loss of documents that are read one behind the other in one go, summed by hand."""
    ids = [token_id for text in texts for token_id in [model.vocabulary.bos_id, *model.vocabulary.encode(text)]]
    with torch.no_grad():
        log_probs = torch.log_softmax(model(torch.tensor([ids[:-1]]))[0][0].double(), dim=-1)
    counted = [
        -float(log_probs[place, target]) for place, target in enumerate(ids[1:]) if target != model.vocabulary.bos_id
    ]
    return sum(counted) / len(counted)


@pytest.mark.parametrize("output", [{"output": "full"}, {"output": "adaptive", "cutoffs": (20, 60)}])
def test_loss_of_one_window_is_that_of_the_first_weights(
    words: Vocabulary, parts: Parts, output: dict[str, Any]
) -> None:
    model = make_model(words, dropout=0.0, **output)
    expected = read_at_once(model, list(parts[0].texts()))
    history = make_trainer(model, parts, batch_size=1, bptt_len=1000, max_epochs=1).fit()
    assert history[0]["step"] == 1
    assert history[0]["train_loss"] == pytest.approx(expected, rel=1e-6)


def test_state_is_carried_through_an_epoch_and_zero_at_its_start(words: Vocabulary, parts: Parts) -> None:
    model = make_model(words, dropout=0.0)
    expected = read_at_once(model, list(parts[0].texts()))
    options: dict[str, Any] = {"batch_size": 1, "bptt_len": 7, "learning_rate": 1e-12, "max_epochs": 2}
    first, second = make_trainer(model, parts, **options).fit()
    assert first["step"] > 5
    assert first["train_loss"] == pytest.approx(expected, rel=1e-5)
    assert second["train_loss"] == pytest.approx(expected, rel=1e-5)
    cold = make_trainer(make_model(words, dropout=0.0), parts, **options | {"batch_size": 8}).fit()
    assert abs(cold[0]["train_loss"] - expected) > 1e-4  # the oracle tells a lane that starts cold


def test_windows_read_alone_begin_from_the_zero_state(words: Vocabulary, parts: Parts) -> None:
    model = make_model(words, dropout=0.0)
    ids = words.encode_stream(parts[0]).long()
    losses: list[float] = []
    with torch.no_grad():
        for start in range(0, len(ids) - 1, 7):
            logits = model(ids[None, start : start + 7])[0][0]
            log_probs = torch.log_softmax(logits.double(), dim=-1)
            following = ids[start + 1 : start + 8].tolist()
            losses += [-float(log_probs[place, t]) for place, t in enumerate(following) if t != words.bos_id]
    options: dict[str, Any] = {"batch_size": 1, "bptt_len": 7, "learning_rate": 1e-12, "max_epochs": 1}
    alone = make_trainer(model, parts, **options, carry_state=False).fit()
    assert alone[0]["train_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_records_tell_how_often_and_how_far_gradients_were_clipped(words: Vocabulary, parts: Parts) -> None:
    class Norms(Callback):
        def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            sums.append(state.gradient_norm_sum)

    def train(limit: float) -> tuple[dict[str, Any], list[float]]:
        sums.clear()
        record = make_trainer(make_model(words), parts, Norms(), max_epochs=1, max_grad_norm=limit).fit()[0]
        return record, [after - before for before, after in itertools.pairwise([0.0, *sums])]

    sums: list[float] = []
    limit = statistics.median(train(1e6)[1])
    record, norms = train(limit)
    clipped = sum(norm > limit for norm in norms)
    assert 0 < clipped < len(norms), norms
    assert record["clipped_share"] == clipped / len(norms)
    assert record["largest_gradient_norm"] == pytest.approx(max(norms))


def test_gradient_norm_and_rate_are_those_of_the_updates(words: Vocabulary, parts: Parts) -> None:
    model = make_model(words, dropout=0.0)
    oracle = make_model(words, dropout=0.0)
    ids = words.encode_stream(parts[0]).long()
    targets = ids[1:].masked_fill(ids[1:] == words.bos_id, -100)
    oracle.loss(ids[None, :-1], targets[None])[0].backward()  # type: ignore[no-untyped-call]
    grads = [parameter.grad for parameter in oracle.parameters() if parameter.grad is not None]
    norm = math.sqrt(sum(float(grad.double().square().sum()) for grad in grads))
    options: dict[str, Any] = {"batch_size": 1, "bptt_len": 1000, "max_epochs": 1, "learning_rate": 0.25}
    record = make_trainer(model, parts, **options, schedule="constant").fit()[0]
    assert record["gradient_norm"] == pytest.approx(norm, rel=1e-5)
    assert record["learning_rate"] == 0.25


def test_updates_are_those_of_clipped_adam_with_weight_decay(words: Vocabulary, parts: Parts) -> None:
    """The loop written out with PyTorch's own parts; a tied weight has no sparse gradient to treat apart."""

    def train_by_hand(max_norm: float) -> LSTMLanguageModel:
        model, state = make_model(words, dropout=0.0, tie_weights=True), None
        matrices = [weight for name, weight in model.named_parameters() if "weight_ih" in name or "weight_hh" in name]
        adam = torch.optim.AdamW([{"params": matrices, "weight_decay": 2.0}], lr=0.01, betas=(0.8, 0.95))
        others = [weight for weight in model.parameters() if all(weight is not matrix for matrix in matrices)]
        adam.add_param_group({"params": others, "weight_decay": 0.0})
        ids = words.encode_stream(parts[0]).long()
        for start in range(0, 48, 8):
            targets = ids[start + 1 : start + 9]
            logits, state = model(ids[None, start : start + 8], state)
            loss = torch.nn.functional.cross_entropy(
                logits[0, targets != words.bos_id], targets[targets != words.bos_id]
            )
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)))
            adam.step()
            state = state.detach()
        return model

    norms: list[float] = []
    free = train_by_hand(1e9)
    bound = sorted(norms)[2]
    by_hand = train_by_hand(bound)
    model = make_model(words, dropout=0.0, tie_weights=True)
    options: dict[str, Any] = {"batch_size": 1, "max_steps": 6, "max_epochs": None, "learning_rate": 0.01}
    options |= {
        "betas": (0.8, 0.95),
        "weight_decay": 2.0,
        "schedule": "constant",
        "max_grad_norm": bound,
        "with_valid": False,
    }
    make_trainer(model, parts, **options).fit()
    for name, weight in weights(model).items():
        torch.testing.assert_close(weight, by_hand.state_dict()[name], rtol=1e-4, atol=2e-5)
    differences = [(weight - weights(free)[name]).abs().max() for name, weight in weights(model).items()]
    assert max(differences) > 1e-3  # clipping shows


def test_rate_rises_and_falls_over_the_run(words: Vocabulary, parts: Parts) -> None:
    watcher = Rates()
    make_trainer(
        make_model(words), parts, watcher, max_steps=20, max_epochs=None, warmup_steps=5, learning_rate=1.0
    ).fit()
    rates = watcher.rates
    peak = rates.index(max(rates))
    assert len(rates) == 20
    assert peak == 4
    assert rates[:5] == sorted(rates[:5])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] < 0.05


EPOCH_OF_ONE_LANE = 15  # updates
OVERFITTING: dict[str, Any] = {"max_epochs": 6, "learning_rate": 0.03, "schedule": "constant", "batch_size": 1}


def test_model_holds_the_best_weights_by_held_out_loss(words: Vocabulary, parts: Parts) -> None:
    watcher, model = Watcher(), make_model(words, dropout=0.0)
    history = make_trainer(model, parts, watcher, **OVERFITTING).fit()
    losses = [record["valid_loss"] for record in history]
    best = losses.index(min(losses))
    assert best < len(losses) - 1, "the run must overfit for this test to hold something"
    assert same(weights(model), watcher.evaluated[best])
    assert not same(weights(model), watcher.evaluated[-1])
    measured = evaluate(model, parts[1])
    assert measured.loss == pytest.approx(losses[best], rel=1e-12)
    assert measured.perplexity == pytest.approx(history[best]["valid_perplexity"], rel=1e-12)
    assert measured.bits_per_character == pytest.approx(history[best]["valid_bits_per_character"], rel=1e-12)
    assert not model.training


def test_without_held_out_text_the_model_holds_the_last_weights(words: Vocabulary, parts: Parts) -> None:
    watcher, model = Watcher(), make_model(words, dropout=0.0)
    make_trainer(model, parts, watcher, with_valid=False, **OVERFITTING).fit()
    assert same(weights(model), watcher.after_updates[-1])


def test_empty_held_out_text_is_none(words: Vocabulary, parts: Parts) -> None:
    empty = TokenStream.from_texts(["x"], tokenizer="characters").split(valid=0.0, test=0.0)[1]
    assert len(empty) == 0
    history = Trainer(make_model(words), parts[0], empty, make_config(max_steps=2), progress=False).fit()
    assert set(history[0]) == RECORD


def test_closed_vocabulary_can_be_trained(parts: Parts, tmp_path: Path) -> None:
    closed = Vocabulary.from_stream(parts[0], unknown="unk", min_freq=2)
    history = make_trainer(make_model(closed), parts, run_dir=tmp_path / "run").fit()
    assert all(record["train_bits_per_character"] is None for record in history)
    assert all(record["valid_perplexity"] > 1 for record in history)
    assert History.load(tmp_path / "run" / "history.jsonl") == history


# ---- the same again


MODELS: list[dict[str, Any]] = [
    {},
    {"tie_weights": True, "num_layers": 2},
    {"tie_weights": True, "output": "adaptive", "cutoffs": (20, 60)},
    {"output": "adaptive", "cutoffs": (20, 60), "dropout": 0.5},
    {"output": "adaptive", "cutoffs": (20,), "num_layers": 2, "embedding_dim": 6},
    {"output": "adaptive", "cutoffs": (20, 60), "hidden_size": 128},  # in bfloat16 where the processor has it
]


@pytest.mark.parametrize("options", MODELS)
def test_equal_seeds_give_equal_weights_and_histories(words: Vocabulary, parts: Parts, options: dict[str, Any]) -> None:
    runs = []
    for _ in range(2):
        model = make_model(words, **options)
        history = make_trainer(model, parts, seed=5).fit()
        runs.append((weights(model), untimed(history)))
    assert same(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]


def test_dropout_follows_the_trainers_seed(words: Vocabulary, parts: Parts) -> None:
    models = []
    for dropout, seed in ((0.2, 0), (0.2, 1), (0.0, 0), (0.0, 1)):
        models.append(make_model(words, dropout=dropout))
        make_trainer(models[-1], parts, seed=seed, max_steps=2).fit()
    assert not same(weights(models[0]), weights(models[1]))
    assert same(weights(models[2]), weights(models[3]))  # nothing else is drawn


def test_global_random_state_does_not_matter(words: Vocabulary, parts: Parts) -> None:
    models = [make_model(words), make_model(words)]
    make_trainer(models[0], parts, max_steps=3).fit()
    outer = torch.get_rng_state()
    try:
        torch.manual_seed(1234)
        make_trainer(models[1], parts, max_steps=3).fit()
    finally:
        torch.set_rng_state(outer)
    assert same(weights(models[0]), weights(models[1]))


# ---- budgets


def test_default_is_three_epochs(words: Vocabulary, parts: Parts) -> None:
    history = Trainer(make_model(words), *parts, progress=False).fit()
    assert [record["epoch"] for record in history] == [1.0, 2.0, 3.0]


def test_small_text_gets_about_a_hundred_updates_an_epoch() -> None:
    stream = TokenStream.from_texts(["风雪夜归人。\n" * 1500], tokenizer="characters")
    model = LSTMLanguageModel(Vocabulary.from_stream(stream), ModelConfig(embedding_dim=4, hidden_size=4))
    trainer = Trainer(model, stream, None, TrainerConfig(max_steps=1), progress=False)
    trainer.fit()
    assert 90 <= trainer.state.steps_per_epoch <= 150


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"max_epochs": None, "max_steps": 3}, 3),
        ({"max_epochs": 1, "max_steps": 3}, 3),
        ({"max_epochs": 2, "max_steps": 10}, 10),
        ({"max_epochs": 1, "max_steps": 1000}, EPOCH),
        ({"max_epochs": 2, "max_minutes": 1e6}, 2 * EPOCH),
        ({"max_epochs": None, "max_steps": 30, "max_minutes": 1e6}, 30),
    ],
)
def test_first_budget_reached_ends_the_run(
    words: Vocabulary, parts: Parts, options: dict[str, Any], steps: int
) -> None:
    trainer = make_trainer(make_model(words), parts, **options)
    history = trainer.fit()
    assert trainer.state.steps_per_epoch == EPOCH
    assert (trainer.state.step, trainer.state.stop_reason) == (steps, "finished")
    ends = [epoch * EPOCH for epoch in range(1, steps // EPOCH + 1)] + ([steps] if steps % EPOCH else [])
    assert [record["step"] for record in history] == ends
    assert [record["epoch"] for record in history] == [round(end / EPOCH, 4) for end in ends]


@pytest.mark.parametrize("with_valid", [True, False])
def test_time_budget_is_kept_and_used(words: Vocabulary, parts: Parts, with_valid: bool) -> None:
    trainer, clock = timed_trainer(words, parts, start=77.0, with_valid=with_valid)
    history = trainer.fit()
    assert clock.now - 77.0 == pytest.approx(history[-1]["seconds"], abs=1e-3)
    assert 0.97 * BUDGET_SECONDS < clock.now - 77.0 <= 1.02 * BUDGET_SECONDS
    assert trainer.state.step == trainer.state.planned_steps == history[-1]["step"]
    assert history[-1]["learning_rate"] < 0.02 * history[0]["learning_rate"]  # the schedule ends where the run does


@pytest.mark.parametrize("stop", [10, 30])
def test_time_is_summed_over_resumes_and_the_schedule_goes_on(
    words: Vocabulary, parts: Parts, tmp_path: Path, stop: int
) -> None:
    first, _ = timed_trainer(words, parts, StopAt(stop), run_dir=tmp_path / "run")
    first.fit()
    assert (first.state.step, first.state.stop_reason) == (stop, "interrupted")
    rates = Rates()
    second, clock = timed_trainer(words, parts, rates, start=1000.0, run_dir=tmp_path / "run")
    history = second.fit(resume=True)
    assert clock.now - 1000.0 == pytest.approx(second.state.seconds - first.state.seconds, abs=1e-3)
    assert 0.97 * BUDGET_SECONDS < history[-1]["seconds"] <= 1.02 * BUDGET_SECONDS
    assert rates.rates[0] <= first.state.learning_rate
    assert rates.rates == sorted(rates.rates, reverse=True)
    assert rates.rates[-1] < 0.02 * 5e-3


@pytest.mark.parametrize("stop", [3, 10, 30])
def test_interrupted_time_budget_gives_the_same_weights(
    words: Vocabulary, parts: Parts, tmp_path: Path, stop: int
) -> None:
    whole, _ = timed_trainer(words, parts)
    history = whole.fit()
    timed_trainer(words, parts, StopAt(stop), run_dir=tmp_path / "run")[0].fit()
    resumed, _ = timed_trainer(words, parts, run_dir=tmp_path / "run")
    assert untimed(resumed.fit(resume=True)) == untimed(history)
    assert same(weights(resumed.model), weights(whole.model))


class Pause(Callback):
    """Moves the clock after one of the updates."""

    def __init__(self, step: int, seconds: float) -> None:
        self.step, self.seconds = step, seconds

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        if state.step == self.step:
            assert isinstance(time.monotonic, Clock)
            time.monotonic.now += self.seconds


@pytest.mark.parametrize(("seconds", "counts"), [(2.0, True), (3600.0, False), (-50.0, False)])
def test_a_pause_or_a_jump_of_the_clock_leaves_the_schedule_whole(
    words: Vocabulary, parts: Parts, seconds: float, counts: bool
) -> None:
    """A pause is a part of the budget as long as the rest is enough; one that would take all of it is not."""
    rates = Rates()
    trainer, clock = timed_trainer(words, parts, Pause(30, seconds), rates)
    history = trainer.fit()
    passed = clock.now - (0 if counts else seconds)
    assert 0.97 * BUDGET_SECONDS < history[-1]["seconds"] <= 1.02 * BUDGET_SECONDS
    assert 0.97 * BUDGET_SECONDS < passed <= 1.02 * BUDGET_SECONDS
    assert trainer.state.step > 40
    assert rates.rates[-1] < 0.03 * 5e-3


def test_time_that_callbacks_take_is_planned_for(words: Vocabulary, parts: Parts) -> None:
    """Otherwise the run ends before its schedule does, at a learning rate that is still high."""

    class Slow(Callback):
        def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            clock.now += UPDATE_SECONDS / 2

    trainer, clock = timed_trainer(words, parts, Slow(), with_valid=False)
    history = trainer.fit()
    assert trainer.state.step == trainer.state.planned_steps
    assert history[-1]["learning_rate"] < 0.02 * history[0]["learning_rate"]


def test_shortest_time_budget_makes_one_update_and_is_warned_of(
    words: Vocabulary, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config(max_epochs=None, max_minutes=1e-9)
    time.monotonic = Clock(0.01)
    trainer = Trainer(make_model(words), *parts, config, progress=False)
    with caplog.at_level(logging.WARNING, logger="zh_lstm_lm"):
        assert [record["step"] for record in trainer.fit()] == [1]
    assert "max_minutes=1e-09 was over after 1 updates" in caplog.text


def test_clock_too_coarse_to_time_an_update_does_no_harm(words: Vocabulary, parts: Parts) -> None:
    """Some systems' clocks move every 16 milliseconds only."""
    config = make_config(max_epochs=None, max_steps=40, max_minutes=1.0)
    time.monotonic = lambda: 5.0
    trainer = Trainer(make_model(words), *parts, config, progress=False)
    assert trainer.fit()[-1]["step"] == 40


def test_patience_stops_a_run_that_overfits(words: Vocabulary, parts: Parts) -> None:
    long = make_trainer(make_model(words, dropout=0.0), parts, **OVERFITTING).fit()
    losses = [record["valid_loss"] for record in long]
    rises = next(epoch for epoch in range(1, len(losses)) if losses[epoch] >= min(losses[:epoch]))
    assert rises < len(losses) - 1
    cases: list[tuple[dict[str, Any], list[Callback]]] = [({"patience": 1}, []), ({}, [EarlyStopping(1)])]
    for options, callbacks in cases:
        model = make_model(words, dropout=0.0)
        trainer = make_trainer(model, parts, *callbacks, **OVERFITTING, **options)
        history = trainer.fit()
        assert untimed(history) == untimed(long)[: rises + 1]
        assert trainer.state.stop_reason is not None
        assert "validation loss" in trainer.state.stop_reason
        assert evaluate(model, parts[1]).loss == pytest.approx(min(losses[: rises + 1]), rel=1e-12)


def test_stopped_run_stays_stopped_when_resumed(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    options = OVERFITTING | {"patience": 1, "run_dir": tmp_path / "run"}
    model = make_model(words, dropout=0.0)
    history = make_trainer(model, parts, **options).fit()
    assert len(history) < OVERFITTING["max_epochs"]
    again = make_model(words, dropout=0.0)
    assert make_trainer(again, parts, **options).fit(resume=True) == history
    assert same(weights(again), weights(model))


# ---- evaluations inside an epoch


def test_a_run_of_less_than_an_epoch_has_points(words: Vocabulary, parts: Parts) -> None:
    short = TokenStream.from_texts(["展昭道：“好。”\n"], tokenizer="characters")

    def steps(valid: TokenStream | None, *callbacks: Callback, **options: Any) -> list[int]:
        config = make_config(batch_size=1, bptt_len=1, max_epochs=None, max_steps=60, **options)
        trainer = Trainer(make_model(words), parts[0], valid, config, callbacks=callbacks, progress=False)
        for record in trainer.fit():
            assert set(record) == RECORD | (VALID if valid is not None else set())
            measured.append(record.get("valid_loss"))
        assert trainer.state.steps_per_epoch > 60
        return [record["step"] for record in trainer.state.history]

    watcher, measured = Watcher(), list[Any]()
    assert steps(short, watcher, eval_steps=25) == [25, 50, 60]
    for loss, evaluated in zip(measured, watcher.evaluated, strict=True):
        other = make_model(words)
        other.load_state_dict(evaluated)
        assert evaluate(other, short).loss == pytest.approx(loss, rel=1e-6)
    assert steps(short) == [60], "an epoch that short needs no evaluation inside it"
    assert steps(None) == [60]
    assert steps(parts[1]) == [60], "the validation set is as large as all that is read"


def test_evaluations_inside_an_epoch_change_nothing_of_the_training(words: Vocabulary, parts: Parts) -> None:
    watchers = Watcher(), Watcher()
    for watcher, eval_steps in zip(watchers, (None, 3), strict=True):
        make_trainer(make_model(words), parts, watcher, eval_steps=eval_steps).fit()
    assert len(watchers[1].evaluated) == 7 > len(watchers[0].evaluated)
    for one, other in zip(watchers[0].after_updates, watchers[1].after_updates, strict=True):
        assert same(one, other)


def test_the_best_model_may_be_one_inside_an_epoch(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    """It is saved when it is found, so a run that is killed later loses nothing."""

    class Kill(Callback):
        def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            if state.step == 33:
                raise Killed

    options = {**OVERFITTING, "eval_steps": 5, "keep_last": 1}
    expected = make_model(words, dropout=0.0)
    whole = make_trainer(expected, parts, **options)
    history = whole.fit()
    assert whole.state.best_step is not None
    assert whole.state.best_step % 5 == 0
    assert whole.state.best_step < 33
    with pytest.raises(Killed):
        make_trainer(make_model(words, dropout=0.0), parts, Kill(), **options, run_dir=tmp_path / "run").fit()
    model = make_model(words, dropout=0.0)
    resumed = make_trainer(model, parts, **options, run_dir=tmp_path / "run").fit(resume=True)
    assert untimed(resumed) == untimed(history)
    assert same(weights(model), weights(expected))
    # Evaluations may be more or fewer in a resumed run.
    again = make_trainer(make_model(words, dropout=0.0), parts, **OVERFITTING, run_dir=tmp_path / "run")
    assert again.fit(resume=True) == resumed


def test_evaluations_inside_an_epoch_read_a_sample_of_a_large_validation_set(words: Vocabulary, parts: Parts) -> None:
    """The end of the run is measured on all of it, as `evaluate` does, and only such evaluations are compared."""
    large = TokenStream.from_texts(["展昭道：“好。”\n" * 4_000], tokenizer="characters")
    config = make_config(batch_size=8, bptt_len=4, max_epochs=None, max_steps=450)
    text = TokenStream.from_texts(["展昭道：“好。”蒋平笑了。\n" * 3_000], tokenizer="characters")
    model, watcher = make_model(words), Watcher()
    trainer = Trainer(model, text, large, config, callbacks=[watcher], progress=False)
    *sampled, last = trainer.fit()
    assert trainer.state.steps_per_epoch > 450
    assert len(sampled) == 1, "as many updates are made in between as an evaluation reads"
    whole = evaluate(model, large)
    assert (last["valid_loss"], last["valid_tokens"]) == (pytest.approx(whole.loss, rel=1e-12), whole.num_tokens)
    assert 8000 < sampled[0]["valid_tokens"] <= 8192
    other = make_model(words)
    other.load_state_dict(watcher.evaluated[0])
    assert sampled[0]["valid_loss"] == pytest.approx(evaluate(other, large).loss, rel=0.03)
    assert trainer.state.best_step == last["step"]
    asked = Trainer(make_model(words), text, large, replace(config, max_steps=20, eval_steps=10), progress=False).fit()
    assert [record["valid_tokens"] for record in asked] == [whole.num_tokens] * 2


@pytest.mark.parametrize(
    ("records", "best"),
    [
        ([(1, 3.0, 100), (2, 2.0, 100)], 2),
        ([(1, 1.0, 100), (2, 3.0, 900), (3, 2.0, 100)], 2),
        ([(1, 1.0, 100), (2, 3.0, 900), (3, 2.0, 900), (4, 2.5, 900)], 3),
        ([(1, 3.0, None), (2, 2.0, None), (3, 2.5, None)], 2),
    ],
)
def test_only_evaluations_of_equal_text_are_compared(records: list[tuple[int, float, int | None]], best: int) -> None:
    history = History(
        {"step": step, "valid_loss": loss, **({"valid_tokens": tokens} if tokens else {})}
        for step, loss, tokens in records
    )
    assert TrainerState(history=history).best_step == best
    assert TrainerState(history=history).best_step_until(1) == 1


# ---- stopping and going on


@pytest.mark.parametrize("case", range(6))
def test_interrupted_run_goes_on_as_if_it_had_not_been(
    words: Vocabulary, parts: Parts, tmp_path: Path, case: int
) -> None:
    chance = random.Random(case)
    options: dict[str, Any] = {"seed": case, "max_epochs": 3, "batch_size": chance.choice([2, 3])}
    sizes = MODELS[case % len(MODELS)]
    expected = make_model(words, **sizes)
    whole = make_trainer(expected, parts, **options, run_dir=tmp_path / "whole")
    history = whole.fit()

    stops = sorted(chance.sample(range(1, whole.state.step), k=2))
    for stop in stops:
        trainer = make_trainer(make_model(words, **sizes), parts, StopAt(stop), **options, run_dir=tmp_path / "run")
        trainer.fit(resume=True)
        assert (trainer.state.step, trainer.state.stop_reason) == (stop, "interrupted")
    model = make_model(words, **sizes, seed=99)  # what the model held before does not matter
    with pytest.raises(CheckpointError, match="model"):
        make_trainer(model, parts, **options, run_dir=tmp_path / "run").fit(resume=True)
    model = make_model(words, **sizes)
    with torch.no_grad():
        model.embedding.weight.fill_(0.5)
    resumed = make_trainer(model, parts, **options, run_dir=tmp_path / "run").fit(resume=True)

    assert untimed(resumed) == untimed(history)
    assert same(weights(model), weights(expected))
    best = LSTMLanguageModel.from_pretrained(tmp_path / "run" / "best")
    assert same(weights(best), weights(expected))
    checkpoints = [sorted((tmp_path / run).glob("checkpoint-*")) for run in ("whole", "run")]
    for name in ("model.safetensors", "optimizer.safetensors", "carried.safetensors"):
        assert (checkpoints[0][-1] / name).read_bytes() == (checkpoints[1][-1] / name).read_bytes()


def test_run_interrupted_at_its_last_update_is_evaluated_when_it_goes_on(
    words: Vocabulary, parts: Parts, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"max_epochs": None, "max_steps": 11}  # ends inside the second epoch
    expected = make_model(words)
    history = make_trainer(expected, parts, **options).fit()
    make_trainer(make_model(words), parts, StopAt(11), **options, run_dir=tmp_path / "run").fit()
    model = make_model(words)
    resumed = make_trainer(model, parts, **options, run_dir=tmp_path / "run").fit(resume=True)
    assert untimed(resumed) == untimed(history)
    assert same(weights(model), weights(expected))


def test_interrupted_run_returns_what_it_has(words: Vocabulary, parts: Parts) -> None:
    watcher, model = Watcher(), make_model(words)
    history = make_trainer(model, parts, watcher, StopAt(5)).fit()
    assert history == []
    assert same(weights(model), watcher.after_updates[-1])  # there is no better one yet

    model = make_model(words)
    history = make_trainer(model, parts, StopAt(11)).fit()
    assert [record["epoch"] for record in history] == [1.0]
    assert evaluate(model, parts[1]).loss == pytest.approx(history[0]["valid_loss"], rel=1e-12)


def test_finished_run_is_only_loaded(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    options = OVERFITTING | {"run_dir": tmp_path / "run"}
    best = make_model(words, dropout=0.0)
    history = make_trainer(best, parts, **options).fit()
    before = tree(tmp_path)
    watcher, model = Watcher(), make_model(words, dropout=0.0)
    again = make_trainer(model, parts, watcher, **options).fit(resume=True)
    assert again == history  # with its times
    assert watcher.after_updates == []
    assert same(weights(model), weights(best))
    assert not model.training
    assert tree(tmp_path) == before


def test_finished_run_without_held_out_text_loads_its_last_weights(
    words: Vocabulary, parts: Parts, tmp_path: Path
) -> None:
    last, model = make_model(words), make_model(words)
    make_trainer(last, parts, with_valid=False, run_dir=tmp_path / "run").fit()
    make_trainer(model, parts, with_valid=False, run_dir=tmp_path / "run").fit(resume=True)
    assert same(weights(model), weights(last))


def test_folder_that_holds_a_run_is_refused_without_resume(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    make_trainer(make_model(words), parts, run_dir=tmp_path / "run", max_steps=2).fit()
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match=r"resume=True"):
        make_trainer(make_model(words), parts, run_dir=tmp_path / "run", max_steps=2).fit()
    assert tree(tmp_path) == before


def test_resume_of_an_empty_folder_begins_a_run(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    models = [make_model(words), make_model(words)]
    make_trainer(models[0], parts, run_dir=tmp_path / "run").fit(resume=True)
    make_trainer(models[1], parts).fit()
    assert same(weights(models[0]), weights(models[1]))
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"seed": 1}, "seed"), ({"bptt_len": 9}, "bptt_len"), ({"batch_size": 3}, "batch_size")],
)
def test_run_with_other_options_is_not_gone_on_with(
    words: Vocabulary, parts: Parts, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    make_trainer(make_model(words), parts, StopAt(2), run_dir=tmp_path / "run").fit()
    before = tree(tmp_path)
    with pytest.raises(CheckpointError, match=named):
        make_trainer(make_model(words), parts, **changes, run_dir=tmp_path / "run").fit(resume=True)
    assert tree(tmp_path) == before


def test_run_on_another_text_or_model_is_not_gone_on_with(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    train, valid = parts
    make_trainer(make_model(words), parts, StopAt(2), run_dir=tmp_path / "run").fit()
    other = Vocabulary.from_stream(train, min_freq=1, max_size=300)
    cases: list[tuple[LSTMLanguageModel, TokenStream, TokenStream | None, str]] = [
        (make_model(words), valid, valid, "another train"),
        (make_model(words), train, train, "another valid"),
        (make_model(words), train, None, "another valid"),
        (make_model(other), train, valid, "another vocabulary"),
        (make_model(words, hidden_size=10), train, valid, "another model"),
    ]
    for model, ours, held_out, named in cases:
        trainer = Trainer(model, ours, held_out, make_config(run_dir=tmp_path / "run"), progress=False)
        with pytest.raises(CheckpointError, match=named):
            trainer.fit(resume=True)


def test_larger_budget_goes_on(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    options: dict[str, Any] = {"schedule": "constant"}
    expected = make_model(words)
    history = make_trainer(expected, parts, **options, max_epochs=3).fit()
    make_trainer(make_model(words), parts, **options, max_epochs=1, run_dir=tmp_path / "run").fit()
    model = make_model(words)
    trainer = make_trainer(model, parts, **options, max_epochs=3, run_dir=tmp_path / "run")
    assert untimed(trainer.fit(resume=True)) == untimed(history)
    assert same(weights(model), weights(expected))


def test_larger_budget_goes_on_inside_an_epoch(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    options: dict[str, Any] = {"schedule": "constant", "max_epochs": None, "with_valid": False}
    expected = make_model(words)
    history = make_trainer(expected, parts, **options, max_steps=12).fit()
    make_trainer(make_model(words), parts, **options, max_steps=10, run_dir=tmp_path / "run").fit()
    model = make_model(words)
    resumed = make_trainer(model, parts, **options, max_steps=12, run_dir=tmp_path / "run").fit(resume=True)
    assert [record["step"] for record in resumed] == [EPOCH, 10, 12]
    assert untimed(resumed)[::2] == untimed(history)  # the whole epoch's figures, not those of two steps
    assert same(weights(model), weights(expected))


def test_damaged_newest_checkpoint_is_passed_over(
    words: Vocabulary, parts: Parts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = make_model(words)
    history = make_trainer(expected, parts, max_epochs=3).fit()
    make_trainer(make_model(words), parts, StopAt(20), max_epochs=3, run_dir=tmp_path / "run").fit()
    newest = max((tmp_path / "run").glob("checkpoint-*"))
    assert newest.name == "checkpoint-00000020"
    with (newest / "model.safetensors").open("r+b") as file:
        file.truncate(100)
    model = make_model(words)
    with caplog.at_level(logging.WARNING, logger="zh_lstm_lm"):
        resumed = make_trainer(model, parts, max_epochs=3, run_dir=tmp_path / "run").fit(resume=True)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "checkpoint-00000020: passed over" in caplog.messages[0]
    assert untimed(resumed) == untimed(history)
    assert same(weights(model), weights(expected))


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-2] ^= 64
    file.write_bytes(data)


def test_damaged_best_model_is_mended_from_its_checkpoint(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    run, expected = tmp_path / "run", make_model(words, dropout=0.0)
    trainer = make_trainer(expected, parts, **OVERFITTING, run_dir=run, keep_last=1)
    trainer.fit()
    best = run / f"checkpoint-{trainer.state.best_step:08d}"
    assert trainer.state.best_step != trainer.state.step
    flip_a_bit(run / "best" / "model.safetensors")
    model = make_model(words, dropout=0.0)
    make_trainer(model, parts, **OVERFITTING, run_dir=run, keep_last=1).fit(resume=True)
    assert same(weights(model), weights(expected))
    assert same(weights(LSTMLanguageModel.from_pretrained(run / "best")), weights(expected))

    flip_a_bit(best / "model.safetensors")  # now the folder stands in for the checkpoint
    model = make_model(words, dropout=0.0)
    make_trainer(model, parts, **OVERFITTING, run_dir=run, keep_last=1).fit(resume=True)
    assert same(weights(model), weights(expected))

    flip_a_bit(run / "best" / "model.safetensors")
    with pytest.raises(CheckpointError, match=best.name):
        make_trainer(make_model(words, dropout=0.0), parts, **OVERFITTING, run_dir=run, keep_last=1).fit(resume=True)


class Killed(BaseException):
    """The process ends here."""


def test_run_killed_at_any_write_loses_nothing(
    words: Vocabulary, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"batch_size": 8}
    expected = make_model(words)
    history = make_trainer(expected, parts, **options).fit()
    calls = 0
    real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in ("fsync", "rename", "replace")}

    def killing(name: str, moment: int) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == moment:
                raise Killed
            return real[name](*args, **named)

        return call

    killed = 0
    for moment in (1, 2, 3, 6, 10, 12, 14, 19, 21, 23, 26, 31, 35, 40, 44):
        folder, calls = tmp_path / str(moment), 0
        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(os, name, killing(name, moment))
            try:
                make_trainer(make_model(words), parts, **options, run_dir=folder).fit()
            except Killed:
                killed += 1
        model = make_model(words)
        resumed = make_trainer(model, parts, **options, run_dir=folder).fit(resume=True)
        assert untimed(resumed) == untimed(history)
        assert same(weights(model), weights(expected))
        shutil.rmtree(folder)
    assert killed >= 12


# ---- what is written


def test_run_folder_holds_history_checkpoints_and_best_model(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    model = make_model(words, dropout=0.0)
    history = make_trainer(model, parts, **OVERFITTING, run_dir=tmp_path / "runs" / "first").fit()
    run = tmp_path / "runs" / "first"
    assert History.load(run / "history.jsonl") == history
    best = LSTMLanguageModel.from_pretrained(run / "best")
    assert same(weights(best), weights(model))
    lowest = min(record["valid_loss"] for record in history)
    assert evaluate(best, parts[1]).loss == pytest.approx(lowest, rel=1e-12)
    lowest_step = min(history, key=lambda record: record["valid_loss"])["step"]
    steps = sorted(int(path.name.split("-")[1]) for path in run.glob("checkpoint-*"))
    assert steps == sorted({lowest_step, *(EPOCH_OF_ONE_LANE * epoch for epoch in (5, 6))})
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["options"]["learning_rate"] == 0.03
    suffixes = {file.suffix for file in run.rglob("*") if file.is_file()}
    assert suffixes == {".json", ".jsonl", ".safetensors", ".md"}


@pytest.mark.parametrize("kind", [str, Path])
def test_run_folder_may_be_a_string_or_a_path(
    words: Vocabulary, parts: Parts, tmp_path: Path, kind: Callable[[Path], str | Path]
) -> None:
    config = TrainerConfig(max_steps=1, run_dir=kind(tmp_path / "run"))
    json.dumps(config.to_dict())
    Trainer(make_model(words), *parts, config, progress=False).fit()
    assert (tmp_path / "run" / "history.jsonl").is_file()


@pytest.mark.parametrize("keep_last", [1, 3])
def test_checkpoints_rotate(words: Vocabulary, parts: Parts, tmp_path: Path, keep_last: int) -> None:
    trainer = make_trainer(make_model(words), parts, max_epochs=5, keep_last=keep_last, run_dir=tmp_path / "run")
    trainer.fit()
    kept = {int(path.name.split("-")[1]) for path in (tmp_path / "run").glob("checkpoint-*")}
    assert kept == {*[EPOCH * epoch for epoch in range(1, 6)][-keep_last:], trainer.state.best_step}


def test_checkpoints_are_written_inside_a_long_epoch(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    config = make_config(max_epochs=1, checkpoint_minutes=1e-6, keep_last=100, run_dir=tmp_path / "run")
    time.monotonic = Clock(0.01)
    Trainer(make_model(words), *parts, config, progress=False).fit()
    steps = sorted(int(path.name.split("-")[1]) for path in (tmp_path / "run").glob("checkpoint-*"))
    assert steps == list(range(1, EPOCH + 1))

    config = make_config(max_epochs=1, checkpoint_minutes=1e6, keep_last=100, run_dir=tmp_path / "rare")
    time.monotonic = Clock(0.01)
    Trainer(make_model(words), *parts, config, progress=False).fit()
    assert [path.name for path in (tmp_path / "rare").glob("checkpoint-*")] == [f"checkpoint-{EPOCH:08d}"]


def test_without_run_folder_nothing_is_written(
    words: Vocabulary, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    make_trainer(make_model(words), parts, StopAt(11)).fit()
    make_trainer(make_model(words), parts).fit(resume=True)
    assert tree(tmp_path) == {}


def test_setting_a_trainer_up_does_nothing_yet(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    model = make_model(words)
    before = weights(model)
    make_trainer(model, parts, run_dir=tmp_path / "run")
    assert tree(tmp_path) == {}
    assert not (tmp_path / "run").exists()
    assert same(weights(model), before)
    assert model.training


@pytest.mark.parametrize("below", ["", "run", "a/b"])
@pytest.mark.parametrize("resume", [True, False])
def test_run_folder_that_cannot_be_written_is_an_error(
    words: Vocabulary, parts: Parts, tmp_path: Path, below: str, resume: bool
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CheckpointError, match="file"):
        make_trainer(make_model(words), parts, run_dir=tmp_path / "file" / below).fit(resume=resume)
    assert (tmp_path / "file").read_text() == "mine"


def test_disk_that_fills_up_ends_no_run_and_loses_no_finished_epoch(
    words: Vocabulary,
    parts: Parts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class FillUp(Callback):
        def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            if state.step == 12:
                monkeypatch.setattr(os, "fsync", full_disk)

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    expected = make_model(words)
    history = make_trainer(expected, parts).fit()
    last = make_model(words)
    with caplog.at_level(logging.WARNING, logger="zh_lstm_lm"):
        assert untimed(make_trainer(last, parts, FillUp(), run_dir=tmp_path / "run").fit()) == untimed(history)
    assert len(caplog.messages) == 1
    assert "No space left on device" in caplog.messages[0]
    assert same(weights(last), weights(expected))
    monkeypatch.undo()
    model = make_model(words)
    watcher = Watcher()
    resumed = make_trainer(model, parts, watcher, run_dir=tmp_path / "run").fit(resume=True)
    assert len(watcher.after_updates) == EPOCH  # only the second epoch again
    assert untimed(resumed) == untimed(history)
    assert same(weights(model), weights(expected))


# ---- Ctrl-C


class Interrupt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        if state.step == self.step:
            signal.raise_signal(signal.SIGINT)


def test_interrupt_saves_and_returns(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    expected = make_model(words)
    history = make_trainer(expected, parts).fit()
    before = signal.getsignal(signal.SIGINT)
    trainer = make_trainer(make_model(words), parts, Interrupt(11), run_dir=tmp_path / "run")
    assert [record["epoch"] for record in trainer.fit()] == [1.0]
    assert (trainer.state.step, trainer.state.stop_reason) == (11, "interrupted")
    assert signal.getsignal(signal.SIGINT) is before
    model = make_model(words)
    resumed = make_trainer(model, parts, run_dir=tmp_path / "run").fit(resume=True)
    assert untimed(resumed) == untimed(history)
    assert same(weights(model), weights(expected))


def test_old_handler_comes_back_after_an_error(words: Vocabulary, parts: Parts) -> None:
    model = make_model(words)
    with torch.no_grad():
        model.embedding.weight.fill_(math.inf)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(DataError):
        make_trainer(model, parts).fit()
    assert signal.getsignal(signal.SIGINT) is before
    assert not model.embedding.sparse


class InterruptEvaluation(Callback):
    """Asks to stop inside the n-th evaluation, at one of its windows."""

    def __init__(self, model: LSTMLanguageModel, window: int, signum: int) -> None:
        self.window, self.signum, self.seen = window, signum, 0
        model.embedding.register_forward_hook(self.count)

    def count(self, *details: object) -> None:
        self.seen += torch.is_inference_mode_enabled()
        if self.seen == self.window and torch.is_inference_mode_enabled():
            signal.raise_signal(self.signum)


@pytest.mark.usefixtures("heard_signals")
@pytest.mark.parametrize(
    "signum", [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
)
@pytest.mark.parametrize("window", [1, 3])
def test_interrupt_inside_an_evaluation_saves_before_it(
    words: Vocabulary, parts: Parts, tmp_path: Path, signum: int, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zh_lstm_lm.models.base._WINDOW_TOKENS", 64)
    long = TokenStream.from_texts(["".join(parts[1].texts()) * 20], tokenizer="characters")  # several windows

    def trainer(model: LSTMLanguageModel, *callbacks: Callback) -> Trainer:
        config = make_config(run_dir=tmp_path / "run")
        return Trainer(model, parts[0], long, config, callbacks=callbacks, progress=False)

    expected = make_model(words)
    history = Trainer(expected, parts[0], long, make_config(), progress=False).fit()
    before = signal.getsignal(signum)
    model = make_model(words)
    first = trainer(model, InterruptEvaluation(model, window, signum))
    first.fit()
    assert (first.state.step, first.state.stop_reason, first.state.history) == (EPOCH, "interrupted", [])
    assert signal.getsignal(signum) is before
    model = make_model(words)
    assert untimed(trainer(model).fit(resume=True)) == untimed(history)
    assert same(weights(model), weights(expected))


@pytest.mark.parametrize("way", ["generate", "write"])
def test_callback_that_samples_does_not_hold_an_interrupt_up(
    words: Vocabulary, parts: Parts, tmp_path: Path, way: str
) -> None:
    class Sample(Callback):
        def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            if state.step == 5:
                signal.raise_signal(signal.SIGTERM)
                if way == "generate":
                    Sampler(model).generate("展昭", max_new_tokens=10**9)
                Sampler(model).write(tmp_path / "text.txt", max_new_tokens=10**9)

    expected = make_model(words)
    make_trainer(expected, parts).fit()
    trainer = make_trainer(make_model(words), parts, Sample(), run_dir=tmp_path / "run")
    trainer.fit()
    assert (trainer.state.step, trainer.state.stop_reason) == (5, "interrupted")
    model = make_model(words)
    make_trainer(model, parts, run_dir=tmp_path / "run").fit(resume=True)
    assert same(weights(model), weights(expected))


def test_second_trainer_in_a_run_folder_is_refused(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    class Intruder(Callback):
        def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            with pytest.raises(CheckpointError, match=rf"process {os.getpid()} .* is at work in it"):
                make_trainer(make_model(words), parts, run_dir=tmp_path / "run").fit(resume=True)

    make_trainer(make_model(words), parts, Intruder(), max_steps=2, run_dir=tmp_path / "run").fit()
    assert not (tmp_path / "run" / "lock").exists()


def test_too_little_room_is_told_before_the_first_update(
    words: Vocabulary, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    watcher = Watcher()
    with pytest.raises(CheckpointError, match=r"MB for checkpoints and 0 MB are free"):
        make_trainer(make_model(words), parts, watcher, run_dir=tmp_path / "run").fit()
    assert watcher.after_updates == []


SCRIPT = """
import signal, sys, time
from zh_lstm_lm import Callback, LSTMLanguageModel, ModelConfig, TokenStream, Trainer, TrainerConfig, Vocabulary

stream = TokenStream.from_texts(["展昭道：好大的雪！\\n" * 20], tokenizer="characters")
model = LSTMLanguageModel(Vocabulary.from_stream(stream), ModelConfig(embedding_dim=8, hidden_size=8))
before = signal.getsignal(signal.SIGINT)

class Ready(Callback):
    def on_step_end(self, state, model):
        if state.step == 12:
            print("ready", flush=True)
            time.sleep(float(sys.argv[2]))

config = TrainerConfig(max_steps=1_000_000, batch_size=2, bptt_len=8, run_dir=sys.argv[1])
trainer = Trainer(model, stream, None, config, callbacks=[Ready()], progress=False)
trainer.fit()
assert signal.getsignal(signal.SIGINT) is before
print("after fit", trainer.state.step, trainer.state.stop_reason, flush=True)
"""


def run_script(run_dir: Path, *, pause: float) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(Path(zh_lstm_lm.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(run_dir), str(pause)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        process.kill()
        pytest.fail(process.communicate()[1])
    return process


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a whole console")
@pytest.mark.usefixtures("heard_signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_script_goes_on_after_a_signal(tmp_path: Path, name: str) -> None:
    """After Ctrl-C, and where its terminal has been closed."""
    process = run_script(tmp_path / "run", pause=0.0)
    process.send_signal(getattr(signal, name))
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert err == ""
    words_out = out.split()
    assert words_out[:2] == ["after", "fit"]
    assert words_out[3] == "interrupted"
    step = int(words_out[2])
    assert step >= 12
    assert (tmp_path / "run" / f"checkpoint-{step:08d}").is_dir()


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a whole console")
def test_second_ctrl_c_ends_the_script_at_once(tmp_path: Path) -> None:
    process = run_script(tmp_path / "run", pause=600.0)  # the update after which it would stop never ends
    for _ in range(200):
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=0.25)
            break
        except subprocess.TimeoutExpired:
            continue
    else:
        process.kill()
    out, err = process.communicate(timeout=60)
    assert process.returncode not in (0, -signal.SIGKILL)
    assert "KeyboardInterrupt" in err
    assert "after fit" not in out


def test_training_works_outside_the_main_thread(words: Vocabulary, parts: Parts) -> None:
    models = [make_model(words), make_model(words)]
    thread = threading.Thread(target=make_trainer(models[0], parts, max_steps=3).fit)
    thread.start()
    thread.join()
    make_trainer(models[1], parts, max_steps=3).fit()
    assert same(weights(models[0]), weights(models[1]))


# ---- what goes wrong


@pytest.mark.parametrize(("text", "tokens"), [("\n", 1), ("雪", 2), ("好大的雪！\n雪！\n", 9)])
def test_text_of_next_to_no_tokens_is_an_error(words: Vocabulary, text: str, tokens: int) -> None:
    stream = TokenStream.from_texts([text], tokenizer="characters")
    assert len(stream) == tokens
    with pytest.raises(DataError, match=f"has {tokens} token.*at least 10"):
        Trainer(make_model(words), stream, progress=False).fit()


@pytest.mark.parametrize("batch_size", [None, 8, 64])
def test_very_short_text_can_be_trained_on(words: Vocabulary, batch_size: int | None) -> None:
    stream = TokenStream.from_texts(["好大的雪！\n雪！！\n"], tokenizer="characters")
    assert len(stream) == 10
    config = TrainerConfig(batch_size=batch_size)
    assert len(Trainer(make_model(words), stream, stream, config, progress=False).fit()) == 3


def test_loss_that_is_no_number_is_an_error(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    model = make_model(words)
    with torch.no_grad():
        model.layers[0].get_parameter("weight_hh_l0")[0, 0] = math.inf
    with pytest.raises(DataError, match=r"update 1: the loss is nan.*learning_rate"):
        make_trainer(model, parts, run_dir=tmp_path / "run").fit()
    assert list((tmp_path / "run").glob("checkpoint-*")) == []


def test_a_long_run_has_a_lower_rate_unless_one_is_given(words: Vocabulary, parts: Parts) -> None:
    long: dict[str, Any] = {"max_steps": 24_000, "max_epochs": None, "warmup_steps": 0}
    for given, expected in ((None, 2.5e-3), (4e-3, 4e-3)):
        trainer = make_trainer(make_model(words), parts, StopAt(2), with_valid=False, **long, learning_rate=given)
        trainer.fit()
        assert trainer.state.learning_rate == pytest.approx(expected, rel=1e-3)


def test_huge_learning_rate_is_an_error_that_names_it(words: Vocabulary, parts: Parts) -> None:
    with pytest.raises(DataError, match=r"learning_rate \(now 1e\+38\)"):
        make_trainer(make_model(words), parts, learning_rate=1e38, max_epochs=20).fit()


class Poison(Callback):
    """Makes the weights infinite after one of the updates, a number of times."""

    def __init__(self, step: int = 12, times: int = 1) -> None:
        self.step, self.times = step, times

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        if state.step == self.step and self.times:
            self.times -= 1
            with torch.no_grad():
                model.embedding.weight.fill_(math.inf)


def test_finished_epochs_outlive_a_loss_that_is_no_number(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    expected = make_model(words)
    history = make_trainer(expected, parts).fit()
    with pytest.raises(DataError, match="update 13"):
        make_trainer(make_model(words), parts, Poison(), run_dir=tmp_path / "run").fit()
    model = make_model(words)
    assert untimed(make_trainer(model, parts, run_dir=tmp_path / "run").fit(resume=True)) == untimed(history)
    assert same(weights(model), weights(expected))


def test_advice_of_the_error_can_be_followed(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lower learning_rate .* and resume"):
        make_trainer(make_model(words), parts, Poison(), run_dir=tmp_path / "run").fit()
    trainer = make_trainer(make_model(words), parts, run_dir=tmp_path / "run", learning_rate=1e-3)
    assert [record["epoch"] for record in trainer.fit(resume=True)] == [1.0, 2.0]
    assert trainer.state.learning_rate <= 1e-3


@pytest.mark.parametrize("step", [12, EPOCH, 2 * EPOCH])
def test_weights_that_are_not_finite_are_never_saved(
    words: Vocabulary, parts: Parts, tmp_path: Path, step: int
) -> None:
    """At an epoch's end the evaluation notices, inside one the next update or the checkpoint."""
    with pytest.raises(NonFiniteError, match=r"loss is nan|not finite"):
        make_trainer(make_model(words), parts, Poison(step), run_dir=tmp_path / "run", checkpoint_minutes=1e-9).fit()
    for file in (tmp_path / "run").rglob("*.safetensors"):
        assert all(tensor.isfinite().all() for tensor in safetensors.torch.load(file.read_bytes()).values())
    model, expected = make_model(words), make_model(words)
    make_trainer(model, parts, run_dir=tmp_path / "run", checkpoint_minutes=1e-9).fit(resume=True)
    make_trainer(expected, parts).fit()
    assert same(weights(model), weights(expected))


@pytest.mark.parametrize("step", [3, 12, EPOCH])
def test_run_goes_back_and_on_with_half_the_rate(words: Vocabulary, parts: Parts, tmp_path: Path, step: int) -> None:
    class Rates(Callback):
        def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            rates.append((state.step, state.learning_rate))

    rates: list[tuple[int, float]] = []
    options: dict[str, Any] = {"run_dir": tmp_path / "run", "max_rollbacks": 2, "schedule": "constant"}
    model = make_model(words)
    trainer = make_trainer(model, parts, Poison(step, times=2), Rates(), **options, learning_rate=0.01)
    history = trainer.fit()
    assert [record["epoch"] for record in history] == [1.0, 2.0]
    assert trainer.state.rollbacks == 2
    back = EPOCH if step > EPOCH else 0
    tries = [(number, rate) for rate in (0.01, 0.005) for number in range(back + 1, step + 1)]
    assert [rate for rate in rates if rate[0] > back][: len(tries)] == tries
    assert rates[-1] == (2 * EPOCH, 0.0025)
    resumed = make_model(words)
    assert make_trainer(resumed, parts, **options, learning_rate=0.01).fit(resume=True) == history
    assert same(weights(resumed), weights(model))


def test_run_goes_back_only_so_often(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    options: dict[str, Any] = {"run_dir": tmp_path / "run", "max_rollbacks": 2}
    with pytest.raises(NonFiniteError, match="update 13"):
        make_trainer(make_model(words), parts, Poison(12, times=3), **options).fit()
    with pytest.raises(ConfigError, match="max_rollbacks=1 needs run_dir"):
        TrainerConfig(max_rollbacks=1)


def test_failed_run_leaves_no_gradient_behind(words: Vocabulary, parts: Parts) -> None:
    model = make_model(words)
    before = weights(model)
    with pytest.raises(NonFiniteError):
        make_trainer(model, parts, Poison(1)).fit()
    model.load_state_dict(before)
    expected = make_model(words)
    for each in (model, expected):
        make_trainer(each, parts).fit()
    assert same(weights(model), weights(expected))


def test_perplexity_that_overflows_is_saved(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    """A rate far too high gives losses of many thousands, whose exponential no float holds."""
    options: dict[str, Any] = {"learning_rate": 1e4, "schedule": "constant", "max_epochs": 1}
    history = make_trainer(make_model(words), parts, **options, run_dir=tmp_path / "run").fit()
    assert history[0]["valid_loss"] > 1000
    assert sorted((tmp_path / "run").glob("checkpoint-*"))

    def refuse(name: str) -> None:
        pytest.fail(f"{name} is not JSON")

    lines = (tmp_path / "run" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    written = [json.loads(line, parse_constant=refuse) for line in lines]
    assert written[0]["valid_loss"] == history[0]["valid_loss"]
    again = make_trainer(make_model(words), parts, **options, run_dir=tmp_path / "run").fit(resume=True)
    assert again[0]["valid_loss"] == history[0]["valid_loss"]


def test_wrong_arguments_are_refused(words: Vocabulary, parts: Parts) -> None:
    model, (train, valid) = make_model(words), parts
    wrong: list[tuple[Any, ...]] = [
        ("model", train, valid, None),
        (None, train, valid, None),
        (model, "novels/", valid, None),
        (model, ["展昭"], valid, None),
        (model, None, valid, None),
        (model, train, "novels/", None),
        (model, train, valid, {"max_epochs": 3}),
        (model, train, valid, ModelConfig()),
    ]
    for arguments in wrong:
        with pytest.raises(ConfigError):
            Trainer(*arguments)


@pytest.mark.parametrize("callbacks", [EarlyStopping(), [EarlyStopping], [3], [lambda state, model: None]])
def test_what_is_no_list_of_callbacks_is_refused(words: Vocabulary, parts: Parts, callbacks: Any) -> None:
    with pytest.raises(ConfigError, match="callbacks"):
        Trainer(make_model(words), *parts, callbacks=callbacks)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_epochs", 0),
        ("max_epochs", 1.5),
        ("max_epochs", True),
        ("max_steps", -1),
        ("max_minutes", 0),
        ("max_minutes", math.nan),
        ("batch_size", 0),
        ("bptt_len", 0),
        ("bptt_len", None),
        ("carry_state", 1),
        ("learning_rate", 0),
        ("learning_rate", -1e-3),
        ("learning_rate", math.inf),
        ("learning_rate", "fast"),
        ("schedule", "step"),
        ("warmup_steps", -1),
        ("betas", 0.9),
        ("betas", (0.9,)),
        ("betas", (0.9, 1.0)),
        ("weight_decay", -1e-3),
        ("weight_decay", math.inf),
        ("max_grad_norm", 0),
        ("patience", 0),
        ("seed", -1),
        ("seed", 2**63),
        ("run_dir", 3),
        ("checkpoint_minutes", 0),
        ("keep_last", 0),
        ("device", 0),
    ],
)
def test_options_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        TrainerConfig(**{name: value})


def test_unknown_options_are_refused_with_a_hint() -> None:
    with pytest.raises(ConfigError, match="did you mean 'learning_rate'"):
        TrainerConfig(learningrate=0.1)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="by name"):
        TrainerConfig(3)


def test_config_is_frozen_json() -> None:
    config = TrainerConfig(max_epochs=3, betas=(0.8, 0.9), run_dir="run")
    assert TrainerConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(AttributeError):
        config.max_epochs = 4  # type: ignore[misc]


def test_device_that_is_not_there_is_an_error(words: Vocabulary, parts: Parts) -> None:
    devices = ["gpu", "cuda:99"]
    for device in devices:
        with pytest.raises(ConfigError, match=f"device '{device}'.*device='auto'"):
            make_trainer(make_model(words), parts, device=device).fit()


# ---- on from a model


def test_saved_model_is_trained_on_with_another_text(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    first = make_model(words, dropout=0.0)
    make_trainer(first, parts).fit()
    first.save_pretrained(tmp_path / "first")

    other = TokenStream.from_texts(["黄蓉笑道：“靖哥哥，吃饭了。”\n郭靖道：“好。”\n" * 4], tokenizer="characters")
    model = LSTMLanguageModel.from_pretrained(tmp_path / "first")
    before = evaluate(model, other).bits_per_character
    config = make_config(max_epochs=8, learning_rate=0.02)
    history = Trainer(model, other, other, config, progress=False).fit()
    after = evaluate(model, other).bits_per_character
    assert before is not None
    assert after is not None
    assert after < 0.7 * before
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert model.vocabulary.fingerprint() == words.fingerprint()
    assert len(Sampler(model).generate("郭靖", max_characters=12)) == 12


def test_trainer_can_fit_again(words: Vocabulary, parts: Parts) -> None:
    model = make_model(words, dropout=0.0)
    trainer = make_trainer(model, parts, learning_rate=0.02, with_valid=False)
    first, second = trainer.fit(), trainer.fit()
    assert [record["epoch"] for record in second] == [1.0, 2.0]
    assert second[0]["train_loss"] < first[0]["train_loss"]
    assert first is not second


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_run_goes_on_on_a_cuda_device(words: Vocabulary, parts: Parts, tmp_path: Path) -> None:
    for begun, going_on in (("cuda", "cuda"), ("cpu", "cuda"), ("cuda", "cpu")):
        run = tmp_path / f"{begun}-{going_on}"
        make_trainer(make_model(words), parts, StopAt(11), device=begun, run_dir=run).fit()
        history = make_trainer(make_model(words), parts, device=going_on, run_dir=run).fit(resume=True)
        assert [record["epoch"] for record in history] == [1.0, 2.0]


def test_an_old_checkpoint_that_cannot_be_removed_ends_nothing(
    words: Vocabulary, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path, *, owned: frozenset[str]) -> None:
        raise CheckpointError(f"{path}: cannot be removed")

    monkeypatch.setattr("zh_lstm_lm.training.run_folder.remove_directory", refuse)
    trainer = make_trainer(make_model(words), parts, run_dir=tmp_path, max_epochs=4, keep_last=1)
    assert len(trainer.fit()) == 4
    assert "an old checkpoint stays" in caplog.text
    assert len(list(tmp_path.glob("checkpoint-*"))) == 4
    assert (tmp_path / "best" / "config.json").is_file()
    monkeypatch.undo()
    longer = make_trainer(make_model(words), parts, run_dir=tmp_path, max_epochs=5, keep_last=1)
    assert len(longer.fit(resume=True)) == 5
    assert len(list(tmp_path.glob("checkpoint-*"))) <= 2


def test_without_held_out_text_the_last_epoch_is_told_of(words: Vocabulary, parts: Parts) -> None:
    trainer = make_trainer(make_model(words), parts, with_valid=False, max_epochs=3)
    history = trainer.fit()
    summary = trainer.model.training_summary
    assert (summary["best_epoch"], summary["best_step"]) == (3.0, None)
    assert summary["train_perplexity"] == round(history[-1]["train_perplexity"], 4)


def test_callbacks_may_come_one_by_one(words: Vocabulary, parts: Parts) -> None:
    seen = []

    class Counting(Callback):
        def on_epoch_end(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
            seen.append(state.step)

    Trainer(make_model(words), *parts, make_config(), callbacks=iter([Counting()]), progress=False).fit()  # type: ignore[arg-type]
    assert len(seen) == 2
