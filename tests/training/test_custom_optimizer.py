"""Training with a custom optimizer, schedule and events."""

import csv
import io
import logging
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zh_lstm_lm import (
    Callback,
    CheckpointError,
    ConfigError,
    DataError,
    History,
    LSTMLanguageModel,
    MissingDependencyError,
    ModelConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    TrainerState,
    Vocabulary,
)
from zh_lstm_lm.corpus.batches import IGNORED, TrainingWindows
from zh_lstm_lm.training.callbacks import CSVCallback, TensorBoardCallback

Weights = list[nn.Parameter]
Factory = Callable[[Weights], torch.optim.Optimizer]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def parts(stream: TokenStream) -> tuple[TokenStream, TokenStream]:
    train, valid, _ = stream.split(valid=0.3, test=0.0)
    return train, valid


Make = Callable[..., Trainer]


@pytest.fixture
def make(parts: tuple[TokenStream, TokenStream]) -> Make:
    """Makes a trainer of a tiny model that is the same each time."""

    def make(
        *callbacks: Callback, optimizer: Any = None, schedule: Any = None, valid: bool = True, **options: Any
    ) -> Trainer:
        model = LSTMLanguageModel(Vocabulary.from_stream(parts[0]), ModelConfig(embedding_dim=8, hidden_size=12))
        config = TrainerConfig(**{"max_steps": 10, "batch_size": 2, "bptt_len": 8, "warmup_steps": 0, **options})
        return Trainer(
            model,
            parts[0],
            parts[1] if valid else None,
            config,
            optimizer=optimizer,
            schedule=schedule,
            callbacks=callbacks,
            progress=False,
        )

    return make


class StopAt(Callback):
    """Stops as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        if state.step == self.step:
            state.request_stop("interrupted")


class Rates(Callback):
    """Keeps the learning rate of every update."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        self.rates.append(state.learning_rate)


def weights(model: LSTMLanguageModel) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def adamw(weights: Weights) -> torch.optim.Optimizer:
    return torch.optim.AdamW(weights, lr=0.01, weight_decay=0.1)


def triangle(step: int, num_steps: int) -> float:
    return 1 - abs(2 * step / num_steps - 1) + 0.1


# ---- the optimizer


def test_a_run_equals_the_loop_that_one_would_write(make: Make, parts: tuple[TokenStream, TokenStream]) -> None:
    trainer = make(optimizer=adamw, schedule=triangle, valid=False, max_grad_norm=0.5, max_steps=5)
    model = make().model.train()
    # Dropout has a generator of its own in a run.
    for each in (trainer.model, model):
        for module in each.modules():
            if hasattr(module, "p"):
                setattr(module, "p", 0.0)  # noqa: B010
    optimizer = adamw(list(model.parameters()))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: triangle(step, 5))
    vocabulary = model.vocabulary
    windows = TrainingWindows(vocabulary.encode_stream(parts[0]), batch_size=2, bptt_len=8, bos_id=vocabulary.bos_id)
    carried = model.initial_state(2)
    generator = torch.Generator().manual_seed(0)
    for step in range(5):
        batch = windows[step % len(windows)]
        if step % len(windows) == 0:
            carried = model.initial_state(2)
        counted = int((batch.targets != IGNORED).sum())
        loss, carried = model.loss(batch.inputs, batch.targets, carried, num_targets=counted, generator=generator)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        carried = carried.detach()
    before = weights(make().model)
    trainer.fit()
    for name, weight in weights(trainer.model).items():
        torch.testing.assert_close(weight, model.state_dict()[name])
        assert not torch.equal(weight, before[name]), "all weights learn"


FACTORIES: dict[str, Factory] = {
    "AdamW": adamw,
    "AMSGrad": lambda weights: torch.optim.AdamW(weights, lr=0.01, amsgrad=True),
    "SGD": lambda weights: torch.optim.SGD(weights, lr=0.5, momentum=0.9, nesterov=True),
    "plain SGD": lambda weights: torch.optim.SGD(weights, lr=0.5),
    "NAdam": lambda weights: torch.optim.NAdam(weights, lr=0.01),
    "RAdam": lambda weights: torch.optim.RAdam(weights, lr=0.01),
    "Adagrad": lambda weights: torch.optim.Adagrad(weights, lr=0.05),
    "RMSprop": lambda weights: torch.optim.RMSprop(weights, lr=0.01, centered=True, momentum=0.5),
    "Adafactor": lambda weights: torch.optim.Adafactor(weights, lr=0.01),
    "ASGD": lambda weights: torch.optim.ASGD(weights, lr=0.5),
    "a class": torch.optim.Adam,
    "groups": lambda weights: torch.optim.AdamW(
        [{"params": weights[:1], "lr": 0.05}, {"params": weights[1:], "weight_decay": 0.1}], lr=0.01
    ),
    "some weights": lambda weights: torch.optim.AdamW(weights[1:], lr=0.01),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(name: str, make: Make, tmp_path: Path) -> None:
    own = {"optimizer": FACTORIES[name], "schedule": triangle}
    whole = make(**own, run_dir=tmp_path / "whole")
    whole.fit()
    make(StopAt(3), **own, run_dir=tmp_path / "parts").fit()
    folder = next((tmp_path / "parts").glob("checkpoint-*3"))
    assert {file.suffix for file in folder.iterdir()} == {".json", ".safetensors"}, "nothing is pickled"
    resumed = make(**own, run_dir=tmp_path / "parts")
    resumed.fit(resume=True)
    assert resumed.state.step == 10
    assert same(weights(whole.model), weights(resumed.model))
    again = make(**own, run_dir=tmp_path / "parts")
    again.fit(resume=True)
    assert same(weights(again.model), weights(resumed.model)), "a finished run is only loaded"


def test_a_forgotten_state_would_be_seen(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"optimizer": adamw, "schedule": triangle}
    whole = make(**own)
    whole.fit()
    make(StopAt(3), **own, run_dir=tmp_path).fit()
    monkeypatch.setattr(torch.optim.Optimizer, "load_state_dict", lambda self, state: None)
    resumed = make(**own, run_dir=tmp_path)
    resumed.fit(resume=True)
    assert not same(weights(whole.model), weights(resumed.model))


def test_a_run_can_roll_back_with_its_optimizer(make: Make, tmp_path: Path) -> None:
    class Break(Callback):
        done = False

        def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            if state.step == 6 and not self.done:
                self.done = True
                with torch.no_grad():
                    model.embedding.weight.fill_(math.nan)

    rates = Rates()
    trainer = make(Break(), rates, optimizer=adamw, schedule=lambda step, n: 1.0, run_dir=tmp_path, max_rollbacks=1)
    trainer.fit()
    assert trainer.state.rollbacks == 1
    assert set(rates.rates) == {0.01, 0.005}


def test_weights_that_the_optimizer_was_not_given_stay(make: Make) -> None:
    trainer = make(optimizer=lambda weights: torch.optim.SGD(weights[1:], lr=1.0))
    name, first = next(iter(trainer.model.named_parameters()))
    before = first.detach().clone()
    trainer.fit()
    assert torch.equal(trainer.model.get_parameter(name), before)


def test_the_rates_of_groups_keep_their_proportion(make: Make) -> None:
    seen = []

    class Watched(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            seen.append([group["lr"] for group in self.param_groups])
            super().step(closure)

    def factory(weights: Weights) -> torch.optim.Optimizer:
        groups: list[dict[str, Any]] = [{"params": weights[:1], "lr": 0.25}, {"params": weights[1:]}]
        return Watched(groups, lr=0.5)

    trainer = make(optimizer=factory, schedule=lambda step, n: 1 - step / n, max_steps=4)
    trainer.fit()
    assert seen == [[0.25 * factor, 0.5 * factor] for factor in (1.0, 0.75, 0.5, 0.25)]
    assert trainer.state.history[-1]["learning_rate"] == 0.125


def test_without_a_schedule_the_rates_follow_that_of_the_options(make: Make) -> None:
    own, default = Rates(), Rates()
    make(own, optimizer=adamw, warmup_steps=4).fit()
    make(default, learning_rate=0.01, warmup_steps=4).fit()
    assert own.rates == default.rates
    assert own.rates[0] == pytest.approx(0.0025, rel=0.1)


@pytest.mark.parametrize(
    ("optimizer", "told"),
    [
        (torch.optim.AdamW([torch.zeros(1, requires_grad=True)]), "must be a function of the weights"),
        (lambda weights: None, "must return a torch.optim.Optimizer, got None"),
        (torch.optim.LBFGS, "LBFGS needs a closure"),
        (torch.optim.SparseAdam, "SparseAdam needs a closure or sparse gradients"),
        (lambda weights: torch.optim.SGD(weights, lr=0.0), "lr must be greater than 0"),
        (lambda weights: torch.optim.SGD(weights, lr=math.inf), "lr must be at least 0, and finite, got inf"),
        (lambda weights: torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0), "not among those"),
    ],
)
def test_what_is_no_factory_is_refused(optimizer: Any, told: str, make: Make) -> None:
    with pytest.raises(ConfigError, match=told):
        make(optimizer=optimizer).fit()


@pytest.mark.parametrize("options", [{"learning_rate": 0.01}, {"betas": (0.9, 0.99)}, {"weight_decay": 0.1}])
def test_options_of_the_default_optimizer_are_refused(options: dict[str, Any], make: Make) -> None:
    with pytest.raises(
        ConfigError, match=f"{next(iter(options))}=.* belongs to the default optimizer; give it to yours"
    ):
        make(optimizer=adamw, **options)


class Odd(torch.optim.SGD):
    """Keeps what cannot be saved."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step(closure)
        self.state[self.param_groups[0]["params"][0]]["odd"] = object()


def test_a_state_that_cannot_be_saved_is_warned_of(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make(optimizer=lambda weights: Odd(weights, lr=0.1), run_dir=tmp_path)
    trainer.fit()
    assert trainer.state.stop_reason == "finished"
    assert "state_dict/state/0/odd is <object" in caplog.text
    assert list(tmp_path.glob("checkpoint-*")) == []


# ---- the identity of a run


def other_decay(weights: Weights) -> torch.optim.Optimizer:
    return torch.optim.AdamW(weights, lr=0.01, weight_decay=0.2)


@pytest.mark.parametrize(
    ("optimizer", "schedule", "told"),
    [
        (None, triangle, "begun with optimizer={'class': 'torch.optim.adamw.AdamW'.*got None"),
        (torch.optim.SGD, triangle, r"begun with optimizer=.*got {'class': 'torch.optim.sgd.SGD'"),
        (other_decay, triangle, "begun with optimizer=.*'weight_decay': 0.2"),
        (lambda weights: adamw(weights[1:]), triangle, "begun with optimizer="),
        (adamw, None, "begun with schedule={'function': .*got '[a-z]+'"),
        (adamw, lambda step, n: 1 - step / n, "begun with schedule={'function': .*got {'function'"),
    ],
)
def test_a_run_is_resumed_with_its_own_optimizer_and_schedule_alone(
    optimizer: Any, schedule: Any, told: str, make: Make, tmp_path: Path
) -> None:
    make(StopAt(3), optimizer=adamw, schedule=triangle, run_dir=tmp_path).fit()
    with pytest.raises(CheckpointError, match=told):
        make(optimizer=optimizer, schedule=schedule, run_dir=tmp_path).fit(resume=True)


@pytest.mark.parametrize("own", [{"optimizer": adamw}, {"schedule": triangle}])
def test_a_run_with_the_defaults_is_not_resumed_with_ones_own(own: dict[str, Any], make: Make, tmp_path: Path) -> None:
    make(StopAt(3), run_dir=tmp_path).fit()
    with pytest.raises(CheckpointError, match=f"begun with {next(iter(own))}="):
        make(**own, run_dir=tmp_path).fit(resume=True)


def test_another_rate_and_another_budget_are_permitted(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = [1.0] * 10

    make(StopAt(3), optimizer=adamw, schedule=lambda step, n: table[step], run_dir=tmp_path).fit()
    rates = Rates()
    longer = make(
        rates,
        optimizer=lambda weights: torch.optim.AdamW(weights, lr=0.005, weight_decay=0.1),
        schedule=lambda step, n: (table * 2)[step],
        run_dir=tmp_path,
        max_steps=12,
    )
    longer.fit(resume=True)
    assert rates.rates == [0.005] * 9
    assert "begun with learning_rate=0.01, goes on with 0.005" in caplog.text


# ---- the schedule


def test_a_schedule_sees_the_updates_made_and_those_of_the_run(make: Make) -> None:
    seen, rates = [], Rates()

    def schedule(step: int, num_steps: int) -> float:
        seen.append((step, num_steps))
        return 1 / (1 + step)

    make(rates, schedule=schedule, learning_rate=0.5, max_steps=4, warmup_steps=100).fit()
    assert seen == [(step, 4) for step in range(4)]
    assert rates.rates == [0.5 / (1 + step) for step in range(4)]


def test_under_a_time_budget_the_number_of_updates_is_an_estimate(make: Make) -> None:
    seen = []

    def schedule(step: int, num_steps: int) -> float:
        seen.append((step, num_steps))
        return 1.0

    trainer = make(schedule=schedule, max_steps=None, max_minutes=0.02)
    trainer.fit()
    assert seen[0] == (0, 1_000_000)
    assert seen[-1][1] == pytest.approx(trainer.state.step, rel=0.2)


@pytest.mark.parametrize("factor", [-0.1, math.nan, math.inf, None, "1"])
def test_a_factor_that_is_none_is_refused(factor: Any, make: Make) -> None:
    with pytest.raises(ConfigError, match=r"schedule\(3, 10\) must be a"):
        make(schedule=lambda step, n: factor if step == 3 else 1.0).fit()


def test_what_is_no_schedule_is_refused(make: Make) -> None:
    with pytest.raises(ConfigError, match=r"schedule must be a function, such as lambda.*got 'cosine'"):
        make(schedule="cosine")


# ---- the events


class Events(Callback):
    def __init__(self, folder: Path) -> None:
        self.calls: list[str] = []
        self.folder = folder

    def on_step_begin(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        self.calls.append(f"begin {state.step}")

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        self.calls.append(f"end {state.step}")

    def on_evaluate(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        self.calls.append(f"evaluate {record['step']}")

    def on_epoch_end(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        self.calls.append(f"epoch {record['step']}")

    def on_save(self, state: TrainerState, model: LSTMLanguageModel, folder: Path) -> None:
        assert folder.parent == self.folder
        assert (folder / "model.safetensors").is_file()
        self.calls.append(f"save {state.step}")


def test_the_events_come_in_their_order(make: Make, tmp_path: Path) -> None:
    events = Events(tmp_path)
    trainer = make(events, max_steps=None, max_epochs=1, eval_steps=3, run_dir=tmp_path)
    trainer.fit()
    last = trainer.state.steps_per_epoch
    expected = []
    for step in range(last):
        expected += [f"begin {step}", f"end {step + 1}"]
        if (step + 1) % 3 == 0 or step + 1 == last:
            expected.append(f"evaluate {step + 1}")
            expected += [f"epoch {step + 1}"] * (step + 1 == last)
            expected.append(f"save {step + 1}")
    assert last > 4
    assert events.calls == expected


def test_a_run_that_a_callback_ends_at_an_evaluation_has_its_last_event(make: Make, tmp_path: Path) -> None:
    class Stop(Callback):
        def on_evaluate(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
            state.request_stop("enough")

    events = Events(tmp_path)
    make(events, Stop(), eval_steps=3, run_dir=tmp_path).fit()
    assert events.calls[-3:] == ["evaluate 3", "epoch 3", "save 3"]


def test_a_checkpoint_that_could_not_be_written_is_no_event(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    events = Events(tmp_path)
    trainer = make(events, run_dir=tmp_path)

    def full(*arguments: Any) -> None:
        raise CheckpointError("no space left on device")

    monkeypatch.setattr("zh_lstm_lm.training.run_folder.write_checkpoint", full)
    trainer.fit()
    assert "no space left on device; training goes on" in caplog.text
    assert not [call for call in events.calls if call.startswith("save")]


def test_a_rate_that_a_callback_changes_is_that_of_the_update(make: Make) -> None:
    class Halve(Callback):
        def on_step_begin(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            if state.step == 2:
                state.learning_rate *= 0.5

    rates, halved = Rates(), Rates()
    constant = {"learning_rate": 0.01, "schedule": None, "max_steps": 4}
    first = make(rates, **constant)
    first.fit()
    second = make(Halve(), halved, **constant)
    second.fit()
    assert halved.rates == [rate * (0.5 if step == 2 else 1.0) for step, rate in enumerate(rates.rates)]
    assert not same(weights(first.model), weights(second.model))
    assert second.state.curve[2]["learning_rate"] == halved.rates[2]


def test_a_rate_that_is_none_is_refused(make: Make) -> None:
    class Break(Callback):
        def on_step_begin(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            state.learning_rate = -1.0

    with pytest.raises(ConfigError, match=r"state\.learning_rate must be at least 0, and finite, got -1\.0"):
        make(Break()).fit()


# ---- logs for other programs


def test_rows_of_a_history_have_the_same_columns() -> None:
    history = History([{"step": 1, "valid_loss": 2.0}, {"step": 2, "sample": "雪", "valid_parts": [{"part": "a"}]}])
    assert history.to_rows() == [
        {"step": 1, "valid_loss": 2.0, "sample": None},
        {"step": 2, "valid_loss": None, "sample": "雪"},
    ]
    assert History().to_rows() == []


def test_pandas_takes_the_rows(make: Make) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is no dependency of the tests")
    history = make(eval_steps=3).fit()
    frame = pandas.DataFrame(history.to_rows())
    assert frame["step"].tolist() == [record["step"] for record in history]
    assert frame["valid_loss"].dtype == "float64"
    assert frame["valid_loss"].min() == pytest.approx(min(record["valid_loss"] for record in history))


def test_the_table_holds_every_evaluation_also_of_a_resumed_run(make: Make, tmp_path: Path) -> None:
    run = {"run_dir": tmp_path / "run", "eval_steps": 3}
    path = tmp_path / "history.csv"
    make(CSVCallback(path), StopAt(4), **run).fit()
    history = make(CSVCallback(path), **run).fit(resume=True)
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    assert [int(row["step"]) for row in rows] == [record["step"] for record in history]
    assert len(rows) > 2
    for row, record in zip(rows, history, strict=True):
        assert float(row["valid_loss"]) == record["valid_loss"]


def test_a_table_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        CSVCallback(tmp_path / "no" / "history.csv")
    with pytest.raises(ConfigError, match="path must be a str or PathLike"):
        CSVCallback(3)  # type: ignore[arg-type]


def test_tensorboard_reads_what_was_written(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is no dependency of the tests")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, events = {"run_dir": tmp_path / "run", "eval_steps": 3}, tmp_path / "events"
    make(TensorBoardCallback(events), StopAt(4), **run).fit()
    trainer = make(TensorBoardCallback(events), **run)
    history = trainer.fit(resume=True)
    read = EventAccumulator(str(events))
    read.Reload()
    valid = {event.step: event.value for event in read.Scalars("valid/loss")}
    assert valid == pytest.approx({record["step"]: record["valid_loss"] for record in history}, rel=1e-6)
    curve = {event.step: event.value for event in read.Scalars("train/loss")}
    expected = {record["step"]: record["loss_sum"] / record["num_targets"] for record in trainer.state.curve}
    assert curve == pytest.approx(expected, rel=1e-6)
    rates = {event.step: event.value for event in read.Scalars("train/learning_rate")}
    assert rates == pytest.approx({record["step"]: record["learning_rate"] for record in trainer.state.curve}, rel=1e-6)


def test_without_tensorboard_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'zh-lstm-lm\[tensorboard\]'"):
        TensorBoardCallback(tmp_path)


def test_the_logs_of_a_failed_run_are_closed(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is no dependency of the tests")

    class Fail(Callback):
        def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            raise ZeroDivisionError

    callback = TensorBoardCallback(tmp_path)
    with caplog.at_level(logging.ERROR), pytest.raises(ZeroDivisionError):
        make(callback, Fail()).fit()
    assert callback._writer is None
