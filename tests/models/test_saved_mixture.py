"""Mixtures, caches and n-gram models in folders: all of them comes back, and damage is named."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zh_lstm_lm import (
    CheckpointError,
    ConfigError,
    ContinuousCache,
    LanguageModel,
    LSTMLanguageModel,
    Mixture,
    ModelConfig,
    NGramLanguageModel,
    Sampler,
    SamplerConfig,
    TokenStream,
    Vocabulary,
    ZhLstmLmError,
    evaluate,
    from_pretrained,
    score,
)
from zh_lstm_lm.storage.safe_reading import verify_manifest

LSTM_FILES = {"config.json", "model.safetensors", "vocabulary.json", "README.md", "manifest.json"}
NGRAM_FILES = {"mixture.json", "ngram.safetensors", "vocabulary.json", "README.md", "manifest.json"}
TEXT = "展昭喝道：“雪大！”\n白玉堂"


@pytest.fixture
def ngram(stream: TokenStream, vocabulary: Vocabulary) -> NGramLanguageModel:
    return NGramLanguageModel.from_stream(stream, vocabulary, order=3)


@pytest.fixture
def mixture(model: LSTMLanguageModel, ngram: NGramLanguageModel) -> Mixture:
    return Mixture([model, ngram], [0.3, 0.7])


@pytest.fixture
def folder(tmp_path: Path, mixture: Mixture) -> Path:
    """A saved cache around a mixture."""
    ContinuousCache(mixture, theta=0.0, cache_size=7, cache_weight=0.2).save_pretrained(tmp_path / "m")
    return tmp_path / "m"


def all_log_probs(model: LanguageModel) -> torch.Tensor:
    with torch.inference_mode():
        return model.log_probs(model.read(torch.tensor([[0, *model.vocabulary.encode(TEXT)]]))[0])


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Changes the description by hand."""
    (path / "manifest.json").unlink(missing_ok=True)
    values = json.loads((path / "mixture.json").read_text(encoding="utf-8"))
    change(values)
    (path / "mixture.json").write_text(json.dumps(values), encoding="utf-8")


@st.composite
def nested(draw: st.DrawFn, depth: int = 1) -> Callable[..., Any]:
    """A function that builds a model of an LSTM and two n-gram models."""
    kind = draw(st.sampled_from(["leaf", "mixture", "cache"])) if depth < 5 else "leaf"
    if kind == "leaf":
        number = draw(st.integers(0, 2))
        return lambda models: models[number]
    if kind == "cache":
        inside = draw(nested(depth + 1))
        size, weight = draw(st.integers(1, 30)), draw(st.floats(0.0, 0.999))
        return lambda models: ContinuousCache(inside(models), theta=0.0, cache_size=size, cache_weight=weight)
    inner = draw(st.lists(nested(depth + 1), min_size=1, max_size=3))
    parts = draw(st.lists(st.floats(0.01, 1.0), min_size=len(inner), max_size=len(inner)))
    weights = [part / sum(parts) for part in parts]
    return lambda models: Mixture([each(models) for each in inner], weights)


@settings(max_examples=40, deadline=None)
@given(build=nested(), orders=st.tuples(st.integers(1, 5), st.integers(1, 5)), pruned=st.booleans())
def test_a_loaded_model_predicts_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, build: Callable[..., Any], orders: tuple[int, int], pruned: bool
) -> None:
    stream = TokenStream.from_texts([TEXT * 3, "展昭道：好。\n"], tokenizer="characters")
    vocabulary = Vocabulary.from_stream(stream)
    lstm = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=5, hidden_size=6)).eval()
    ngrams = [
        NGramLanguageModel.from_stream(stream, vocabulary, order, prune=(0, 1) if pruned else (0,)) for order in orders
    ]
    model = build([lstm, *ngrams])
    model.training_summary = {"characters": 12}
    path = tmp_path_factory.mktemp("saved") / "m"
    model.save_pretrained(path)
    loaded = from_pretrained(path)
    assert type(loaded) is type(model)
    assert loaded.training_summary == {"characters": 12}
    assert torch.equal(all_log_probs(loaded), all_log_probs(model))
    loaded.save_pretrained(path.with_name("again"))
    for file in path.iterdir():
        assert file.read_bytes() == (path.with_name("again") / file.name).read_bytes(), file.name


def test_everything_takes_what_was_loaded(folder: Path, stream: TokenStream, mixture: Mixture) -> None:
    loaded = from_pretrained(folder)
    whole = ContinuousCache(mixture, theta=0.0, cache_size=7, cache_weight=0.2)
    assert list(evaluate(loaded, stream).parts) == ["LSTM", "3-gram", "LSTM + 3-gram"]
    assert score(loaded, TEXT).log_probs == score(whole, TEXT).log_probs
    config = SamplerConfig(seed=3)
    assert Sampler(loaded, config).generate(max_new_tokens=20) == Sampler(whole, config).generate(max_new_tokens=20)


def test_each_class_loads_its_part(folder: Path, model: LSTMLanguageModel, ngram: NGramLanguageModel) -> None:
    assert torch.equal(all_log_probs(LSTMLanguageModel.from_pretrained(folder)), all_log_probs(model))
    assert torch.equal(all_log_probs(NGramLanguageModel.from_pretrained(folder)), all_log_probs(ngram))
    assert Mixture.from_pretrained(folder).weights == (0.3, 0.7)
    assert ContinuousCache.from_pretrained(folder).cache_size == 7
    ngram.save_pretrained(folder)
    with pytest.raises(CheckpointError, match="an n-gram model without an LSTM; load it with zh_lstm_lm"):
        LSTMLanguageModel.from_pretrained(folder)
    with pytest.raises(CheckpointError, match="holds a NGramLanguageModel and no Mixture; load it with zh_lstm_lm"):
        Mixture.from_pretrained(folder)
    model.save_pretrained(folder)
    assert isinstance(from_pretrained(folder), LSTMLanguageModel)
    with pytest.raises(CheckpointError, match="holds a LSTMLanguageModel and no NGramLanguageModel"):
        NGramLanguageModel.from_pretrained(folder)


def test_saving_over_a_folder_leaves_the_files_of_the_new_model_only(
    folder: Path, model: LSTMLanguageModel, ngram: NGramLanguageModel, mixture: Mixture
) -> None:
    model.generation_config = SamplerConfig(temperature=0.4).to_dict()
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    for each, names in (
        (mixture, LSTM_FILES | NGRAM_FILES | {"generation_config.json"}),
        (ngram, NGRAM_FILES),
        (model, LSTM_FILES | {"generation_config.json"}),
    ):
        each.save_pretrained(folder)
        verify_manifest(folder)
        assert {file.name for file in folder.iterdir()} == names | {"notes.txt"}
    mixture.save_pretrained(folder)
    assert Sampler(from_pretrained(folder)).config.temperature == 0.4


def test_the_card_names_the_parts_and_their_metrics(tmp_path: Path, mixture: Mixture) -> None:
    part = {"name": "LSTM", "weight": 0.3, "bits_per_character": 5.25, "perplexity": 60.5}
    mixture.training_summary = {"valid_parts": [part], "counted": "in 2 s"}
    mixture.save_pretrained(tmp_path / "m")
    card = (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    assert "# A language model (LSTM + 3-gram) of Chinese" in card
    assert "| LSTM | 0.300 | 5.25 | 60.5 |" in card
    assert "- counted: in 2 s\n" in card
    assert 'from_pretrained("this-folder")' in card


def test_other_mixtures_are_refused(
    tmp_path: Path, mixture: Mixture, vocabulary: Vocabulary, model: LSTMLanguageModel
) -> None:
    other = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=4))
    deep: Any = mixture
    for _ in range(6):
        deep = Mixture([deep])
    for refused, named in (
        (Mixture([mixture, other]), "got a mixture of LSTMLanguageModel, NGramLanguageModel, LSTMLanguageModel"),
        (Mixture([model.for_decoding()]), "got a mixture of DecodingLSTM; save the models one by one"),
        (deep, "nested deeper than 6"),
    ):
        with pytest.raises(ConfigError, match=named):
            refused.save_pretrained(tmp_path / "m")
    assert not (tmp_path / "m").exists()
    Mixture([mixture, model], [0.5, 0.5]).save_pretrained(tmp_path / "m")
    first, second = from_pretrained(tmp_path / "m").models
    assert first.models[0] is second


def deep(values: Any) -> None:
    for _ in range(20):
        values["model"] = {"kind": "cache", "model": values["model"]}


def table(name: str, value: Any) -> Callable[[Any], None]:
    return lambda values: values["ngrams"][0].update({name: value})


def mixed(name: str, value: Any) -> Callable[[Any], None]:
    return lambda values: values["model"]["model"].update({name: value})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (mixed("weights", [1.5, -0.5]), "must lie between 0 and 1"),
        (mixed("weights", [0.5, 0.6]), "must sum to 1"),
        (mixed("weights", [1.0]), "one number for each of the 2 models"),
        (mixed("weights", None), "mixture.json"),
        (mixed("models", []), "at least one language model"),
        (mixed("models", 5), "mixture.json"),
        (mixed("kind", "pickle"), "a model of the kind 'pickle' is not in the folder"),
        (mixed("kind", None), "a model of the kind None"),
        (lambda values: values["model"].update(cache_weight=1.5), "cache_weight must be"),
        (lambda values: values["model"].update(cache_size=True), "cache_size must be"),
        (lambda values: values["model"].pop("theta"), "theta"),
        (lambda values: values.update(model={"kind": "lstm"}), "describes no mixture"),
        (lambda values: values.update(model={"kind": "ngram", "table": 1}), "index out of range"),
        (lambda values: values.update(model=[]), "mixture.json"),
        (lambda values: values.update(training=[]), "describes no mixture"),
        (lambda values: values.update(ngrams=[]), "ngram.safetensors: '0.children.2'"),
        (lambda values: values.update(ngrams={"a": 1}), "mixture.json"),
        (lambda values: values.update(ngrams=7), "mixture.json"),
        (lambda values: values.update(more=1), "unknown 'more'"),
        (lambda values: values.pop("vocabulary"), "no 'vocabulary'"),
        (lambda values: values.update(vocabulary="00"), "of another vocabulary than vocabulary.json"),
        (lambda values: values.update(format=2), "pip install -U"),
        (deep, "nested deeper"),
        (table("num_ngrams", [5, 1, 1]), "a table is for 5 tokens, and vocabulary.json has"),
        (table("num_ngrams", [1 << 40]), "different orders"),
        (table("num_ngrams", "many"), "must be lists"),
        (table("discounts", [[0.5, 1.0, 1.5]] * 2), "different orders"),
        (table("discounts", [[0.5, 1.0, 3.5]] * 3), "three discounts"),
        (table("pruned", [True, True]), "by mixture.json it should be"),
    ],
)
def test_a_damaged_description_is_refused(folder: Path, change: Callable[[Any], object], named: str) -> None:
    edit(folder, change)
    with pytest.raises(CheckpointError, match=named.replace(".", r"\.")):
        from_pretrained(folder)


def changed(name: str, change: Callable[[torch.Tensor], object]) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda tensors: (tensors.update({name: tensors[name].clone()}), change(tensors[name]))[0]


@pytest.mark.parametrize(
    "change",
    [
        changed("0.counts.1", lambda tensor: tensor.zero_()),
        changed("0.counts.1", lambda tensor: tensor.neg_()),
        changed("0.ids.2", lambda tensor: tensor.fill_(32767)),
        changed("0.ids.3", lambda tensor: tensor.copy_(tensor.flip(0))),
        changed("0.children.2", lambda tensor: tensor.add_(1)),
        changed("0.counts.3", lambda tensor: tensor.zero_()),
        changed("0.counts.2", lambda tensor: tensor.fill_(255)),
        lambda tensors: tensors.pop("0.ids.2"),
        lambda tensors: tensors.update({"0.passages": torch.tensor(7)}),
        lambda tensors: tensors.update({"0.counts.2.large": torch.zeros(3, dtype=torch.int32)}),
        lambda tensors: tensors.update(more=torch.zeros(3)),
    ],
)
def test_a_damaged_table_is_refused(folder: Path, change: Callable[[Any], object]) -> None:
    (folder / "manifest.json").unlink()
    tensors = safetensors.torch.load((folder / "ngram.safetensors").read_bytes())
    change(tensors)
    (folder / "ngram.safetensors").write_bytes(safetensors.torch.save(tensors))
    with pytest.raises(CheckpointError, match=r"ngram\.safetensors"):
        from_pretrained(folder)


@pytest.mark.parametrize("name", ["mixture.json", "ngram.safetensors"])
@pytest.mark.parametrize("loose", [False, True])
def test_a_file_cut_short_or_missing_is_refused(folder: Path, name: str, loose: bool) -> None:
    if loose:
        (folder / "manifest.json").unlink()
    whole = (folder / name).read_bytes()
    for length in (0, 1, 9, len(whole) // 2, len(whole) - 3):
        (folder / name).write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
            from_pretrained(folder)
    (folder / name).unlink()
    if loose and name == "mixture.json":
        # It is the folder of an LSTM then.
        assert isinstance(from_pretrained(folder), LSTMLanguageModel)
        return
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        from_pretrained(folder)


def flips(path: Path, number: int) -> Iterator[None]:
    whole, rng = path.read_bytes(), random.Random(0)
    for _ in range(number):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        yield
    path.write_bytes(whole)


@pytest.mark.parametrize("name", ["mixture.json", "ngram.safetensors"])
def test_a_flipped_bit_gives_an_error_or_a_distribution(folder: Path, name: str) -> None:
    for _ in flips(folder / name, 10):
        with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
            from_pretrained(folder)
    (folder / "manifest.json").unlink()
    for _ in flips(folder / name, 60):
        try:
            model = from_pretrained(folder)
        except ZhLstmLmError:
            continue
        sums = all_log_probs(model).double().exp().sum(dim=1)
        torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-5)


def test_a_table_of_another_vocabulary_is_refused(folder: Path, tmp_path: Path) -> None:
    """Of equal size, so that only the tokens differ."""
    stream = TokenStream.from_texts(["甲乙丙丁"], tokenizer="characters")
    other = TokenStream.from_texts(["戊己庚辛"], tokenizer="characters")
    for name, text in (("a", stream), ("b", other)):
        NGramLanguageModel.from_stream(text, Vocabulary.from_stream(text), 2).save_pretrained(tmp_path / name)
        (tmp_path / name / "manifest.json").unlink()
    for file in ("mixture.json", "ngram.safetensors"):
        (tmp_path / "a" / file).replace(tmp_path / "b" / file)
    with pytest.raises(CheckpointError, match=r"mixture\.json is of another vocabulary than vocabulary\.json"):
        from_pretrained(tmp_path / "b")


def test_closed_vocabularies_are_saved_as_well(tmp_path: Path, stream: TokenStream) -> None:
    vocabulary = Vocabulary.from_stream(stream, min_freq=2, unknown="unk")
    model = NGramLanguageModel.from_stream(stream, vocabulary)
    model.save_pretrained(tmp_path / "m")
    assert from_pretrained(tmp_path / "m").vocabulary.unknown == "unk"
    assert evaluate(from_pretrained(tmp_path / "m"), stream) == evaluate(model, stream)
