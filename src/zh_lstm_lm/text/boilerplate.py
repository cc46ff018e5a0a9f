"""Adverts, watermarks and the headers of e-books: what download sites put into novels.

A removed sentence of a novel is worse than a kept advert, so every rule asks for more than one sign.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from zh_lstm_lm.text.headings import is_heading
from zh_lstm_lm.text.lines import Context, Line
from zh_lstm_lm.text.patterns import lazy_pattern

__all__ = ["edge_lines", "find_repeated_lines", "remove_adverts"]

_MAX_LENGTH = 200  # characters of the longest advert that is a line of its own
_EDGE = 5  # lines at a file's head and at its tail
_MIN_FILES = 3
_HEADER = 40  # lines from the start within which an e-book's header ends

_IN_TEXT = lazy_pattern(
    r"[-—－─_\s]*(?:〖[^〖〗]{0,60}(?:www|http|电子文库)[^〖〗]{0,60}〗|【[^【】]{0,60}(?:www\.|https?://)[^【】]{0,60}】)",
    re.IGNORECASE,
)
_HINT = lazy_pattern(  # whatever an advert has one of; quick, because every line is searched for it
    "[wWｗＷ][^0-9A-Za-z\u4e00-\u9fff]{0,3}[wWｗＷ]|[hH][tT][tT][pP]|[.．][cCnNoO][a-zA-Z]"
    "|章[节節字]|更新[时時]|[仅僅]供|校[对對排]|[扫掃][描瞄校]|[录錄]入|[输輸]入|OCR|整理|[制製]作"
)
_WATERMARK = lazy_pattern("w{3}[a-z0-9]{3,30}(?:com|net|org|cn|cc)[a-z]{0,16}(?:[\u4e00-\u9fff]{1,8}[a-z]{0,16}){0,3}")
_ADDRESS = lazy_pattern(
    r"(?:https?://|www\.)[\w./~%?=&:#-]+|[a-z0-9-]{2,}\.(?:com|net|org|cn|cc)(?![a-z])", re.I | re.A
)
_OFFER = lazy_pattern(
    "电子[书書]|電子書|免[费費]|[小文][说說学學][网網]|文[学學][网網]|下[载載][站网網专專]|[请請][关關]注|更多|最新|最有|"
    "[专專][题題][网網]址|首[发發]|[转轉][载載]|本[书書][来來]自|[书書][库庫城]|txt|[欢歡]迎|尽在|盡在|提供",
    re.IGNORECASE,
)
_NARRATIVE = lazy_pattern("[“”「」『』他她它你]|我(?!们提供)")
_NOTICES = lazy_pattern(
    r"""
    [-—=*_\s]*章[节節]内容(?:[开開]始|[结結]束)[-—=*_\s]*
  | (?:更新[时時][间間]\s*[:：]\s*[\d:/.\s年月日-]+)?(?:本章字[数數]\s*[:：]\s*\d+)?
  | (?:本?作品|本[电電]?子?[书書]|本[书書站]).{0,40}[仅僅]供.{0,10}(?:[预預][览覽]|[试試][读讀阅閱看]|[学學][习習]|交流).{0,20}(?:[删刪]除|商[业業]).{0,80}
  | [^，,。！？：:\s]{1,8}[\s,，:：]*(?:[扫掃][描瞄校]|OCR)[\s、,，及/]*(?:[^，,。！？\s]{1,8}?)?校[对對排]
  | (?:(?:[扫掃][描瞄校]|OCR|[录錄]入|[输輸]入|校[对對排]|[制製]作)\s*[:：]\s*[^，,。！？：:\s]{1,12}[\s,，]*){1,4}
  | (?:[^，,。！？：:\s]{1,8}\s+){1,2}(?:[扫掃][描瞄校]|[录錄]入|[输輸]入|整理|[制製]作|校[对對])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_HEADER_TITLE = lazy_pattern(r"\[[^\[\]]{1,30} / [^\[\]]{1,30}著\s*\]")
_HEADER_END = lazy_pattern(r"[-—=*_\s]*章[节節]内容[开開]始[-—=*_\s]*")
_HEADER_FIELD = lazy_pattern(
    "(?:[书書]名|作者|作\\s+者|男女主角|男主角|女主角|主角|系列名?|[简簡]介|[内內]容[简簡]介|文案|[类類]型|[类類][别別]|"
    "[状狀][态態]|字[数數]|[来來]源|出版社|出版日期|出版[时時][间間]|ISBN|[标標][签簽]|[关關][键鍵]字|[链鏈鍊]接)\\s*[:：]",
    re.IGNORECASE,
)
_ORDINARY_EDGE = lazy_pattern("[“”「」『』]|下回分解|[全本][书書文]?[完终終]|[且却卻再话話][说說]")
_EDGE_HINT = lazy_pattern(
    "[a-z]{2,}|[电電]子|[下转轉][载載]|[扫掃][描瞄校]|校[对對]|[录錄]入|整理|[制製]作|[论論][坛壇]|[书書][库庫城屋吧香]|"
    "[小文][说說学學].?[网網]|[网網][站址友]|版[权權]|[仅僅]供|免[费費]|更新|[连連][载載]|首[发發]|收集|上[传傳]",
    re.IGNORECASE,
)


def remove_adverts(lines: list[Line], context: Context) -> list[Line]:
    """Removes lines that are adverts, watermarks, site notices or an e-book's header, and adverts inside lines.

    Headings stay whatever is in them.
    """
    header = _header(lines)
    kept = []
    for line in lines:
        text = line.text
        if text and (line.number in header or (len(text) <= _MAX_LENGTH and _is_advert(text, context.repeated))):
            context.report("advert", line, "")
            continue
        if ("〖" in text or "【" in text) and len(shorter := _IN_TEXT.sub("", text)) < len(text):
            context.report("advert", line, shorter)
            kept.append(Line(line.number, shorter, line.indent))
        else:
            kept.append(line)
    return kept


def _is_advert(text: str, repeated: frozenset[str]) -> bool:
    if text not in repeated and _HINT.search(text) is None:
        return False
    if is_heading(text):
        return False
    return text in repeated or _NOTICES.fullmatch(text) is not None or _is_watermark(text) or _is_offer(text)


def _is_watermark(text: str) -> bool:
    """Whether nothing stands in the line but a site's address, however disguised, and its name."""
    plain = unicodedata.normalize("NFKC", text).lower()
    return _WATERMARK.fullmatch("".join(filter(str.isalnum, plain))) is not None


def _is_offer(text: str) -> bool:
    """Whether a line with an address in it invites to a site. A sentence of a story can name a site, too."""
    plain = unicodedata.normalize("NFKC", text)
    rest, addresses = _ADDRESS.subn("", plain)
    offers = {found.lower() for found in _OFFER.findall(rest)}
    sentence = rest.rstrip().endswith(("。", "!", "?", "…"))
    return bool(addresses) and not _NARRATIVE.search(rest) and len(offers) >= (2 if sentence else 1)


def _header(lines: Sequence[Line]) -> set[int]:
    """The numbers of the lines of an e-book's header at the very start, if it has one."""
    head = [line for line in lines[: 4 * _HEADER] if line.text][:_HEADER]
    if not head:
        return set()
    end = 0
    if _HEADER_TITLE.fullmatch(head[0].text):
        end = 1 + max((index for index, line in enumerate(head) if _HEADER_END.fullmatch(line.text)), default=0)
    elif head[0].text.startswith("***"):  # a box of asterisks around an address
        box = next((index for index, line in enumerate(head) if not line.text.startswith("*")), len(head))
        end = box if any(_ADDRESS.search(line.text) for line in head[:box]) else 0
    else:
        fields = next((index for index, line in enumerate(head) if not _HEADER_FIELD.match(line.text)), len(head))
        end = fields if fields > 1 else 0
    return {line.number for line in head[:end] if not is_heading(line.text)}


def edge_lines(text: str) -> list[str]:
    """The first and last few lines of a text that are not empty, as `find_repeated_lines` wants them."""
    lines = [stripped for line in text.split("\n") if (stripped := line.strip().strip("\ufeff\u200b\x00\x1a").strip())]
    return lines[:_EDGE] + lines[max(_EDGE, len(lines) - _EDGE) :]


def find_repeated_lines(edges: Iterable[Sequence[str]]) -> frozenset[str]:
    """Finds boilerplate by its recurrence: lines with which several files begin or end.

    Only lines that look like a site's are taken. Headings, dialogue and the story-teller's phrases recur as well.

    Args:
        edges: The `edge_lines` of each file.
    """
    counts = Counter(line for lines in edges for line in set(lines))
    return frozenset(
        line
        for line, files in counts.items()
        if files >= _MIN_FILES
        and 6 <= len(line) <= _MAX_LENGTH
        and _EDGE_HINT.search(unicodedata.normalize("NFKC", line))
        and not _ORDINARY_EDGE.search(line)
        and not is_heading(line)
    )
