"""Tokens and their ids: special tokens, words, characters and bytes."""

import operator
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Literal, NoReturn, SupportsIndex, TypeAlias

import torch
from torch import Tensor

from zh_lstm_lm._config import check_list, check_text, check_type, is_list, shown
from zh_lstm_lm.corpus.segmentation import PARAGRAPH_END
from zh_lstm_lm.errors import VocabularyError
from zh_lstm_lm.runtime.devices import on_cpu_by_default
from zh_lstm_lm.tokenizers.base import add_separator

__all__ = ["MAX_TOKENS", "SPECIAL", "UNK", "TokenTable", "Unknown"]

MAX_TOKENS = 1 << 20
"""Maximum number of entries of a vocabulary, which bounds the time and memory that a saved one can take."""

Unknown: TypeAlias = Literal["characters", "unk"]
"""The treatment of words outside a vocabulary."""
UNK = "<unk>"
_BOS = "<bos>"
SPECIAL = (_BOS, PARAGRAPH_END, UNK)
"""The names of the special tokens, in the order of their ids unless others are given."""
_SURROGATE = re.compile("[\ud800-\udfff]")


class TokenTable:
    """The tokens of a vocabulary and their ids.

    Where words imply a separator between them (the tokenizer ``"whitespace"``), a word is kept with its separator before
    it, so that the kept tokens concatenate to the text. A character without a separator then is only a part of a spelled
    word, and its name begins with ``##``.

    Attributes:
        unknown: ``"characters"`` or ``"unk"``.
        separator: The string that words imply between them; empty for none.
        num_special: Number of special tokens, which have the first ids unless `special_tokens` gives others.
        special_tokens: The names and ids of the special tokens where they are given; None for the first ids.
    """

    def __init__(
        self,
        tokens: Iterable["str | int"],
        *,
        unknown: Unknown,
        separator: str = "",
        special_tokens: "Sequence[tuple[str, int]] | None" = None,
    ) -> None:
        """Assigns ids to tokens after the special ones; see `Vocabulary`. Integers stand for bytes.

        Raises:
            VocabularyError: A token is empty or occurs twice, bytes or ids are missing, or there are too many tokens.
        """
        self.unknown = unknown
        self.separator = separator
        self.num_special = 3 if unknown == "unk" else 2
        self.special_tokens: tuple[tuple[str, int], ...] | None = (
            None if special_tokens is None else _checked(special_tokens, self.num_special)
        )
        names = self.special_tokens or tuple((name, number) for number, name in enumerate(SPECIAL[: self.num_special]))
        self._special_ids = tuple(token_id for _, token_id in names)
        self._tokens: list[str | int] = []
        self._ids: dict[str, int] = {PARAGRAPH_END: self.paragraph_end_id}
        # Pre-segmented corpora contain the word <unk> where words were replaced.
        if separator and unknown == "unk":
            self._ids[separator + names[2][0]] = names[2][1]
        self._byte_ids: dict[int, int] = {}
        tokens = check_list("tokens", tokens, "a list of strings, and of integers for bytes", error=VocabularyError)
        if unknown == "characters" and not tokens:
            tokens = list(range(256))
        if len(tokens) > MAX_TOKENS - self.num_special:
            raise VocabularyError(
                f"a vocabulary has at most {MAX_TOKENS:,} entries, got {len(tokens) + self.num_special:,}; raise "
                "min_freq, or give max_size"
            )
        for token_id, token in sorted(zip(self._special_ids, (_BOS, PARAGRAPH_END, separator + UNK), strict=False)):
            before = token_id - len(self._tokens)
            if not 0 <= before <= len(tokens):
                raise VocabularyError(
                    f"the ids of special tokens must differ and leave no gap, got {', '.join(map(shown, self._special_ids))}"
                )
            self._append(tokens[:before])
            self._tokens.append(token)
            tokens = tokens[before:]
        self._append(tokens)
        if unknown == "characters" and len(self._byte_ids) != 256:
            raise VocabularyError(f"a vocabulary with byte fallback needs all 256 bytes, got {len(self._byte_ids)}")

    @property
    def own_tokens(self) -> list["str | int"]:
        """The tokens but the special ones, as they are kept; integers for bytes."""
        tokens = list(self._tokens)
        for token_id in sorted(self._special_ids, reverse=True):
            del tokens[token_id]
        return tokens

    @property
    def ids(self) -> Mapping[str, int]:
        """The kept tokens to their ids, without bytes."""
        return MappingProxyType(self._ids)

    def add_token(self, token: str) -> int:
        """Adds a token if it is new.

        Returns:
            Its id; a token of the vocabulary keeps its id.

        Raises:
            VocabularyError: The token is empty or not a string.
            DataError: The token contains a lone surrogate.
        """
        if token in self:
            return self._ids[self.with_separator(token)]
        if not isinstance(token, str):
            raise VocabularyError(f"a token must be a string, got {token!r}")
        check_text("token", token)
        self._append([token and self.with_separator(token)])
        # The cached value is that of the shorter vocabulary.
        self.__dict__.pop("characters_per_id", None)
        return len(self) - 1

    def _append(self, tokens: "Sequence[str | int]") -> None:
        """Appends tokens at once, since a saved vocabulary may contain a million of them."""
        for kind in set(map(type, tokens)):
            if not issubclass(kind, (str, int)) or kind is bool:
                wrong = next(token for token in tokens if type(token) is kind)
                raise VocabularyError(f"a token must be a string, got {shown(wrong)}")
        start = len(self._tokens)
        words = {token: token_id for token_id, token in enumerate(tokens, start) if isinstance(token, str)}
        numbers = {token: token_id for token_id, token in enumerate(tokens, start) if isinstance(token, int)}
        if len(words) + len(numbers) < len(tokens):
            for token_id, token in enumerate(tokens, start):
                if token_id != (numbers[token] if isinstance(token, int) else words[token]):
                    _refuse(token)
        for number in numbers:
            if number in self._byte_ids or not 0 <= number < 256:
                _refuse(number)
        surrogate = _SURROGATE.search("".join(words)) is not None
        for word in words:
            if not word or word in self._ids or (surrogate and _SURROGATE.search(word)):
                _refuse(word)
        self._ids, fewer = (words, self._ids) if len(words) > len(self._ids) else (self._ids, words)
        self._ids |= fewer
        self._byte_ids |= numbers
        self._tokens += tokens

    @property
    def bos_id(self) -> int:
        """The id that starts a document; never a target."""
        return self._special_ids[0]

    @property
    def paragraph_end_id(self) -> int:
        """The id of the paragraph end."""
        return self._special_ids[1]

    @property
    def unk_id(self) -> int | None:
        """The id of ``<unk>``; None with ``unknown="characters"``."""
        return self._special_ids[2] if self.unknown == "unk" else None

    @property
    def byte_ids(self) -> list[int]:
        """The ids of the 256 bytes, in the order of the bytes; empty with ``unknown="unk"``."""
        return [self._byte_ids[byte] for byte in sorted(self._byte_ids)]

    def __len__(self) -> int:
        return len(self._tokens)

    def __contains__(self, token: object) -> bool:
        return isinstance(token, str) and token != "" and self.with_separator(token) in self._ids

    def __iter__(self) -> Iterator[str]:
        """Yields the token of each id."""
        return map(self.id_to_token, range(len(self)))

    def token_to_id(self, token: str) -> int:
        """Returns the id of a token.

        A special token or byte is found by its name from `id_to_token`, unless a word is written the same.

        Raises:
            VocabularyError: It is not in the vocabulary (with ``unknown="unk"`` the id of ``<unk>`` is returned).
        """
        check_type("token", token, str)
        found = self._ids.get(self.with_separator(token)) if token else None
        if found is None:
            found = self._names.get(token, self.unk_id)
        if found is None:
            raise VocabularyError(
                f"{token!r} is not in the vocabulary; encode(…) gives the ids of its characters and bytes"
            )
        return found

    def id_to_token(self, token_id: SupportsIndex) -> str:
        """Returns the token of an id; the name of a byte is such as ``<0xE5>``.

        Raises:
            VocabularyError: There is no such id.
        """
        token = self.token_of(token_id)
        if isinstance(token, int):
            return f"<0x{token:02X}>"
        if self.special_tokens is not None and operator.index(token_id) in self._special_ids:
            return self.special_tokens[self._special_ids.index(operator.index(token_id))][0]
        if not self.separator or token in (_BOS, PARAGRAPH_END, self.separator):
            return token
        return token[len(self.separator) :] if token.startswith(self.separator) else f"##{token}"

    def token_of(self, token_id: SupportsIndex) -> "str | int":
        """Returns the kept token of an id: a string, or an integer for a byte. Any library's integers are accepted."""
        try:
            index = -1 if isinstance(token_id, bool) else operator.index(token_id)
        except (TypeError, ValueError):
            index = -1
        if not 0 <= index < len(self._tokens):
            raise VocabularyError(
                f"ids of this vocabulary are integers from 0 to {len(self._tokens) - 1}, got {token_id!r}"
            )
        return self._tokens[index]

    def texts(self) -> Iterator[str]:
        """Yields the text of each id, with the separator that it implies: empty for ``<bos>``, ``<unk>`` and bytes."""
        for token_id, token in enumerate(self._tokens):
            hidden = isinstance(token, int) or token_id in (self.bos_id, self.unk_id)
            yield "" if hidden else str(token)

    def is_character(self, token_id: int) -> bool:
        """Returns True for an id of a single character that is neither special nor a byte."""
        token = self._tokens[token_id]
        return token_id not in self._special_ids and isinstance(token, str) and len(token) == 1

    @cached_property
    @on_cpu_by_default
    def characters_per_id(self) -> Tensor | None:
        """The number of characters of each id; None with ``unknown="unk"``, where ``<unk>`` hides them.

        The first byte of a character counts 1 and its other bytes 0. **Shape:** (vocabulary size,), int64.
        """
        if self.unknown == "unk":
            return None
        lengths = [len(token) if isinstance(token, str) else int(token & 0xC0 != 0x80) for token in self._tokens]
        lengths[self.bos_id] = 0
        # Each word counts the separator before it, so the paragraph end stands for that of the first word.
        if self.separator:
            lengths[self.paragraph_end_id] = 0
        return torch.tensor(lengths)

    @cached_property
    def _names(self) -> dict[str, int]:
        """The names of ids that are not words."""
        special = dict(self.special_tokens or zip(SPECIAL[: self.num_special], self._special_ids, strict=True))
        pieces = [token for token in self._ids if self.separator and not token.startswith(self.separator)]
        names = {self.id_to_token(self._ids[piece]): self._ids[piece] for piece in pieces}
        return {**names, **special, **{f"<0x{byte:02X}>": token_id for byte, token_id in self._byte_ids.items()}}

    def with_separator(self, token: str) -> str:
        """Returns a token as it is kept: with the separator that it implies before it."""
        return add_separator(token, self.separator)

    def spell(self, token: str) -> list[int]:
        """Returns the ids of one token: its own, or those of its characters and bytes."""
        token = self.with_separator(token)
        found = self._ids.get(token)
        if found is not None:
            return [found]
        if self.unknown == "unk":
            return [self._special_ids[2]]
        return [token_id for character in token for token_id in self.spell_character(character)]

    def spell_character(self, character: str) -> list[int]:
        """Returns the ids of a character inside a word without an id: its own, or those of its bytes."""
        found = self._ids.get(character)
        return self.spell_in_bytes(character) if found is None else [found]

    def spell_in_bytes(self, text: str) -> list[int]:
        """Returns the ids of the bytes of a text in UTF-8, in a vocabulary with byte fallback."""
        check_text("text", text)
        return [self._byte_ids[byte] for byte in text.encode("utf-8")]


def _checked(special_tokens: "Sequence[tuple[str, int]]", number: int) -> tuple[tuple[str, int], ...]:
    """Returns the names and ids of special tokens as they are kept, from an argument or a file."""
    listed = check_list("special_tokens", special_tokens, "a list of pairs of a name and an id", error=VocabularyError)
    kinds = [tuple(map(type, each)) if is_list(each) else () for each in listed]
    if kinds != [(str, int)] * number:
        raise VocabularyError(f"special_tokens must be {number} pairs of a name and an id, got {shown(special_tokens)}")
    return tuple((name, token_id) for name, token_id in special_tokens)


def _refuse(token: "str | int") -> NoReturn:
    if isinstance(token, int):
        raise VocabularyError(f"byte {shown(token)} is out of range or occurs twice")
    raise VocabularyError(f"the token {token[:100]!a} is empty, occurs twice, or contains a lone surrogate")
