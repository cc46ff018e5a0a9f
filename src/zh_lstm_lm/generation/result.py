"""The result of generation, and the state and the random numbers with which a text continues."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.generation.limits import FinishReason
from zh_lstm_lm.models.base import LanguageModel, TextState
from zh_lstm_lm.runtime.devices import on_cpu_by_default

__all__ = ["GenerationResult", "GenerationState", "random_numbers"]


@dataclass(frozen=True, eq=False)
class GenerationState(TextState):
    """A `TextState` with everything that a text needs to continue as if it had not been interrupted.

    Attributes:
        ids: The latest token ids, as many as the sampler's options look at; never empty.
        tail: The latest text, as much as limits look at.
        opened: Opening quotes and brackets that are not closed, the innermost last.
        random: State of the Mersenne twister that supplies the random numbers; None to start a new sequence.
            **Shape:** (625,), int64.
    """

    ids: tuple[int, ...] = ()
    tail: str = ""
    opened: str = ""
    random: Tensor | None = None

    def to_tensors(self) -> dict[str, Tensor]:
        """Returns the state as tensors by name, for a safetensors file."""
        assert self.before is not None
        assert self.random is not None
        texts = torch.tensor(list(json.dumps([self.tail, self.opened]).encode()), dtype=torch.uint8)
        model = {f"model.{number}": tensor.cpu() for number, tensor in enumerate(self.before.tensors())}
        return {**model, "ids": torch.tensor(self.ids), "texts": texts, "random": self.random}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], model: LanguageModel) -> "GenerationState":
        """Builds the state of a model from the output of `to_tensors`.

        Raises:
            DataError: The tensors are not those of a state of this model.
        """
        try:
            count = sum(name.startswith("model.") for name in tensors)
            saved = [tensors[f"model.{number}"].to(model.device) for number in range(count)]
            before = model.initial_state(1).restored(saved)
            tail, opened = json.loads(bytes(tensors["texts"].tolist()))
            ids = tuple(int(token_id) for token_id in tensors["ids"].tolist())
            if not (
                isinstance(tail, str) and isinstance(opened, str) and all(0 <= i < len(model.vocabulary) for i in ids)
            ):
                raise ValueError("texts or ids are out of range")
            if tensors["random"].shape != (625,):
                raise ValueError("the random state is incomplete")
            return cls(ids[-1], before, ids, tail, opened, tensors["random"])
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise DataError(f"not a saved state of generation with this model: {error!r}; start a new text") from error


@dataclass(frozen=True, eq=False)
class GenerationResult:
    """A generated text.

    Attributes:
        text: The text, with the prompt.
        tokens: The tokens after the prompt.
        ids: Their ids.
        log_probs: Their log-probabilities by the model, before processors, temperature and cut-offs, in nats.
        finish_reason: Name of the limit that ended the text.
        state: The state from which `Sampler.generate` or `score` continues.
        unmet: What was asked for and could not be met, by the name of the option: lines or words that are missing, names
            of the corpus that are left. Empty if nothing is.
    """

    text: str
    tokens: tuple[str, ...]
    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    finish_reason: FinishReason
    state: GenerationState
    unmet: tuple[str, ...] = ()

    @property
    def log_prob(self) -> float:
        """Log-probability of the tokens, in nats."""
        return sum(self.log_probs)

    @property
    def mean_log_prob(self) -> float:
        """Mean log-probability per token, in nats; 0 if there is no token."""
        return self.log_prob / max(len(self.log_probs), 1)


@on_cpu_by_default
def random_numbers(seed: int, sample: int, state: TextState | None) -> random.Random:
    """Returns the source of random numbers of a text; each sample has its own, and the first continues those of `state`.

    It is Python's generator, because a single number takes a hundredth of the time that PyTorch's generator needs.
    """
    generator = random.Random(f"{seed} {sample}")
    if isinstance(state, GenerationState) and state.random is not None:
        if sample == 0:
            generator.setstate((3, tuple(state.random.tolist()), None))
        else:
            generator.seed(f"{seed} {sample} {state.random.tolist()}")
    return generator
