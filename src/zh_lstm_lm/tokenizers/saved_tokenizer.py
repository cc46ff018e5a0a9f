"""What is saved of a tokenizer with a model, and the tokenizer that comes of it."""

from typing import Any

from zh_lstm_lm.errors import VocabularyError
from zh_lstm_lm.tokenizers.base import LosslessTokenizer, Tokenizer
from zh_lstm_lm.tokenizers.probe import cut_probe
from zh_lstm_lm.tokenizers.registry import get_tokenizer, restore_tokenizer

__all__ = ["check_saved", "describe_tokenizer", "is_users_own", "tokenizer_of"]


_MAX_NAME_CHARACTERS = 1000
_MAX_PROBE_CHARACTERS = 10_000  # ten times what is cut today


def describe_tokenizer(tokenizer: LosslessTokenizer) -> dict[str, Any]:
    """A tokenizer as plain JSON values: what it is, and what it makes of a probe text."""
    return {
        "name": tokenizer.name,
        "options": tokenizer.options,
        "fingerprint": tokenizer.fingerprint,
        "probe": cut_probe(tokenizer),
    }


def check_saved(saved: dict[str, Any]) -> None:
    """Makes sure that what was saved of a tokenizer has the right types, and that no part of it is out of proportion.

    Raises:
        KeyError, TypeError: It is not so.
    """
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
