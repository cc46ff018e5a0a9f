"""What teaches a model to spell: some characters that occur once in the training text are read as bytes."""

import torch
from torch import Tensor

from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.storage.scratch import scratch_tensor

__all__ = ["spell_some_hapaxes"]

_SPELLED_SHARE = 4  # every fourth
_MIN_IDS = 20_000  # in a shorter text every character is needed for what it is
_BLOCK = 1 << 20


def spell_some_hapaxes(ids: Tensor, vocabulary: Vocabulary) -> Tensor:
    """Spells every fourth of the characters that occur once in a training text in bytes.

    Every character of the training text is in the vocabulary, so bytes would never be seen in training, and a character
    that is new in another text would cost 60 to 80 bits. By the estimate of Good (1953) the characters that occur once
    are as many as new ones are to be expected in as much text, so they are what a spelled character looks like. Most of
    them stay as they are, so that they are learned too. A text of fewer than 20,000 tokens stays as it is.

    Args:
        ids: The training text. **Shape:** (number of ids,), int32.
        vocabulary: Its vocabulary; one that does not spell changes nothing.

    Returns:
        The ids with up to four bytes for each spelled character. **Shape:** (number of ids,), int32.
    """
    if vocabulary.unknown != "characters" or len(ids) < _MIN_IDS:
        return ids
    blocks = torch.split(ids, _BLOCK)  # a long text may lie in a file
    counts = sum(torch.bincount(block, minlength=len(vocabulary)) for block in blocks)
    once = torch.as_tensor(counts == 1).nonzero().squeeze(1).tolist()
    characters = [token_id for token_id in once if vocabulary.is_character(token_id)]
    chosen = torch.tensor(characters[::_SPELLED_SHARE], dtype=ids.dtype)
    places = [
        number * _BLOCK + place
        for number, block in enumerate(blocks)
        for place in torch.isin(block, chosen).nonzero().squeeze(1).tolist()
    ]
    spellings = [vocabulary.spell_in_bytes(vocabulary.id_to_token(int(ids[place]))) for place in places]
    spelled = scratch_tensor(len(ids) + sum(map(len, spellings)) - len(spellings))
    read = written = 0
    for place, spelling in zip(places, spellings, strict=True):
        unchanged = place - read
        spelled[written : written + unchanged] = ids[read:place]
        written += unchanged
        spelled[written : written + len(spelling)] = torch.tensor(spelling)
        read, written = place + 1, written + len(spelling)
    spelled[written:] = ids[read:]
    return spelled
