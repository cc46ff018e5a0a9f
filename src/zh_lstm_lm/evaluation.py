"""How well a model predicts text: exact sums over fixed segments, in units that say what they are."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from zh_lstm_lm._config import check_integer, check_type
from zh_lstm_lm.batches import IGNORED, evaluation_segments, segment_windows
from zh_lstm_lm.errors import DataError
from zh_lstm_lm.model import LSTMLanguageModel
from zh_lstm_lm.recurrent import LSTMState
from zh_lstm_lm.text.normalization import normalize_text
from zh_lstm_lm.token_stream import TokenStream
from zh_lstm_lm.vocabulary import Vocabulary

__all__ = ["EvaluationResult", "Score", "evaluate", "evaluate_ids", "evaluation_mode", "score"]

_SEGMENT_LEN = 4096
_CONTEXT_LEN = 256
_MAX_SCORES = 1 << 23  # numbers in the scores of one window over the whole vocabulary
_WINDOW_LEN = 64  # steps of many rows at once
_SCORED_ROWS = 1024  # whose scores stay in the processor's cache
_TEXT_WINDOW_LEN = 256  # of a single text


@dataclass(frozen=True)
class EvaluationResult:
    """What a model makes of a text.

    Attributes:
        log_prob: Log-probability of the whole text, in nats.
        num_tokens: Tokens counted, paragraph ends and the pieces of spelled words included.
        num_characters: Characters of the text, one more for each paragraph end; None with ``unknown="unk"``.
        unknown_rate: Share of the tokens that are ``<unk>``; 0 in a vocabulary that spells.
        clean: The name of the cleaning that the text went through; None if not known.
    """

    log_prob: float
    num_tokens: int
    num_characters: int | None
    unknown_rate: float = 0.0
    clean: str | None = None

    @property
    def loss(self) -> float:
        """Cross-entropy, in nats a token."""
        return -self.log_prob / self.num_tokens

    @property
    def perplexity(self) -> float:
        """Perplexity per token; it depends on the segmentation and on the vocabulary."""
        return math.exp(self.loss) if self.loss < 700 else math.inf

    @property
    def bits_per_character(self) -> float | None:
        """Bits a character, which compares any two models; None with ``unknown="unk"``, where ``<unk>`` hides text."""
        return -self.log_prob / math.log(2) / self.num_characters if self.num_characters else None


@dataclass(frozen=True)
class Score(EvaluationResult):
    """What a model makes of one text, token by token.

    Attributes:
        tokens: The tokens, spelled ones in their pieces.
        log_probs: Log-probability of each token after those before it, in nats.
    """

    tokens: tuple[str, ...] = ()
    log_probs: tuple[float, ...] = ()

    @property
    def surprisals(self) -> tuple[float, ...]:
        """Surprisal of each token, in bits."""
        return tuple(-log_prob / math.log(2) for log_prob in self.log_probs)


@contextmanager
def evaluation_mode(model: LSTMLanguageModel) -> Iterator[None]:
    """Puts a model into evaluation mode without gradients, and gives its mode back afterwards."""
    was_training = model.training
    if was_training:  # setting the mode walks through all modules, which a single step of generation would notice
        model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if was_training:
            model.train()


def evaluate(model: LSTMLanguageModel, stream: TokenStream, *, batch_size: int = 64) -> EvaluationResult:
    """Measures a model on a text; every token is predicted exactly once.

    Each document is cut into segments of 4,096 tokens, each read after up to 256 uncounted tokens of context, so the
    figures do not depend on `batch_size`.

    Args:
        model: The model; it is given back in its mode and on its device.
        stream: The text. It has to be cut by the model's tokenizer.
        batch_size: Segments read side by side.

    Raises:
        DataError: There is nothing to measure.
        ConfigError: `batch_size` is out of range.
    """
    check_type("model", model, LSTMLanguageModel)
    check_type("stream", stream, TokenStream)
    check_integer("batch_size", batch_size, minimum=1)
    ids = model.vocabulary.encode_stream(stream)
    return evaluate_ids(model, ids, batch_size=batch_size, clean=stream.clean)


def evaluate_ids(
    model: LSTMLanguageModel, ids: Tensor, *, batch_size: int = 64, clean: str | None = None
) -> EvaluationResult:
    """Does the work of `evaluate` on ids, documents one behind the other. **Shape:** (number of ids,)."""
    segments = evaluation_segments(ids, segment_len=_SEGMENT_LEN, context_len=_CONTEXT_LEN)
    if not segments:
        raise DataError("there is nothing to evaluate: the text has no token")
    segments.sort(key=lambda segment: segment.start - segment.stop)  # long ones first, so that few rows are filled up
    chunk = max(1, min(_SCORED_ROWS, _MAX_SCORES // len(model.vocabulary)))
    total = 0.0
    with evaluation_mode(model):
        for start in range(0, len(segments), batch_size):
            rows = segments[start : start + batch_size]
            state: LSTMState | None = None
            for inputs, targets in segment_windows(ids, rows, window_len=_WINDOW_LEN):
                if state is not None:  # of the segments that reach into this window
                    state = state[0][:, : len(inputs)], state[1][:, : len(inputs)]
                hidden, state = model.hidden_states(inputs.to(model.device), state)
                counted = targets != IGNORED
                states, following = hidden[counted], targets[counted].to(model.device)
                for place in range(0, len(states), chunk):
                    log_probs = model.log_probs_after(states[place : place + chunk], following[place : place + chunk])
                    total += float(log_probs.double().sum())
    measured = ids[ids != model.vocabulary.bos_id]
    return EvaluationResult(total, len(measured), *_characters(model.vocabulary, measured), clean)


def score(model: LSTMLanguageModel, text: str) -> Score:
    """Scores one text, read from the start of a document; no paragraph end is added.

    It goes through the model's normalisation (see `TokenStream.from_files`) and is otherwise taken as it stands.

    Args:
        model: The model; it is given back in its mode and on its device.
        text: The text.

    Raises:
        DataError: The text is empty, not a string, or holds a lone surrogate.
    """
    check_type("model", model, LSTMLanguageModel)
    vocabulary = model.vocabulary
    ids = vocabulary.encode(normalize_text(text, vocabulary.normalize))
    if not ids:
        raise DataError("there is nothing to score: the text is empty")
    places = torch.tensor([[vocabulary.bos_id, *ids]])
    log_probs: list[float] = []
    state: LSTMState | None = None
    with evaluation_mode(model):
        for start in range(0, len(ids), _TEXT_WINDOW_LEN):
            window = places[:, start : start + _TEXT_WINDOW_LEN + 1].to(model.device)
            values, state = model.target_log_probs(window[:, :-1], window[:, 1:], state)
            log_probs += values[0].tolist()
    return Score(
        math.fsum(log_probs),
        len(ids),
        *_characters(vocabulary, torch.tensor(ids)),
        tokens=tuple(map(vocabulary.id_to_token, ids)),
        log_probs=tuple(log_probs),
    )


def _characters(vocabulary: Vocabulary, ids: Tensor) -> tuple[int | None, float]:
    """The number of characters that ids stand for, and the share of unknown tokens among them."""
    if vocabulary.characters_per_id is None:
        return None, float(ids.eq(vocabulary.unk_id or -1).double().mean())
    return int(vocabulary.characters_per_id[ids.long()].sum()), 0.0
