"""The language model: embedding, LSTM, output layer, and the vocabulary that its ids belong to."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from zh_lstm_lm._config import check_integer, check_type
from zh_lstm_lm.corpus.batches import IGNORED
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import NonFiniteError
from zh_lstm_lm.models.base import HubModel, LanguageModel
from zh_lstm_lm.models.config import ModelConfig
from zh_lstm_lm.models.decoding import DecodingLSTM, PackedWeights
from zh_lstm_lm.models.layers import (
    LSTMContext,
    LSTMLayer,
    LSTMState,
    WordEmbedding,
    blend_vectors,
    check_inputs,
    check_targets,
    locked_dropout,
    neighbour_vectors,
)
from zh_lstm_lm.models.output_layers import AdaptiveSoftmax, FullSoftmax, OutputLayer, SharedEmbedding
from zh_lstm_lm.models.pretrained import named_folder, write_model_folder
from zh_lstm_lm.runtime.memory import check_fits, return_freed_memory
from zh_lstm_lm.runtime.threads import use_one_thread_after_fork
from zh_lstm_lm.tokenizers.base import Tokenizer

__all__ = ["LSTMLanguageModel", "unwrapped"]

# Up to here no product of two weights, summed over a layer, leaves the range of float32.
_LARGEST_WEIGHT = 1e15
# Initial norm of the embedding's rows, about: large enough to reach the gates of the LSTM, smaller if they give scores as well.
_NORM, _SHARED_NORM = 3.0, 1.0


class LSTMLanguageModel(HubModel, nn.Module):
    """A word-level LSTM language model.

    The state is always an argument and a return value, never kept. The vocabulary is saved with the model, but is not a
    part of ``state_dict``.

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

    name = "LSTM"

    def __init__(
        self, vocabulary: Vocabulary, config: ModelConfig | None = None, *, text: TokenStream | None = None
    ) -> None:
        """Builds the model and draws its weights from ``config.seed``; the global random state is not touched.

        Args:
            vocabulary: The vocabulary; the model holds a frozen copy.
            config: Sizes; None takes the defaults.
            text: The training text. The word vectors are initialised from co-occurrence counts of adjacent tokens in it,
                which takes a few seconds and helps most in short runs; None initialises them at random.

        Raises:
            ConfigError: An argument has the wrong type, or a size does not fit the vocabulary.
        """
        super().__init__()
        check_type("vocabulary", vocabulary, Vocabulary)
        check_type("config", config, ModelConfig, type(None))
        check_type("text", text, TokenStream, type(None))
        self.vocabulary: Vocabulary = vocabulary.frozen_copy()
        config = (config or ModelConfig()).resolve(len(vocabulary), given_ids=vocabulary.special_tokens is not None)
        self.config: ModelConfig = config
        self.training_summary: dict[str, Any] = {}
        self.generation_config: dict[str, Any] = {}
        self._packed: PackedWeights | None = None
        self._checked: tuple[tuple[int, int], ...] = ()
        use_one_thread_after_fork()
        # Before version 2.8, `torch.get_default_device` does not know of `torch.device` as a context.
        device = torch.empty(0).device
        with torch.device("meta"):  # nothing is drawn or allocated yet
            dim, hidden, size = config.embedding_dim, config.hidden_size, len(vocabulary)
            self.embedding: WordEmbedding
            self.output: OutputLayer
            if config.output == "full":
                self.embedding = WordEmbedding(vocabulary, dim, characters=config.character_vectors)
                self.output = FullSoftmax(hidden, size, tied=self.embedding if config.tie_weights else None)
            else:
                self.output = AdaptiveSoftmax(hidden, size, config.cutoffs or (), div_value=config.div_value)
                embed = partial(SharedEmbedding, output=self.output) if config.tie_weights else WordEmbedding
                self.embedding = embed(vocabulary, dim, characters=config.character_vectors)
            widths = itertools.pairwise([dim] + [hidden] * config.num_layers)
            self.layers: nn.ModuleList = nn.ModuleList(LSTMLayer(*each, batch_first=True) for each in widths)
        # The type of the weights is that of the config, not the default of the process.
        self.to(config.torch_dtype)
        if device.type != "meta":
            weights = sum(parameter.nbytes for parameter in self.parameters())
            what = f"{self.num_parameters:,} weights"
            check_fits(what, weights, device, smaller="hidden_size, embedding_dim or the vocabulary")
            # What `to_empty` does, which loads PyTorch's compiler for weights on the meta device.
            self._apply(lambda weight: torch.empty(weight.shape, dtype=weight.dtype, device=device))
            self.reset_parameters(text)

    def reset_parameters(self, text: TokenStream | None = None) -> None:
        """Initialises the weights again from ``config.seed``, and from the text if one is given."""
        check_type("text", text, TokenStream, type(None))
        generator = torch.Generator(self.embedding.weight.device).manual_seed(self.config.seed)
        norm = _SHARED_NORM if self.config.tie_weights and self.config.output == "full" else _NORM
        with torch.no_grad():
            for table in self.embedding.parameters():
                table.normal_(0.0, norm * self.config.embedding_dim**-0.5, generator=generator)
            bound = self.config.hidden_size**-0.5
            for layer in self.layers:
                for name, parameter in layer.named_parameters():
                    parameter.uniform_(-bound, bound, generator=generator)
                    if name.startswith("bias_ih"):  # remember at first (Jozefowicz et al., 2015)
                        parameter[self.config.hidden_size : 2 * self.config.hidden_size] += 1.0
        self.output.reset_parameters(generator, torch.tensor(self.vocabulary.counts))
        if text is None:
            return
        generator = torch.Generator("cpu").manual_seed(self.config.seed)
        ids = self.vocabulary.encode_stream(text)
        vectors = neighbour_vectors(ids, len(self.vocabulary), self.config.embedding_dim, generator)
        rotations = blend_vectors(self.output.token_vectors(), vectors, generator)
        self.embedding.initialise_vectors(norm * vectors, [norm * each for each in rotations], generator)
        return_freed_memory()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "LSTMLanguageModel":
        """Applies a conversion such as `half` or `to`; the config follows the type of the weights."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.config = replace(self.config, dtype=str(self.embedding.weight.dtype).removeprefix("torch."))  # type: ignore[arg-type]
        return self

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        device: torch.device = self.embedding.weight.device
        return device

    @property
    def num_parameters(self) -> int:
        """Number of weights; shared ones count once."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def scores_per_target(self) -> int:
        """The size of the output layer, or of the largest cluster of an adaptive softmax."""
        bounds = (0, *(self.config.cutoffs or ()), len(self.vocabulary))
        return max(stop - start for start, stop in itertools.pairwise(bounds))

    def initial_state(self, batch_size: int) -> LSTMState:
        """Returns the zero state. **Shape:** (num_layers, batch_size, hidden_size), twice."""
        zeros = self.embedding.weight.new_zeros(self.config.num_layers, batch_size, self.config.hidden_size)
        return LSTMState(zeros, zeros.clone())

    def forward(self, inputs: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, LSTMState]:
        """Predicts the token after each input.

        Args:
            inputs: Token ids. **Shape:** (batch, time), int64.
            state: The state (h, c) before them; None for the zero state.

        Returns:
            Logits, or log-probabilities with an adaptive softmax, and the state after the last input. The former have the
            **Shape:** (batch, time, vocab_size).
        """
        context, state = self.read(inputs, state)
        return self.output.scores(context.hidden).view(*inputs.shape, -1), state

    def read(
        self, ids: Tensor, state: tuple[Tensor, Tensor] | None = None, *, generator: torch.Generator | None = None
    ) -> tuple[LSTMContext, LSTMState]:
        """Reads tokens; see `LanguageModel.read`.

        Args:
            ids: Token ids. **Shape:** (batch, time), int64.
            state: The state (h, c) before them; None for the zero state.
            generator: Source of the dropout masks in training mode; None for PyTorch's global generator.

        Returns:
            The hidden states of the last layer, batch * time rows, and the state after the last token.
        """
        check_inputs(ids, state, self.config.num_layers, self.config.hidden_size)
        dropout = self.config.dropout if self.training and not torch.is_inference_mode_enabled() else 0.0
        h, c = self.initial_state(ids.shape[0]) if state is None else state
        hidden = locked_dropout(self.embedding(ids), dropout, generator)  # (batch, time, embedding_dim)
        states = []
        for number, layer in enumerate(self.layers):
            hidden, after = layer(hidden, (h[number : number + 1], c[number : number + 1]))
            hidden = locked_dropout(hidden, dropout, generator)  # (batch, time, hidden_size)
            states.append(after)
        context = LSTMContext(hidden.flatten(0, 1))
        if len(states) == 1:
            return context, states[0]
        return context, LSTMState(torch.cat([after.h for after in states]), torch.cat([after.c for after in states]))

    def log_probs(self, context: LSTMContext) -> Tensor:
        """Returns log-probabilities of all tokens, in nats. **Shape:** (rows, vocab_size)."""
        return self.output.log_probs(context.hidden)

    def target_log_probs(self, context: LSTMContext, targets: Tensor) -> Tensor:
        """Returns the log-probability of one token for each row, in nats; 0 for a target of -100. **Shape:** (rows,).

        Args:
            context: The context. It has one row for each target.
            targets: Token ids. They may stay on the CPU. **Shape:** (rows,), int64.
        """
        return self.output.target_log_probs(context.hidden, targets)

    def loss(
        self,
        inputs: Tensor,
        targets: Tensor,
        state: tuple[Tensor, Tensor] | None = None,
        *,
        num_targets: int | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, LSTMState]:
        """Computes the cross-entropy for training, without scores of the whole vocabulary where it can.

        Args:
            inputs: Token ids. **Shape:** (batch, time), int64.
            targets: The ids that follow; -100 is not counted. They may stay on the CPU. **Shape:** (batch, time), int64.
            state: The state (h, c) before the inputs; None for the zero state.
            num_targets: Divisor of the sum over the counted targets where this is a part of a larger batch; None for
                their number.
            generator: Source of the dropout masks; None for PyTorch's global generator.

        Returns:
            The mean over the counted targets in nats, a scalar (0 if there is none), and the state after the last input.
        """
        check_integer("num_targets", num_targets, minimum=0, optional=True)
        context, state = self.read(inputs, state, generator=generator)
        check_targets(targets, inputs.shape, len(self.vocabulary))
        counted = (targets != IGNORED).sum().clamp(min=1) if num_targets is None else max(1, num_targets)
        return -self.target_log_probs(context, targets.flatten()).sum() / counted, state

    def for_decoding(self) -> LanguageModel:
        """Returns an equal model that is fast at one token at a time.

        Its weights are copied when they are first needed, and again after they have changed. A subclass that reads or
        predicts in its own way is returned as it is.

        Raises:
            NonFiniteError: A weight is damaged; see `check_weights`.
        """
        if self._packed is None or not self._packed.are_those_of(self):
            self._checked = ()
            self.check_weights()
            self._packed = PackedWeights(self)
        if type(self).read is not LSTMLanguageModel.read or type(self).log_probs is not LSTMLanguageModel.log_probs:
            return self
        return DecodingLSTM(self, self._packed)

    def check_weights(self) -> None:
        """Checks that products of the weights are finite; they are looked at again after they have changed.

        Raises:
            NonFiniteError: A weight is not finite, or greater than 1e15.
        """
        marks = tuple((each.data_ptr(), 0 if each.is_inference() else each._version) for each in self.parameters())
        if marks == self._checked:
            return
        for name, parameter in self.named_parameters():
            if not parameter.detach().abs().amax() <= _LARGEST_WEIGHT:
                raise NonFiniteError(
                    f"the model's weights are damaged: {name} holds values that are not finite or above "
                    f"{_LARGEST_WEIGHT:g}; train it again or load another copy"
                )
        self._checked = marks

    def __getstate__(self) -> dict[str, Any]:
        """Leaves packed weights out of copies and pickles; they are made again when they are needed."""
        return {**self.__dict__, "_packed": None, "_checked": ()}

    def save_pretrained(self, path: str | PathLike[str]) -> None:
        """Saves the model into a folder that holds everything: weights, sizes, vocabulary, a README.

        A folder that is there is replaced as a whole; files in it that are not a model's stay. A process that loads it
        meanwhile gets the old model or the new one.

        Args:
            path: The folder.

        Raises:
            CheckpointError: It cannot be written.
        """
        write_model_folder(named_folder(path), **self.folder_contents())

    def folder_contents(self) -> dict[str, Any]:
        """Returns all that is saved of the model, as arguments of `write_model_folder`."""
        return {
            "options": self.config.to_dict(),
            "training": self.training_summary,
            "vocabulary": self.vocabulary,
            "tensors": self.state_dict(),
            "generation_config": self.generation_config,
        }

    @classmethod
    def from_pretrained(
        cls,
        path: str | PathLike[str],
        *,
        tokenizer: str | Tokenizer | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Loads a model from its folder, in evaluation mode. Nothing that is loaded can run code.

        Of a mixture's folder, the LSTM is loaded; `zh_lstm_lm.from_pretrained` loads what was saved.

        Args:
            path: The folder that `save_pretrained` wrote, or a repository of the Hub; see `zh_lstm_lm.from_pretrained`.
            tokenizer: The tokenizer, where the model was trained with an object of the user's, or where another one is
                to take its place, as in ``"rjieba"``. One that cuts differently is warned of.
            revision: See `zh_lstm_lm.from_pretrained`.
            token: See `zh_lstm_lm.from_pretrained`.
            local_files_only: See `zh_lstm_lm.from_pretrained`.

        Raises:
            CheckpointError: The folder is missing, foreign, incomplete or damaged, or cannot be fetched.
            VocabularyError: The model needs its user's tokenizer.
        """
        from zh_lstm_lm.models.saved_mixture import load_lstm  # noqa: PLC0415 - which imports this module

        return load_lstm(cls, path, tokenizer, revision=revision, token=token, local_files_only=local_files_only)


def unwrapped(model: object) -> object:
    """Returns the model inside the wrappers of `torch.compile`, `torch.nn.DataParallel` and its distributed form."""
    for name in ("_orig_mod", "module"):
        if isinstance(model, nn.Module) and not isinstance(model, LSTMLanguageModel) and name in model._modules:
            return unwrapped(model._modules[name])
    return model
