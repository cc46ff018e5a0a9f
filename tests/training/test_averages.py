"""The averages of the weights: what they are of, what sees them, and that a run goes on from where it was."""

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from zh_lstm_lm import (
    Callback,
    LSTMLanguageModel,
    ModelConfig,
    NonFiniteError,
    TokenStream,
    Trainer,
    TrainerConfig,
    TrainerState,
    Vocabulary,
    evaluate,
)

STEPS = 180

pytestmark = pytest.mark.usefixtures("one_thread")


class Watcher(Callback):
    """Keeps the weights after every update and of every evaluation; may stop the run, as Ctrl-C does, or spoil it."""

    def __init__(self, stop: int | None = None, spoil: int | None = None) -> None:
        self.stop, self.spoil = stop, spoil
        self.updated: list[dict[str, Tensor]] = []
        self.evaluated: dict[int, dict[str, Tensor]] = {}

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        self.updated.append(weights(model))
        if state.step == self.stop:
            state.request_stop("interrupted")
        if state.step == self.spoil:
            self.spoil = None
            with torch.no_grad():
                next(model.parameters()).fill_(float("nan"))

    def on_evaluate(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        self.evaluated[state.step] = weights(model)


def weights(model: LSTMLanguageModel) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def make_model(vocabulary: Vocabulary, **options: Any) -> LSTMLanguageModel:
    return LSTMLanguageModel(vocabulary, ModelConfig(**{"embedding_dim": 6, "hidden_size": 8, **options}))


def fit(
    model: LSTMLanguageModel,
    train: TokenStream,
    valid: TokenStream | None = None,
    *,
    watcher: Watcher | None = None,
    resume: bool = False,
    **options: Any,
) -> Trainer:
    config = TrainerConfig(**{"max_steps": STEPS, "batch_size": 2, "bptt_len": 6, "eval_steps": 70, **options})
    trainer = Trainer(model, train, valid, config, callbacks=[watcher or Watcher()], progress=False)
    trainer.fit(resume=resume)
    return trainer


def averaged(updated: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of the weights from update 100 on, each counted as the power of 4 of its update, in double precision."""
    shares = torch.tensor([float(step) ** 4 if step >= 100 else 0.0 for step in range(1, len(updated) + 1)]).double()
    shares /= shares.sum()
    return {
        name: torch.stack([share * each[name].double() for share, each in zip(shares, updated, strict=True)]).sum(0)
        for name in updated[0]
    }


def furthest(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """The greatest difference of two sets of weights, over all of them."""
    assert ours.keys() == theirs.keys()
    return max(float((ours[name].double() - theirs[name].double()).abs().max()) for name in ours)


def test_the_model_ends_with_averages_that_follow_its_weights(vocabulary: Vocabulary, stream: TokenStream) -> None:
    watcher, model = Watcher(), make_model(vocabulary)
    fit(model, stream, watcher=watcher, schedule="constant")
    expected = averaged(watcher.updated)
    # The first weights that are averaged stand for those before, and only every few later ones are.
    moved = furthest(watcher.updated[-1], watcher.updated[STEPS // 2])
    assert furthest(weights(model), expected) < 0.1 * moved
    assert furthest(weights(model), watcher.updated[-1]) > 0.2 * moved
    assert furthest(weights(model), averaged(watcher.updated[: STEPS - 30])) > 0.2 * moved


def test_averages_have_a_lower_loss_while_the_rate_is_high(vocabulary: Vocabulary, stream: TokenStream) -> None:
    train, valid, _ = stream.split(valid=0.3, test=0.0)
    losses = []
    for average in (True, False):
        model = make_model(vocabulary, dropout=0.0)
        fit(model, train, schedule="constant", learning_rate=0.02, average_weights=average)
        losses.append(evaluate(model, valid).loss)
    assert losses[0] < losses[1] - 0.1


def test_updates_go_on_from_the_weights_themselves(vocabulary: Vocabulary, stream: TokenStream) -> None:
    watchers = [Watcher(), Watcher()]
    for watcher, average in zip(watchers, (True, False), strict=True):
        fit(make_model(vocabulary), stream, stream, watcher=watcher, average_weights=average)
    with_averages, without = watchers
    assert furthest(with_averages.updated[-1], without.updated[-1]) == 0
    assert all(furthest(each, without.updated[step - 1]) == 0 for step, each in without.evaluated.items())
    assert list(with_averages.evaluated) == list(without.evaluated)
    for step, each in with_averages.evaluated.items():
        assert (furthest(each, with_averages.updated[step - 1]) > 0) is (step > 100)


@pytest.mark.parametrize(
    ("kind", "options"), [({}, {"max_steps": 99}), ({}, {"average_weights": False}), ({"dtype": "bfloat16"}, {})]
)
def test_short_runs_weights_of_16_bits_and_runs_that_ask_have_no_averages(
    vocabulary: Vocabulary, stream: TokenStream, kind: dict[str, Any], options: dict[str, Any]
) -> None:
    watcher, model = Watcher(), make_model(vocabulary, **kind)
    fit(model, stream, watcher=watcher, **options)
    assert furthest(weights(model), watcher.updated[-1]) == 0


def test_an_optimizer_of_ones_own_has_no_averages(vocabulary: Vocabulary, stream: TokenStream) -> None:
    watcher, model = Watcher(), make_model(vocabulary)
    config = TrainerConfig(max_steps=120, batch_size=2, bptt_len=6)

    def sgd(given: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(given, lr=0.1)

    Trainer(model, stream, None, config, optimizer=sgd, callbacks=[watcher], progress=False).fit()
    assert furthest(weights(model), watcher.updated[-1]) == 0


def test_frozen_weights_stay(vocabulary: Vocabulary, stream: TokenStream) -> None:
    model = make_model(vocabulary)
    model.embedding.requires_grad_(False)
    before = weights(model)
    fit(model, stream, max_steps=120)
    changed = {name for name, each in weights(model).items() if not torch.equal(each, before[name])}
    assert changed == {name for name in before if not name.startswith("embedding.")}


@pytest.mark.parametrize(
    ("kind", "stop"),
    [({}, 50), ({}, 113), ({"output": "adaptive", "cutoffs": (20, 60)}, 113), ({"dtype": "bfloat16"}, 113)],
)
def test_a_resumed_run_ends_as_if_it_had_not_stopped(
    vocabulary: Vocabulary, stream: TokenStream, tmp_path: Path, kind: dict[str, Any], stop: int
) -> None:
    whole, resumed = make_model(vocabulary, **kind), make_model(vocabulary, **kind)
    fit(whole, stream, stream, run_dir=str(tmp_path / "whole"))
    fit(make_model(vocabulary, **kind), stream, stream, watcher=Watcher(stop=stop), run_dir=str(tmp_path / "run"))
    fit(resumed, stream, stream, run_dir=str(tmp_path / "run"), resume=True)
    assert furthest(weights(resumed), weights(whole)) == 0
    files = [sorted((tmp_path / run).glob("checkpoint-*"))[-1] for run in ("whole", "run")]
    for name in ("model.safetensors", "optimizer.safetensors", "carried.safetensors"):
        assert (files[0] / name).read_bytes() == (files[1] / name).read_bytes()


def test_what_is_saved_is_what_was_evaluated(vocabulary: Vocabulary, stream: TokenStream, tmp_path: Path) -> None:
    watcher, model = Watcher(), make_model(vocabulary)
    trainer = fit(model, stream, stream, watcher=watcher, run_dir=str(tmp_path / "run"))
    best = LSTMLanguageModel.from_pretrained(tmp_path / "run" / "best")
    record = trainer.state.best_record
    assert furthest(weights(best), weights(model)) == 0
    assert evaluate(best, stream).loss == pytest.approx(record["valid_loss"], rel=1e-6)
    checkpoint = sorted((tmp_path / "run").glob("checkpoint-*"))[-1]
    saved = safetensors.torch.load_file(checkpoint / "model.safetensors")
    assert furthest(saved, watcher.evaluated[STEPS]) == 0
    last = safetensors.torch.load_file(checkpoint / "optimizer.safetensors")
    assert all(torch.equal(last[f"{name}/last"], each) for name, each in watcher.updated[-1].items())


def test_a_run_of_an_earlier_version_goes_on_with_averages_of_its_own(
    vocabulary: Vocabulary, stream: TokenStream, tmp_path: Path
) -> None:
    """Its checkpoints hold the weights alone, as those of short runs do."""
    run = str(tmp_path / "run")
    fit(make_model(vocabulary), stream, run_dir=run, max_steps=90)
    watcher, model = Watcher(), make_model(vocabulary)
    fit(model, stream, watcher=watcher, run_dir=run, resume=True, max_steps=150)
    assert len(watcher.updated) == 60
    assert furthest(weights(model), watcher.updated[-1]) > 0


def test_a_run_that_rolls_back_goes_back_to_its_averages(
    vocabulary: Vocabulary, stream: TokenStream, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"max_rollbacks": 1, "schedule": "constant"}
    model = make_model(vocabulary)
    watcher = Watcher(spoil=150)
    trainer = fit(model, stream, stream, watcher=watcher, run_dir=str(tmp_path / "run"), **options)
    assert trainer.state.rollbacks == 1
    assert all(each.isfinite().all() for each in weights(model).values())
    with pytest.raises(NonFiniteError):
        fit(make_model(vocabulary), stream, stream, watcher=Watcher(spoil=150))
