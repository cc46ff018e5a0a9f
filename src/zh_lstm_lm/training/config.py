"""The options of a training run."""

from dataclasses import dataclass
from os import PathLike
from typing import Literal

from zh_lstm_lm._config import Config, check_choice, check_integer, check_number, check_type
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.runtime.devices import PRECISIONS

__all__ = ["TrainerConfig"]

_DEFAULT_EPOCHS = 3
# Single precision ends at 3.4e38, and the embedding learns at three times the rate.
_MAX_LEARNING_RATE = 1e38


@dataclass(frozen=True)
class TrainerConfig(Config):
    """Options of training. The first budget that is used up ends the run; without any, it is 3 epochs.

    Attributes:
        max_epochs: Passes over the training text.
        max_steps: Number of updates.
        max_minutes: Wall time inside `fit`, evaluation and saving included, over all resumes. The learning rate follows
            the time that is used.
        batch_size: Batch rows, over all processes; None for up to 32 in each (128 on CUDA), fewer for a small text, so
            that an epoch has about a hundred updates.
        bptt_len: Length of a BPTT segment in tokens, over which gradients flow back.
        carry_state: Whether a segment continues from the state after the one before it; if not, each starts from zero.
        learning_rate: Peak learning rate of Adam; None for 5e-3, and for a run of more than 3,000 updates less, by the
            cube root of their number.
        schedule: How the rate falls to a hundredth over the run: ``"linear"`` (slowly to a half, then faster) or
            ``"cosine"``; ``"constant"`` stays.
        warmup_steps: Updates over which the rate rises from zero; 0 for none.
        betas: Decay rates of Adam. Without momentum, a rare word's update is not spread over updates in which it does
            not occur.
        weight_decay: Decoupled weight decay of the LSTM's weight matrices (AdamW; Loshchilov and Hutter, 2019): each update
            multiplies them by ``1 - learning_rate * weight_decay``. 0 for none.
        average_weights: Whether to evaluate, save and return averages of the weights over about the last fifth of the
            updates so far, which are less noisy (Shamir and Zhang, 2013). There are none before update 100, with a custom
            optimizer, and for weights of 16 bits.
        max_grad_norm: Norm above which gradients are scaled down to it.
        max_rollbacks: Times that a run may roll back to its newest checkpoint, and go on with half the rate, when the
            loss or a gradient is no longer finite; 0 ends it with an error.
        eval_steps: Updates between evaluations on the validation set, besides the end of every epoch; None for about
            ten evaluations in a run, which inside an epoch read a sample of a large validation set.
        patience: Evaluations without a lower validation loss after which the run stops; None never stops it.
        seed: Seed of the dropout masks.
        run_dir: Folder for checkpoints, history and the best model; None writes nothing.
        checkpoint_minutes: A checkpoint is written at least this often, besides those at every evaluation.
        keep_last: Number of checkpoints that are kept, besides the best one.
        device: ``"auto"`` (a CUDA device if there is one), or a name such as ``"cpu"`` or ``"cuda:1"``.
        precision: Precision of matrix products: ``"float32"``, ``"tf32"`` (CUDA only) or ``"bfloat16"`` (on CUDA those
            outside the LSTM, which is in tf32; on the CPU all). ``"auto"`` is tf32 on CUDA, bfloat16 on a CPU that computes
            in it (from a hidden size of 128 on), and float32 elsewhere. Weights, sums and updates are float32 in all of
            them.
    """

    max_epochs: int | None = None
    max_steps: int | None = None
    max_minutes: float | None = None
    batch_size: int | None = None
    bptt_len: int = 35
    carry_state: bool = True
    learning_rate: float | None = None
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_steps: int = 50
    betas: tuple[float, float] = (0.0, 0.999)
    weight_decay: float = 0.3
    average_weights: bool = True
    max_grad_norm: float = 0.5
    max_rollbacks: int = 0
    eval_steps: int | None = None
    patience: int | None = None
    seed: int = 0
    run_dir: str | PathLike[str] | None = None
    checkpoint_minutes: float = 10.0
    keep_last: int = 2
    device: str = "auto"
    precision: Literal["auto", "float32", "tf32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        for name in ("max_epochs", "max_steps", "batch_size", "eval_steps", "patience"):
            check_integer(name, getattr(self, name), minimum=1, optional=True)
        check_number("max_minutes", self.max_minutes, exclusive=True, optional=True)
        check_integer("bptt_len", self.bptt_len, minimum=1)
        check_type("carry_state", self.carry_state, bool)
        check_number("learning_rate", self.learning_rate, exclusive=True, optional=True)
        if self.learning_rate is not None and self.learning_rate > _MAX_LEARNING_RATE:
            raise ConfigError(f"learning_rate must be at most {_MAX_LEARNING_RATE:g}, got {self.learning_rate!r}")
        check_choice("schedule", self.schedule, ("linear", "cosine", "constant"))
        check_integer("warmup_steps", self.warmup_steps, minimum=0)
        if not isinstance(self.betas, (list, tuple)) or len(self.betas) != 2:
            raise ConfigError(f"betas must be a pair of numbers from 0 to below 1, got {self.betas!r}")
        for beta in self.betas:
            check_number("betas", beta, maximum=0.999999)
        object.__setattr__(self, "betas", tuple(self.betas))
        check_number("weight_decay", self.weight_decay)
        check_type("average_weights", self.average_weights, bool)
        check_number("max_grad_norm", self.max_grad_norm, exclusive=True)
        check_integer("max_rollbacks", self.max_rollbacks, minimum=0)
        check_integer("seed", self.seed, minimum=0, maximum=2**63 - 1)
        check_type("run_dir", self.run_dir, str, PathLike, type(None))
        if self.max_rollbacks and self.run_dir is None:
            raise ConfigError(
                f"max_rollbacks={self.max_rollbacks} needs run_dir: a run rolls back to a checkpoint in it"
            )
        check_number("checkpoint_minutes", self.checkpoint_minutes, exclusive=True)
        check_integer("keep_last", self.keep_last, minimum=1)
        check_type("device", self.device, str)
        check_choice("precision", self.precision, PRECISIONS)

    def step_budget(self, steps_per_epoch: int) -> int | None:
        """Returns the number of updates that the budgets other than time allow; None if only time bounds the run."""
        check_integer("steps_per_epoch", steps_per_epoch, minimum=0)
        epochs = self.max_epochs
        if epochs is None and self.max_steps is None and self.max_minutes is None:
            epochs = _DEFAULT_EPOCHS
        bounds = [bound for bound in (self.max_steps, epochs and epochs * steps_per_epoch) if bound]
        return min(bounds, default=None)
