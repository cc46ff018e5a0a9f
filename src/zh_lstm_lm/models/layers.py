"""The layers of the LSTM language model below its output: word embedding, LSTM with its state, and dropout."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.runtime.devices import autocast_dtype

__all__ = ["LSTMContext", "LSTMLayer", "LSTMState", "LaneGenerator", "WordEmbedding", "locked_dropout"]

# Characters of a word that have a part in its vector; nearly all words of Chinese have no more.
_LONGEST = 4


class WordEmbedding(nn.Embedding):
    """An embedding that adds to a token's vector the mean of those of its first four characters.

    Half of the words of a novel occur once or twice, which is too little to learn a vector from; their characters are
    common. (Characters in word vectors: Chen et al., 2015.)

    Args:
        vocabulary: The tokens.
        embedding_dim: Width of the vectors.
        characters: Whether characters have a part; if not, this is a plain `torch.nn.Embedding`.
    """

    def __init__(self, vocabulary: Vocabulary, embedding_dim: int, *, characters: bool = True) -> None:
        # Its own first weights are not wanted, and on the meta device drawing them loads PyTorch's compiler.
        super().__init__(len(vocabulary), embedding_dim, _weight=torch.empty(len(vocabulary), embedding_dim))
        self.characters: nn.Parameter | None = None
        if characters:
            self._spelled, num_characters = _spell(vocabulary)
            self._tables: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}
            self.characters = nn.Parameter(torch.empty(1 + num_characters, embedding_dim))  # the first is for none

    def forward(self, ids: Tensor) -> Tensor:
        """Looks vectors up. **Shape:** any, int64, to the same with one more dimension of `embedding_dim`."""
        own = super().forward(ids)
        if self.characters is None:
            return own
        spelled, shares = (table[ids.flatten()] for table in self._spelling_tables(ids.device))  # (ids, longest)
        shared = functional.embedding_bag(
            spelled, self.characters, mode="sum", per_sample_weights=shares, sparse=self.sparse
        )
        return own + shared.view_as(own)

    def touched_rows(self, ids: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The rows of each table that `forward` reads, rising, each once."""
        words = torch.unique(ids)
        yield self.weight, words
        if self.characters is not None:
            yield self.characters, torch.unique(self._spelling_tables(ids.device)[0][words])

    def _spelling_tables(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The characters of each token, filled up with 0, and their shares. **Shape:** (vocab_size, longest), twice."""
        kind = device, self.weight.dtype
        if kind not in self._tables:
            counted = self._spelled.ne(0).to(self.weight.dtype)
            shares = counted / counted.sum(dim=1, keepdim=True).clamp(min=1)  # in the mean
            self._tables[kind] = self._spelled.to(device), shares.to(device)
        return self._tables[kind]


def _spell(vocabulary: Vocabulary) -> tuple[Tensor, int]:
    """Numbers of the characters of each token, from 1 on and filled up with 0, and how many characters there are."""
    numbers: dict[str, int] = {}
    rows = array("i")  # one after another, as so many lists would each be looked at by the garbage collector
    for token in vocabulary.texts():
        row = [numbers.setdefault(character, len(numbers) + 1) for character in token[:_LONGEST]]
        rows.extend(row + [0] * (_LONGEST - len(row)))
    return torch.tensor(rows, dtype=torch.int64, device="cpu").view(-1, _LONGEST), len(numbers)


class _Pair(NamedTuple):
    h: Tensor
    c: Tensor


class LSTMState(_Pair):
    """The pair (h, c) of an LSTM. **Shape:** (num_layers, batch, hidden_size) each."""

    __slots__ = ()

    def rows(self, index: Tensor | Sequence[int] | slice) -> "LSTMState":
        """See `State.rows`."""
        return LSTMState(self.h[:, index].contiguous(), self.c[:, index].contiguous())

    @classmethod
    def cat(cls, states: "Sequence[LSTMState]") -> "LSTMState":
        """See `State.cat`."""
        return LSTMState(
            torch.cat([state.h for state in states], dim=1), torch.cat([state.c for state in states], dim=1)
        )

    def detach(self) -> "LSTMState":
        """See `State.detach`."""
        return LSTMState(self.h.detach(), self.c.detach())

    def to(self, device: torch.device) -> "LSTMState":
        """See `State.to`."""
        return LSTMState(self.h.to(device), self.c.to(device))

    def tensors(self) -> list[Tensor]:
        """See `State.tensors`."""
        return [self.h, self.c]

    def restored(self, tensors: Sequence[Tensor]) -> "LSTMState":
        """See `State.restored`."""
        h, c = tensors
        if h.shape != self.h.shape or c.shape != self.c.shape:
            raise ValueError(f"a state of shape {tuple(h.shape)} where {tuple(self.h.shape)} was expected")
        return LSTMState(h.to(self.h), c.to(self.c))


@dataclass(frozen=True)
class LSTMContext:
    """The last layer's hidden states, one row for each position. **Shape:** (rows, hidden_size)."""

    hidden: Tensor

    def __len__(self) -> int:
        return len(self.hidden)

    def rows(self, index: Tensor | Sequence[int] | slice) -> "LSTMContext":
        """See `Context.rows`."""
        return LSTMContext(self.hidden[index])


class LSTMLayer(nn.LSTM):
    """`torch.nn.LSTM` of one layer; a single step on the CPU goes through `torch.lstm_cell`.

    oneDNN packs the weights at each call, which costs nothing noticeable for a BPTT segment, but ten times as much as
    the computation of a single step.
    """

    @override
    def forward(self, inputs: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:  # type: ignore[override]
        """Reads inputs, **Shape:** (batch, time, input_size), from a state; see `torch.nn.LSTM`."""
        # Under autocast cuDNN's LSTM would run in float16, which is too narrow for its gradients.
        if autocast_dtype(inputs.device) is not None:
            with torch.autocast(inputs.device.type, enabled=False):
                return self.forward(inputs.to(state[0].dtype), state)
        if inputs.shape[1] != 1 or torch.is_grad_enabled() or inputs.device.type != "cpu":
            hidden, after = super().forward(inputs, state)
            return hidden, LSTMState(*after)
        h, c = torch.lstm_cell(inputs[:, 0], (state[0][0], state[1][0]), *self.all_weights[0])
        return h[:, None], LSTMState(h[None], c[None])


class LaneGenerator(torch.Generator):
    """A generator for a part of the lanes, which draws for all of them, so that masks do not depend on the division.

    Attributes:
        first: The first lane of the part.
        num_lanes: All lanes.
    """

    first = 0
    num_lanes = 0


def locked_dropout(values: Tensor, probability: float, generator: torch.Generator | None) -> Tensor:
    """Drops the same features at every time step of a row and scales up the rest (Gal and Ghahramani, 2016).

    Args:
        values: **Shape:** (batch, time, features).
        probability: Share of features that is dropped; 0 changes nothing.
        generator: Where the mask is drawn from; None draws from PyTorch's global one.

    Returns:
        **Shape:** (batch, time, features).
    """
    if probability == 0.0:
        return values
    keep = 1.0 - probability
    batch, _, features = values.shape
    first, num_lanes = 0, batch
    if isinstance(generator, LaneGenerator):
        first, num_lanes = generator.first, generator.num_lanes
    mask = values.new_empty(num_lanes, 1, features).bernoulli_(keep, generator=generator)[first : first + batch]
    return values * mask.div_(keep)  # (batch, time, features) * (batch, 1, features)
