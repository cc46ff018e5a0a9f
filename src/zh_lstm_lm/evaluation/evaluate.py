"""How well a model predicts text: every token once, in fixed segments that are read side by side."""

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from zh_lstm_lm._config import check_integer, check_number, check_type
from zh_lstm_lm.corpus.batches import IGNORED, EvaluationSegment, evaluation_segments, segment_windows
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.evaluation.bootstrap import check_resampling
from zh_lstm_lm.evaluation.result import EvaluationResult, ParagraphSums, check_finite
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.models.lstm_layer import LSTMState
from zh_lstm_lm.runtime.interruption import check_interruption

__all__ = [
    "document_windows",
    "evaluate",
    "evaluate_ids",
    "read_segments",
]

_SEGMENT_LEN = 4096
_CONTEXT_LEN = 256
_MAX_SCORES = 1 << 23  # numbers in the scores of one window over the whole vocabulary
_WINDOW_LEN = 64  # steps of many rows at once
_WINDOW_TOKENS = 4096  # of few rows
_SCORED_ROWS = 1024  # whose scores stay in the processor's cache


def document_windows(ids: Tensor, bos_id: int, length: int) -> Iterator[tuple[bool, Tensor]]:
    """Cuts documents into windows, in order, each of which begins with the last id of the one before.

    Args:
        ids: Documents, each after a `bos_id`. **Shape:** (number of ids,).
        bos_id: What each document begins with.
        length: Most ids of a window that are predicted.

    Yields:
        Whether a document begins, and the places of the window's ids. **Shape:** (at most length + 1,), int64.
    """
    begins = (ids == bos_id).nonzero().squeeze(1).tolist()
    for begin, end in itertools.pairwise([*begins, len(ids)]):
        for start in range(begin, end - 1, length):
            check_interruption()
            yield start == begin, torch.arange(start, min(start + length, end - 1) + 1)


def evaluate(
    model: LSTMLanguageModel,
    stream: TokenStream,
    *,
    batch_size: int = 64,
    temperature: float = 1.0,
    num_resamples: int = 0,
    seed: int = 0,
) -> EvaluationResult:
    """Measures a model on a text; every token is predicted exactly once.

    Each document is cut into segments of 4,096 tokens, each read after up to 256 uncounted tokens of context, so the
    figures do not depend on `batch_size`.

    Args:
        model: The model; it is given back in its mode and on its device.
        stream: The text. It has to be cut by the model's tokenizer.
        batch_size: Segments read side by side.
        temperature: What the logits are divided by, chosen on other held-out text; 1 changes nothing.
        num_resamples: Times that the paragraphs are drawn anew for `EvaluationResult.error_bars` (1,000 will do); 0
            for no error bars.
        seed: What they are drawn from.

    Raises:
        DataError: There is nothing to measure, or too little for error bars.
        NonFiniteError: The model's scores are not numbers.
        ConfigError: An option is out of range.
    """
    check_type("model", model, LSTMLanguageModel)
    check_type("stream", stream, TokenStream)
    check_integer("batch_size", batch_size, minimum=1)
    check_number("temperature", temperature, exclusive=True)
    check_resampling(num_resamples, seed)
    return check_finite(
        evaluate_ids(
            model,
            model.vocabulary.encode_stream(stream),
            batch_size=batch_size,
            temperature=temperature,
            clean=stream.clean,
            num_resamples=num_resamples,
            seed=seed,
        )
    )


def evaluate_ids(
    model: LSTMLanguageModel,
    ids: Tensor,
    *,
    batch_size: int = 64,
    temperature: float = 1.0,
    clean: str | None = None,
    num_resamples: int = 0,
    seed: int = 0,
    part: tuple[int, int] = (0, 1),
) -> EvaluationResult:
    """Does the work of `evaluate` on ids, documents one behind the other. **Shape:** (number of ids,).

    With ``part=(i, n)`` only every *n*-th segment from the *i*-th on adds to the log-probability; the sum over all *i* is
    that of the text.
    """
    segments = evaluation_segments(ids, segment_len=_SEGMENT_LEN, context_len=_CONTEXT_LEN)
    segments.sort(key=lambda segment: segment.start - segment.stop)  # long ones first, so that few rows are filled up
    segments = segments[part[0] :: part[1]]
    sums = ParagraphSums(model.vocabulary, ids)
    with torch.inference_mode():  # in which a model drops nothing, whatever its mode; threads may share it
        for start in range(0, len(segments), batch_size):
            batch = segments[start : start + batch_size]
            for places, log_probs, _ in read_segments(model, ids, batch, temperature=temperature):
                sums.add(places, log_probs)
    return sums.result(clean, num_resamples, seed)


def read_segments(
    model: LSTMLanguageModel,
    ids: Tensor,
    segments: Sequence[EvaluationSegment],
    state: LSTMState | None = None,
    *,
    temperature: float = 1.0,
) -> Iterator[tuple[Tensor, Tensor, LSTMState]]:
    """Reads segments side by side, window by window; the caller has put the model into evaluation mode.

    Args:
        model: The model.
        ids: What the segments lie in. **Shape:** (number of ids,).
        segments: The rows, the longest first.
        state: What they come after, each or all of them; None for nothing.
        temperature: As in `evaluate`.

    Yields:
        For each window the places of its counted ids, **Shape:** (counted,), the log-probability of each in nats
        (float64, on the CPU), **Shape:** (counted,), and the state after the window of the rows that reach into it.
    """
    chunk = max(1, min(_SCORED_ROWS, _MAX_SCORES // len(model.vocabulary)))
    starts = torch.tensor([segment.start for segment in segments])[:, None]
    first = 1
    if state is not None:
        state = state[0].expand(-1, len(segments), -1), state[1].expand(-1, len(segments), -1)
    window_len = max(_WINDOW_LEN, _WINDOW_TOKENS // len(segments))
    for inputs, targets in segment_windows(ids, segments, window_len=window_len):
        check_interruption()
        rows, steps = inputs.shape
        if state is not None:  # of the segments that reach into this window
            state = state[0][:, :rows].contiguous(), state[1][:, :rows].contiguous()
        hidden, state = model.hidden_states(inputs.to(model.device), state)
        counted = targets != IGNORED
        states, following = hidden[counted.to(model.device)], targets[counted].to(model.device)
        log_probs = [
            _log_probs_after(model, states[place : place + chunk], following[place : place + chunk], temperature)
            for place in range(0, len(states), chunk)
        ]
        places = (starts[:rows] + torch.arange(first, first + steps))[counted]
        first += steps
        yield places, torch.cat([*log_probs, torch.empty(0, dtype=torch.float64)]), state


def _log_probs_after(model: LSTMLanguageModel, hidden: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """As the model's own method, at a temperature; float64, on the CPU."""
    if temperature == 1.0:
        return model.log_probs_after(hidden, targets).double().cpu()
    log_probs = (model.scores(hidden).double() / temperature).log_softmax(dim=-1)
    return log_probs.gather(1, targets[:, None]).squeeze(1).cpu()
