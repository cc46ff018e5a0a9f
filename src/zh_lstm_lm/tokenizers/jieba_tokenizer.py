"""jieba, the reference segmenter, with a dictionary of its own and none of its side effects."""

import sys
import threading
import warnings
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, cast

__all__ = ["JiebaTokenizer"]

_PRIVATE_NAME = "zh_lstm_lm.tokenizers._jieba"


class JiebaTokenizer:
    """Cuts text into words with jieba's default dictionary.

    It uses a ``jieba.Tokenizer`` of its own, so that words added to jieba elsewhere do not reach it, and fills its
    dictionary itself: jieba's own cache in the shared temporary folder is neither read nor written.

    Args:
        hmm: Whether a hidden Markov model finds words outside the dictionary.
    """

    def __init__(self, *, hmm: bool = True) -> None:
        self.hmm = hmm
        self.fingerprint = f"jieba {version('jieba')} hmm={hmm}"
        self._segmenter: Any = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), hmm=self.hmm), ()

    def tokenize(self, text: str) -> list[str]:
        """Cuts a paragraph into words."""
        if self._segmenter is None:
            with self._lock:
                if self._segmenter is None:
                    self._segmenter = _build_segmenter()
        return cast(list[str], self._segmenter.lcut(text, HMM=self.hmm))

    def detokenize(self, tokens: Sequence[str]) -> str:
        """Concatenates the tokens."""
        return "".join(tokens)


def _build_segmenter() -> Any:
    """A ready ``jieba.Tokenizer`` whose prefix dictionary was read from jieba's own ``dict.txt``."""
    jieba = _import_jieba()
    text = Path(str(jieba.__file__)).with_name("dict.txt").read_text(encoding="utf-8")
    frequencies: dict[str, int] = {}
    total = 0
    for line in text.splitlines():
        word, frequency = line.split(" ", 2)[:2]
        frequencies[word] = int(frequency)
        total += int(frequency)
    for word in list(frequencies):  # jieba looks words up by growing prefixes; a prefix that is no word counts 0
        for end in range(len(word) - 1, 0, -1):
            prefix = word[:end]
            if prefix in frequencies:
                break  # its own prefixes are there, or will be
            frequencies[prefix] = 0
    segmenter = jieba.Tokenizer()
    segmenter.FREQ, segmenter.total, segmenter.initialized = frequencies, total, True
    return segmenter


def _import_jieba() -> ModuleType:
    """Loads a copy of jieba under a name of its own.

    jieba keeps words that must be split in a set of the module, and puts a handler on its logger when it is imported.
    With a copy, neither reaches us from the user's jieba, nor the user's from us.
    """
    if _PRIVATE_NAME not in sys.modules:
        found = find_spec("jieba")
        assert found is not None
        assert found.origin is not None
        spec = spec_from_file_location(
            _PRIVATE_NAME, found.origin, submodule_search_locations=found.submodule_search_locations
        )
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[_PRIVATE_NAME] = module_from_spec(spec)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its age: invalid escapes, pkg_resources
            spec.loader.exec_module(module)
    return sys.modules[_PRIVATE_NAME]
