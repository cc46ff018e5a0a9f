"""Tokens that belong together although a segmenter cuts them apart: dashes, ellipses, numbers.

jieba gives ``——`` and ``……`` as two tokens, and ``１９７５`` as four. One token each is what a reader sees, and what a
language model should be asked to predict. Joined are

- two or more of the same dash: ``——`` (and ``――``, ``──``, ``－－``, ``--``, which texts have in its place);
- two or more ``…`` or ``⋯``, and three or more ASCII dots;
- a number of ASCII or full-width digits with its decimals, thousands and percent: ``3.14``, ``１９７５``, ``1,234,567``,
  ``12.5%``.

A comma belongs to a number only before groups of three digits, so that ``1,2`` stays a list. ``12:30``, ``3:2`` and
``2007-11-16`` stay several numbers: joined, nearly each of them would be a word of its own. Chinese numerals stay as
the segmenter cuts them. Tokens are only ever joined whole: a number inside a longer token (``GB18030``) stays there.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

__all__ = ["MERGING_VERSION", "join_spans", "merge_tokens", "pattern_of_words"]

MERGING_VERSION = 1
"""Goes up whenever other tokens are joined; part of the fingerprint of the tokenizers that use this."""

_DIGIT = "[0-9０-９]"
_END = "(?:[.．]" + _DIGIT + "+)?[%％]?"
_JOINED = re.compile(
    rf"([—―─－-])\1+|[…⋯]{{2,}}|\.{{3,}}|{_DIGIT}{{1,3}}(?:,{_DIGIT}{{3}})+(?!{_DIGIT}){_END}|{_DIGIT}+{_END}"
)
_MARK = "[—―─－…⋯.．,%％0-9０-９-]"
_HINT = re.compile(_MARK + _MARK)  # two in a row are rare, and are found many times faster than the whole pattern


def merge_tokens(text: str, tokens: list[str]) -> list[str]:
    """Joins the tokens of dashes, ellipses and numbers.

    Args:
        text: The text that was cut.
        tokens: Its tokens, which concatenate to it.
    """
    return tokens if _HINT.search(text) is None else join_spans(text, tokens, _JOINED)


def join_spans(text: str, tokens: list[str], pattern: re.Pattern[str]) -> list[str]:
    """Joins tokens into one wherever some of them together are a match of the pattern.

    Args:
        text: The text that was cut.
        tokens: Its tokens, which concatenate to it.
        pattern: What to find; it never matches nothing.
    """
    spans = [match.span() for match in pattern.finditer(text)]
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


def pattern_of_words(words: Iterable[str]) -> re.Pattern[str] | None:
    """A pattern that finds each of the words, the longest first; None without words."""
    ordered = sorted(words, key=lambda word: (-len(word), word))
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None
