"""The study of vocabularies: size, character fallback, words or characters, tokenizers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from typing_extensions import override

from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import MissingDependencyError
from zh_lstm_lm.models.config import ModelConfig
from zh_lstm_lm.studies.base import Study
from zh_lstm_lm.studies.cells import Parts, Row, train_cell
from zh_lstm_lm.studies.config import StudyConfig
from zh_lstm_lm.studies.presentation import QUALITY_COLUMNS, QUALITY_PLOTS, Column, MetricPlot
from zh_lstm_lm.studies.spread import STANDARD_ERRORS, Difference, Spread, by_setting, compare, spread_of
from zh_lstm_lm.studies.verdicts import Claim, Rows, Text, judge_sign
from zh_lstm_lm.training.callbacks import Callback
from zh_lstm_lm.training.config import TrainerConfig

__all__ = ["VocabularyRow", "VocabularyStudy"]

_COMPARED = ("jieba", "rjieba", "characters")
# Two models whose bits per character differ by less are equally good.
_EQUAL = 0.05


class VocabularyRow(Row, total=False):
    """A row of a study of vocabularies.

    Attributes:
        tokenizer: Name of the tokenizer.
        unknown: ``"characters"`` for character fallback, ``"unk"`` for a closed vocabulary with ``<unk>``.
        max_size: Maximum size of the vocabulary; None for no limit.
        vocabulary_size: Its size.
        characters_per_token: Characters of the test set per token, pieces of words outside the vocabulary included.
        unknown_rate: Proportion of the test set's tokens that are ``<unk>``; 0 with character fallback.
        microseconds_per_character: Training time per character. It depends on the machine and its load.
    """

    tokenizer: str
    unknown: str
    max_size: int | None
    vocabulary_size: int
    characters_per_token: float
    unknown_rate: float
    microseconds_per_character: float


class VocabularyStudy(Study):
    """A study that trains with vocabularies of several sizes, with ``<unk>``, and with other tokenizers."""

    kind = "vocabulary"
    title = Text(en="Vocabulary and segmentation", zh="词表与分词")
    setting_fields = ("tokenizer", "unknown", "max_size")
    columns = (
        Column(Text(en="entries", zh="词表大小"), "vocabulary_size", ",.0f"),
        Column(Text(en="characters/token", zh="字/词"), "characters_per_token", ".2f"),
        Column(Text(en="unknown", zh="未知词"), "unknown_rate", ".1%"),
        Column(Text(en="µs/character", zh="微秒/字"), "microseconds_per_character", ",.0f"),
        *QUALITY_COLUMNS[1:],
    )
    varied = ("vocabulary_size", Text(en="vocabulary size (log)", zh="词表大小（对数）"))
    plots = (
        *QUALITY_PLOTS,
        MetricPlot(
            Text(en="Training time per character", zh="训练一个字的时间"),
            Text(en="µs per character", zh="微秒/字"),
            ("microseconds_per_character",),
        ),
        MetricPlot(
            Text(en="Characters per token", zh="每词几个字"),
            Text(en="characters per token", zh="字/词"),
            ("characters_per_token",),
        ),
    )

    def __init__(
        self, corpus: TokenStream, config: StudyConfig, model_config: ModelConfig, trainer_config: TrainerConfig
    ) -> None:
        super().__init__(corpus, config, model_config, trainer_config)
        self._own = corpus.tokenizer.name or type(corpus.tokenizer.inner).__name__
        self._parts = {self._own: self.parts}
        for name in config.tokenizers or _COMPARED:
            try:
                if name not in self._parts:
                    other = TokenStream.from_texts(corpus.texts(), tokenizer=name, normalize=corpus.normalize)
                    self._parts[name] = Parts(*other.split())
            except MissingDependencyError:
                if config.tokenizers is not None:
                    raise
        whole = len(self._vocabulary(self._own, "characters", config.max_size))
        sizes = config.max_sizes or (whole // 4, whole // 2, config.max_size)
        self.settings = [
            *({"tokenizer": self._own, "unknown": "characters", "max_size": size} for size in sizes),
            {"tokenizer": self._own, "unknown": "unk", "max_size": config.max_size},
            *(
                {"tokenizer": name, "unknown": "characters", "max_size": config.max_size}
                for name in self._parts
                if name != self._own
            ),
        ]
        self._equal_updates = min(
            self.updates_per_epoch(self._vocabulary(**setting), self._parts[setting["tokenizer"]].train)
            for setting in self.settings
        )

    def _vocabulary(self, tokenizer: str, unknown: str, max_size: int | None) -> Vocabulary:
        train = self._parts[tokenizer].train
        return Vocabulary.from_stream(train, min_freq=self.config.min_freq, max_size=max_size, unknown=unknown)

    @override
    def run(
        self, setting: Mapping[str, Any], seed: int, run_dir: Path | None, callbacks: Sequence[Callback]
    ) -> dict[str, Any] | None:
        parts, vocabulary = self._parts[setting["tokenizer"]], self._vocabulary(**setting)
        trained = train_cell(
            parts,
            vocabulary,
            replace(self.model_config, seed=seed),
            self.training(seed, run_dir, equal_updates=self._equal_updates),
            callbacks=callbacks,
            prompt=self.config.prompt,
        )
        if trained is None:
            return None
        tokens_per_character = len(vocabulary.encode_stream(parts.train)) / parts.train.num_characters
        return {
            **trained.row,
            "vocabulary_size": len(vocabulary),
            "characters_per_token": parts.test.num_characters / trained.test.num_tokens,
            "unknown_rate": trained.test.unknown_rate,
            "microseconds_per_character": trained.row["microseconds_per_token"] * tokens_per_character,
        }

    @staticmethod
    @override
    def name_line(setting: Mapping[str, Any]) -> str:
        fallback = "" if setting["unknown"] == "characters" else f" ({setting['unknown']})"
        return f"{setting['tokenizer']}{fallback}"

    @staticmethod
    @override
    def name_setting(setting: Mapping[str, Any]) -> Text:
        line, size = VocabularyStudy.name_line(setting), setting["max_size"]
        if isinstance(size, int):
            return Text(en=f"{line}, {size:,}", zh=f"{line}，{size:,}")
        return Text(en=f"{line}, all", zh=f"{line}，全部")

    @staticmethod
    @override
    def claims(rows: Rows) -> list[Claim]:
        return _judge(rows)


def _judge(rows: Rows) -> list[Claim]:
    """Judges the claims about vocabularies that the rows have settings for."""
    own = rows[0]["tokenizer"]
    by_tokenizer = by_setting((row for row in rows if row["unknown"] == "characters"), "tokenizer")
    sizes = sorted(by_setting(by_tokenizer[own,], "vocabulary_size").items())
    (small,), small_rows = sizes[0]
    (large,), large_rows = sizes[-1]
    quality = compare(small_rows, large_rows, "test_bits_per_character")
    speed = compare(small_rows, large_rows, "microseconds_per_character")

    def between(difference: Difference, form: str, unit: Text, first: str, second: str) -> Text:
        means = format(difference.first, form), format(difference.second, form)
        return Text(
            en=f"{unit['en']}: {means[0]} ({first}), {means[1]} ({second})",
            zh=f"{unit['zh']}：{means[0]}（{first}），{means[1]}（{second}）",
        )

    bits = Text(en="bits per character on the test set", zh="测试集每字比特数")
    ends = f"{small:,}", f"{large:,}"
    claims = [
        judge_sign(
            "size",
            Text(en="A larger vocabulary predicts better.", zh="词表越大，预测越准。"),
            -quality.sign,
            between(quality, ".3f", bits, *ends),
            Text(
                en="bits per character, the largest vocabulary against the smallest",
                zh="每字比特数，最大词表与最小词表相比",
            ),
        ),
        judge_sign(
            "speed",
            Text(en="A larger vocabulary trains more slowly.", zh="词表越大，训练越慢。"),
            speed.sign,
            between(speed, ",.0f", Text(en="microseconds per character", zh="每字微秒数"), *ends),
            Text(
                en="time per character, the largest vocabulary against the smallest",
                zh="每字用时，最大词表与最小词表相比",
            ),
        ),
    ]
    if ("characters",) in by_tokenizer and own != "characters":
        words = compare(by_tokenizer["characters",], large_rows, "test_bits_per_character")
        claims.append(
            judge_sign(
                "words",
                Text(en="Words predict better than characters.", zh="以词为单位比以字为单位预测更准。"),
                -words.sign,
                between(words, ".3f", bits, "characters", own),
                Text(en="bits per character, words against characters", zh="每字比特数，词与字相比"),
            )
        )
    if ("jieba",) in by_tokenizer and ("rjieba",) in by_tokenizer:
        first, second = (
            max(by_setting(by_tokenizer[name,], "vocabulary_size").items())[1] for name in ("jieba", "rjieba")
        )
        segmenters = compare(first, second, "test_bits_per_character")
        of_seed = {row["seed"]: row["test_bits_per_character"] for row in first}
        pairs = [row["test_bits_per_character"] - of_seed[row["seed"]] for row in second if row["seed"] in of_seed]
        claims.append(_judge_equality(spread_of(pairs), between(segmenters, ".3f", bits, "jieba", "rjieba")))
    closed = [row for row in rows if row["unknown"] == "unk"]
    if closed:
        perplexity = compare(large_rows, closed, "test_perplexity")
        unknown = spread_of(row["unknown_rate"] for row in closed)
        told = between(perplexity, ",.1f", Text(en="perplexity per token", zh="每词困惑度"), "characters", "<unk>")
        claims.append(
            judge_sign(
                "unknown_words",
                Text(en="A vocabulary with <unk> shows a lower perplexity.", zh="用 <unk> 的词表显示出更低的困惑度。"),
                -perplexity.sign,
                Text(
                    en=f"{told['en']}; {unknown:.1%} of the tokens are <unk>, whose characters are not predicted",
                    zh=f"{told['zh']}；{unknown:.1%} 的词成了 <unk>，其文字根本没有被预测",
                ),
                Text(en="perplexity per token, <unk> against character fallback", zh="每词困惑度，<unk> 与拼写相比"),
            )
        )
    return claims


def _judge_equality(difference: Spread, figure: Text) -> Claim:
    """Judges whether the difference is within the bound, with a margin of three standard errors.

    The difference is taken between runs of the same seed, so that effects of the seed cancel.
    """
    error = STANDARD_ERRORS * difference.deviation / math.sqrt(difference.count)
    largest, smallest = (abs(difference.mean) + side * error for side in (1, -1))
    return Claim(
        name="segmenters",
        claim=Text(en="jieba and rjieba give equally good models.", zh="jieba 与 rjieba 得到的模型同样好。"),
        verdict="holds" if largest <= _EQUAL else "does not hold" if smallest > _EQUAL else "depends",
        figure=figure,
        rule=Text(
            en=f"seed by seed, they differ by at most {_EQUAL} bits per character within three standard errors",
            zh=f"逐个种子相比，在三倍标准误之内，两者相差不超过每字 {_EQUAL} 比特",
        ),
    )
