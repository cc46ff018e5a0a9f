"""How likely single texts are, word by word."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, cast

import torch

from zh_lstm_lm._config import check_integer, check_type
from zh_lstm_lm.corpus.batches import EvaluationSegment
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import DataError, NonFiniteError
from zh_lstm_lm.evaluation.bootstrap import check_resampling
from zh_lstm_lm.evaluation.evaluate import read_segments
from zh_lstm_lm.evaluation.result import ParagraphSums, count_characters
from zh_lstm_lm.evaluation.scored_text import Score, TextState
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.models.lstm_layer import LSTMState
from zh_lstm_lm.text.alignment import align_text

__all__ = ["check_log_probs", "read_rows", "score", "score_batch"]


def score(
    model: LSTMLanguageModel,
    text: str,
    *,
    end: bool = False,
    state: TextState | None = None,
    num_resamples: int = 0,
    seed: int = 0,
) -> Score:
    """Scores one text.

    It goes through the model's normalisation (see `TokenStream.from_files`) and is otherwise taken as it stands.

    Args:
        model: The model; it is given back in its mode and on its device.
        text: The text.
        end: Whether the paragraph end that follows is scored, too.
        state: What the text comes after: `Score.state` of the part before it. Parts that are cut at word ends have the
            scores that they have in the whole. None for the start of a document.
        num_resamples: Times that paragraphs are drawn anew for `Score.error_bars`; 0 for no error bars.
        seed: What they are drawn from.

    Raises:
        DataError: The text is empty, not a string, or holds a lone surrogate, or has too few paragraphs for error bars.
        NonFiniteError: The model's scores are not numbers.
        ConfigError: An option is out of range or of the wrong type.
    """
    check_type("model", model, LSTMLanguageModel)
    check_type("state", state, TextState, type(None))
    check_resampling(num_resamples, seed)
    cut = _cut(model.vocabulary, text, end=end)
    ((log_probs, after),) = read_rows(model, [cut.ids], state, with_states=True)
    return _score_of(model.vocabulary, cut, log_probs, after, num_resamples=num_resamples, seed=seed)


def score_batch(
    model: LSTMLanguageModel,
    texts: Iterable[str],
    *,
    end: bool = False,
    state: TextState | Sequence[TextState | None] | None = None,
    with_states: bool = False,
    batch_size: int = 256,
    num_resamples: int = 0,
    seed: int = 0,
) -> list[Score]:
    """Scores many texts side by side, which is many times faster than one after the other.

    Texts of like length are read together, so that memory depends on `batch_size` and not on their number or length.

    Args:
        model: The model; it is given back in its mode and on its device.
        texts: The texts.
        end: Whether the paragraph end that follows each is scored, too.
        state: What all of them come after, or a list of what each comes after, for streams that are read side by side;
            None for the start of a document.
        with_states: Whether each score has the state to go on from. Then only texts of equal length are read together.
        batch_size: Texts read side by side.
        num_resamples: Times that the paragraphs of each text are drawn anew for its `Score.error_bars`; 0 for none.
        seed: What they are drawn from.

    Returns:
        The scores in the order of the texts; each is that of `score`, to rounding.

    Raises:
        DataError: A text is empty, not a string, or holds a lone surrogate, or has too few paragraphs for error bars;
            or there are not as many states as texts.
        NonFiniteError: The model's scores are not numbers.
        ConfigError: An option is out of range or of the wrong type.
    """
    check_type("model", model, LSTMLanguageModel)
    check_type("state", state, TextState, type(None), list, tuple)
    check_type("with_states", with_states, bool)
    check_integer("batch_size", batch_size, minimum=1)
    check_resampling(num_resamples, seed)
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise DataError(f"texts must be a list of strings, got {texts!r:.40}; give [text]")
    cuts = []
    for number, text in enumerate(texts):
        with _naming(number):
            cuts.append(_cut(model.vocabulary, text, end=end))
    read = read_rows(model, [cut.ids for cut in cuts], state, batch_size=batch_size, with_states=with_states)
    scores = []
    for number, (cut, (log_probs, after)) in enumerate(zip(cuts, read, strict=True)):
        with _naming(number):
            scores.append(_score_of(model.vocabulary, cut, log_probs, after, num_resamples=num_resamples, seed=seed))
    return scores


@contextmanager
def _naming(number: int) -> Iterator[None]:
    """Says of a mistake which of the texts it is in."""
    try:
        yield
    except DataError as error:
        raise DataError(f"texts[{number}]: {error}") from error


def read_rows(
    model: LSTMLanguageModel,
    rows: Sequence[Sequence[int]],
    state: TextState | Sequence[TextState | None] | None = None,
    *,
    batch_size: int = 256,
    with_states: bool = False,
) -> list[tuple[list[float], TextState | None]]:
    """Log-probability of each id of some rows, in nats, and where they are asked for the states after the rows.

    Args:
        model: The model.
        rows: Ids, each row on its own; none is empty.
        state: What all rows come after, or each; None for the start of a document.
        batch_size: Rows read side by side.
        with_states: Whether states are asked for; else they are None.
    """
    one_for_all = state is None or isinstance(state, TextState)  # which is a sequence, too
    given = cast("Sequence[TextState | None]", [state] * len(rows) if one_for_all else state)
    if len(given) != len(rows):
        raise DataError(f"state must have one state for each of the {len(rows)} texts, got {len(given)}")
    for one in given:
        check_type("state", one, TextState, type(None))
    starts = [TextState(model.vocabulary.bos_id, None) if one is None else one for one in given]
    results: list[tuple[list[float], TextState | None]] = [([], None)] * len(rows)
    for numbers in _batches([len(row) for row in rows], batch_size, equal=with_states):
        ids = torch.tensor([token_id for n in numbers for token_id in (starts[n].last_id, *rows[n])])
        stops = itertools.accumulate((len(rows[n]) + 1 for n in numbers), initial=0)
        segments = [EvaluationSegment(start, start + 1, stop) for start, stop in itertools.pairwise(stops)]
        values = torch.zeros(len(ids), dtype=torch.float64)
        before = after = _side_by_side(model, [starts[n].before for n in numbers])
        with torch.inference_mode():
            for places, read, state_after in read_segments(model, ids, segments, before):
                values[places], after = read, state_after
        for row, (n, segment) in enumerate(zip(numbers, segments, strict=True)):
            log_probs = check_log_probs(values[segment.first_target : segment.stop].tolist())
            h, c = (part[:, row : row + 1].clone() for part in after)  # for use where gradients are taken, too
            results[n] = log_probs, TextState(rows[n][-1], (h, c)) if with_states else None
    return results


def _batches(lengths: Sequence[int], batch_size: int, *, equal: bool) -> Iterator[list[int]]:
    """Rows to read side by side, the longest first; only such of one length, so that all end together, if `equal`."""
    order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    for _, group in itertools.groupby(order, key=lambda number: lengths[number] if equal else 0):
        numbers = list(group)
        for begin in range(0, len(numbers), batch_size):
            yield numbers[begin : begin + batch_size]


def _side_by_side(model: LSTMLanguageModel, states: Sequence[LSTMState | None]) -> LSTMState:
    """States of one row each as one of many. **Shape:** (num_layers, states, hidden_size), twice."""
    zero = model.init_state(1)
    h, c = (torch.cat([(state or zero)[part] for state in states], dim=1) for part in (0, 1))
    return h, c


def check_log_probs(log_probs: list[float]) -> list[float]:
    """Returns log-probabilities if all are numbers.

    Raises:
        NonFiniteError: One is not.
    """
    if any(map(math.isnan, log_probs)):
        raise NonFiniteError("the model's scores are not numbers: its weights are damaged; load another copy of it")
    return log_probs


class _CutText(NamedTuple):
    """A text as the model reads it; the attributes are those of `Score`."""

    text: str
    ids: list[int]
    offsets: list[tuple[int, int]]
    word_sizes: list[int]
    word_kinds: list[str]


def _cut(vocabulary: Vocabulary, text: str, *, end: bool) -> _CutText:
    """Turns a text into ids, and keeps where each comes from."""
    check_type("end", end, bool)
    aligned = align_text(text, vocabulary.normalize)
    cut = _CutText(text, [], [], [], [])
    byte_ids = {*vocabulary.byte_ids}
    position = 0
    for word, ids in vocabulary.encode_words(aligned.text):
        cut.ids.extend(ids)
        cut.word_sizes.append(len(ids))
        cut.word_kinds.append(_kind(ids, byte_ids, vocabulary.unk_id))
        pieces = [word] if len(ids) == 1 else word  # the word itself, or its characters in one id or several bytes
        for piece in pieces:
            span = aligned.span(position, position + len(piece))
            cut.offsets.extend([span] * (1 if len(ids) == 1 else len(vocabulary.spell(piece))))
            position += len(piece)
    if end:
        cut.ids.append(vocabulary.paragraph_end_id)
        cut.word_sizes.append(1)
        cut.word_kinds.append("end")
        cut.offsets.append((len(text), len(text)))
    if not cut.ids:
        raise DataError("there is nothing to score: the text is empty")
    return cut


def _kind(ids: list[int], byte_ids: set[int], unk_id: int | None) -> str:
    """What a word is to the vocabulary; see `WordScore.kind`."""
    if not byte_ids.isdisjoint(ids):
        return "bytes"
    if len(ids) > 1:
        return "characters"
    return "unknown" if ids[0] == unk_id else "word"


def _score_of(
    vocabulary: Vocabulary,
    cut: _CutText,
    log_probs: list[float],
    state: TextState | None,
    *,
    num_resamples: int,
    seed: int,
) -> Score:
    ids = torch.tensor(cut.ids)
    sums = ParagraphSums(vocabulary, ids)
    if num_resamples:
        sums.add(torch.arange(len(ids)), torch.tensor(log_probs, dtype=torch.float64))
    return Score(
        math.fsum(log_probs),
        len(log_probs),
        *count_characters(vocabulary, ids),
        error_bars=sums.error_bars(num_resamples, seed),
        unknown_log_prob=math.fsum(
            value for value, token_id in zip(log_probs, cut.ids, strict=True) if token_id == vocabulary.unk_id
        ),
        text=cut.text,
        tokens=tuple(map(vocabulary.id_to_token, cut.ids)),
        log_probs=tuple(log_probs),
        offsets=tuple(cut.offsets),
        word_sizes=tuple(cut.word_sizes),
        word_kinds=tuple(cut.word_kinds),
        state=state,
    )
