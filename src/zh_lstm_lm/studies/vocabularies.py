"""The study of vocabularies: size, character fallback, words or characters, tokenizers."""

import math
from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import MissingDependencyError
from zh_lstm_lm.studies.base import Study, Train
from zh_lstm_lm.studies.cells import Parts
from zh_lstm_lm.studies.claims import STANDARD_ERRORS, Change, Claim, Rows, by_setting, compare, spread_of
from zh_lstm_lm.studies.presentation import QUALITY_COLUMNS, QUALITY_PLOTS, TEST_BITS, Column, Label, MetricPlot

__all__ = ["VocabularyStudy"]

_COMPARED = ("jieba", "rjieba", "characters")
# Two models whose bits per character differ by less are equally good.
_EQUAL = 0.05
_SIZE = Change(
    "size", Label("词表越大，预测越准。", "A larger vocabulary predicts better."), TEST_BITS, ".3f", holds=-1
)
_SPEED = Change(
    "speed", Label("词表越大，训练越慢。", "A larger vocabulary trains more slowly."),
    Label("每字微秒数", "microseconds per character"), ",.0f", holds=1,
)  # fmt: skip
_WORDS = Change(
    "words",
    Label("以词为单位比以字为单位预测更准。", "Words predict better than characters."),
    TEST_BITS,
    ".3f",
    holds=-1,
)
_SEGMENTERS = Change(
    "segmenters", Label("jieba 与 rjieba 得到的模型同样好。", "jieba and rjieba give equally good models."), TEST_BITS, ".3f",
    holds=0,
    rule=Label(
        f"逐个种子相比，差异不超过每字 {_EQUAL} 比特", f"seed by seed, they differ by at most {_EQUAL} bits per character"
    ),
)  # fmt: skip
_UNKNOWN = Change(
    "unknown_words", Label("用 <unk> 的词表显示出更低的困惑度。", "A vocabulary with <unk> shows a lower perplexity."),
    Label("每词困惑度", "perplexity per token"), ",.1f", holds=-1,
    rule=Label("每词困惑度，<unk> 与拼写相比", "perplexity per token, <unk> against character fallback"),
)  # fmt: skip


class VocabularyStudy(Study):
    """A study that trains with vocabularies of several sizes, with ``<unk>``, and with other tokenizers.

    Its rows have besides the common fields:

    - ``tokenizer``: name of the tokenizer
    - ``unknown``: ``"characters"`` for character fallback, ``"unk"`` for a closed vocabulary with ``<unk>``
    - ``max_size``: maximum size of the vocabulary; None for no limit
    - ``vocabulary_size``: its size
    - ``characters_per_token``: characters of the test set per token, pieces of words outside the vocabulary included
    - ``unknown_rate``: proportion of the test set's tokens that are ``<unk>``; 0 with character fallback
    - ``microseconds_per_character``: training time per character; it depends on the machine and its load
    """

    kind = "vocabulary"
    title = Label("词表与分词", "Vocabulary and segmentation")
    setting_fields = ("tokenizer", "unknown", "max_size")
    columns = (
        Column(Label("词表大小", "entries"), "vocabulary_size", ",.0f"),
        Column(Label("字/词", "characters/token"), "characters_per_token", ".2f"),
        Column(Label("未知词", "unknown"), "unknown_rate", ".1%"),
        Column(Label("微秒/字", "µs/character"), "microseconds_per_character", ",.0f"),
        *QUALITY_COLUMNS[1:],
    )
    varied = ("vocabulary_size", Label("词表大小（对数）", "vocabulary size (log)"))
    plots = (
        *QUALITY_PLOTS,
        MetricPlot(Label("训练一个字的时间", "Training time per character"), Label("微秒/字", "µs per character"), ("microseconds_per_character",)),
        MetricPlot(Label("每词几个字", "Characters per token"), Label("字/词", "characters per token"), ("characters_per_token",)),
    )  # fmt: skip

    @override
    def prepare(self) -> None:
        corpus = self.corpus
        own = corpus.tokenizer.name or type(corpus.tokenizer.inner).__name__
        self._parts = {own: self.parts}
        for name in self.config.tokenizers or _COMPARED:
            try:
                if name not in self._parts:
                    other = TokenStream.from_texts(corpus.texts(), tokenizer=name, normalize=corpus.normalize)
                    self._parts[name] = Parts(*other.split())
            except MissingDependencyError:
                if self.config.tokenizers is not None:
                    raise
        whole = len(self.vocabulary_of(self.parts.train))
        sizes = self.config.max_sizes or (whole // 4, whole // 2, self.config.max_size)
        self.settings = [
            *({"tokenizer": own, "unknown": "characters", "max_size": size} for size in sizes),
            {"tokenizer": own, "unknown": "unk", "max_size": self.config.max_size},
            *(
                {"tokenizer": name, "unknown": "characters", "max_size": self.config.max_size}
                for name in self._parts
                if name != own
            ),
        ]
        self.equal_updates = min(
            self.updates_per_epoch(self._vocabulary(**setting), self._parts[setting["tokenizer"]].train)
            for setting in self.settings
        )

    def _vocabulary(self, tokenizer: str, unknown: str, max_size: int | None) -> Vocabulary:
        return self.vocabulary_of(self._parts[tokenizer].train, max_size=max_size, unknown=unknown)

    @override
    def run(self, setting: Mapping[str, Any], train: Train) -> dict[str, Any]:
        parts, vocabulary = self._parts[setting["tokenizer"]], self._vocabulary(**setting)
        cell = train(parts, vocabulary)
        tokens_per_character = len(vocabulary.encode_stream(parts.train)) / parts.train.num_characters
        return {
            **cell.row,
            "vocabulary_size": len(vocabulary),
            "characters_per_token": parts.test.num_characters / cell.test.num_tokens,
            "unknown_rate": cell.test.unknown_rate,
            "microseconds_per_character": cell.row["microseconds_per_token"] * tokens_per_character,
        }

    @staticmethod
    @override
    def name_line(setting: Mapping[str, Any]) -> str:
        fallback = "" if setting["unknown"] == "characters" else f" ({setting['unknown']})"
        return f"{setting['tokenizer']}{fallback}"

    @staticmethod
    @override
    def name_setting(setting: Mapping[str, Any]) -> Label:
        line, size = VocabularyStudy.name_line(setting), setting["max_size"]
        if isinstance(size, int):
            return Label(f"{line}，{size:,}", f"{line}, {size:,}")
        return Label(f"{line}，全部", f"{line}, all")

    @staticmethod
    @override
    def claims(rows: Rows) -> list[Claim]:
        own = rows[0]["tokenizer"]
        spelled = by_setting((row for row in rows if row["unknown"] == "characters"), "tokenizer")
        sizes = sorted(by_setting(spelled[own,], "vocabulary_size").items())
        ((small,), small_rows), ((large,), large_rows) = sizes[0], sizes[-1]
        ends = f"{small:,}", f"{large:,}"
        bits, time = "test_bits_per_character", "microseconds_per_character"
        claims = [
            _SIZE.judge(compare(small_rows, large_rows, bits), *ends),
            _SPEED.judge(compare(small_rows, large_rows, time), *ends),
        ]
        if ("characters",) in spelled and own != "characters":
            claims.append(_WORDS.judge(compare(spelled["characters",], large_rows, bits), "characters", own))
        if ("jieba",) in spelled and ("rjieba",) in spelled:
            pair = (max(by_setting(spelled[name,], "vocabulary_size").items())[1] for name in ("jieba", "rjieba"))
            claims.append(_judge_segmenters(*pair))
        closed = [row for row in rows if row["unknown"] == "unk"]
        if closed:
            unknown = spread_of(row["unknown_rate"] for row in closed)
            hidden = Label(
                f"<unk>，{unknown:.1%} 的词成了 <unk>，其文字没有被预测",
                f"<unk>, {unknown:.1%} of the tokens, whose characters are not predicted",
            )
            perplexity = compare(large_rows, closed, "test_perplexity")
            claims.append(_UNKNOWN.judge(perplexity, Label("拼写", "character fallback"), hidden))
        return claims


def _judge_segmenters(jieba: Rows, rjieba: Rows) -> Claim:
    """Judges by the bound on differences between runs of the same seed, with a margin of three standard errors."""
    # Effects of the seed cancel.
    of_seed = {row["seed"]: row["test_bits_per_character"] for row in jieba}
    pairs = [row["test_bits_per_character"] - of_seed[row["seed"]] for row in rjieba if row["seed"] in of_seed]
    difference = spread_of(pairs)
    error = STANDARD_ERRORS * difference.deviation / math.sqrt(difference.count)
    largest, smallest = (abs(difference.mean) + side * error for side in (1, -1))
    sign = 1 if largest <= _EQUAL else -1 if smallest > _EQUAL else 0
    return _SEGMENTERS.judge(compare(jieba, rjieba, "test_bits_per_character"), "jieba", "rjieba", sign=sign)
