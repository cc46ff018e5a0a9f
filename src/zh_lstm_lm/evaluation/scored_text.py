"""What `score` gives back: a text with the log-probability of each of its tokens and words, and where it can go on."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from zh_lstm_lm.evaluation.result import EvaluationResult
from zh_lstm_lm.models.lstm_layer import LSTMState

__all__ = ["Score", "TextState", "WordScore"]


class TextState(NamedTuple):
    """A text as far as it was read.

    Attributes:
        last_id: The id that was read last.
        before: The LSTM's state before it; None where it was the first.
    """

    last_id: int
    before: LSTMState | None


@dataclass(frozen=True)
class WordScore:
    """A word of a scored text.

    Attributes:
        text: The word as it was given; empty for the end.
        start: Its first character in the text as it was given.
        stop: One behind its last character.
        kind: ``"word"``; ``"characters"`` or ``"bytes"`` for a word outside the vocabulary that was spelled in
            characters, or in bytes where a character is outside, too; ``"unknown"`` with ``unknown="unk"``;
            ``"end"`` for the paragraph end that `score` was asked to add.
        tokens: The word itself, or its pieces.
        log_probs: Log-probability of each of them, in nats.
    """

    text: str
    start: int
    stop: int
    kind: str
    tokens: tuple[str, ...]
    log_probs: tuple[float, ...]

    @property
    def surprisal(self) -> float:
        """Surprisal of the whole word, in bits."""
        return _bits(math.fsum(self.log_probs))


@dataclass(frozen=True)
class Score(EvaluationResult):
    """What a model makes of one text, token by token.

    Attributes:
        text: The text as it was given.
        tokens: The tokens, spelled ones in their pieces.
        log_probs: Log-probability of each token after those before it, in nats.
        offsets: Start and stop of each token in `text`, as in Hugging Face's tokenizers. A byte has those of its
            character. Where normalisation makes several tokens of one character, each has those of that one.
        word_sizes: How many tokens each word has.
        word_kinds: What each word is to the vocabulary; see `WordScore.kind`.
        state: What `score` goes on from; None from `score_batch`, unless it was asked for.
    """

    text: str = ""
    tokens: tuple[str, ...] = ()
    log_probs: tuple[float, ...] = ()
    offsets: tuple[tuple[int, int], ...] = ()
    word_sizes: tuple[int, ...] = ()
    word_kinds: tuple[str, ...] = ()
    state: TextState | None = field(default=None, compare=False, repr=False)

    @property
    def surprisals(self) -> tuple[float, ...]:
        """Surprisal of each token, in bits."""
        return tuple(map(_bits, self.log_probs))

    @property
    def words(self) -> tuple[WordScore, ...]:
        """The words, each with its pieces and its surprisal."""
        return tuple(self._words())

    def _words(self) -> Iterator[WordScore]:
        first = 0
        for size, kind in zip(self.word_sizes, self.word_kinds, strict=True):
            pieces = slice(first, first + size)
            tokens, (start, stop) = self.tokens[pieces], (self.offsets[first][0], self.offsets[first + size - 1][1])
            first += size
            yield WordScore(self.text[start:stop], start, stop, kind, tokens, self.log_probs[pieces])

    @property
    def character_surprisals(self) -> tuple[float, ...]:
        """Surprisal of each character of `text`, in bits: that of a token is shared equally by its characters.

        Their sum is the surprisal of the text, less that of an end that was added.
        """
        bits = [0.0] * len(self.text)
        for surprisal, (start, stop) in zip(self.surprisals, self.offsets, strict=True):
            for place in range(start, stop):
                bits[place] += surprisal / (stop - start)
        return tuple(bits)


def _bits(log_prob: float) -> float:
    return -log_prob / math.log(2)
