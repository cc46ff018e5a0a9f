"""Co-writing: a writer and a model write a text in turn."""

from dataclasses import dataclass, replace

from typing_extensions import Unpack

from zh_lstm_lm._config import check_integer, check_text, check_type
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.generation.limits import LimitOptions, Limits
from zh_lstm_lm.generation.result import GenerationResult, GenerationState
from zh_lstm_lm.generation.sampler import Sampler

__all__ = ["CoWriter"]


@dataclass(frozen=True)
class _Step:
    """A step of the text: the added text, the state after it, its seed, and the number of samples tried for it."""

    added: str
    state: GenerationState
    seed: int
    tried: int = 0


class CoWriter:
    """A text that a writer and a model write in turn; each step can be undone.

    Args:
        sampler: The sampler of the model.
        prompt: The start of the text.
        **limits: Limits of one turn of the model; one sentence by default.

    Attributes:
        sampler: The sampler; another one of the same model takes effect with the next turn.
        limits: The limits of a turn, likewise.

    Example:
        >>> writer = CoWriter(sampler, "话说")  # doctest: +SKIP
        >>> writer.go_on(), writer.again(), writer.undo(), writer.text  # doctest: +SKIP
    """

    def __init__(self, sampler: Sampler, prompt: str = "", **limits: Unpack[LimitOptions]) -> None:
        check_type("sampler", sampler, Sampler)
        check_text("prompt", prompt)
        self.sampler = sampler
        self.limits: LimitOptions = limits or {"max_sentences": 1}
        # What a later turn would refuse is refused now.
        Limits(**self.limits)
        start = sampler.generate(prompt, return_results=True, max_new_tokens=0).state
        self._steps = [_Step(prompt, start, sampler.config.seed)]
        self._offered: list[GenerationResult] = []

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(step.added for step in self._steps)

    def go_on(self) -> str:
        """Lets the model continue; returns the text that it added."""
        return self._take(self._sample(1)[0], tried=1)

    def again(self) -> str:
        """Replaces the last turn of the model by another sample; returns the text that it added.

        Raises:
            ConfigError: The last step was not the model's.
        """
        tried = self._steps[-1].tried
        if not tried:
            raise ConfigError("there is no turn of the model to write again; call go_on() first")
        (result,) = self._sample(1, first=tried, before=2)
        self._steps.pop()
        return self._take(result, tried=tried + 1)

    def choices(self, number: int) -> list[str]:
        """Returns several continuations, of which `choose` takes one.

        Raises:
            ConfigError: `number` is out of range.
        """
        check_integer("number", number, minimum=1)
        self._offered = self._sample(number)
        return [result.text for result in self._offered]

    def choose(self, number: int) -> str:
        """Takes one of the choices, counted from 1; returns the text that it added.

        Raises:
            ConfigError: There is no such choice.
        """
        check_integer("number", number, minimum=0)
        if not 1 <= number <= len(self._offered):
            offered = f"from 1 to {len(self._offered)}" if self._offered else "none is offered; ask for choices first"
            raise ConfigError(f"no choice {number}: {offered}")
        return self._take(self._offered[number - 1], tried=len(self._offered))

    def add(self, text: str) -> None:
        """Adds text of the writer."""
        check_text("text", text)
        state = self._steps[-1].state
        result = self.sampler.generate(text, state=state, return_results=True, max_new_tokens=0)
        self._push(_Step(text, result.state, self._steps[-1].seed))

    def undo(self) -> bool:
        """Undoes the last step; returns False if only the prompt is left."""
        self._offered = []
        return len(self._steps) > 1 and bool(self._steps.pop())

    def _sample(self, number: int, *, first: int = 0, before: int = 1) -> list[GenerationResult]:
        step = self._steps[-before]
        # Another seed starts new random numbers.
        state = step.state if step.seed == self.sampler.config.seed else replace(step.state, random=None)
        return self.sampler.generate(
            [""], num_samples=number, first_sample=first, state=state, return_results=True, **self.limits
        )

    def _take(self, result: GenerationResult, *, tried: int) -> str:
        self._push(_Step(result.text, result.state, self.sampler.config.seed, tried))
        return result.text

    def _push(self, step: _Step) -> None:
        self._offered = []
        self._steps.append(step)
