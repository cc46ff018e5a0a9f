"""Evaluation of a model on text: every token is predicted once, in fixed segments that are read in batches."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from zh_lstm_lm._config import check_integer, check_number, check_type
from zh_lstm_lm.corpus.batches import IGNORED, EvaluationSegment, evaluation_segments, segment_windows
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.evaluation.dynamic_evaluation import DynamicEvaluation, evaluate_while_learning
from zh_lstm_lm.evaluation.result import EvaluationResult, ParagraphSums, check_finite
from zh_lstm_lm.models.base import LanguageModel, State, check_model, context_length
from zh_lstm_lm.runtime.interruption import check_interruption

__all__ = ["evaluate", "evaluate_ids", "read_segments"]

_SEGMENT_LEN = 4096
# A model that needs a long context gets segments of at least so many times its length.
_SEGMENT_CONTEXTS = 8
# Log-probabilities over the vocabulary that exist at once.
_MAX_SCORES = 1 << 23
# Steps read at once: so many with a full batch, and more with few rows.
_WINDOW_LEN = 64
_WINDOW_TOKENS = 4096
# Rows whose log-probabilities stay in the processor's cache.
_SCORED_ROWS = 1024


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
    context = context_length(model)
    segments = evaluation_segments(ids, segment_len=max(_SEGMENT_LEN, _SEGMENT_CONTEXTS * context), context_len=context)
    # Long segments come first, so that few rows of a batch are padding.
    segments.sort(key=lambda segment: segment.start - segment.stop)
    segments = segments[part[0] :: part[1]]
    sums = ParagraphSums(model.vocabulary, ids)
    # Inference mode also turns dropout off, so the training mode needs no change and threads may share the model.
    with torch.inference_mode():
        for start in range(0, len(segments), batch_size):
            batch = segments[start : start + batch_size]
            for positions, log_probs, _ in read_segments(model, ids, batch, temperature=temperature):
                sums.add(positions, log_probs)
    return sums.result(clean)


def read_segments(
    model: LanguageModel,
    ids: Tensor,
    segments: Sequence[EvaluationSegment],
    state: State | None = None,
    *,
    temperature: float = 1.0,
) -> Iterator[tuple[Tensor, Tensor, State]]:
    """Reads a batch of segments window by window, in inference mode.

    Args:
        model: The model.
        ids: The ids that the segments lie in. **Shape:** (number of ids,).
        segments: The batch rows, the longest first.
        state: The state before each of them; None for the initial state.
        temperature: See `evaluate`.

    Yields:
        For each window the positions of its counted ids, **Shape:** (counted,), their log-probabilities in nats
        (float64, on the CPU), **Shape:** (counted,), and the state after the window of the rows that reach into it.
    """
    chunk = max(1, min(_SCORED_ROWS, _MAX_SCORES // len(model.vocabulary)))
    starts = torch.tensor([segment.start for segment in segments])[:, None]
    first = 1
    window_len = max(_WINDOW_LEN, _WINDOW_TOKENS // len(segments))
    for inputs, targets in segment_windows(ids, segments, window_len=window_len):
        check_interruption()
        rows, steps = inputs.shape
        context, state = model.read(inputs.to(model.device), None if state is None else state.rows(slice(rows)))
        counted = targets != IGNORED
        scored = counted.flatten().nonzero().squeeze(1).to(model.device)
        following = targets[counted].to(model.device)
        log_probs = [
            _target_log_probs(
                model, context.rows(scored[begin : begin + chunk]), following[begin : begin + chunk], temperature
            )
            for begin in range(0, len(scored), chunk)
        ]
        positions = (starts[:rows] + torch.arange(first, first + steps))[counted]
        first += steps
        yield positions, torch.cat([*log_probs, torch.empty(0, dtype=torch.float64)]), state


def _target_log_probs(model: LanguageModel, context: Any, targets: Tensor, temperature: float) -> Tensor:
    """Computes the model's `target_log_probs` at a temperature; float64, on the CPU."""
    if temperature == 1.0:
        return model.target_log_probs(context, targets).double().cpu()
    log_probs = (model.log_probs(context).double() / temperature).log_softmax(dim=-1)
    return log_probs.gather(1, targets[:, None]).squeeze(1).cpu()
