"""What a model made of a text: exact sums of each paragraph, and the figures that come of them, in units that say what they are."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import DataError, NonFiniteError
from zh_lstm_lm.evaluation.bootstrap import ErrorBars, bootstrap

__all__ = ["EvaluationResult", "ParagraphSums", "check_finite", "count_characters"]


@dataclass(frozen=True)
class EvaluationResult:
    """What a model makes of a text.

    Attributes:
        log_prob: Log-probability of the whole text, in nats.
        num_tokens: Tokens counted, paragraph ends and the pieces of spelled words included.
        num_characters: Characters of the text, one more for each paragraph end; None with ``unknown="unk"``.
        unknown_rate: Share of the tokens that are ``<unk>``; 0 in a vocabulary that spells.
        clean: The name of the cleaning that the text went through; None if not known.
        error_bars: How far perplexity and bits per character may lie from those of other text of the kind; None where
            they were not asked for.
        unknown_log_prob: Log-probability of the tokens that are ``<unk>``, in nats.
    """

    log_prob: float
    num_tokens: int
    num_characters: int | None
    unknown_rate: float = 0.0
    clean: str | None = None
    error_bars: ErrorBars | None = None
    unknown_log_prob: float = 0.0

    @property
    def loss(self) -> float:
        """Cross-entropy, in nats a token."""
        return -self.log_prob / self.num_tokens

    @property
    def perplexity(self) -> float:
        """Perplexity per token; it depends on the segmentation and on the vocabulary."""
        return _perplexity(self.loss)

    @property
    def perplexity_excluding_unknown(self) -> float:
        """Perplexity per token of those that are not ``<unk>``; `perplexity` itself where every word is spelled."""
        known = self.num_tokens - round(self.unknown_rate * self.num_tokens)
        return _perplexity((self.unknown_log_prob - self.log_prob) / known) if known else math.inf

    @property
    def bits_per_character(self) -> float | None:
        """Bits a character, which compares any two models; None with ``unknown="unk"``, where ``<unk>`` hides text."""
        return -self.log_prob / math.log(2) / self.num_characters if self.num_characters else None


def _perplexity(loss: float) -> float:
    return math.exp(loss) if loss < 700 else math.inf


def check_finite(result: EvaluationResult) -> EvaluationResult:
    """Gives a result back.

    Raises:
        NonFiniteError: Its log-probability is not a number.
    """
    if math.isnan(result.log_prob):
        raise NonFiniteError(
            "the model's scores are not numbers (NaN): its weights are damaged, or it diverged while it learned from the "
            "text; load or train it anew, or lower learning_rate"
        )
    return result


class ParagraphSums:
    """Log-probability, tokens and characters of each paragraph of a text, summed up while it is read.

    Args:
        vocabulary: The vocabulary of the ids.
        ids: The text. **Shape:** (number of ids,).
    """

    def __init__(self, vocabulary: Vocabulary, ids: Tensor) -> None:
        self._vocabulary, self._ids = vocabulary, ids
        self._unknown_log_prob = 0.0
        self._ends = (ids == vocabulary.paragraph_end_id).nonzero().squeeze(1)
        self._characters = vocabulary.characters_per_id
        self._sums = torch.zeros(len(self._ends) + 1, 3, dtype=torch.float64)

    def add(self, places: Tensor, log_probs: Tensor) -> None:
        """Adds the log-probabilities of the ids at some places. **Shape:** (places,), twice."""
        characters = torch.zeros_like(log_probs)
        if self._characters is not None:
            characters += self._characters[self._ids[places].long()]
        values = torch.stack([log_probs, torch.ones_like(log_probs), characters], dim=1)
        self._sums.index_add_(0, torch.searchsorted(self._ends, places), values)
        if self._vocabulary.unk_id is not None:
            self._unknown_log_prob += float(log_probs[self._ids[places] == self._vocabulary.unk_id].sum())

    @property
    def log_prob(self) -> float:
        """Log-probability of all, in nats."""
        return float(self._sums[:, 0].sum())

    def result(self, clean: str | None, num_resamples: int, seed: int) -> EvaluationResult:
        """The figures of the text, whose every id but ``<bos>`` was a target.

        Raises:
            DataError: There is none, or too little for error bars.
        """
        measured = self._ids[self._ids != self._vocabulary.bos_id]
        if not len(measured):
            raise DataError("there is nothing to evaluate: the text has no token")
        return EvaluationResult(
            self.log_prob,
            len(measured),
            *count_characters(self._vocabulary, measured),
            clean,
            self.error_bars(num_resamples, seed),
            self._unknown_log_prob,
        )

    def error_bars(self, num_resamples: int, seed: int) -> ErrorBars | None:
        """The error bars; None for no resamples."""
        if not num_resamples:
            return None
        return bootstrap(
            self._sums, num_resamples=num_resamples, seed=seed, has_characters=self._characters is not None
        )


def count_characters(vocabulary: Vocabulary, ids: Tensor) -> tuple[int | None, float]:
    """The number of characters that ids stand for, and the share of unknown tokens among them."""
    if vocabulary.characters_per_id is None:
        return None, float(ids.eq(vocabulary.unk_id or -1).double().mean())
    return int(vocabulary.characters_per_id[ids.long()].sum()), 0.0
