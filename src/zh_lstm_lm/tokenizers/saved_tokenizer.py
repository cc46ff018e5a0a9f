"""Saving and restoring the tokenizer of a vocabulary."""

from typing import Any

from zh_lstm_lm.errors import VocabularyError
from zh_lstm_lm.tokenizers.base import LosslessTokenizer, Tokenizer
from zh_lstm_lm.tokenizers.probe import cut_probe
from zh_lstm_lm.tokenizers.registry import get_tokenizer, restore_tokenizer

__all__ = ["describe_tokenizer", "is_users_own", "tokenizer_of"]


def describe_tokenizer(tokenizer: LosslessTokenizer) -> dict[str, Any]:
    """Returns a tokenizer as plain JSON values: its name, options and fingerprint, and its tokens of a probe text."""
    return {
        "name": tokenizer.name,
        "options": tokenizer.options,
        "fingerprint": tokenizer.fingerprint,
        "probe": cut_probe(tokenizer),
    }


def is_users_own(saved: object) -> bool:
    """Returns True if the saved tokenizer was a user's object, which cannot be restored."""
    return isinstance(saved, dict) and "name" in saved and saved["name"] is None


def tokenizer_of(saved: dict[str, Any], given: str | Tokenizer | None) -> LosslessTokenizer:
    """Makes the tokenizer of a saved vocabulary.

    Args:
        saved: The output of `describe_tokenizer`.
        given: The user's replacement; a name gets the saved options.

    Raises:
        VocabularyError: The tokenizer was a user's object, and no replacement is given.
        ConfigError: The name or the options are unknown.
        MissingDependencyError: The tokenizer's library is not installed.
        KeyError, TypeError: `saved` does not describe a tokenizer.
    """
    if given is None and is_users_own(saved):
        raise VocabularyError(
            "this vocabulary was made with a user's tokenizer object, which is not saved; pass the same object, as in "
            "from_pretrained(path, tokenizer=…)"
        )
    if given is None or isinstance(given, str):
        return restore_tokenizer(given or saved["name"], {**saved["options"]})
    return get_tokenizer(given)
