"""How well a model predicts text that it learns from while it reads."""

import copy
from dataclasses import replace

import torch
from torch import Tensor

from zh_lstm_lm._config import check_integer, check_number, check_type
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.evaluation.bootstrap import check_resampling
from zh_lstm_lm.evaluation.evaluate import document_windows
from zh_lstm_lm.evaluation.result import EvaluationResult, ParagraphSums, check_finite
from zh_lstm_lm.models.gradients import clip_gradients, sparse_embedding
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.models.lstm_layer import LSTMState, detach_state

__all__ = ["evaluate_dynamically"]


def evaluate_dynamically(
    model: LSTMLanguageModel,
    stream: TokenStream,
    *,
    learning_rate: float = 1.0,
    decay: float = 0.0,
    window_len: int = 32,
    max_grad_norm: float = 1.0,
    num_resamples: int = 0,
    seed: int = 0,
) -> EvaluationResult:
    """Measures a model that adapts to what it reads: dynamic evaluation (Krause et al., 2018).

    Every token is predicted before the model learns from it, so the figures compare with those of `evaluate`. They are
    for text whose names and turns of phrase repeat, such as the rest of a novel. Each document is read in order from
    the weights of the model as it was given.

    Args:
        model: The model. A copy learns; the model itself stays as it is.
        stream: The text. It has to be cut by the model's tokenizer.
        learning_rate: Of plain gradient descent; 0 learns nothing.
        decay: Share of the way back to the given weights that is gone after each update; 0 goes back nowhere.
        window_len: Tokens that are predicted before the model learns from them.
        max_grad_norm: Gradients are clipped to this norm.
        num_resamples: Times that the paragraphs are drawn anew for `EvaluationResult.error_bars`; 0 for none.
        seed: What they are drawn from.

    Raises:
        DataError: There is nothing to measure.
        NonFiniteError: The model's scores are not numbers.
        ConfigError: An option is out of range.
    """
    check_type("model", model, LSTMLanguageModel)
    check_type("stream", stream, TokenStream)
    check_number("learning_rate", learning_rate)
    check_number("decay", decay, maximum=1.0)
    check_integer("window_len", window_len, minimum=1)
    check_number("max_grad_norm", max_grad_norm, exclusive=True)
    check_resampling(num_resamples, seed)
    ids = model.vocabulary.encode_stream(stream)
    sums = ParagraphSums(model.vocabulary, ids)
    learner = copy.deepcopy(model).train()  # CUDA takes gradients of an LSTM in this mode only
    learner.config = replace(learner.config, dropout=0.0)
    weights: list[Tensor] = [*learner.parameters()]
    given = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.SGD(weights, lr=learning_rate)
    state: LSTMState | None = None
    with sparse_embedding(learner):
        for begins, places in document_windows(ids, model.vocabulary.bos_id, window_len):
            if begins:
                state = None
                with torch.no_grad():
                    torch._foreach_copy_(weights, given)
            window = ids[places].long().to(model.device)[None]
            with torch.set_grad_enabled(learning_rate > 0):
                log_probs, state = learner.target_log_probs(window[:, :-1], window[:, 1:], state)
                loss = -log_probs.mean()
            sums.add(places[1:], log_probs[0].detach().double().cpu())
            state = detach_state(state)
            if learning_rate:
                loss.backward()  # type: ignore[no-untyped-call]
                clip_gradients(learner.parameters(), max_grad_norm)
                optimizer.step()
                optimizer.zero_grad()
                if decay:
                    with torch.no_grad():
                        torch._foreach_lerp_(weights, given, decay)
    return check_finite(sums.result(stream.clean, num_resamples, seed))
