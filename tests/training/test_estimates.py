"""The estimate of a training run, with a clock of our own."""

from collections.abc import Iterator

import pytest

from zh_lstm_lm import (
    DataError,
    LSTMLanguageModel,
    ModelConfig,
    TokenStream,
    TrainerConfig,
    Vocabulary,
    estimate_training,
)
from zh_lstm_lm.corpus.batches import TrainingWindows
from zh_lstm_lm.training.memory import optimizer_bytes

SIZES = ModelConfig(embedding_dim=8, hidden_size=16)
WINDOWS = TrainerConfig(batch_size=4, bptt_len=5, max_minutes=1, run_dir="not-written")


def steps_of(*seconds: float) -> Iterator[float]:
    """A clock by which the steps take these seconds in turn."""
    now = 0.0
    while True:
        for step in seconds:
            now += step
            yield now


def test_time_is_the_median_step_times_the_steps_of_an_epoch(
    vocabulary: Vocabulary, stream: TokenStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = steps_of(2.0, 2.0, 2.0, 100.0, 2.0)  # one in five is disturbed
    monkeypatch.setattr("zh_lstm_lm.training.estimates.perf_counter", lambda: next(ticks))
    estimate = estimate_training(vocabulary, stream, SIZES, WINDOWS)

    windows = TrainingWindows(vocabulary.encode_stream(stream), batch_size=4, bptt_len=5)
    assert estimate.seconds_per_epoch == pytest.approx(2.0 * len(windows))
    assert estimate.tokens_per_second == pytest.approx(len(stream) / estimate.seconds_per_epoch)
    assert estimate.num_parameters == LSTMLanguageModel(vocabulary, SIZES).num_parameters
    assert f"{estimate.num_parameters:,} weights" in str(estimate)


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("run_dir", [None, "not-written"])
def test_peak_memory_is_that_of_this_process_and_the_copies_to_come(
    vocabulary: Vocabulary, stream: TokenStream, run_dir: str | None, average: bool
) -> None:
    resource = pytest.importorskip("resource", reason="the system does not tell")
    windows = TrainerConfig(batch_size=4, bptt_len=5, max_minutes=1, run_dir=run_dir, average_weights=average)
    held = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    estimate = estimate_training(vocabulary, stream, SIZES, windows)

    assert estimate.peak_memory is not None
    model = LSTMLanguageModel(vocabulary, SIZES)
    copied = (8 if average else 4) * model.num_parameters + (
        optimizer_bytes(model, betas=windows.betas) if run_dir else 0
    )
    assert held <= estimate.peak_memory - copied <= 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert held > 50e6  # torch alone is more


def test_too_little_text_is_told(vocabulary: Vocabulary) -> None:
    with pytest.raises(DataError, match="tokens"):
        estimate_training(vocabulary, TokenStream.from_texts(["雪"], tokenizer="characters"), SIZES)
