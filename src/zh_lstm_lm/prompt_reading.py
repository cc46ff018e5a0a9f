"""Prompts are read in windows, so that a long one takes no more memory than a short one."""

from collections.abc import Sequence

import torch

from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.models.lstm_layer import LSTMState
from zh_lstm_lm.generation.draft import WrittenText

__all__ = ["read_prompts"]

_PROMPT_WINDOW = 1024


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
