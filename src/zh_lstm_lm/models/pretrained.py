"""A saved model's folder: sizes and vocabulary as JSON, weights as safetensors, a README, and a manifest of sums."""

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from torch import Tensor

from zh_lstm_lm.corpus.token_table import MAX_TOKENS
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import CheckpointError, ConfigError, VocabularyError
from zh_lstm_lm.storage.atomic import atomic_directory
from zh_lstm_lm.storage.safe_reading import versioned
from zh_lstm_lm.storage.saved_folder import SavedFolder, open_folder
from zh_lstm_lm.storage.strict_json import JSONLimits, parse_json, to_json
from zh_lstm_lm.storage.tensors import (
    MAX_TENSOR_BYTES,
    check_kinds,
    kinds_of,
    load_tensors,
    read_kinds,
    write_tensors,
)
from zh_lstm_lm.tokenizers.base import Tokenizer

__all__ = [
    "LOADED_FILES",
    "MAX_VOCABULARY_BYTES",
    "MODEL_FILES",
    "VOCABULARY_LIMITS",
    "open_model_folder",
    "read_description",
    "read_generation_config",
    "read_weights",
    "write_model_folder",
]

MODEL_FILES = frozenset({"config.json", "model.safetensors", "vocabulary.json", "README.md", "generation_config.json"})
LOADED_FILES = MODEL_FILES - {"README.md"}
"""All that is read; the card is for people, and theirs to edit."""
_WEIGHTS = "model.safetensors"
_EMBEDDING = "embedding.weight"
_MOST_SPECIAL = 3  # tokens of a vocabulary that are not saved
_MODEL_TYPE = "zh-lstm-lm"
_FORMAT = 1
_MAX_CONFIG_BYTES = 1 << 20
MAX_VOCABULARY_BYTES = 1 << 26
_MAX_WORDS = 1 << 19  # of a user dictionary
VOCABULARY_LIMITS = JSONLimits(strings=MAX_TOKENS + _MAX_WORDS, values=2 * MAX_TOKENS + _MAX_WORDS, containers=1000)


def write_model_folder(
    folder: Path,
    *,
    options: Mapping[str, Any],
    training: Mapping[str, Any],
    vocabulary: Vocabulary,
    tensors: Mapping[str, Tensor],
    generation_config: Mapping[str, Any] | None = None,
) -> None:
    """Writes a model's folder, whole or not at all; files in it that are not a model's stay.

    Args:
        folder: Where to.
        options: The model's config.
        training: Plain values that say how it was trained.
        vocabulary: Its vocabulary.
        tensors: Its weights by name.
        generation_config: Its own defaults for sampling, where it has them.

    Raises:
        CheckpointError: It cannot be written.
    """
    config = {"model_type": _MODEL_TYPE, "vocab_size": len(vocabulary), "training": training, **options}
    with atomic_directory(folder, owned=MODEL_FILES) as staged:
        (staged / "config.json").write_bytes(to_json(versioned(_FORMAT, config)))
        (staged / "vocabulary.json").write_bytes(to_json(versioned(_FORMAT, vocabulary.to_dict())))
        write_tensors(staged / _WEIGHTS, tensors)
        if generation_config:
            (staged / "generation_config.json").write_bytes(to_json(dict(generation_config)))
        (staged / "README.md").write_text(_model_card({**options, **training}, vocabulary, tensors), encoding="utf-8")


def open_model_folder(folder: Path) -> AbstractContextManager[SavedFolder]:
    """Opens the files of a model's folder that are loaded; see `open_folder`."""
    hint = "give the folder that save_pretrained or 'train --output' wrote"
    return open_folder(folder, LOADED_FILES, hint=hint)


def read_description(
    files: SavedFolder, *, option_names: Collection[str], tokenizer: str | Tokenizer | None = None
) -> tuple[dict[str, Any], dict[str, Any], Vocabulary, dict[str, Any]]:
    """Reads everything but the weights.

    Args:
        files: What `open_model_folder` opened.
        option_names: The options that a config may have.
        tokenizer: The tokenizer, where it is not to be the saved one.

    Returns:
        The config's options, how it was trained, the vocabulary, and what is saved of its tokenizer.

    Raises:
        CheckpointError: The folder is foreign, incomplete or damaged.
        VocabularyError: The model needs its user's tokenizer.
    """
    folder = files.path
    if "config.json" not in files:
        raise CheckpointError(
            f"{folder}: not a saved model (there is no config.json in it); give the folder that save_pretrained or "
            "'train --output' wrote"
        )
    options = files.read_versioned(
        "config.json",
        _FORMAT,
        required=("model_type", "vocab_size"),
        optional=("training", *option_names),
        max_bytes=_MAX_CONFIG_BYTES,
    )
    if options.pop("model_type") != _MODEL_TYPE:
        raise CheckpointError(
            f"{folder / 'config.json'}: not a model of this library (model_type is not {_MODEL_TYPE!r})"
        )
    training, vocab_size = options.pop("training", {}), options.pop("vocab_size")
    saved = files.read_versioned(
        "vocabulary.json",
        _FORMAT,
        required=Vocabulary.SAVED,
        max_bytes=MAX_VOCABULARY_BYTES,
        limits=VOCABULARY_LIMITS,
    )
    _check_rows(files, saved["tokens"])
    try:
        vocabulary = Vocabulary.restore(saved, tokenizer=tokenizer)
    except (VocabularyError, ConfigError) as error:
        if tokenizer is not None or Vocabulary.needs_tokenizer(saved):  # it is not the file that is wrong
            raise
        raise CheckpointError(f"{folder / 'vocabulary.json'}: {error}; the file is damaged or foreign") from error
    if len(vocabulary) != vocab_size:
        raise CheckpointError(
            f"{folder}: config.json tells of {vocab_size!r:.40} tokens, vocabulary.json holds {len(vocabulary)}; "
            "the files are of different models"
        )
    return options, training if isinstance(training, dict) else {}, vocabulary, saved["tokenizer"]


def _check_rows(files: SavedFolder, tokens: object) -> None:
    """Makes sure that there are as many vectors as tokens, before anything is made of them; raises CheckpointError."""
    path = files.path / _WEIGHTS
    kind = read_kinds(files.open(_WEIGHTS), path).get(_EMBEDDING)
    rows = kind.shape[0] if kind is not None and kind.shape else 0
    if isinstance(tokens, list) and not 0 < rows - len(tokens) <= _MOST_SPECIAL:
        raise CheckpointError(
            f"{path}: {_EMBEDDING!r} is {kind or 'missing'}, vocabulary.json holds {len(tokens):,} tokens besides the "
            "special ones; the files are of different models, or damaged"
        )


def read_generation_config(files: SavedFolder) -> dict[str, Any]:
    """A model's own defaults for sampling; empty where it has none.

    Raises:
        CheckpointError: The file is damaged.
    """
    name = "generation_config.json"
    if name not in files:
        return {}
    path = files.path / name
    saved = parse_json(files.read(name, max_bytes=_MAX_CONFIG_BYTES), name=str(path))
    if not isinstance(saved, dict):
        raise CheckpointError(f"{path}: not an object with options of sampling; the file is damaged or foreign")
    return saved


def read_weights(files: SavedFolder, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Reads the weights, once the file's header was held against what the config asks for.

    Args:
        files: What `open_model_folder` opened.
        expected: Tensors of the right shapes and types by name, on any device.

    Raises:
        CheckpointError: The file is missing or damaged, or a tensor is missing, extra, or of another shape or type.
    """
    path = files.path / _WEIGHTS
    kinds = read_kinds(files.open(_WEIGHTS), path)
    check_kinds(path, kinds, kinds_of(expected), by="config.json")
    return load_tensors(files.read(_WEIGHTS, max_bytes=MAX_TENSOR_BYTES), path)


def _model_card(facts: Mapping[str, Any], vocabulary: Vocabulary, tensors: Mapping[str, Tensor]) -> str:
    listed = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    return f"""---
language: zh
library_name: zh-lstm-lm
pipeline_tag: text-generation
---

# A word-level LSTM language model of Chinese

{sum(tensor.numel() for tensor in tensors.values()):,} weights, {len(vocabulary):,} tokens, \
tokenizer {vocabulary.tokenizer.fingerprint or "of its user"}.

{listed}

```python
from zh_lstm_lm import LSTMLanguageModel, Sampler

model = LSTMLanguageModel.from_pretrained("this-folder")
print(Sampler(model).generate("话说", max_new_tokens=200))
```
"""
