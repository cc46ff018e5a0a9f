"""Models made for writing: like a given book without copying it, and with a cache that does not repeat what it wrote."""

import bisect
from collections.abc import Sequence
from os.path import commonprefix
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from zh_lstm_lm._config import check_number
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.models.base import LanguageModel, State, check_model, context_length, decoding_model
from zh_lstm_lm.models.continuous_cache import CacheContext, ContinuousCache
from zh_lstm_lm.models.mixture import Mixture
from zh_lstm_lm.models.ngram import NGramLanguageModel
from zh_lstm_lm.runtime.devices import on_cpu_by_default

__all__ = ["COPY_LIMIT", "LIKE_WEIGHT", "Copies", "PrimedModel", "add_cache", "model_like", "sampling_model"]

LIKE_WEIGHT = 0.5
"""Default weight of the n-gram model of the book."""
COPY_LIMIT = 20
"""Length, in characters, that no passage copied from the book reaches."""

_ORDER = 4
# A weight that is fitted to predict real text, 0.1 to 0.25, makes sampled text repeat itself: what was sampled becomes
# likelier each time. Measured by benchmarks/cast.py.
_CACHE_WEIGHT = 0.05
_WINDOW = 1024
# How far the frequencies of words, and how they come again, follow the book, and the weight of the model's own
# frequencies beside the book's.
_ADAPTATION, _PRIOR = 0.5, 0.05
# Characters by which places in a book are looked up, and their hash; products stay below 2**63.
_SPAN, _BASE, _MODULUS = 8, 1_000_003, (1 << 42) - 11


class Copies:
    """The passages of a book, as characters: which tokens would complete a copy of one, however it is cut into tokens.

    `tokens` are the texts of the ids, with the separator where they have one; empty for an id that has none.
    """

    def __init__(self, book: str, tokens: Sequence[str], separator: str) -> None:
        self._book, self._separator = book, separator
        self._ids = sorted((token_id for token_id, token in enumerate(tokens) if token), key=tokens.__getitem__)
        self._tokens = [tokens[token_id] for token_id in self._ids]
        codes = torch.frombuffer(bytearray(book.encode("utf-32-le")), dtype=torch.int32).long()
        places = max(0, len(codes) - _SPAN + 1)
        # The hashes of the characters before all places, in order.
        self._hashes, self._starts = _hash([codes[start:][:places] for start in range(_SPAN)]).sort()
        # Longer tokens can follow less than a span; the text before them in the book, up to the limit.
        self._before: dict[str, list[int]] = {}
        least = COPY_LIMIT - _SPAN + 1
        for token_id, token in enumerate(tokens):
            start = book.find(token[:least]) if len(token) >= least else -1
            while start >= 0:
                length = min(_shared(token, book[start : start + len(token)]), COPY_LIMIT)
                if start + length >= COPY_LIMIT:
                    self._before.setdefault(book[start + length - COPY_LIMIT : start], []).append(token_id)
                start = book.find(token[:least], start + 1)

    def completing(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns for the end of each text the ids that would complete a copied passage, or make it longer."""
        hashes = torch.tensor([_hash([ord(character) for character in text[-_SPAN:]]) for text in texts])
        first = torch.searchsorted(self._hashes, hashes).tolist()
        last = torch.searchsorted(self._hashes, hashes, right=True).tolist()
        return [self._after(text, self._starts[slice(*span)]) for text, *span in zip(texts, first, last, strict=True)]

    def _after(self, text: str, starts: Tensor) -> list[int]:
        found = [each for size in range(_SPAN) for each in self._before.get(text[len(text) - size :], ())]
        for word in {self._needed(text, start + _SPAN) for start in starts.tolist()} - {""}:
            # A paragraph starts without a separator.
            for prefix in {word, self._separator + word} if text[-1:] in ("", "\n") else {word}:
                begin = bisect.bisect_left(self._tokens, prefix)
                found += self._ids[begin : bisect.bisect_right(self._tokens, prefix + "\U0010ffff", lo=begin)]
        return found

    def _needed(self, text: str, place: int) -> str:
        """Returns what would complete a copied passage at a place in the book; empty if it ends before."""
        before = self._book[max(0, place - COPY_LIMIT) : place]
        length = _shared(before[::-1], text[: -COPY_LIMIT - 1 : -1])
        needed = max(1, COPY_LIMIT - length)
        word = self._book[place : place + needed]
        return word if len(word) == needed else ""


def _shared(first: str, second: str) -> int:
    """Returns the length of the common beginning of two texts."""
    return len(commonprefix((first, second)))  # noqa: RUF071 - character by character, as it is meant here


def _hash(characters: Sequence[Any]) -> Any:
    """Hashes a run of characters, or many of them at once as a tensor for each character."""
    value: Any = 0
    for character in characters:
        value = (value * _BASE + character) % _MODULUS
    return value


class _AdaptedModel:
    """A model with the frequencies of words moved towards those of a book, so that it names few other persons.

    Probabilities are multiplied by a power of the ratio of the frequencies, and normalised again: fast marginal
    adaptation (Kneser, Peters and Klakow, 1997). `bias` is the logarithm of the factors. **Shape:** (vocab_size,).
    """

    # The other members of a mixture are those of its parts, which are not adapted.
    _KEPT: tuple[str, ...] = (
        "vocabulary",
        "device",
        "initial_state",
        "context_length",
        "is_batch_invariant",
        "check_weights",
    )

    def __init__(self, model: LanguageModel, bias: Tensor) -> None:
        self.model = model
        self.bias = bias

    def __getattr__(self, name: str) -> Any:
        if name not in self._KEPT:
            raise AttributeError(f"a model like a book has no {name}; use the model that it was made from")
        return getattr(self.model, name)

    def read(self, ids: Tensor, state: Any = None) -> tuple[Any, Any]:
        """See `LanguageModel.read`."""
        return self.model.read(ids, state)

    def log_probs(self, context: Any) -> Tensor:
        """See `LanguageModel.log_probs`."""
        return (self.model.log_probs(context) + self.bias).log_softmax(dim=1)

    def target_log_probs(self, context: Any, targets: Tensor) -> Tensor:
        """See `LanguageModel.target_log_probs`."""
        return self.log_probs(context).gather(1, targets[:, None])[:, 0]

    def around(self, model: LanguageModel) -> Self:
        """Returns the same adaptation of another model."""
        return type(self)(model, self.bias)

    def for_decoding(self) -> Self:
        """See `LanguageModel`."""
        return self.around(decoding_model(self.model))


class _ModelWithCast(_AdaptedModel):
    """A model with a cache in which a word that is not in the cache becomes as rare as such words are in a book.

    Names come in clusters: a text in which each is as likely as in the whole book names a new person in every sentence.
    """

    _KEPT = (*_AdaptedModel._KEPT, "cache_size", "cache_weight")
    model: ContinuousCache

    def log_probs(self, context: CacheContext) -> Tensor:
        """See `LanguageModel.log_probs`."""
        bias = self.bias.repeat(len(context), 1)
        for row, (text, stop) in enumerate(zip(context.text.tolist(), context.stop.tolist(), strict=True)):
            tokens = context.texts[text].tokens[max(0, stop - self.model.cache_size) : stop]
            bias[row, tokens[tokens >= 0]] = 0.0
        return (self.model.log_probs(context) + bias).log_softmax(dim=1)


def _adapted(model: LanguageModel, ids: Tensor) -> LanguageModel:
    """Adapts a model to the ids of a book; one whose vocabulary has no frequencies stays as it is."""
    if not any(model.vocabulary.counts):
        return model
    counts = torch.tensor(model.vocabulary.counts, dtype=torch.float64).clamp(min=0.5)
    frequencies = counts / counts.sum()
    of_book = torch.bincount(ids, minlength=len(counts)) / len(ids)
    ratio = ((1 - _PRIOR) * of_book + _PRIOR * frequencies) / frequencies
    return _AdaptedModel(model, (_ADAPTATION * ratio.log()).float().to(model.device))


def _with_cast(cache: ContinuousCache, ids: Tensor) -> _ModelWithCast:
    """Adapts a model with a cache to the ids of a book.

    The factor of a word is a power of the ratio of its frequency where it is not among the latest words of the book to
    its frequency in the whole book; at most 1.
    """
    size, count = len(cache.vocabulary), len(ids)
    ordered, order = ids.sort(stable=True)
    # The number of places up to the next occurrence of the word, or to the end of the book.
    again = ordered[1:] == ordered[:-1]
    distance = count - 1 - order
    distance[:-1][again] = (order[1:] - order[:-1])[again]
    covered = torch.zeros(size, dtype=torch.int64).index_add_(0, ordered, distance.clamp(max=cache.cache_size))
    occurrences = torch.bincount(ids, minlength=size)
    repeated = torch.bincount(ordered[1:][again & (distance[:-1] <= cache.cache_size)], minlength=size)
    new, elsewhere = occurrences - repeated, (count - covered).clamp(min=1)
    ratio = (new / elsewhere * count / occurrences.clamp(min=1)).masked_fill(occurrences == 0, 1.0)
    return _ModelWithCast(cache, (_ADAPTATION * ratio.clamp(max=1.0).log()).float().to(cache.device))


class PrimedModel:
    """A model like a book: with a cache, its initial state is the state after the last words of the book.

    Every other member is that of the model inside. `start` is that state, of one row, and `book` the text of the book,
    of which a sampler copies no passage.
    """

    def __init__(self, model: LanguageModel, start: State, book: str) -> None:
        self.model = model
        self.start = start
        self.book = book

    def __getattr__(self, name: str) -> Any:
        # Copies and pickles look for members before there is a model.
        if name in ("model", "start", "book") or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.model, name)

    def initial_state(self, batch_size: int) -> State:
        """See `LanguageModel.initial_state`."""
        return self.start.rows([0] * batch_size)

    def read(self, ids: Tensor, state: State | None = None) -> tuple[Any, Any]:
        """See `LanguageModel.read`."""
        return self.model.read(ids, self.initial_state(len(ids)) if state is None else state)

    def around(self, model: LanguageModel) -> "PrimedModel":
        """Returns another model that has read the same book."""
        return PrimedModel(model, self.start, self.book)

    def for_decoding(self) -> "PrimedModel":
        """See `LanguageModel`."""
        return self.around(decoding_model(self.model))


@on_cpu_by_default
def model_like(
    model: LanguageModel, book: TokenStream | Sequence[str], *, weight: float = LIKE_WEIGHT, cache: bool = True
) -> LanguageModel:
    """Mixes a model with the n-gram model of a book, and fills its cache with the last words of the book.

    The model's words become as frequent as in the book, by half: those that the book lacks, such as the names of other
    books, become rare. Where there is a cache, words that it does not hold become, by half, as rare as in passages of
    the book that have not named them yet, so that a text keeps its persons. Nothing is trained, and the model that is
    given stays as it is. The cache of a `ContinuousCache` goes around the mixture; another model gets that of
    `add_cache`, or none with `cache=False`. A list of texts is segmented as the model's vocabulary was. A sampler of the
    model copies no passage of `COPY_LIMIT` characters from the book, unless it has no other token left.

    Raises:
        ConfigError: An argument has the wrong type or is out of range.
        DataError: The book is shorter than the order of the n-gram model.
    """
    check_model("model", model)
    check_number("like_weight", weight, maximum=1.0)
    vocabulary = model.vocabulary
    if isinstance(book, (list, tuple)):
        book = TokenStream.from_texts(book, tokenizer=vocabulary.tokenizer, normalize=vocabulary.normalize)
    if not isinstance(book, TokenStream):
        raise ConfigError(
            f"like must be a TokenStream or a list of texts, got {book!r:.60}; TokenStream.from_files(path) reads a file"
        )
    base = model.model if isinstance(model, ContinuousCache) else model
    ngram = NGramLanguageModel.from_stream(book, vocabulary, order=_ORDER).to(model.device)
    ids = vocabulary.encode_stream(book).long()
    mixture = Mixture([_adapted(base, ids), ngram], [1 - weight, weight])
    text = vocabulary.decode(ids)
    if not cache:
        return PrimedModel(mixture, mixture.initial_state(1), text)
    cached = sampling_model(model).around(mixture) if isinstance(model, ContinuousCache) else add_cache(mixture)
    last = ids[-context_length(cached) :].to(model.device)
    state = None
    with torch.inference_mode():
        for window in torch.split(last, _WINDOW):
            _, state = cached.read(window[None], state)
    assert state is not None
    return PrimedModel(_with_cast(cached, ids), state, text)


def add_cache(model: LanguageModel) -> ContinuousCache:
    """Puts a cache for writing around a model: of hidden states, or of counts where the model has no hidden states."""
    cache = ContinuousCache(model, cache_weight=_CACHE_WEIGHT)
    try:
        cache.initial_state(1)
    except ConfigError:
        cache = ContinuousCache(model, cache_weight=_CACHE_WEIGHT, theta=0.0)
    return cache


def sampling_model(model: Any, cache_weight: float | None = None) -> Any:
    """Sets the weight of the cache for sampling; see `SamplerConfig.cache_weight`. Other models are returned as they are."""
    if isinstance(model, (PrimedModel, _ModelWithCast)):
        return model.around(sampling_model(model.model, cache_weight))
    if not isinstance(model, ContinuousCache):
        return model
    if cache_weight is None:
        # The summary names the weights where they were not given, but fitted or chosen by the library.
        cache_weight = (
            min(model.cache_weight, _CACHE_WEIGHT) if "weights" in model.training_summary else model.cache_weight
        )
    return model if cache_weight == model.cache_weight else model.around(model.model, cache_weight)
