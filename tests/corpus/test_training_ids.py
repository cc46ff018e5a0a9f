"""Characters that occur once teach the bytes; the text that is read stays the same."""

from collections import Counter

import pytest
import torch

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, TokenStream, Trainer, TrainerConfig, Vocabulary, score
from zh_lstm_lm.corpus.training_ids import training_ids

COMMON = "话说展爷大喜只见众人都来相见。"
RARE = [chr(0x3400 + number) for number in range(120)] + [chr(0x20000 + number) for number in range(4)]


def text(length: int = 22_000) -> str:
    """Common characters, with each rare one once among them, evenly spread."""
    characters = [COMMON[number % len(COMMON)] for number in range(length)]
    for number, rare in enumerate(RARE):
        characters[number * (length // len(RARE)) + 5] = rare
    return "\n".join("".join(characters[start : start + 500]) for start in range(0, length, 500))


def read(content: str, **options: str) -> tuple[TokenStream, Vocabulary]:
    stream = TokenStream.from_texts([content], tokenizer="characters")
    return stream, Vocabulary.from_stream(stream, **options)  # type: ignore[arg-type]


def test_every_fourth_character_that_occurs_once_is_read_as_bytes() -> None:
    stream, vocabulary = read(text())
    ids = vocabulary.encode_stream(stream)
    spelled = training_ids(stream, vocabulary)
    assert vocabulary.decode(spelled.tolist()) == vocabulary.decode(ids.tolist())
    left = {vocabulary.id_to_token(number) for number in spelled.tolist()} & set(RARE)
    gone = [rare for rare in RARE if rare not in left]
    assert len(gone) == len(RARE) // 4
    expected = Counter(byte for rare in gone for byte in rare.encode("utf-8"))
    counts = torch.bincount(spelled, minlength=len(vocabulary))
    assert {byte: int(counts[number]) for byte, number in enumerate(vocabulary.byte_ids) if counts[number]} == expected
    for common in COMMON:
        number = vocabulary.token_to_id(common)
        assert int(counts[number]) == int((ids == number).sum())


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_a_text_longer_than_a_block_is_spelled_the_same(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, vocabulary = read(text())
    expected = training_ids(stream, vocabulary)
    monkeypatch.setattr("zh_lstm_lm.corpus.training_ids._BLOCK", block)
    assert torch.equal(training_ids(stream, vocabulary), expected)


def test_short_texts_and_closed_vocabularies_stay_as_they_are() -> None:
    stream, vocabulary = read(text(10_000))
    ids = vocabulary.encode_stream(stream)
    assert torch.equal(training_ids(stream, vocabulary), ids)
    stream, closed = read(text(), unknown="unk")
    ids = closed.encode_stream(stream)
    assert torch.equal(training_ids(stream, closed), ids)


def test_a_text_without_a_character_that_occurs_once_stays_as_it_is() -> None:
    stream, vocabulary = read(COMMON * 2000)
    ids = vocabulary.encode_stream(stream)
    assert torch.equal(training_ids(stream, vocabulary), ids)


def test_a_trained_model_expects_characters_that_it_has_never_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, vocabulary = read(text())
    # It belongs to the Unicode block of the rare characters.
    new = chr(0x3400 + 121)
    assert new not in vocabulary

    def log_probs_of_new() -> tuple[float, ...]:
        model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=16, hidden_size=32, dropout=0.0))
        Trainer(model, stream, None, TrainerConfig(max_epochs=3, learning_rate=0.01), progress=False).fit()
        return score(model, COMMON + new).log_probs[len(COMMON) : len(COMMON) + 3]

    taught = log_probs_of_new()
    monkeypatch.setattr("zh_lstm_lm.corpus.training_ids._MIN_IDS", 1_000_000)
    untaught = log_probs_of_new()
    # The difference for the first byte is in nats.
    assert taught[0] > untaught[0] + 5
    assert sum(taught) > sum(untaught) + 10
