"""The result of an evaluation: exact sums of each paragraph and the metrics computed from them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import DataError, NonFiniteError
from zh_lstm_lm.evaluation.bootstrap import ErrorBars, bootstrap
from zh_lstm_lm.runtime.devices import on_cpu_by_default

__all__ = ["EvaluationResult", "ParagraphSums", "check_finite", "count_characters"]


@dataclass(frozen=True)
class EvaluationResult:
    """The metrics of a model on a text.

    Attributes:
        log_prob: Log-probability of the whole text, in nats.
        num_tokens: Number of tokens, paragraph ends and the pieces of words outside the vocabulary included.
        num_characters: Number of characters, one more for each paragraph end; None with ``unknown="unk"``.
        unknown_rate: Proportion of tokens that are ``<unk>``; 0 in a vocabulary with character fallback.
        clean: Name of the cleaning that the text went through; None if not known.
        unknown_log_prob: Log-probability of the tokens that are ``<unk>``, in nats.
        parts: The results of the parts of a mixture by name, such as ``"LSTM"`` and ``"4-gram"``; empty for a single model
            and where a temperature was given.
        paragraph_sums: Log-probability in nats, number of tokens and number of characters of each paragraph, for
            `error_bars`; None if there is only one paragraph. **Shape:** (paragraphs, 3), float64.
    """

    log_prob: float
    num_tokens: int
    num_characters: int | None
    unknown_rate: float = 0.0
    clean: str | None = None
    unknown_log_prob: float = 0.0
    parts: Mapping[str, "EvaluationResult"] = field(default_factory=dict, compare=False, repr=False)
    paragraph_sums: Tensor | None = field(default=None, compare=False, repr=False)

    @property
    def loss(self) -> float:
        """Cross-entropy, in nats per token."""
        return -self.log_prob / self.num_tokens

    @property
    def perplexity(self) -> float:
        """Perplexity per token, which depends on the segmentation and on the vocabulary."""
        return _perplexity(self.loss)

    @property
    def perplexity_excluding_unknown(self) -> float:
        """Perplexity per token without ``<unk>``; equal to `perplexity` in a vocabulary with character fallback."""
        known = self.num_tokens - round(self.unknown_rate * self.num_tokens)
        return _perplexity((self.unknown_log_prob - self.log_prob) / known) if known else math.inf

    @property
    def bits_per_character(self) -> float | None:
        """Bits per character, comparable between any two models; None with ``unknown="unk"``, where ``<unk>`` hides text."""
        return -self.log_prob / math.log(2) / self.num_characters if self.num_characters else None

    @on_cpu_by_default
    def error_bars(self, num_resamples: int = 1000, *, confidence: float = 0.95, seed: int = 0) -> ErrorBars:
        """Computes confidence intervals by the bootstrap over paragraphs; see `bootstrap`.

        Args:
            num_resamples: Number of resamples.
            confidence: Proportion of the resamples inside an interval.
            seed: Seed of the resampling.

        Raises:
            DataError: The text has fewer than two paragraphs.
            ConfigError: An option is out of range.
        """
        sums = torch.ones(1, 3, dtype=torch.float64) if self.paragraph_sums is None else self.paragraph_sums
        return bootstrap(
            sums,
            num_resamples=num_resamples,
            confidence=confidence,
            seed=seed,
            has_characters=self.num_characters is not None,
        )


def _perplexity(loss: float) -> float:
    return math.exp(loss) if loss < 700 else math.inf


def check_finite(result: EvaluationResult) -> EvaluationResult:
    """Returns a result, unless its log-probability is NaN, which is an error."""
    if math.isnan(result.log_prob):
        raise NonFiniteError(
            "the model's log-probabilities are NaN: its weights are damaged, or it diverged while it learned from the "
            "text; load another copy, train it again, or lower learning_rate"
        )
    return result


class ParagraphSums:
    """Running `sums` of log-probability in nats, tokens and characters by paragraph. **Shape:** (paragraphs, 3)."""

    def __init__(self, vocabulary: Vocabulary, ids: Tensor) -> None:
        self._vocabulary, self._ids = vocabulary, ids
        self._unknown_log_prob = 0.0
        self._ends = (ids == vocabulary.paragraph_end_id).nonzero().squeeze(1)
        self._characters = vocabulary.characters_per_id
        self.sums: Tensor = torch.zeros(len(self._ends) + 1, 3, dtype=torch.float64)

    def add(self, positions: Tensor, log_probs: Tensor) -> None:
        """Adds the log-probabilities of the ids at some positions. **Shape:** (positions,), twice."""
        characters = torch.zeros_like(log_probs)
        if self._characters is not None:
            characters += self._characters[self._ids[positions].long()]
        values = torch.stack([log_probs, torch.ones_like(log_probs), characters], dim=1)
        self.sums.index_add_(0, torch.searchsorted(self._ends, positions), values)
        if self._vocabulary.unk_id is not None:
            self._unknown_log_prob += float(log_probs[self._ids[positions] == self._vocabulary.unk_id].sum())

    @property
    def log_prob(self) -> float:
        """Log-probability of everything added, in nats."""
        return float(self.sums[:, 0].sum())

    def result(self, clean: str | None) -> EvaluationResult:
        """Returns the metrics of the text, of which every id but ``<bos>`` was a target; refuses one without a token."""
        measured = self._ids[self._ids != self._vocabulary.bos_id]
        if not len(measured):
            raise DataError("there is nothing to evaluate: the text has no token")
        num_characters, unknown_rate = count_characters(self._vocabulary, measured)
        return EvaluationResult(
            self.log_prob,
            len(measured),
            num_characters,
            unknown_rate,
            clean,
            self._unknown_log_prob,
            paragraph_sums=self.sums,
        )


def count_characters(vocabulary: Vocabulary, ids: Tensor) -> tuple[int | None, float]:
    """Returns the number of characters of some ids, None if not known, and the proportion of ``<unk>`` among them."""
    if vocabulary.characters_per_id is None:
        return None, float(ids.eq(-1 if vocabulary.unk_id is None else vocabulary.unk_id).double().mean())
    return int(vocabulary.characters_per_id[ids.long()].sum()), 0.0
