"""Registered tokenizers, which saved models refer to by name."""

import importlib
from typing import Any

from zh_lstm_lm._config import nearest_name, shown
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.tokenizers.base import LosslessTokenizer, Tokenizer

__all__ = ["TOKENIZERS", "get_tokenizer", "restore_tokenizer"]

TOKENIZERS = {
    "jieba": ("zh_lstm_lm.tokenizers.jieba_tokenizer", "JiebaTokenizer"),
    "rjieba": ("zh_lstm_lm.tokenizers.rjieba_tokenizer", "RjiebaTokenizer"),
    "characters": ("zh_lstm_lm.tokenizers.plain_tokenizers", "CharacterTokenizer"),
    "hf": ("zh_lstm_lm.tokenizers.trained_tokenizers", "HuggingFaceTokenizer"),
    "sentencepiece": ("zh_lstm_lm.tokenizers.trained_tokenizers", "SentencePieceTokenizer"),
    "whitespace": ("zh_lstm_lm.tokenizers.plain_tokenizers", "WhitespaceTokenizer"),
}
"""Name to module and class. It is closed on purpose: a saved model can only select from it."""


def get_tokenizer(tokenizer: str | Tokenizer, **options: Any) -> LosslessTokenizer:
    """Returns a registered tokenizer, or adapts a user's object.

    Args:
        tokenizer: A name, or an object with the method of `Tokenizer`. The names are ``"jieba"``, ``"rjieba"``,
            ``"characters"``, ``"hf"``, ``"sentencepiece"`` and ``"whitespace"``.
        **options: Options of the named tokenizer. jieba and rjieba: ``hmm`` (True) and ``user_dictionary``, the path
            of a file with one ``word [frequency] [tag]`` per line, a list of such lines, or a mapping from word to
            frequency. hf and sentencepiece: ``path`` of a ``tokenizer.json`` or a ``.model``. whitespace:
            ``separator`` (one space).

    Returns:
        The tokenizer. Its ``options`` contain the content of every given file, so a saved model needs no file.

    Raises:
        ConfigError: There is no such name or option, a file cannot be read, or the object lacks the method.
        MissingDependencyError: The tokenizer's library is not installed.

    Example:
        >>> get_tokenizer("jieba", user_dictionary=["乾坤大挪移"]).tokenize("使出乾坤大挪移")
        ['使出', '乾坤大挪移']
    """
    if not isinstance(tokenizer, str):
        if options:
            raise ConfigError(f"options are for a tokenizer's name, got {shown(options)} with {tokenizer!r:.80}")
        return tokenizer if isinstance(tokenizer, LosslessTokenizer) else LosslessTokenizer(tokenizer)
    return _make(tokenizer, options, read=True)


def restore_tokenizer(name: str, options: dict[str, Any]) -> LosslessTokenizer:
    """Makes a tokenizer from the name and options of a `LosslessTokenizer`; no file is read, whatever they contain."""
    return _make(name, options, read=False)


def _make(name: str, options: dict[str, Any], *, read: bool) -> LosslessTokenizer:
    if name not in TOKENIZERS:
        raise ConfigError(
            f"there is no tokenizer {shown(name)}{nearest_name(name, TOKENIZERS)}; "
            f"the registered ones are {', '.join(TOKENIZERS)}; any object with the method tokenize(text) works too"
        )
    module, class_name = TOKENIZERS[name]
    adapter = getattr(importlib.import_module(module), class_name)
    try:
        if read and hasattr(adapter, "read_options"):
            options = adapter.read_options(**options)
        inner = adapter(**options)
    except TypeError as error:
        raise ConfigError(
            f"the tokenizer {name!r} does not take the options {shown(options)} ({shown(str(error))}); "
            "see get_tokenizer for the options of each tokenizer"
        ) from error
    return LosslessTokenizer(inner, name=name, options=options, separator=getattr(inner, "separator", ""))
