"""pkuseg, a conditional random field trained on newspapers, the web, or other domains (as the package spacy-pkuseg)."""

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import Any, cast

from zh_lstm_lm._config import check_choice
from zh_lstm_lm.errors import DataError
from zh_lstm_lm.runtime.optional import require

__all__ = ["PkusegTokenizer"]

_MODELS = ("spacy_ontonotes", "news", "web", "medicine", "tourism", "mixed")


class PkusegTokenizer:
    """Cuts text into words with pkuseg (the extra ``pkuseg``).

    pkuseg keeps its models in ``$PKUSEG_HOME`` (``~/.pkuseg``), and downloads one that is not there and checks its
    SHA-256 sum. It leaves spaces out, which the library puts back.

    Args:
        model: ``"spacy_ontonotes"``, ``"news"``, ``"web"``, ``"medicine"``, ``"tourism"`` or ``"mixed"``. A folder is
            not taken: a saved model could not bring it along.

    Raises:
        ConfigError: There is no such model.
        MissingDependencyError: spacy_pkuseg is not installed.
    """

    def __init__(self, *, model: str = "spacy_ontonotes") -> None:
        check_choice("model", model, _MODELS)
        self._library = require("spacy_pkuseg", extra="pkuseg")
        self._model = model
        self._segmenter: Any = None
        self.fingerprint = f"pkuseg {version('spacy-pkuseg')} model={model}"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), model=self._model), ()

    def tokenize(self, text: str) -> list[str]:
        """Cuts a paragraph into words; spaces are left out.

        Raises:
            DataError: The model is not there and cannot be downloaded.
        """
        if self._segmenter is None:
            try:
                self._segmenter = self._library.pkuseg(self._model)
            except OSError as error:
                raise DataError(
                    f"the pkuseg model {self._model!r} cannot be loaded or downloaded ({error}); put it into "
                    "$PKUSEG_HOME, or use another tokenizer"
                ) from error
        return cast(list[str], self._segmenter.cut(text))

    def detokenize(self, tokens: Sequence[str]) -> str:
        """Concatenates the tokens."""
        return "".join(tokens)
