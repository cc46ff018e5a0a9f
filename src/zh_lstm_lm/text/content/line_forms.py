"""Forms of lines by which content other than running text is known."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import eq

from zh_lstm_lm.text.headings import is_heading

__all__ = ["CLAUSE_END", "form_of_lines", "loose_form_of_lines"]

CLAUSE_END: re.Pattern[str] = re.compile("[。！？!?….]$")
"""The mark that ends a sentence of prose."""

_TIME = r"(?:\d+[:：])?\d{1,2}[:：]\d{2}(?:[,.:，：]\d{1,3})?"
_DATE = r"(?:\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}日?|\d{1,2}[/.]\d{1,2}[/.]\d{2,4})"
_BB_CODES = "b|i|u|s|url|img|color|size|font|quote|center|align|p|table|tr|td|attach|hide|code|list|email|backcolor"
_SYLLABLE = "[A-Za-z]{0,4}[āáǎàēéěèīíǐìōóǒòūúǔùǖǘǚǜ][a-z]{0,3}"
# A line of these is enough.
_CERTAIN_KINDS = (
    ("a difference of files", re.compile(r"^@@ -\d+(?:,\d+)? \+\d", re.MULTILINE)),
    ("encoded data", re.compile(r"^-----BEGIN [A-Z ]+-----$", re.MULTILINE)),
    ("source code", re.compile(r"\A#!\s*/|^INSERT INTO \S+ (?:\([^()\n]*\) )?VALUES ?\(", re.MULTILINE | re.IGNORECASE)),
    ("a web archive", re.compile(r"\A\s*WARC/\d")),
    ("e-mail", re.compile(
        r"\A\s*(?:(?:From|To|Cc|Date|Subject|Reply-To|Return-Path|Message-ID|Received|MIME-Version|Content-[\w-]+|X-[\w-]+|DKIM-Signature)"
        r":[ \t].*\n(?:[ \t].*\n)*){3}")),
)  # fmt: skip
# What is held, the least proportion of lines that show it, and how they begin.
_LINE_KINDS = (
    ("SRT or WebVTT subtitles", 0.08, re.compile(
        rf"WEBVTT\b|{_TIME}\s*(?:[-－—]+[>＞]|[→⇒])\s*{_TIME}|{_TIME}\s*[-–—~～]+\s*{_TIME}$|\d+:\d\d:\d\d\.\d+,\d+:\d\d:\d\d\.\d+")),
    ("a transcript with times", 0.3, re.compile(rf"{_TIME}$|[^，。！？“”]{{0,20}}[(（【]{_TIME}[)）】]")),
    ("MicroDVD subtitles", 0.5, re.compile(r"[\[{]\d+[\]}]\s*[\[{]\d*[\]}]")),
    ("ASS subtitles", 0.2, re.compile(r"(?:Dialogue|Comment):\s*\d+,\d+:\d{2}:\d{2}|\[Script Info\]|Style:\s*\w+,")),
    ("LRC lyrics", 0.2, re.compile(r"\[\d{1,3}:\d{2}(?:[.:]\d{1,3})?\]")),
    ("a log or a chat", 0.3, re.compile(
        rf"[^，。]{{0,40}}?{_DATE}[T\s,]\D{{0,5}}\d{{1,2}}:\d{{2}}|[A-Z][a-z]{{2}}\s+\d{{1,2}}\s\d{{2}}:\d{{2}}:\d{{2}}\s"
        rf"|[^，。！？“”]{{1,40}}?{_TIME}[)）\]】]?\s*[:：]?$|.{{0,60}}\[\d{{1,2}}/[A-Z][a-z]{{2}}/\d{{4}}:|\[?\d{{1,2}}:\d{{2}}(?::\d{{2}}\]?|\]?\s*<[^<>]{{1,30}}>)\s"
        r"|[\[<]?(?:TRACE|DEBUG|INFO|WARN(?:ING)?|ERROR|FATAL|CRITICAL)\b|\d{10,13}[.\s]|.{0,30}(?:[发發]表|回[复復])[于於]\s")),
    ("e-mail", 0.3, re.compile(
        r"(?:From|To|Cc|Bcc|Date|Sent|Subject|Reply-To|Message-ID|Received|MIME-Version|Content-[\w-]+)\s*:"
        r"|(?:[发發寄]件人|收件人|抄送|[发發]送[时時][间間]|日期|主[题題])\s*[:：]|From \S+@")),
    ("BBCode", 0.25, re.compile(rf".*?\[/?(?:{_BB_CODES})(?:=[^\[\]]*)?\]", re.IGNORECASE)),
    ("LaTeX", 0.15, re.compile(r"\\(?:documentclass|usepackage|begin|end|(?:sub)*section|chapter|item|par|label)\b")),
    ("wiki markup", 0.3, re.compile(r".*?(?:\[\[[^\[\]]+\]\]|\{\{[^{}]+\}\}|''')|={2,}[^=]+={2,}$|\{\||\|[-}]")),
    ("a list of links", 0.5, re.compile(r"(?:[-*+]\s|\d+\.\s)?\s*!?\[[^\]]*\]\([^)\s]*\)|(?:\S{0,12}\s)?\s*https?://\S+$")),
    ("settings", 0.4, re.compile(r"(?:export\s+)?[\"']?[\w.-]{1,30}[\"']?\s*=")),
    ("source code", 0.3, re.compile(
        r".*(?:[;{]|\):)$|[})\]]+[,;]?$|(?:import|from|def|class|return|#include|msgid|msgstr)\s|//|/\*|[A-Za-z_][\w.]*\s*[-+*/:]?=\s*\S"
        r"|[A-Za-z_][\w.]*\(.*\)$|(?:end|fi|done|pass|else|begin|pause)$"
        r"|(?:for|while|if|elif|local|function|echo|rem|set|[Dd]im|[Ss]ub|mov|push|call|label|jump|FROM|RUN|CMD|COPY|WORKDIR)\s+[!-~]",
        re.ASCII)),
    ("quoted strings", 0.9, re.compile(r'"(?:[^"\\]|\\.|"")*"[,;]?$')),
    ("a word list", 0.8, re.compile(r"\S{1,12}(?: +|[:：=，])\d+(?:[ ，、]+(?:\d+|[a-z]{1,4}))*$|\d+ +\S{1,3}$")),
    ("tokens with labels", 0.8, re.compile(
        r"\S{1,12} +(?:O|[BIMESU]-\w+|[A-Z]{1,4})$|(?:\d{8}[\d-]*/m\s+)?(?:\[?\S{1,12}[/_][A-Za-z]{1,4}\s+){2}|[(\s]*\([A-Z]{1,5}[ (]")),
    ("a dictionary or text with pinyin", 0.4, re.compile(
        rf".*?(?:{_SYLLABLE}\W+){{3}}|.*?[\u4e00-\u9fff][(（]{_SYLLABLE}|[【\[][^】\]]{{1,20}}[】\]]\s*{_SYLLABLE}"
        r"|.*?\[[A-Za-z:]{1,8}\d(?: [A-Za-z:]{1,8}\d){0,9}\]")),
    ("a table", 0.8, re.compile(r"[^\t]+\t+\S|.{1,60}?_!_\S")),
    ("an exam paper", 0.25, re.compile(
        r"[(（]?[CD][)）.．、]|.{0,40}\bA[.．、].{1,80}B[.．、].{1,80}C[.．、]|.*?(?:___|[(（][ 　]{2,9}[)）])|(?:\d+[.．、]\s*[A-D]+\s*)+$")),
)  # fmt: skip
# As above, for what is no table.
_LOOSE_KINDS = (
    ("a table of contents", 0.5, re.compile(r".{1,60}?(?:[.·．-]{4,99}|…{2,99}|。{4,99})\s*\d+\s*\w{0,2}$")),
    ("a drawn table", 0.5, re.compile(r"[|│┃║+┌╔].*[|│┃║+┐╗]$|[│┃║├└╠╚╟╞]")),
    ("records", 0.8, re.compile(
        r"(?:[^\s:：]{1,6}[:：]\s*[^\s:：]{1,12}\s+){2}[^\s:：]{1,6}[:：]"
        r"|(?:- )?(?:[标標][题題]|正文|[内內]容|摘要|作者|[来來]源|[链鏈]接|日期|[时時][间間]|[标標][签籤]|[关關][键鍵][词詞]|[编編][号號]|[问問][题題]|答案)\s*[:：]")),
    ("numbers", 0.8, re.compile(r"(?=\D*\d)[\W\d_]+$")),
    ("encoded data", 0.5, re.compile(r"[!-~]{40,}$")),
    ("data or a program", 0.5, re.compile(
        # Before the first Chinese character stands what no English sentence has.
        r"(?!.*\b[a-z]+ [a-z]+ [a-z]+ [a-z]+)(?!\[\d+\])(?:[>|]|[!-~ ]{0,60}?(?:(?<=[!-~])[\]}|=\\@$%^_+`]|[\]}|=\\@$%^_+`](?=[!-~])"
        r"""|<[@/]?[\w ]+>\s*(?![!-~ ])|[\[{]["'\w\[{]|\#[\w:]|::|[,(]['"]|\w\(|[a-z]: ?\d)|(?:- )?["']?[a-z][\w.-]*["']?:|[A-Za-z]{1,20}\d{3,20}\S{0,40}\s|[/.]{1,2}\w+/)""",
        re.ASCII)),
)  # fmt: skip
_MIN_LINES_OF_A_KIND = 5
# Subtitles of a few lines are plain as well.
_MIN_TIMED_LINES = 3
# Proportions of lines.
_MIN_TIMED, _MIN_SHARE, _MAX_ENDS = 0.5, 0.8, 0.2
_TIMED, _MINUTE_0 = re.compile(rf"{_TIME}\s*\S"), re.compile(r"0{1,2}[:：]\d")
_MIN_WORDS, _MAX_WORD = 40, 4
_AMOUNT = re.compile(r"[-+]?\d[\d.,:/-]*\S{0,2}")
_NUMBERED = re.compile(r"\W*(?:第|卷|(?i:chapter))")
_FIELD_NAME = re.compile(r"[-*\s]*([^\s:：=，。“]{1,16})\s*(?:[:：=]|\s- )")


def form_of_lines(text: str, lines: Sequence[str]) -> str | None:
    """Returns what the lines of a text, stripped and without empty ones, have the form of; None for prose and verse."""
    return next((name for name, pattern in _CERTAIN_KINDS if pattern.search(text)), None) or _kind_of(
        lines, _LINE_KINDS
    )


def loose_form_of_lines(lines: Sequence[str]) -> str | None:
    """Returns what the lines of a text that is no table have the form of; see `form_of_lines`."""
    return next((name for name, is_form in _FORMS.items() if is_form(lines)), None) or _kind_of(lines, _LOOSE_KINDS)


def _kind_of(lines: Sequence[str], kinds: Iterable[tuple[str, float, re.Pattern[str]]]) -> str | None:
    for name, proportion, pattern in kinds:
        shown = sum(1 for line in lines if pattern.match(line))
        least = _MIN_TIMED_LINES if name.endswith(("subtitles", "lyrics")) else _MIN_LINES_OF_A_KIND
        if shown >= max(least, proportion * len(lines)):
            return name
    return None


def _is_timed(lines: Sequence[str]) -> bool:
    """Decides whether most lines begin with a time, the first ones in minute 0; verses of the Bible have no chapter 0."""
    timed = [line for line in lines if _TIMED.match(line)]
    return len(timed) >= max(_MIN_LINES_OF_A_KIND, _MIN_TIMED * len(lines)) and _MINUTE_0.match(timed[0]) is not None


def _is_list(lines: Sequence[str]) -> bool:
    """Decides whether lines are different short words without a mark; verse has lines of one length."""
    words = {line for line in lines if len(line) <= _MAX_WORD and line.isalpha()}
    lengths = set(map(len, words))
    return len(words) >= max(_MIN_WORDS, _MIN_SHARE * len(lines)) and (len(lengths) > 1 or 1 in lengths)


def _is_columns(lines: Sequence[str]) -> bool:
    """Decides whether the same number of cells stands in most lines, one of them a number; the first can be the line's."""
    rows = [line.split() for line in lines if not CLAUSE_END.search(line)]
    ((width, number),) = Counter(map(len, rows)).most_common(1) or ((0, 0),)
    if width < 3 or number < max(_MIN_LINES_OF_A_KIND, _MIN_SHARE * len(lines)):
        return False
    columns = zip(*(row for row in rows if len(row) == width), strict=True)
    return any(
        sum(map(bool, map(_AMOUNT.fullmatch, column))) >= _MIN_SHARE * number for column in islice(columns, 1, None)
    )


def _is_records(lines: Sequence[str]) -> bool:
    """Decides whether the lines begin with the same names of fields again and again, four or more in turn."""
    found = [_FIELD_NAME.match(line) for line in lines]
    names = [re.sub(r"\d+", "0", match[1]) if match else None for match in found]
    if len(names) - names.count(None) < max(_MIN_LINES_OF_A_KIND, _MIN_SHARE * len(names)):
        return False
    ends = sum(map(bool, map(CLAUSE_END.search, lines)))
    return ends < _MAX_ENDS * len(lines) and any(
        sum(map(eq, names, names[turn:])) >= _MIN_SHARE * (len(names) - turn) > turn
        and len({*names[:turn]} - {None}) > 3
        for turn in range(4, 20)
    )


def _is_contents(lines: Sequence[str]) -> bool:
    """Decides whether there are numbered headings alone."""
    headings = sum(_NUMBERED.match(line) is not None and is_heading(line) for line in lines)
    return headings >= max(2 * _MIN_LINES_OF_A_KIND, _MIN_SHARE * len(lines))


_FORMS = {
    "a transcript with times": _is_timed,
    "a word list": _is_list,
    "columns": _is_columns,
    "records": _is_records,
    "a table of contents": _is_contents,
}
