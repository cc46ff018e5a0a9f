"""Tokens and their ids: special tokens, words, characters and bytes."""

import operator
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import SupportsIndex

from zh_lstm_lm._config import check_text
from zh_lstm_lm.corpus.segmentation import PARAGRAPH_END
from zh_lstm_lm.errors import VocabularyError

__all__ = ["TokenTable"]

_BOS = "<bos>"
_UNK = "<unk>"
_SURROGATE = re.compile("[\ud800-\udfff]")


class TokenTable:
    """The tokens of a vocabulary, each with an id.

    Attributes:
        unknown: ``"characters"`` or ``"unk"``.
    """

    def __init__(self, tokens: Iterable["str | int"], *, unknown: str) -> None:
        """Gives the tokens their ids; see `Vocabulary`.

        Args:
            tokens: What follows the special tokens: strings, and integers for bytes.
            unknown: ``"characters"`` or ``"unk"``.

        Raises:
            VocabularyError: A token is empty or stands twice, or bytes are missing.
        """
        self.unknown = unknown
        self._tokens: list[str | int] = (
            [_BOS, PARAGRAPH_END] if unknown == "characters" else [_BOS, PARAGRAPH_END, _UNK]
        )
        self._num_special = len(self._tokens)
        self._ids: dict[str, int] = {PARAGRAPH_END: 1}
        self._byte_ids: dict[int, int] = {}
        tokens = list(tokens)
        if unknown == "characters" and not tokens:
            tokens = list(range(256))
        for token in tokens:
            self._append(token)
        if unknown == "characters" and len(self._byte_ids) != 256:
            raise VocabularyError(f"a vocabulary that spells needs all 256 bytes, got {len(self._byte_ids)}")

    def _append(self, token: "str | int") -> int:
        token_id = len(self._tokens)
        if isinstance(token, bool) or not isinstance(token, (str, int)):
            raise VocabularyError(f"a token must be a string, got {token!r}")
        if isinstance(token, int):
            if not 0 <= token < 256 or token in self._byte_ids:
                raise VocabularyError(f"byte {token} is out of range or stands twice")
            self._byte_ids[token] = token_id
        else:
            if not token or token in self._ids or _SURROGATE.search(token):
                raise VocabularyError(f"the token {token!a} is empty, stands twice, or holds a lone surrogate")
            self._ids[token] = token_id
        self._tokens.append(token)
        return token_id

    @property
    def bos_id(self) -> int:
        """The id that starts a document; never a target."""
        return 0

    @property
    def paragraph_end_id(self) -> int:
        """The id of the paragraph end."""
        return 1

    @property
    def unk_id(self) -> int | None:
        """The id of ``<unk>``; None in a vocabulary that spells."""
        return 2 if self.unknown == "unk" else None

    @property
    def byte_ids(self) -> list[int]:
        """The ids of the 256 bytes, in the order of the bytes; empty with ``unknown="unk"``."""
        return [self._byte_ids[byte] for byte in sorted(self._byte_ids)]

    def __len__(self) -> int:
        return len(self._tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def __iter__(self) -> Iterator[str]:
        """Yields the token of each id."""
        return map(self.id_to_token, range(len(self)))

    def token_to_id(self, token: str) -> int:
        """Returns the id of a token.

        A special token or byte is found by the name that `id_to_token` shows, unless a word is written the same.

        Raises:
            VocabularyError: It is not in the vocabulary (with ``unknown="unk"`` the id of ``<unk>`` is returned).
        """
        found = self._ids.get(token)
        if found is None:
            found = self._shown_names.get(token, self.unk_id)
        if found is None:
            raise VocabularyError(f"{token!r} is not in the vocabulary; encode(…) spells it in characters and bytes")
        return found

    def id_to_token(self, token_id: SupportsIndex) -> str:
        """Returns the token of an id; a byte is shown as ``<0xE5>``.

        Raises:
            VocabularyError: There is no such id.
        """
        token = self._token_of(token_id)
        return token if isinstance(token, str) else f"<0x{token:02X}>"

    def _token_of(self, token_id: SupportsIndex) -> "str | int":
        """The token of an id as it is kept: a string, or an integer for a byte. Integers of any library will do."""
        try:
            place = -1 if isinstance(token_id, bool) else operator.index(token_id)
        except (TypeError, ValueError):
            place = -1
        if not 0 <= place < len(self._tokens):
            raise VocabularyError(
                f"ids of this vocabulary are integers from 0 to {len(self._tokens) - 1}, got {token_id!r}"
            )
        return self._tokens[place]

    def texts(self) -> Iterator[str]:
        """Yields what each id stands for in a text: nothing for ``<bos>``, ``<unk>`` and single bytes."""
        for token_id, token in enumerate(self._tokens):
            hidden = isinstance(token, int) or token_id in (self.bos_id, self.unk_id)
            yield "" if hidden else str(token)

    def is_character(self, token_id: int) -> bool:
        """Whether an id stands for a single character, and is neither special nor a byte."""
        token = self._tokens[token_id]
        return token_id >= self._num_special and isinstance(token, str) and len(token) == 1

    @cached_property
    def _shown_names(self) -> dict[str, int]:
        names = {f"<0x{byte:02X}>": token_id for byte, token_id in self._byte_ids.items()}
        return {_BOS: 0, **({_UNK: 2} if self.unknown == "unk" else {}), **names}

    def spell(self, token: str) -> list[int]:
        """The ids of one token: its own, or those of its characters and bytes."""
        found = self._ids.get(token)
        if found is not None:
            return [found]
        if self.unknown == "unk":
            return [2]
        ids: list[int] = []
        for character in token:
            found = self._ids.get(character)
            if found is not None:
                ids.append(found)
            else:
                ids += self.spell_in_bytes(character)
        return ids

    def spell_in_bytes(self, text: str) -> list[int]:
        """The ids of the bytes of a text in UTF-8, in a vocabulary that spells."""
        check_text("text", text)
        return [self._byte_ids[byte] for byte in text.encode("utf-8")]
