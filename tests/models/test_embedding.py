"""Vectors of words and characters, against a loop over both tables."""

import pytest
import torch

from zh_lstm_lm import Vocabulary
from zh_lstm_lm.models.layers import WordEmbedding

WORDS = ["展昭", "大侠展昭", "明镜止水心法", "，"]


@pytest.fixture
def embedding(vocabulary: Vocabulary) -> WordEmbedding:
    with torch.device("meta"):  # PyTorch's initialisers would draw from the global random state
        embedding = WordEmbedding(vocabulary, 6)
    return fill(embedding)


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary([*WORDS, *range(256)], tokenizer="characters")


def fill(embedding: WordEmbedding) -> WordEmbedding:
    """Gives every vector random values of its own."""
    embedding.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for table in embedding.parameters():
            table.normal_(generator=generator)
    return embedding


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_word_adds_the_mean_of_the_vectors_of_its_first_four_characters(dtype: torch.dtype) -> None:
    words = ["展昭", "大侠展昭", "明镜止水心法", "大大", "大大侠"]
    characters = sorted(set("".join(words)))
    vocabulary = Vocabulary([*words, *characters, *range(256)], tokenizer="characters")
    with torch.device("meta"):
        embedding = WordEmbedding(vocabulary, 6)
    fill(embedding)
    ids = torch.tensor([[vocabulary.token_to_id(word) for word in words]])
    embedding(ids)  # in another precision, of which nothing may be left
    embedding.to(dtype)

    def added(token: str) -> torch.Tensor:
        token_id = torch.tensor(vocabulary.token_to_id(token))
        difference: torch.Tensor = embedding(token_id) - embedding.weight[token_id]
        return difference.detach().double()

    of_character = {character: added(character) for character in characters}  # a mean over one is its vector
    assert len({tuple(vector.tolist()) for vector in of_character.values()}) == len(characters)
    for word in words:
        expected = sum(of_character[character] for character in word[:4]) / len(word[:4])
        torch.testing.assert_close(added(word), expected, atol=1e-6, rtol=0)
    assert embedding(ids).dtype == dtype


def test_words_that_share_characters_share_what_these_learn(embedding: WordEmbedding, vocabulary: Vocabulary) -> None:
    long, short, other = (vocabulary.token_to_id(word) for word in ("大侠展昭", "展昭", "明镜止水心法"))
    embedding(torch.tensor([long])).sum().backward()
    assert embedding.characters is not None
    assert embedding.characters.grad is not None
    moved = embedding.characters.grad.any(dim=1)

    def touched(token_id: int) -> list[bool]:
        rows = dict(embedding.touched_rows(torch.tensor([token_id])))
        return [bool(moved[row]) for row in rows[embedding.characters].tolist() if row]  # type: ignore[index]

    assert touched(short) == [True, True]
    assert touched(other) == [False] * 4  # the fifth and sixth character have no part in it


def test_bytes_and_special_tokens_have_no_characters(embedding: WordEmbedding, vocabulary: Vocabulary) -> None:
    ids = torch.tensor([[vocabulary.bos_id, *vocabulary.byte_ids[:3]]])
    assert torch.equal(embedding(ids), embedding.weight[ids])


@pytest.mark.parametrize("sparse", [False, True])
def test_touched_rows_are_those_that_get_a_gradient(embedding: WordEmbedding, sparse: bool) -> None:
    embedding.sparse = sparse
    ids = torch.tensor([[3, 9, 3], [260, 1, 2]])
    embedding(ids).square().sum().backward()
    for table, rows in embedding.touched_rows(ids):
        assert table.grad is not None
        gradient = table.grad.to_dense() if sparse else table.grad
        learned = gradient.any(dim=1).nonzero().squeeze(1).tolist()
        assert learned == [row for row in rows.tolist() if table is embedding.weight or row]
