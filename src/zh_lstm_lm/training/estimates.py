"""Estimates of speed and memory of a training run, from a few real updates on this machine."""

import itertools
import statistics
import sys
from dataclasses import dataclass, replace
from time import perf_counter

import torch

from zh_lstm_lm._config import check_type
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.corpus.vocabulary import Vocabulary
from zh_lstm_lm.models.config import ModelConfig
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.training.callbacks import Callback
from zh_lstm_lm.training.config import TrainerConfig
from zh_lstm_lm.training.memory import optimizer_bytes
from zh_lstm_lm.training.state import TrainerState
from zh_lstm_lm.training.trainer import Trainer

if sys.platform != "win32":
    import resource

__all__ = ["TrainingEstimate", "estimate_training"]

# The first updates are slower than the rest.
_WARMING_STEPS = 5
_TIMED_STEPS = 30


@dataclass(frozen=True)
class TrainingEstimate:
    """Speed and memory of training with some options.

    Attributes:
        num_parameters: Weights of the model.
        peak_memory: Most memory that training will hold in this process, in bytes: what the process has held so far,
            trial updates included, copies of the best weights and of averages and, with a `run_dir`, the optimizer's
            means once more while they are written. None if the system does not report it.
        tokens_per_second: Training speed.
        seconds_per_epoch: Time for one pass over the training text, without evaluation.
    """

    num_parameters: int
    peak_memory: int | None
    tokens_per_second: float
    seconds_per_epoch: float

    def __str__(self) -> str:
        """Returns the estimate as a line of text."""
        memory = f", {self.peak_memory / 1e6:,.0f} MB of memory" if self.peak_memory else ""
        return (
            f"{self.num_parameters:,} weights{memory}, {self.tokens_per_second:,.0f} tokens/s, "
            f"{self.seconds_per_epoch / 60:,.1f} minutes an epoch"
        )


class _Stopwatch(Callback):
    """Records when each update ends."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)
        self.times.append(perf_counter())


def estimate_training(
    vocabulary: Vocabulary,
    train: TokenStream,
    model_config: ModelConfig | None = None,
    trainer_config: TrainerConfig | None = None,
) -> TrainingEstimate:
    """Estimates speed and memory of training, with a model that is trained for a few updates and thrown away.

    Args:
        vocabulary: The vocabulary.
        train: The training text.
        model_config: Sizes; None for the defaults.
        trainer_config: Options of training; its budgets do not matter, and nothing is written.

    Raises:
        ConfigError: An option does not fit.
        DataError: There is too little text.
    """
    check_type("vocabulary", vocabulary, Vocabulary)
    check_type("train", train, TokenStream)
    check_type("model_config", model_config, ModelConfig, type(None))
    check_type("trainer_config", trainer_config, TrainerConfig, type(None))
    trial = replace(
        trainer_config or TrainerConfig(),
        max_steps=_WARMING_STEPS + _TIMED_STEPS,
        max_epochs=None,
        max_minutes=None,
        patience=None,
        max_rollbacks=0,
        run_dir=None,
    )
    stopwatch = _Stopwatch()
    model = LSTMLanguageModel(vocabulary, model_config)
    trainer = Trainer(model, train, None, trial, callbacks=[stopwatch], progress=False)
    trainer.fit()
    times = stopwatch.times[-_TIMED_STEPS - 1 :]
    each = statistics.median(after - before for before, after in itertools.pairwise(times))
    seconds = each * trainer.state.steps_per_epoch
    peak = peak_memory()
    # Of the best weights, and of their averages, which begin later than the trial ends.
    copies = (1 + trial.average_weights) * sum(parameter.nbytes for parameter in model.parameters())
    if trainer_config is not None and trainer_config.run_dir is not None:
        copies += optimizer_bytes(model, betas=trial.betas)
    memory = peak + copies if peak is not None else None
    return TrainingEstimate(model.num_parameters, memory, len(train) / seconds, seconds)


def peak_memory() -> int | None:
    """Returns the peak memory of this process in bytes; None if the system does not report it."""
    if sys.platform == "win32":
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
