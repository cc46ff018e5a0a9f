"""Saving and restoring the tokenizer of a vocabulary."""

from typing import Any

from zh_lstm_lm.errors import VocabularyError
from zh_lstm_lm.tokenizers.base import LosslessTokenizer, Tokenizer
from zh_lstm_lm.tokenizers.probe import cut_probe
from zh_lstm_lm.tokenizers.registry import get_tokenizer, restore_tokenizer

__all__ = ["check_saved", "describe_tokenizer", "is_users_own", "tokenizer_of"]

_MAX_NAME_CHARACTERS = 1000
# The probe text has a tenth of these characters.
_MAX_PROBE_CHARACTERS = 10_000


def describe_tokenizer(tokenizer: LosslessTokenizer) -> dict[str, Any]:
    """Returns a tokenizer as plain JSON values: its name, options and fingerprint, and its tokens of a probe text."""
    return {
        "name": tokenizer.name,
        "options": tokenizer.options,
        "fingerprint": tokenizer.fingerprint,
        "probe": cut_probe(tokenizer),
    }


def check_saved(saved: dict[str, Any]) -> None:
    """Checks the types and sizes of a saved tokenizer; raises KeyError or TypeError."""
    name, options, probe = saved["name"], saved["options"], saved.get("probe")
    fingerprint = saved.get("fingerprint")
    if not isinstance(options, dict) or not all(_is_short(text) for text in (name, fingerprint)):
        raise TypeError("tokenizer: name, options or fingerprint")
    texts = probe if isinstance(probe, list) else []
    fits = isinstance(probe, (list, type(None))) and all(isinstance(text, str) for text in texts)
    if not fits or sum(map(len, texts)) > _MAX_PROBE_CHARACTERS:
        raise TypeError("tokenizer: probe")


def _is_short(text: object) -> bool:
    return text is None or (isinstance(text, str) and len(text) <= _MAX_NAME_CHARACTERS)


def is_users_own(saved: object) -> bool:
    """Returns True if the saved tokenizer was a user's object, which cannot be restored."""
    return isinstance(saved, dict) and "name" in saved and saved["name"] is None


def tokenizer_of(saved: dict[str, Any], given: str | Tokenizer | None) -> LosslessTokenizer:
    """Makes the tokenizer of a saved vocabulary; a user's object, which is not saved, raises VocabularyError."""
    if given is None and is_users_own(saved):
        raise VocabularyError(
            "this vocabulary was made with a user's tokenizer object, which is not saved; pass the same object, as in "
            "from_pretrained(path, tokenizer=…)"
        )
    if given is None or isinstance(given, str):
        return restore_tokenizer(given or saved["name"], {**saved["options"]})
    return get_tokenizer(given)
