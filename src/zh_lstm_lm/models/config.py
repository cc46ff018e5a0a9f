"""Sizes and structure of a model, given or chosen for a time budget."""

import itertools
import math
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor, nn
from typing_extensions import Self

from zh_lstm_lm._config import Config, check_choice, check_integer, check_number, check_type, shown
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.models.layers import LSTMLayer, LSTMState
from zh_lstm_lm.models.output_layers import (
    DEFAULT_DIV_VALUE,
    AdaptiveSoftmax,
    FullSoftmax,
    OutputLayer,
    default_cutoffs,
    tail_width,
)
from zh_lstm_lm.runtime.devices import autocast, choose_device, matrix_precision

__all__ = ["ModelConfig", "choose_sizes", "machine_rate", "seconds_per_token", "training_operations", "training_rate"]

# Layers, or clusters of the output layer: a saved config must not fill the memory with them.
_MOST_PARTS = 1000
_DTYPES = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16}


FULL_SOFTMAX_LIMIT = 4000
"""Largest vocabulary for which ``output="auto"`` is a full softmax."""

_SIZES = ((64, 128), (96, 192), (128, 256), (160, 320), (192, 384), (224, 448), (256, 512), (384, 768), (512, 1024))
_DEVICE_SIZES = (*_SIZES, (768, 1536), (1024, 2048))
# Training tokens for each weight of the LSTM; from the quality of models of several sizes after equal time.
_TOKENS_PER_WEIGHT = 4.4
# Passes over the text that count, since more of them teach little.
_PASSES = 8
# The dropout for fewer passes than these, measured on a third of the wuxia corpus.
_DROPOUTS = ((2.0, 0.0), (5.0, 0.1), (7.0, 0.2), (10.0, 0.3), (math.inf, 0.5))
# Passes from which embedding and adaptive softmax share the vectors of tokens, measured on the same text: two tables learn
# faster from a text that is read once, and overfit sooner where it is read again.
_TIED_FROM = 1.7
_CPU = torch.device("cpu")
# The share of a CUDA device's rate in large matrix products that a training step reaches.
_CUDA_EFFICIENCY = 0.4
# Sizes and segment with which the rate of a CPU is measured.
_MEASURED_SIZES, _MEASURED_SEGMENT = (192, 384), (32, 35)
# Seconds per token that embedding, clipping and optimizer take, or launches, whatever the size.
_OVERHEAD = {"cpu": 1.5e-5, "cuda": 2.5e-6}
# Measurements that are taken at least.
_MEASUREMENTS = 5


@dataclass(frozen=True)
class ModelConfig(Config):
    """Sizes and structure of a model.

    Attributes:
        embedding_dim: Width of the word embedding.
        hidden_size: Width of each LSTM layer.
        num_layers: Number of LSTM layers.
        dropout: Dropout probability after the embedding and after each layer.
        tie_weights: Whether embedding and output layer share the vectors of tokens. A full softmax has the weight of the
            embedding (Press and Wolf, 2017); with an adaptive one the embedding projects the vectors of each cluster
            (Baevski and Auli, 2019), which takes about 40 % of the weights and learns more from a text that is read more
            than once. None ties the weights of an adaptive softmax only.
        output: ``"full"`` or ``"adaptive"`` softmax; ``"auto"`` is the full one for small vocabularies.
        cutoffs: First ids of the adaptive softmax's tails, in rising order; None chooses them.
        character_vectors: Whether the vector of a word also has the mean of vectors of its characters, from which rare
            words are learnt sooner. A model with tied weights has none.
        div_value: Factor by which each tail of the adaptive softmax is narrower than the one before; 1 for equal widths.
        dtype: Type of the weights: ``"float32"``, ``"float64"``, ``"float16"`` or ``"bfloat16"``. It follows `half`,
            `double` and `to`.
        seed: Seed of the initial weights.
    """

    embedding_dim: int = 192
    hidden_size: int = 384
    num_layers: int = 1
    dropout: float = 0.2
    tie_weights: bool | None = None
    output: Literal["auto", "full", "adaptive"] = "auto"
    cutoffs: tuple[int, ...] | None = None
    character_vectors: bool = True
    div_value: float = DEFAULT_DIV_VALUE
    dtype: Literal["float32", "float64", "float16", "bfloat16"] = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("embedding_dim", "hidden_size"):
            check_integer(name, getattr(self, name), minimum=1, maximum=1 << 20)
        check_integer("num_layers", self.num_layers, minimum=1, maximum=_MOST_PARTS)
        check_number("dropout", self.dropout, maximum=0.99)
        check_choice("dtype", self.dtype, _DTYPES)
        check_choice("output", self.output, ("auto", "full", "adaptive"))
        check_number("div_value", self.div_value, minimum=1.0, maximum=1e6)
        check_integer("seed", self.seed, minimum=0, maximum=2**63 - 1)
        check_type("tie_weights", self.tie_weights, bool, type(None))
        check_type("character_vectors", self.character_vectors, bool)
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

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return _DTYPES[self.dtype]

    def resolve(self, vocab_size: int, *, given_ids: bool = False) -> "ModelConfig":
        """Resolves the options that depend on the vocabulary: the kind of output layer and its cutoffs.

        Args:
            vocab_size: Number of tokens.
            given_ids: The ids are not in order of frequency, which an adaptive softmax needs.

        Raises:
            ConfigError: A cutoff lies outside the vocabulary, or an adaptive softmax is chosen for given ids.
        """
        check_integer("vocab_size", vocab_size, minimum=1, maximum=1 << 31)
        check_type("given_ids", given_ids, bool)
        full = self.output == "full" or given_ids
        if given_ids and (self.output == "adaptive" or self.cutoffs is not None):
            raise ConfigError(
                "an adaptive softmax needs ids in order of frequency, and those of a token list are in its own order; "
                "choose output='full' and no cutoffs"
            )
        if self.output == "auto" and self.cutoffs is None:
            full = full or vocab_size <= FULL_SOFTMAX_LIMIT
        if full:
            tied = bool(self.tie_weights)
            characters = self.character_vectors and not tied
            return replace(self, output="full", cutoffs=None, tie_weights=tied, character_vectors=characters)
        cutoffs = self.cutoffs or default_cutoffs(vocab_size)
        if cutoffs[-1] >= vocab_size:
            raise ConfigError(f"cutoffs must be smaller than the vocabulary of {vocab_size} tokens, got {cutoffs!r}")
        return replace(self, output="adaptive", cutoffs=cutoffs, tie_weights=self.tie_weights is not False)

    @classmethod
    def for_budget(
        cls, stream: TokenStream, vocabulary: Vocabulary, *, minutes: float, device: str = "auto", **options: Any
    ) -> Self:
        """Chooses sizes, dropout and whether to tie the weights, for the time that there is on this machine.

        Args:
            stream: The training text.
            vocabulary: Its vocabulary.
            minutes: Training time in minutes.
            device: The device of the training, as in `TrainerConfig`.
            **options: Options that are not to be chosen, such as ``seed=1``.

        Raises:
            ConfigError: `minutes` is not a positive number, or there is no such device.
        """
        check_type("stream", stream, TokenStream)
        check_type("vocabulary", vocabulary, Vocabulary)
        check_type("device", device, str)
        check_number("minutes", minutes, exclusive=True)
        counts = torch.tensor(vocabulary.counts, device="cpu")
        full = vocabulary.special_tokens is not None or options.get("output") == "full"
        chosen = choose_sizes(counts, len(stream), 60 * minutes, choose_device(device), full=full)
        names = ("embedding_dim", "hidden_size", "dropout", "tie_weights")
        return cls(**{**dict(zip(names, chosen, strict=True)), **options})


def training_operations(embedding_dim: int, hidden_size: int, counts: Tensor, *, full: bool) -> float:
    """Counts the floating-point operations to train one token, forward and backward: 6 for each weight it touches.

    The model has one LSTM layer; without `full` its softmax is adaptive with the default cutoffs. `counts` are the
    frequencies of the tokens, in falling order. **Shape:** (vocab_size,).
    """
    touched = 4.0 * hidden_size * (embedding_dim + hidden_size)
    if full:
        return 6 * (touched + hidden_size * len(counts))
    cutoffs = (*default_cutoffs(len(counts)), len(counts))
    touched += hidden_size * (cutoffs[0] + len(cutoffs) - 1)
    for number, (start, stop) in enumerate(itertools.pairwise(cutoffs), start=1):
        share = float(counts[start:stop].sum() / counts.sum().clamp(min=1))
        width = tail_width(hidden_size, number)
        touched += share * width * (hidden_size + stop - start)
    return 6 * touched


def machine_rate(device: torch.device = _CPU, *, precision: str = "auto", seconds: float = 1.0) -> float:
    """Measures operations per second in large matrix products; the median, so slow moments do no harm."""
    size = 1024 if device.type == "cpu" else 8192
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    generator = torch.Generator(device).manual_seed(0)
    matrix = torch.randn(size, size, generator=generator, device=device, dtype=torch.float32).to(dtype)
    times: list[float] = []
    with matrix_precision(device, precision):
        # The first product of a device sets its library up, and reading a value waits for the device.
        (matrix @ matrix)[0, 0].item()
        while sum(times) < seconds or len(times) < _MEASUREMENTS:
            began = perf_counter()
            (matrix @ matrix)[0, 0].item()
            times.append(perf_counter() - began)
    return 2 * size**3 / sorted(times)[len(times) // 2]


def training_rate(counts: Tensor, *, full: bool, device: torch.device = _CPU, seconds: float = 1.0) -> float:
    """Measures the floating-point operations per second of LSTM and output layer; `training_operations` counts them.

    On the CPU the layers of a model of middle size are trained on random input, since PyTorch computes LSTM and output
    layer by several libraries, of which each has its own rate. It takes at least `seconds`, and the median counts.
    """
    if device.type == "cuda":
        return machine_rate(device) * _CUDA_EFFICIENCY
    (embedding_dim, hidden_size), (batch, time) = _MEASURED_SIZES, _MEASURED_SEGMENT
    with torch.inference_mode(False), torch.enable_grad(), torch.device("cpu"):
        generator, cutoffs = torch.Generator().manual_seed(0), default_cutoffs(len(counts))
        lstm = LSTMLayer(embedding_dim, hidden_size, batch_first=True, dtype=torch.float32)
        for weight in lstm.parameters():
            nn.init.uniform_(weight, -0.05, 0.05, generator=generator)
        output: OutputLayer = (
            FullSoftmax(hidden_size, len(counts)) if full else AdaptiveSoftmax(hidden_size, len(counts), cutoffs)
        )
        output.float().reset_parameters(generator, counts)
        inputs = torch.randn(batch, time, embedding_dim, generator=generator, dtype=torch.float32, requires_grad=True)
        targets = torch.multinomial(counts.double().clamp(min=0.5), batch * time, replacement=True, generator=generator)
        zero = inputs.new_zeros(1, batch, hidden_size)
        times: list[float] = []
        while sum(times) < seconds or len(times) < _MEASUREMENTS:
            began = perf_counter()
            with autocast(_CPU, "auto", hidden_size=hidden_size):
                hidden, _ = lstm(inputs, LSTMState(zero, zero))
                log_probs = output.target_log_probs(hidden.flatten(0, 1), targets)
            log_probs.sum().backward()  # type: ignore[no-untyped-call]
            times.append(perf_counter() - began)
    operations = batch * time * training_operations(embedding_dim, hidden_size, counts, full=full)
    return operations / sorted(times)[len(times) // 2]


def choose_sizes(
    counts: Tensor, num_tokens: int, seconds: float, device: torch.device = _CPU, *, full: bool = False
) -> tuple[int, int, float, bool]:
    """Chooses embedding width and hidden size of the largest model that sees enough tokens in the time.

    Dropout, and whether to tie the weights, follow from the passes over the text that it makes. `counts` are the frequencies
    of the ids in the training text, in falling order, **Shape:** (vocab_size,), and `full` stands for a full softmax
    whatever the size of the vocabulary.
    """
    sizes = _DEVICE_SIZES if device.type == "cuda" else _SIZES
    full = full or len(counts) <= FULL_SOFTMAX_LIMIT
    rate, overhead = training_rate(counts, full=full, device=device), _OVERHEAD.get(device.type, 0.0)
    chosen, epochs = sizes[0], 1.0
    for embedding_dim, hidden_size in sizes:
        operations = training_operations(embedding_dim, hidden_size, counts, full=full)
        tokens = seconds / (operations / rate + overhead)
        weights = 4 * hidden_size * (embedding_dim + hidden_size)
        if hidden_size > sizes[0][1] and min(tokens, _PASSES * num_tokens) < _TOKENS_PER_WEIGHT * weights:
            break
        chosen, epochs = (embedding_dim, hidden_size), tokens / max(num_tokens, 1)
    # The second pass over a text teaches without dropout as well; what follows is learned by heart without it.
    dropout = next(dropout for passes, dropout in _DROPOUTS if epochs < passes)
    return (*chosen, dropout, not full and epochs >= _TIED_FROM)


def seconds_per_token(
    embedding_dim: int, hidden_size: int, counts: Tensor, *, full: bool, device: torch.device = _CPU
) -> float:
    """Estimates the seconds that training takes per token; evaluation takes a third. See `training_operations`."""
    rate = training_rate(counts, full=full, device=device)
    return training_operations(embedding_dim, hidden_size, counts, full=full) / rate + _OVERHEAD.get(device.type, 0.0)
