"""Log-probabilities of single texts, word by word."""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from zh_lstm_lm._config import check_integer, check_list, check_type
from zh_lstm_lm.corpus.batches import EvaluationSegment
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import DataError, NonFiniteError
from zh_lstm_lm.evaluation.result import ParagraphSums, count_characters
from zh_lstm_lm.evaluation.scored_text import Score
from zh_lstm_lm.models.base import LanguageModel, Prediction, TextState, check_model, read_segments
from zh_lstm_lm.runtime.devices import on_cpu_by_default
from zh_lstm_lm.text.normalization import align_text

__all__ = ["check_log_probs", "cut_text", "read_rows", "read_values", "score", "score_batch"]

_GIVEN_WORDS = re.compile(r"\n|[^\S\n]+|\S+")


@on_cpu_by_default
def score(
    model: LanguageModel, text: str, *, end: bool = False, state: TextState | None = None, pre_tokenized: bool = False
) -> Score:
    """Scores one text.

    The text goes through the model's normalisation (see `TokenStream.from_files`); nothing else is changed.

    Args:
        model: Any `LanguageModel`. Its training mode and device are left unchanged.
        text: The text.
        end: Whether the paragraph end after the text is scored as well.
        state: The state before the text: `Score.state` of the part before it, or `GenerationResult.state`. Parts that
            are cut at word ends have the scores that they have in the whole. None for the start of a document.
        pre_tokenized: Whether the words are those that white space separates, in place of the tokenizer's. The white
            space itself is not scored.

    Raises:
        DataError: The text is empty, not a string, or contains a lone surrogate.
        NonFiniteError: The model's log-probabilities are NaN.
        ConfigError: An option is out of range or of the wrong type.
    """
    check_model("model", model)
    check_type("state", state, TextState, type(None))
    cut = cut_text(model.vocabulary, text, end=end, pre_tokenized=pre_tokenized)
    ((log_probs, after),) = read_rows(model, [cut.ids], state, with_states=True)
    return _score_of(model.vocabulary, cut, log_probs, after)


@on_cpu_by_default
def score_batch(
    model: LanguageModel,
    texts: Iterable[str],
    *,
    end: bool = False,
    state: TextState | Sequence[TextState | None] | None = None,
    with_states: bool = False,
    batch_size: int = 256,
    pre_tokenized: bool = False,
) -> list[Score]:
    """Scores many texts in batches, which is many times faster than one by one.

    Texts of similar length are read together, so that memory depends on `batch_size` and not on their number.

    Args:
        model: Any `LanguageModel`. Its training mode and device are left unchanged.
        texts: The texts.
        end: Whether the paragraph end after each text is scored as well.
        state: The state before all texts, or a list with the state before each; None for the start of a document.
        with_states: Whether each score has the state after its text. Then only texts of equal length are read together.
        batch_size: Number of texts read in a batch.
        pre_tokenized: Whether the words are those that white space separates, as in `score`.

    Returns:
        The scores in the order of the texts; each equals that of `score`, up to rounding.

    Raises:
        DataError: A text is empty, not a string, or contains a lone surrogate, or the number of states differs from the
            number of texts.
        NonFiniteError: The model's log-probabilities are NaN.
        ConfigError: An option is out of range or of the wrong type.
    """
    check_model("model", model)
    check_type("state", state, TextState, type(None), list, tuple)
    check_type("with_states", with_states, bool)
    check_integer("batch_size", batch_size, minimum=1)
    cuts = []
    for number, text in enumerate(check_list("texts", texts, "a list of strings")):
        try:
            cuts.append(cut_text(model.vocabulary, text, end=end, pre_tokenized=pre_tokenized))
        except DataError as error:
            raise DataError(f"texts[{number}]: {error}") from error
    read = read_rows(model, [cut.ids for cut in cuts], state, batch_size=batch_size, with_states=with_states)
    return [
        _score_of(model.vocabulary, cut, log_probs, after) for cut, (log_probs, after) in zip(cuts, read, strict=True)
    ]


def read_rows(
    model: LanguageModel,
    rows: Sequence[Sequence[int]],
    state: TextState | Sequence[TextState | None] | None = None,
    *,
    batch_size: int = 256,
    with_states: bool = False,
) -> list[tuple[list[float], TextState | None]]:
    """Computes the log-probability of each id of some rows, in nats, and the states after the rows, if they are wanted.

    None of the rows is empty. `state` is that before all, or a list with that before each; None starts documents.
    """
    read = read_values(model, rows, state, batch_size=batch_size, with_states=with_states)
    return [(check_log_probs(values.tolist()), after) for values, after in read]


def read_values(
    model: LanguageModel,
    rows: Sequence[Sequence[int]],
    state: TextState | Sequence[TextState | None] | None = None,
    *,
    batch_size: int = 256,
    with_states: bool = False,
    predict: Prediction | None = None,
) -> list[tuple[Tensor, TextState | None]]:
    """Does the same as `read_rows` for any values of each id, **Shape:** (…, ids), float64; see `read_segments`."""
    one_for_all = state is None or isinstance(state, TextState)
    given = cast("Sequence[TextState | None]", [state] * len(rows) if one_for_all else state)
    if len(given) != len(rows):
        raise DataError(f"state must have one state for each of the {len(rows)} texts, got {len(given)}")
    for one in given:
        check_type("state", one, TextState, type(None))
    starts = [TextState(model.vocabulary.bos_id, None) if one is None else one for one in given]
    results: list[tuple[Tensor, TextState | None]] = [(torch.empty(0), None)] * len(rows)
    for numbers in _batches([len(row) for row in rows], batch_size, equal=with_states):
        ids = torch.tensor([token_id for n in numbers for token_id in (starts[n].last_id, *rows[n])])
        stops = itertools.accumulate((len(rows[n]) + 1 for n in numbers), initial=0)
        segments = [EvaluationSegment(start, start + 1, stop) for start, stop in itertools.pairwise(stops)]
        values = torch.empty(0)
        zero = model.initial_state(1)
        after = before = type(zero).cat([starts[n].before or zero for n in numbers])
        with torch.inference_mode():
            for positions, read, state_after in read_segments(model, ids, segments, before, predict=predict):
                if not len(values):
                    values = read.new_zeros(*read.shape[:-1], len(ids))
                values[..., positions], after = read, state_after
        for row, (n, segment) in enumerate(zip(numbers, segments, strict=True)):
            own = values[..., segment.first_target : segment.stop]
            results[n] = own, TextState(rows[n][-1], after.rows([row])) if with_states else None
    return results


def _batches(lengths: Sequence[int], batch_size: int, *, equal: bool) -> Iterator[list[int]]:
    """Yields the rows of each batch, the longest first; with `equal` only rows of one length, so that all end together."""
    order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    for _, group in itertools.groupby(order, key=lambda number: lengths[number] if equal else 0):
        numbers = list(group)
        for begin in range(0, len(numbers), batch_size):
            yield numbers[begin : begin + batch_size]


def check_log_probs(log_probs: list[float]) -> list[float]:
    """Returns log-probabilities, unless one is NaN, which is an error."""
    if any(map(math.isnan, log_probs)):
        raise NonFiniteError("the model's log-probabilities are NaN: its weights are damaged; load another copy of it")
    return log_probs


class CutText(NamedTuple):
    """A text as the model reads it; the attributes are those of `Score`."""

    text: str
    ids: list[int]
    offsets: list[tuple[int, int]]
    word_sizes: list[int]
    word_kinds: list[str]


def cut_text(vocabulary: Vocabulary, text: str, *, end: bool, pre_tokenized: bool = False) -> CutText:
    """Turns a text into ids with their offsets."""
    check_type("end", end, bool)
    check_type("pre_tokenized", pre_tokenized, bool)
    aligned = align_text(text, vocabulary.normalize)
    cut = CutText(text, [], [], [], [])
    byte_ids = {*vocabulary.byte_ids}
    position = 0
    encode = _encode_given_words if pre_tokenized else Vocabulary.encode_words
    for word, ids in encode(vocabulary, aligned.text):
        if not ids:
            position += len(word)
            continue
        cut.ids.extend(ids)
        cut.word_sizes.append(len(ids))
        cut.word_kinds.append(_kind(ids, byte_ids, vocabulary.unk_id))
        # A word outside the vocabulary is encoded character by character, each in one id or in several bytes.
        pieces = list(word) if len(ids) > 1 and word else [word]
        counts = [1] if len(ids) == 1 else [len(vocabulary.spell_character(piece)) for piece in pieces]
        # The separator that the first word of a paragraph implies is not in the text.
        counts[0] += len(ids) - sum(counts)
        for piece, count in zip(pieces, counts, strict=True):
            span = aligned.span(position, position + len(piece)) if piece else (position, position)
            cut.offsets.extend([span] * count)
            position += len(piece)
    if end:
        cut.ids.append(vocabulary.paragraph_end_id)
        cut.word_sizes.append(1)
        cut.word_kinds.append("end")
        cut.offsets.append((len(text), len(text)))
    if not cut.ids:
        raise DataError("there is nothing to score: the text is empty")
    return cut


def _encode_given_words(vocabulary: Vocabulary, text: str) -> Iterator[tuple[str, list[int]]]:
    """Yields the words that white space separates with their ids, and the white space with none."""
    for piece in _GIVEN_WORDS.findall(text):
        if piece == "\n":
            yield piece, [vocabulary.paragraph_end_id]
        else:
            yield piece, [] if piece.isspace() else vocabulary.spell(piece)


def _kind(ids: list[int], byte_ids: set[int], unk_id: int | None) -> str:
    """Returns the kind of a word; see `WordScore.kind`."""
    if not byte_ids.isdisjoint(ids):
        return "bytes"
    if len(ids) > 1:
        return "characters"
    return "unknown" if ids[0] == unk_id else "word"


def _score_of(vocabulary: Vocabulary, cut: CutText, log_probs: list[float], state: TextState | None) -> Score:
    ids = torch.tensor(cut.ids)
    paragraph_sums = None
    if vocabulary.paragraph_end_id in cut.ids:
        sums = ParagraphSums(vocabulary, ids)
        sums.add(torch.arange(len(ids)), torch.tensor(log_probs, dtype=torch.float64))
        paragraph_sums = sums.sums
    num_characters, unknown_rate = count_characters(vocabulary, ids)
    unknown = [value for value, token_id in zip(log_probs, cut.ids, strict=True) if token_id == vocabulary.unk_id]
    return Score(
        math.fsum(log_probs),
        len(log_probs),
        num_characters,
        unknown_rate,
        unknown_log_prob=math.fsum(unknown),
        paragraph_sums=paragraph_sums,
        text=cut.text,
        tokens=tuple(map(vocabulary.id_to_token, cut.ids)),
        log_probs=tuple(log_probs),
        offsets=tuple(cut.offsets),
        word_sizes=tuple(cut.word_sizes),
        word_kinds=tuple(cut.word_kinds),
        state=state,
    )
