"""Boilerplate around and inside novels: lines of download sites, the headers of e-books, the frames of publishers."""

import re
from collections.abc import Sequence

from zh_lstm_lm.text.headings import is_heading
from zh_lstm_lm.text.lines import Context, Line
from zh_lstm_lm.text.site_lines import has_address, without_site

__all__ = ["remove_adverts"]

# Lines with text within which an e-book's header ends, and within which a publisher's frame begins.
_HEADER, _FRAME = 40, 700

_IN_TEXT = re.compile(
    r"[-—－─_\s]*(?:〖[^〖〗]{0,60}(?:www|http|电子文库)[^〖〗]{0,60}〗|【[^【】]{0,60}(?:www\.|https?://)[^【】]{0,60}】"
    "|[（(【〖][^（(【〖）)】〗]{0,20}(?:本章未完|一秒[记記]住|手机用户|[无無][弹彈]窗|最新章[节節]|[点點][击擊]下一[页頁])"
    "[^（(【〖）)】〗]{0,60}[）)】〗])",
    re.IGNORECASE,
)
_IN_TEXT_MARKS = ("〖", "【", "（", "(")
_RULE = re.compile(r"[-—=*_~～─-╿☆★●○◆◇■□·.\s]{4,}|[─-╿].*[─-╿]")
_HEADER_TITLE = re.compile(r"\[[^\[\]]{1,30} / [^\[\]]{1,30}著\s*\]")
_TITLE_AND_AUTHOR = re.compile(r"《[^《》]{1,40}》\s*(?:[（(【][^）)】]{0,20}[）)】])?\s*(?:作者\s*[:：]?)?.{0,20}")
_HEADER_END = re.compile(r"[-—=*_\s]*章[节節]内容[开開]始[-—=*_\s]*")
_HEADER_FIELD = re.compile(
    "(?:[书書]名|作者|作\\s+者|男女主角|男主角|女主角|主角|系列名?|[简簡]介|[内內]容[简簡]介|文案|[类類]型|[类類][别別]|"
    "[状狀][态態]|字[数數]|[来來]源|出版社|出版日期|出版[时時][间間]|ISBN|[标標][签簽]|[关關][键鍵]字|[链鏈鍊]接)\\s*[:：]",
    re.IGNORECASE,
)
_HEADER_SUMMARY = re.compile("(?:[内內]容)?[简簡]介\\s*[:：]|文案\\s*[:：]")
_GUTENBERG = "(?:.{0,40}(?:古|谷)[登騰腾][堡保](?:[计計][划劃]|工程))"
_FRAME_START = re.compile(
    r"\*{2,}\s*START\s+OF\s+(?:THE|THIS)\s+PROJECT\s+GUTENBERG.*"
    rf"|\W*{_GUTENBERG}.*[开開]?始\W*|\*END\*?\s*THE\s+SMALL\s+PRINT.*|《?好[讀读][書书][櫃柜]》?.{{0,12}}",
    re.IGNORECASE,
)
_FRAME_CREDIT = re.compile(r"(?:produced|prepared|transcribed|e-?text|this e-?book)\b.*", re.IGNORECASE | re.ASCII)
_FRAME_END = re.compile(
    r"\*{2,}\s*END\s+OF\s+(?:THE|THIS)\s+PROJECT\s+GUTENBERG.*|End\s+of\s+(?:the\s+|this\s+)?Project\s+Gutenberg.*"
    rf"|\W*{_GUTENBERG}.*(?:[结結]束|完)\W*$",
    re.IGNORECASE,
)


def remove_adverts(lines: list[Line], context: Context) -> list[Line]:
    """Removes lines of sites, an e-book's header, a publisher's frame, and adverts inside lines; headings stay."""
    kept = []
    own = {line.number: without_site(line.text, context.repeated) for line in lines}
    removed = _frame(lines)
    removed |= {line.number for line in lines if line.text and not own[line.number]}
    removed |= _header(lines, removed)
    removed |= _rules(lines, removed)
    for line in lines:
        text = "" if line.number in removed else own[line.number]
        if any(mark in text for mark in _IN_TEXT_MARKS):
            text = _IN_TEXT.sub("", text)
        if len(text) < len(line.text):
            context.report("advert", line, text)
        if line.number not in removed:
            kept.append(line if text == line.text else Line(line.number, text, line.indent))
    return kept


def _frame(lines: Sequence[Line]) -> set[int]:
    """Returns the numbers of the lines before and after the text that a publisher has set between two marks."""
    found: set[int] = set()
    start = next((index for index, line in enumerate(lines[:_FRAME]) if _FRAME_START.fullmatch(line.text)), None)
    if start is not None:
        # The title in the mark can go on in the next lines.
        ends = (index for index, line in enumerate(lines[start : start + 4], start) if line.text.endswith("***"))
        after = next(ends, start) + 1
        while after < len(lines) and (not lines[after].text or _FRAME_CREDIT.match(lines[after].text)):
            # The lines of a credit follow one another without an empty line.
            while after < len(lines) and lines[after].text.isascii() and lines[after].text:
                after += 1
            after += after < len(lines) and not lines[after].text
        found.update(line.number for line in lines[:after] if line.text)
    tail = range(max(0, len(lines) - _FRAME), len(lines))
    end = next((index for index in tail if _FRAME_END.match(lines[index].text)), len(lines))
    return found | {line.number for line in lines[end:] if line.text}


def _rules(lines: Sequence[Line], removed: set[int]) -> set[int]:
    """Returns the numbers of the lines of dashes and the like that stand beside a removed line."""
    with_text = [line for line in lines if line.text]
    found: set[int] = set()
    for neighbours in (with_text, with_text[::-1]):
        follows = False
        for line in neighbours:
            follows = line.number in removed or (follows and _RULE.fullmatch(line.text) is not None)
            if follows and line.number not in removed:
                found.add(line.number)
    return found


def _header(lines: Sequence[Line], removed: set[int]) -> set[int]:
    """Returns the numbers of the lines of an e-book's header at the very start, if it has one."""
    head = [line for line in lines[: 4 * _HEADER] if line.text][:_HEADER]
    own = [line for line in head if line.number not in removed and not _RULE.fullmatch(line.text)]
    if not own:
        return set()
    end = 0
    if _HEADER_TITLE.fullmatch(own[0].text):
        end = 1 + max((index for index, line in enumerate(head) if _HEADER_END.fullmatch(line.text)), default=0)
    elif own[0] is not head[0] and _TITLE_AND_AUTHOR.fullmatch(own[0].text):
        # Below a line of a site, the title is the site's as well.
        end = 1 + head.index(own[0])
    elif head[0].text.startswith("***"):
        # A box of asterisks around an address.
        box = next((index for index, line in enumerate(head) if not line.text.startswith("*")), len(head))
        end = box if any(has_address(line.text) for line in head[:box]) else 0
    is_field = [bool(_HEADER_FIELD.match(line.text)) or (line not in own) for line in head]
    fields = is_field.index(False, end) if False in is_field[end:] else len(head)
    if end or sum(line in own for line in head[:fields]) > 1:
        end = max(end, fields)
        heading = next((index for index, line in enumerate(head[end:], end) if is_heading(line.text)), None)
        if heading and _HEADER_SUMMARY.fullmatch(head[end - 1].text.strip()):
            # A summary that begins in the next line goes to the first heading.
            end = heading
    return {line.number for line in head[:end] if not is_heading(line.text)}
