"""Writing text with a model: the prompt is read once, then one token at a time, carrying the state."""

import contextlib
import math
import os
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
from zh_lstm_lm.interruption import catch_interruption, check_interruption
from zh_lstm_lm.logits_processors import LogitsProcessor
from zh_lstm_lm.model import LSTMLanguageModel
from zh_lstm_lm.output_layers import AdaptiveSoftmax
from zh_lstm_lm.recurrent import LSTMState
from zh_lstm_lm.text.normalization import normalize_text
from zh_lstm_lm.written_text import Limits, WrittenText

__all__ = ["Sampler", "SamplerConfig"]

_PROMPT_WINDOW = 1024


@dataclass(frozen=True)
class SamplerConfig(Config):
    """How tokens are drawn. Names and neutral values are those of Hugging Face's `GenerationConfig` where it has them.

    Attributes:
        temperature: Under 1 likely words become likelier; 1 changes nothing, 0 always takes the likeliest.
        top_k: Draws only from the likeliest `top_k` tokens; 0 draws from all.
        top_p: Draws only from the likeliest tokens that together have this probability; 1 draws from all.
        min_p: Draws only tokens with at least this share of the likeliest one's probability; 0 draws from all.
        typical_p: Draws only the tokens nearest to the expected surprisal that together have this probability; 1 draws
            from all.
        epsilon_cutoff: Draws only tokens of at least this probability; 0 draws from all.
        eta_cutoff: As `epsilon_cutoff`, but lower where the model is unsure; 0 draws from all.
        repetition_penalty: Above 1, tokens that occurred become less likely; 1 changes nothing.
        frequency_penalty: Taken off the logit of a token for each time it occurred; 0 changes nothing.
        presence_penalty: Taken off the logit of a token that occurred; 0 changes nothing.
        penalty_window: Latest tokens that the three penalties look at, the prompt included; None looks at all.
        no_repeat_ngram_size: No n-gram of this size comes twice; 0 lets them.
        banned_words: Words that are never written.
        word_bias: Words of the vocabulary, and what is added to their logits; 0 changes nothing.
        seed: What the draws come from; equal seeds give equal text.
    """

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 0.95
    min_p: float = 0.0
    typical_p: float = 1.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_window: int | None = None
    no_repeat_ngram_size: int = 0
    banned_words: Sequence[str] = ()
    word_bias: Mapping[str, float] | tuple[tuple[str, float], ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature)
        check_integer("top_k", self.top_k, minimum=0)
        for name in ("top_p", "typical_p"):
            check_number(name, getattr(self, name), maximum=1.0)
            if getattr(self, name) == 0:
                raise ConfigError(f"{name} must be above 0, got 0; temperature=0 always takes the likeliest token")
        for name in ("min_p", "epsilon_cutoff", "eta_cutoff"):
            check_number(name, getattr(self, name), maximum=1.0)
        check_number("repetition_penalty", self.repetition_penalty, exclusive=True)
        for name in ("frequency_penalty", "presence_penalty"):
            check_number(name, getattr(self, name), minimum=-1e6)
        check_integer("penalty_window", self.penalty_window, minimum=1, optional=True)
        check_integer("no_repeat_ngram_size", self.no_repeat_ngram_size, minimum=0)
        if isinstance(self.banned_words, str) or not isinstance(self.banned_words, (list, tuple)):
            raise ConfigError(f"banned_words must be a list of words, got {self.banned_words!r}")
        for word in self.banned_words:
            if not isinstance(word, str) or not word:
                raise ConfigError(f"banned_words must hold strings that are not empty, got {word!r}")
        object.__setattr__(self, "banned_words", tuple(self.banned_words))
        pairs = self.word_bias.items() if isinstance(self.word_bias, Mapping) else self.word_bias
        if isinstance(pairs, str) or not isinstance(pairs, Collection):
            raise ConfigError(f"word_bias must map words to numbers, got {self.word_bias!r}")
        if any(not isinstance(pair, (list, tuple)) or len(pair) != 2 for pair in pairs):
            raise ConfigError(f"word_bias must map words to numbers, got {self.word_bias!r}")
        biases = {word: bias for word, bias in pairs if isinstance(word, str)}
        if len(biases) != len(pairs):
            raise ConfigError(f"word_bias must map words, each once, to numbers, got {self.word_bias!r}")
        for word, bias in biases.items():
            check_number(f"word_bias of {word!r}", bias, minimum=-1e6)
        object.__setattr__(self, "word_bias", tuple(biases.items()))  # fixed, as a config is
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
        penalties = self._penalties()
        plain = [
            logits_processors.temperature(config.temperature),
            logits_processors.top_k(config.top_k),
            logits_processors.top_p(config.top_p),
        ]
        cutoffs = [
            logits_processors.min_p(config.min_p),
            logits_processors.typical_p(config.typical_p),
            logits_processors.epsilon_cutoff(config.epsilon_cutoff),
            logits_processors.eta_cutoff(config.eta_cutoff),
        ]
        self._processors = [*penalties, *plain, *cutoffs] if config.temperature > 0 else penalties
        both = config.min_p and (config.top_k or config.top_p < 1)
        neutral = not (penalties or both or config.epsilon_cutoff or config.eta_cutoff or config.typical_p < 1)
        self._adaptive: AdaptiveSampler | None = None
        if isinstance(model.output, AdaptiveSoftmax) and config.temperature > 0 and neutral:
            self._adaptive = AdaptiveSampler(
                model.output,
                (self._lengths > 0).to(model.device),
                temperature=config.temperature,
                top_k=config.top_k,
                top_p=config.top_p,
                min_p=config.min_p,
            )

    def _penalties(self) -> list[LogitsProcessor]:
        """What looks at the words so far; empty where all of it is neutral."""
        config, vocabulary = self.config, self.model.vocabulary
        window = config.penalty_window
        processors: list[LogitsProcessor] = []
        if config.repetition_penalty != 1:
            processors.append(logits_processors.repetition_penalty(config.repetition_penalty, window=window))
        if config.frequency_penalty or config.presence_penalty:
            processors.append(
                logits_processors.occurrence_penalties(config.frequency_penalty, config.presence_penalty, window=window)
            )
        if config.word_bias:
            bias = torch.zeros(len(vocabulary))
            for word, value in dict(config.word_bias).items():
                if word not in vocabulary:
                    raise ConfigError(f"word_bias: {word!r} is not in the vocabulary; only whole words have a bias")
                bias[vocabulary.token_to_id(word)] = value
            processors.append(logits_processors.token_bias(bias))
        if config.no_repeat_ngram_size:
            processors.append(logits_processors.no_repeat_ngrams(config.no_repeat_ngram_size))
        if config.banned_words:
            tokens = [token if length else "" for token, length in zip(vocabulary, self._lengths.tolist(), strict=True)]
            processors.append(logits_processors.banned_words(config.banned_words, tokens))
        return processors

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
        limits = Limits(max_new_tokens, max_characters, stop)
        texts = [
            WrittenText(prompt, self._prompt_ids(prompt), limits, self._generator(sample))
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
        limits = Limits(max_new_tokens, max_characters, stop)
        text = WrittenText(prompt, self._prompt_ids(prompt), limits, self._generator(0))

        def pieces() -> Iterator[str]:
            if prompt:
                yield prompt
            for _ in self._write([text]):
                yield text.pieces.pop()

        return pieces()

    def _prompt_ids(self, prompt: str) -> list[int]:
        vocabulary = self.model.vocabulary
        return [vocabulary.bos_id, *vocabulary.encode(normalize_text(prompt, vocabulary.normalize))]

    def _write(self, texts: Sequence[WrittenText]) -> Iterator[None]:
        """Adds a word to every text that is not finished, again and again; yields after each round."""
        active = [text for text in texts if not text.finished]
        if not active:
            return
        state = self._read_prompts(active)
        while active:
            check_interruption()
            last = torch.tensor([text.ids[-1:] for text in active], device=self.model.device)  # (texts, 1)
            with evaluation_mode(self.model):
                hidden, state = self.model.hidden_states(last, state)
                drawn = self._draw(active, hidden[:, 0])
            for text, token_id in zip(active, drawn, strict=True):
                text.add(token_id, self.model.vocabulary.id_to_token(token_id))
            yield
            if any(text.finished for text in active):
                going = torch.tensor([not text.finished for text in active], device=self.model.device)
                state = state[0][:, going], state[1][:, going]
                active = [text for text in active if not text.finished]

    def _read_prompts(self, texts: Sequence[WrittenText]) -> LSTMState:
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

    def _draw(self, texts: Sequence[WrittenText], hidden: Tensor) -> list[int]:
        """Draws the next id of each text after its state. **Shape:** (texts, hidden_size)."""

        def uniforms(rows: list[int]) -> list[float]:
            return [texts[row].random() for row in rows]

        if self._adaptive is not None and all(text.room is None or text.room >= self._longest for text in texts):
            return self._adaptive.draw(hidden, uniforms)
        room = torch.tensor([self._longest if text.room is None else text.room for text in texts])
        allowed = (self._lengths > 0) & (self._lengths <= room[:, None])  # (texts, vocab_size)
        allowed_logits = self.model.scores(hidden).masked_fill(~allowed.to(hidden.device), -math.inf)
        logits, ids = allowed_logits, self._history(texts)
        for process in self._processors:
            logits = process(ids, logits)
        nothing_left = (logits == -math.inf).all(dim=-1, keepdim=True)  # the best word stays
        logits = torch.where(nothing_left, allowed_logits, logits)
        if self.config.temperature == 0:
            return logits.argmax(dim=-1).tolist()
        if nothing_left.any():
            best = torch.full_like(logits, -math.inf).scatter(-1, logits.argmax(dim=-1, keepdim=True), 0.0)
            logits = torch.where(nothing_left, best, logits)
        numbers = torch.tensor(uniforms(list(range(len(texts)))), dtype=torch.float64, device=logits.device)
        return draw_from(logits, numbers).tolist()

    def _history(self, texts: Sequence[WrittenText]) -> Tensor:
        """The ids so far, shorter texts filled up with ``<bos>`` on the left. **Shape:** (texts, longest)."""
        longest = max(len(text.ids) for text in texts)
        bos = [self.model.vocabulary.bos_id]
        return torch.tensor([bos * (longest - len(text.ids)) + text.ids for text in texts], device=self.model.device)

    def _generator(self, sample: int) -> random.Random:
        """A generator of its own for each sample of a seed; a number of it costs a hundredth of one of PyTorch's."""
        return random.Random(f"{self.config.seed} {sample}")

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
        Ctrl-C and SIGTERM come between two words, and leave there what was written.

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
            with catch_interruption(), part.open("w", encoding="utf-8", newline="\n") as file:
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
