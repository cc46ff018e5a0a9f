"""jieba, the reference segmenter, with a private dictionary and without side effects."""

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
# All tokenizers share one module.
_IMPORTING = threading.Lock()
# The characters that jieba's hidden Markov model cuts.
_HAN = re.compile("[\u4e00-\u9fd5]+")


class JiebaTokenizer(DictionaryTokenizer):
    """Word segmentation with jieba's default dictionary and the user's words.

    It has a private ``jieba.Tokenizer``, so words added to jieba elsewhere do not affect it, and fills the dictionary
    itself: jieba's cache in the shared temporary folder is neither read nor written.
    """

    def __init__(self, *, hmm: bool = True, user_dictionary: "Mapping[str, int | None] | None" = None) -> None:
        super().__init__(hmm=hmm, user_dictionary=user_dictionary)
        # jieba keeps the words that are always cut in a set of its module; here they belong to this tokenizer.
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
        """Returns a ``jieba.Tokenizer`` with our dictionary and the user's words, added in their order."""
        self._dictionary = JiebaDictionary(_dictionary_path())
        segmenter = _import_jieba().Tokenizer()
        segmenter.FREQ, segmenter.total = self._dictionary.frequencies, self._dictionary.total
        segmenter.initialized = True
        for word, frequency in self._segmenter_words.items():
            # A word that is loaded later would replace the user's frequency.
            self._dictionary.load(word)
            if frequency == 0:
                segmenter.FREQ[word] = 0
            else:
                segmenter.add_word(word, frequency)
        return segmenter


def _jieba_path() -> Path:
    """Returns the path of jieba's ``__init__.py``."""
    found = find_spec("jieba")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin)


def _dictionary_path() -> Path:
    """Returns the path of jieba's ``dict.txt``."""
    return _jieba_path().with_name("dict.txt")


def _import_jieba() -> ModuleType:
    """Imports a copy of jieba under a private name, so that the user's jieba and ours do not affect each other.

    jieba keeps words that are always cut in a set of the module, and adds a handler to its logger on import.
    """
    with _IMPORTING:
        if _PRIVATE_NAME not in sys.modules:
            path = _jieba_path()
            spec = spec_from_file_location(_PRIVATE_NAME, path, submodule_search_locations=[str(path.parent)])
            assert spec is not None
            assert spec.loader is not None
            module = sys.modules[_PRIVATE_NAME] = module_from_spec(spec)
            try:
                with warnings.catch_warnings():
                    # jieba is old: it has invalid escapes and uses pkg_resources.
                    warnings.simplefilter("ignore")
                    spec.loader.exec_module(module)
            except BaseException:
                # A partly executed module must not stay importable.
                del sys.modules[_PRIVATE_NAME]
                raise
        return sys.modules[_PRIVATE_NAME]
