"""The options of studies."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, Literal

from zh_lstm_lm._config import Config, check_choice, check_integer, check_number, check_type
from zh_lstm_lm.errors import ConfigError

__all__ = ["StudyConfig"]


def number(text: str) -> float:
    """Converts a number; an integer remains one."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def _option(
    default: Any,
    about: str,
    *,
    check: Callable[[str, Any], None],
    parse: Callable[[str], Any] = int,
    at_least: int | None = None,
) -> Any:
    """Declares an option; `check` gets a name and the value, or each value of a list, which has `at_least` so many."""
    return field(default=default, metadata={"help": about, "check": check, "parse": parse, "at_least": at_least})


def _check_string(name: str, value: object) -> None:
    check_type(name, value, str)


_check_positive = partial(check_integer, minimum=1)


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
        max_size: Maximum size of the vocabulary; None for no limit.
        prompt: The prompt of the passages; empty for the start of a document.
    """

    # fmt: off
    lengths: tuple[int, ...] = _option(
        (5, 10, 20, 35, 70, 140), "for seq-len: lengths of BPTT segments", check=_check_positive, at_least=2)
    shares: tuple[float, ...] = _option(
        (0.125, 0.25, 0.5, 1.0), "for epochs: proportions of the text",
        check=partial(check_number, maximum=1.0), parse=float, at_least=2)
    max_sizes: tuple[int, ...] | None = _option(
        None, "for vocabulary: sizes of the vocabulary (default: a quarter, half and all of --max-size)",
        check=_check_positive, at_least=2)
    tokenizers: tuple[str, ...] | None = _option(
        None, "for vocabulary, besides --tokenizer (default: jieba and characters, and rjieba if it is installed)",
        check=_check_string, parse=str, at_least=1)
    equality: Literal["tokens", "updates", "minutes"] = _option(
        "tokens", "equal amount for all conditions: tokens, updates or minutes",
        check=partial(check_choice, choices=("tokens", "updates", "minutes")), parse=str)
    budget: float | None = _option(
        None, "that amount: passes over the text, updates or minutes (default: 8 passes)",
        check=partial(check_number, exclusive=True, optional=True), parse=number)
    seeds: tuple[int, ...] = _option(
        (0, 1, 2), "each condition is trained with each",
        check=partial(check_integer, minimum=0, maximum=2**63 - 1), at_least=2)
    min_freq: int = _option(2, "minimum frequency of a word in the vocabulary", check=_check_positive)
    max_size: int | None = _option(
        60_000, "maximum size of the vocabulary", check=partial(check_integer, minimum=1, optional=True))
    prompt: str = _option(
        "", "start of the generated passages (default: the start of a document)", check=_check_string, parse=str)
    # fmt: on

    def __post_init__(self) -> None:
        for option in fields(self):
            name, value, at_least = option.name, getattr(self, option.name), option.metadata["at_least"]
            if at_least is None:
                option.metadata["check"](name, value)
            elif value is not None or option.default is not None:
                if (
                    not isinstance(value, (list, tuple))
                    or len(set(map(repr, value))) != len(value)
                    or len(value) < at_least
                ):
                    hint = "; one run has no spread" * (name == "seeds")
                    raise ConfigError(
                        f"{name} must be a list of at least {at_least} distinct values, got {value!r:.200}{hint}"
                    )
                for item in value:
                    option.metadata["check"](f"each of the {name}", item)
                object.__setattr__(self, name, tuple(value))
        if 0 in self.shares or 1 not in self.shares:
            raise ConfigError(f"shares must be above 0, and 1 (the whole text) one of them, got {self.shares!r}")
        if self.equality != "minutes":
            check_integer(f"budget with equality={self.equality!r}", self.budget, minimum=1, optional=True)
