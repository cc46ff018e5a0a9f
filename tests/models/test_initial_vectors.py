"""Initial word vectors from the pairs of neighbours in a text."""

import itertools
import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from zh_lstm_lm import ConfigError, LSTMLanguageModel, ModelConfig, TokenStream, Trainer, TrainerConfig, Vocabulary
from zh_lstm_lm.models.layers import neighbour_vectors


def alike(vectors: Tensor) -> Tensor:
    """Cosine similarities of all pairs of rows."""
    normed = torch.nn.functional.normalize(vectors, dim=1)
    return normed @ normed.t()


def test_vectors_are_those_of_the_exact_decomposition() -> None:
    """The oracle counts pairs one by one and decomposes the whole matrix."""
    generator = torch.Generator().manual_seed(0)
    size, width = 30, 20
    ids = torch.multinomial(1 / torch.arange(1.0, size + 1), 4000, replacement=True, generator=generator).int()
    ids[1::2] = (ids[:-1:2] * 7 + 3) % size
    text = ids.tolist()
    pairs, counts = Counter(itertools.pairwise(text)), Counter(text)
    matrix = torch.zeros(size, 2 * size, dtype=torch.float64)
    for (first, second), count in pairs.items():
        information = max(0.0, math.log(count * len(text) / (counts[first] * counts[second])))
        matrix[first, second] = information
        matrix[second, size + first] = information
    left, values, _ = torch.linalg.svd(matrix)
    expected = left[:, :width] * values[:width].sqrt()
    expected -= expected.mean(dim=0)
    found = neighbour_vectors(ids, size, width, torch.Generator().manual_seed(1))
    assert found.shape == (size, width)
    # Vectors may be turned and mirrored as a whole.
    torch.testing.assert_close(alike(found.double()), alike(expected), atol=1e-3, rtol=0)
    assert bool((found.norm(dim=1) <= 1).all())


def words_in_frames(texts: int) -> TokenStream:
    """A text in which 春 and 秋 stand between the same neighbours, and 山 and 水 between others."""
    generator = torch.Generator().manual_seed(0)
    seasons = torch.randint(2, (texts, 2), generator=generator).tolist()
    lines = [f"到 {'春秋'[a]} 天 了 看 {'山水'[b]} 去 也" for a, b in seasons]
    return TokenStream.from_texts(["\n".join(lines)], tokenizer="whitespace")


@pytest.mark.parametrize(
    "options",
    [
        {"output": "full"},
        {"output": "adaptive", "cutoffs": (6, 9), "tie_weights": False},
        {"tie_weights": True},
        {"tie_weights": True, "output": "adaptive", "cutoffs": (6, 9), "character_vectors": False},
    ],
)
def test_words_with_the_same_neighbours_start_alike(options: dict[str, object]) -> None:
    text = words_in_frames(200)
    vocabulary = Vocabulary.from_stream(text)
    config = ModelConfig(embedding_dim=8, hidden_size=16, seed=3, **options)  # type: ignore[arg-type]
    model = LSTMLanguageModel(vocabulary, config, text=text)
    spring, autumn, hill = (vocabulary.token_to_id(word) for word in "春秋山")
    tables = [model.embedding.for_decoding().weight.detach()]
    tables += (
        [torch.cat([weight.detach() for weight in model.output.token_vectors()])]
        if options == {"output": "full"}
        else []
    )
    for table in tables:
        similarities = alike(table)
        assert similarities[spring, autumn] > 0.8
        assert similarities[spring, hill] < 0.6
    plain = LSTMLanguageModel(vocabulary, config)
    again = LSTMLanguageModel(vocabulary, config, text=text)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, again.state_dict()[name], atol=1e-5, rtol=0)
        assert bool(weight.isfinite().all())
        if "layers" in name or "bias" in name or "narrow" in name:
            assert torch.equal(weight, plain.state_dict()[name]), "only the vectors of words are other ones"


@pytest.mark.parametrize(("tied", "expected"), [(False, 3.0), (True, 1.0)])
@pytest.mark.parametrize("from_text", [False, True])
def test_rows_of_the_embedding_are_long_unless_they_are_shared(tied: bool, expected: float, from_text: bool) -> None:
    text = words_in_frames(200)
    config = ModelConfig(embedding_dim=64, hidden_size=16, tie_weights=tied)
    model = LSTMLanguageModel(Vocabulary.from_stream(text), config, text=text if from_text else None)
    # Words with few neighbours in so short a text get shorter vectors.
    assert 0.6 * expected < model.embedding.weight.norm(dim=1).mean().item() < 1.2 * expected


def test_a_short_run_learns_more_from_such_vectors() -> None:
    text = words_in_frames(60)
    vocabulary = Vocabulary.from_stream(text)
    for seed in range(3):
        config = ModelConfig(embedding_dim=8, hidden_size=16, dropout=0.1, seed=seed)
        losses = []
        for given in (None, text):
            model = LSTMLanguageModel(vocabulary, config, text=given)
            # After ten updates the sign of the difference depends on the seed and on the processor.
            history = Trainer(model, text, None, TrainerConfig(max_steps=40), progress=False).fit()
            losses.append(history[-1]["train_loss"])
        assert losses[1] < losses[0] - 0.02


@pytest.mark.parametrize("text", ["一", "天"])
def test_a_text_without_pairs_gives_vectors_all_the_same(text: str) -> None:
    stream = TokenStream.from_texts([text])
    model = LSTMLanguageModel(Vocabulary.from_stream(stream), ModelConfig(embedding_dim=4, hidden_size=4), text=stream)
    assert all(bool(weight.isfinite().all()) for weight in model.parameters())


def test_what_is_no_text_is_refused_by_name() -> None:
    vocabulary = Vocabulary.from_stream(words_in_frames(5))
    with pytest.raises(ConfigError, match="text must be"):
        LSTMLanguageModel(vocabulary, text="春天")  # type: ignore[arg-type]
