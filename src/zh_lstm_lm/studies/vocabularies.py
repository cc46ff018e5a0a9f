"""What the vocabulary does: its size, the spelling of what is outside, words or characters, the segmenter."""

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
from zh_lstm_lm.studies.cells import Parts, train_cell
from zh_lstm_lm.studies.config import StudyConfig
from zh_lstm_lm.studies.result import Claim, Text
from zh_lstm_lm.studies.spread import STANDARD_ERRORS, Difference, Spread, by_setting, compare, spread_of
from zh_lstm_lm.studies.verdicts import Rows, judge_sign
from zh_lstm_lm.training.callbacks import Callback
from zh_lstm_lm.training.config import TrainerConfig

__all__ = ["VocabularyStudy", "judge_vocabulary"]

_COMPARED = ("jieba", "rjieba", "characters")

_EQUAL = 0.05  # bits per character, under which two models are as good as each other


class VocabularyStudy(Study):
    """Trains with vocabularies of several sizes, with ``<unk>`` in place of spelling, and over other tokens."""

    title = "The vocabulary: size, spelling, words and characters"

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

    @override
    def claims(self, rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
        return judge_vocabulary(rows)


def judge_vocabulary(rows: Rows) -> list[Claim]:
    """Judges what is claimed of vocabularies; only what the rows hold is judged."""
    own = rows[0]["tokenizer"]
    spelled = by_setting((row for row in rows if row["unknown"] == "characters"), "tokenizer")
    sizes = sorted(by_setting(spelled[own,], "vocabulary_size").items())
    (small,), small_rows = sizes[0]
    (large,), large_rows = sizes[-1]
    quality = compare(small_rows, large_rows, "test_bits_per_character")
    speed = compare(small_rows, large_rows, "microseconds_per_character")

    def between(difference: Difference, form: str, unit: Text, first: str, second: str) -> Text:
        figures = format(difference.first, form), format(difference.second, form)
        return Text(
            en=f"{unit['en']}: {figures[0]} ({first}), {figures[1]} ({second})",
            zh=f"{unit['zh']}：{figures[0]}（{first}），{figures[1]}（{second}）",
        )

    bits = Text(en="bits per character of the test part", zh="测试集每字比特数")
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
            between(speed, ",.0f", Text(en="microseconds a character", zh="每字微秒数"), *ends),
            Text(
                en="time a character, the largest vocabulary against the smallest",
                zh="每字用时，最大词表与最小词表相比",
            ),
        ),
    ]
    if ("characters",) in spelled and own != "characters":
        words = compare(spelled["characters",], large_rows, "test_bits_per_character")
        claims.append(
            judge_sign(
                "words",
                Text(en="Words predict better than characters.", zh="以词为单位比以字为单位预测更准。"),
                -words.sign,
                between(words, ".3f", bits, "characters", own),
                Text(en="bits per character, words against characters", zh="每字比特数，词与字相比"),
            )
        )
    if ("jieba",) in spelled and ("rjieba",) in spelled:
        first, second = (max(by_setting(spelled[name,], "vocabulary_size").items())[1] for name in ("jieba", "rjieba"))
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
                    en=f"{told['en']}; {unknown:.1%} of the tokens are <unk>, whose text is not predicted at all",
                    zh=f"{told['zh']}；{unknown:.1%} 的词成了 <unk>，其文字根本没有被预测",
                ),
                Text(en="perplexity per token, <unk> against spelling", zh="每词困惑度，<unk> 与拼写相比"),
            )
        )
    return claims


def _judge_equality(difference: Spread, figure: Text) -> Claim:
    """Holds where even three standard errors stay within the bound, does not where they stay beyond it.

    The difference is that of runs of the same seed, so what a seed does to both has no part in it.
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
