"""Rescoring of n-best lists by log-linear interpolation."""

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from zh_lstm_lm._config import check_choice, check_list, check_number
from zh_lstm_lm.errors import DataError
from zh_lstm_lm.evaluation.score import score_batch
from zh_lstm_lm.models.base import LanguageModel, TextState

__all__ = ["LENGTH_NORMALIZATIONS", "RescoredCandidate", "rescore", "rescore_batch"]

LENGTH_NORMALIZATIONS = ("none", "words", "characters")

Candidate = str | tuple[str, float]


@dataclass(frozen=True)
class RescoredCandidate:
    """A candidate with its scores.

    Attributes:
        text: The candidate.
        score: The interpolated score; the best candidate has the greatest.
        given_score: The score that it was given with; 0 if none.
        log_prob: The model's log-probability of the text, in nats.
        num_words: Number of words of the text.
        index: Its position in the given list.
    """

    text: str
    score: float
    given_score: float
    log_prob: float
    num_words: int
    index: int


def rescore(
    model: LanguageModel,
    candidates: Iterable[Candidate],
    *,
    weight: float = 1.0,
    word_bonus: float = 0.0,
    length_normalization: Literal["none", "words", "characters"] = "none",
    end: bool = True,
    state: TextState | None = None,
) -> list[RescoredCandidate]:
    """Reorders an n-best list of a recogniser, a spelling corrector or a translator, the best first.

    ``score = given score + weight * log-probability / length + word_bonus * words``: the log-linear interpolation that
    speech recognition uses.

    Args:
        model: Any `LanguageModel`.
        candidates: Texts, or pairs of a text and a score (a natural logarithm; multiply a decimal one by ln 10).
        weight: Weight of the model's log-probability; 0 keeps the given order.
        word_bonus: Added for each word, against the model's preference for short texts; negative for a penalty; 0 for none.
        length_normalization: Divisor of the log-probability: the number of ``"words"`` or ``"characters"``, the end
            counted; ``"none"`` divides by 1.
        end: Whether the end of each text is scored as well.
        state: The state before the candidates, as in `score`; None for the start of a document.

    Returns:
        All candidates. Equal ones keep their order.

    Raises:
        DataError: There is no candidate, or one is not a text with a finite score.
        ConfigError: An option is out of range.
    """
    return rescore_batch(
        model,
        [candidates],
        weight=weight,
        word_bonus=word_bonus,
        length_normalization=length_normalization,
        end=end,
        state=state,
    )[0]


def rescore_batch(
    model: LanguageModel,
    lists: Iterable[Iterable[Candidate]],
    *,
    weight: float = 1.0,
    word_bonus: float = 0.0,
    length_normalization: Literal["none", "words", "characters"] = "none",
    end: bool = True,
    state: TextState | None = None,
) -> list[list[RescoredCandidate]]:
    """Rescores many lists at once, which reads all their texts in batches; see `rescore`."""
    check_number("weight", weight)
    check_number("word_bonus", word_bonus, minimum=-math.inf)
    check_choice("length_normalization", length_normalization, LENGTH_NORMALIZATIONS)
    checked = [
        _checked(candidates, number)
        for number, candidates in enumerate(check_list("lists", lists, "a list of candidates"))
    ]
    scored = iter(score_batch(model, [text for pairs in checked for text, _ in pairs], end=end, state=state))
    rescored = []
    for pairs in checked:
        ranked = []
        for index, (text, given) in enumerate(pairs):
            result = next(scored)
            words = len(result.word_sizes)
            length = {"none": 1, "words": words, "characters": len(text) + end}[length_normalization]
            total = given + weight * result.log_prob / length + word_bonus * (words - end)
            ranked.append(RescoredCandidate(text, total, given, result.log_prob, words - end, index))
        rescored.append(sorted(ranked, key=lambda candidate: -candidate.score))
    return rescored


def _checked(candidates: Iterable[Candidate], number: int) -> Sequence[tuple[str, float]]:
    """Returns the candidates of one list as pairs."""
    pairs = []
    for candidate in check_list("candidates", candidates, "a list of texts, or of pairs of text and score"):
        text, given = candidate if isinstance(candidate, (tuple, list)) and len(candidate) == 2 else (candidate, 0.0)
        number_given = isinstance(given, (int, float)) and not isinstance(given, bool) and abs(given) < math.inf
        if not isinstance(text, str) or not number_given or abs(given) > sys.float_info.max:
            raise DataError(
                f"a candidate must be a text, or a pair of a text and a finite score, got {candidate!r:.60}"
            )
        pairs.append((text, float(given)))
    if not pairs:
        raise DataError(f"list {number} has no candidate")
    return pairs
