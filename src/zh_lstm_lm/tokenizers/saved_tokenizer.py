"""What is saved of a tokenizer with a model, and the tokenizer that comes of it."""

from typing import Any

from zh_lstm_lm.errors import VocabularyError
from zh_lstm_lm.tokenizers.base import LosslessTokenizer, Tokenizer
from zh_lstm_lm.tokenizers.probe import cut_probe
from zh_lstm_lm.tokenizers.registry import get_tokenizer, restore_tokenizer

__all__ = ["describe_tokenizer", "is_users_own", "tokenizer_of"]


def describe_tokenizer(tokenizer: LosslessTokenizer) -> dict[str, Any]:
    """A tokenizer as plain JSON values: what it is, and what it makes of a probe text."""
    return {
        "name": tokenizer.name,
        "options": tokenizer.options,
        "fingerprint": tokenizer.fingerprint,
        "probe": cut_probe(tokenizer),
    }


def is_users_own(saved: object) -> bool:
    """Whether what was saved is of a tokenizer object of its user's, which cannot be made again."""
    return isinstance(saved, dict) and "name" in saved and saved["name"] is None


def tokenizer_of(saved: dict[str, Any], given: str | Tokenizer | None) -> LosslessTokenizer:
    """Makes the tokenizer of a saved vocabulary.

    Args:
        saved: What `describe_tokenizer` returned.
        given: What the user gives in its place; a name gets the saved options.

    Raises:
        VocabularyError: It was an object of the user's, and none is given.
        ConfigError: The name or options are not known.
        MissingDependencyError: Its library is not installed.
        KeyError, TypeError: What was saved is no tokenizer.
    """
    if given is None and is_users_own(saved):
        raise VocabularyError(
            "this vocabulary was made with a tokenizer object of its user's; give the same one, as in "
            "from_pretrained(path, tokenizer=…)"
        )
    if given is None or isinstance(given, str):
        return restore_tokenizer(given or saved["name"], {**saved["options"]})
    return get_tokenizer(given)
