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
from zh_lstm_lm.adaptive_sampling import AdaptiveSampler, draw_from
from zh_lstm_lm.errors import ConfigError, DataError
from zh_lstm_lm.evaluation import evaluation_mode
from zh_lstm_lm.logits_processors import LogitsProcessor
from zh_lstm_lm.model import LSTMLanguageModel
from zh_lstm_lm.output_layers import AdaptiveSoftmax
from zh_lstm_lm.recurrent import LSTMState
from zh_lstm_lm.text.normalization import normalize_text

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
        self._adaptive: AdaptiveSampler | None = None
        if isinstance(model.output, AdaptiveSoftmax) and config.temperature > 0:
            self._adaptive = AdaptiveSampler(
                model.output,
                (self._lengths > 0).to(model.device),
                temperature=config.temperature,
                top_k=config.top_k,
                top_p=config.top_p,
                processors=self._processors,
            )

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
            prompt: What the text begins with; empty for the start of a document. It stands in the text as it is given;
                the model reads it in its own normalisation.
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

    def generate_batch(
        self,
        prompts: Sequence[str],
        *,
        num_samples: int = 1,
        max_new_tokens: int | None = None,
        max_characters: int | None = None,
        stop: str | Sequence[str] | None = None,
    ) -> list[str]:
        """Continues many prompts side by side, which is many times faster than one after the other.

        Args and errors as in `generate`, and:

        Args:
            prompts: What the texts begin with.
            num_samples: Texts for each prompt; the first of them is the one that `generate` gives.
            max_new_tokens: Tokens to write, for each text.
            max_characters: Length of each text in characters.
            stop: Each text ends with the word that completes one of these strings.

        Returns:
            The texts: all of the first prompt, then all of the second, and so on.
        """
        check_integer("num_samples", num_samples, minimum=1)
        if isinstance(prompts, str) or not isinstance(prompts, Iterable):
            raise ConfigError(f"prompts must be a list of strings, got {prompts!r:.40}; give [prompt]")
        limits = _Limits(max_new_tokens, max_characters, stop)
        texts = [
            _Text(prompt, self._prompt_ids(prompt), limits, self._generator(sample))
            for prompt in prompts
            for sample in range(num_samples)
        ]
        for _ in self._write(texts):
            pass
        return [text.prompt + "".join(text.pieces) for text in texts]

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
        limits = _Limits(max_new_tokens, max_characters, stop)
        text = _Text(prompt, self._prompt_ids(prompt), limits, self._generator(0))

        def pieces() -> Iterator[str]:
            if prompt:
                yield prompt
            for _ in self._write([text]):
                yield text.pieces.pop()

        return pieces()

    def _prompt_ids(self, prompt: str) -> list[int]:
        vocabulary = self.model.vocabulary
        return [vocabulary.bos_id, *vocabulary.encode(normalize_text(prompt, vocabulary.normalize))]

    def _write(self, texts: Sequence["_Text"]) -> Iterator[None]:
        """Adds a word to every text that is not finished, again and again; yields after each round."""
        active = [text for text in texts if not text.finished]
        if not active:
            return
        state = self._read_prompts(active)
        last = torch.tensor([text.ids[-1] for text in active], device=self.model.device)
        while active:
            with evaluation_mode(self.model):
                hidden, state = self.model.hidden_states(last[:, None], state)
                last = self._draw(active, hidden[:, 0])
            for text, token_id in zip(active, last.tolist(), strict=True):
                text.add(token_id, self.model.vocabulary.id_to_token(token_id))
            yield
            if any(text.finished for text in active):
                going = torch.tensor([not text.finished for text in active], device=last.device)
                state, last = (state[0][:, going], state[1][:, going]), last[going]
                active = [text for text in active if not text.finished]

    def _read_prompts(self, texts: Sequence["_Text"]) -> LSTMState:
        """The state after all but the last id of each prompt; equal prompts are read once."""
        known: dict[tuple[int, ...], LSTMState] = {}
        with evaluation_mode(self.model):
            for ids in {tuple(text.ids[:-1]) for text in texts}:
                state = self.model.init_state(1)
                for start in range(0, len(ids), _PROMPT_WINDOW):
                    window = torch.tensor([ids[start : start + _PROMPT_WINDOW]], device=self.model.device)
                    _, state = self.model.hidden_states(window, state)
                known[ids] = state
            states = [known[tuple(text.ids[:-1])] for text in texts]
            return torch.cat([h for h, _ in states], dim=1), torch.cat([c for _, c in states], dim=1)

    def _draw(self, texts: Sequence["_Text"], hidden: Tensor) -> Tensor:
        """Draws the next id of each text. **Shape:** (texts, hidden_size) to (texts,)."""

        def uniforms(rows: Tensor) -> Tensor:
            return torch.cat([texts[row].random() for row in rows.tolist()])

        if self._adaptive is not None and all(text.room is None or text.room >= self._longest for text in texts):
            return self._adaptive.draw(hidden, uniforms)
        room = torch.tensor([self._longest if text.room is None else text.room for text in texts])
        allowed = (self._lengths > 0) & (self._lengths <= room[:, None])  # (texts, vocab_size)
        logits = self.model.scores(hidden).masked_fill(~allowed.to(hidden.device), -math.inf)
        if self.config.temperature == 0:
            return logits.argmax(dim=-1)
        ids = torch.tensor([text.ids[-1:] for text in texts], device=hidden.device)
        for process in self._processors:
            logits = process(ids, logits)
        return draw_from(logits, uniforms(torch.arange(len(texts))))

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


class _Limits:
    """When a text is finished, checked."""

    def __init__(
        self, max_new_tokens: int | None, max_characters: int | None, stop: str | Sequence[str] | None
    ) -> None:
        check_integer("max_new_tokens", max_new_tokens, minimum=0, optional=True)
        check_integer("max_characters", max_characters, minimum=1, optional=True)
        if max_new_tokens is None:
            max_new_tokens = _DEFAULT_NEW_TOKENS if max_characters is None else max_characters
        self.max_new_tokens = max_new_tokens
        self.max_characters = max_characters
        self.stops = _stop_strings(stop)
        self.kept = max(map(len, self.stops), default=1) - 1  # characters in which a stop string may have begun


class _Text:
    """A text that is being written.

    Attributes:
        prompt: What it began with.
        ids: The ids of the prompt and of what was drawn.
        pieces: The words that were drawn.
        room: Characters that may still come; None for no limit.
        finished: Whether a limit is reached.
    """

    def __init__(self, prompt: str, ids: list[int], limits: _Limits, generator: torch.Generator) -> None:
        if limits.max_characters is not None and len(prompt) > limits.max_characters:
            raise ConfigError(
                f"max_characters counts the prompt: it must be at least {len(prompt)} here, got {limits.max_characters}"
            )
        self.prompt = prompt
        self.ids = ids
        self.pieces: list[str] = []
        self.room = limits.max_characters - len(prompt) if limits.max_characters is not None else None
        self._limits = limits
        self._generator = generator
        self._left = limits.max_new_tokens
        self._tail = prompt[-limits.kept :] if limits.kept else ""
        self.finished = not self._left or self.room == 0

    def add(self, token_id: int, piece: str) -> None:
        """Takes a word that was drawn."""
        self.ids.append(token_id)
        self.pieces.append(piece)
        self._left -= 1
        if self.room is not None:
            self.room -= len(piece)
        before, tail = len(self._tail), self._tail + piece
        # one that ends in what was just written; it may have begun in the prompt
        stopped = any(tail.find(string, max(0, before - len(string) + 1)) >= 0 for string in self._limits.stops)
        self._tail = tail[-self._limits.kept :] if self._limits.kept else ""
        self.finished = stopped or not self._left or self.room == 0

    def random(self) -> Tensor:
        """The next random number in [0, 1). **Shape:** (1,), float64."""
        device = self._generator.device
        return torch.rand(1, dtype=torch.float64, device=device, generator=self._generator)


def _stop_strings(stop: str | Sequence[str] | None) -> list[str]:
    if not isinstance(stop, (str, Iterable, type(None))):
        raise ConfigError(f"stop must be a string or a list of strings, got {stop!r}")
    strings = [stop] if isinstance(stop, str) else list(stop or ())
    for string in strings:
        if not isinstance(string, str) or not string:
            raise ConfigError(f"stop must be a string or a list of strings that are not empty, got {stop!r}")
    return strings
