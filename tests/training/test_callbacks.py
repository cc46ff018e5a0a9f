import io
import math
import re
import sys
from typing import Any

import pytest

from zh_lstm_lm import (
    Callback,
    ConfigError,
    EarlyStopping,
    History,
    LSTMLanguageModel,
    ModelConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    TrainerState,
    Vocabulary,
)
from zh_lstm_lm.training.callbacks import ProgressCallback, notify

Parts = tuple[TokenStream, TokenStream]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def parts(stream: TokenStream) -> Parts:
    train, valid, _ = stream.split(valid=0.3, test=0.0)
    return train, valid


class Recorder(Callback):
    """Writes down every call in a list that callbacks may share."""

    def __init__(self, calls: list[str], name: str = "") -> None:
        self.calls = calls
        self.name = name

    def on_train_begin(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        self.calls.append(f"{self.name}begin {state.step}")

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        self.calls.append(f"{self.name}step {state.step}")

    def on_epoch_end(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        assert record == state.history[-1]
        self.calls.append(f"{self.name}epoch {record['epoch']:g}")

    def on_train_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        self.calls.append(f"{self.name}end {state.step}")


def make_trainer(parts: Parts, *callbacks: Callback, progress: bool = False, **options: Any) -> Trainer:
    model = LSTMLanguageModel(
        Vocabulary.from_stream(parts[0]), ModelConfig(embedding_dim=8, hidden_size=12, dropout=0.0)
    )
    config = TrainerConfig(**{"max_epochs": 2, "batch_size": 4, "bptt_len": 8, "warmup_steps": 0, **options})
    return Trainer(model, parts[0], parts[1], config, callbacks=callbacks, progress=progress)


def test_callbacks_are_called_at_every_event(parts: Parts) -> None:
    calls: list[str] = []
    trainer = make_trainer(parts, Recorder(calls))
    trainer.fit()
    epoch = trainer.state.steps_per_epoch
    assert epoch >= 3
    expected = ["begin 0"]
    expected += [f"step {step}" for step in range(1, epoch + 1)] + ["epoch 1"]
    expected += [f"step {step}" for step in range(epoch + 1, 2 * epoch + 1)] + ["epoch 2", f"end {2 * epoch}"]
    assert calls == expected


def test_run_that_ends_inside_an_epoch_is_evaluated_too(parts: Parts) -> None:
    calls: list[str] = []
    trainer = make_trainer(parts, Recorder(calls), max_steps=2)
    trainer.fit()
    share = round(2 / trainer.state.steps_per_epoch, 4)
    assert calls == ["begin 0", "step 1", "step 2", f"epoch {share:g}", "end 2"]


def test_callbacks_are_called_in_the_order_given(parts: Parts) -> None:
    calls: list[str] = []
    make_trainer(parts, Recorder(calls, "a "), Recorder(calls, "b "), max_steps=1).fit()
    assert [call[0] for call in calls] == ["a", "b"] * 4
    assert [call[2:] for call in calls[::2]] == [call[2:] for call in calls[1::2]]


def test_callbacks_see_the_model_and_the_best_weights_at_the_end(parts: Parts) -> None:
    class Watcher(Callback):
        def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            assert model is trainer.model
            assert model.training
            assert state is trainer.state

        def on_train_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            assert not model.training
            ended.append(True)

    ended: list[bool] = []
    trainer = make_trainer(parts, Watcher())
    trainer.fit()
    assert ended == [True]


def test_any_callback_can_stop_the_run(parts: Parts) -> None:
    class Stop(Callback):
        def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            if state.step == 2:
                state.request_stop("enough")

    trainer = make_trainer(parts, Stop())
    history = trainer.fit()
    assert trainer.state.stop_reason == "enough"
    assert [record["step"] for record in history] == [2]  # the begun epoch is evaluated


def test_error_in_a_callback_reaches_the_caller(parts: Parts) -> None:
    class Broken(Callback):
        def on_epoch_end(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        make_trainer(parts, Broken()).fit()


def test_base_class_does_nothing(parts: Parts) -> None:
    assert make_trainer(parts, Callback()).fit()[-1]["train_loss"] == make_trainer(parts).fit()[-1]["train_loss"]


def test_notify_calls_every_callback(model: LSTMLanguageModel) -> None:
    calls: list[str] = []
    notify([Recorder(calls, "a "), Recorder(calls, "b ")], "on_train_begin", TrainerState(step=3), model)
    assert calls == ["a begin 3", "b begin 3"]


def stopped_after(stopping: EarlyStopping, losses: list[float | None], model: LSTMLanguageModel) -> int | None:
    """The number of evaluations after which a run with these held-out losses is stopped."""
    state = TrainerState()
    for number, loss in enumerate(losses, start=1):
        state.history.append({"epoch": float(number), **({} if loss is None else {"valid_loss": loss})})
        stopping.on_evaluate(state, model, state.history[-1])
        if state.stop_reason is not None:
            assert "validation loss" in state.stop_reason
            return number
    return None


@pytest.mark.parametrize(
    ("patience", "min_delta", "losses", "expected"),
    [
        (1, 0.0, [3.0, 2.0, 2.5, 1.0], 3),
        (2, 0.0, [3.0, 2.0, 2.5, 1.0, 1.5, 1.2, 0.5], 6),
        (3, 0.0, [3.0, 4.0, 5.0, 6.0, 1.0], 4),
        (1, 0.0, [3.0, 3.0], 2),  # no lower is no better
        (1, 0.0, [3.0, 2.9, 2.8], None),
        (1, 0.5, [3.0, 2.6, 2.4], 2),
        (2, 0.5, [3.0, 2.6, 2.4, 2.0, 1.95], 5),
        (2, 0.0, [math.nan, math.nan, 1.0], 2),
        (1, 0.0, [None, None, None, None], None),
    ],
)
def test_early_stopping_waits_for_a_lower_loss(
    patience: int, min_delta: float, losses: list[float | None], expected: int | None, model: LSTMLanguageModel
) -> None:
    assert stopped_after(EarlyStopping(patience, min_delta=min_delta), losses, model) == expected


def test_early_stopping_looks_only_at_the_history(model: LSTMLanguageModel) -> None:
    """A new callback, as in a resumed run, decides as the old one would have."""
    state = TrainerState(history=History([{"valid_loss": loss} for loss in (2.0, 2.5, 2.2)]))
    EarlyStopping(2).on_evaluate(state, model, state.history[-1])
    assert state.stop_reason is not None


@pytest.mark.parametrize("options", [{"patience": 0}, {"patience": 1.5}, {"min_delta": -1.0}, {"min_delta": "x"}])
def test_early_stopping_refuses_what_is_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        EarlyStopping(**options)


def shown_perplexities(line: str) -> dict[str, float]:
    found = re.findall(r"(train|valid) perplexity ([\d,.]+)", line)
    return {name: float(number.replace(",", "")) for name, number in found}


@pytest.mark.parametrize("with_tqdm", [True, False])
def test_progress_prints_the_perplexities_of_every_epoch(
    parts: Parts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, with_tqdm: bool
) -> None:
    if with_tqdm:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    history = make_trainer(parts, progress=True).fit()
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert len(lines) == len(history) == 2
    for line, record in zip(lines, history, strict=True):
        assert line.startswith(f"epoch {record['epoch']:g} ")
        shown = shown_perplexities(line)
        assert shown["train"] == pytest.approx(record["train_perplexity"], abs=0.006)
        assert shown["valid"] == pytest.approx(record["valid_perplexity"], abs=0.006)
        assert f"({record['train_bits_per_character']:.3f} bits/character)" in line
        assert f"({record['valid_bits_per_character']:.3f} bits/character)" in line
    assert printed.err == ""  # it is no terminal


def test_without_held_out_text_only_training_is_shown(parts: Parts, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = make_trainer(parts)
    Trainer(trainer.model, parts[0], None, trainer.config).fit()
    for line in capsys.readouterr().out.splitlines():
        assert set(shown_perplexities(line)) == {"train"}


def test_closed_vocabulary_shows_no_bits_per_character(parts: Parts, capsys: pytest.CaptureFixture[str]) -> None:
    vocabulary = Vocabulary.from_stream(parts[0], unknown="unk", min_freq=2)
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=12))
    Trainer(model, parts[0], parts[1], TrainerConfig(max_epochs=1, batch_size=4, bptt_len=8)).fit()
    printed = capsys.readouterr().out
    assert set(shown_perplexities(printed)) == {"train", "valid"}
    assert "bits" not in printed
    assert "None" not in printed


def test_without_progress_nothing_is_printed(parts: Parts, capsys: pytest.CaptureFixture[str]) -> None:
    make_trainer(parts).fit()
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("with_tqdm", [True, False])
def test_terminal_shows_the_step_between_epochs(
    parts: Parts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, with_tqdm: bool
) -> None:
    if with_tqdm:
        tqdm = pytest.importorskip("tqdm")
        monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)  # no thread that outlives the test
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    make_trainer(parts, progress=True).fit()
    assert ("step/s" if with_tqdm else "step 1/8  epoch 0.25  train perplexity") in terminal.getvalue()
    assert len(capsys.readouterr().out.splitlines()) == 2
    if not with_tqdm:
        assert terminal.getvalue().endswith("\r")  # the last line is wiped


def test_progress_of_a_hopeless_model_does_not_overflow(
    model: LSTMLanguageModel, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys, "stderr", Terminal())
    progress = ProgressCallback()
    state = TrainerState(step=1, steps_per_epoch=2, loss_sum=1e6, num_targets=1)
    progress.on_train_begin(state, model)
    progress.on_step_end(state, model)
    record = {"epoch": 0.5, "train_loss": 1e6, "train_perplexity": math.inf, "train_bits_per_character": 1e6}
    progress.on_epoch_end(state, model, record | {"tokens_per_second": 1.0, "seconds": 0.5})
    progress.on_train_end(state, model)
    assert "train perplexity inf" in capsys.readouterr().out


class Gone(io.StringIO):
    """A terminal that has been closed."""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("with_tqdm", [True, False])
@pytest.mark.parametrize("kind", ["gone", "closed", None])
def test_output_that_has_gone_ends_no_run(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, with_tqdm: bool, kind: str | None
) -> None:
    if with_tqdm:
        tqdm = pytest.importorskip("tqdm")
        monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    output = None if kind is None else Gone()
    if output is not None and kind == "closed":
        output.close()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        patch.setattr(sys, "stderr", output)
        history = make_trainer(parts, progress=True).fit()
    assert len(history) == 2


def test_an_error_ends_the_bar_and_goes_on_to_the_caller(parts: Parts) -> None:
    calls: list[str] = []

    class Watching(Callback):
        def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            if state.step == 3:
                raise ZeroDivisionError

        def on_exception(self, state: TrainerState, model: LSTMLanguageModel, error: BaseException) -> None:
            calls.append(f"{type(error).__name__} at {state.step}")

        def on_train_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            calls.append("end")

    with pytest.raises(ZeroDivisionError):
        make_trainer(parts, Watching()).fit()
    assert calls == ["ZeroDivisionError at 3"]
