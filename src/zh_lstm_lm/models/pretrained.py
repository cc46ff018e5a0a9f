"""A saved model's folder: sizes and vocabulary as JSON, weights as safetensors, a README, and a manifest of sums."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import CheckpointError, ConfigError, VocabularyError
from zh_lstm_lm.storage.atomic import atomic_directory, recover_directory
from zh_lstm_lm.storage.safe_reading import MANIFEST, read_json, read_versioned, verify_manifest, versioned
from zh_lstm_lm.storage.strict_json import to_json
from zh_lstm_lm.storage.tensors import check_kinds, kinds_of, read_kinds, read_tensors, write_tensors
from zh_lstm_lm.tokenizers.base import Tokenizer

__all__ = ["MODEL_FILES", "read_description", "read_generation_config", "read_weights", "write_model_folder"]

MODEL_FILES = frozenset({"config.json", "model.safetensors", "vocabulary.json", "README.md", "generation_config.json"})
_WEIGHTS = "model.safetensors"
_MODEL_TYPE = "zh-lstm-lm"
_FORMAT = 1


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


def read_description(
    folder: Path, *, option_names: Collection[str], tokenizer: str | Tokenizer | None = None
) -> tuple[dict[str, Any], dict[str, Any], Vocabulary]:
    """Reads everything but the weights.

    Args:
        folder: A folder that `write_model_folder` wrote.
        option_names: The options that a config may have.
        tokenizer: The tokenizer, where it is not to be the saved one.

    Returns:
        The config's options, how it was trained, and the vocabulary.

    Raises:
        CheckpointError: The folder is missing, foreign, incomplete or damaged.
        VocabularyError: The model needs its user's tokenizer.
    """
    try:
        recover_directory(folder, owned=MODEL_FILES)
        there, complete = folder.is_dir(), (folder / "config.json").is_file()
    except (OSError, ValueError):  # no name of a folder at all
        there = complete = False
    if not complete:
        what = "not a saved model (there is no config.json in it)" if there else "no such folder"
        raise CheckpointError(f"{folder}: {what}; give the folder that save_pretrained or 'train --output' wrote")
    if (folder / MANIFEST).exists():  # a folder that was put together by hand may have none
        verify_manifest(folder, only=("config.json", "vocabulary.json"))
    options = read_versioned(
        folder / "config.json",
        _FORMAT,
        required=("model_type", "vocab_size"),
        optional=("training", *option_names),
        max_bytes=1 << 20,
    )
    if options.pop("model_type") != _MODEL_TYPE:
        raise CheckpointError(
            f"{folder / 'config.json'}: not a model of this library (model_type is not {_MODEL_TYPE!r})"
        )
    training, vocab_size = options.pop("training", {}), options.pop("vocab_size")
    saved = read_versioned(folder / "vocabulary.json", _FORMAT, required=Vocabulary.SAVED)
    try:
        vocabulary = Vocabulary.from_dict(saved, tokenizer=tokenizer)
    except (VocabularyError, ConfigError) as error:
        if tokenizer is not None or Vocabulary.needs_tokenizer(saved):  # it is not the file that is wrong
            raise
        raise CheckpointError(f"{folder / 'vocabulary.json'}: {error}; the file is damaged or foreign") from error
    if len(vocabulary) != vocab_size:
        raise CheckpointError(
            f"{folder}: config.json tells of {vocab_size!r:.40} tokens, vocabulary.json holds {len(vocabulary)}; "
            "the files are of different models"
        )
    return options, training if isinstance(training, dict) else {}, vocabulary


def read_generation_config(folder: Path) -> dict[str, Any]:
    """A model's own defaults for sampling; empty where it has none.

    Raises:
        CheckpointError: The file is damaged.
    """
    path = folder / "generation_config.json"
    if not path.exists():
        return {}
    saved = read_json(path, max_bytes=1 << 20)
    if not isinstance(saved, dict):
        raise CheckpointError(f"{path}: not an object with options of sampling; the file is damaged or foreign")
    return saved


def read_weights(folder: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Reads the weights, once the file's header was held against what the config asks for.

    Args:
        folder: The model's folder.
        expected: Tensors of the right shapes and types by name, on any device.

    Raises:
        CheckpointError: The file is missing or damaged, or a tensor is missing, extra, or of another shape or type.
    """
    path = folder / _WEIGHTS
    check_kinds(path, read_kinds(path), kinds_of(expected), by="config.json")
    if (folder / MANIFEST).exists():
        verify_manifest(folder, only=(_WEIGHTS,))
    return read_tensors(path)


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
