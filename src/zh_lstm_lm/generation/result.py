"""What generation gives back: a text with everything known of it, and a state from which it goes on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.generation.limits import FinishReason
from zh_lstm_lm.models.lstm_layer import LSTMState

__all__ = ["GenerationResult", "GenerationState"]


@dataclass(frozen=True, eq=False)
class GenerationState:
    """Where a text stands: what is needed to go on with it as if it had not been interrupted.

    Attributes:
        lstm_state: The pair (h, c) after all tokens but the last. **Shape:** (num_layers, 1, hidden_size) each.
        ids: The latest ids, as many as the sampler's options look at; never empty.
        tail: The latest text, as much as limits look at.
        opened: The quotes and brackets that are open, the innermost last.
        random: State of the Mersenne twister that random numbers come from. **Shape:** (625,), int64.
    """

    lstm_state: LSTMState
    ids: tuple[int, ...]
    tail: str
    opened: str
    random: Tensor

    def to_tensors(self) -> dict[str, Tensor]:
        """The state as tensors by name, for safetensors."""
        h, c = self.lstm_state
        texts = torch.tensor(list(json.dumps([self.tail, self.opened]).encode()), dtype=torch.uint8)
        ids = torch.tensor(self.ids)
        return {"h": h.cpu(), "c": c.cpu(), "ids": ids, "texts": texts, "random": self.random}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], *, device: torch.device) -> "GenerationState":
        """Builds the state from `to_tensors`'s output.

        Raises:
            DataError: The tensors do not describe a state.
        """
        try:
            tail, opened = json.loads(bytes(tensors["texts"].tolist()))
            ids = tuple(int(token_id) for token_id in tensors["ids"].tolist())
            return cls((tensors["h"].to(device), tensors["c"].to(device)), ids, tail, opened, tensors["random"])
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"not a saved state of generation: {error!r}; begin anew") from error


@dataclass(frozen=True, eq=False)
class GenerationResult:
    """A text that was written.

    Attributes:
        text: The text, with the prompt.
        tokens: The words that were written after the prompt.
        ids: Their ids.
        log_probs: Log-probability of each by the model itself, without temperature and cut-offs, in nats.
        finish_reason: The name of the limit that ended the text.
        state: From where ``generate_result(state=…)`` goes on.
    """

    text: str
    tokens: tuple[str, ...]
    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    finish_reason: FinishReason
    state: GenerationState

    @property
    def log_prob(self) -> float:
        """Log-probability of what was written, in nats."""
        return sum(self.log_probs)

    @property
    def mean_log_prob(self) -> float:
        """Log-probability a token, in nats; 0 where nothing was written."""
        return self.log_prob / max(len(self.log_probs), 1)
