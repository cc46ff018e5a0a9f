"""What is saved loads: in any floating-point type, whatever the defaults of the process are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from zh_lstm_lm import (
    CheckpointError,
    ConfigError,
    ContinuousCache,
    DynamicEvaluation,
    LSTMLanguageModel,
    Mixture,
    ModelConfig,
    NGramLanguageModel,
    Sampler,
    SamplerConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
    evaluate,
    from_pretrained,
    novelty,
    score,
    suggest,
)

SIZES: dict[str, Any] = {"embedding_dim": 6, "hidden_size": 8, "dropout": 0.0}
LAYERS: list[dict[str, Any]] = [
    {"output": "full"},
    {"output": "adaptive", "cutoffs": (20, 60), "tie_weights": False},
    {"tie_weights": True},
    {"tie_weights": True, "output": "adaptive", "cutoffs": (20, 60)},
]
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
    config = ModelConfig(**SIZES, dtype=dtype)  # type: ignore[arg-type]
    models = [LSTMLanguageModel(vocabulary, config)]
    with default_dtype(torch.float64):
        models.append(LSTMLanguageModel(vocabulary, config))
    assert same(*models)
    assert {str(weight.dtype) for weight in models[0].parameters()} == {f"torch.{dtype}"}


def test_a_type_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"dtype must be one of 'float32'.*got 'float8'"):
        ModelConfig(dtype="float8")  # type: ignore[arg-type]


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


def mixture_weights(model: LSTMLanguageModel, stream: TokenStream) -> tuple[float, ...]:
    mixture = Mixture([model, NGramLanguageModel.from_stream(stream, model.vocabulary, order=2)])
    mixture.fit_weights(TokenStream.from_texts(["雪夜，店门外一条黑影。"], tokenizer="characters"))
    return tuple(mixture.weights)


USES: dict[str, Callable[[LSTMLanguageModel, TokenStream], object]] = {
    "split": lambda model, stream: [list(part) for part in stream.split(valid=0.3, test=0.3)],
    "vocabulary": lambda model, stream: Vocabulary.from_stream(stream, min_freq=2, max_size=300).to_dict(),
    "coverage": lambda model, stream: str(model.vocabulary.report(stream)),
    "evaluate": lambda model, stream: evaluate(model, stream).error_bars(),
    "dynamic": lambda model, stream: evaluate(model, stream, dynamic=DynamicEvaluation()).loss,
    "cache": lambda model, stream: evaluate(ContinuousCache(model), stream).loss,
    "mixture": mixture_weights,
    "score": lambda model, stream: score(model, "展昭道").log_probs,
    "suggest": lambda model, stream: suggest(model, "展", "道", 3),
    "generate": lambda model, stream: Sampler(model).generate(["展", "白玉"], max_new_tokens=9),
    "stream": lambda model, stream: [*Sampler(model, SamplerConfig(top_k=5)).stream("展", max_new_tokens=9)],
    "beam search": lambda model, stream: Sampler(model).beam_search("展", max_new_tokens=9),
    "novelty": lambda model, stream: novelty("展昭道", stream),
}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, MODES["float64"], MODES["meta"]])
@pytest.mark.parametrize("use", USES)
def test_other_uses_do_not_depend_on_the_modes_around_them(
    vocabulary: Vocabulary, texts: list[str], use: str, mode: Callable[[], Any]
) -> None:
    model = LSTMLanguageModel(vocabulary, ModelConfig(**SIZES)).eval()
    expected = USES[use](model, TokenStream.from_texts(texts, tokenizer="characters"))
    with mode():
        found = USES[use](model, TokenStream.from_texts(texts, tokenizer="characters"))
    assert repr(found) == repr(expected)


def test_a_generator_leaves_the_default_device_to_its_caller(vocabulary: Vocabulary, stream: TokenStream) -> None:
    model = LSTMLanguageModel(vocabulary, ModelConfig(**SIZES)).eval()
    with torch.device("meta"):
        pieces = Sampler(model).stream("展", max_new_tokens=9)
        for _ in range(3):
            next(pieces)
            assert torch.empty(0).is_meta
        del pieces
        assert torch.empty(0).is_meta
        model = LSTMLanguageModel(vocabulary, ModelConfig(**SIZES))
    with pytest.raises(ConfigError, match="'meta' and has no weights"):
        Trainer(model, stream, None, TrainerConfig(max_steps=1), progress=False).fit()


@pytest.mark.parametrize("theta", [0.0, 0.3])
@pytest.mark.parametrize("dtype", CASTS)
def test_a_cache_works_in_every_type(vocabulary: Vocabulary, stream: TokenStream, dtype: str, theta: float) -> None:
    ngram = NGramLanguageModel.from_stream(stream, vocabulary, order=2)
    single, cast = (LSTMLanguageModel(vocabulary, ModelConfig(**SIZES)).eval() for _ in range(2))
    CASTS[dtype](cast)
    for wrap in (lambda model: model, lambda model: Mixture([model, ngram])):
        plain, caching = (ContinuousCache(wrap(model), theta=theta) for model in (single, cast))
        assert evaluate(caching, stream).loss == pytest.approx(evaluate(plain, stream).loss, rel=0.01)
        assert Sampler(caching).generate("展", max_new_tokens=9).startswith("展")


@pytest.mark.parametrize("use", ["evaluate", "generate", "score", "suggest", "cache"])
def test_a_wrapped_model_is_named_where_it_is_not_unwrapped(
    vocabulary: Vocabulary, use: str, stream: TokenStream
) -> None:
    wrapped: Any = torch.nn.DataParallel(LSTMLanguageModel(vocabulary, ModelConfig(**SIZES)))
    with pytest.raises(ConfigError, match=r"got DataParallel(.|\n)*give the model inside, its attribute module"):
        USES[use](wrapped, stream)


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


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_saved_models_load_under_any_default_device(
    vocabulary: Vocabulary, stream: TokenStream, tmp_path: Path, device: str
) -> None:
    mixture = Mixture(
        [LSTMLanguageModel(vocabulary, ModelConfig(**SIZES)), NGramLanguageModel.from_stream(stream, vocabulary)]
    )
    mixture.save_pretrained(tmp_path / "model")
    with torch.device(device):
        loaded = from_pretrained(tmp_path / "model")
    assert loaded.device == torch.device("cpu")
    assert evaluate(loaded, stream) == evaluate(mixture, stream)


def test_a_model_of_several_types_is_not_written(vocabulary: Vocabulary, tmp_path: Path) -> None:
    model = LSTMLanguageModel(vocabulary, ModelConfig(**SIZES))
    model.save_pretrained(tmp_path / "m")
    model.output.half()

    with pytest.raises(CheckpointError, match=r"of several types \(torch.float16, torch.float32\).*model\.float\(\)"):
        model.save_pretrained(tmp_path / "m")
    assert LSTMLanguageModel.from_pretrained(tmp_path / "m").output.bias.dtype == torch.float32
    model.float().save_pretrained(tmp_path / "m")
    assert same(LSTMLanguageModel.from_pretrained(tmp_path / "m"), model)


@pytest.mark.parametrize("part", ["embedding", "layers", "output", None])
def test_frozen_weights_stay_and_a_wholly_frozen_model_is_refused(
    stream: TokenStream, vocabulary: Vocabulary, part: str | None
) -> None:
    model = LSTMLanguageModel(vocabulary, ModelConfig(**SIZES))
    frozen = (getattr(model, part) if part else model).requires_grad_(False)
    before = [weight.clone() for weight in frozen.parameters()]
    trainer = Trainer(model, stream, None, TrainerConfig(max_steps=3), progress=False)

    if part is None:
        with pytest.raises(ConfigError, match=r"frozen; model\.requires_grad_\(True\)"):
            trainer.fit()
    else:
        trainer.fit()
    assert all(map(torch.equal, frozen.parameters(), before))
