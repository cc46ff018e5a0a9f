"""Sampling options, and the processors that they stand for."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from zh_lstm_lm._config import Config, check_integer, check_number, check_type, is_list
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.generation import logits_processors
from zh_lstm_lm.generation.forms.names import check_names
from zh_lstm_lm.generation.logits_processors import LogitsProcessor

__all__ = ["SamplerConfig"]

_MAX_BANNED_CHARACTERS = 100_000
_MAX_BIASES = 100_000
_MAX_INTEGER = 2**63 - 1


@dataclass(frozen=True)
class SamplerConfig(Config):
    """Sampling options. Names and neutral values are those of Hugging Face's `GenerationConfig` where it has them.

    Attributes:
        temperature: Below 1 likely words become likelier; 1 changes nothing, 0 always takes the likeliest token.
        top_k: Number of likeliest tokens that are kept; 0 keeps all.
        top_p: Keeps the likeliest tokens that together have this probability; 1 keeps all.
        min_p: Keeps tokens with at least this proportion of the likeliest one's probability; 0 keeps all.
        repetition_penalty: Above 1, tokens that occurred become less likely; 1 changes nothing. It multiplies
            log-probabilities.
        frequency_penalty: Subtracted from the log-probability of a token for each occurrence; 0 changes nothing.
        presence_penalty: Subtracted from the log-probability of a token that occurred; 0 changes nothing.
        penalty_window: Number of latest tokens, the prompt included, that the three penalties and
            `no_repeat_ngram_size` look at; None looks at all, which a long text must then keep.
        no_repeat_ngram_size: No n-gram of this size occurs twice; 0 sets no limit.
        banned_words: Words that are never generated, of at most 100,000 characters in all.
        word_bias: Added to the log-probabilities of words of the vocabulary, at most 100,000 of them; 0 changes nothing.
        rename: Names of the corpus, as words, and the names that are written in their place; the prompt may have the
            latter. A name of the corpus that the vocabulary lacks is kept out of the text.
        cache_weight: Weight of the cache of a `ContinuousCache` while text is sampled. None keeps its own, but takes at most
            0.05 for a saved mixture whose weights were fitted: they suit real text, and make sampled text repeat itself.
        balanced_pairs: Quotes and brackets that are opened are closed, in order and in their paragraph (a text that
            reaches its limit closes them with its last tokens); none is closed that is not open, or directly after a
            colon or an opening mark. False sets no rule.
        tidy_paragraphs: No paragraph starts with closing punctuation, such as a full stop, and none follows directly after
            a comma or an opening mark. False sets no rule.
        seed: Seed of the random numbers; equal seeds give equal texts.
    """

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 0.95
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_window: int | None = None
    no_repeat_ngram_size: int = 0
    banned_words: Sequence[str] = ()
    word_bias: Mapping[str, float] | tuple[tuple[str, float], ...] = ()
    rename: Mapping[str, str] | tuple[tuple[str, str], ...] = ()
    cache_weight: float | None = None
    balanced_pairs: bool = True
    tidy_paragraphs: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature)
        check_integer("top_k", self.top_k, minimum=0, maximum=_MAX_INTEGER)
        check_number("top_p", self.top_p, maximum=1.0)
        if self.top_p == 0:
            raise ConfigError("top_p must be above 0, got 0; temperature=0 always takes the likeliest token")
        check_number("min_p", self.min_p, maximum=1.0)
        check_number("repetition_penalty", self.repetition_penalty, exclusive=True)
        for name in ("frequency_penalty", "presence_penalty"):
            check_number(name, getattr(self, name), minimum=-1e6)
        check_integer("penalty_window", self.penalty_window, minimum=1, maximum=_MAX_INTEGER, optional=True)
        check_integer("no_repeat_ngram_size", self.no_repeat_ngram_size, minimum=0, maximum=_MAX_INTEGER)
        check_number("cache_weight", self.cache_weight, maximum=0.999, optional=True)
        check_type("balanced_pairs", self.balanced_pairs, bool)
        check_type("tidy_paragraphs", self.tidy_paragraphs, bool)
        if not isinstance(self.banned_words, (list, tuple)):
            raise ConfigError(f"banned_words must be a list of words, got {self.banned_words!r:.60}")
        for word in self.banned_words:
            if not isinstance(word, str) or not word:
                raise ConfigError(f"banned_words must hold strings that are not empty, got {word!r:.60}")
        if (total := sum(map(len, self.banned_words))) > _MAX_BANNED_CHARACTERS:
            raise ConfigError(
                f"banned_words must have at most {_MAX_BANNED_CHARACTERS:,} characters in all, got {total:,}; ban fewer"
            )
        object.__setattr__(self, "banned_words", tuple(self.banned_words))
        pairs = self.word_bias.items() if isinstance(self.word_bias, Mapping) else self.word_bias
        if not is_list(pairs) or not isinstance(pairs, Collection):
            raise ConfigError(f"word_bias must map words to numbers, got {self.word_bias!r:.60}")
        if len(pairs) > _MAX_BIASES:
            raise ConfigError(f"word_bias must map at most {_MAX_BIASES:,} words, got {len(pairs):,}; give fewer")
        if any(not isinstance(pair, (list, tuple)) or len(pair) != 2 for pair in pairs):
            raise ConfigError(f"word_bias must map words to numbers, got {self.word_bias!r:.60}")
        biases = {word: bias for word, bias in pairs if isinstance(word, str)}
        if len(biases) != len(pairs):
            raise ConfigError(f"word_bias must map words, each once, to numbers, got {self.word_bias!r:.60}")
        for word, bias in biases.items():
            check_number(f"word_bias of {word!r}", bias, minimum=-1e6)
        object.__setattr__(
            self, "word_bias", tuple((word, _for_torch(bias)) for word, bias in biases.items())
        )  # fixed, as a config is
        object.__setattr__(self, "rename", check_names(self.rename))
        check_integer("seed", self.seed, minimum=0, maximum=_MAX_INTEGER)
        for name, value in list(vars(self).items()):
            object.__setattr__(self, name, _for_torch(value))

    @property
    def history_window(self) -> int | None:
        """Number of latest ids that the processors of this config look at; None for all."""
        looks_back = (
            self.repetition_penalty != 1
            or self.frequency_penalty != 0
            or self.presence_penalty != 0
            or self.no_repeat_ngram_size != 0
        )
        if looks_back and self.penalty_window is None:
            return None
        words = [*self.banned_words, *dict(self.rename)]
        return max([1, *map(len, words), (self.penalty_window or 1) if looks_back else 1])

    def history_processors(self, vocabulary: Vocabulary) -> list[LogitsProcessor]:
        """Builds the processors that look at the text so far, in the order of Hugging Face's library.

        Raises:
            ConfigError: A word of `word_bias` is not in the vocabulary.
        """
        window = self.penalty_window
        processors: list[LogitsProcessor] = []
        if self.repetition_penalty != 1:
            processors.append(logits_processors.repetition_penalty(self.repetition_penalty, window=window))
        if self.frequency_penalty or self.presence_penalty:
            processors.append(
                logits_processors.occurrence_penalties(self.frequency_penalty, self.presence_penalty, window=window)
            )
        if self.word_bias:
            bias = torch.zeros(len(vocabulary), dtype=torch.float64)
            for word, value in dict(self.word_bias).items():
                if word not in vocabulary:
                    raise ConfigError(f"word_bias: {word!r} is not in the vocabulary; only whole words have a bias")
                bias[vocabulary.token_to_id(word)] = value
            processors.append(logits_processors.token_bias(bias))
        if self.no_repeat_ngram_size:
            processors.append(logits_processors.no_repeat_ngrams(self.no_repeat_ngram_size, window=window))
        return processors


def _for_torch(value: Any) -> Any:
    """Returns an integer beyond 64 bits as a float, and other values as they are."""
    return float(value) if isinstance(value, int) and abs(value) > _MAX_INTEGER else value
