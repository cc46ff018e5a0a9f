"""Joining of hard-wrapped lines.

Old editors, terminals and download sites broke paragraphs at a width, often in the middle of a word. Such files
are recognised by their lines as a whole; others stay as they are. Then each break is judged by itself.

A line is *open* if it is long, has clauses, and ends in a character that is no punctuation: in prose, a line that was
cut. A file is wrapped if more than a few of its lines are open, and if besides

- nearly all open lines are of one width (an editor's wrap), or
- the two characters around the breaks stand together elsewhere in the file much more often than those around the ends
  of finished lines do (lines cut anywhere). Sentences without final punctuation, one a line, fail this.

Indents tell the paragraphs of a wrapped file if some lines are indented, but none after an open one. If so, a line as
wide as the wrap goes on in an unindented one even if it ends in a full stop. If not, what ends inside a sentence is
joined; and a sentence that ends at the very width of the wrap, if that is where sentences end far more often than the
last lines of paragraphs, which are of any width, would end there by chance. A line much wider than the wrap was not
broken by it.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from math import inf
from typing import NamedTuple

from zh_lstm_lm.text.headings import is_heading
from zh_lstm_lm.text.lines import Context, Line, display_width

__all__ = ["join_wrapped_lines"]

# Columns; narrower lines are headings, verses, lists and signatures.
_MIN_WIDTH = 40
_MIN_OPEN_LINES = 8
# Proportion of lines of prose; files wrapped in part have 3 % to 60 %, others at most 0.6 %.
_MIN_OPEN_SHARE = 0.02
# Proportion of open lines among lines of prose, from which on the width alone decides.
_MIN_UNIFORM_SHARE = 0.2
# Proportion of lines of prose with the end of a sentence inside; subtitles and verse have none.
_MIN_SENTENCE_ENDS = 0.05
# Lines that begin with a closing quotation mark, where none begins with an opening one.
_MAX_REVERSED = 20
# Columns by which a full line can be narrower than the widest, or wider than most: punctuation is not put first in a line.
_SLACK, _HANGING = 6, 4
# Proportion of lines; a file with fewer has no indents.
_MIN_INDENTED = 0.005
# Probability that a paragraph ends at the wrap by chance, below which such lines are joined, and the lines to know it by.
_MAX_CHANCE, _MIN_FINISHED = 0.2, 150
# Breaks that are examined, and the lead of known pairs around open ends over those around finished ones.
_SAMPLE, _MIN_LEAD = 300, 0.15

_HAN = re.compile("[\u3400-\u9fff]")
_NEVER_FIRST = tuple("，。、；：！？．.,!?;）》〉】］〕｝〗〞)]}")
_OPENED_BY = {
    "”": "“",
    "」": "「",
    "』": "『",
    "）": "（",
    "》": "《",
    "〉": "〈",
    "】": "【",
    "］": "［",
    "〕": "〔",
    "’": "‘",
    "｝": "｛",
    "〗": "〖",
    "〞": "〝",
    ")": "(",
    "]": "[",
    "}": "{",
}
_ONLY_MARKS = re.compile(r"([！？。!?])\1+|[！？]+")
_ONLY_CLOSING = re.compile(r"[”’〞」』）》〉】］〕｝〗)\]}]+[，。！？…]*")
_SENTENCE_END = re.compile("[。！？.!?]")
_CLAUSE_MARK = re.compile("[，。！？；：、．,.!?;:”」』]")
_FINISHED = re.compile(r"(\w)[。！？．.!?…”」』）)]+$")
_CLAUSES = re.compile(r"[，。！？；、．,.!?;\s　]+")
_NEW_PARAGRAPH = re.compile("[且却卻再话話]说|[且却卻再话話]說|[诗詩词詞歌赞讚][曰云]|正是[：:]|[-—=*＊─━●○◆■]{2}")
_COLONS = ("：", ":")
_OPENING_MARKS = tuple("“「『")
_GOES_ON = tuple("，、；,")
# A speech has its full stop before the mark.
_QUOTED_WORD = re.compile(r"\w[」』”》]")
# In many files the marks are the wrong way round.
_SPEECH_OPEN = re.compile("[：:][「」“”][^「」“”]+[。！？；!?]$")
_SPEECH_ENDS = re.compile("[^「」“”]+[。！？!?…][「」“”]")


class _Paragraphs(NamedTuple):
    """The lines with text of a file, with flags for those that begin a paragraph by an indent or an empty line before."""

    lines: list[Line]
    opens: list[bool]


class _Wrapping(NamedTuple):
    """The wrapping of a file: the columns, indents included, of lines that were broken.

    From `exact_width` on a finished line goes on, too; it is above `max_width` where none does. Where `indents_tell`,
    an indent or an empty line begins a paragraph.
    """

    min_width: int
    max_width: float
    exact_width: float
    indents_tell: bool


def join_wrapped_lines(lines: list[Line], context: Context) -> list[Line]:
    """Joins the lines of paragraphs that were broken at a width; other files stay as they are.

    Han characters are joined as they are, Latin words with a space. Empty lines between joined lines go.
    """
    paragraphs = _with_text(lines)
    wrapping = _find_wrapping(paragraphs)
    closes = _closing_marks(paragraphs.lines)
    if wrapping is None and not any(line.text.startswith(closes) for line in paragraphs.lines[1:]):
        return lines
    # The lines that a line is joined of, by the number of the first.
    pieces: dict[int, list[Line]] = {}
    head, whole = paragraphs.lines[0].number, paragraphs.lines[0].text
    for index, (line, following) in enumerate(pairwise(paragraphs.lines)):
        if _begins_with_an_end(whole, following.text, closes) or (
            wrapping and _goes_on(line, following, opens=paragraphs.opens[index + 1], wrapping=wrapping)
        ):
            pieces.setdefault(head, [line]).append(following)
            whole += following.text
        else:
            head, whole = following.number, following.text
    joined: list[Line] = []
    last = 0
    for line in lines:
        if line.number <= last:
            continue
        if line.number not in pieces:
            joined.append(line)
            continue
        run = pieces[line.number]
        last = run[-1].number
        joined_text = _join(run)
        context.report("joined", line, joined_text, before="\n".join(piece.text for piece in run))
        joined.append(Line(line.number, joined_text, line.indent))
    return joined


def _with_text(lines: Sequence[Line]) -> _Paragraphs:
    kept, opens, after_empty = [], [], True
    for line in lines:
        if line.text:
            kept.append(line)
            opens.append(after_empty or line.indent > 0)
        after_empty = not line.text
    return _Paragraphs(kept, opens)


def _find_wrapping(paragraphs: _Paragraphs) -> _Wrapping | None:
    widths: list[int] = []
    opened = prose = with_sentence_end = 0
    cuts: list[str] = []
    ends: list[str] = []
    finished_widths: list[int] = []
    if sum(_is_open(line.text) and 2 * len(line.text) >= _MIN_WIDTH for line in paragraphs.lines) < _MIN_OPEN_LINES:
        # Most files need no closer look.
        return None
    for (line, following), opens in zip(pairwise(paragraphs.lines), paragraphs.opens[1:], strict=True):
        if not _is_prose(line.text) or is_heading(following.text) or not _same_script(line.text, following.text):
            continue
        prose += 1
        with_sentence_end += _SENTENCE_END.search(line.text, 0, len(line.text) - 1) is not None
        if _is_open(line.text):
            widths.append(line.indent + display_width(line.text))
            opened += opens
            cuts.append(line.text[-1] + following.text[0])
        elif finished := _FINISHED.search(line.text[-4:]):
            ends.append(finished[1] + following.text.lstrip("“「『")[:1])
            finished_widths.append(line.indent + display_width(line.text))
    if len(widths) < max(_MIN_OPEN_LINES, _MIN_OPEN_SHARE * prose) or with_sentence_end < _MIN_SENTENCE_ENDS * prose:
        return None
    widths.sort()
    full = widths[int(0.98 * (len(widths) - 1))] - _SLACK
    uniform = bisect_left(widths, full) <= 0.1 * len(widths)
    by_width = uniform and len(widths) >= _MIN_UNIFORM_SHARE * prose
    if not by_width and not _are_cut_anywhere(cuts, ends, paragraphs.lines):
        return None
    if not uniform:
        return _Wrapping(_MIN_WIDTH, inf, inf, indents_tell=False)
    most = Counter(widths).most_common(1)[0][0]
    top = max(most, widths[int(0.98 * (len(widths) - 1))]) + _HANGING
    indented = sum(paragraphs.opens) >= _MIN_INDENTED * len(paragraphs.opens)
    exact = most if _ends_at_the_wrap(finished_widths, most, top) else inf
    return _Wrapping(full, top, exact, indents_tell=indented and opened <= 0.05 * len(widths))


def _ends_at_the_wrap(finished_widths: Sequence[int], most: int, top: int) -> bool:
    """Decides if more finished lines are as wide as the wrap than paragraphs would end there by chance."""
    # These are the last lines of paragraphs.
    narrower = sum(width < most for width in finished_widths)
    there = sum(most <= width <= top for width in finished_widths)
    by_chance = narrower * (top - most + 1) / max(1, most - _MIN_WIDTH)
    return len(finished_widths) >= _MIN_FINISHED and by_chance < _MAX_CHANCE * there


def _is_prose(text: str) -> bool:
    return (
        len(text) * 2 >= _MIN_WIDTH
        and (len(text) >= _MIN_WIDTH or display_width(text) >= _MIN_WIDTH)
        and _CLAUSE_MARK.search(text, 0, len(text) - 1) is not None
        and not is_heading(text)
    )


def _is_open(text: str) -> bool:
    # A character for private use stands for one that was lost.
    return text[-1].isalnum() or "\ue000" <= text[-1] <= "\uf8ff"


def _are_cut_anywhere(cuts: Sequence[str], ends: Sequence[str], lines: Sequence[Line]) -> bool:
    """Compares the pairs of characters around cuts with running text, and with the pairs around ends of sentences."""
    text = "\n".join(line.text for line in lines)

    def share(pairs: Sequence[str]) -> float:
        sample = pairs[:: len(pairs) // _SAMPLE + 1]
        return sum(pair in text for pair in sample) / max(1, len(sample))

    return share(cuts) >= share(ends) + _MIN_LEAD


def _goes_on(line: Line, following: Line, *, opens: bool, wrapping: _Wrapping) -> bool:
    text = line.text
    if is_heading(text) or is_heading(following.text) or not _same_script(text, following.text):
        return False
    width = line.indent + display_width(text)
    if wrapping.indents_tell:
        # A part of the file can be wrapped at a smaller width.
        full = wrapping.min_width <= width <= wrapping.max_width
        return not opens and (full or (_is_prose(text) and (_is_open(text) or text.endswith((*_GOES_ON, *_COLONS)))))
    if width < wrapping.min_width or not _is_prose(text) or _NEW_PARAGRAPH.match(following.text) or _is_verse(text):
        return False
    if _is_open(text) or _QUOTED_WORD.match(text, len(text) - 2) or _is_in_speech(text, following.text):
        return True
    if text.endswith(_GOES_ON):
        return not _is_verse(following.text)
    at_the_wrap = wrapping.exact_width <= width <= wrapping.max_width
    return at_the_wrap and (text.endswith(_COLONS) or not following.text.startswith(_OPENING_MARKS))


def _same_script(text: str, following: str) -> bool:
    """Decides whether lines can be of one paragraph: where one has only foreign letters, the other has no Han character."""
    has_han = [_HAN.search(line) is not None for line in (text, following)]
    return all(has_han) or not any(has_han) or not any(map(str.isalpha, text if has_han[1] else following))


def _closing_marks(lines: Sequence[Line]) -> tuple[str, ...]:
    """Returns the marks that no paragraph of a file begins with; in some files quotation marks are the wrong way round."""
    begins = Counter(line.text[0] for line in lines)
    quotes = (
        pair[1] for pair in ("“”", "「」", "『』", "‘’") if begins[pair[1]] <= max(_MAX_REVERSED, begins[pair[0]])
    )
    return (*_NEVER_FIRST, *quotes)


def _begins_with_an_end(text: str, following: str, closes: tuple[str, ...]) -> bool:
    """Decides whether a line begins with a mark that closes what stands in the text before."""
    if not following.startswith(closes) or is_heading(text) or _ONLY_MARKS.fullmatch(following):
        return False
    mark, last = following[0], text[-1]
    opening = _OPENED_BY.get(mark)
    if opening is None:
        if mark == "." and following[1:2].isascii() and following[1:2].strip():
            # The beginning of an ellipsis, a number or a name.
            return False
        return last not in _NEVER_FIRST
    # A speech of several paragraphs can end in a line of its own.
    return last != mark and (text.count(opening) > text.count(mark) or _ONLY_CLOSING.fullmatch(following) is not None)


def _is_in_speech(text: str, following: str) -> bool:
    """Decides if a line breaks off inside direct speech that ends in the next one."""
    mark = max(map(text.rfind, "「」“”"))
    return mark > 0 and bool(_SPEECH_OPEN.match(text, mark - 1)) and bool(_SPEECH_ENDS.match(following))


def _is_verse(text: str) -> bool:
    """Decides if a line, or what follows its colon, consists of clauses of five or of seven characters."""
    clauses = [clause for clause in _CLAUSES.split(text.rpartition("：")[2].strip("“”「」『』")) if clause]
    return len(clauses) > 1 and len(clauses[0]) in (5, 7) and all(len(clause) == len(clauses[0]) for clause in clauses)


def _join(run: Sequence[Line]) -> str:
    parts = [line.text for line in run[:1]]
    for line, following in pairwise(run):
        before, after = line.text[-1], following.text[0]
        if before.isascii() and after.isascii() and not (before.isdigit() and after.isdigit()):
            parts.append(" ")
        parts.append(following.text)
    return "".join(parts)
