"""The language model: embedding, LSTM, output layer, and the vocabulary that its ids belong to."""

import itertools
import os
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zh_lstm_lm._config import check_type
from zh_lstm_lm.batches import IGNORED
from zh_lstm_lm.errors import CheckpointError, ConfigError, DataError
from zh_lstm_lm.memory import check_fits
from zh_lstm_lm.model_folder import (
    open_model_folder,
    read_description,
    read_generation_config,
    read_weights,
    write_model_folder,
)
from zh_lstm_lm.model_sizes import ModelConfig
from zh_lstm_lm.output_layers import AdaptiveSoftmax, FullSoftmax, OutputLayer
from zh_lstm_lm.recurrent import LSTMLayer, LSTMState
from zh_lstm_lm.regularization import locked_dropout
from zh_lstm_lm.target_log_probs import Linear
from zh_lstm_lm.tokenizers.base import Tokenizer
from zh_lstm_lm.tokenizers.probe import warn_of_mismatch
from zh_lstm_lm.vocabulary import Vocabulary
from zh_lstm_lm.word_embedding import WordEmbedding

__all__ = ["LSTMLanguageModel"]


class LSTMLanguageModel(nn.Module):
    """A word-level LSTM language model.

    The state is always an argument and a return value, never kept. The vocabulary belongs to the model and is saved
    with it, but is not a part of ``state_dict``.

    Attributes:
        vocabulary: The vocabulary, fixed.
        config: Sizes, with everything settled.
        training_summary: Plain values that say how the model was trained; they are saved with it.
        generation_config: The model's own defaults for sampling, as plain values (`SamplerConfig.to_dict`); they are
            saved with it, and empty where it has none.

    Example:
        >>> model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=16))  # doctest: +SKIP
        >>> logits, state = model(torch.tensor([vocabulary.encode("话说")]))  # doctest: +SKIP
    """

    def __init__(self, vocabulary: Vocabulary, config: ModelConfig | None = None) -> None:
        """Builds the model and draws its weights from ``config.seed``; the global random state is not touched.

        Args:
            vocabulary: The vocabulary; the model holds a frozen copy.
            config: Sizes; None takes the defaults.

        Raises:
            ConfigError: An argument has the wrong type, or a size does not fit the vocabulary.
        """
        super().__init__()
        check_type("vocabulary", vocabulary, Vocabulary)
        check_type("config", config, ModelConfig, type(None))
        self.vocabulary = vocabulary.frozen_copy()
        self.config = config = (config or ModelConfig()).resolve(len(vocabulary))
        self.training_summary: dict[str, Any] = {}
        self.generation_config: dict[str, Any] = {}
        device = torch.get_default_device()
        with torch.device("meta"):  # nothing is drawn or allocated yet
            self.embedding = WordEmbedding(vocabulary, config.embedding_dim, characters=config.character_vectors)
            widths = [config.embedding_dim] + [config.hidden_size] * config.num_layers
            self.layers = nn.ModuleList(
                LSTMLayer(before, after, batch_first=True) for before, after in itertools.pairwise(widths)
            )
            self.output: OutputLayer
            if config.output == "full":
                tied_dim = config.embedding_dim if config.tie_weights else None
                self.output = FullSoftmax(config.hidden_size, len(vocabulary), tied_dim=tied_dim)
            else:
                assert config.cutoffs is not None
                self.output = AdaptiveSoftmax(
                    config.hidden_size, len(vocabulary), config.cutoffs, div_value=config.div_value
                )
        if device.type != "meta":
            weights = sum(parameter.nbytes for parameter in self.parameters())
            check_fits(
                f"{self.num_parameters:,} weights",
                weights,
                device,
                smaller="hidden_size, embedding_dim or the vocabulary",
            )
            self.to_empty(device=device)
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights anew from ``config.seed``."""
        generator = torch.Generator(self.embedding.weight.device).manual_seed(self.config.seed)
        with torch.no_grad():
            for table in self.embedding.parameters():
                table.normal_(0.0, self.config.embedding_dim**-0.5, generator=generator)
            bound = self.config.hidden_size**-0.5
            for layer in self.layers:
                for name, parameter in layer.named_parameters():
                    parameter.uniform_(-bound, bound, generator=generator)
                    if name.startswith("bias_ih"):  # remember at first (Jozefowicz et al., 2015)
                        parameter[self.config.hidden_size : 2 * self.config.hidden_size] += 1.0
        self.output.reset_parameters(generator, torch.tensor(self.vocabulary.counts))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.weight.device

    @property
    def num_parameters(self) -> int:
        """Number of weights; shared ones count once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def init_state(self, batch_size: int) -> LSTMState:
        """The zero state. **Shape:** (num_layers, batch_size, hidden_size), twice."""
        weight = self.embedding.weight
        shape = (self.config.num_layers, batch_size, self.config.hidden_size)
        return weight.new_zeros(shape), weight.new_zeros(shape)

    def forward(self, inputs: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        """Predicts the token after each input.

        Args:
            inputs: Token ids. **Shape:** (batch, time), int64.
            state: What was read before; None for nothing.

        Returns:
            Logits (with adaptive softmax: log-probabilities), **Shape:** (batch, time, vocab_size), and the state
            after the last input.
        """
        hidden, state = self.hidden_states(inputs, state)
        return self.scores(hidden.flatten(0, 1)).view(*inputs.shape, -1), state

    def scores(self, hidden: Tensor, *, linear: Linear = functional.linear) -> Tensor:
        """Predicts the next token from states of the last layer.

        Args:
            hidden: What `hidden_states` returns, any number of rows. **Shape:** (rows, hidden_size).
            linear: What multiplies rows with weights; another than PyTorch's own knows no gradients.

        Returns:
            Logits (with adaptive softmax: log-probabilities). **Shape:** (rows, vocab_size).
        """
        return self.output.scores(hidden, self._tied, linear)

    def hidden_states(
        self, inputs: Tensor, state: LSTMState | None = None, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, LSTMState]:
        """Reads inputs; the output layer makes predictions of what this returns.

        Args:
            inputs: Token ids. **Shape:** (batch, time), int64.
            state: What was read before; None for nothing.
            generator: Where dropout masks are drawn from in training; None for PyTorch's global one.

        Returns:
            The last layer's states, **Shape:** (batch, time, hidden_size), and the state after the last input.
        """
        if inputs.dim() != 2:
            raise DataError(f"inputs must have the shape (batch, time), got {tuple(inputs.shape)}")
        dropout = self.config.dropout if self.training and not torch.is_inference_mode_enabled() else 0.0
        h, c = self.init_state(inputs.shape[0]) if state is None else state
        hidden = locked_dropout(self.embedding(inputs), dropout, generator)  # (batch, time, embedding_dim)
        states = []
        for number, layer in enumerate(self.layers):
            hidden, after = layer(hidden, (h[number : number + 1], c[number : number + 1]))
            hidden = locked_dropout(hidden, dropout, generator)  # (batch, time, hidden_size)
            states.append(after)
        if len(states) == 1:
            return hidden, states[0]
        return hidden, (torch.cat([after[0] for after in states]), torch.cat([after[1] for after in states]))

    def loss(
        self,
        inputs: Tensor,
        targets: Tensor,
        state: LSTMState | None = None,
        *,
        num_targets: int | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, LSTMState]:
        """The training path: cross-entropy, without scores of the whole vocabulary where it can do without.

        Args:
            inputs: Token ids. **Shape:** (batch, time), int64.
            targets: The ids that follow; -100 is not counted. On the CPU they may stay there, also where the model is
                elsewhere. **Shape:** (batch, time), int64.
            state: What was read before; None for nothing.
            num_targets: What the sum over the counted targets is divided by, where this is a part of a larger batch;
                None for their number.
            generator: Where dropout masks are drawn from; None for PyTorch's global one.

        Returns:
            The mean over the counted targets, in nats (0 if there is none), as a scalar;
            **Shape:** (), and the state after the last input.
        """
        log_probs, state = self.target_log_probs(inputs, targets, state, generator=generator)
        counted = (targets != IGNORED).sum().clamp(min=1) if num_targets is None else max(1, num_targets)
        return -log_probs.sum() / counted, state

    def target_log_probs(
        self,
        inputs: Tensor,
        targets: Tensor,
        state: LSTMState | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, LSTMState]:
        """Log-probability of each target, in nats; 0 where it is -100.

        Args and state as in `loss`.

        Returns:
            Log-probabilities, **Shape:** (batch, time), and the state after the last input.
        """
        hidden, state = self.hidden_states(inputs, state, generator=generator)
        return self.log_probs_after(hidden.flatten(0, 1), targets.flatten()).view_as(targets), state

    def log_probs_after(self, hidden: Tensor, targets: Tensor, *, linear: Linear = functional.linear) -> Tensor:
        """Log-probability of one token after each state of the last layer, in nats; 0 where it is -100.

        Args:
            hidden: What `hidden_states` returns, any number of rows. **Shape:** (rows, hidden_size).
            targets: Token ids. **Shape:** (rows,), int64.
            linear: As in `scores`.

        Returns:
            **Shape:** (rows,).
        """
        return self.output.target_log_probs(hidden, targets, self._tied, linear)

    @property
    def _tied(self) -> Tensor | None:
        return self.embedding.weight if self.config.tie_weights else None

    def save_pretrained(self, path: str | PathLike[str]) -> None:
        """Saves the model into a folder that holds everything: weights, sizes, vocabulary, a README.

        A folder that is there is replaced as a whole; files in it that are not a model's stay. A process that loads it
        meanwhile gets the old model or the new one.

        Args:
            path: The folder.

        Raises:
            CheckpointError: It cannot be written.
        """
        write_model_folder(
            Path(os.path.realpath(path)),
            options=self.config.to_dict(),
            training=self.training_summary,
            vocabulary=self.vocabulary,
            tensors=self.state_dict(),
            generation_config=self.generation_config,
        )

    @classmethod
    def from_pretrained(
        cls, path: str | PathLike[str], *, tokenizer: str | Tokenizer | None = None
    ) -> "LSTMLanguageModel":
        """Loads a model from its folder, in evaluation mode. Nothing that is loaded can run code.

        Args:
            path: The folder that `save_pretrained` wrote.
            tokenizer: The tokenizer, where the model was trained with an object of the user's, or where another one is
                to take its place, as in ``"rjieba"``. One that cuts differently is warned of.

        Raises:
            CheckpointError: The folder is missing, foreign, incomplete or damaged.
            VocabularyError: The model needs its user's tokenizer.
        """
        check_type("path", path, str, PathLike)
        folder = Path(path)
        with open_model_folder(folder) as files:
            options, training, vocabulary, saved_tokenizer = read_description(
                files, option_names=ModelConfig.option_names(), tokenizer=tokenizer
            )
            try:
                config = ModelConfig.from_dict({"character_vectors": False, **options})  # none at first
                with torch.device("meta"):
                    model = cls(vocabulary, config)
            except ConfigError as error:
                raise CheckpointError(f"{folder / 'config.json'}: {error}; the file is damaged or foreign") from error
            model.load_state_dict(read_weights(files, model.state_dict()), assign=True)
            model.training_summary = training
            model.generation_config = read_generation_config(files)
        warn_of_mismatch(saved_tokenizer, vocabulary.tokenizer)  # last: a text is cut for it
        return model.eval()
