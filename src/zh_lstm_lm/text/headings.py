"""Headings of chapters, volumes, prefaces and the like."""

import functools
import re

__all__ = ["MAX_HEADING_LENGTH", "is_heading"]

MAX_HEADING_LENGTH = 50
"""Maximum length of a heading in characters; one of two parallel clauses has about 25."""

_NUMBER = r"[0-9０-９〇零○Ｏ一二三四五六七八九十百千廿卅两兩壹贰貳叁參肆伍陆陸柒捌玖拾上中下终終]"
_HEADING = rf"""(?x)
    [●○◎◆◇■□★☆※*＊#＃=—－【〔、\s　-]*
    (?:《[^》]{{0,30}}》\s*)?
    (?:目[录錄]\s*)?
    (?:正文卷?|VIP(?:章[节節]|卷)|[上中下][卷部篇册冊])?
    [\s　·.．:：-]*
    (?:
        第\s*{_NUMBER}{{1,9}}(?:\s*[-~～至]\s*{_NUMBER}{{1,9}})?\s*(?:[回章卷节節折部集篇幕册冊]|[话話](?![题題]))
      | 卷\s*[之第]?{_NUMBER}{{1,6}}(?=$|[\s　·.．:：、】〕])
      | (?:楔\s*子|引\s*[子言]|序\s*[言章文曲幕]?|[自代]\s*序|前\s*言|[后後]\s*[记記]|尾\s*[声聲]|附\s*[录錄]|跋|目\s*[录錄]|番外篇?|外[传傳]|[终終]\s*章|最[终終][章话話]|大[结結]局|幕[间間]|[间間]章|特[别別]篇|(?:完[结結]|上架)感言)
        (?=$|[\s　·:：（(一二三四五六七八九十】〕])
      | (?:番外篇?|大[结結]局)[上中下0-9０-９之]
      | ☆、\s*(?:[0-9０-９]{{1,5}}\s+)?[^，。！？：,:、\s]{{1,20}}$
      | (?:正文|[上中下][卷部篇册冊])(?=$|[\s　])
      | 第\s*{_NUMBER}{{1,9}}\s*[季场場出齣案](?=$|[\s　:：])
      | [0-9０-９]{{1,5}}\s*[章回](?=$|[\s　:：])
      | {_NUMBER}{{1,5}}$
      | [（(][0-9０-９一二三四五六七八九十百]{{1,5}}[）)]\s*[^，。！？：,:、\s]{{1,20}}$
      | [（(【［\[]\s*{_NUMBER}{{1,5}}\s*[）)】］\]]$
      | [0-9０-９一二三四五六七八九十百]{{1,6}}\s*[、.．]\s*(?![0-9０-９])[^，。！？：,:、\s]{{0,20}}$
      | 0[0-9]{{1,3}}[\s:：]\s*[^，。！？：,:、\s]{{1,20}}$
      | (?i:chapter\s*|part\s+|book\s+|volume\s+)[0-9IVXLC]+\b
    )
"""
# A question can be a heading's title, and an exclamation one that stands apart from the number.
_SENTENCE_ENDS = tuple("。！；，…”」』;,")
_APART = re.compile(rf"[^第]{{0,6}}第\s*{_NUMBER}{{1,9}}\s*[回章节節话話][\s　:：][^，。；”」』;,]+$")


def is_heading(text: str) -> bool:
    """Decides whether a stripped line is a heading; a sentence that begins like one (第二回他又来了。) is none."""
    if len(text) > MAX_HEADING_LENGTH or (text.endswith(_SENTENCE_ENDS) and not _APART.match(text)):
        return False
    return _heading_pattern().match(text) is not None


@functools.cache
def _heading_pattern() -> re.Pattern[str]:
    """Compiles the pattern when it is first needed, which takes longer than the rest of the import."""
    return re.compile(_HEADING)
