"""Names to use: words of the corpus that are written as the writer's own, and read back."""

import bisect
import itertools
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from zh_lstm_lm._config import shown
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.runtime.control_characters import get_logger

__all__ = ["Names", "check_names", "parse_names"]

logger: logging.Logger = get_logger(__name__)

_MAX_NAMES = 100_000


def check_names(names: object) -> tuple[tuple[str, str], ...]:
    """Returns `SamplerConfig.rename` as pairs of a corpus' name and the writer's own."""
    pairs = (
        list(names.items() if isinstance(names, Mapping) else names)
        if isinstance(names, (Mapping, list, tuple))
        else None
    )
    if pairs is None or len(pairs) > _MAX_NAMES:
        raise ConfigError(f"rename must map up to {_MAX_NAMES:,} names to names, got {shown(names)}")
    for pair in pairs:
        strings = isinstance(pair, (list, tuple)) and len(pair) == 2 and all(isinstance(name, str) for name in pair)
        if not strings or not all(name.strip() and "\n" not in name for name in pair):
            raise ConfigError(f"rename must map names to names, none of them empty, got {shown(pair)}")
    if len({old for old, _ in pairs}) < len(pairs):
        raise ConfigError(f"rename must map each name once, got {shown(names)}")
    return tuple((old, new) for old, new in pairs)


def parse_names(text: str) -> list[tuple[str, str]]:
    """Reads names from lines of a name of the corpus and the writer's own, with a tab or ``=`` between the two.

    Raises:
        ConfigError: A line has neither, or there are no names.
    """
    names = []
    for number, line in enumerate(text.split("\n"), 1):
        old, mark, new = line.partition("\t" if "\t" in line else "=")
        if mark:
            names.append((old.strip(), new.strip()))
        elif line.strip():
            raise ConfigError(
                f"rename, line {number}: must be OLD=NEW, or have a tab between the two, got {shown(line)}"
            )
    if not names:
        raise ConfigError("rename: there are no names; write OLD=NEW, as in 展昭=李寻欢, on each line")
    return names


class Names:
    """The names of a corpus, and those that stand for them in what is written.

    Args:
        pairs: Names of the corpus, each with the writer's own.
        vocabulary: The vocabulary, in which the former are words; the others are only kept out of the text.
    """

    def __init__(self, pairs: tuple[tuple[str, str], ...], vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._pairs = dict(pairs)
        known = {old: new for old, new in pairs if old in vocabulary}
        if missing := [old for old in self._pairs if old not in known]:
            logger.warning(
                "rename: no words of the vocabulary, and only kept out of the text: %s", ", ".join(missing[:20])
            )
        # Names may be exchanged, so one that is the writer's own as well may stay.
        self.replaced: tuple[str, ...] = tuple(old for old in self._pairs if old not in self._pairs.values())
        self._written = {vocabulary.token_to_id(old): new for old, new in known.items()}
        self._read = {new: old for old, new in reversed(known.items())}
        longest_first = sorted(self._read, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) if longest_first else r"(?!)")

    def write(self, texts: list[str]) -> list[str]:
        """Returns the texts of all ids, with the writer's names."""
        named = list(texts)
        for token_id, new in self._written.items():
            named[token_id] = self._vocabulary.with_separator(new)
        return named

    def read(self, text: str) -> str:
        """Returns a text with the names of the corpus in the place of the writer's, where these are words."""
        if not self._pattern.search(text):
            return text
        edges, place = {0}, 0
        for word, _ in self._vocabulary.encode_words(text):
            place += len(word)
            edges.add(place)
            # The separator that a word implies stands before it.
            edges.add(place - len(word.removeprefix(self._vocabulary.separator)))

        def replace(found: re.Match[str]) -> str:
            whole = found.start() in edges and found.end() in edges
            return self._read[found.group()] if whole else found.group()

        return self._pattern.sub(replace, text)

    def left(self, text: str, written: Sequence[str] = ()) -> Counter[str]:
        """Counts the names of the corpus in a text, apart from those inside of longer words.

        Args:
            text: The text, whose words are those of the vocabulary's tokenizer.
            written: Words that follow it.
        """
        if not self.replaced:
            return Counter()
        words = [*(word for word, _ in self._vocabulary.encode_words(text)), *written]
        words = [word.removeprefix(self._vocabulary.separator) for word in words]
        starts = list(itertools.accumulate(map(len, words), initial=0))
        whole, left = "".join(words), Counter[str]()
        for name in self.replaced:
            for found in re.finditer(re.escape(name), whole):
                number = bisect.bisect_right(starts, found.start()) - 1
                inside = found.end() <= starts[number + 1] and words[number] != name
                left[name] += not inside
        return +left
