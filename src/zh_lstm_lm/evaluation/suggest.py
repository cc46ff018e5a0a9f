"""The best words for a gap in a text."""

from dataclasses import dataclass

import torch

from zh_lstm_lm._config import check_integer, check_type
from zh_lstm_lm.evaluation.score import check_log_probs, read_rows, score
from zh_lstm_lm.evaluation.scored_text import TextState
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.text.normalization import normalize_text

__all__ = ["Suggestion", "suggest"]


@dataclass(frozen=True)
class Suggestion:
    """A word for a gap.

    Attributes:
        word: The word.
        log_prob: Log-probability of the word and of what follows it, in nats.
        probability: Of the word in its place. Where something follows it is a share among the candidates looked at.
    """

    word: str
    log_prob: float
    probability: float


def suggest(
    model: LSTMLanguageModel, left: str, right: str = "", k: int = 10, *, num_candidates: int = 300
) -> list[Suggestion]:
    """Finds the likeliest words of the vocabulary between two parts of a text.

    The words that are likeliest after `left` are put in order by how likely `right` is after each, too. Words that the
    vocabulary would have to spell are not looked at, nor are white space and the paragraph end.

    Args:
        model: The model.
        left: What stands before the gap; empty for the start of a document.
        right: What follows; its words are cut as if it stood alone. What comes a sentence later hardly matters.
        k: How many words to return.
        num_candidates: Words looked at; all of the vocabulary where it is as large.

    Returns:
        At most `k` words, the best first.

    Raises:
        DataError: `left` or `right` is not a string, or holds a lone surrogate.
        ConfigError: A number is out of range.
    """
    check_type("model", model, LSTMLanguageModel)
    check_integer("k", k, minimum=1)
    check_integer("num_candidates", num_candidates, minimum=1)
    vocabulary = model.vocabulary
    following = vocabulary.encode(normalize_text(right, vocabulary.normalize))
    read = TextState(vocabulary.bos_id, None)
    if normalize_text(left, "none"):
        read = score(model, left).state or read
    with torch.inference_mode():
        hidden, _ = model.hidden_states(torch.tensor([[read.last_id]], device=model.device), read.before)
        log_probs = torch.log_softmax(model.scores(hidden[:, -1])[0].double(), dim=-1).cpu()
    open_ids = [number for number, text in enumerate(vocabulary.texts()) if text.strip()]
    best = log_probs[open_ids].topk(min(max(k, num_candidates), len(open_ids)))
    check_log_probs(best.values.tolist())
    ids = [open_ids[place] for place in best.indices.tolist()]
    totals = best.values
    if following:
        rows = read_rows(model, [[token_id, *following] for token_id in ids], read)
        totals = torch.tensor([sum(log_probs) for log_probs, _ in rows], dtype=torch.float64)
    shares = torch.softmax(totals, dim=0) if following else totals.exp()
    return [
        Suggestion(vocabulary.id_to_token(ids[place]), float(totals[place]), float(shares[place]))
        for place in totals.argsort(descending=True, stable=True)[:k].tolist()
    ]
