"""The layers of the LSTM language model below its output: word embedding, LSTM with its state, and dropout."""

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from zh_lstm_lm._config import shown
from zh_lstm_lm.corpus.batches import IGNORED
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.errors import DataError, VocabularyError
from zh_lstm_lm.runtime.devices import autocast_dtype

__all__ = [
    "BatchRowGenerator", "LSTMContext", "LSTMLayer", "LSTMState", "WordEmbedding", "blend_vectors", "check_inputs",
    "check_targets", "locked_dropout", "neighbour_vectors",
]  # fmt: skip

# Characters of a word that contribute to its vector; nearly all Chinese words have no more.
_LONGEST = 4
# A longer text is sampled: its rare pairs say little, and all pairs would not fit into memory.
_MOST_BLOCKS, _BLOCK = 8, 1 << 20
# The share of the new vectors in a blend; the rest is random and keeps words with the same neighbours apart.
_SHARE = 0.97
# Neighbours on each side, and further columns and passes of the randomised decomposition.
_NEIGHBOURS, _SPARE, _PASSES = 4_000, 10, 1


def check_inputs(ids: object, state: object, num_layers: int, hidden_size: int) -> None:
    """Raises DataError for ids that are no tensor of two dimensions, or a state that is not theirs."""
    if not _are_ids(ids) or ids.dim() != 2:
        raise DataError(f"inputs (ids) must be integers of the shape (batch, time), got {_described(ids)}")
    if state is None:
        return
    wanted = (num_layers, len(ids), hidden_size)
    pair = state if isinstance(state, (tuple, list)) else ()
    if len(pair) != 2 or not all(isinstance(each, Tensor) and each.shape == wanted for each in pair):
        given = ", ".join(map(_described, pair)) or shown(state)
        raise DataError(f"state must be (h, c), two tensors of the shape {wanted}, or None, got {given}")


def check_targets(targets: object, shape: torch.Size, vocab_size: int) -> None:
    """Raises DataError for targets that are no ids of the shape of the inputs; those on a device are not looked at."""
    if not _are_ids(targets) or targets.shape != shape:
        raise DataError(
            f"targets must be integers of the shape of the inputs, {tuple(shape)}, got {_described(targets)}"
        )
    if targets.device.type == "cpu" and targets.numel():
        least, most = (int(each) for each in torch.aminmax(targets.masked_fill(targets == IGNORED, 0)))
        if least < 0 or most >= vocab_size:
            raise VocabularyError(
                f"targets must be ids from 0 to {vocab_size - 1}, or {IGNORED}, got ids from {least} to {most}"
            )


def _are_ids(value: object) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.dtype in (torch.int64, torch.int32)


def _described(value: object) -> str:
    return f"{value.dtype} of the shape {tuple(value.shape)}" if isinstance(value, Tensor) else shown(value)


class WordEmbedding(nn.Embedding):
    """An embedding that adds to a token's vector the mean of those of its first four characters.

    Half of the words of a novel occur once or twice, which is too little to learn a vector from; their characters are
    common. (Characters in word vectors: Chen et al., 2015.) Without `characters` it is a plain `torch.nn.Embedding`.
    """

    def __init__(self, vocabulary: Vocabulary, embedding_dim: int, *, characters: bool = True) -> None:
        # PyTorch would draw the weights itself, for which it loads its compiler on the meta device.
        super().__init__(len(vocabulary), embedding_dim, _weight=torch.empty(len(vocabulary), embedding_dim))
        self.characters: nn.Parameter | None = None
        if characters:
            self._spelled, num_characters = _spell(vocabulary)
            self._tables: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}
            # The first row is for no character.
            self.characters = nn.Parameter(torch.empty(1 + num_characters, embedding_dim))

    def forward(self, ids: Tensor) -> Tensor:
        """Looks up the vectors of ids. **Shape:** (…) to (…, embedding_dim)."""
        try:
            own = self._own_vectors(ids)
        except IndexError as error:
            least, most = (int(each) for each in ids.aminmax())
            raise VocabularyError(
                f"inputs and ids must be from 0 to {self.num_embeddings - 1}, got ids from {least} to {most}"
            ) from error
        if self.characters is None:
            return own
        spelled, shares = (table[ids.flatten()] for table in self._spelling_tables(ids.device))  # (ids, longest)
        shared = functional.embedding_bag(
            spelled, self.characters, mode="sum", per_sample_weights=shares, sparse=self.sparse
        )
        return own + shared.view_as(own)

    def _own_vectors(self, ids: Tensor) -> Tensor:
        return super().forward(ids)

    def initialise_vectors(self, vectors: Tensor, rotations: Sequence[Tensor], generator: torch.Generator) -> None:
        """Initialises the vectors of tokens.

        Args:
            vectors: What they start from. **Shape:** (vocab_size, at most embedding_dim).
            rotations: Those by which `blend_vectors` took them into the output layer, on the same scale, one for each of
                its clusters. **Shape:** (width of `vectors`, width of the cluster) each.
            generator: Source of the random part.
        """
        blend_vectors([self.weight], vectors, generator)

    def tables(self) -> list[nn.Parameter]:
        """Returns the tables that `forward` looks up: that of tokens, if there is one, and that of characters."""
        return list(self.parameters())

    def for_decoding(self) -> nn.Embedding:
        """Returns an equal layer that is fast at one token at a time."""
        return self

    def touched_rows(self, ids: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields each table with the distinct rows that `forward` reads, in increasing order."""
        words = torch.unique(ids)
        for table in self.tables():
            of_characters = table is self.characters
            yield table, torch.unique(self._spelling_tables(ids.device)[0][words]) if of_characters else words

    def _spelling_tables(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Returns the characters of each token, padded with 0, and their weights. **Shape:** (vocab_size, longest), twice."""
        kind = device, self.weight.dtype
        if kind not in self._tables:
            counted = self._spelled.ne(0).to(self.weight.dtype)
            shares = counted / counted.sum(dim=1, keepdim=True).clamp(min=1)
            self._tables[kind] = self._spelled.to(device), shares.to(device)
        return self._tables[kind]


def _spell(vocabulary: Vocabulary) -> tuple[Tensor, int]:
    """Numbers the characters of each token from 1 on, padded with 0; returns them and the number of characters."""
    numbers: dict[str, int] = {}
    # One flat array, since the garbage collector would visit each of so many lists.
    rows = array("i")
    for token in vocabulary.texts():
        row = [numbers.setdefault(character, len(numbers) + 1) for character in token[:_LONGEST]]
        rows.extend(row + [0] * (_LONGEST - len(row)))
    return torch.tensor(rows, dtype=torch.int64, device="cpu").view(-1, _LONGEST), len(numbers)


def neighbour_vectors(ids: Tensor, vocab_size: int, width: int, generator: torch.Generator) -> Tensor:
    """Computes vectors in which tokens with the same neighbours are alike.

    They are the left singular vectors of the positive pointwise mutual information of each token with the frequent tokens
    after it and before it, times the roots of the singular values (Levy et al., 2015), by a randomised decomposition
    (Halko et al., 2011). The rows have a length of about 1, less for tokens with few such pairs. All is float32 on the CPU.
    **Shape:** (number of ids,) to (vocab_size, at most width).
    """
    tokens, neighbours, information = _pointwise_information(ids, vocab_size)
    num_columns = 2 * min(vocab_size, _NEIGHBOURS)
    rank = min(width + _SPARE, vocab_size, num_columns)
    with torch.sparse.check_sparse_tensor_invariants(enable=False):  # type: ignore[no-untyped-call]
        matrix, transposed = (
            torch.sparse_coo_tensor(torch.stack(index), information, size).coalesce()
            for index, size in (
                ((tokens, neighbours), (vocab_size, num_columns)),
                ((neighbours, tokens), (num_columns, vocab_size)),
            )
        )
    basis = torch.randn(num_columns, rank, generator=generator, device="cpu", dtype=torch.float32)
    # All orthogonalisation is on the side of the neighbours, which are few.
    for _ in range(_PASSES):
        basis, _ = torch.linalg.qr(transposed @ (matrix @ basis))
    projected = matrix @ basis  # (vocab_size, rank)
    squares, turn = torch.linalg.eigh((projected.t() @ projected).double())  # in rising order
    kept = squares[-width:].clamp(min=1e-9)
    vectors: Tensor = projected @ (turn[:, -width:] * kept**-0.25).float()
    vectors -= vectors.mean(dim=0)
    lengths = vectors.norm(dim=1, keepdim=True)
    return vectors.div_((lengths + 0.1 * lengths.mean()).clamp_(min=1e-9))


def _pointwise_information(ids: Tensor, vocab_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns pairs of a token and a neighbour that occur more often than by chance, and their information.

    The neighbours are the most frequent tokens; those before a token are numbered after those that follow it.
    """
    blocks = torch.split(ids, _BLOCK)
    sample = torch.cat(blocks[:: math.ceil(len(blocks) / _MOST_BLOCKS)]).long()
    pairs, counts = torch.unique(sample[:-1] * vocab_size + sample[1:], return_counts=True)
    first, second = pairs // vocab_size, pairs % vocab_size
    occurrences = torch.bincount(sample, minlength=vocab_size).double()
    information = (counts * len(sample) / (occurrences[first] * occurrences[second])).log().float()
    limit = min(vocab_size, _NEIGHBOURS)
    place = occurrences.argsort(descending=True, stable=True).argsort()  # by frequency
    after, before = (information > 0) & (place[second] < limit), (information > 0) & (place[first] < limit)
    return (
        torch.cat([first[after], second[before]]),
        torch.cat([place[second[after]], place[first[before]] + limit]),
        torch.cat([information[after], information[before]]),
    )


@torch.no_grad()
def blend_vectors(weights: Iterable[Tensor], vectors: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Blends vectors, rotated at random, into weights that were drawn at random and have about the same norm.

    The weights are changed in place and take the rows of the vectors in turn; a narrow weight takes the principal
    components of its rows. Returns the rotations. **Shape:** `weights` (some rows, any width) each, `vectors`
    (rows, width), rotations (width, that of the weight) each.
    """
    start, width, turns = 0, vectors.shape[1], []
    for weight in weights:
        part, kept = vectors[start : start + len(weight)], min(width, weight.shape[1])
        start += len(weight)
        turn = torch.empty(kept, weight.shape[1], device="cpu", dtype=torch.float32)
        nn.init.orthogonal_(turn, generator=generator)
        if kept < width:
            _, components = torch.linalg.eigh((part.t() @ part).double())  # in rising order of their variance
            turn = components[:, -kept:].float() @ turn
        turned = part @ turn
        gain = (part.square().sum() / turned.square().sum().clamp(min=1e-9)).sqrt()
        weight.mul_(math.sqrt(1 - _SHARE**2)).add_((gain * turned).to(weight), alpha=_SHARE)
        turns.append(turn)
    return turns


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
    def reset_parameters(self) -> None:
        """Draws nothing: the model draws all weights itself, and PyTorch loads its compiler to do so on the meta device."""

    @override
    def forward(self, inputs: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:  # type: ignore[override]
        """Reads inputs, **Shape:** (batch, time, input_size), from a state; see `torch.nn.LSTM`."""
        narrow = autocast_dtype(inputs.device)
        if narrow is not None and inputs.device.type == "cpu" and torch.is_grad_enabled():
            # oneDNN sums the products in float32, also those of all steps in the gradient of a weight.
            h, c, *weights = (each.to(narrow) for each in (*state, *self.all_weights[0]))
            hidden, h, c = torch.lstm(inputs.to(narrow), (h, c), weights, True, 1, 0.0, True, False, True)
            return hidden.to(state[0].dtype), LSTMState(h.to(state[0].dtype), c.to(state[0].dtype))
        # Under autocast cuDNN's LSTM would run in float16, which is too narrow for its gradients.
        if narrow is not None:
            with torch.autocast(inputs.device.type, enabled=False):
                return self.forward(inputs.to(state[0].dtype), state)
        if inputs.shape[1] != 1 or torch.is_grad_enabled() or inputs.device.type != "cpu":
            hidden, after = super().forward(inputs, state)
            return hidden, LSTMState(*after)
        h, c = torch.lstm_cell(inputs[:, 0], (state[0][0], state[1][0]), *self.all_weights[0])
        return h[:, None], LSTMState(h[None], c[None])


class BatchRowGenerator(torch.Generator):
    """A generator for some rows of a batch that generates for all rows, so that masks do not depend on the division.

    Attributes:
        first: Index of the first of these rows in the batch.
        num_rows: Number of rows of the whole batch.
    """

    first = 0
    num_rows = 0


def locked_dropout(values: Tensor, probability: float, generator: torch.Generator | None) -> Tensor:
    """Drops the same features at every time step of a row and scales up the rest (Gal and Ghahramani, 2016).

    **Shape:** (batch, time, features). A generator of None is PyTorch's global one.
    """
    if probability == 0.0:
        return values
    keep = 1.0 - probability
    batch, _, features = values.shape
    first, num_rows = 0, batch
    if isinstance(generator, BatchRowGenerator):
        first, num_rows = generator.first, generator.num_rows
    mask = values.new_empty(num_rows, 1, features).bernoulli_(keep, generator=generator)[first : first + batch]
    return values * mask.div_(keep)  # (batch, time, features) * (batch, 1, features)
