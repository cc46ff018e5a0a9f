"""Texts of concurrent requests, generated side by side in a thread of their own."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from zh_lstm_lm.generation.draft import Draft
from zh_lstm_lm.generation.loop import Token, TokenLoop
from zh_lstm_lm.generation.next_token import NextTokenSampler
from zh_lstm_lm.models.base import LanguageModel, decoding_model

__all__ = ["Batcher", "Piece", "Text", "Work", "likeliest"]


class Piece(NamedTuple):
    """A part of a generated text that is settled.

    Attributes:
        number: The text's number in its request.
        offset: Position of the part in the generated text.
        text: The part.
        tokens: Its tokens; the last one of a text may reach beyond its end.
        tops: The likeliest tokens in the place of each, with their log-probabilities; empty if they are not wanted.
        finish_reason: ``"stop"`` or ``"length"`` with the last part of the text, else None.
    """

    number: int
    offset: int
    text: str
    tokens: list[Token]
    tops: list[dict[int, float]]
    finish_reason: str | None


class Text:
    """A text of a request that grows, and ends before the first of the `stop` strings in what is generated."""

    def __init__(self, number: int, draft: Draft, stop: Sequence[str] = ()) -> None:
        self.number: int = number
        self.draft: Draft = draft
        self.finish_reason: str | None = None
        self.tops: list[dict[int, float]] = []
        self._stop = stop
        self._text = ""
        self._pending: list[Token] = []
        self._settled = 0

    def add(self, latest: Sequence[Token]) -> Piece:
        """Adds tokens; returns what is settled by them: the start of a stop string is held back."""
        searched = len(self._text)
        self._pending += latest
        self._text += "".join(token.text for token in latest)
        found = [self._text.find(stop, max(0, searched - len(stop) + 1)) for stop in self._stop]
        end = min((position for position in found if position >= 0), default=None)
        if end is not None:
            self.finish_reason = "stop"
        elif self.draft.finish_reason is not None:
            self.finish_reason = "stop" if self.draft.finish_reason == "no_token" else "length"
        if end is None:
            end = len(self._text) - (0 if self.finish_reason else max(map(self._begun, self._stop), default=0))
        tokens, stop_at = [], self._settled
        while self._pending:
            reached = stop_at + len(self._pending[0].text)
            if stop_at >= end if self.finish_reason else reached > end:
                break
            tokens.append(self._pending.pop(0))
            stop_at = reached
        start, self._settled = self._settled, end if self.finish_reason else stop_at
        tops, self.tops = self.tops[: len(tokens)], self.tops[len(tokens) :]
        return Piece(self.number, start, self._text[start : self._settled], tokens, tops, self.finish_reason)

    def _begun(self, stop: str) -> int:
        """Returns the length of the longest start of a string with which the text ends."""
        longest = min(len(stop) - 1, len(self._text))
        return next((size for size in range(longest, 0, -1) if self._text.endswith(stop[:size])), 0)


class Work:
    """A request. What it yields goes to a function in the batcher's thread; `cancelled` is set to end the work."""

    def __init__(self, deliver: Callable[[Any], None]) -> None:
        self.cancelled = False
        self.deliver = deliver

    def start(self) -> tuple[Sequence[Text], NextTokenSampler]:
        """Prepares the texts; called in the thread of the batcher."""
        raise NotImplementedError


class Batcher:
    """A thread that generates the texts of all requests, a token of each in every step.

    At most `max_texts` are generated at once, unless a single request has more; others wait.
    """

    def __init__(self, model: LanguageModel, *, max_texts: int) -> None:
        self._model, self._max_texts = decoding_model(model), max_texts
        self._changed = threading.Condition()
        self._waiting: list[tuple[Work, int]] = []
        self._closed = False
        self._texts: dict[Draft, tuple[Work, Text]] = {}
        self._loop = TokenLoop(self._model)
        threading.Thread(target=self._run, daemon=True, name="zh-lstm-lm batcher").start()

    @property
    def num_waiting(self) -> int:
        """Number of texts that are not begun."""
        with self._changed:
            return sum(count for _, count in self._waiting)

    def submit(self, work: Work, num_texts: int) -> None:
        """Adds a request with a number of texts."""
        with self._changed:
            self._waiting.append((work, num_texts))
            self._changed.notify()

    def close(self) -> None:
        """Ends the thread after its current step."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiting or self._texts)
                if self._closed:
                    return
                work = None
                room = self._max_texts - len(self._texts)
                if self._waiting and (self._waiting[0][1] <= room or not self._texts):
                    work, _ = self._waiting.pop(0)
            if work is not None:
                self._begin(work)
            self._step()

    def _begin(self, work: Work) -> None:
        if work.cancelled:
            return
        texts: Sequence[Text] = ()
        try:
            texts, sampler = work.start()
            self._loop.join([text.draft for text in texts if text.draft.finish_reason is None], sampler)
            for text in texts:
                if text.draft.finish_reason is None:
                    self._texts[text.draft] = work, text
                else:
                    _tell(work, text.add([]))
        except Exception as error:
            # Whatever one request meets, the others go on.
            self._drop([text.draft for text in texts])
            _tell(work, error)

    def _step(self) -> None:
        self._drop([draft for draft, (work, _) in self._texts.items() if work.cancelled])
        if not self._texts:
            return
        try:
            for draft, latest in self._loop.step():
                work, text = self._texts[draft]
                _tell(work, text.add(latest))
            self._drop([draft for draft, (_, text) in self._texts.items() if text.finish_reason is not None])
        except Exception as error:
            works = {id(work): work for work, _ in self._texts.values()}
            self._texts, self._loop = {}, TokenLoop(self._model)
            for work in works.values():
                _tell(work, error)

    def _drop(self, drafts: Sequence[Draft]) -> None:
        if drafts:
            self._loop.leave(drafts)
            for draft in drafts:
                self._texts.pop(draft, None)


def _tell(work: Work, item: object) -> None:
    """Delivers an item; a receiver that is gone ends its work."""
    try:
        work.deliver(item)
    except RuntimeError:
        work.cancelled = True


def likeliest(log_probs: Tensor, count: int) -> list[dict[int, float]]:
    """Returns the likeliest tokens of each row with their log-probabilities. **Shape:** (rows, vocab_size)."""
    top = log_probs.topk(min(count, log_probs.shape[-1]))
    return [dict(zip(*row, strict=True)) for row in zip(top.indices.tolist(), top.values.tolist(), strict=True)]
