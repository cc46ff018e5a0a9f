"""Which tokens a training text gives a vocabulary: the most frequent words, and with spelling every character."""

from collections.abc import Iterable, Mapping

from zh_lstm_lm.corpus.segmentation import PARAGRAPH_END
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.errors import ConfigError

__all__ = ["choose_tokens"]


def choose_tokens(
    stream: TokenStream, *, min_freq: int, max_size: int | None, num_special: int, spells: bool
) -> list[str | int]:
    """Chooses by frequency; see `Vocabulary.from_stream`.

    Args:
        stream: The training text.
        min_freq: Words that occur less often are left out.
        max_size: Most entries in all; None for no limit.
        num_special: Special tokens, which count.
        spells: Whether unknown words are spelled, so that bytes and characters have to be there.

    Returns:
        Tokens in no particular order, integers for bytes; without the special ones.

    Raises:
        ConfigError: `max_size` leaves no room for a word.
    """
    alphabet: list[str | int] = list(range(256)) if spells else []
    fixed = num_special + len(alphabet)
    if max_size is not None and max_size <= fixed:
        raise ConfigError(
            f"max_size must be greater than {fixed}, the number of special tokens"
            f"{' and bytes' if spells else ''}, got {max_size}"
        )
    counts = stream.token_counts().tolist()
    counted = {token: count for token, count in zip(stream.lexicon, counts, strict=True) if count}
    counted.pop(PARAGRAPH_END, None)  # a special token
    words = [token for token, count in counted.items() if count >= min_freq and not (spells and len(token) == 1)]
    in_text: dict[str, int] = {}
    for token, count in counted.items() if spells else ():
        for character in token:
            in_text[character] = in_text.get(character, 0) + count
    room = len(in_text) + len(words) if max_size is None else max_size - fixed
    characters = _most_frequent(in_text, in_text, max(room - len(words), room // 2))
    return [*alphabet, *characters, *_most_frequent(words, counted, room - len(characters))]


def _most_frequent(tokens: Iterable[str], counts: Mapping[str, int], limit: int) -> list[str]:
    return sorted(tokens, key=lambda token: (-counts[token], token))[:limit]
