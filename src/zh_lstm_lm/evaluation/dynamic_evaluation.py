"""Dynamic evaluation: a copy of the model learns from the text while it is evaluated."""

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zh_lstm_lm._config import Config, check_integer, check_number
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.evaluation.result import EvaluationResult, ParagraphSums
from zh_lstm_lm.models.gradients import clip_gradients, sparse_embedding
from zh_lstm_lm.models.layers import LSTMState
from zh_lstm_lm.models.lstm import LSTMLanguageModel, unwrapped
from zh_lstm_lm.runtime.interruption import check_interruption

__all__ = ["DynamicEvaluation", "evaluate_while_learning"]


@dataclass(frozen=True)
class DynamicEvaluation(Config):
    """Options of dynamic evaluation (Krause et al., 2018), for ``evaluate(model, stream, dynamic=…)``.

    Every token is predicted before the model learns from it, so the metrics are comparable with those of a fixed model.
    It helps on text whose names and phrases recur, such as the rest of a novel.

    Attributes:
        learning_rate: Learning rate of plain gradient descent; 0 learns nothing.
        decay: Proportion by which the weights return to the original ones after each update; 0 for not at all.
        window_len: Number of tokens that are predicted before the model learns from them.
        max_grad_norm: Norm that gradients are clipped to.
    """

    learning_rate: float = 1.0
    decay: float = 0.0
    window_len: int = 32
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate)
        check_number("decay", self.decay, maximum=1.0)
        check_integer("window_len", self.window_len, minimum=1)
        check_number("max_grad_norm", self.max_grad_norm, exclusive=True)


@torch.inference_mode(False)
def evaluate_while_learning(
    model: object, ids: Tensor, options: DynamicEvaluation, *, clean: str | None
) -> EvaluationResult:
    """Evaluates a model that learns from each window after predicting it; refuses one without weights that could learn.

    Each document is read in order, starting from the original weights. A copy learns; the model is left unchanged.
    """
    model = unwrapped(model)
    if not isinstance(model, LSTMLanguageModel):
        raise ConfigError(
            f"dynamic evaluation trains the weights of an LSTMLanguageModel, got a {type(model).__name__}; "
            "evaluate its parts one by one"
        )
    sums = ParagraphSums(model.vocabulary, ids)
    # CUDA computes gradients of an LSTM in training mode only.
    learner = copy.deepcopy(model).train()
    learner.config = replace(learner.config, dropout=0.0)
    weights: list[Tensor] = [*learner.parameters()]
    original = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.SGD(weights, lr=options.learning_rate)
    state: LSTMState | None = None
    with sparse_embedding(learner):
        for begins, positions in _document_windows(ids, model.vocabulary.bos_id, options.window_len):
            if begins:
                state = None
                with torch.no_grad():
                    torch._foreach_copy_(weights, original)
            window = ids[positions].long().to(model.device)
            with torch.set_grad_enabled(options.learning_rate > 0):
                context, state = learner.read(window[None, :-1], state)
                log_probs = learner.target_log_probs(context, window[1:])
                loss = -log_probs.mean()
            sums.add(positions[1:], log_probs.detach().double().cpu())
            state = state.detach()
            if options.learning_rate:
                loss.backward()  # type: ignore[no-untyped-call]
                clip_gradients(learner.parameters(), options.max_grad_norm)
                optimizer.step()
                optimizer.zero_grad()
                if options.decay:
                    with torch.no_grad():
                        torch._foreach_lerp_(weights, original, options.decay)
    return sums.result(clean)


def _document_windows(ids: Tensor, bos_id: int, length: int) -> Iterator[tuple[bool, Tensor]]:
    """Yields whether a document starts, and positions: the last one before and at most `length` predicted ones."""
    begins = (ids == bos_id).nonzero().squeeze(1).tolist()
    for begin, end in itertools.pairwise([*begins, len(ids)]):
        for start in range(begin, end - 1, length):
            check_interruption()
            yield start == begin, torch.arange(start, min(start + length, end - 1) + 1)
