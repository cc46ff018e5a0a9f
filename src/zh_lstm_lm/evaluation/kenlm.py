"""KenLM's Python interface to a model of this library, for code that was written for `kenlm`.

    from zh_lstm_lm.evaluation import kenlm

    model = kenlm.Model("wuxia-lstm")
    print(model.score("展昭 大喜 。"))

Names are those of KenLM: tokens are separated by spaces, scores are decimal logarithms, ``<s>`` and ``</s>`` are the
start of a document and the paragraph end. The library `kenlm` itself is not needed.
"""

import math
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import NamedTuple

import torch

from zh_lstm_lm._config import check_integer
from zh_lstm_lm.errors import ConfigError, DataError
from zh_lstm_lm.evaluation.score import check_log_probs
from zh_lstm_lm.models.base import LanguageModel as Predictor
from zh_lstm_lm.models.base import TextState, check_model
from zh_lstm_lm.models.saved_mixture import from_pretrained
from zh_lstm_lm.text.normalization import normalize_text

__all__ = ["FullScoreReturn", "LanguageModel", "Model", "State"]

_WINDOW_LEN = 256


class FullScoreReturn(NamedTuple):
    """The score of one token.

    Attributes:
        log_prob: Decimal logarithm of its probability.
        ngram_length: Number of tokens that the probability depends on, itself included, at most `Model.order`.
        oov: Whether the token is outside the vocabulary and encoded by character fallback.
    """

    log_prob: float
    ngram_length: int
    oov: bool


class State:
    """The text before a token. Equal states predict equally."""

    def __init__(self) -> None:
        # None where nothing was read, not even the start of a document.
        self._read: TextState | None = None
        self._length = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, State):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __copy__(self) -> "State":
        copy = State()
        copy._read, copy._length = self._read, self._length
        return copy

    def __deepcopy__(self, memo: object) -> "State":
        # The tensors are never written to.
        return self.__copy__()

    def _values(self) -> tuple[object, ...]:
        if self._read is None:
            return ()
        before = self._read.before
        tensors = () if before is None else before.tensors()
        return (self._read.last_id, *(tuple(tensor.flatten().tolist()) for tensor in tensors))


class Model:
    """A language model with KenLM's methods.

    Args:
        path: The folder of a saved model, or any `LanguageModel`.
        order: Maximum n-gram length that is reported, for code that keeps as much context; the model itself depends on
            more.
        resegment: Whether the tokens are joined and segmented again by the model's tokenizer, for code that gives single
            characters, as pycorrector's detector does. False takes the tokens as they are, and they should be words of
            the tokenizer. `BaseScore` takes tokens as they are.
    """

    def __init__(self, path: str | PathLike[str] | Predictor, *, order: int = 256, resegment: bool = False) -> None:
        check_integer("order", order, minimum=2)
        if isinstance(path, (str, PathLike)):
            self._model: Predictor = from_pretrained(path)
            self.path: str = str(path)
        else:
            check_model("path", path)
            self._model, self.path = path, ""
        self.order = order
        self.resegment = resegment
        vocabulary = self._model.vocabulary
        counts = torch.tensor(vocabulary.counts, dtype=torch.float64).clamp(min=0.5)
        counts[vocabulary.bos_id] = 0.0
        # The log-probabilities where nothing was read.
        self._unigrams = (counts / counts.sum()).log()

    def __contains__(self, word: str) -> bool:
        return word in ("<s>", "</s>") or self._normalized(word) in self._model.vocabulary

    def score(self, sentence: str | bytes, bos: bool = True, eos: bool = True) -> float:
        """Returns the decimal logarithm of the probability of a sentence of tokens that ASCII white space separates.

        Bytes are UTF-8, as in KenLM. Without `bos` the text before the sentence is unknown; `eos` scores the paragraph
        end after it.
        """
        return math.fsum(token.log_prob for token in self.full_scores(sentence, bos, eos))

    def perplexity(self, sentence: str | bytes) -> float:
        """Returns the perplexity per token, the paragraph end included."""
        exponent = -self.score(sentence) / (len(_split(sentence)) + 1)
        return 10.0**exponent if exponent < 300 else math.inf

    def full_scores(self, sentence: str | bytes, bos: bool = True, eos: bool = True) -> Iterator[FullScoreReturn]:
        """Yields log-probability, n-gram length and OOV flag of each token; see `score` for the arguments."""
        given = _split(sentence)
        tokens = [*given, *["</s>"] * eos]
        state = State()
        if bos:
            self.BeginSentenceWrite(state)
        words = [(token, self._ids(token)) for token in tokens]
        if self.resegment:
            text = self._normalized("".join(given))
            if text != "".join(map(self._normalized, given)):
                raise DataError(
                    f"{sentence!r:.60}: its tokens are other characters once they are joined; join them first"
                )
            words = [*self._model.vocabulary.encode_words(text), *words[len(given) :]]
        log_probs = iter(self._advance(state, [token_id for _, ids in words for token_id in ids]))
        of_words = [math.fsum(next(log_probs) for _ in ids) / math.log(10) for _, ids in words]
        if self.resegment:
            # The log-probability of a word is divided equally among its characters.
            shares = iter([value / len(word) for (word, _), value in zip(words, of_words, strict=True) for _ in word])
            of_words = [math.fsum(next(shares) for _ in self._normalized(token)) for token in tokens]
        for number, (token, log_prob) in enumerate(zip(tokens, of_words, strict=True), 1 + bos):
            yield FullScoreReturn(log_prob, min(number, self.order), token not in self)

    def BeginSentenceWrite(self, state: State) -> None:  # noqa: N802
        """Sets a state to the start of a document."""
        state._read, state._length = TextState(self._model.vocabulary.bos_id, None), 1

    def NullContextWrite(self, state: State) -> None:  # noqa: N802
        """Sets a state to an unknown context."""
        state._read, state._length = None, 0

    def BaseScore(self, in_state: State, word: str, out_state: State) -> float:  # noqa: N802
        """Returns the decimal logarithm of a word's probability and sets `out_state` to the state after the word."""
        return self.BaseFullScore(in_state, word, out_state).log_prob

    def BaseFullScore(self, in_state: State, word: str, out_state: State) -> FullScoreReturn:  # noqa: N802
        """Returns the score of a word after a state and sets `out_state` to the state after the word."""
        out_state._read, out_state._length = in_state._read, in_state._length + 1
        log_prob = math.fsum(self._advance(out_state, self._ids(word))) / math.log(10)
        return FullScoreReturn(log_prob, min(out_state._length, self.order), word not in self)

    def _ids(self, token: str) -> list[int]:
        vocabulary = self._model.vocabulary
        special = {"<s>": vocabulary.bos_id, "</s>": vocabulary.paragraph_end_id}
        return [special[token]] if token in special else vocabulary.spell(self._normalized(token))

    def _normalized(self, text: str) -> str:
        return normalize_text(text, self._model.vocabulary.normalize)

    def _advance(self, state: State, ids: Sequence[int]) -> list[float]:
        """Returns the log-probabilities of ids after a state, in nats, and moves the state behind them."""
        log_probs: list[float] = []
        if ids and state._read is None:
            log_probs.append(float(self._unigrams[ids[0]]))
            state._read, ids = TextState(ids[0], None), ids[1:]
        if not ids or state._read is None:
            return log_probs
        last_id, before = state._read.last_id, state._read.before
        row = torch.tensor([[last_id, *ids]], device=self._model.device)
        with torch.inference_mode():
            for start in range(0, len(ids), _WINDOW_LEN):
                window = row[:, start : start + _WINDOW_LEN + 1]
                context, before = self._model.read(window[:, :-1], before)
                log_probs += self._model.target_log_probs(context, window[0, 1:]).tolist()
        state._read = TextState(ids[-1], before)
        return check_log_probs(log_probs)


LanguageModel = Model


def _split(sentence: str | bytes) -> list[str]:
    """Splits at ASCII white space; U+3000 and other white space of Unicode is part of a token."""
    if isinstance(sentence, str):
        sentence = sentence.encode("utf-8", errors="surrogatepass")
    if not isinstance(sentence, bytes):
        raise ConfigError(f"sentence must be a string of tokens separated by spaces, got {sentence!r:.60}")
    try:
        return [token.decode("utf-8", errors="surrogatepass") for token in sentence.split()]
    except UnicodeDecodeError as error:
        raise DataError(f"sentence must be UTF-8, got {sentence!r:.60}") from error
