"""Comparison of a tokenizer with the one that a model was saved with, by their tokens of a probe text.

A fingerprint shows *that* a tokenizer differs; its tokens of a small fixed text show how much. A vocabulary is saved with
these tokens, so that any later version can compare them.
"""

import warnings
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from zh_lstm_lm.tokenizers.base import LosslessTokenizer

__all__ = ["TokenizerMismatchWarning", "cut_probe", "share_cut_differently", "warn_of_mismatch"]

# There are no spaces in it, since spaces separate the words of a saved probe.
PROBE = (
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
    """Warning that a vocabulary is used with another tokenizer than the one that it was made with."""


def cut_probe(tokenizer: LosslessTokenizer) -> list[str] | None:
    """Segments the probe text, with spaces between the words; None if the tokenizer fails, as one for other text may."""
    try:
        return [" ".join(tokenizer.tokenize(sentence)) for sentence in PROBE]
    except Exception:
        # No error of a user's object may prevent a model from being saved.
        return None


def share_cut_differently(cut: Sequence[str], tokenizer: LosslessTokenizer) -> float:
    """Returns the proportion of the words of an earlier output of `cut_probe` that the tokenizer segments differently."""
    words = kept = 0
    for sentence in cut:
        before = _spans(sentence.split(" "))
        words += len(before)
        kept += len(before & _spans(tokenizer.tokenize(sentence.replace(" ", ""))))
    return 1 - kept / words if words else 0.0


def warn_of_mismatch(saved: dict[str, Any], tokenizer: LosslessTokenizer) -> None:
    """Warns if the tokenizer differs from the one that a vocabulary was made with."""
    fingerprint, probe = saved.get("fingerprint"), saved.get("probe")
    if fingerprint is not None and fingerprint == tokenizer.fingerprint:
        return
    share = None if probe is None else share_cut_differently(probe, tokenizer)
    if fingerprint is None and not share:
        # A user's object without a fingerprint is compared by its tokens alone.
        return
    extent = "the number of affected words is unknown"
    if share is not None:
        extent = f"{share:.1%} of the words of a probe text are segmented differently"
    warnings.warn(
        f"this vocabulary was made with the tokenizer {_named(fingerprint)} and is used with "
        f"{_named(tokenizer.fingerprint)}: {extent}; the model knows these words less well, so expect worse metrics, or "
        "use the tokenizer that it was made with",
        TokenizerMismatchWarning,
        stacklevel=3,
    )


def _named(fingerprint: str | None) -> str:
    return "object of a user" if fingerprint is None else repr(fingerprint)


def _spans(tokens: Sequence[str]) -> set[tuple[int, int]]:
    return set(pairwise([0, *accumulate(map(len, tokens))]))
