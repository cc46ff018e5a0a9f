"""Chinese sense for punctuation: which marks may come next, by what is open and where in its paragraph a text stands.

What is open is a string of opening marks, the innermost last. It begins anew with every paragraph, as novels do it.
"""

from collections.abc import Collection, Sequence

__all__ = ["PAIRS", "PunctuationRules", "ends_sentences"]

PAIRS = dict(zip("“‘「『（《〈【〔", "”’」』）》〉】〕", strict=True))
"""Opening marks and what closes them."""

_OPENING = {closing: opening for opening, closing in PAIRS.items()}
_EMPTY = frozenset("：:") | PAIRS.keys()  # after which nothing was said yet that a mark could close
_SENTENCE_ENDS = frozenset("。！？!?")
_NEVER_FIRST = frozenset("，。！？；：、,.!?;:)]}·％%") | _OPENING.keys()
_PARAGRAPH_END = "\n"


class PunctuationRules:
    """The rules, over the tokens of one vocabulary.

    Args:
        tokens: The text of each id; empty for one that is never drawn.
        balanced_pairs: Whether pairs have to match, and hold something.
        tidy_paragraphs: Whether closing punctuation may not begin a paragraph.
        banned: Words that are never drawn; a pair with one of them is left alone, as is one whose two marks are not
            both tokens.
    """

    def __init__(
        self, tokens: Sequence[str], *, balanced_pairs: bool, tidy_paragraphs: bool, banned: Collection[str] = ()
    ) -> None:
        ids = {token: token_id for token_id, token in enumerate(tokens) if len(token) == 1 and token not in banned}
        pairs = PAIRS if balanced_pairs else {}
        self._closing = {o: c for o, c in pairs.items() if o in ids and c in ids}
        self._closing_ids = {opening: ids[closing] for opening, closing in self._closing.items()}
        self._matched = frozenset(self._closing) | frozenset(self._closing.values())
        self._never_first = _NEVER_FIRST if tidy_paragraphs else frozenset()
        told = self._matched | {_PARAGRAPH_END}
        self.concerned = {
            token_id: token
            for token_id, token in enumerate(tokens)
            if token and (token[0] in self._never_first or not told.isdisjoint(token))
        }
        """The tokens that the rules can forbid."""
        self._telling = told | _SENTENCE_ENDS

    def changes_nothing(self, text: str) -> bool:
        """Whether a text neither opens nor closes anything, and ends no sentence."""
        return self._telling.isdisjoint(text)

    def read(self, text: str, opened: str = "") -> str:
        """What is open after a text that need not follow the rules."""
        for character in text if self._closing else "":
            if character == _PARAGRAPH_END:
                opened = ""
            elif character in self._closing:  # one that is open already was not closed; this one stands in its place
                opened = opened.partition(character)[0] + character
            elif character in self._matched and _OPENING[character] in opened:
                opened = opened.rpartition(_OPENING[character])[0]
        return opened

    def allow(self, token: str, opened: str, *, before: str, room: int) -> bool:
        """Whether a token may come next.

        Args:
            token: Its text, one of those of `concerned`.
            opened: What is open.
            before: The text before it, or at least its last character.
            room: How many marks may still be closed after it.
        """
        previous = before[-1:] or _PARAGRAPH_END
        for character in token:
            if previous == _PARAGRAPH_END and character in self._never_first:
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
        return len(opened) <= room

    def waits_for_closing(self, token: str, opened: str) -> bool:
        """Whether a token that may not come is right once the innermost mark is closed: it ends what is around it.

        That is a paragraph end, or the closing mark of a pair further out.
        """
        return bool(opened) and (token == _PARAGRAPH_END or _OPENING.get(token, token) in opened[:-1])

    def closing_id(self, opened: str) -> int:
        """The id that closes the innermost mark."""
        return self._closing_ids[opened[-1]]


def ends_sentences(piece: str, before: str) -> int:
    """How many sentences end in a piece of text: at full stops and the like, and with a paragraph that has none.

    Args:
        piece: The piece.
        before: What comes before it, or at least its last character.
    """
    count, previous = 0, before[-1:]
    for character in piece:
        if character in _SENTENCE_ENDS:
            count += previous not in _SENTENCE_ENDS
        elif character == _PARAGRAPH_END:
            count += bool(previous) and previous not in _SENTENCE_ENDS | _OPENING.keys() | {_PARAGRAPH_END}
        previous = character
    return count
