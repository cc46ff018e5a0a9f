"""A passage of text after every epoch, always from the same seed: how the writing changes with training."""

from typing import Any

from zh_lstm_lm._config import check_integer, check_type
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.generation.config import SamplerConfig
from zh_lstm_lm.generation.sampler import Sampler
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.training.callbacks import Callback
from zh_lstm_lm.training.state import TrainerState

__all__ = ["EpochSamples"]


class EpochSamples(Callback):
    """Writes a passage after every evaluation and keeps it in the history, as ``record["sample"]``.

    Every passage comes from the same prompt and the same seed, so that it is training that makes them differ.

    Args:
        prompt: What each passage begins with.
        max_characters: Length of each passage, the prompt included.
        config: How tokens are drawn; None takes `SamplerConfig`'s defaults.

    Example:
        >>> trainer = Trainer(model, train, valid, callbacks=[EpochSamples("话说")])  # doctest: +SKIP
        >>> print(trainer.fit()[-1]["sample"])  # doctest: +SKIP
    """

    def __init__(self, prompt: str = "", *, max_characters: int = 120, config: SamplerConfig | None = None) -> None:
        check_type("prompt", prompt, str)
        check_integer("max_characters", max_characters, minimum=1)
        check_type("config", config, SamplerConfig, type(None))
        if len(prompt) >= max_characters:
            raise ConfigError(f"max_characters counts the prompt, whose {len(prompt)} leave none of {max_characters}")
        self.prompt = prompt
        self.max_characters = max_characters
        self.config = config

    def on_epoch_end(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        """Writes the passage of this epoch."""
        sampler = Sampler(model, self.config)
        record["sample"] = sampler.generate(self.prompt, max_characters=self.max_characters)
