"""A saved model's folder: sizes and vocabulary as JSON, weights and n-grams as safetensors, a README, and a manifest."""

import os
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import Any

from torch import Tensor
from typing_extensions import Self

from zh_lstm_lm._config import check_type
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import CheckpointError, ConfigError, MissingDependencyError, VocabularyError
from zh_lstm_lm.models.base import HubModel, hub_library
from zh_lstm_lm.storage.atomic import atomic_directory
from zh_lstm_lm.storage.hub import names_a_repository, open_repository
from zh_lstm_lm.storage.safe_reading import versioned
from zh_lstm_lm.storage.saved_folder import SavedFolder, open_folder
from zh_lstm_lm.storage.strict_json import MAX_VOCABULARY_BYTES, VOCABULARY_LIMITS, parse_json, to_json
from zh_lstm_lm.storage.tensors import MAX_TENSOR_BYTES, check_kinds, kinds_of, load_tensors, read_kinds, write_tensors
from zh_lstm_lm.tokenizers.base import Tokenizer

__all__ = [
    "LOADED_FILES", "MIXTURE", "MODEL_FILES", "NGRAMS", "SavedModel", "named_folder", "open_model_folder",
    "read_description", "read_generation_config", "read_vocabulary", "read_weights", "write_model_folder",
]  # fmt: skip

MIXTURE, NGRAMS = "mixture.json", "ngram.safetensors"
"""The files of a mixture besides those of its LSTM; see `saved_mixture`."""
MODEL_FILES = frozenset(
    {"config.json", "model.safetensors", "vocabulary.json", "README.md", "generation_config.json", MIXTURE, NGRAMS}
)
LOADED_FILES = MODEL_FILES - {"README.md"}
"""All that is read; the card is for people, and theirs to edit."""
_WEIGHTS = "model.safetensors"
# Tokens of a vocabulary that are not saved.
_MOST_SPECIAL = 3
_MODEL_TYPE = "zh-lstm-lm"
_FORMAT = 1
_MAX_CONFIG_BYTES = 1 << 20


class SavedModel(HubModel):
    """The base of models that are saved as mixtures are; `training_summary` says how the model was made."""

    training_summary: dict[str, Any]

    def save_pretrained(self, path: str | PathLike[str]) -> None:
        """Saves the model into a folder that holds everything; see `LSTMLanguageModel.save_pretrained`.

        Args:
            path: The folder.

        Raises:
            ConfigError: It consists of other models than one LSTM, n-gram models, mixtures and caches.
            CheckpointError: The folder cannot be written.
        """
        from zh_lstm_lm.models.saved_mixture import save_model  # noqa: PLC0415 - which imports this module

        save_model(self, path)

    @classmethod
    def from_pretrained(
        cls,
        path: str | PathLike[str],
        *,
        tokenizer: str | Tokenizer | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Loads the outermost model of this class; for the options see `zh_lstm_lm.from_pretrained`.

        Raises:
            CheckpointError: The folder is damaged or cannot be fetched, or holds no model of this class.
            VocabularyError: The model needs its user's tokenizer.
        """
        from zh_lstm_lm.models.saved_mixture import load_part  # noqa: PLC0415 - which imports this module

        return load_part(cls, path, tokenizer, revision=revision, token=token, local_files_only=local_files_only)


def named_folder(path: str | PathLike[str]) -> Path:
    """Returns the folder that a user's path names, or leads to as a link; refuses what cannot name a folder."""
    check_type("path", path, str, PathLike)
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:
        raise CheckpointError(f"{path!r:.80}: cannot name a folder ({error}); give another path") from error


def write_model_folder(
    folder: Path,
    *,
    vocabulary: Vocabulary,
    options: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    tensors: Mapping[str, Tensor] | None = None,
    generation_config: Mapping[str, Any] | None = None,
    mixture: Mapping[str, Any] | None = None,
    ngrams: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes a model's folder, whole or not at all; files in it that are not a model's stay.

    A symbolic link in place of the folder is not followed. `options` are the config of the LSTM, and `mixture`
    describes a mixture or n-gram model; each is None without one.
    """
    dtypes = sorted({str(tensor.dtype) for tensor in (tensors or {}).values()})
    if len(dtypes) > 1:
        raise CheckpointError(
            f"{folder}: not written, since the weights are of several types ({', '.join(dtypes)}), and a saved model has "
            "one; convert them first, as with model.float()"
        )
    facts: dict[str, Any] = {}
    with atomic_directory(folder, owned=MODEL_FILES) as staged:
        (staged / "vocabulary.json").write_bytes(to_json(versioned(_FORMAT, vocabulary.to_dict())))
        if options is not None:
            facts = {**options, **(training or {})}
            config = {"model_type": _MODEL_TYPE, "vocab_size": len(vocabulary), "training": training or {}, **options}
            (staged / "config.json").write_bytes(to_json(versioned(_FORMAT, config)))
            write_tensors(staged / _WEIGHTS, tensors or {})
        if generation_config:
            (staged / "generation_config.json").write_bytes(to_json(dict(generation_config)))
        if mixture is not None:
            (staged / MIXTURE).write_bytes(to_json(versioned(_FORMAT, mixture)))
            write_tensors(staged / NGRAMS, ngrams or {})
        card = _model_card(facts, vocabulary, tensors or {}, mixture)
        (staged / "README.md").write_text(card, encoding="utf-8")


def open_model_folder(path: str | PathLike[str], **hub: Any) -> AbstractContextManager[SavedFolder]:
    """Opens the files of a model's folder that are loaded, or of a repository, with options of `open_repository`."""
    check_type("path", path, str, PathLike)
    check_type("revision", hub.get("revision"), str, NoneType)
    check_type("token", hub.get("token"), str, bool, NoneType)
    check_type("local_files_only", hub.get("local_files_only", False), bool)
    if names_a_repository(path, asked=any(hub.values())):
        try:
            library = hub_library()
        except MissingDependencyError as error:
            raise MissingDependencyError(f"{path}: no such folder, and to look on the Hub, {error}") from error
        return open_repository(library, str(path), LOADED_FILES, **hub)
    hint = "give the folder that save_pretrained or 'train --output' wrote"
    return open_folder(Path(path), LOADED_FILES, hint=hint)


def read_description(
    files: SavedFolder, *, option_names: Collection[str], tokenizer: str | Tokenizer | None = None
) -> tuple[dict[str, Any], dict[str, Any], Vocabulary, dict[str, Any]]:
    """Reads the config's options, how it was trained, the vocabulary, and what is saved of its tokenizer.

    `tokenizer` takes the place of the saved one; without it, a user's own raises VocabularyError.
    """
    folder = files.path
    if "config.json" not in files:
        if MIXTURE in files:
            raise CheckpointError(
                f"{folder}: holds an n-gram model without an LSTM; load it with zh_lstm_lm.from_pretrained"
            )
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
    vocabulary, saved_tokenizer = read_vocabulary(files, tokenizer)
    if len(vocabulary) != vocab_size:
        raise CheckpointError(
            f"{folder}: config.json names {vocab_size!r:.40} tokens, vocabulary.json holds {len(vocabulary)}; "
            "the files are of different models"
        )
    return options, training if isinstance(training, dict) else {}, vocabulary, saved_tokenizer


def read_vocabulary(files: SavedFolder, tokenizer: str | Tokenizer | None = None) -> tuple[Vocabulary, dict[str, Any]]:
    """Reads the vocabulary, and what is saved of its tokenizer; errors are those of `read_description`."""
    saved = files.read_versioned(
        "vocabulary.json",
        _FORMAT,
        required=Vocabulary.SAVED,
        optional=("special_tokens",),
        max_bytes=MAX_VOCABULARY_BYTES,
        limits=VOCABULARY_LIMITS,
    )
    if "config.json" in files:
        _check_rows(files, saved["tokens"])
    try:
        return Vocabulary.restore(saved, tokenizer=tokenizer), saved["tokenizer"]
    except (VocabularyError, ConfigError) as error:
        if tokenizer is not None or Vocabulary.needs_tokenizer(saved):  # it is not the file that is wrong
            raise
        path = files.path / "vocabulary.json"
        raise CheckpointError(f"{path}: {error}; the file is damaged or foreign") from error


def _check_rows(files: SavedFolder, tokens: object) -> None:
    """Makes sure that there are as many vectors as tokens, before anything is made of them; raises CheckpointError."""
    path = files.path / _WEIGHTS
    shapes = {name: kind.shape for name, kind in read_kinds(files.open(_WEIGHTS), path).items()}
    # The output layer has a bias for each token; each tail of an adaptive softmax has one in the head as well.
    biases = [shape[0] for name, shape in shapes.items() if name.startswith("output.") and len(shape) == 1]
    rows = sum(biases) - max(0, len(biases) - 1)
    if isinstance(tokens, list) and not 0 < rows - len(tokens) <= _MOST_SPECIAL:
        raise CheckpointError(
            f"{path}: the output layer has {rows:,} tokens, vocabulary.json holds {len(tokens):,} tokens besides the special "
            "ones; the files are of different models, or damaged"
        )


def read_generation_config(files: SavedFolder) -> dict[str, Any]:
    """Returns a model's own defaults for sampling; empty where it has none."""
    name = "generation_config.json"
    if name not in files:
        return {}
    path = files.path / name
    saved = parse_json(files.read(name, max_bytes=_MAX_CONFIG_BYTES), name=str(path))
    if not isinstance(saved, dict):
        raise CheckpointError(f"{path}: not an object with options of sampling; the file is damaged or foreign")
    return saved


def read_weights(files: SavedFolder, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Reads the weights, on any device, after comparing the header of the file with the expected tensors."""
    path = files.path / _WEIGHTS
    kinds = read_kinds(files.open(_WEIGHTS), path)
    check_kinds(path, kinds, kinds_of(expected), by="config.json")
    return load_tensors(files.read(_WEIGHTS, max_bytes=MAX_TENSOR_BYTES), path)


def _model_card(
    facts: Mapping[str, Any], vocabulary: Vocabulary, tensors: Mapping[str, Tensor], mixture: Mapping[str, Any] | None
) -> str:
    training = dict(mixture["training"]) if mixture is not None else {}
    tables = "".join(
        _parts_table(name, training.pop(name)) for name in ("valid_parts", "test_parts") if name in training
    )
    listed = "\n".join(f"- {name}: {value}" for name, value in {**facts, **training}.items())
    title, loader = "word-level LSTM language model", "LSTMLanguageModel"
    if mixture is not None:
        title, loader = f"language model ({mixture['name']})", "from_pretrained"
    return f"""---
language: zh
library_name: zh-lstm-lm
pipeline_tag: text-generation
---

# A {title} of Chinese

{sum(tensor.numel() for tensor in tensors.values()):,} weights, {len(vocabulary):,} tokens, \
tokenizer {vocabulary.tokenizer.fingerprint or "of its user"}.

{listed}
{tables}
```python
from zh_lstm_lm import {", ".join(sorted([loader, "Sampler"], key=lambda name: (name[0].islower(), name)))}

model = {loader}{".from_pretrained" if mixture is None else ""}("this-folder")
print(Sampler(model).generate("话说", max_new_tokens=200))
```
"""


def _parts_table(name: str, parts: Any) -> str:
    """Returns the metrics of each part of a mixture as a table."""
    rows = "".join(
        f"| {part['name']} | {part['weight']:.3f} | {part['bits_per_character']} | {part['perplexity']} |\n"
        for part in parts
    )
    about = {"valid_parts": "Validation", "test_parts": "Test"}[name]
    return f"\n| {about} | weight | bits per character | perplexity per token |\n|---|--:|--:|--:|\n{rows}"
