"""Tokens to ids and back, with nothing lost: unknown words are spelled in characters, unknown characters in bytes."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, SupportsIndex

import torch
from torch import Tensor

from zh_lstm_lm._config import check_choice, check_integer, check_text, check_type
from zh_lstm_lm.corpus.coverage import CoverageReport, measure_coverage
from zh_lstm_lm.corpus.segmentation import PARAGRAPH_END
from zh_lstm_lm.corpus.stream_encoder import SpellingTable
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.token_table import TokenTable
from zh_lstm_lm.corpus.vocabulary_selection import choose_tokens
from zh_lstm_lm.errors import VocabularyError
from zh_lstm_lm.text.normalization import check_normalization
from zh_lstm_lm.tokenizers.base import LosslessTokenizer, Tokenizer
from zh_lstm_lm.tokenizers.probe import warn_of_mismatch
from zh_lstm_lm.tokenizers.registry import get_tokenizer
from zh_lstm_lm.tokenizers.saved_tokenizer import describe_tokenizer, is_users_own, tokenizer_of

__all__ = ["Vocabulary"]

_UNKNOWN = ("characters", "unk")


class Vocabulary(TokenTable):
    """The words of a model, each with an id, and the tokenizer that finds them in text.

    Id 0 is ``<bos>``, which starts a document and is never predicted; id 1 is the paragraph end. With
    ``unknown="characters"`` the 256 bytes, the characters of the training text and its words follow, and every string
    can be encoded. With ``unknown="unk"`` id 2 is ``<unk>`` and the words follow: the classic closed vocabulary.

    Words, characters and bytes are ordered by falling frequency in the training text after spelling, equal ones by
    their token, so that ids depend neither on reading order nor on the process.

    Example:
        >>> stream = TokenStream.from_texts(["展昭道：好。"], tokenizer="characters")
        >>> vocabulary = Vocabulary.from_stream(stream)
        >>> vocabulary.decode(vocabulary.encode("展昭笑道：好！"))
        '展昭笑道：好！'
    """

    SAVED = ("unknown", "normalize", "tokenizer", "tokens", "counts")
    """The keys of `to_dict`."""

    def __init__(
        self,
        tokens: Iterable["str | int"] = (),
        *,
        tokenizer: str | Tokenizer = "jieba",
        unknown: str = "characters",
        normalize: str = "none",
        counts: Iterable[int] | None = None,
    ) -> None:
        """Makes a vocabulary of given tokens; `from_stream` chooses them by frequency.

        Args:
            tokens: What follows the special tokens, in the order of the ids: strings, and integers for bytes. With
                ``unknown="characters"`` all 256 bytes must be among them; without any token they are added.
            tokenizer: What cuts text into tokens.
            unknown: ``"characters"`` or ``"unk"``.
            normalize: The normalisation that text has to go through before it is encoded; see
                `TokenStream.from_files`. `encode` itself changes nothing.
            counts: How often each id occurs in the training text, special tokens included; None if not known.

        Raises:
            VocabularyError: A token is empty or stands twice, or bytes are missing.
        """
        check_choice("unknown", unknown, _UNKNOWN)
        self.tokenizer: LosslessTokenizer = get_tokenizer(tokenizer)
        check_normalization(normalize)
        self.normalize = normalize
        self._frozen = False
        super().__init__(tokens, unknown=unknown)
        self.counts: list[int] = list(counts) if counts is not None else [0] * len(self._tokens)
        if len(self.counts) != len(self._tokens) or not all(
            isinstance(count, int) and 0 <= count < 1 << 63 for count in self.counts
        ):
            raise VocabularyError(
                f"expected an integer count for each of {len(self._tokens)} tokens, got {counts!r:.60}"
            )

    @classmethod
    def from_stream(
        cls, stream: TokenStream, *, min_freq: int = 1, max_size: int | None = None, unknown: str = "characters"
    ) -> "Vocabulary":
        """Chooses the vocabulary of a training text.

        Args:
            stream: The training part.
            min_freq: Words that occur less often are left out (1 keeps all). Characters always stay.
            max_size: Most entries in all, special tokens, bytes and characters counted (None sets no limit). The
                most frequent words stay; characters may take up to half of what the special tokens and bytes leave.
            unknown: What becomes of a word outside: ``"characters"`` spells it, ``"unk"`` makes it ``<unk>``.

        Raises:
            ConfigError: An option is out of range, or `max_size` leaves no room for a word.
        """
        check_type("stream", stream, TokenStream)
        check_choice("unknown", unknown, _UNKNOWN)
        check_integer("min_freq", min_freq, minimum=1)
        check_integer("max_size", max_size, minimum=1, optional=True)
        spells = unknown == "characters"
        chosen = choose_tokens(
            stream, min_freq=min_freq, max_size=max_size, num_special=2 if spells else 3, spells=spells
        )
        draft = cls(chosen, tokenizer=stream.tokenizer, unknown=unknown)
        spelled = draft.count_ids(stream)
        order = sorted(
            range(draft._num_special, len(draft)),
            key=lambda token_id: (-spelled[token_id], draft.id_to_token(token_id)),
        )
        return cls(
            [draft._tokens[token_id] for token_id in order],
            tokenizer=stream.tokenizer,
            unknown=unknown,
            normalize=stream.normalize,
            counts=[*spelled[: draft._num_special], *(spelled[token_id] for token_id in order)],
        )

    def __repr__(self) -> str:
        tokenizer = self.tokenizer.name or self.tokenizer.inner
        return f"Vocabulary({len(self):,} tokens, unknown={self.unknown!r}, tokenizer={tokenizer!r})"

    def add_token(self, token: str) -> int:
        """Adds a token if it is new.

        Returns:
            Its id; a token that is there already keeps the one it has.

        Raises:
            VocabularyError: The vocabulary belongs to a model, or the token is empty or no string.
        """
        if isinstance(token, str) and token in self._ids:
            return self._ids[token]
        if self._frozen:
            raise VocabularyError(
                f"{token!r} cannot be added: a model's vocabulary is fixed; make a new one and a new model"
            )
        if not isinstance(token, str):
            raise VocabularyError(f"a token must be a string, got {token!r}")
        check_text("token", token)
        token_id = self._append(token)
        self.counts.append(0)
        self.__dict__.pop("characters_per_id", None)  # it was made for the shorter vocabulary
        return token_id

    def encode(self, text: str) -> list[int]:
        """Turns text into ids; every newline is a paragraph end.

        Raises:
            DataError: The text is not a string, or holds a lone surrogate.
        """
        return [token_id for _, ids in self.encode_words(text) for token_id in ids]

    def encode_words(self, text: str) -> Iterator[tuple[str, list[int]]]:
        """Yields each word of a text with its ids; those of a word outside the vocabulary are its pieces.

        Raises:
            DataError: The text is not a string, or holds a lone surrogate.
        """
        check_text("text", text)
        for number, paragraph in enumerate(text.split(PARAGRAPH_END)):
            if number:
                yield PARAGRAPH_END, [self.paragraph_end_id]
            for word in self.tokenizer.tokenize(paragraph) if paragraph else ():
                yield word, self.spell(word)

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """Turns ids into text; ``<bos>`` is nothing, and bytes that are no UTF-8 show as U+FFFD.

        ``decode(encode(text)) == text`` for every string in a vocabulary that spells.

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
            token = self._token_of(token_id)
            if isinstance(token, int):
                spelled.append(token)
                continue
            if spelled:
                pieces.append(spelled.decode("utf-8", errors="replace"))
                spelled.clear()
            if token_id != self.bos_id:
                pieces.append(token)
        pieces.append(spelled.decode("utf-8", errors="replace"))
        return self.tokenizer.detokenize(pieces)

    def encode_stream(self, stream: TokenStream) -> Tensor:
        """Re-encodes a stream; every document begins with ``<bos>``.

        The ids of a large stream lie in a temporary file that is mapped into memory, so that they need not fit it.

        Returns:
            The ids. **Shape:** (number of ids,), int32.
        """
        return SpellingTable(stream, self.spell).encode(self.bos_id)

    def count_ids(self, stream: TokenStream) -> list[int]:
        """How often each id occurs in a stream (``<bos>`` once a document)."""
        counts = SpellingTable(stream, self.spell).count(len(self))
        counts[self.bos_id] = stream.num_documents
        result: list[int] = counts.tolist()
        return result

    def report(self, stream: TokenStream) -> CoverageReport:
        """What this vocabulary covers of a text, in all and at smaller sizes; ``print`` shows it as a table.

        Args:
            stream: The text that it was built from, or another one, such as the held-out part.
        """
        check_type("stream", stream, TokenStream)
        return measure_coverage(stream, self._ids, spells=self.unknown == "characters")

    @cached_property
    def characters_per_id(self) -> Tensor | None:
        """Characters that each id stands for; None with ``unknown="unk"``, where ``<unk>`` hides them.

        The first byte of a character counts 1 and its other bytes 0. **Shape:** (vocabulary size,), int64.
        """
        if self.unknown == "unk":
            return None
        lengths = [len(token) if isinstance(token, str) else int(token & 0xC0 != 0x80) for token in self._tokens]
        lengths[self.bos_id] = 0
        return torch.tensor(lengths)

    def frozen_copy(self) -> "Vocabulary":
        """A copy that `add_token` cannot change, for a model to hold; a frozen vocabulary is its own copy."""
        if self._frozen:
            return self
        copy = Vocabulary(
            self._tokens[self._num_special :],
            tokenizer=self.tokenizer,
            unknown=self.unknown,
            normalize=self.normalize,
            counts=self.counts,
        )
        copy._frozen = True
        return copy

    def fingerprint(self) -> str:
        """A SHA-256 sum of everything that decides which ids a text gets."""
        what = [self.unknown, self.normalize, self._tokens[self._num_special :], self.tokenizer.fingerprint]
        return hashlib.sha256(json.dumps(what).encode("utf-8")).hexdigest()

    @cached_property
    def _saved_tokenizer(self) -> dict[str, Any]:
        return describe_tokenizer(self.tokenizer)

    def to_dict(self) -> dict[str, Any]:
        """The vocabulary as plain JSON values."""
        return {
            "unknown": self.unknown,
            "normalize": self.normalize,
            "tokenizer": self._saved_tokenizer,
            "tokens": self._tokens[self._num_special :],
            "counts": self.counts,
        }

    @staticmethod
    def needs_tokenizer(values: Mapping[str, Any]) -> bool:
        """Whether a saved vocabulary was made with a tokenizer object of its user's, which cannot be saved."""
        return is_users_own(values.get("tokenizer"))

    @classmethod
    def from_dict(cls, values: dict[str, Any], *, tokenizer: "str | Tokenizer | None" = None) -> "Vocabulary":
        """Builds a vocabulary from `to_dict`'s output.

        Where the tokenizer is not the one that the vocabulary was made with (another version, backend or option), a
        `TokenizerMismatchWarning` names both and tells how much of a probe text they cut differently.

        Args:
            values: The plain values.
            tokenizer: The tokenizer, where it was an object of the user's, or another one in place of the saved one;
                one that is given by its name gets the saved options (``"rjieba"`` in place of ``"jieba"``, say).

        Raises:
            VocabularyError: The values do not describe a vocabulary, or its tokenizer has to be given and is not.
            ConfigError: The tokenizer's name or options are not known.
            MissingDependencyError: The tokenizer's library is not installed.
        """
        try:
            saved = values["tokenizer"]
            vocabulary = cls(
                values["tokens"],
                tokenizer=tokenizer_of(saved, tokenizer),
                unknown=values["unknown"],
                normalize=values["normalize"],
                counts=values["counts"],
            )
            warn_of_mismatch(saved, vocabulary.tokenizer)
            return vocabulary
        except (KeyError, TypeError) as error:
            raise VocabularyError(f"not a saved vocabulary: {error!r} is missing or of a wrong type") from error
