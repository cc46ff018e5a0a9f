"""The generation loop: every text that is not finished gets its next token, round after round."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from zh_lstm_lm.generation.draft import Draft
from zh_lstm_lm.generation.next_token import NextTokenSampler
from zh_lstm_lm.generation.result import GenerationResult
from zh_lstm_lm.models.base import LanguageModel, State
from zh_lstm_lm.runtime.devices import on_cpu_by_default
from zh_lstm_lm.runtime.interruption import check_interruption

__all__ = ["Token", "generate_tokens", "make_result", "read_prompts", "text_of"]

_PROMPT_WINDOW = 1024
# Texts whose log-probabilities stay in the processor's cache while their tokens are sampled.
_ROWS = 16


class Token(NamedTuple):
    """A generated token: its id, its text, and its log-probability by the model, in nats."""

    id: int
    text: str
    log_prob: float


@on_cpu_by_default
def generate_tokens(
    model: LanguageModel, sampler: NextTokenSampler, drafts: Sequence[Draft]
) -> Iterator[tuple[int, list[Token]]]:
    """Adds tokens to texts, whose prompts are read first, until all are finished.

    Yields:
        The position of a text and its latest tokens: one token, unless some were held back that might have been cut off.
    """
    for draft in drafts:
        draft.begin()
    pending: list[list[Token]] = [[] for _ in drafts]
    active = [position for position, draft in enumerate(drafts) if draft.finish_reason is None]
    if not drafts:
        return
    state = read_prompts(model, drafts)
    if len(active) < len(drafts):
        state = state.rows(active)
    while active:
        check_interruption()
        going = [drafts[position] for position in active]
        with torch.inference_mode():
            last = torch.tensor([[draft.ids[-1]] for draft in going], device=model.device)
            context, state = model.read(last, state)
            ids: list[int | None] = []
            values: list[float] = []
            for start in range(0, len(going), _ROWS):
                rows = slice(start, start + _ROWS)
                log_probs = model.log_probs(context if len(going) <= _ROWS else context.rows(rows))
                sampled = sampler.sample(going[rows], log_probs)
                known = torch.tensor([token_id or 0 for token_id in sampled], device=log_probs.device)
                ids += sampled
                values += log_probs.gather(1, known[:, None])[:, 0].tolist()
        for row, (position, token_id, log_prob) in enumerate(zip(active, ids, values, strict=True)):
            draft = drafts[position]
            if token_id is None:
                draft.end()
            else:
                token = Token(token_id, sampler.text_after(draft.ids[-1], token_id), log_prob)
                draft.add(token_id, token.text, state, row)
                pending[position].append(token)
            if not draft.undecided:
                yield position, pending[position][: len(pending[position]) - draft.surplus]
                pending[position] = []
        left = [row for row, draft in enumerate(going) if draft.finish_reason is None]
        if len(left) < len(active):
            active = [active[row] for row in left]
            state = state.rows(left)


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


def make_result(prompt: str, draft: Draft, tokens: Sequence[Token]) -> GenerationResult:
    """Builds the result of a finished text from its tokens."""
    assert draft.finish_reason is not None
    return GenerationResult(
        text=text_of(prompt, tokens),
        tokens=tuple(token.text for token in tokens),
        ids=tuple(token.id for token in tokens),
        log_probs=tuple(token.log_prob for token in tokens),
        finish_reason=draft.finish_reason,
        state=draft.state(),
    )
