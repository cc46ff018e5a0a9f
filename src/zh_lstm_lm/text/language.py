"""Kinds of characters, and the likelihood of a text in each language by its kinds.

The probability of a kind is spread evenly over its characters: two of three characters of a Chinese text are among the
thousand of `COMMON_CHARACTERS`; next to none is for private use.
"""

import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from functools import cache
from math import inf, log

from zh_lstm_lm.errors import DataError

__all__ = [
    "COMMON_CHARACTERS", "COMMON_HANGUL", "MAX_FOREIGN_SHARE", "check_language", "count_letters",
    "how_to_read_anyhow", "is_han", "log_likelihoods",
]  # fmt: skip

COMMON_CHARACTERS = frozenset(
    "的不一了是人之有我在道他子大以也上而为王下中得你来年公其去出此到就说二天要那十可如者來自家曰三这於這事小日所生又然地個知"
    "多看好和只将何能见行前已时里為个至回太說起因面相都便国用文作後主老明无与使成們著但心今四方立言于五后時同月正法们山名兵先"
    "夫會军女想意秦第西些分死外見君國手把高定身本乃等臣未还过且故才侯走平位議安被入命及必過齐即叫世九马非白打着民从么令弟將南"
    "百头若信再很北两水爺听当斯往金城常东最麼长楚花問代己少会六官帝学做教無對士口姐什兩聽发杀德原门理元或取向赵利呢海裡放武發"
    "甚次新没住真皆进字却欲诸问員书包由七還路周通酒當父八進则全汉乎解坐笑重力與情更兒她果千兄部受闻望提对张候合開反特声接母阳"
    "各內表吃神物内开众朝加封万喜沒儿氏请并敢拿並堂玉告直矣哥府求早林首亦李话工数居清功美师席比怎爷倒選從既政處卒样期河史任破"
    "頭魏光间几現英治复吾实经忙战罢爾收客保守樣青足报房暗快关經拉古眼亲間指留义曾气梁目布石服竟章夜处完阿现色半化遂虎病馬性程"
    "學投初交送始尚失建卻恐伯宣姓似馀攻話書管近连吴思急越皇春应虽克展陈云請食动莫船司龙關岁件边传忽许黄衣点格谓罪應空聲它希共"
    "晋給刻待归度给別唐礼江火别耳燕害流影眾亡每長幾救孙韩州舉左伐容題击计連善难久歌仙宗該怕持活引像點氣易音右尽景動带差跟帶深"
    "宝称句數香市土刀田鲁风宋娘友拜胜叔妹剛息區落認實孝遇论乐胡施余步祖邊難疑京俱孔种仍怒照答语台系车片形致門算亞尼飞觉总總據"
    "幸電機星制贤則界覺旁約革商根良羅奉許远規乱苦丁洋戰智品止晚兴奔败列肯量雄示改记讓黑降爱論奴蘭广除木忠怪感略愿唱否巴宫呼益"
    "張座造決場项資式迎追领隨干约孩男站威庄贵社随变终院種退姑夏罷慢焉消查写群統单嗎具般钱店恩举登印業演卫吧東俺找哪卿乘吉究屋"
    "角卡紫呀须独背助号集草雖贼供敬骑志尉秋變鬼县恶谁基倘阴圣牙仁雨切番校雷徐哭徒吕假奏召喝观朋稱谋绝室刘軍尊营御招條惠紅灭權"
    "郡普昭承郑置议誓诛序誰惊計親紀该蔣報季吏谢满丞诗决科固細洲贾票卷红结料离底領孟襄围节斗歡员彼支惟休备血參转茶寫尝属敖游聞"
    "申篇籍伤離達佛灵樂争費班風赐歐细低萬極銀极异哉宜杯妇轉朱傳義芝杨整伊条語罗陵試富岂體逃夠艾興率咐旧霸滿脸例夷強須另導阵弗"
    "匈临寨类確記結甲奧爭龍邑產婆仲艺赶遠华斩体怀辞飛吩冷剑備旨殿隊設饭毕替射庙怨帅献术乡淮歷认让翻迅谈哀增讲楼舍咱車錢律饮银"
    "识党拔源超斷豈桓需遣铁盗頓括骂寻續郎雲芳觀獲況柳響画愛图陛敌读汤刊亭術聖瞧顏厚圖球婦島談項视羽枪戏俠紧單聯獨秘黃殷緊旗毋"
    "調預产强賢祠予運脚据邪疾弱寶顯寡场历研飲沛蔡賽視渐繼双机仪遗港幫患静办悄環飯份尔川题務納標户維師均兮妖警亂禮陽證黨弃齊燈"
    "塊殘趕彭闲雙徙擔歸劇僧运厉迁讀热废婴冲薩掉卜坏責诏樓译崩舅岳協姬際縣驚孫凤祇講杂笔製倫虏丘宮莊藥錦泽詩閨仿諸諾腳芸咸盧韓"
    "谏盡戎确评邯"
)
"""The characters that distinguish running Chinese from bytes read in a wrong encoding.

The union of the 500 most frequent Han characters of each of five kinds of text (modern and classical, simplified and
traditional, and the histories), most frequent first. Together they make up 83 to 86 % of the Han characters of any of
the five; of text decoded in a wrong encoding, they make up under 6 %.
"""

COMMON_HANGUL = frozenset(
    "이다는을의에가고하지한도기로사은리를어자들해나시서아그일대부정인라제수스게전원장만보안조주과상여있었것으니등거적오구면유"
    "동소경공우화관신성위문음연했생실국세무선내히개비치트립물미강행요할민방진용학와까교산러모식분단계된반업불간회양영남입통"
    "중재점야명호발될려차목초결건출급체질크드르레바마노난날람살돈말때더없같알저네데요월년집봄눈물밤"
)
"""The most frequent syllables of Korean, which distinguish it from Chinese bytes read as Korean."""

MAX_FOREIGN_SHARE = 0.25
"""Proportion of kana, or of hangul, among a text's letters, above which it is Japanese, or Korean, and refused.

Japanese prose has 0.5 to 0.75, Korean more than 0.9; in a Chinese or English text, Japanese names and quotations are
seldom 0.05.
"""

# Some of these stand for lost characters, or are rules.
_TYPOGRAPHIC_SIGNS = frozenset("·–—‘’“”…«»○●□■─━")
# The first character of each kind, outside of the sets above; "" is left to the Unicode category.
_BEGINNINGS = (
    (0x00, "NUL"),
    (0x01, "control"),
    (0x09, "lower-case ASCII"),  # tab, line ends, vertical tab, form feed
    (0x0E, "control"),
    (0x1A, "other ASCII"),  # the end of a file in MS-DOS
    (0x1B, "control"),
    (0x20, "lower-case ASCII"),  # space
    (0x21, "other ASCII"),
    (0x61, "lower-case ASCII"),
    (0x7B, "other ASCII"),
    (0x7F, "control"),
    (0xA0, ""),
    (0xC0, "Western letter"),
    (0x100, "alphabetic letter"),  # Latin Extended, Greek, Cyrillic, Hebrew, Arabic
    (0x700, ""),
    (0x3000, "East Asian sign"),
    (0x3020, "other"),
    (0x3040, "kana"),
    (0x3100, ""),
    (0x3400, "rare Han"),
    (0x4DC0, ""),
    (0x4E00, "other Han"),
    (0xA000, ""),
    (0xAC00, "other hangul"),
    (0xD7A4, ""),
    (0xE000, "private use"),
    (0xF900, "rare Han"),
    (0xFB00, ""),
    (0xFE30, "East Asian sign"),
    (0xFE50, ""),
    (0xFF01, "East Asian sign"),
    (0xFF5F, "other"),  # with the half-width kana
    (0xFFE0, "East Asian sign"),  # the full-width currency signs
    (0xFFE7, "other"),
    (0xFFFD, "undecodable"),
    (0xFFFE, ""),
    (0x20000, "rare Han"),
    (0x323B0, ""),
    (0xF0000, "private use"),
)
_BEGINS = [begin for begin, _ in _BEGINNINGS]

# The number of characters of each kind, and its proportion of a text in each language. The proportions are round figures;
# they need not be exact, since true and false readings differ by nats a character. ASCII has one proportion in all
# languages: it is the same in all encodings but UTF-16, and must not decide between the others.
# The columns are the languages of `_LOG_PRIORS`.
_KINDS: dict[str, tuple[int, tuple[float, ...]]] = {
    "lower-case ASCII": (30, (0.6, 0.6, 0.6, 0.6, 0.6)),
    "other ASCII": (70, (0.4, 0.4, 0.4, 0.4, 0.4)),
    "common Han": (len(COMMON_CHARACTERS), (0.7, 0.3, 0.02, 1e-3, 1e-3)),
    "other Han": (20_992 - len(COMMON_CHARACTERS), (0.12, 0.1, 0.01, 1e-3, 1e-3)),
    "rare Han": (70_000, (2e-3, 1e-3, 1e-4, 1e-4, 1e-4)),
    "East Asian sign": (160, (0.15, 0.1, 0.05, 1e-3, 1e-3)),
    "typographic sign": (len(_TYPOGRAPHIC_SIGNS), (0.05, 0.01, 0.05, 0.1, 0.05)),
    "kana": (180, (3e-4, 0.5, 1e-3, 1e-4, 1e-4)),
    "common hangul": (len(COMMON_HANGUL), (1e-4, 1e-4, 0.7, 1e-5, 1e-5)),
    "other hangul": (11_172 - len(COMMON_HANGUL), (1e-4, 1e-4, 0.2, 1e-5, 1e-5)),
    "Western letter": (64, (1e-3, 1e-3, 1e-3, 0.9, 0.1)),
    "alphabetic letter": (1_000, (1e-3, 1e-3, 1e-3, 0.01, 0.5)),
    "other letter": (20_000, (2e-3, 2e-3, 2e-3, 2e-3, 0.1)),
    "other": (8_000, (5e-3, 5e-3, 5e-3, 5e-3, 5e-3)),
    "private use": (137_468, (2e-4, 2e-4, 2e-4, 2e-4, 2e-4)),
    "control": (60, (1e-5, 1e-5, 1e-5, 1e-5, 1e-5)),
    "NUL": (1, (1e-4, 1e-4, 1e-4, 1e-4, 1e-4)),
    "undecodable": (256, (1e-4, 1e-4, 1e-4, 1e-4, 1e-4)),
}
_LOG_PROBABILITIES = {kind: [log(share / size) for share in shares] for kind, (size, shares) in _KINDS.items()}
_LOG_PRIORS = {"Chinese": 0.0, "Japanese": -5.0, "Korean": -5.0, "Western": -5.0, "other": -8.0}
# Outside of blocks of NULs. Arrays of small numbers have more.
_MAX_NUL_SHARE = 0.3
_LETTERS_SAMPLED = 2_000
_LETTERS_COUNTED = 4_000
_FOREIGN_LETTER = re.compile("[\u3040-\u30ff\uac00-\ud7a3]")


def log_likelihoods(text: str, *, weight: float = 1.0) -> list[float]:
    """Computes the logarithms of the text's probability in each language, from a proportion of it that is evidence."""
    if text.count("\0") > _MAX_NUL_SHARE * len(text):
        return [-inf]
    kinds = Counter(map(_kind, text)).items()
    return [
        prior + weight * sum(number * _LOG_PROBABILITIES[kind][language] for kind, number in kinds)
        for language, prior in enumerate(_LOG_PRIORS.values())
    ]


@cache
def _kind(character: str) -> str:
    if character in COMMON_CHARACTERS:
        return "common Han"
    if character in COMMON_HANGUL:
        return "common hangul"
    if character in _TYPOGRAPHIC_SIGNS:
        return "typographic sign"
    if kind := _BEGINNINGS[bisect_right(_BEGINS, ord(character)) - 1][1]:
        return kind
    category = unicodedata.category(character)
    return "other letter" if category[0] in "LM" else "control" if category in ("Cc", "Cn", "Cs") else "other"


def check_language(text: str, name: str, encoding: str) -> None:
    """Refuses a text of whose letters more than `MAX_FOREIGN_SHARE` are kana, or hangul."""
    if text.isascii():
        return
    sample = text[:: 1 + len(text) // _LETTERS_SAMPLED]
    if not _FOREIGN_LETTER.search(sample):
        return
    kinds = Counter(map(_kind, filter(str.isalpha, sample)))
    letters = max(1, kinds.total())
    for language, number in (("Japanese", kinds["kana"]), ("Korean", kinds["common hangul"] + kinds["other hangul"])):
        share = number / letters
        if share > MAX_FOREIGN_SHARE:
            raise DataError(
                f"{name}: seems to be {language}, not Chinese ({share:.0%} of its letters, in {encoding}); "
                f"{how_to_read_anyhow(encoding)}"
            )


def count_letters(text: str) -> Counter[str]:
    """Counts the letters that are ``"Han"`` characters and the ``"other"`` ones, in a sample of a long text."""
    stride = 1 + len(text) // _LETTERS_COUNTED
    letters = Counter("Han" if is_han(letter) else "other" for letter in filter(str.isalpha, text[::stride]))
    return Counter({kind: stride * letters[kind] for kind in ("Han", "other")})


def is_han(character: str) -> bool:
    """Decides whether a character is a Han character."""
    return _kind(character).endswith("Han")


def how_to_read_anyhow(codec: str) -> str:
    """Returns the next step for the message of a refused text."""
    return f"to read it anyhow, name the encoding, as in encoding={codec!r}"
