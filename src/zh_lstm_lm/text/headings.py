"""Headings of chapters, volumes, prefaces and the like."""

import re

__all__ = ["MAX_HEADING_LENGTH", "is_heading"]

MAX_HEADING_LENGTH = 50
"""Characters of the longest heading; one of two parallel clauses has about 25."""

_NUMBER = r"[0-9０-９〇零○Ｏ一二三四五六七八九十百千廿卅两兩上中下终終]"
_HEADING = re.compile(
    rf"""
    [●○◎◆◇■□★☆※*＊#＃【〔、\s　]*
    (?:《[^》]{{0,30}}》\s*)?
    (?:目[录錄]\s*)?
    (?:正文|[上中下][卷部篇册冊])?
    [\s　·.．:：-]*
    (?:
        第\s*{_NUMBER}{{1,9}}\s*[回章卷节節折部集篇幕册冊]
      | 卷\s*[之第]?{_NUMBER}{{1,6}}(?=$|[\s　·.．:：、】〕])
      | (?:楔子|引子|序[言章文曲幕]?|自序|前言|引言|后记|後記|尾[声聲]|附[录錄]|跋|目\s*[录錄]|番外篇?|终章|終章|大[结結]局)
        (?=$|[\s　·:：（(一二三四五六七八九十】〕])
      | (?:正文|[上中下][卷部篇册冊])(?=$|[\s　])
      | {_NUMBER}{{1,5}}$
      | [（(【]\s*{_NUMBER}{{1,5}}\s*[）)】]$
      | [0-9０-９一二三四五六七八九十百]{{1,4}}\s*[、.．]\s*(?![0-9０-９])[^，。！？：,:、\s]{{0,20}}$
      | (?i:chapter|part|book|volume)\s+[0-9IVXLC]+\b
    )
    """,
    re.VERBOSE,
)
# A question can be a heading's title.
_SENTENCE_ENDS = tuple("。！；，…”」』;,")


def is_heading(text: str) -> bool:
    """Decides whether a line, without space at its ends, is a heading.

    A sentence that begins like one (第二回他又来了。) is none, because of its end.
    """
    return len(text) <= MAX_HEADING_LENGTH and not text.endswith(_SENTENCE_ENDS) and _HEADING.match(text) is not None
