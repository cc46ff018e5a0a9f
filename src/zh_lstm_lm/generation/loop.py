"""The generation loop: every text that is not finished gets its next token, round after round."""

import logging
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from zh_lstm_lm.generation.draft import Draft
from zh_lstm_lm.generation.forms.names import Names
from zh_lstm_lm.generation.next_token import NextTokenSampler
from zh_lstm_lm.generation.result import GenerationResult
from zh_lstm_lm.models.base import LanguageModel, State
from zh_lstm_lm.runtime.control_characters import get_logger
from zh_lstm_lm.runtime.devices import on_cpu_by_default
from zh_lstm_lm.runtime.interruption import check_interruption

__all__ = ["Token", "TokenLoop", "generate_tokens", "make_result", "read_prompts", "text_of", "warn_of_unmet"]

logger: logging.Logger = get_logger(__name__)

_PROMPT_WINDOW = 1024
# Texts whose log-probabilities stay in the processor's cache while their tokens are sampled.
_ROWS = 16


class Token(NamedTuple):
    """A generated token: its id, its text, and its log-probability by the model, in nats."""

    id: int
    text: str
    log_prob: float


class TokenLoop:
    """Texts that get a token each, step after step; texts may join and leave between two steps.

    A text is the same whoever its neighbours are, where the model, given in its form for decoding, is batch-invariant.
    `drafts` are the texts that are not finished.
    """

    def __init__(self, model: LanguageModel) -> None:
        self.drafts: list[Draft] = []
        self._model = model
        self._samplers: list[NextTokenSampler] = []
        self._pending: list[list[Token]] = []
        self._state: Any = None

    @on_cpu_by_default
    def join(self, drafts: Sequence[Draft], sampler: NextTokenSampler) -> None:
        """Reads the prompts of texts, which the next step goes on with."""
        for draft in drafts:
            draft.begin()
        if not drafts:
            return
        state = read_prompts(self._model, drafts)
        self._state = state if self._state is None else type(state).cat([self._state, state])
        self.drafts += drafts
        self._samplers += [sampler] * len(drafts)
        self._pending += [[] for _ in drafts]
        self.leave()

    def leave(self, left: Collection[Draft] = ()) -> None:
        """Takes out the texts that are finished, and some others."""
        rows = [row for row, draft in enumerate(self.drafts) if draft.finish_reason is None and draft not in left]
        if len(rows) < len(self.drafts):
            self.drafts = [self.drafts[row] for row in rows]
            self._samplers = [self._samplers[row] for row in rows]
            self._pending = [self._pending[row] for row in rows]
            self._state = self._state.rows(rows) if rows else None

    @on_cpu_by_default
    def step(self) -> list[tuple[Draft, list[Token]]]:
        """Adds a token to each text; returns texts and their latest tokens, one unless some were held back."""
        latest = []
        with torch.inference_mode():
            last = torch.tensor([[draft.ids[-1]] for draft in self.drafts], device=self._model.device)
            context, state = self._model.read(last, self._state)
            ids: list[int | None] = []
            values: list[float] = []
            for start in range(0, len(self.drafts), _ROWS):
                rows = slice(start, start + _ROWS)
                log_probs = self._model.log_probs(context if len(self.drafts) <= _ROWS else context.rows(rows))
                sampled = _sample(self._samplers[rows], self.drafts[rows], log_probs)
                known = torch.tensor([token_id or 0 for token_id in sampled], device=log_probs.device)
                ids += sampled
                values += log_probs.gather(1, known[:, None])[:, 0].tolist()
        for row, (draft, token_id, log_prob) in enumerate(zip(self.drafts, ids, values, strict=True)):
            pending = self._pending[row]
            if token_id is None:
                draft.end()
            else:
                token = Token(token_id, self._samplers[row].text_after(draft.ids[-1], token_id), log_prob)
                draft.add(token_id, token.text, state, row)
                pending.append(token)
            if not draft.undecided:
                latest.append((draft, pending[: len(pending) - draft.surplus]))
                self._pending[row] = []
        self._state = state
        self.leave()
        return latest


def _sample(samplers: Sequence[NextTokenSampler], drafts: Sequence[Draft], log_probs: Tensor) -> list[int | None]:
    """Samples the next id of each text by its own sampler."""
    groups: dict[int, list[int]] = {}
    for row, sampler in enumerate(samplers):
        groups.setdefault(id(sampler), []).append(row)
    if len(groups) == 1:
        return samplers[0].sample(drafts, log_probs)
    sampled: list[int | None] = [None] * len(drafts)
    for rows in groups.values():
        picked = samplers[rows[0]].sample([drafts[row] for row in rows], log_probs[rows])
        for row, token_id in zip(rows, picked, strict=True):
            sampled[row] = token_id
    return sampled


@on_cpu_by_default
def generate_tokens(
    model: LanguageModel, sampler: NextTokenSampler, drafts: Sequence[Draft]
) -> Iterator[tuple[int, list[Token]]]:
    """Adds tokens to texts until all are finished; yields them by position, as `TokenLoop.step` does."""
    positions = {draft: position for position, draft in enumerate(drafts)}
    loop = TokenLoop(model)
    loop.join(drafts, sampler)
    while loop.drafts:
        check_interruption()
        for draft, latest in loop.step():
            yield positions[draft], latest


@on_cpu_by_default
def read_prompts(model: LanguageModel, drafts: Sequence[Draft]) -> State:
    """Reads all but the last id of each prompt, equal prompts once, and returns the state of the batch."""
    known: dict[tuple[int, tuple[int, ...]], State] = {}
    states = []
    with torch.inference_mode():
        for draft in drafts:
            key = (id(draft.model_state), tuple(draft.unread))
            if key not in known:
                state = model.initial_state(1) if draft.model_state is None else draft.model_state
                for start in range(0, len(draft.unread), _PROMPT_WINDOW):
                    window = draft.unread[start : start + _PROMPT_WINDOW]
                    _, state = model.read(torch.tensor([window], device=model.device), state)
                known[key] = state
            states.append(known[key])
        for draft, state in zip(drafts, states, strict=True):
            draft.start(state)
        return type(states[0]).cat(states)


def text_of(prompt: str, tokens: Sequence[Token]) -> str:
    """Joins a prompt and the texts of tokens."""
    return prompt + "".join(token.text for token in tokens)


def warn_of_unmet(draft: Draft) -> None:
    """Warns of what was asked for and is missing in a text that is returned without a result."""
    if draft.unmet:
        logger.warning("could not be met: %s", "; ".join(draft.unmet))


def make_result(prompt: str, draft: Draft, tokens: Sequence[Token], names: Names) -> GenerationResult:
    """Builds the result of a finished text from its tokens."""
    assert draft.finish_reason is not None
    written = tuple(token.text for token in tokens)
    return GenerationResult(
        text=text_of(prompt, tokens),
        tokens=written,
        ids=tuple(token.id for token in tokens),
        log_probs=tuple(token.log_prob for token in tokens),
        finish_reason=draft.finish_reason,
        state=draft.state(),
        unmet=(*draft.unmet, *(f"rename: {name}" for name in names.left(prompt, written))),
    )
