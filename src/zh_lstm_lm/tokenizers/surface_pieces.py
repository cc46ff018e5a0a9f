"""From the offsets that a subword library gives to pieces of the text itself."""

from collections.abc import Iterable

__all__ = ["cut_at_offsets"]


def cut_at_offsets(text: str, offsets: Iterable[tuple[int, int]]) -> list[str]:
    """Cuts a text at the offsets of tokens, so that the pieces concatenate to it whatever the library normalises.

    Tokens without characters of their own (an added space, the later bytes of a character) give no piece; characters
    that no token covers are a piece of their own.

    Args:
        text: The text that was cut.
        offsets: Start and stop of each token, in characters, with rising starts.
    """
    pieces: list[str] = []
    position = 0
    for start, stop in offsets:
        if start > position:
            pieces.append(text[position:start])
            position = start
        if stop > position:
            pieces.append(text[position:stop])
            position = stop
    return pieces + ([text[position:]] if position < len(text) else [])
