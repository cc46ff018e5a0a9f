"""The loop of writing: every text that is not finished gets its next word, side by side, round after round."""

from collections.abc import Iterator, Sequence

import torch

from zh_lstm_lm.generation.draft import WrittenText
from zh_lstm_lm.generation.next_token import TokenDrawer
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.models.lstm_layer import LSTMState
from zh_lstm_lm.runtime.interruption import check_interruption

__all__ = ["read_prompts", "write_rounds"]

_PROMPT_WINDOW = 1024


def write_rounds(
    drawer: TokenDrawer, texts: Sequence[WrittenText], *, with_log_probs: bool = False
) -> Iterator[tuple[int, list[tuple[int, float]]]]:
    """Adds a word to every text that is not finished, again and again.

    Args:
        drawer: Draws the words.
        texts: The texts; their prompts are read first.
        with_log_probs: Whether the model's own log-probabilities are asked for.

    Yields:
        The place of a text and its latest words: the ids and their log-probabilities (0 where they are not asked
        for). It is one word, unless words were held back that might have been a heading.
    """
    if not texts:
        return
    for text in texts:
        text.begin()
    model, read = drawer.model, drawer.begin()
    pending: list[list[tuple[int, float]]] = [[] for _ in texts]
    active = [place for place, text in enumerate(texts) if text.finish_reason is None]
    state = read_prompts(model, texts)
    if len(active) < len(texts):
        state = state[0][:, active], state[1][:, active]
    last = torch.tensor([texts[place].ids[-1] for place in active], device=model.device)
    while active:
        check_interruption()
        with torch.inference_mode():
            hidden, state = read(last, state)
            ids = drawer.draw([texts[place] for place in active], hidden)
            last = torch.tensor(ids, device=model.device)
            log_probs = drawer.log_probs(hidden, last) if with_log_probs else [0.0] * len(ids)
        for row, (place, token_id, log_prob) in enumerate(zip(active, ids, log_probs, strict=True)):
            text = texts[place]
            text.add(token_id, drawer.tokens[token_id], state, row)
            pending[place].append((token_id, log_prob))
            if text.finish_reason == "max_chapters":
                pending[place].clear()  # the heading of a chapter that is not wanted
            elif not text.undecided:
                yield place, pending[place]
                pending[place] = []
        going = [row for row, place in enumerate(active) if texts[place].finish_reason is None]
        if len(going) < len(active):
            state, last = (state[0][:, going], state[1][:, going]), last[going]
            active = [active[row] for row in going]


def read_prompts(model: LSTMLanguageModel, texts: Sequence[WrittenText]) -> LSTMState:
    """Reads all but the last id of each text's prompt; equal prompts after the same state are read once.

    Returns:
        The state. **Shape:** (num_layers, texts, hidden_size) each.
    """
    known: dict[tuple[int, tuple[int, ...]], LSTMState] = {}
    with torch.inference_mode():
        for text in texts:
            key = (id(text.lstm_state), tuple(text.unread))
            if key not in known:
                state = text.lstm_state or model.init_state(1)
                for start in range(0, len(text.unread), _PROMPT_WINDOW):
                    window = torch.tensor([text.unread[start : start + _PROMPT_WINDOW]], device=model.device)
                    _, state = model.hidden_states(window, state)
                known[key] = state
        states = [known[id(text.lstm_state), tuple(text.unread)] for text in texts]
        for text, state in zip(texts, states, strict=True):
            text.lstm_state, text.unread = state, []
        return torch.cat([h for h, _ in states], dim=1), torch.cat([c for _, c in states], dim=1)
