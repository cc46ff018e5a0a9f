"""Lines that download sites put into novels: recognised by what they say, or by their recurrence.

A removed sentence of a novel is worse than a kept advert, so every rule asks for more than one sign.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from zh_lstm_lm.text.headings import is_heading

__all__ = ["MAX_LINE_LENGTH", "count_site_lines", "edge_lines", "find_repeated_lines", "has_address", "without_site"]

MAX_LINE_LENGTH = 200
"""Characters of the longest line that is taken for a site's."""

_MIN_LENGTH = 4
# Lines at a file's head and at its tail.
_EDGE = 5
_MIN_FILES = 3
_MIN_RECURRENCES = 3
# For lines that speak to somebody, or of somebody.
_MIN_RECURRENCES_OF_SPEECH = 10
# Letters of the name of a site beside its address.
_MAX_NAME = 6

# Every line is searched for this first, because it is quick: each line of a site has one of these.
_HINT = re.compile(
    "[wWｗＷ][^0-9A-Za-z\u4e00-\u9fff]{0,3}[wWｗＷ]|[hH][tT][tT][pP]|[.．][cCnNoO][a-zA-Z]"
    "|章[节節字]|更新|[仅僅]供|校[对對排]|[扫掃][描瞄校]|[录錄]入|[输輸]入|OCR|整理|[制製]作|[记記]住|本章|未完|手[机機]|[网網]址|域名"
    "|[无無][弹彈]窗|收藏|推[荐薦]|月票|[订訂][阅閱]|下一?[页頁章篇节節]|公[众眾]|[Qq][Qq]群|[书書][友签籤架页頁]|互[联聯][网網]|公有|尽在|盡在|更多|本[书書站]|[|｜]|最新章|全文|提示|[声聲]明|手打|[感鸣鳴][谢謝]|[>›»&<]|[页頁]|\\)|返回[目列顶頂首]|求.{0,3}[票花]|[)}\"'];$|^var "
)
_SENTENCES = re.compile("(?<=[。！？!?…”」』])")
# Every alternative begins with a plain character here, too.
_SIGN_IN_TEXT = re.compile(
    r"www|WWW|ｗｗｗ|ＷＷＷ|http|HTTP|\.com|\.net|\.org|\.cc|\.cn|\.COM|．[cｃ]|秒[记記]住|本章未完|手机用户|无弹窗|無彈窗|最新章|点击下|點擊下"
)
_WATERMARK = re.compile("w{3}[a-z0-9]{3,30}(?:com|net|org|cn|cc)[a-z]{0,16}(?:[\u4e00-\u9fff]{1,8}[a-z]{0,16}){0,3}")
_ADDRESS = re.compile(
    r"(?:https?://|www\.|wap\.|(?<![a-z])m\.)[\w./~%?=&:#-]+|[a-z0-9-]{2,}\.(?:com|net|org|cn|cc|la|info|me|tw)(?![a-z])",
    re.IGNORECASE | re.ASCII,
)
_OFFER = re.compile(
    "电子[书書]|電子書|免[费費]|[小文][说說学學][网網]|文[学學][网網]|下[载載][站网網专專]|[请請][关關]注|更多|最新|最有|"
    "[专專][题題][网網]址|首[发發]|[转轉][载載]|本[书書][来來]自|[书書][库庫城]|txt|[欢歡]迎|尽在|盡在|提供|[记記]住|[网網]址|域名|"
    "[阅閱][读讀]|收藏|[访訪][问問]",
    re.IGNORECASE,
)
_NARRATIVE = re.compile("[“”「」『』他她它你]|我(?!们提供)")
# Long patterns are compiled when a line first needs them, since a program that only generates text never does.
_NOTICES = r"""(?xi)
    [-—=*_\s]*章[节節]内容(?:[开開]始|[结結]束)[-—=*_\s]*
  | (?:更新[时時][间間]\s*[:：]\s*[\d:/.\s年月日-]+)?(?:本章字[数數]\s*[:：]\s*\d+)?
  | (?:本?作品|本[电電]?子?[书書]|本[书書站]).{0,40}[仅僅]供.{0,10}(?:[预預][览覽]|[试試][读讀阅閱看]|[学學][习習]|交流).{0,20}(?:[删刪]除|商[业業]).{0,80}
  | [^，,。！？：:\s]{1,8}[\s,，:：]*(?:[扫掃][描瞄校]|OCR)[\s、,，及/]*(?:[^，,。！？\s]{1,8}?)?校[对對排]
  | (?:(?:(?:[扫掃][描瞄校]|OCR|[录錄]入|[输輸]入|校[对對排]|[制製]作)[\s、/及和]*){1,4}[:：]\s*[^，,。！？：:\s]{1,12}[\s,，]*){1,4}
  | (?:[^，,。！？：:\s]{1,8}\s+){1,2}(?:[扫掃][描瞄校]|[录錄]入|[输輸]入|整理|[制製]作|校[对對])
"""
_VOTES = "(?:推[荐薦]票?|月票|收藏|[订訂][阅閱]|打[赏賞]|[红紅]票|[点點][击擊]|[评評]价?票|[鲜鮮]花|票)"
_STEPS = "(?:上一?[章页頁篇]|下一?[章页頁篇]|返回(?:目[录錄]|[书書][页頁籍]|列表|[顶頂]部|首[页頁])|加入[书書][签籤架])"
_LINKS = rf"(?:{_STEPS}|[上下]一?[节節]|返回首[页頁]|(?:章[节節]?|回)?目[录錄]|[书書][签籤架]|投?推[荐薦](?:票|本[书書])|首[页頁]|[\W\d_])*"
# What sites write on their pages, and no narrator would.
_CERTAIN_NOTICES = rf"""(?xi)
    \W*(?:天才|[请請])?(?:只需)?[一壹1１3三]秒[记記]住.*
  | .{{0,16}}[一壹1１3三]秒[记記]住\s*[:：].*
  | \W*(?:本章)?(?:[还還尚]?未完)(?:待[续續]|[结結]束|[，,]\s*[请請点點]).{{0,160}}
  | {_LINKS}{_STEPS}{_LINKS}(?<![。！？])
  | \W*加入[书書][签籤架].{{0,30}}
  | .{{0,12}}(?:章[节節]|本章)(?:[错錯][误誤乱亂]?|有[误誤]|缺失|[报報][错錯])[，,（(、：:].{{0,60}}
  | .{{0,40}}[无無](?:[弹彈]窗|[错錯]章[节節]).{{0,80}}
  | .{{0,20}}正在手打中.*
  | (?:PS\s*[:：]\s*)?(?:感|[鸣鳴]|[谢謝])[谢謝].{{0,60}}(?:月票|推[荐薦]票|盟主|(?:[书書]友|同[学學]|[】」』A-Za-z0-9]).{{0,20}}打[赏賞]).{{0,20}}
  | (?:[^\n>]{{2,16}}[网網站]|.{{0,8}}首[页頁])\s*[>›»_-]+.{{1,40}}[>›»_-].{{1,60}}
  | \W*[上下]一?[章页頁篇节節]\s*[:：].{{0,30}}(?:第\s*\S{{1,6}}[章回节節]|[没沒]有了).{{0,60}}
  | \W*(?:第\W?\s*)?\d+\s*[/／]\s*\d+\s*\W?[页頁]\W*
  | (?:[^|｜\s]{{1,6}}\s*[|｜]\s*){{4,}}[^|｜\s]{{1,6}}
  | (?:readx|chaptererror|loadAdv|show_?\w*|read_?\w*|_?\w{{0,12}}ads?\w*)\s*\([^()]*\)\s*;?\s*
  | (?a:(?:var|let|const)\s+\w+\s*=.*;|\(?[\w.$]+\s*=[^=].*[)}}"'];|[\w.$]+\(.*\)\s*;)
  | (?:&lt;/?[a-zA-Z]\w{{0,9}}\s*/?&gt;|&\w{{2,8}};|&\#\d{{1,6}};|</?(?:br|p|div)\s*/?>|\s)+
  | <(?P<tag>a|script|span|font)\b[^<>]*>.{{0,80}}</(?P=tag)>|document\.write\(.*
"""
# What sites write as well, in lines that are no dialogue and have no narrator.
_PAGE_NOTICES = rf"""(?xi)
    .{{0,12}}[记記]住(?:本[站书書]|我们的?|[网網]址).{{0,10}}(?:[网網]址|域名|地址|[:：]).*
  | .{{0,6}}(?:最新|[备備]用|本[站文书書]|[阅閱][读讀]|[电電][脑腦]版|手[机機]版?(?:[阅閱][读讀])?)(?:[网網]址|域名|地址)\W.*
  | \W*手[机機](?:用[户戶]|版|端|[阅閱][读讀])?[请請](?:直接)?(?:[浏瀏][览覽]|[访訪][问問]|登[录陆錄陸]|到|看|[阅閱][读讀]).*
  | .{{0,40}}(?:(?:最快|第一[时時][间間]|同步|持[续續]|全文字?)更新|更新(?:速度)?(?:最快|超快)).{{0,40}}(?:[小文][说說学學]|章[节節]|[网網站]|收藏|[阅閱][读讀]).{{0,40}}
  | .{{0,40}}最新章[节節].{{0,20}}(?:[阅閱][读讀]|[请請]|[关關]注|尽在|盡在|[点點][击擊]|更新|[网網]).{{0,60}}
  | .{{0,40}}(?:全文[阅閱][读讀]|txt下[载載]).{{0,40}}(?:提供|本站|[网網]).{{0,40}}
  | .{{0,40}}(?:[小文][说說学學]|[书書]).{{0,3}}[网網]\W{{0,2}}[欢歡]迎[您你].{{0,10}}
  | .{{0,20}}[请請](?:大家|各位|[您广廣]大?)?(?:[书書]友|[读讀]者)?收藏(?:本[站书書]|一下|我们|[:：（(！!，,]|$).{{0,60}}
  | (?:ps|P\.?S\.?)?\s*[:：]?(?:[^。]{{0,12}}[，,、：:！!\s])?[跪急]?求{_VOTES}(?:[，,、！!。～~\s]*求?{_VOTES}){{0,8}}[！!。～~，,\s]*(?:[谢謝拜]+.{{0,12}})?
  | (?:ps|P\.?S\.?)\s*\d?\s*[:：].{{0,60}}(?:{_VOTES}|更新|支持|新[书書]|上架|加更).{{0,60}}
  | .{{0,20}}(?:QQ群|[书書]友群|[读讀]者群|[粉][丝絲]群|交流群|公[众眾][号號])[^。，]{{0,10}}?(?:[:：]\s*\w|[\dA-Za-z_]{{5,}}|搜索?|[关關]注|加入).{{0,60}}
  | \W*推[荐薦].{{0,16}}新[书書]\W*
  | \W*(?:推[荐薦][阅閱][读讀]|(?:新|好)[书書]推[荐薦]|(?:[热熱][门門]|相[关關])推[荐薦])\s*[:：].*
  | \W*(?:[温溫]馨|友情|小|[阅閱][读讀])提示\s*[:：].{{0,40}}(?:[键鍵]|[书書][签籤]|收藏|目[录錄]|[页頁章]).*
  | \W*(?:免[责責])?[声聲]明\s*[:：].{{0,80}}(?:[网網]友|上[传傳]|版[权權]|[删刪]除|侵[权權]|[转轉][载載]|[负負][责責]).*
  | \W*本站.{{0,40}}(?:招收|管理[员員]|注[册冊]|[报報]名|[会會][员員]|[转轉][载載]|[网網]友|上[传傳]|版[权權]|收[录錄]).*
  | (?:本[书書站文作小][品说說]?|.{{0,6}}?[电電]子[书書])(?:[来來]自|由|首[发發]|下[载載]自|[转轉]自)[^。！？]{{0,40}}(?:[网網站]|[论論][坛壇]|[书書][库庫香吧屋城]|整理|上[传傳]|首[发發]|[制製]作|搜集|下[载載])[^。！？]{{0,40}}
  | (?=.*(?:版[权權]|[负負][责責]|[删刪]除|侵[权權]|[仅僅]供|交流|[学學][习習]|分享))
    .{{0,16}}(?:作品|[资資]源|文本|[内內]容|小[说說]|[书書]籍?).{{0,8}}(?:[来來]自|[来來]源[于於]?|收集[于於自]|[转轉][载載]?自|搜集[于於自])\W{{0,2}}(?:互[联聯][网網]|[网網][络絡上友]).*
  | (?:[想要看]+)?(?:更多|全部|海量)[^。！？，]{{0,12}}(?:小[说說]|[电電]子[书書]|好[书書]|txt|精校|[资資]源|章[节節]).{{0,16}}(?:[请請]|尽在|盡在|下[载載]|[访訪][问問]|[关關]注|登[录錄]).*
  | .{{0,20}}(?:公有[领領]域|public\ domain).{{0,80}}
"""
_ORDINARY_EDGE = re.compile("[“”「」『』]|下回分解|[全本][书書文]?[完终終]|[且却卻再话話][说說]")
_EDGE_HINT = re.compile(
    "[a-z]{2,}|[电電]子|[下转轉][载載]|[扫掃][描瞄校]|校[对對]|[录錄]入|整理|[制製]作|[论論][坛壇]|[书書][库庫城屋吧香]|"
    "[小文][说說学學].?[网網]|[网網][站址友]|版[权權]|[仅僅]供|免[费費]|更新|[连連][载載]|首[发發]|收集|上[传傳]",
    re.IGNORECASE,
)
# A line that recurs needs one sign of the first kind, or two of the second. Every alternative begins with a plain character,
# by which the search is fast.
_STRONG_SIGN = re.compile(
    r"一秒记住|一秒記住|壹秒记住|壹秒記住|本站|站内|弹窗|彈窗|最新章|章节错|书签|書籤|推荐票|推薦票|月票|本章未完|未完待续|未完待續|本章完|下一页|下一頁|小说网|"
    r"小說網|中文网|中文網|文学网|文學網|笔趣阁|公众号|首发|域名|网址|網址|www|WWW|http|\.com|\.net|\.org|交流群|书友群|QQ群|读者群|微信群|加微信|"
    r"\.cc|\.cn|ww\W|WW\W|Ww\W|0更|1更|2更|3更|4更|5更|6更|7更|8更|9更|加更|加群|看书领|求收藏|求订阅|手机用户|更新最快|最快更新|电子书|電子書|全文阅读|txt下载|All rights reserved|All Rights Reserved|Powered by|Copyright|"
    r"ICP备|ICP備|版权所有|版權所有|发表评论|發表評論|猜你喜欢|猜你喜歡|看过本章|夜间模式|夜間模式|免费试读|免費試讀|防盗章|防盜章|盗文|补订|v章|V章|转码|轉碼|阅读模式|"
    r"手机站|主屏幕|请翻页|請翻頁|专用APP|客户端下载|内容无法显示|終生免费|终生免费|企鹅[群裙]|加威信|威信号|加\s*\d{6}|\.htm|q群|Q群|群号|群[:：]?\s*\d{5}|薇信|v信|V信|点com|點com|dot com|共\s*[\d零一二三四五六七八九十百]+\s*[页頁]|\[/[A-Za-z]+\]|script>|展开全文|展開全文|展开剩余|我要评论|我要評論"
)
# No story says these again and again, not even in a sentence.
_SURE_SIGN = re.compile("本站|内容无法显示|专用APP")
_WEAK_SIGNS = (
    "本书", "本書", "更新", "章节", "章節", "推荐", "推薦", "收藏", "订阅", "訂閱", "下一章", "上一章", "目录", "书库", "書庫", "书屋", "书吧", "字数", "点赞",
    "阅读", "閱讀", "微信", "QQ", "正版", "盗版", "下载", "下載", "论坛", "論壇", "校对", "校對", "整理", "书友", "書友", "txt", "TXT", "转载", "轉載",
    "互联网", "广告", "扫一扫", "分享", "字体", "报错", "有话说", "有话要说", "打赏", "百度", "点击", "小说", "小說", "书架", "書架", "网站", "網站", "正文", "商业用途", "小时内删除", "VIP",
    "书社", "書社", "好书", "好書", "本章", "发布时间", "来源:", "來源:", "责任编辑", "侵权", "侵權", "晋江", "纠错", "点个赞", "字号", "APP", "客户端", "浏览器", "扫码", "未登录", "书网", "永无广告",
)  # fmt: skip
# Stories have these as well: any number of them counts as one sign of the second kind.
_ORDINARY_SIGNS = (
    "手机", "手機", "支持", "作者", "免费", "免費", "关注", "關注", "搜索", "更多", "精彩", "朋友", "您", "网友", "網友", "评论", "評論", "转发",
)  # fmt: skip
# A story can have these once.
_SIGN_OF_ITSELF = re.compile(
    r"\W*(?:本章[节節]?完|第\s*\d+\s*[页頁](?:\W*共\s*[\d零一二三四五六七八九十百]+\s*[页頁])?|(?i:page)\s*\d+(?:\s*(?:of|/)\s*\d+)?|[\[【(（]\s*\d+\s*[/／]\s*\d+\s*[\]】)）])\W*"
)
# A site's buttons, two or more of them.
_BUTTON = (
    r"(?:[上下]一?[页頁章篇节節]|首[页頁]|尾[页頁]|返回\w{0,2}|目[录錄]|[书書][页頁架签籤]|收藏|推[荐薦]|月票|投月?票|打[赏賞]|分享|[举舉][报報]|[纠糾][错錯]|[报報][错錯]|"
    r"[评評][论論]|[赞贊]|踩|[听聽][书書]|下[载載]|[设設]置|搜索|登[录錄]|注[册冊]|[简簡][体體]|繁[体體]|字[号號体體]|背景色?|[夜日][间間]|[关關開开][灯燈]|[护護]眼|大|中|小)"
)
_BUTTONS = re.compile(rf"\W*{_BUTTON}(?:(?:[\W\d]+{_BUTTON})+[\W\d]*|\s*[(（]\d+[)）])")
_MAX_LETTERS = 0.7
# Proportion of a letter that stands between all others.
_MIN_DISGUISE = 0.3
# From so many recurrences on, half of the signs are enough for what is no sentence.
_MANY_RECURRENCES = 10
_OPENING_QUOTES = frozenset('“「『"')
_VARYING = re.compile("(?:[0-9A-Za-z０-９Ａ-Ｚａ-ｚ]+[-./:_．]*)+|(?<=第)[〇零一二三四五六七八九十百千]+")


def without_site(text: str, repeated: frozenset[str]) -> str:
    """Returns what of a line, without space at its ends, is not a download site's; a heading is not.

    A site also adds sentences to a paragraph, so those before the first one with a sign of it are the story's.
    """
    if repeated and len(text) <= MAX_LINE_LENGTH and _key(text) in repeated and not is_heading(text):
        return ""
    if (_HINT if len(text) <= MAX_LINE_LENGTH else _SIGN_IN_TEXT).search(text) is None:
        return text
    is_whole = _is_site_line(text)
    if not is_whole and _SIGN_IN_TEXT.search(text) is None:
        return text
    sentences = _SENTENCES.split(text)
    start = next((index for index, sentence in enumerate(sentences) if _HINT.search(sentence)), 0)
    if start and _is_site_line("".join(sentences[start:]).strip()) and not is_heading(text):
        return "".join(sentences[:start])
    return "" if is_whole else text


def _is_site_line(text: str) -> bool:
    if len(text) > MAX_LINE_LENGTH or _HINT.search(text) is None or is_heading(text):
        return False
    if re.fullmatch(_NOTICES, text) or _is_watermark(text) or _is_offer(text):
        return True
    if re.fullmatch(_CERTAIN_NOTICES, text):
        return True
    return _NARRATIVE.search(text) is None and re.fullmatch(_PAGE_NOTICES, text) is not None


def has_address(text: str) -> bool:
    """Decides whether an address of the web stands in a line."""
    return _ADDRESS.search(text) is not None


def _key(text: str) -> str:
    """Returns a line with numbers and Latin letters masked, so that pages, dates and addresses do not make it another."""
    return _VARYING.sub("0", text)


def _is_watermark(text: str) -> bool:
    """Decides whether nothing stands in the line but a site's address, however disguised, and its name."""
    plain = unicodedata.normalize("NFKC", text).lower()
    return _WATERMARK.fullmatch("".join(filter(str.isalnum, plain))) is not None


def _is_offer(text: str) -> bool:
    """Decides whether a line with an address in it invites to a site. A sentence of a story can name a site, too."""
    plain = unicodedata.normalize("NFKC", text)
    rest, addresses = _ADDRESS.subn("", plain)
    offers = {found.lower() for found in _OFFER.findall(rest)}
    is_sentence = rest.rstrip().endswith(("。", "!", "?", "…"))
    is_name = not is_sentence and sum(map(str.isalnum, rest)) <= _MAX_NAME
    return bool(addresses) and not _NARRATIVE.search(rest) and (is_name or len(offers) >= (2 if is_sentence else 1))


def edge_lines(text: str) -> list[str]:
    """Returns the first and last few lines of a text that are not empty, as `find_repeated_lines` wants them."""
    lines = [stripped for line in text.split("\n") if (stripped := line.strip().strip("\ufeff\u200b\x00\x1a").strip())]
    return lines[:_EDGE] + lines[max(_EDGE, len(lines) - _EDGE) :]


def count_site_lines(text: str) -> Counter[str]:
    """Counts lines that look like a site's, by their keys; those with weak signs alone only if they recur."""
    counts: Counter[str] = Counter()
    lines: dict[str, str] = {}
    for line in text.split("\n"):
        if len(line) <= MAX_LINE_LENGTH and (len(line) >= _MIN_LENGTH or _SIGN_OF_ITSELF.fullmatch(line)):
            key = _key(line.strip())
            counts[key] += 1
            lines[key] = line.strip()
    has_strong = _STRONG_SIGN.search(text) is not None
    return Counter(
        {
            key: counts[key]
            for key, line in lines.items()
            if (counts[key] >= _MIN_RECURRENCES or (has_strong and _STRONG_SIGN.search(line)))
            and _looks_like_a_site(line, counts[key])
            and not is_heading(line)
        }
    )


def _looks_like_a_site(line: str, recurrences: int) -> bool:
    """Decides whether a line that recurs is a site's; a sentence needs twice the signs."""
    if _SIGN_OF_ITSELF.fullmatch(line) or _BUTTONS.fullmatch(line):
        return True
    plain = unicodedata.normalize("NFKC", line)
    if len(letters := "".join(filter(str.isalnum, plain))) < _MAX_LETTERS * len(plain):
        # Something stands between the letters, to disguise them.
        plain += letters
    elif plain and (often := max(plain, key=plain.count)).isascii() and plain.count(often) > _MIN_DISGUISE * len(plain):
        plain += plain.replace(often, "")
    signs = 2 * len(set(_STRONG_SIGN.findall(plain))) + sum(sign in plain for sign in _WEAK_SIGNS)
    is_sentence = line.endswith(("。", "！", "？", "…"))
    is_frequent = recurrences >= _MANY_RECURRENCES
    needed = 4 if is_sentence and not (is_frequent and _SURE_SIGN.search(plain)) else 1 if signs and is_frequent else 2
    signs += any(sign in plain for sign in _ORDINARY_SIGNS)
    return signs >= needed and line[:1] not in _OPENING_QUOTES


def find_repeated_lines(edges: Iterable[Sequence[str]], site_lines: Mapping[str, int] | None = None) -> frozenset[str]:
    """Finds boilerplate by its recurrence: at the `edge_lines` of several files, or anywhere in them.

    Only lines that look like a site's are taken. Headings, dialogue and the story-teller's phrases recur as well.
    """
    counts = Counter(line for lines in edges for line in set(lines))
    recurring = {
        line
        for line, count in (site_lines or {}).items()
        if count >= (_MIN_RECURRENCES_OF_SPEECH if _NARRATIVE.search(line) else _MIN_RECURRENCES)
    }
    return frozenset(recurring) | frozenset(
        _key(line)
        for line, files in counts.items()
        if files >= _MIN_FILES
        and 6 <= len(line) <= MAX_LINE_LENGTH
        and _EDGE_HINT.search(unicodedata.normalize("NFKC", line))
        and not _ORDINARY_EDGE.search(line)
        and not is_heading(line)
    )
