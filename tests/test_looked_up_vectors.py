"""Vectors that are put together once, against the embedding that they come from."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, Vocabulary
from zh_lstm_lm.looked_up_vectors import LookedUpVectors

WORDS = ["展昭", "白玉堂", "雪", "笑道", "夜行衣", "酒店", "如飞而去"]
VOCABULARY = Vocabulary([*WORDS, *range(256)])


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, len(VOCABULARY) - 1), min_size=1, max_size=9), min_size=1, max_size=9))
def test_vectors_are_those_of_the_embedding(batches: list[list[int]]) -> None:
    embedding = LSTMLanguageModel(VOCABULARY, ModelConfig(embedding_dim=6, hidden_size=8)).embedding
    vectors = LookedUpVectors(embedding)
    with torch.inference_mode():
        for ids in map(torch.tensor, batches):
            assert torch.equal(vectors(ids), embedding(ids))


@pytest.mark.parametrize(("characters", "table"), [(True, "weight"), (True, "characters"), (False, "weight")])
def test_changed_weights_are_seen_when_a_text_begins(characters: bool, table: str) -> None:
    sizes = ModelConfig(embedding_dim=6, hidden_size=8, character_vectors=characters)
    embedding = LSTMLanguageModel(VOCABULARY, sizes).embedding
    vectors, ids = LookedUpVectors(embedding), torch.tensor([VOCABULARY.token_to_id("白玉堂")])
    with torch.no_grad():
        before = vectors(ids)
        getattr(embedding, table).add_(1.0)
        assert torch.equal(vectors(ids), before)
        vectors.begin()
        assert torch.equal(vectors(ids), embedding(ids))
    assert not torch.equal(embedding(ids), before)
