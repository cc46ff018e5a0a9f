"""N-best lists put into a new order: what proposed the candidates and the model each have their say."""

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from zh_lstm_lm._config import check_choice, check_number
from zh_lstm_lm.errors import DataError
from zh_lstm_lm.evaluation.score import score_batch
from zh_lstm_lm.evaluation.scored_text import TextState
from zh_lstm_lm.models.lstm import LSTMLanguageModel

__all__ = ["LENGTH_NORMALIZATIONS", "RescoredCandidate", "rescore", "rescore_batch"]

LENGTH_NORMALIZATIONS = ("none", "words", "characters")

Candidate = str | tuple[str, float]


@dataclass(frozen=True)
class RescoredCandidate:
    """A candidate with all that went into its place.

    Attributes:
        text: The candidate.
        score: What its place was decided by; the best has the greatest.
        given_score: The score that came with it; 0 where none did.
        log_prob: The model's log-probability of the text, in nats.
        num_words: Words of the text.
        index: Its place in the list that was given.
    """

    text: str
    score: float
    given_score: float
    log_prob: float
    num_words: int
    index: int


def rescore(
    model: LSTMLanguageModel,
    candidates: Iterable[Candidate],
    *,
    weight: float = 1.0,
    word_bonus: float = 0.0,
    length_normalization: str = "none",
    end: bool = True,
    state: TextState | None = None,
) -> list[RescoredCandidate]:
    """Puts an n-best list (of a recogniser, a speller, a translator) into order, the best first.

    ``score = given score + weight * log-probability / length + word_bonus * words``: the log-linear interpolation that
    speech recognition uses.

    Args:
        model: The model.
        candidates: Texts, or pairs of a text and a score (a natural logarithm; times ln 10 if it was a decimal one).
        weight: Of the model's log-probability; 0 leaves the given order.
        word_bonus: Added for each word, against the model's liking for short texts; negative for a penalty; 0 for none.
        length_normalization: What the log-probability is divided by: the number of ``"words"`` or ``"characters"``, the
            end counted; ``"none"`` divides by 1.
        end: Whether the end of each text is scored, too.
        state: What the candidates come after, as in `score`; None for the start of a document.

    Returns:
        All candidates; equal ones keep their order.

    Raises:
        DataError: There is no candidate, or one is no text with a finite score.
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
    model: LSTMLanguageModel,
    lists: Iterable[Iterable[Candidate]],
    *,
    weight: float = 1.0,
    word_bonus: float = 0.0,
    length_normalization: str = "none",
    end: bool = True,
    state: TextState | None = None,
) -> list[list[RescoredCandidate]]:
    """Does what `rescore` does for many lists at once, reading all their texts side by side."""
    check_number("weight", weight)
    check_number("word_bonus", word_bonus, minimum=-math.inf)
    check_choice("length_normalization", length_normalization, LENGTH_NORMALIZATIONS)
    checked = [_checked(candidates, number) for number, candidates in enumerate(lists)]
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
    """The candidates of one list as pairs."""
    if isinstance(candidates, str) or not isinstance(candidates, Iterable):
        raise DataError(f"candidates must be a list of texts, or of pairs of text and score, got {candidates!r:.60}")
    pairs = []
    for candidate in candidates:
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
