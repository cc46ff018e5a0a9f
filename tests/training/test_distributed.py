from typing import Any

import pytest

from zh_lstm_lm import CheckpointError, VocabularyError, ZhLstmLmError
from zh_lstm_lm.storage.safe_reading import NewerFormatError
from zh_lstm_lm.training.distributed import Ranks


class Told(Ranks):
    """One of two ranks; what the first one sends is kept for the other."""

    def __init__(self, rank: int, sent: list[bytes]) -> None:
        super().__init__(rank, 2)
        self._sent = sent

    def bytes_from_first(self, data: bytes) -> bytes:
        if self.rank == 0:
            self._sent.append(data)
        return self._sent[-1]


@pytest.mark.parametrize(
    ("error", "known"),
    [(NewerFormatError, CheckpointError), (VocabularyError, VocabularyError), (ZhLstmLmError, ZhLstmLmError)],
)
def test_an_error_of_the_first_rank_s_work_is_one_of_all(
    error: type[ZhLstmLmError], known: type[ZhLstmLmError]
) -> None:
    """Also one of a kind that the others do not know, which is told as the kind that it is a kind of."""
    sent: list[bytes] = []
    first, second = Told(0, sent), Told(1, sent)

    def fail() -> int:
        raise error("run.json: a newer format")

    with pytest.raises(error, match="a newer format"):
        first.by_first(fail)
    with pytest.raises(known, match="a newer format") as caught:
        second.by_first(fail)
    assert type(caught.value) is known


def test_what_the_first_rank_finds_is_what_all_get() -> None:
    sent: list[bytes] = []
    first, second = Told(0, sent), Told(1, sent)
    found: list[Any] = [1, "a", None]
    assert first.by_first(lambda: found) == found
    assert second.by_first(lambda: ["asked of nobody"]) == found
