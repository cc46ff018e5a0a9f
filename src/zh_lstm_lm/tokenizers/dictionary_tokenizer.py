"""Common base of jieba and rjieba: the hidden Markov model option, the user's words, and the joining of tokens."""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from zh_lstm_lm._config import check_type
from zh_lstm_lm.tokenizers.token_merging import MERGING_VERSION, WordFinder, join_spans, merge_tokens
from zh_lstm_lm.tokenizers.user_dictionary import UserDictionary, check_user_dictionary, read_user_dictionary

__all__ = ["DictionaryTokenizer"]

# jieba finds no word that contains any other character.
_JOINABLE = re.compile(r"[\u4e00-\u9fd5a-zA-Z0-9+#&._%-]+")


class DictionaryTokenizer:
    """Base of the tokenizers with jieba's algorithm; for the options see `get_tokenizer`.

    A user's word with None as its frequency gets the frequency by which it is not cut. `fingerprint` changes with
    everything that can change a token.
    """

    def __init__(self, *, hmm: bool = True, user_dictionary: "Mapping[str, int | None] | None" = None) -> None:
        check_type("hmm", hmm, bool)
        self.hmm = hmm
        words: UserDictionary = {} if user_dictionary is None else check_user_dictionary(user_dictionary)
        self.user_dictionary = words
        self._segmenter_words = {word: frequency for word, frequency in words.items() if _JOINABLE.fullmatch(word)}
        others = [word for word in words if word not in self._segmenter_words and words[word] != 0]
        self._other_words = WordFinder(others) if others else None
        digest = hashlib.sha256(json.dumps(words).encode("utf-8")).hexdigest()[:12]
        own = f" user_dictionary={digest}" if words else ""
        self.fingerprint: str | None = f"{self._describe()} hmm={hmm} merging={MERGING_VERSION}{own}"

    @staticmethod
    def read_options(**options: Any) -> dict[str, Any]:
        """Returns the options as plain values, with the words of a user dictionary instead of its file."""
        if options.get("user_dictionary") is not None:
            options["user_dictionary"] = read_user_dictionary(options["user_dictionary"])
        return options

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), hmm=self.hmm, user_dictionary=self.user_dictionary or None), ()

    def tokenize(self, text: str) -> list[str]:
        """Cuts a paragraph into words."""
        tokens = merge_tokens(text, self._cut(text))
        return tokens if self._other_words is None else join_spans(text, tokens, self._other_words.spans(text))

    def _describe(self) -> str:
        """Returns the library, its version, and the checksum of its dictionary."""
        raise NotImplementedError

    def _cut(self, text: str) -> list[str]:
        """Returns the library's own tokens, which concatenate to the text."""
        raise NotImplementedError
