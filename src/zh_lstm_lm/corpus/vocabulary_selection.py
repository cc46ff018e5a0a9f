"""The tokens of a vocabulary: the most frequent ones of a training text, or those of a recogniser's list with their ids."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from zh_lstm_lm._config import shown
from zh_lstm_lm.corpus.segmentation import PARAGRAPH_END
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.token_table import SPECIAL, UNK
from zh_lstm_lm.errors import ConfigError, DataError, VocabularyError
from zh_lstm_lm.tokenizers.base import add_separator

__all__ = ["choose_tokens", "read_token_list"]

# The names that recognisers give to the start of a text, its end, and words that are not listed, in lower case.
_NAMES = (("<s>", "<sos>", "<bos>"), ("</s>", "<eos>", "<sos/eos>"), ("<unk>", "[unk]", "<unknown>"))
# A token may be a blank itself.
_ROW = re.compile(r"(\S+|\s+?)[ \t]+([0-9]{1,9})\s*")


def choose_tokens(
    stream: TokenStream, *, min_freq: int, max_size: int | None, num_special: int, spells: bool
) -> list[str | int]:
    """Selects tokens by frequency, without the special ones, in no particular order; see `Vocabulary.from_stream`.

    Special tokens count towards `max_size`, which must leave room for a word. With `spells`, the bytes (as integers)
    and characters that character and byte fallback need are added.
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


def read_token_list(path: Path) -> tuple[list[str], list[tuple[str, int]]]:
    """Reads a recogniser's list of tokens; see `Vocabulary.from_token_list`, whose errors it raises.

    Returns the ordinary tokens in the order of their ids, and names and ids of the special ones.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({reason}); give a list of tokens and ids in UTF-8") from error
    ids: dict[str, int] = {}
    tokens: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = _ROW.fullmatch(line)
        if row is None:
            raise VocabularyError(f"{path}, line {number}: expected a token, a space and its id, got {shown(line)}")
        token, token_id = row[1], int(row[2])
        if token in ids or token_id in tokens:
            what = f"the token {shown(token)}" if token in ids else f"the id {token_id}"
            raise VocabularyError(f"{path}, line {number}: {what} occurs twice; give each token one id of its own")
        ids[token], tokens[token_id] = token_id, token
    missing = next((token_id for token_id in range(len(tokens)) if token_id not in tokens), None)
    if not tokens or missing is not None:
        found = f"no token has the id {missing}, and ids go up to {max(tokens)}" if tokens else "holds no token"
        raise VocabularyError(f"{path}: {found}; give the whole list of the recogniser, whose ids run from 0 on")
    special: list[tuple[str, int]] = []
    for names, own in zip(_NAMES, SPECIAL, strict=True):
        listed = sorted(
            (token for token in ids if token.lower() in names), key=lambda token: names.index(token.lower())
        )
        special.append((listed[0], ids[listed[0]]) if listed else (own, len(tokens)))
        tokens.setdefault(special[-1][1], own)
    used = dict(special).values()
    return [tokens[token_id] for token_id in range(len(tokens)) if token_id not in used], special
