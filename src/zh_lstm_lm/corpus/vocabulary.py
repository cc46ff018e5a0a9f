"""Tokens to ids and back without loss: unknown words fall back to characters, unknown characters to bytes."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, SupportsIndex, get_args

from torch import Tensor

from zh_lstm_lm._config import check_choice, check_integer, check_list, check_text, check_type, shown
from zh_lstm_lm.corpus.coverage import CoverageReport, measure_coverage
from zh_lstm_lm.corpus.segmentation import PARAGRAPH_END
from zh_lstm_lm.corpus.stream_encoder import SpellingTable
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.token_table import TokenTable, Unknown
from zh_lstm_lm.corpus.tokenizer_checks import with_normalized_dictionary
from zh_lstm_lm.corpus.vocabulary_selection import choose_tokens, read_token_list
from zh_lstm_lm.errors import VocabularyError
from zh_lstm_lm.runtime.devices import on_cpu_by_default
from zh_lstm_lm.text.normalization import check_normalization
from zh_lstm_lm.tokenizers.base import LosslessTokenizer, Tokenizer, add_separator
from zh_lstm_lm.tokenizers.probe import warn_of_mismatch
from zh_lstm_lm.tokenizers.registry import get_tokenizer
from zh_lstm_lm.tokenizers.saved_tokenizer import check_saved, describe_tokenizer, is_users_own, tokenizer_of

__all__ = ["Vocabulary"]


class Vocabulary(TokenTable):
    """The words of a model with their ids, and the tokenizer that finds them in text.

    Id 0 is ``<bos>``, which starts a document and is never predicted; id 1 is the paragraph end. With
    ``unknown="characters"`` the 256 bytes, the characters of the training text and its words follow, and every string
    can be encoded. With ``unknown="unk"`` id 2 is ``<unk>`` and the words follow: the classic closed vocabulary.

    Words, characters and bytes are ordered by falling frequency in the training text after fallback, ties by their
    token, so ids depend neither on reading order nor on the process.

    With the tokenizer ``"whitespace"``, the separator between two words is a part of the second word and `decode`
    restores it, a character counts once for each separator or the paragraph end after each word (an empty paragraph counts
    none), and with ``unknown="unk"`` the word ``<unk>`` of the text is the special token.

    Example:
        >>> stream = TokenStream.from_texts(["展昭道：好。"], tokenizer="characters")
        >>> vocabulary = Vocabulary.from_stream(stream)
        >>> vocabulary.decode(vocabulary.encode("展昭笑道：好！"))
        '展昭笑道：好！'
    """

    SAVED = ("unknown", "normalize", "tokenizer", "tokens", "counts")
    """The keys of `to_dict`; with given ids it also has ``special_tokens``."""

    def __init__(
        self,
        tokens: Iterable["str | int"] = (),
        *,
        tokenizer: str | Tokenizer = "jieba",
        unknown: Unknown = "characters",
        normalize: str = "none",
        counts: Iterable[int] | None = None,
        special_tokens: Sequence[tuple[str, int]] | None = None,
    ) -> None:
        """Makes a vocabulary of given tokens; `from_stream` chooses them by frequency.

        Args:
            tokens: The tokens after the special ones, in the order of the ids: strings, and integers for bytes. With
                ``unknown="characters"`` all 256 bytes must be among them; without any token they are added. With a
                tokenizer whose words imply a separator, words begin with it.
            tokenizer: The tokenizer, by name or as an object.
            unknown: ``"characters"`` or ``"unk"``.
            normalize: The normalisation of text before it is encoded; see `TokenStream.from_files`. `encode` itself
                changes nothing.
            counts: Number of occurrences of each id in the training text, special tokens included; None if unknown.
            special_tokens: Names and ids of ``<bos>``, the paragraph end and ``<unk>``; None for the first ids.

        Raises:
            VocabularyError: A token is empty or occurs twice, bytes or ids are missing, or there are too many tokens.
        """
        check_choice("unknown", unknown, get_args(Unknown))
        self.tokenizer: LosslessTokenizer = get_tokenizer(tokenizer)
        check_normalization(normalize)
        self.normalize = normalize
        self._frozen = False
        super().__init__(tokens, unknown=unknown, separator=self.tokenizer.separator, special_tokens=special_tokens)
        counts = [0] * len(self) if counts is None else counts
        self.counts: list[int] = check_list("counts", counts, "a list of integers", error=VocabularyError)
        kinds = set(map(type, self.counts))
        fits = len(self.counts) == len(self) and all(issubclass(kind, int) for kind in kinds)
        if not fits or not 0 <= min(self.counts) <= max(self.counts) < 1 << 63:
            raise VocabularyError(f"expected an integer count for each of {len(self)} tokens, got {shown(counts)}")

    @classmethod
    @on_cpu_by_default
    def from_stream(
        cls, stream: TokenStream, *, min_freq: int = 1, max_size: int | None = None, unknown: Unknown = "characters"
    ) -> "Vocabulary":
        """Chooses the vocabulary of a training text.

        Args:
            stream: The training part.
            min_freq: Smallest frequency of a word (1 keeps all). All characters are kept.
            max_size: Maximum number of entries, including special tokens, bytes and characters; None for no limit. The
                most frequent words are kept; characters take at most half of the entries that special tokens and bytes
                leave.
            unknown: The treatment of words outside the vocabulary: ``"characters"`` for character and byte fallback,
                ``"unk"`` for ``<unk>``.

        Raises:
            ConfigError: An option is out of range, or `max_size` leaves no room for a word.
        """
        check_type("stream", stream, TokenStream)
        check_choice("unknown", unknown, get_args(Unknown))
        check_integer("min_freq", min_freq, minimum=1)
        check_integer("max_size", max_size, minimum=1, optional=True)
        spells = unknown == "characters"
        chosen = choose_tokens(
            stream, min_freq=min_freq, max_size=max_size, num_special=2 if spells else 3, spells=spells
        )
        draft = cls(chosen, tokenizer=stream.tokenizer, unknown=unknown)
        spelled = draft.count_ids(stream)
        first = draft.num_special
        order = sorted(range(first, len(draft)), key=lambda token_id: (-spelled[token_id], draft.id_to_token(token_id)))
        return cls(
            map(draft.token_of, order),
            tokenizer=stream.tokenizer,
            unknown=unknown,
            normalize=stream.normalize,
            counts=[*spelled[:first], *map(spelled.__getitem__, order)],
        )

    @classmethod
    def from_token_list(
        cls, path: str | PathLike[str], *, tokenizer: str | Tokenizer = "characters", normalize: str = "none"
    ) -> "Vocabulary":
        """Makes a closed vocabulary with the ids of a recogniser, so that a model can rescore what it recognised.

        ``</s>``, ``<eos>`` or ``<sos/eos>`` is the paragraph end, ``<s>``, ``<sos>`` or ``<bos>`` starts a document, and
        ``<unk>`` stands for words that are not listed; what the list lacks of these gets an id after its last. Other
        entries, such as ``<blk>`` and ``#0``, keep their ids. A model of these ids has a full softmax.

        Args:
            path: The list, in UTF-8, a token and its id on each line: ``tokens.txt`` of icefall and sherpa-onnx,
                ``units.txt`` of WeNet, ``words.txt`` of Kaldi.
            tokenizer: The tokenizer that cuts text into listed tokens; ``"whitespace"`` or ``"jieba"`` for words.
            normalize: The normalisation of text before it is encoded; that of the training text.

        Raises:
            DataError: The file cannot be read.
            VocabularyError: A line is not a token and an id, a token or an id occurs twice, or an id is missing.
        """
        check_type("path", path, str, PathLike)
        tokens, special_tokens = read_token_list(Path(path))
        chosen = get_tokenizer(tokenizer)
        return cls(
            (add_separator(token, chosen.separator) for token in tokens),
            tokenizer=chosen,
            unknown="unk",
            normalize=normalize,
            special_tokens=special_tokens,
        )

    def __repr__(self) -> str:
        tokenizer = self.tokenizer.name or self.tokenizer.inner
        return f"Vocabulary({len(self):,} tokens, unknown={self.unknown!r}, tokenizer={tokenizer!r})"

    def add_token(self, token: str) -> int:
        """Adds a token if it is new.

        Returns:
            Its id; a token of the vocabulary keeps its id.

        Raises:
            VocabularyError: The vocabulary belongs to a model, or the token is empty or not a string.
            DataError: The token contains a lone surrogate.
        """
        if self._frozen and token not in self:
            raise VocabularyError(
                f"{token!r} cannot be added: a model's vocabulary is fixed; make a new vocabulary and a new model"
            )
        token_id = super().add_token(token)
        self.counts += [0] * (len(self) - len(self.counts))
        return token_id

    def encode(self, text: str) -> list[int]:
        """Converts text to ids; every newline is a paragraph end.

        Raises:
            DataError: The text is not a string, or contains a lone surrogate.
        """
        return [token_id for _, ids in self.encode_words(text) for token_id in ids]

    def encode_words(self, text: str) -> Iterator[tuple[str, list[int]]]:
        """Yields each word of a text with its ids: several for the pieces of a word outside the vocabulary.

        The words concatenate to the text: a separator that a word implies stands before it.

        Raises:
            DataError: The text is not a string, or contains a lone surrogate.
        """
        check_text("text", text)
        for number, paragraph in enumerate(text.split(PARAGRAPH_END)):
            if number:
                yield PARAGRAPH_END, [self.paragraph_end_id]
            for index, word in enumerate(self.tokenizer.tokenize(paragraph)):
                kept = self.with_separator(word)
                yield kept if index else kept.removeprefix(self.separator), self.spell(word)

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """Converts ids to text; ``<bos>`` has no text, and bytes that are not valid UTF-8 become U+FFFD.

        With ``unknown="characters"``, ``decode(encode(text)) == text`` for every string.

        Raises:
            VocabularyError: There is no such id.
        """
        if isinstance(ids, Tensor):
            ids = ids.tolist()
        if isinstance(ids, str) or not isinstance(ids, Iterable):
            raise VocabularyError(f"ids must be a list of integers, got {ids!r}")
        pieces: list[str] = []
        spelled = bytearray()
        for token_id in ids:
            token = self.token_of(token_id)
            if isinstance(token, int):
                spelled.append(token)
                continue
            if spelled:
                pieces.append(spelled.decode("utf-8", errors="replace"))
                spelled.clear()
            if token_id != self.bos_id:
                pieces.append(token)
        pieces.append(spelled.decode("utf-8", errors="replace"))
        return self.tokenizer.strip_separators("".join(pieces))

    @on_cpu_by_default
    def encode_stream(self, stream: TokenStream) -> Tensor:
        """Encodes a stream; every document begins with ``<bos>``.

        The ids of a large stream are in a temporary memory-mapped file, so they need not fit into memory.

        Returns:
            The ids. **Shape:** (number of ids,), int32.
        """
        return SpellingTable(stream, self.spell).encode(self.bos_id)

    @on_cpu_by_default
    def count_ids(self, stream: TokenStream) -> list[int]:
        """Counts the occurrences of each id in a stream (``<bos>`` once per document)."""
        counts = SpellingTable(stream, self.spell).count(len(self))
        counts[self.bos_id] = stream.num_documents
        result: list[int] = counts.tolist()
        return result

    @on_cpu_by_default
    def report(self, stream: TokenStream) -> CoverageReport:
        """Measures the coverage of a text by this vocabulary and by smaller ones; ``print`` shows a table.

        Args:
            stream: The text that the vocabulary was built from, or another one, such as the validation set.
        """
        check_type("stream", stream, TokenStream)
        return measure_coverage(stream, self.ids, spells=self.unknown == "characters")

    def frozen_copy(self) -> "Vocabulary":
        """Returns a copy for a model, which `add_token` cannot change; a frozen vocabulary returns itself."""
        if self._frozen:
            return self
        copy = Vocabulary(
            self.own_tokens,
            tokenizer=self.tokenizer,
            unknown=self.unknown,
            normalize=self.normalize,
            counts=self.counts,
            special_tokens=self.special_tokens,
        )
        copy._frozen = True
        return copy

    def fingerprint(self) -> str:
        """Returns a SHA-256 checksum of everything that affects the ids of a text."""
        given = [self.special_tokens] * (self.special_tokens is not None)
        what = [self.unknown, self.normalize, self.own_tokens, self.tokenizer.fingerprint, *given]
        return hashlib.sha256(json.dumps(what).encode("utf-8")).hexdigest()

    @cached_property
    def _saved_tokenizer(self) -> dict[str, Any]:
        return describe_tokenizer(self.tokenizer)

    def to_dict(self) -> dict[str, Any]:
        """Returns the vocabulary as plain JSON values."""
        return {
            "unknown": self.unknown,
            "normalize": self.normalize,
            "tokenizer": self._saved_tokenizer,
            "tokens": self.own_tokens,
            "counts": self.counts,
            **({} if self.special_tokens is None else {"special_tokens": list(map(list, self.special_tokens))}),
        }

    @staticmethod
    def needs_tokenizer(values: Mapping[str, Any]) -> bool:
        """Returns True if a saved vocabulary was made with a user's tokenizer object, which cannot be saved."""
        return is_users_own(values.get("tokenizer"))

    @classmethod
    def from_dict(cls, values: dict[str, Any], *, tokenizer: "str | Tokenizer | None" = None) -> "Vocabulary":
        """Builds a vocabulary from the output of `to_dict`.

        If the tokenizer is not the one that the vocabulary was made with (another version, backend or option), a
        `TokenizerMismatchWarning` names both and the proportion of a probe text that they segment differently.

        Args:
            values: The plain values.
            tokenizer: The tokenizer, if it was a user's object, or a replacement of the saved one. A name gets the saved
                options (``"rjieba"`` for ``"jieba"``, for example).

        Raises:
            VocabularyError: The values do not describe a vocabulary, or its tokenizer is a user's object and is missing.
            ConfigError: The tokenizer's name or options are unknown.
            MissingDependencyError: The tokenizer's library is not installed.
        """
        vocabulary = cls.restore(values, tokenizer=tokenizer)
        vocabulary.warn_of_mismatch(values["tokenizer"])
        return vocabulary

    def warn_of_mismatch(self, saved: dict[str, Any]) -> None:
        """Warns if the tokenizer is not the one whose saved form is given; see `from_dict`."""
        warn_of_mismatch(saved, self.tokenizer)

    @classmethod
    def restore(cls, values: dict[str, Any], *, tokenizer: "str | Tokenizer | None" = None) -> "Vocabulary":
        """Builds a vocabulary as `from_dict` does, without the comparison of tokenizers and its warning."""
        try:
            saved = values["tokenizer"]
            check_saved(saved)
            restored = tokenizer_of(saved, tokenizer)
            return cls(
                values["tokens"],
                tokenizer=restored if tokenizer is None else with_normalized_dictionary(restored, values["normalize"]),
                unknown=values["unknown"],
                normalize=values["normalize"],
                counts=values["counts"],
                special_tokens=values.get("special_tokens"),
            )
        except (KeyError, TypeError) as error:
            raise VocabularyError(f"not a saved vocabulary: {shown(error)} is missing or of a wrong type") from error
