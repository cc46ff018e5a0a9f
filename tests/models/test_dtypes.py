"""What is saved loads: in any floating-point type, whatever the defaults of the process are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from zh_lstm_lm import ConfigError, LSTMLanguageModel, ModelConfig, TokenStream, Trainer, TrainerConfig, Vocabulary

SIZES: dict[str, Any] = {"embedding_dim": 6, "hidden_size": 8, "dropout": 0.0}
LAYERS: list[dict[str, Any]] = [{"output": "full"}, {"output": "adaptive", "cutoffs": (20, 60)}, {"tie_weights": True}]
CASTS: dict[str, Callable[[LSTMLanguageModel], torch.nn.Module]] = {
    "float16": lambda model: model.half(),
    "bfloat16": lambda model: model.bfloat16(),
    "float64": lambda model: model.double(),
    "float32": lambda model: model.double().to(torch.float32),
}


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def same(ours: LSTMLanguageModel, theirs: LSTMLanguageModel) -> bool:
    pairs = zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True)
    return all(a == b and x.dtype == y.dtype and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("dtype", CASTS)
def test_a_model_of_any_type_loads_as_it_was(
    vocabulary: Vocabulary, tmp_path: Path, dtype: str, layers: dict[str, Any]
) -> None:
    model = LSTMLanguageModel(vocabulary, ModelConfig(**SIZES, **layers))
    assert CASTS[dtype](model) is model
    assert model.config.dtype == dtype
    model.save_pretrained(tmp_path / "model")
    with default_dtype(torch.float64):
        loaded = LSTMLanguageModel.from_pretrained(tmp_path / "model")
    assert loaded.config == model.config
    assert same(loaded, model)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_model_is_made_in_the_type_asked_for(vocabulary: Vocabulary, dtype: str) -> None:
    config = ModelConfig(**SIZES, dtype=dtype)
    models = [LSTMLanguageModel(vocabulary, config)]
    with default_dtype(torch.float64):
        models.append(LSTMLanguageModel(vocabulary, config))
    assert same(*models)
    assert {str(weight.dtype) for weight in models[0].parameters()} == {f"torch.{dtype}"}


def test_a_type_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"dtype must be one of 'float32'.*got 'float8'"):
        ModelConfig(dtype="float8")


def trained(vocabulary: Vocabulary, stream: TokenStream, **options: Any) -> LSTMLanguageModel:
    model = LSTMLanguageModel(vocabulary, ModelConfig(**{**SIZES, "dropout": 0.2}))
    config = TrainerConfig(max_epochs=2, batch_size=2, bptt_len=8, **options)
    Trainer(model, stream, stream, config, progress=False).fit()
    return model


MODES: dict[str, Callable[[], Any]] = {
    "no_grad": torch.no_grad,
    "float64": lambda: default_dtype(torch.float64),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "meta": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("mode", MODES)
def test_training_does_not_depend_on_the_modes_around_it(
    vocabulary: Vocabulary, stream: TokenStream, tmp_path: Path, mode: str
) -> None:
    expected = trained(vocabulary, stream)
    model = LSTMLanguageModel(vocabulary, ModelConfig(**{**SIZES, "dropout": 0.2}))
    config = TrainerConfig(max_epochs=2, batch_size=2, bptt_len=8, run_dir=tmp_path / "run", device="cpu")
    with MODES[mode]():
        Trainer(model, stream, stream, config, progress=False).fit()
    assert same(model, expected)
    assert same(LSTMLanguageModel.from_pretrained(tmp_path / "run" / "best"), expected)


def test_a_fit_in_inference_mode_trains_a_model_that_was_made_outside(
    vocabulary: Vocabulary, stream: TokenStream
) -> None:
    model = LSTMLanguageModel(vocabulary, ModelConfig(**{**SIZES, "dropout": 0.2}))
    with torch.inference_mode():
        config = TrainerConfig(max_epochs=2, batch_size=2, bptt_len=8)
        Trainer(model, stream, stream, config, progress=False).fit()
        within = LSTMLanguageModel(vocabulary, ModelConfig(**SIZES))
        with pytest.raises(ConfigError, match=r"made inside torch.inference_mode.*make it outside"):
            Trainer(within, stream, stream, config, progress=False).fit()
    assert same(model, trained(vocabulary, stream))


@pytest.mark.parametrize("wrap", [partial(torch.compile, backend="eager"), torch.nn.DataParallel])
def test_a_wrapped_model_is_trained_itself(
    vocabulary: Vocabulary, stream: TokenStream, wrap: Callable[[torch.nn.Module], torch.nn.Module]
) -> None:
    model = LSTMLanguageModel(vocabulary, ModelConfig(**{**SIZES, "dropout": 0.2}))
    config = TrainerConfig(max_epochs=2, batch_size=2, bptt_len=8)
    trainer = Trainer(wrap(model), stream, stream, config, progress=False)
    trainer.fit()
    assert trainer.model is model
    assert same(model, trained(vocabulary, stream))


def test_a_model_loads_where_the_default_device_is_not_told(
    vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before version 2.8, PyTorch does not tell of a device that is set by a ``with`` block."""
    model = LSTMLanguageModel(vocabulary, ModelConfig(**SIZES, output="adaptive", cutoffs=(20, 60)))
    model.save_pretrained(tmp_path / "model")
    monkeypatch.setattr(torch, "get_default_device", lambda: torch.device("cpu"))
    assert same(LSTMLanguageModel.from_pretrained(tmp_path / "model"), model)
