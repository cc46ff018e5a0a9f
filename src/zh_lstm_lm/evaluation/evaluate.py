"""Evaluation of a model on text: every token is predicted once, in fixed segments that are read in batches."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zh_lstm_lm._config import check_integer, check_number, check_type
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.evaluation.dynamic_evaluation import DynamicEvaluation, evaluate_while_learning
from zh_lstm_lm.evaluation.result import EvaluationResult, ParagraphSums, check_finite
from zh_lstm_lm.models.base import LanguageModel, check_model, read_documents, scores_per_target
from zh_lstm_lm.models.components import component_log_probs, part_weights, parts_of
from zh_lstm_lm.runtime.devices import on_cpu_by_default

__all__ = ["evaluate", "evaluate_ids"]


@on_cpu_by_default
def evaluate(
    model: LanguageModel,
    stream: TokenStream,
    *,
    batch_size: int = 64,
    temperature: float = 1.0,
    dynamic: DynamicEvaluation | None = None,
) -> EvaluationResult:
    """Evaluates a model on a text; every token is a target exactly once.

    Each document is cut into segments of 4,096 tokens, each read after up to 256 uncounted tokens of context, so the
    result does not depend on `batch_size`. A model with a longer context length (see `LanguageModel`), such as a
    `ContinuousCache`, gets as much context and longer segments.

    Args:
        model: Any `LanguageModel`. Its training mode and device are left unchanged.
        stream: The text. It must have been segmented by the model's tokenizer.
        batch_size: Number of segments read in a batch.
        temperature: Divisor of the log-probabilities before they are normalised again; choose it on other held-out
            text. 1 changes nothing.
        dynamic: Lets a copy of the model learn from the text while it is read; None for a fixed model.

    Raises:
        DataError: The text has no token.
        NonFiniteError: The model's log-probabilities are NaN.
        ConfigError: An option is out of range, or two do not go together.
    """
    check_model("model", model)
    check_type("stream", stream, TokenStream)
    check_integer("batch_size", batch_size, minimum=1)
    check_number("temperature", temperature, exclusive=True)
    check_type("dynamic", dynamic, DynamicEvaluation, type(None))
    ids = model.vocabulary.encode_stream(stream)
    if dynamic is None:
        return check_finite(
            evaluate_ids(model, ids, batch_size=batch_size, temperature=temperature, clean=stream.clean)
        )
    if temperature != 1.0:
        raise ConfigError(f"temperature={temperature:g} does not go together with dynamic evaluation; leave one out")
    return check_finite(evaluate_while_learning(model, ids, dynamic, clean=stream.clean))


def evaluate_ids(
    model: LanguageModel,
    ids: Tensor,
    *,
    batch_size: int = 64,
    temperature: float = 1.0,
    clean: str | None = None,
    part: tuple[int, int] = (0, 1),
) -> EvaluationResult:
    """Evaluates a model on the ids of concatenated documents; see `evaluate`. **Shape:** (number of ids,).

    With ``part=(i, n)`` only every *n*-th segment from the *i*-th on contributes to the log-probability; the sum over
    all *i* is that of the text.
    """
    names = list(part_weights(model)) if temperature == 1.0 else [""]
    num_scores = scores_per_target(model) if temperature == 1.0 else None

    def predict(context: Any, targets: Tensor) -> Tensor:
        if temperature == 1.0:
            components = component_log_probs(model, context, targets).double()
            return torch.stack([log_probs for *_, log_probs in parts_of(model, components)])
        log_probs = (model.log_probs(context).double() / temperature).log_softmax(dim=-1)
        return log_probs.gather(1, targets[:, None]).T

    sums = [ParagraphSums(model.vocabulary, ids) for _ in names]
    for positions, log_probs in read_documents(
        model, ids, batch_size=batch_size, part=part, predict=predict, num_scores=num_scores
    ):
        for each, values in zip(sums, log_probs.view(len(sums), len(positions)), strict=True):
            each.add(positions, values)
    results = [each.result(clean) for each in sums]
    return replace(results[-1], parts=dict(zip(names[:-1], results, strict=False)))
