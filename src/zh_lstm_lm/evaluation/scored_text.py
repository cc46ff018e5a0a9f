"""The result of `score`: a text with the log-probabilities of its tokens and words."""

import math
from dataclasses import dataclass, field

from zh_lstm_lm.evaluation.result import EvaluationResult
from zh_lstm_lm.models.base import TextState

__all__ = ["Score", "WordScore"]


@dataclass(frozen=True)
class WordScore:
    """A word of a scored text.

    Attributes:
        text: The word as it was given; empty for the end.
        start: Its first character in the text as it was given.
        stop: One past its last character.
        kind: ``"word"``; ``"characters"`` or ``"bytes"`` for a word outside the vocabulary that was encoded by
            character fallback or byte fallback; ``"unknown"`` with ``unknown="unk"``; ``"end"`` for the paragraph end
            that `score` was asked to add.
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
    """The log-probabilities of one text, token by token.

    Attributes:
        text: The text as it was given.
        tokens: The tokens; words outside the vocabulary are in their pieces.
        log_probs: Log-probability of each token after those before it, in nats.
        offsets: Start and stop of each token in `text`, as in Hugging Face's tokenizers. A byte has the offsets of its
            character. Where normalisation turns one character into several tokens, each has the offsets of that one.
        word_sizes: Number of tokens of each word.
        word_kinds: Kind of each word; see `WordScore.kind`.
        state: The state from which `score` or `Sampler` continues; None from `score_batch` without ``with_states``.
    """

    text: str = ""
    tokens: tuple[str, ...] = ()
    log_probs: tuple[float, ...] = ()
    offsets: tuple[tuple[int, int], ...] = ()
    word_sizes: tuple[int, ...] = ()
    word_kinds: tuple[str, ...] = ()
    state: TextState | None = field(default=None, compare=False, repr=False)

    def _repr_html_(self) -> str:
        """Returns the heat map, which a notebook shows in a frame."""
        from zh_lstm_lm.report.heat_map import heat_map  # noqa: PLC0415

        return heat_map(self)._repr_html_()

    @property
    def surprisals(self) -> tuple[float, ...]:
        """Surprisal of each token, in bits."""
        return tuple(map(_bits, self.log_probs))

    @property
    def words(self) -> tuple[WordScore, ...]:
        """The words, each with its pieces and its surprisal."""
        words: list[WordScore] = []
        first = 0
        for size, kind in zip(self.word_sizes, self.word_kinds, strict=True):
            pieces = slice(first, first + size)
            tokens, (start, stop) = self.tokens[pieces], (self.offsets[first][0], self.offsets[first + size - 1][1])
            first += size
            words.append(WordScore(self.text[start:stop], start, stop, kind, tokens, self.log_probs[pieces]))
        return tuple(words)

    @property
    def character_surprisals(self) -> tuple[float, ...]:
        """Surprisal of each character of `text`, in bits; the surprisal of a token is divided equally.

        The sum is the surprisal of the text without that of an added end.
        """
        bits = [0.0] * len(self.text)
        for surprisal, (start, end) in zip(self.surprisals, self.offsets, strict=True):
            # An implied separator has no character of its own.
            stop = max(end, min(start + 1, len(bits)))
            for position in range(start, stop):
                bits[position] += surprisal / (stop - start)
        return tuple(bits)


def _bits(log_prob: float) -> float:
    return -log_prob / math.log(2)
