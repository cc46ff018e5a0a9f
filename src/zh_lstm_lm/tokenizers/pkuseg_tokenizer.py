"""pkuseg, a conditional random field for newspapers, the web and other domains (package spacy-pkuseg)."""

from functools import partial
from importlib.metadata import version
from typing import Any, cast

from zh_lstm_lm._config import check_choice
from zh_lstm_lm.errors import DataError
from zh_lstm_lm.runtime.optional import require

__all__ = ["PkusegTokenizer"]

_MODELS = ("spacy_ontonotes", "news", "web", "medicine", "tourism", "mixed")


class PkusegTokenizer:
    """Word segmentation with pkuseg (extra ``pkuseg``).

    pkuseg keeps its models in ``$PKUSEG_HOME`` (``~/.pkuseg``). It downloads a missing one and checks its SHA-256
    checksum. It drops spaces, which `LosslessTokenizer` restores.

    Args:
        model: ``"spacy_ontonotes"``, ``"news"``, ``"web"``, ``"medicine"``, ``"tourism"`` or ``"mixed"``. Folders are
            not accepted, since a saved model could not contain them.

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
        """Cuts a paragraph into words without the spaces.

        Raises:
            DataError: The model is missing and cannot be downloaded.
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
