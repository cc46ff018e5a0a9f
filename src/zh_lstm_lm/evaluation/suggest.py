"""Suggestions for a gap in a text."""

from dataclasses import dataclass

import torch

from zh_lstm_lm._config import check_integer, check_text
from zh_lstm_lm.evaluation.score import check_log_probs, read_rows, score
from zh_lstm_lm.models.base import LanguageModel, TextState, check_model
from zh_lstm_lm.runtime.devices import on_cpu_by_default
from zh_lstm_lm.text.normalization import normalize_text

__all__ = ["Suggestion", "suggest"]


@dataclass(frozen=True)
class Suggestion:
    """A word for a gap.

    Attributes:
        word: The word.
        log_prob: Log-probability of the word and of the text that follows it, in nats.
        probability: Probability of the word in its place. With a text that follows it is relative to the candidates.
    """

    word: str
    log_prob: float
    probability: float


@on_cpu_by_default
def suggest(
    model: LanguageModel, left: str, right: str = "", k: int = 10, *, num_candidates: int = 300
) -> list[Suggestion]:
    """Finds the likeliest words of the vocabulary between two parts of a text.

    The likeliest words after `left` are reordered by the log-probability of `right` after each. Words outside the
    vocabulary, white space and the paragraph end are no candidates.

    Args:
        model: Any `LanguageModel`.
        left: The text before the gap; empty for the start of a document.
        right: The text after it, segmented by itself. Text more than a sentence later hardly matters.
        k: Number of words to return.
        num_candidates: Number of words after which `right` is scored.

    Returns:
        At most `k` words, the best first.

    Raises:
        DataError: `left` or `right` is not a string, or contains a lone surrogate.
        ConfigError: A number is out of range.
    """
    check_model("model", model)
    check_integer("k", k, minimum=1)
    check_text("left", left)
    check_text("right", right)
    check_integer("num_candidates", num_candidates, minimum=1)
    vocabulary = model.vocabulary
    following = vocabulary.encode(normalize_text(right, vocabulary.normalize))
    read = TextState(vocabulary.bos_id, None)
    if normalize_text(left, "none"):
        read = score(model, left).state or read
    with torch.inference_mode():
        context, _ = model.read(torch.tensor([[read.last_id]], device=model.device), read.before)
        log_probs = model.log_probs(context)[0].double().cpu()
    open_ids = [number for number, text in enumerate(vocabulary.texts()) if text.strip()]
    best = log_probs[open_ids].topk(min(max(k, num_candidates), len(open_ids)))
    check_log_probs(best.values.tolist())
    ids = [open_ids[position] for position in best.indices.tolist()]
    totals = best.values
    if following:
        rows = read_rows(model, [[token_id, *following] for token_id in ids], read)
        totals = torch.tensor([sum(log_probs) for log_probs, _ in rows], dtype=torch.float64)
    probabilities = torch.softmax(totals, dim=0) if following else totals.exp()
    return [
        Suggestion(vocabulary.id_to_token(ids[best]), float(totals[best]), float(probabilities[best]))
        for best in totals.argsort(descending=True, stable=True)[:k].tolist()
    ]
