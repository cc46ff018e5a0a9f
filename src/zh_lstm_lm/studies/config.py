"""The options of studies."""

from dataclasses import dataclass

from zh_lstm_lm._config import Config, check_choice, check_integer, check_number, check_type
from zh_lstm_lm.errors import ConfigError

__all__ = ["StudyConfig"]


@dataclass(frozen=True)
class StudyConfig(Config):
    """The options of a study: its settings, and what they have in common.

    Attributes:
        lengths: BPTT segment lengths in tokens (for ``"seq-len"``).
        shares: Proportions of the training set (for ``"epochs"``), each trained on for as many tokens as the whole.
        max_sizes: Sizes of the vocabulary (for ``"vocabulary"``); None takes a quarter, a half and the whole of the
            vocabulary that `min_freq` and `max_size` give.
        tokenizers: Names of tokenizers to compare with that of the corpus (for ``"vocabulary"``); None takes jieba,
            characters, and rjieba if it is installed.
        equality: What all settings have in common: the same ``"tokens"``, ``"updates"`` or ``"minutes"`` of training.
        budget: Its amount: passes over the training set for ``"tokens"``, updates, or minutes. None takes 8 passes,
            the updates of the setting with the fewest in 8 passes, or 0.4 minutes.
        seeds: Seeds of weights and dropout; every setting is trained with each of them.
        min_freq: Minimum frequency of a word in the vocabulary; see `Vocabulary.from_stream`.
        max_size: Maximum size of the vocabulary.
        prompt: The prompt of the passages; empty for the start of a document.
    """

    lengths: tuple[int, ...] = (5, 10, 20, 35, 70, 140)
    shares: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0)
    max_sizes: tuple[int, ...] | None = None
    tokenizers: tuple[str, ...] | None = None
    equality: str = "tokens"
    budget: float | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    min_freq: int = 2
    max_size: int | None = 60_000
    prompt: str = ""

    def __post_init__(self) -> None:
        self._check_list("lengths", at_least=2)
        for length in self.lengths:
            check_integer("a length", length, minimum=1)
        self._check_list("shares", at_least=2)
        for share in self.shares:
            check_number("a share", share, maximum=1.0)
        if 0 in self.shares or 1 not in self.shares:
            raise ConfigError(f"shares must be above 0, and 1 (the whole text) one of them, got {self.shares!r}")
        if self.max_sizes is not None:
            self._check_list("max_sizes", at_least=2)
        if self.tokenizers is not None:
            self._check_list("tokenizers", at_least=1)
        check_choice("equality", self.equality, ("tokens", "updates", "minutes"))
        if self.equality == "minutes":
            check_number("budget", self.budget, exclusive=True, optional=True)
        else:
            check_integer(f"budget with equality={self.equality!r}", self.budget, minimum=1, optional=True)
        self._check_list("seeds", at_least=1)
        for seed in self.seeds:
            check_integer("a seed", seed, minimum=0, maximum=2**63 - 1)
        if len(self.seeds) < 2:
            raise ConfigError(f"seeds must be at least two, got {self.seeds!r}: one run has no spread; give (0, 1, 2)")
        check_integer("min_freq", self.min_freq, minimum=1)
        check_integer("max_size", self.max_size, minimum=1, optional=True)
        check_type("prompt", self.prompt, str)

    def _check_list(self, name: str, *, at_least: int) -> None:
        """Raises ConfigError unless the option is a list of enough distinct values; converts it to a tuple."""
        values = getattr(self, name)
        if (
            not isinstance(values, (list, tuple))
            or len(set(map(repr, values))) != len(values)
            or len(values) < at_least
        ):
            raise ConfigError(f"{name} must be a list of at least {at_least} distinct values, got {values!r}")
        object.__setattr__(self, name, tuple(values))
