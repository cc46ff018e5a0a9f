"""Several models as one: the mean of their probabilities."""

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from typing import NoReturn, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.models.lstm_layer import LSTMState
from zh_lstm_lm.models.output_layers import OutputLayer
from zh_lstm_lm.models.softmax_log_probs import Linear

__all__ = ["Ensemble", "joined"]


class Ensemble(LSTMLanguageModel):
    """Models of one vocabulary that score and write together: each token has the mean of their probabilities.

    It is used wherever a model is: `evaluate`, `score`, `rescore`, `Sampler`. The models stay what they are; they may
    differ in size and in seed.

    Example:
        >>> evaluate(Ensemble([first, second]), stream)  # doctest: +SKIP
    """

    def __init__(self, models: Sequence[LSTMLanguageModel]) -> None:
        """Puts models together.

        Args:
            models: The models.

        Raises:
            ConfigError: There is none, or their vocabularies differ.
        """
        if not isinstance(models, (list, tuple)) or not models:
            raise ConfigError(f"models must be a list of models, got {models!r:.60}")
        for number, model in enumerate(models):
            if not isinstance(model, LSTMLanguageModel) or isinstance(model, Ensemble):
                raise ConfigError(f"models[{number}] must be a single LSTMLanguageModel, got {model!r:.60}")
            if model.vocabulary.fingerprint() != models[0].vocabulary.fingerprint():
                raise ConfigError(
                    f"models[{number}] has another vocabulary than models[0]; train both with the same one"
                )
        nn.Module.__init__(self)
        self.vocabulary = models[0].vocabulary
        self.training_summary, self.generation_config = {}, models[0].generation_config
        self.models = list(models)
        self.output = _MeanOfProbabilities(models)
        self.train(models[0].training)

    @property
    @override
    def device(self) -> torch.device:
        device: torch.device = self.models[0].device
        return device

    @property
    @override
    def _tied(self) -> None:
        return None

    @property
    def config(self) -> NoReturn:  # type: ignore[override]
        """There is none, nor anything to train.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            "an ensemble has no sizes and weights of its own; look at its models, or train them, one by one"
        )

    embedding = config

    @override
    def init_state(self, batch_size: int) -> LSTMState:
        return joined([model.init_state(batch_size) for model in self.models])

    @override
    def hidden_states(
        self, inputs: Tensor, state: LSTMState | None = None, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, LSTMState]:
        states = [None] * len(self.models) if state is None else self.parted(state)
        read = [
            model.hidden_states(inputs, of_model, generator=generator)
            for model, of_model in zip(self.models, states, strict=True)
        ]
        return torch.cat([hidden for hidden, _ in read], dim=-1), joined([after for _, after in read])

    @override
    def save_pretrained(self, path: str | PathLike[str]) -> NoReturn:
        raise ConfigError("an ensemble is not saved; save its models, each in its own folder")

    def parted(self, state: LSTMState) -> list[LSTMState]:
        """The state of each model."""
        sizes = [(model.config.num_layers, model.config.hidden_size) for model in self.models]
        h, c = (
            [
                part.view(-1, *size).transpose(0, 1).contiguous()  # (layers, batch, hidden)
                for part, size in zip(
                    torch.split(tensor[0], [math.prod(size) for size in sizes], dim=-1), sizes, strict=True
                )
            ]
            for tensor in state
        )
        return list(zip(h, c, strict=True))


class _MeanOfProbabilities(OutputLayer):
    """The models' output layers, over their states side by side."""

    def __init__(self, models: Sequence[LSTMLanguageModel]) -> None:
        super().__init__()
        self._models = nn.ModuleList(models)
        self._widths = [model.config.hidden_size for model in models]
        self.hidden_size = sum(self._widths)

    @override
    def scores(self, hidden: Tensor, tied: Tensor | None = None, linear: Linear = functional.linear) -> Tensor:
        return self._mean(
            [model.scores(part, linear=linear).log_softmax(dim=-1) for model, part in self._parts(hidden)]
        )

    @override
    def target_log_probs(
        self, hidden: Tensor, targets: Tensor, tied: Tensor | None = None, linear: Linear = functional.linear
    ) -> Tensor:
        return self._mean([model.log_probs_after(part, targets, linear=linear) for model, part in self._parts(hidden)])

    def _parts(self, hidden: Tensor) -> Iterator[tuple[LSTMLanguageModel, Tensor]]:
        models = cast("Iterable[LSTMLanguageModel]", self._models)
        return zip(models, torch.split(hidden, self._widths, dim=-1), strict=True)

    @staticmethod
    def _mean(log_probs: Sequence[Tensor]) -> Tensor:
        highest = torch.stack(list(log_probs)).amax(dim=0)
        highest = highest.masked_fill(highest == -math.inf, 0.0)
        # one after another, since PyTorch's sum over a first dimension has an order that depends on the others
        total = functools.reduce(torch.add, [(each - highest).exp() for each in log_probs])
        return total.log() + highest - math.log(len(log_probs))


def joined(states: Sequence[LSTMState]) -> LSTMState:
    """States side by side, so that rows are chosen as in that of a single model. **Shape:** (1, batch, width)."""
    h, c = (torch.cat([state[part].transpose(0, 1).flatten(1) for state in states], dim=-1)[None] for part in (0, 1))
    return h, c
