"""Writing text with a model: the prompt is read once, then one token at a time, carrying the state."""

import contextlib
import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from zh_lstm_lm import logits_processors
from zh_lstm_lm._config import Config, check_integer, check_number, check_type
from zh_lstm_lm.errors import ConfigError, DataError
from zh_lstm_lm.evaluation import evaluation_mode
from zh_lstm_lm.logits_processors import LogitsProcessor
from zh_lstm_lm.model import LSTMLanguageModel
from zh_lstm_lm.recurrent import LSTMState

__all__ = ["Sampler", "SamplerConfig"]

_DEFAULT_NEW_TOKENS = 200
_PROMPT_WINDOW = 1024


@dataclass(frozen=True)
class SamplerConfig(Config):
    """How tokens are drawn.

    Attributes:
        temperature: Under 1 likely words become likelier; 1 changes nothing, 0 always takes the likeliest.
        top_k: Draws only from the likeliest `top_k` tokens; 0 draws from all.
        top_p: Draws only from the likeliest tokens that together have this probability; 1 draws from all.
        seed: What the draws come from; equal seeds give equal text.
    """

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature)
        check_integer("top_k", self.top_k, minimum=0)
        check_number("top_p", self.top_p, maximum=1.0)
        if self.top_p == 0:
            raise ConfigError("top_p must be above 0, got 0; temperature=0 always takes the likeliest token")
        check_integer("seed", self.seed, minimum=0, maximum=2**63 - 1)


class Sampler:
    """Writes text with a model (a sampler of text, not of data as in `torch.utils.data`).

    Each call starts again from the seed, so the same call gives the same text. The model is given back in its mode,
    and PyTorch's random state is not touched. ``<bos>``, ``<unk>`` and single bytes are never drawn.

    Example:
        >>> sampler = Sampler(model, SamplerConfig(temperature=0.8, seed=1))  # doctest: +SKIP
        >>> print(sampler.generate("话说", max_new_tokens=200))  # doctest: +SKIP
    """

    def __init__(self, model: LSTMLanguageModel, config: SamplerConfig | None = None) -> None:
        """Sets a sampler up.

        Args:
            model: The model.
            config: Options; None takes the defaults.

        Raises:
            ConfigError: An argument has the wrong type.
        """
        check_type("model", model, LSTMLanguageModel)
        check_type("config", config, SamplerConfig, type(None))
        self.model = model
        self.config = config = config or SamplerConfig()
        vocabulary = model.vocabulary
        self._lengths = torch.tensor([len(token) for token in vocabulary])
        self._lengths[[vocabulary.bos_id, *vocabulary.byte_ids, *filter(None, [vocabulary.unk_id])]] = 0  # never drawn
        self._longest = int(self._lengths.max())
        self._processors: list[LogitsProcessor] = []
        if config.temperature > 0:
            self._processors = [
                logits_processors.temperature(config.temperature),
                logits_processors.top_k(config.top_k),
                logits_processors.top_p(config.top_p),
            ]

    def generate(
        self,
        prompt: str = "",
        *,
        max_new_tokens: int | None = None,
        max_characters: int | None = None,
        stop: str | Sequence[str] | None = None,
    ) -> str:
        """Continues a prompt.

        Args:
            prompt: What the text begins with; empty for the start of a document.
            max_new_tokens: Tokens to write; 200 where no limit is given.
            max_characters: Length of the text in characters, prompt and paragraph ends included. It is met exactly:
                where little room is left, only words that fit are drawn.
            stop: The text ends with the word that completes one of these strings.

        Returns:
            The text, with the prompt.

        Raises:
            ConfigError: A limit is out of range, or smaller than the prompt.
            DataError: The prompt is not text.
        """
        return "".join(self.stream(prompt, max_new_tokens=max_new_tokens, max_characters=max_characters, stop=stop))

    def stream(
        self,
        prompt: str = "",
        *,
        max_new_tokens: int | None = None,
        max_characters: int | None = None,
        stop: str | Sequence[str] | None = None,
    ) -> Iterator[str]:
        """Continues a prompt piece by piece: the prompt, then word after word as they are drawn.

        Args and errors as in `generate`; they are checked at the call.
        """
        check_integer("max_new_tokens", max_new_tokens, minimum=0, optional=True)
        check_integer("max_characters", max_characters, minimum=1, optional=True)
        stops = _stop_strings(stop)
        prompt_ids = self.model.vocabulary.encode(prompt)
        if max_characters is not None and len(prompt) > max_characters:
            raise ConfigError(
                f"max_characters counts the prompt: it must be at least {len(prompt)} here, got {max_characters}"
            )
        if max_new_tokens is None:
            max_new_tokens = _DEFAULT_NEW_TOKENS if max_characters is None else max_characters
        room = max_characters - len(prompt) if max_characters is not None else None
        return self._pieces(prompt, prompt_ids, max_new_tokens, room, stops)

    def _pieces(
        self, prompt: str, prompt_ids: list[int], max_new_tokens: int, room: int | None, stops: list[str]
    ) -> Iterator[str]:
        if prompt:
            yield prompt
        vocabulary = self.model.vocabulary
        generator = self._generator(sample=0)
        unread, state = [vocabulary.bos_id, *prompt_ids], None
        ids = torch.tensor(unread, device=self.model.device)
        kept = max(map(len, stops), default=1) - 1
        tail = prompt[-kept:] if kept else ""
        for _ in range(max_new_tokens):
            if room == 0:
                return
            logits, state = self._read(unread, state)
            drawn = self._draw(ids, logits, generator, room)
            unread = [drawn]
            ids = torch.cat([ids, ids.new_tensor(unread)])
            piece = vocabulary.id_to_token(drawn)
            yield piece
            before, tail = len(tail), tail + piece
            if any(tail.find(string, max(0, before - len(string) + 1)) >= 0 for string in stops):
                return  # one that ends in what was just written; it may have begun in the prompt
            tail = tail[-kept:] if kept else ""
            if room is not None:
                room -= len(piece)

    def _read(self, ids: list[int], state: LSTMState | None) -> tuple[Tensor, LSTMState]:
        """Reads ids and scores what comes next. **Shape:** (vocab_size,)."""
        with evaluation_mode(self.model):
            inputs = torch.tensor([ids], device=self.model.device)
            for start in range(0, len(ids) - 1, _PROMPT_WINDOW):  # all but the last: no scores are needed
                _, state = self.model.hidden_states(inputs[:, start : min(start + _PROMPT_WINDOW, len(ids) - 1)], state)
            logits, state = self.model(inputs[:, -1:], state)
        return logits[0, 0], state

    def _draw(self, ids: Tensor, logits: Tensor, generator: torch.Generator, room: int | None) -> int:
        allowed = self._lengths > 0
        if room is not None and room < self._longest:
            allowed = allowed & (self._lengths <= room)
        with torch.inference_mode():
            logits = logits.masked_fill(~allowed.to(logits.device), -math.inf)
            if self.config.temperature == 0:
                return int(logits.argmax())
            for process in self._processors:
                logits = process(ids, logits)
            return int(_draw_from(logits, generator))

    def _generator(self, sample: int) -> torch.Generator:
        """A generator of its own for each sample of a seed."""
        mixed = hashlib.sha256(f"{self.config.seed} {sample}".encode()).digest()
        return torch.Generator(self.model.device).manual_seed(int.from_bytes(mixed[:7], "big"))

    def write(
        self,
        path: str | PathLike[str],
        *,
        prompt: str = "",
        max_new_tokens: int | None = None,
        max_characters: int | None = None,
        stop: str | Sequence[str] | None = None,
    ) -> Path:
        """Writes a text into a UTF-8 file as it is made.

        Until it is complete, it grows in ``PATH.part`` beside its place; a file that was at `path` stays until then.

        Args and errors as in `generate`, and:

        Args:
            path: The file.
            prompt: What the text begins with.
            max_new_tokens: Tokens to write.
            max_characters: Length of the text in characters.
            stop: The text ends with the word that completes one of these strings.

        Returns:
            The path.

        Raises:
            DataError: The file cannot be written.
        """
        pieces = self.stream(prompt, max_new_tokens=max_new_tokens, max_characters=max_characters, stop=stop)
        path = Path(path)
        if not path.name:
            raise DataError(f"{str(path)!r} cannot be written: it is not the name of a file; give one")
        part = path.with_name(f"{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(None, "it is a folder")
            with part.open("w", encoding="utf-8", newline="\n") as file:
                for piece in pieces:
                    file.write(piece)
                    if "\n" in piece:
                        file.flush()
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise DataError(f"{path}: cannot be written ({error.strerror}); choose another file") from error
        return path


def _draw_from(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Draws a token by inverting the distribution function: one random number instead of one for each token.

    A token of probability 0 is never drawn: its step has no width.
    """
    steps = torch.softmax(logits, dim=-1, dtype=torch.float64).cumsum(dim=-1)  # (vocab_size,)
    uniform = torch.rand(1, dtype=torch.float64, device=logits.device, generator=generator)  # in [0, 1)
    return torch.searchsorted(steps, uniform * steps[-1:], right=True)


def _stop_strings(stop: str | Sequence[str] | None) -> list[str]:
    if not isinstance(stop, (str, Iterable, type(None))):
        raise ConfigError(f"stop must be a string or a list of strings, got {stop!r}")
    strings = [stop] if isinstance(stop, str) else list(stop or ())
    for string in strings:
        if not isinstance(string, str) or not string:
            raise ConfigError(f"stop must be a string or a list of strings that are not empty, got {stop!r}")
    return strings
