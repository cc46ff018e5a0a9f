"""Training ids: some characters that occur once in the training text are encoded in bytes, to train byte fallback."""

import torch
from torch import Tensor

from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.storage.scratch import scratch_tensor

__all__ = ["training_ids"]

_SPELLED_STEP = 4
# In a shorter text the model needs every character as it is.
_MIN_IDS = 20_000
_BLOCK = 1 << 20


def training_ids(stream: TokenStream, vocabulary: Vocabulary) -> Tensor:
    """Encodes a training text as `Vocabulary.encode_stream` does, with byte fallback for some rare characters.

    Every character of the training text is in the vocabulary, so bytes would never occur in training, and a character
    that is new in another text would cost 60 to 80 bits. By the estimate of Good (1953), the number of characters that
    occur once equals the number of new ones to expect in as much text, so they stand for those. Every fourth of them is
    encoded in bytes; the others are trained as characters. A text of fewer than 20,000 tokens is not changed, nor is
    one of a closed vocabulary. **Shape:** (number of ids,), int32.
    """
    ids = vocabulary.encode_stream(stream)
    if vocabulary.unknown != "characters" or len(ids) < _MIN_IDS:
        return ids
    # The ids of a long text are in a file.
    blocks = torch.split(ids, _BLOCK)
    counts = sum(torch.bincount(block, minlength=len(vocabulary)) for block in blocks)
    once = torch.as_tensor(counts == 1).nonzero().squeeze(1).tolist()
    characters = [token_id for token_id in once if vocabulary.is_character(token_id)]
    chosen = torch.tensor(characters[::_SPELLED_STEP], dtype=ids.dtype)
    positions = [
        number * _BLOCK + index
        for number, block in enumerate(blocks)
        for index in torch.isin(block, chosen).nonzero().squeeze(1).tolist()
    ]
    texts = list(vocabulary.texts())
    spellings = [vocabulary.spell_in_bytes(texts[int(ids[position])]) for position in positions]
    spelled = scratch_tensor(len(ids) + sum(map(len, spellings)) - len(spellings))
    read = written = 0
    for position, spelling in zip(positions, spellings, strict=True):
        unchanged = position - read
        spelled[written : written + unchanged] = ids[read:position]
        written += unchanged
        spelled[written : written + len(spelling)] = torch.tensor(spelling)
        read, written = position + 1, written + len(spelling)
    spelled[written:] = ids[read:]
    return spelled
