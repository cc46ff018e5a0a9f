"""Trained tokenizers of other libraries: Hugging Face's ``tokenizers`` (BPE, WordPiece, Unigram) and SentencePiece."""

import base64
import hashlib
from functools import partial
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

from zh_lstm_lm._config import check_type
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.runtime.optional import require
from zh_lstm_lm.tokenizers.base import cut_at_offsets

__all__ = ["HuggingFaceTokenizer", "SentencePieceTokenizer"]


class _TrainedTokenizer:
    """Base of tokenizers that are given as the content of a file; a saved model contains it and needs no file.

    Their tokens are pieces of the text itself, so a normaliser affects the positions of the cuts, and changes no
    character.
    """

    option: ClassVar[str]
    file: ClassVar[str]

    def __init__(self, content: str) -> None:
        check_type(self.option, content, str)
        self._content = content

    @staticmethod
    def to_option(data: bytes) -> str:
        """Returns the content of a file as the value of the option."""
        return data.decode("utf-8")

    @classmethod
    def read_options(cls, *, path: str | PathLike[str] | None = None, **options: Any) -> dict[str, Any]:
        """Returns the options as plain values, with the content of the file instead of its path."""
        if path is None:
            return options
        try:
            return {cls.option: cls.to_option(Path(path).read_bytes()), **options}
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"path: {path!r} cannot be read ({error}); give the path of a {cls.file}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **{self.option: self._content}), ()


class HuggingFaceTokenizer(_TrainedTokenizer):
    """Trained tokenizer of Hugging Face (extra ``hf``), given as the content of a ``tokenizer.json``.

    Special tokens are not added, and the unknown token loses nothing.
    """

    option = "definition"
    file = "tokenizer.json"

    def __init__(self, *, definition: str) -> None:
        tokenizers = require("tokenizers", extra="hf")
        super().__init__(definition)
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(definition)
        # The library raises a bare Exception.
        except Exception as error:
            raise ConfigError(f"not the content of a tokenizer.json ({error}); give the path of such a file") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        digest = hashlib.sha256(definition.encode("utf-8")).hexdigest()
        self.fingerprint: str | None = f"hf {version('tokenizers')} definition={digest[:12]}"

    def tokenize(self, text: str) -> list[str]:
        """Cuts a paragraph into pieces."""
        return cut_at_offsets(text, self._tokenizer.encode(text, add_special_tokens=False).offsets)


class SentencePieceTokenizer(_TrainedTokenizer):
    """SentencePiece model (extra ``sentencepiece``), given as the content of a ``.model`` file in base64."""

    option = "model"
    file = ".model file"

    def __init__(self, *, model: str) -> None:
        sentencepiece = require("sentencepiece", extra="sentencepiece")
        super().__init__(model)
        try:
            content = base64.b64decode(model, validate=True)
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=content)
            # An empty model raises here.
            self._processor.encode("", return_type="offset_mapping")
        except (RuntimeError, ValueError) as error:
            raise ConfigError(
                f"not the content of a SentencePiece model ({error}); give the path of a .model file"
            ) from error
        digest = hashlib.sha256(content).hexdigest()
        self.fingerprint: str | None = f"sentencepiece {version('sentencepiece')} model={digest[:12]}"

    @staticmethod
    def to_option(data: bytes) -> str:
        """Returns the content of a file in base64."""
        return base64.b64encode(data).decode("ascii")

    def tokenize(self, text: str) -> list[str]:
        """Cuts a paragraph into pieces."""
        return cut_at_offsets(text, self._processor.encode(text, return_type="offset_mapping")["offsets"])
