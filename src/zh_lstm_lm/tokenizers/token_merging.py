"""Joining of tokens that a segmenter cuts apart: dashes, ellipses, numbers.

jieba gives ``——`` and ``……`` as two tokens, and ``１９７５`` as four. A reader sees one token each, and a language model
should predict one. These are joined:

- two or more of the same dash: ``——`` (and ``――``, ``──``, ``－－``, ``--``, which some texts use instead);
- two or more ``…`` or ``⋯``, and three or more ASCII dots;
- a number of ASCII or full-width digits with its decimals, thousands and percent: ``3.14``, ``１９７５``, ``1,234,567``,
  ``12.5%``.

A comma belongs to a number only before groups of three digits, so ``1,2`` remains a list. ``12:30``, ``3:2`` and
``2007-11-16`` remain several numbers: if joined, nearly each of them would be a word type of its own. Chinese numerals
remain as the segmenter cuts them. Only whole tokens are joined: a number inside a longer token (``GB18030``) stays there.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate

__all__ = ["MERGING_VERSION", "WordFinder", "join_spans", "merge_tokens"]

MERGING_VERSION = 1
"""Increases whenever other tokens are joined; part of the fingerprint of the tokenizers that use this module."""

_DIGIT = "[0-9０-９]"
_END = "(?:[.．]" + _DIGIT + "+)?[%％]?"
_JOINED = re.compile(
    rf"([—―─－-])\1+|[…⋯]{{2,}}|\.{{3,}}|{_DIGIT}{{1,3}}(?:,{_DIGIT}{{3}})+(?!{_DIGIT}){_END}|{_DIGIT}+{_END}"
)
_MARK = "[—―─－…⋯.．,%％0-9０-９-]"
# Two marks in a row are rare, and are found many times faster than the whole pattern.
_HINT = re.compile(_MARK + _MARK)


def merge_tokens(text: str, tokens: list[str]) -> list[str]:
    """Joins the tokens of dashes, ellipses and numbers."""
    if _HINT.search(text) is None:
        return tokens
    return join_spans(text, tokens, (match.span() for match in _JOINED.finditer(text)))


def join_spans(text: str, tokens: list[str], spans: Iterable[tuple[int, int]]) -> list[str]:
    """Joins tokens into one wherever they together cover one of the spans, which are in order and do not overlap."""
    spans = list(spans)
    if not spans:
        return tokens
    starts = [0, *accumulate(map(len, tokens))]
    joined: list[str] = []
    done = 0
    for start, stop in spans:
        first, last = bisect_left(starts, start), bisect_left(starts, stop)
        if last - first > 1 and starts[first] == start and starts[last] == stop:
            joined += tokens[done:first]
            joined.append(text[start:stop])
            done = last
    return joined + tokens[done:]


class WordFinder:
    """Search for many words, the longest first; its cost does not depend on the number of words."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = frozenset(words)
        lengths: dict[str, set[int]] = {}
        for word in self._words:
            lengths.setdefault(word[0], set()).add(len(word))
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}
        firsts = "".join(map(re.escape, self._lengths))
        self._first = re.compile(f"[{firsts}]" if firsts else "(?!)")

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yields start and stop of each word found; they do not overlap."""
        start = 0
        while (match := self._first.search(text, start)) is not None:
            start = match.start()
            pieces = (text[start : start + length] for length in self._lengths[match[0]])
            word = next((piece for piece in pieces if piece in self._words), "")
            if word:
                yield start, start + len(word)
            start += len(word) or 1
