"""jieba, the reference segmenter, with a dictionary of its own and none of its side effects."""

import re
import sys
import threading
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from zh_lstm_lm.storage.safe_reading import digest
from zh_lstm_lm.tokenizers.dictionary_tokenizer import DictionaryTokenizer
from zh_lstm_lm.tokenizers.jieba_dictionary import JiebaDictionary

__all__ = ["JiebaTokenizer"]

_PRIVATE_NAME = "zh_lstm_lm.tokenizers._jieba"
_IMPORTING = threading.Lock()  # the module is one for all tokenizers
_HAN = re.compile("[\u4e00-\u9fd5]+")  # what jieba's hidden Markov model cuts


class JiebaTokenizer(DictionaryTokenizer):
    """Cuts text into words with jieba's default dictionary and the user's words.

    It uses a ``jieba.Tokenizer`` of its own, so that words added to jieba elsewhere do not reach it, and fills its
    dictionary itself: jieba's own cache in the shared temporary folder is neither read nor written.
    """

    def __init__(self, *, hmm: bool = True, user_dictionary: "Mapping[str, int | None] | None" = None) -> None:
        super().__init__(hmm=hmm, user_dictionary=user_dictionary)
        # jieba keeps the words that may never be cut whole in a set of its module; here they are this tokenizer's own.
        self._never = {word for word, freq in self._segmenter_words.items() if freq == 0 and _HAN.fullmatch(word)}
        self._lock = threading.Lock()
        self._segmenter: Any = None
        self._dictionary: JiebaDictionary

    def _describe(self) -> str:
        return f"jieba {version('jieba')} dictionary={digest(_dictionary_path())[:12]}"

    def _cut(self, text: str) -> list[str]:
        if self._segmenter is None:
            with self._lock:
                if self._segmenter is None:
                    self._segmenter = self._build_segmenter()
        self._dictionary.load(text)
        tokens = cast(list[str], self._segmenter.lcut(text, HMM=self.hmm))
        if self._never:
            return [piece for token in tokens for piece in (token if token in self._never else (token,))]
        return tokens

    def _build_segmenter(self) -> Any:
        """A ready ``jieba.Tokenizer`` on our dictionary, with the user's words added in their order."""
        self._dictionary = JiebaDictionary(_dictionary_path())
        segmenter = _import_jieba().Tokenizer()
        segmenter.FREQ, segmenter.total = self._dictionary.frequencies, self._dictionary.total
        segmenter.initialized = True
        for word, frequency in self._segmenter_words.items():
            self._dictionary.load(word)  # first, or what is read later would take the place of the user's frequency
            if frequency == 0:
                segmenter.FREQ[word] = 0
            else:
                segmenter.add_word(word, frequency)
        return segmenter


def _place() -> Path:
    """The place of jieba's ``__init__.py``."""
    found = find_spec("jieba")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin)


def _dictionary_path() -> Path:
    """The place of jieba's ``dict.txt``."""
    return _place().with_name("dict.txt")


def _import_jieba() -> ModuleType:
    """Loads a copy of jieba under a name of its own.

    jieba keeps words that must be split in a set of the module, and puts a handler on its logger when it is imported.
    With a copy, neither reaches us from the user's jieba, nor the user's from us.
    """
    with _IMPORTING:
        if _PRIVATE_NAME not in sys.modules:
            place = _place()
            spec = spec_from_file_location(_PRIVATE_NAME, place, submodule_search_locations=[str(place.parent)])
            assert spec is not None
            assert spec.loader is not None
            module = sys.modules[_PRIVATE_NAME] = module_from_spec(spec)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of its age: invalid escapes, pkg_resources
                    spec.loader.exec_module(module)
            except BaseException:  # half a module would be taken for a whole one
                del sys.modules[_PRIVATE_NAME]
                raise
        return sys.modules[_PRIVATE_NAME]
