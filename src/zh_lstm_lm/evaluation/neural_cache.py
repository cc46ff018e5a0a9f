"""How well a model predicts text when it remembers the latest words and where they stood."""

import math

import torch

from zh_lstm_lm._config import check_integer, check_number, check_type
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.evaluation.bootstrap import check_resampling
from zh_lstm_lm.evaluation.evaluate import document_windows
from zh_lstm_lm.evaluation.result import EvaluationResult, ParagraphSums, check_finite
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.models.lstm_layer import LSTMState

__all__ = ["evaluate_with_cache"]

_WINDOW_LEN = 256


def evaluate_with_cache(
    model: LSTMLanguageModel,
    stream: TokenStream,
    *,
    cache_size: int = 2000,
    cache_weight: float = 0.15,
    theta: float = 1.2,
    num_resamples: int = 0,
    seed: int = 0,
) -> EvaluationResult:
    """Measures a model with a continuous cache (Grave, Joulin and Usunier, 2017); nothing is trained.

    A token's probability is that of the model, mixed with the share of the latest tokens that are the same one, each
    weighed by ``exp(theta · h·h')``: how like the state before it is to the state now. It helps where names and turns of
    phrase come again. Each document is read in order and begins with an empty cache.

    Args:
        model: The model; it is given back in its mode and on its device.
        stream: The text. It has to be cut by the model's tokenizer.
        cache_size: Latest tokens that are remembered.
        cache_weight: Share of the cache in the mixture; 0 leaves the model alone.
        theta: How much likeness of states counts; 0 counts all tokens of the cache alike.
        num_resamples: Times that the paragraphs are drawn anew for `EvaluationResult.error_bars`; 0 for none.
        seed: What they are drawn from.

    Raises:
        DataError: There is nothing to measure.
        NonFiniteError: The model's scores are not numbers.
        ConfigError: An option is out of range.
    """
    check_type("model", model, LSTMLanguageModel)
    check_type("stream", stream, TokenStream)
    check_integer("cache_size", cache_size, minimum=1)
    check_number("cache_weight", cache_weight, maximum=0.999)
    check_number("theta", theta)
    check_resampling(num_resamples, seed)
    ids = model.vocabulary.encode_stream(stream)
    sums = ParagraphSums(model.vocabulary, ids)
    state: LSTMState | None = None
    keys, values = torch.empty(0), torch.empty(0)
    with torch.inference_mode():
        for begins, places in document_windows(ids, model.vocabulary.bos_id, _WINDOW_LEN):
            known = 0 if begins else len(keys)
            window = ids[places].long().to(model.device)
            hidden, state = model.hidden_states(window[None, :-1], None if begins else state)
            queries, targets = hidden[0], window[1:]
            log_probs = model.log_probs_after(queries, targets)
            keys = torch.cat([keys, queries]) if known else queries  # (remembered, hidden_size)
            values = torch.cat([values, targets]) if known else targets  # the token after each, (remembered,)
            ages = torch.arange(known, len(keys))[:, None] - torch.arange(len(keys))  # (window, remembered)
            usable = ((ages > 0) & (ages <= cache_size)).to(model.device)
            alike = (theta * queries @ keys.T).masked_fill(~usable, -math.inf)
            same = alike.masked_fill(values != targets[:, None], -math.inf)
            of_cache = same.logsumexp(-1) - alike.logsumexp(-1)
            mixed = torch.logaddexp(log_probs + math.log1p(-cache_weight), of_cache + _log(cache_weight))
            empty = ~usable.any(dim=-1)  # the first token of a document
            sums.add(places[1:], torch.where(empty, log_probs, mixed).double().cpu())
            keys, values = keys[-cache_size:], values[-cache_size:]
    return check_finite(sums.result(stream.clean, num_resamples, seed))


def _log(value: float) -> float:
    return math.log(value) if value else -math.inf
