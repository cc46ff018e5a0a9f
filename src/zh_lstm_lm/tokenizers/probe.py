"""Does a tokenizer cut text as it did when a model was saved? A probe text, and how far two cuts of it differ.

A fingerprint tells *that* a tokenizer is another one; its tokens of a small text that is always the same tell how much
that matters. A vocabulary is saved with them, word by word, so that any later version can compare.
"""

import warnings
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from zh_lstm_lm.tokenizers.base import LosslessTokenizer

__all__ = ["TokenizerMismatchWarning", "cut_probe", "share_cut_differently", "warn_of_mismatch"]

PROBE = (  # no spaces, which part the words of a saved probe
    "话说展昭听了此言，心中大喜，忙与白玉堂推门进了酒店。",
    "只见那人身高八尺，面如冠玉，目若朗星，腰间悬着一口宝剑。",
    "二人你来我往，斗了三十余合，不分胜负。",
    "李寻欢手中已没有刀，谁也没看见他的飞刀是怎么出手的。",
    "张三丰捋须笑道：“孩子，太极拳只重其义，不重其招，你忘记了多少？”",
    "峨嵋、崆峒、点苍三派的掌门人，都在少室山下等他。",
    "欧阳锋一声长啸，使出蛤蟆功，双掌缓缓推出。",
    "这套掌法名叫落英神剑掌，是桃花岛主当年所创。",
    "阿紫叫道：“姊夫，你……你别走！”",
    "黑衣人冷笑——那笑声比夜枭还要难听。",
    "却说宋江引军到了梁山泊边，扎下寨栅，天色已晚。",
    "欲知后事如何，且听下回分解。",
    "大观园里的姑娘们结了海棠诗社，薛宝钗夺了头名。",
    "子曰：学而时习之，不亦说乎？有朋自远方来，不亦乐乎？",
    "庭有枇杷树，吾妻死之年所手植也，今已亭亭如盖矣。",
    "他研究生毕业以后，在南京市长江大桥附近的一家公司当工程师。",
    "乒乓球拍卖完了，下雨天留客天留我不留。",
    "工信处女干事每月经过下属科室，都要亲口交代交换机的安装工作。",
    "结婚的和尚未结婚的都来领了号码。",
    "２０２４年３月５日，气温是３．５℃，比去年同期低了12.8%。",
    "一共卖出1,234,567册，每册定价39.80元，约合4913万元。",
    "第一百二十三回，自1975年起，三四十年来无人见过。",
    "她在iPhone上打开微信，发了一条朋友圈：“Hello,world!”",
    "请访问www.example.com，或拨打010-12345678。",
    "奧巴馬總統與妻子蜜雪兒抵達臺灣，參觀故宮博物院。",
    "郭靖與黃蓉並肩站在襄陽城頭，望著蒙古大軍。",
    "哈利·波特和赫敏·格兰杰坐上了去霍格沃茨的火车。",
    "呵呵，这个瓜真香，吃瓜群众表示喜大普奔。",
    "𠮷野家的牛丼，嗰啲嘢真係好食。",
    "（完）*****《全书终》……",
)


class TokenizerMismatchWarning(UserWarning):
    """A vocabulary is used with another tokenizer than the one that it was made with."""


def cut_probe(tokenizer: LosslessTokenizer) -> list[str] | None:
    """The probe text as the tokenizer cuts it, a sentence an entry, spaces between the words.

    Returns:
        The sentences; None if the tokenizer cannot cut them (a user's own object may be made for other text).
    """
    try:
        return [" ".join(tokenizer.tokenize(sentence)) for sentence in PROBE]
    except Exception:  # whatever it is, a model that is about to be saved must not be lost to it
        return None


def share_cut_differently(cut: Sequence[str], tokenizer: LosslessTokenizer) -> float:
    """The share of the words of a cut probe that the tokenizer does not cut as they are.

    Args:
        cut: What `cut_probe` returned once.
        tokenizer: The tokenizer now.

    Returns:
        A share from 0 to 1.

    Raises:
        DataError: The tokenizer changes characters of the text.
    """
    words = kept = 0
    for sentence in cut:
        before = _spans(sentence.split(" "))
        words += len(before)
        kept += len(before & _spans(tokenizer.tokenize(sentence.replace(" ", ""))))
    return 1 - kept / words if words else 0.0


def warn_of_mismatch(saved: dict[str, Any], tokenizer: LosslessTokenizer) -> None:
    """Warns if the tokenizer is not the one that a vocabulary was made with.

    Args:
        saved: What is saved of that tokenizer, checked: its ``fingerprint`` and its ``probe``, or None for either.
        tokenizer: The tokenizer now.

    Raises:
        DataError: The tokenizer changes characters of the text.
    """
    fingerprint, probe = saved.get("fingerprint"), saved.get("probe")
    if fingerprint is not None and fingerprint == tokenizer.fingerprint:
        return
    share = None if probe is None else share_cut_differently(probe, tokenizer)
    if fingerprint is None and not share:
        return  # an object of a user's, which is known by what it does and nothing else
    extent = "how much that changes is not known"
    if share is not None:
        extent = f"{share:.1%} of the words of a probe text are cut differently"
    warnings.warn(
        f"this vocabulary was made with the tokenizer {_named(fingerprint)}, and is used with "
        f"{_named(tokenizer.fingerprint)}: {extent}; words that are cut differently are rarer to the model than they "
        "were, so expect worse figures, or use the tokenizer that it was made with",
        TokenizerMismatchWarning,
        stacklevel=3,
    )


def _named(fingerprint: str | None) -> str:
    return "object of its user" if fingerprint is None else repr(fingerprint)


def _spans(tokens: Sequence[str]) -> set[tuple[int, int]]:
    return set(pairwise([0, *accumulate(map(len, tokens))]))
