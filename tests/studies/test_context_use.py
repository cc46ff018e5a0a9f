"""Losses by position and by context against reading every window by itself."""

import pytest
import torch

from zh_lstm_lm import LSTMLanguageModel, TokenStream, Vocabulary
from zh_lstm_lm.studies.context_use import context_used, loss_by_context, loss_by_position


def loss_after(model: LSTMLanguageModel, seen: list[int], target: int) -> float:
    with torch.no_grad():
        return -float(torch.log_softmax(model(torch.tensor([seen]))[0][0, -1].double(), dim=-1)[target])


@pytest.fixture
def ids(vocabulary: Vocabulary, stream: TokenStream) -> torch.Tensor:
    # The beginning of a second document is among them.
    return vocabulary.encode_stream(stream)[:90]


def test_loss_by_context_is_that_of_the_last_tokens_alone(model: LSTMLanguageModel, ids: torch.Tensor) -> None:
    every = len(ids) - 6
    found = loss_by_context(model, ids, context_tokens=(1, 3, 6), num_positions=every)
    read = ids.tolist()
    places = [place for place in range(6, len(read)) if read[place] != model.vocabulary.bos_id]
    assert len(places) < every, "a document begins among them"
    for seen, loss in zip((1, 3, 6), found, strict=True):
        losses = [loss_after(model, read[place - seen : place], read[place]) for place in places]
        assert loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_loss_by_position_is_that_since_the_zero_state(model: LSTMLanguageModel, ids: torch.Tensor) -> None:
    length = 5
    every = len(ids) - length
    found = loss_by_position(model, ids, length=length, num_segments=every)
    read = ids.tolist()
    for position in range(length):
        losses = [
            loss_after(model, read[start : start + position + 1], read[start + position + 1])
            for start in range(every)
            if read[start + position + 1] != model.vocabulary.bos_id
        ]
        assert found[position] == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_context_used_is_the_first_that_is_near_enough() -> None:
    assert context_used([1, 2, 4, 8], [6.0, 5.5, 5.009, 5.0]) == 4
    assert context_used([1, 2, 4, 8], [6.0, 5.5, 5.02, 5.0]) == 8
    assert context_used([1, 2], [5.0, 5.0]) == 1
    assert context_used([1, 2, 4], [5.5, 5.0, 5.1]) == 2, "more than that only confuses it"
