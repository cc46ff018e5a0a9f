"""The tokenizers that have a name, so that a saved model can say which one it was trained with."""

import importlib
from typing import Any

from zh_lstm_lm._config import nearest_name
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.tokenizers.base import LosslessTokenizer, Tokenizer

__all__ = ["TOKENIZERS", "get_tokenizer"]

TOKENIZERS = {
    "jieba": ("zh_lstm_lm.tokenizers.jieba_tokenizer", "JiebaTokenizer"),
    "rjieba": ("zh_lstm_lm.tokenizers.rjieba_tokenizer", "RjiebaTokenizer"),
    "characters": ("zh_lstm_lm.tokenizers.character_tokenizer", "CharacterTokenizer"),
}
"""Name to module and class. It is closed on purpose: what a saved model names can only select from it."""


def get_tokenizer(tokenizer: str | Tokenizer, **options: Any) -> LosslessTokenizer:
    """Returns the tokenizer of a registered name, or the user's own object, held to its promise.

    Args:
        tokenizer: ``"jieba"``, ``"rjieba"``, ``"characters"``, or an object with the methods of `Tokenizer`.
        **options: Options of the named tokenizer, such as ``hmm=False``.

    Raises:
        ConfigError: There is no such name or option, or the object lacks the methods.
        MissingDependencyError: The tokenizer's library is not installed.
    """
    if isinstance(tokenizer, LosslessTokenizer):
        return tokenizer
    if not isinstance(tokenizer, str):
        return LosslessTokenizer(tokenizer)
    if tokenizer not in TOKENIZERS:
        raise ConfigError(
            f"there is no tokenizer {tokenizer!r}{nearest_name(tokenizer, TOKENIZERS)}; "
            f"the registered ones are {', '.join(TOKENIZERS)}; any object with tokenize and detokenize works too"
        )
    module, name = TOKENIZERS[tokenizer]
    try:
        inner = getattr(importlib.import_module(module), name)(**options)
    except TypeError as error:
        raise ConfigError(f"the tokenizer {tokenizer!r} does not take the options {options!r} ({error})") from error
    return LosslessTokenizer(inner, name=tokenizer, options=options)
