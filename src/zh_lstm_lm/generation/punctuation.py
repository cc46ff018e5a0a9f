"""Rules of Chinese punctuation: which tokens may follow, given the open quotes and the position in the paragraph.

Open quotes and brackets are a string of opening marks, the innermost last. It is empty at the start of a paragraph, as in
novels.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

__all__ = ["PAIRS", "PunctuationRules", "Verdict", "ends_sentences", "is_sentence_end"]

PAIRS = dict(zip("“‘「『（《〈【〔", "”’」』）》〉】〕", strict=True))
"""Closing mark of each opening mark."""

_OPENING = {closing: opening for opening, closing in PAIRS.items()}
# Nothing can be closed directly after one of these.
_EMPTY = frozenset("：:") | PAIRS.keys()
_SENTENCE_ENDS = frozenset("。！？!?")
_CLAUSE_ENDS = frozenset("，；：、")
_CHINESE_ENDS = _CLAUSE_ENDS | frozenset("。！？")
# Marks that do not follow directly after a mark; real novels have fewer than 50 of these pairs in a million characters.
_NEVER_AFTER = {**dict.fromkeys([*PAIRS, *_CLAUSE_ENDS], _CHINESE_ENDS), **dict.fromkeys("。！？", _CLAUSE_ENDS)}
_NEVER_FIRST = frozenset("，。！？；：、,.!?;:)]}·％%") | _OPENING.keys()
_PARAGRAPH_END = "\n"


@dataclass(frozen=True, eq=False)
class Verdict:
    """Ids that must not follow, those that wait for a closing mark, with the mark's id, and the size of the vocabulary."""

    forbidden: frozenset[int]
    moved: Mapping[int, int]
    num_tokens: int

    @cached_property
    def mask(self) -> Tensor:
        """True for forbidden tokens. **Shape:** (vocab_size,), bool."""
        mask = torch.zeros(self.num_tokens, dtype=torch.bool)
        mask[list(self.forbidden)] = True
        return mask


class PunctuationRules:
    """The rules over the tokens of one vocabulary.

    Args:
        tokens: The text of each id; empty for ids that are never sampled.
        balanced_pairs: Whether pairs have to match and must not be empty.
        tidy_paragraphs: Whether closing punctuation must not start a paragraph, nor follow an opening mark or a comma.
        separator: The separator before words, which the rules look past.
        banned: Words that are never generated. The rules ignore pairs with a banned mark, and pairs whose marks are not
            both tokens.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        *,
        balanced_pairs: bool,
        tidy_paragraphs: bool,
        separator: str = "",
        banned: Collection[str] = (),
    ) -> None:
        words = [token.removeprefix(separator) for token in tokens]
        ids: dict[str, int] = {}
        # Of a mark with and without its separator the former is used.
        for token_id, word in sorted(enumerate(words), key=lambda pair: tokens[pair[0]] != pair[1]):
            if len(word) == 1 and word not in banned:
                ids[word] = token_id
        self.mark_length: int = 1 + len(separator)
        pairs = PAIRS if balanced_pairs else {}
        self._closing = {o: c for o, c in pairs.items() if o in ids and c in ids}
        self._closing_ids = {opening: ids[closing] for opening, closing in self._closing.items()}
        self._matched = frozenset(self._closing) | frozenset(self._closing.values())
        self._never_after = {**_NEVER_AFTER, _PARAGRAPH_END: _NEVER_FIRST} if tidy_paragraphs else {}
        never_first = frozenset().union(*self._never_after.values())
        marks = self._matched | {_PARAGRAPH_END}
        self._concerned = {
            token_id: (word, token)
            for token_id, (word, token) in enumerate(zip(words, tokens, strict=True))
            if word and (word[0] in never_first or not marks.isdisjoint(word))
        }
        self._longest = max((len(token) for _, token in self._concerned.values()), default=0)
        self._relevant = marks | _SENTENCE_ENDS
        self._num_tokens = len(tokens)
        self._verdicts: dict[tuple[str, str], Verdict] = {}

    def changes_nothing(self, text: str) -> bool:
        """Returns True for a text without quotes, brackets, paragraph ends and ends of sentences."""
        return self._relevant.isdisjoint(text)

    def read(self, text: str, opened: str = "") -> str:
        """Returns the open marks after a text that need not follow the rules."""
        for character in text if self._closing else "":
            if character == _PARAGRAPH_END:
                opened = ""
            elif character in self._closing:
                # A mark of this kind that is still open was never closed; the new one replaces it.
                opened = opened.partition(character)[0] + character
            elif character in self._matched and _OPENING[character] in opened:
                opened = opened.rpartition(_OPENING[character])[0]
        return opened

    def verdict(self, opened: str, before: str, room_after: Callable[[str], int | None]) -> Verdict:
        """Decides which tokens may follow the open marks and the text before, of which the last character suffices.

        `room_after` returns the number of closing marks that there is room for after a token; None for any number.
        """
        previous = before[-1:] or _PARAGRAPH_END
        kind = previous if previous in _NEVER_AFTER or previous in _EMPTY or previous == _PARAGRAPH_END else ""
        room = room_after("\0" * self._longest)
        far_from_end = room is None or room > len(opened) + self._longest
        if far_from_end and (opened, kind) in self._verdicts:
            return self._verdicts[opened, kind]
        forbidden, moved = [], {}
        for token_id, (word, token) in self._concerned.items():
            if self._allows(word, opened, previous, None if far_from_end else room_after(token)):
                continue
            closing = self._closing_ids[opened[-1]] if opened and self._waits_for_closing(word, opened) else None
            if closing is not None and self._allows(PAIRS[opened[-1]], opened, previous, None):
                moved[token_id] = closing
            else:
                forbidden.append(token_id)
        verdict = Verdict(frozenset(forbidden), moved, self._num_tokens)
        if far_from_end:
            self._verdicts[opened, kind] = verdict
        return verdict

    def closing_id(self, opened: str) -> int:
        """Returns the id that closes the innermost mark."""
        return self._closing_ids[opened[-1]]

    def _allows(self, token: str, opened: str, previous: str, room: int | None) -> bool:
        """Decides about one token; `room` is the number of closing marks that there is room for after it."""
        for character in token:
            if character in self._never_after.get(previous, ()):
                return False
            if character == _PARAGRAPH_END and opened:
                return False
            if character in self._closing:
                if character in opened:
                    return False
                opened += character
            elif character in self._matched:
                if opened[-1:] != _OPENING[character] or previous in _EMPTY:
                    return False
                opened = opened[:-1]
            previous = character
        return room is None or len(opened) <= room

    @staticmethod
    def _waits_for_closing(token: str, opened: str) -> bool:
        """Returns True for a token that is right once the innermost mark is closed, as it ends what is around it."""
        return token == _PARAGRAPH_END or _OPENING.get(token, token) in opened[:-1]


def is_sentence_end(text: str) -> bool:
    """Returns True if a text ends with a sentence or a paragraph; closing quotes and brackets may follow the full stop."""
    return text.rstrip("".join(_OPENING) + " ")[-1:] in _SENTENCE_ENDS or text.endswith(_PARAGRAPH_END)


def ends_sentences(piece: str, before: str) -> int:
    """Counts the sentences that end in a piece, at full stops and the like, or with a paragraph without one."""
    count, previous = 0, before[-1:]
    for character in piece:
        if character in _SENTENCE_ENDS:
            count += previous not in _SENTENCE_ENDS
        elif character == _PARAGRAPH_END:
            count += bool(previous) and previous not in _SENTENCE_ENDS | _OPENING.keys() | {_PARAGRAPH_END}
        previous = character
    return count
