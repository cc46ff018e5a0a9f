"""Selection of a vocabulary from a training text: the most frequent words and, for character fallback, all characters."""

from collections.abc import Iterable, Mapping

from zh_lstm_lm.corpus.segmentation import PARAGRAPH_END
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.token_table import UNK
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.tokenizers.base import add_separator

__all__ = ["choose_tokens"]


def choose_tokens(
    stream: TokenStream, *, min_freq: int, max_size: int | None, num_special: int, spells: bool
) -> list[str | int]:
    """Selects tokens by frequency, without the special ones, in no particular order; see `Vocabulary.from_stream`.

    Special tokens count towards `max_size`. With `spells`, the bytes (as integers) and characters that character and
    byte fallback need are added.

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
    separator = stream.tokenizer.separator
    tokens = (add_separator(token, separator) for token in stream.lexicon)
    counted = {token: count for token, count in zip(tokens, counts, strict=True) if count}
    # Special tokens have their ids already.
    counted.pop(PARAGRAPH_END, None)
    if separator and not spells:
        counted.pop(separator + UNK, None)
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
