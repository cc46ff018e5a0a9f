"""SentencePiece models (unigram and BPE), from a ``.model`` file."""

import base64
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

__all__ = ["SentencePieceTokenizer"]


class SentencePieceTokenizer:
    """SentencePiece model (extra ``sentencepiece``), given as the content of a ``.model`` file in base64.

    Its tokens are pieces of the text itself: the model's normaliser (NFKC, unless it was trained with ``identity``)
    affects the positions of the cuts, and changes no character. A saved model contains the content and needs no file.
    """

    def __init__(self, *, model: str) -> None:
        sentencepiece = require("sentencepiece", extra="sentencepiece")
        check_type("model", model, str)
        try:
            content = base64.b64decode(model, validate=True)
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=content)
            # An empty model raises here.
            self._processor.encode("", return_type="offset_mapping")
        except (RuntimeError, ValueError) as error:
            raise ConfigError(
                f"not the content of a SentencePiece model ({error}); give the path of a .model file"
            ) from error
        self._model = model
        self.fingerprint: str | None = (
            f"sentencepiece {version('sentencepiece')} model={hashlib.sha256(content).hexdigest()[:12]}"
        )

    @staticmethod
    def read_options(*, path: str | PathLike[str] | None = None, **options: Any) -> dict[str, Any]:
        """Returns the options as plain values, with the content of the file instead of its path."""
        if path is None:
            return options
        try:
            return {"model": base64.b64encode(Path(path).read_bytes()).decode("ascii"), **options}
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"path: {path!r} cannot be read ({error}); give the path of a .model file") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), model=self._model), ()

    def tokenize(self, text: str) -> list[str]:
        """Cuts a paragraph into pieces."""
        return cut_at_offsets(text, self._processor.encode(text, return_type="offset_mapping")["offsets"])
