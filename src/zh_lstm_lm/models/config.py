"""Sizes and make-up of a model, given or chosen for the time there is."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from typing_extensions import Self

from zh_lstm_lm._config import Config, check_choice, check_integer, check_number, check_type, shown
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.models import sizing
from zh_lstm_lm.models.output_layers import DEFAULT_DIV_VALUE, default_cutoffs
from zh_lstm_lm.runtime.devices import choose_device

__all__ = ["ModelConfig"]

_MOST_PARTS = 1000  # layers, or clusters of the output layer: a saved config must not fill the memory with them


@dataclass(frozen=True)
class ModelConfig(Config):
    """Sizes and make-up of a model.

    Attributes:
        embedding_dim: Width of the word embedding.
        hidden_size: Width of each LSTM layer.
        num_layers: Number of LSTM layers.
        dropout: Share of features dropped after the embedding and after each layer; 0 drops none.
        tie_weights: Whether a full softmax shares the embedding's weight.
        output: ``"full"`` or ``"adaptive"`` softmax; ``"auto"`` takes the full one for small vocabularies.
        cutoffs: First ids of the adaptive softmax's tails, rising; None chooses them.
        character_vectors: Whether the vector of a word also holds the mean of vectors of its characters, which teaches
            rare words sooner. A model whose weights are tied has none.
        div_value: By how much each tail of the adaptive softmax is narrower than the one before; 1 for not at all.
        seed: What the first weights are drawn from.
    """

    embedding_dim: int = 192
    hidden_size: int = 384
    num_layers: int = 1
    dropout: float = 0.1
    tie_weights: bool = False
    output: str = "auto"
    cutoffs: tuple[int, ...] | None = None
    character_vectors: bool = True
    div_value: float = DEFAULT_DIV_VALUE
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("embedding_dim", "hidden_size"):
            check_integer(name, getattr(self, name), minimum=1, maximum=1 << 20)
        check_integer("num_layers", self.num_layers, minimum=1, maximum=_MOST_PARTS)
        check_number("dropout", self.dropout, maximum=0.99)
        check_choice("output", self.output, ("auto", "full", "adaptive"))
        check_number("div_value", self.div_value, minimum=1.0, maximum=1e6)
        check_integer("seed", self.seed, minimum=0, maximum=2**63 - 1)
        check_type("tie_weights", self.tie_weights, bool)
        check_type("character_vectors", self.character_vectors, bool)
        if self.tie_weights and self.output == "adaptive":
            raise ConfigError("tie_weights needs output='full' (or 'auto'), got output='adaptive'")
        if self.cutoffs is not None:
            if not isinstance(self.cutoffs, (list, tuple)) or not self.cutoffs:
                raise ConfigError(f"cutoffs must be a tuple of rising integers or None, got {shown(self.cutoffs)}")
            if len(self.cutoffs) > _MOST_PARTS:
                raise ConfigError(f"cutoffs must be at most {_MOST_PARTS}, got {len(self.cutoffs):,}")
            for cutoff in self.cutoffs:
                check_integer("a cutoff", cutoff, minimum=1)
            if list(self.cutoffs) != sorted(set(self.cutoffs)):
                raise ConfigError(f"cutoffs must rise, got {shown(self.cutoffs)}")
            object.__setattr__(self, "cutoffs", tuple(self.cutoffs))

    def resolve(self, vocab_size: int) -> "ModelConfig":
        """Settles what depends on the vocabulary: the kind of output layer and its cutoffs.

        Raises:
            ConfigError: A cutoff lies outside the vocabulary.
        """
        full = self.output == "full" or self.tie_weights
        if self.output == "auto" and self.cutoffs is None:
            full = full or vocab_size <= sizing.FULL_SOFTMAX_LIMIT
        if full:
            return replace(
                self, output="full", cutoffs=None, character_vectors=self.character_vectors and not self.tie_weights
            )
        cutoffs = self.cutoffs or default_cutoffs(vocab_size)
        if cutoffs[-1] >= vocab_size:
            raise ConfigError(f"cutoffs must be smaller than the vocabulary of {vocab_size} tokens, got {cutoffs!r}")
        return replace(self, output="adaptive", cutoffs=cutoffs)

    @classmethod
    def for_budget(
        cls, stream: TokenStream, vocabulary: Vocabulary, *, minutes: float, device: str = "auto", **options: Any
    ) -> Self:
        """Chooses sizes and dropout for what this machine can train in the time there is.

        Args:
            stream: The training part.
            vocabulary: Its vocabulary.
            minutes: Training time in minutes.
            device: Where it will be trained, as in `TrainerConfig`.
            **options: Options that are settled already, such as ``seed=1``.

        Raises:
            ConfigError: `minutes` is not a positive number, or there is no such device.
        """
        check_number("minutes", minutes, exclusive=True)
        counts = torch.tensor(vocabulary.counts)
        embedding_dim, hidden_size, dropout = sizing.choose_sizes(
            counts, len(stream), 60 * minutes, choose_device(device)
        )
        return cls(**{"embedding_dim": embedding_dim, "hidden_size": hidden_size, "dropout": dropout, **options})
