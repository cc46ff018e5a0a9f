"""N-gram models, mixtures and caches as saved folders.

Beside the files of an LSTM, ``mixture.json`` describes how the models are nested, with weights and options, and
``ngram.safetensors`` holds the tables of the n-gram models.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from os import PathLike
from types import NoneType
from typing import Any, TypeVar

import torch

from zh_lstm_lm._config import check_type
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import CheckpointError, ConfigError, ZhLstmLmError
from zh_lstm_lm.models.components import nested_models, part_weights
from zh_lstm_lm.models.config import ModelConfig
from zh_lstm_lm.models.continuous_cache import ContinuousCache
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.models.mixture import Mixture
from zh_lstm_lm.models.ngram import NGramLanguageModel
from zh_lstm_lm.models.ngram_counts import NGramCounts
from zh_lstm_lm.models.pretrained import (
    MIXTURE,
    NGRAMS,
    named_folder,
    open_model_folder,
    read_description,
    read_generation_config,
    read_vocabulary,
    read_weights,
    write_model_folder,
)
from zh_lstm_lm.runtime.devices import on_cpu_by_default
from zh_lstm_lm.runtime.memory import check_fits
from zh_lstm_lm.storage.saved_folder import SavedFolder
from zh_lstm_lm.storage.tensors import MAX_TENSOR_BYTES, TensorKind, check_kinds, load_tensors, read_kinds
from zh_lstm_lm.tokenizers.base import Tokenizer

__all__ = ["describe_model", "from_pretrained", "load_lstm", "load_part", "save_model"]

_FORMAT = 1
_MAX_JSON_BYTES = 1 << 20
# Strict JSON is nested at most 16 deep, and each model takes up to 2 levels.
_MAX_DEPTH = 6
_CACHE_OPTIONS = ("cache_size", "cache_weight", "theta")

# In memory, while the model is built.
_BYTES_PER_NGRAM = 40

_Part = TypeVar("_Part")
_Value = TypeVar("_Value")
_LSTM = TypeVar("_LSTM", bound=LSTMLanguageModel)


def save_model(model: Any, path: str | PathLike[str]) -> None:
    """Saves a mixture, a cache or an n-gram model into a folder; see `SavedModel.save_pretrained`."""
    check_type("path", path, str, PathLike)
    leaves = [each for each in nested_models(model) if not isinstance(each, (Mixture, ContinuousCache))]
    # A model may take several places.
    different = list({id(each): each for each in leaves}.values())
    lstms = [each for each in different if isinstance(each, LSTMLanguageModel)]
    ngrams = [each for each in different if isinstance(each, NGramLanguageModel)]
    if len(lstms) > 1 or len(lstms) + len(ngrams) < len(different):
        found = ", ".join(type(each).__name__ for each in different)
        raise ConfigError(
            f"a folder holds one LSTM at most, n-gram models, mixtures and caches, got a mixture of {found}; save the "
            "models one by one"
        )
    description = {
        "name": [*part_weights(model)][-1],
        "vocabulary": _checksum(model.vocabulary),
        "training": model.training_summary,
        "ngrams": [each.counts.describe() for each in ngrams],
        "model": describe_model(model, ngrams),
    }
    tables = {
        f"{number}.{name}": tensor for number, each in enumerate(ngrams) for name, tensor in each.counts.pack().items()
    }
    contents = {"vocabulary": model.vocabulary, "generation_config": model.generation_config}
    if lstms:
        contents |= lstms[0].folder_contents()
    write_model_folder(named_folder(path), mixture=description, ngrams=tables, **contents)


def from_pretrained(
    path: str | PathLike[str],
    *,
    tokenizer: str | Tokenizer | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Any:
    """Loads the model of a folder, of the kind that was saved. Nothing that is loaded can run code.

    Args:
        path: The folder that ``save_pretrained`` or ``zh-lstm-lm train`` wrote. A ``"user/model"`` that is no local folder
            is fetched from the Hugging Face Hub, which needs the extra ``hub``; only safetensors and JSON are fetched.
        tokenizer: See `LSTMLanguageModel.from_pretrained`.
        revision: A branch, a tag or a commit of the Hub's repository; None for the main branch.
        token: The user's token, for private repositories; None for the one that ``hf auth login`` has saved.
        local_files_only: Takes what was fetched before, without asking the Hub.

    Returns:
        An `LSTMLanguageModel`, an `NGramLanguageModel`, a `Mixture` or a `ContinuousCache`, in evaluation mode.

    Raises:
        CheckpointError: The folder is missing, foreign, incomplete or damaged, or cannot be fetched.
        VocabularyError: The model needs its user's tokenizer.

    Example:
        >>> model = from_pretrained("wuxia")  # doctest: +SKIP
        >>> score(model, "话说展爷大喜。").bits_per_character  # doctest: +SKIP
    """
    with open_model_folder(path, revision=revision, token=token, local_files_only=local_files_only) as files:
        if MIXTURE in files:
            model, saved_tokenizer = _read_mixture(files, tokenizer)
        else:
            model, saved_tokenizer = _read_lstm(files, tokenizer, kind=LSTMLanguageModel)
    model.vocabulary.warn_of_mismatch(saved_tokenizer)
    return model


def load_part(
    kind: type[_Part], path: str | PathLike[str], tokenizer: str | Tokenizer | None = None, **hub: Any
) -> _Part:
    """Loads the outermost model of a kind from a folder; see `SavedModel.from_pretrained`."""
    model = from_pretrained(path, tokenizer=tokenizer, **hub)
    for each in nested_models(model):
        if isinstance(each, kind):
            return each
    raise CheckpointError(
        f"{path}: holds a {type(model).__name__} and no {kind.__name__}; load it with zh_lstm_lm.from_pretrained"
    )


def load_lstm(
    kind: type[_LSTM], path: str | PathLike[str], tokenizer: str | Tokenizer | None = None, **hub: Any
) -> _LSTM:
    """Loads the LSTM of a folder, as a model of its class or of a subclass; see `from_pretrained`."""
    with open_model_folder(path, **hub) as files:
        model, saved_tokenizer = _read_lstm(files, tokenizer, kind=kind)
    # Last, because a text is segmented for it.
    model.vocabulary.warn_of_mismatch(saved_tokenizer)
    return model


def _read_lstm(
    files: SavedFolder, tokenizer: str | Tokenizer | None, *, kind: type[_LSTM]
) -> tuple[_LSTM, dict[str, Any]]:
    """Reads the LSTM of a model's folder in evaluation mode, and what is saved of its tokenizer."""
    options, training, vocabulary, saved_tokenizer = read_description(
        files, option_names=ModelConfig.option_names(), tokenizer=tokenizer
    )
    try:
        config = ModelConfig.from_dict({"character_vectors": False, **options})  # none at first
        with torch.device("meta"):
            model = kind(vocabulary, config)
    except ConfigError as error:
        raise CheckpointError(f"{files.path / 'config.json'}: {error}; the file is damaged or foreign") from error
    model.load_state_dict(read_weights(files, model.state_dict()), assign=True)
    model.training_summary = training
    model.generation_config = read_generation_config(files)
    return model.eval(), saved_tokenizer


def _checksum(vocabulary: Vocabulary) -> str:
    """Returns a checksum of the ids; it does not depend on the tokenizer, which may be replaced on loading."""
    saved = vocabulary.to_dict()
    what = [saved[name] for name in ("unknown", "tokens", "special_tokens") if name in saved]
    return hashlib.sha256(json.dumps(what).encode("ascii")).hexdigest()


def describe_model(model: Any, ngrams: Sequence[NGramLanguageModel], depth: int = 1) -> dict[str, Any]:
    """Returns how a model is nested, with weights and options, as JSON values; n-gram models by their number."""
    if depth > _MAX_DEPTH:
        raise ConfigError(f"the mixture is nested deeper than {_MAX_DEPTH}; put the models into one Mixture")
    if isinstance(model, Mixture):
        models = [describe_model(each, ngrams, depth + 1) for each in model.models]
        return {"kind": "mixture", "weights": list(model.weights), "models": models}
    if isinstance(model, ContinuousCache):
        options = {name: getattr(model, name) for name in _CACHE_OPTIONS}
        return {"kind": "cache", **options, "model": describe_model(model.model, ngrams, depth + 1)}
    if isinstance(model, NGramLanguageModel):
        return {"kind": "ngram", "table": ngrams.index(model)}
    return {"kind": "lstm"}


def _read_mixture(files: SavedFolder, tokenizer: str | Tokenizer | None) -> tuple[Any, dict[str, Any]]:
    """Reads a folder with a description of a mixture: the model, and what is saved of its tokenizer."""
    path = files.path / MIXTURE
    saved = files.read_versioned(
        MIXTURE, _FORMAT, required=("name", "vocabulary", "training", "ngrams", "model"), max_bytes=_MAX_JSON_BYTES
    )
    lstm: LSTMLanguageModel | None = None
    if "config.json" in files:
        lstm, saved_tokenizer = _read_lstm(files, tokenizer, kind=LSTMLanguageModel)
        vocabulary = lstm.vocabulary
    else:
        vocabulary, saved_tokenizer = read_vocabulary(files, tokenizer)
        vocabulary = vocabulary.frozen_copy()
    if saved["vocabulary"] != _checksum(vocabulary):
        raise CheckpointError(
            f"{files.path}: {MIXTURE} is of another vocabulary than vocabulary.json; the files are of different models"
        )
    try:
        ngrams = _read_ngrams(files, vocabulary, saved["ngrams"])
        for each in ngrams:
            each.generation_config = read_generation_config(files)
        model = _restore(saved["model"], lstm, ngrams)
    except (ConfigError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: {error}; the file is damaged or foreign") from error
    training = saved["training"]
    if isinstance(model, LSTMLanguageModel) or not isinstance(training, dict):
        raise CheckpointError(f"{path}: describes no mixture; the file is damaged or foreign")
    for name in training.keys() & {"valid_parts", "test_parts"}:
        if not isinstance(training[name], list) or not all(map(_is_part, training[name])):
            raise CheckpointError(f"{path}: {name} are not the metrics of parts; the file is damaged or foreign")
    model.training_summary = training
    return model, saved_tokenizer


def _is_part(row: Any) -> bool:
    """Checks that a loaded value is a row of `describe_parts`."""
    return (
        isinstance(row, dict)
        and row.keys() == {"name", "weight", "bits_per_character", "perplexity"}
        and isinstance(row["name"], str)
        and isinstance(row["weight"], (int, float))
        and all(isinstance(row[name], (int, float, NoneType)) for name in ("bits_per_character", "perplexity"))
    )


def _restore(described: Any, lstm: LSTMLanguageModel | None, ngrams: Sequence[NGramLanguageModel]) -> Any:
    """Builds the model of a description; raises one of several errors where it is none."""
    kind = described["kind"]
    if kind == "mixture":
        mixture = Mixture([_restore(each, lstm, ngrams) for each in described["models"]], described["weights"])
        # Rounding must not change them.
        mixture.weights = tuple(map(float, described["weights"]))
        return mixture
    if kind == "cache":
        options = {name: described[name] for name in _CACHE_OPTIONS}
        return ContinuousCache(_restore(described["model"], lstm, ngrams), **options)
    if kind == "ngram":
        return ngrams[described["table"]]
    if kind != "lstm" or lstm is None:
        raise ConfigError(f"a model of the kind {kind!r:.40} is not in the folder")
    return lstm


@on_cpu_by_default
def _read_ngrams(
    files: SavedFolder, vocabulary: Vocabulary, described: Sequence[Mapping[str, Any]]
) -> list[NGramLanguageModel]:
    """Reads the tables of n-gram models, once the file's header was checked against their descriptions."""
    path = files.path / NGRAMS
    found = read_kinds(files.open(NGRAMS), path)
    expected: dict[str, TensorKind] = {}
    try:
        for number, each in enumerate(described):
            kinds = NGramCounts.kinds(each, _own(found, number))
            expected |= {f"{number}.{name}": kind for name, kind in kinds.items()}
            if each["num_ngrams"][0] != len(vocabulary):
                raise ValueError(
                    f"a table is for {each['num_ngrams'][0]:,} tokens, and vocabulary.json has {len(vocabulary):,}"
                )
        check_kinds(path, found, expected, by=MIXTURE)
        size = sum(sum(each["num_ngrams"]) for each in described)
        check_fits(f"{size:,} n-grams", _BYTES_PER_NGRAM * size, torch.device("cpu"), smaller="the n-gram model")
        tensors = load_tensors(files.read(NGRAMS, max_bytes=MAX_TENSOR_BYTES), path)
        return [
            NGramLanguageModel(vocabulary, NGramCounts.unpack(each, _own(tensors, number)))
            for number, each in enumerate(described)
        ]
    except ValueError as error:
        if isinstance(error, ZhLstmLmError):
            raise
        raise CheckpointError(f"{path}: {error}; the file is damaged or foreign") from error


def _own(values: Mapping[str, _Value], number: int) -> dict[str, _Value]:
    """Returns what belongs to one table."""
    prefix = f"{number}."
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
