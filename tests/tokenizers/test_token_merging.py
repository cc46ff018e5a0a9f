"""Dashes, ellipses and numbers are one token each, and nothing else is joined."""

import importlib.util
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zh_lstm_lm.tokenizers.base import LosslessTokenizer
from zh_lstm_lm.tokenizers.registry import get_tokenizer
from zh_lstm_lm.tokenizers.token_merging import WordFinder, join_spans, merge_tokens

QUICK = settings(max_examples=150, deadline=None, derandomize=True, database=None)
TOKENIZERS = [
    (name, hmm) for name in ("jieba", "rjieba") for hmm in (True, False) if importlib.util.find_spec(name) is not None
]


@pytest.fixture(scope="module", params=TOKENIZERS, ids=str)
def tokenizer(request: pytest.FixtureRequest) -> LosslessTokenizer:
    """Each tokenizer that joins, with its model and without."""
    name, hmm = request.param
    return get_tokenizer(name, hmm=hmm)


@pytest.mark.parametrize(
    "token",
    [
        "——", "———", "――", "──", "－－", "--", "……", "………", "⋯⋯", "...", "......", "１９７５", "1975", "3.14", "３．１４",
        "1,234", "1,234,567.89", "12.5%", "５０％", "50%", "１０１", "100",
    ],
)  # fmt: skip
def test_it_is_one_token(tokenizer: LosslessTokenizer, token: str) -> None:
    for text in (f"他说{token}好", f"{token}好", f"，{token}", token, f"{token}，{token}。"):
        assert tokenizer.tokenize(text).count(token) == text.count(token), text


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("12:30", ["12", ":", "30"]),
        ("3：2", ["3", "：", "2"]),
        ("1,2", ["1", ",", "2"]),
        ("1,2345", ["1", ",", "2345"]),
        ("１００，２００", ["１００", "，", "２００"]),
        ("12,34,567", ["12", ",", "34,567"]),
        ("……——", ["……", "——"]),
        ("。。", ["。", "。"]),
        ("—", ["—"]),
        ("GB18030", ["GB18030"]),
        ("２０２４年３月", ["２０２４", "年", "３", "月"]),
        ("1975年", ["1975", "年"]),
        ("一百零八将", ["一百零八", "将"]),
        ("2007-11-16", ["2007", "-", "11", "-", "16"]),
    ],
)
def test_what_stays_apart(tokenizer: LosslessTokenizer, text: str, tokens: list[str]) -> None:
    assert tokenizer.tokenize(text) == tokens


@QUICK
@given(st.lists(st.text(st.sampled_from("1２０,.．%—…-: 年a"), min_size=1, max_size=5), max_size=12))
def test_tokens_are_only_joined_and_only_those_of_the_rule(tokens: list[str]) -> None:
    text = "".join(tokens)

    joined = merge_tokens(text, tokens)

    assert "".join(joined) == text
    rest = iter(tokens)
    # Each is a run of the given tokens.
    for token in joined:
        pieces = [next(rest)]
        while sum(map(len, pieces)) < len(token):
            pieces.append(next(rest))
        assert "".join(pieces) == token
        if len(pieces) > 1:
            assert re.fullmatch(r"——+|--+|……+|\.{3,}|[0-9０-９][0-9０-９,.．]*[%％]?", token)
    assert merge_tokens(text, joined) == joined


def test_words_are_joined_where_tokens_end_with_them() -> None:
    words = WordFinder(["哈利·波特", "哈利·波特与魔法石"])

    def joined(*tokens: str) -> list[str]:
        text = "".join(tokens)
        return join_spans(text, list(tokens), words.spans(text))

    assert joined("哈利", "·", "波特", "笑") == ["哈利·波特", "笑"]
    assert joined("哈利", "·", "波特", "与", "魔法", "石") == ["哈利·波特与魔法石"]
    assert joined("见哈利", "·", "波特") == ["见哈利", "·", "波特"]


@settings(deadline=None, derandomize=True, database=None, max_examples=300)
@given(words=st.sets(st.text("ab·[]^-\\", min_size=1, max_size=4), max_size=8), text=st.text("ab·[]^-\\", max_size=30))
def test_words_are_found_as_an_alternation_finds_them(words: set[str], text: str) -> None:
    longest_first = sorted(words, key=lambda word: -len(word))
    pattern = re.compile("|".join(map(re.escape, longest_first)) if words else "(?!)")
    assert list(WordFinder(words).spans(text)) == [match.span() for match in pattern.finditer(text)]


class CountingSet(frozenset[str]):
    """A set that counts the words that are looked up in it."""

    lookups = 0

    def __contains__(self, word: object) -> bool:
        self.lookups += 1
        return super().__contains__(word)


def test_thousands_of_names_need_few_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [
        f"{first}{second}·{last}" for first in "阿巴查德" for second in "0123456789" * 20 for last in "伊尔恩斯" * 4
    ]
    many = {name * number for name in names for number in range(1, 9)}
    text = "阿0·伊与查1·尔走到桃花岛。" * 20

    finder = WordFinder(many)
    counted = CountingSet(many)
    monkeypatch.setattr(finder, "_words", counted)

    assert [text[start:stop] for start, stop in finder.spans(text)] == ["阿0·伊", "查1·尔"] * 20
    assert len(many) > 1_000
    assert counted.lookups < 1_000
