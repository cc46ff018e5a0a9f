"""Tokenizers of Hugging Face's library ``tokenizers`` (BPE, WordPiece, Unigram), from a ``tokenizer.json``."""

import hashlib
from functools import partial
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

from zh_lstm_lm._config import check_type
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.runtime.optional import require
from zh_lstm_lm.tokenizers.base import cut_at_offsets

__all__ = ["HuggingFaceTokenizer"]


class HuggingFaceTokenizer:
    """Trained tokenizer of Hugging Face (extra ``hf``), given as the content of a ``tokenizer.json``.

    Its tokens are pieces of the text itself, so its normaliser and its unknown token lose nothing. Special tokens are
    not added. A saved model contains the content and needs no file.
    """

    def __init__(self, *, definition: str) -> None:
        tokenizers = require("tokenizers", extra="hf")
        check_type("definition", definition, str)
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(definition)
        # The library raises a bare Exception.
        except Exception as error:
            raise ConfigError(f"not the content of a tokenizer.json ({error}); give the path of such a file") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._definition = definition
        digest = hashlib.sha256(definition.encode("utf-8")).hexdigest()
        self.fingerprint: str | None = f"hf {version('tokenizers')} definition={digest[:12]}"

    @staticmethod
    def read_options(*, path: str | PathLike[str] | None = None, **options: Any) -> dict[str, Any]:
        """Returns the options as plain values, with the content of the file instead of its path."""
        if path is None:
            return options
        try:
            return {"definition": Path(path).read_bytes().decode("utf-8"), **options}
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"path: {path!r} cannot be read ({error}); give the path of a tokenizer.json") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), definition=self._definition), ()

    def tokenize(self, text: str) -> list[str]:
        """Cuts a paragraph into pieces."""
        return cut_at_offsets(text, self._tokenizer.encode(text, add_special_tokens=False).offsets)
