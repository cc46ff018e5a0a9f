"""A callback that generates a passage at every evaluation, always with the same seed."""

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
    """Generates a passage at every evaluation and keeps it in the history, as ``record["sample"]``.

    Prompt and seed are the same each time, so that passages differ by training alone.

    Args:
        prompt: The prompt of each passage.
        max_characters: Length of each passage, prompt included.
        config: The options of sampling; None takes the defaults of `SamplerConfig`.

    Example:
        >>> trainer = Trainer(model, train, valid, callbacks=[EpochSamples("话说")])  # doctest: +SKIP
        >>> print(trainer.fit()[-1]["sample"])  # doctest: +SKIP
    """

    def __init__(self, prompt: str = "", *, max_characters: int = 120, config: SamplerConfig | None = None) -> None:
        check_type("prompt", prompt, str)
        check_integer("max_characters", max_characters, minimum=1)
        check_type("config", config, SamplerConfig, type(None))
        if len(prompt) >= max_characters:
            raise ConfigError(
                f"max_characters={max_characters} includes the prompt, whose {len(prompt)} characters leave no room; "
                "give a shorter prompt, or a larger max_characters"
            )
        self.prompt = prompt
        self.max_characters = max_characters
        self.config = config

    def on_epoch_end(self, state: TrainerState, model: LSTMLanguageModel, record: dict[str, Any]) -> None:
        """Adds the passage of the current weights to the record."""
        sampler = Sampler(model, self.config)
        record["sample"] = sampler.generate(self.prompt, max_characters=self.max_characters)
