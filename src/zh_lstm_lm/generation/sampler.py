"""Writing text with a model: the prompt is read once, then one token at a time, carrying the state."""

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path

from typing_extensions import Unpack

from zh_lstm_lm._config import check_integer, check_type
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.generation.beam_search import beam_search
from zh_lstm_lm.generation.config import SamplerConfig
from zh_lstm_lm.generation.draft import WrittenText
from zh_lstm_lm.generation.limits import LimitOptions, Limits
from zh_lstm_lm.generation.logits_processors import LogitsProcessor
from zh_lstm_lm.generation.loop import write_rounds
from zh_lstm_lm.generation.next_token import TokenDrawer
from zh_lstm_lm.generation.result import GenerationResult, GenerationState
from zh_lstm_lm.generation.resumable_file import write_text_file
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.text.normalization import normalize_text

__all__ = ["Sampler"]


class Sampler:
    """Writes text with a model (a sampler of text, not of data as in `torch.utils.data`).

    Each call starts again from the seed, so the same call gives the same text. The model is given back in its mode,
    and PyTorch's random state is not touched. ``<bos>``, ``<unk>`` and single bytes are never drawn.

    Example:
        >>> sampler = Sampler(model, SamplerConfig(temperature=0.8, seed=1))  # doctest: +SKIP
        >>> print(sampler.generate("话说", max_new_tokens=200))  # doctest: +SKIP
    """

    def __init__(
        self,
        model: LSTMLanguageModel,
        config: SamplerConfig | None = None,
        *,
        processors: Sequence[LogitsProcessor] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Sets a sampler up.

        Args:
            model: The model.
            config: Options; None takes the model's own, which are the defaults where it has none.
            processors: Functions of your own over the scores, called as those of `zh_lstm_lm.generation.logits_processors` are:
                with the ids so far, **Shape:** (texts, time), shorter texts filled up with ``<bos>`` on the left, and
                the scores of the next one, **Shape:** (texts, vocab_size). They come before temperature and cut-offs.
            clock: Tells the time for `max_time`, in seconds.

        Raises:
            ConfigError: An argument has the wrong type.
            NonFiniteError: A weight of the model is not a finite number.
        """
        check_type("model", model, LSTMLanguageModel)
        check_type("config", config, SamplerConfig, type(None))
        if not isinstance(processors, (list, tuple)):
            raise ConfigError(f"processors must be a list of functions, got {processors!r}")
        self.model = model
        self.config = config if config is not None else SamplerConfig.from_dict(model.generation_config)
        self._drawer = TokenDrawer(model, self.config, processors)
        self._clock = clock

    def generate(self, prompt: str = "", **limits: Unpack[LimitOptions]) -> str:
        """Continues a prompt.

        Args:
            prompt: What the text begins with; empty for the start of a document. It stands in the text as it is given;
                the model reads it in its own normalisation.
            **limits: When the text is finished; see `LimitOptions`.

        Returns:
            The text, with the prompt.

        Raises:
            ConfigError: A limit is out of range, contradicts another one, or is smaller than the prompt.
            DataError: The prompt is not text.
            NonFiniteError: The model's scores are not numbers.
        """
        return "".join(self.stream(prompt, **limits))

    def generate_batch(
        self, prompts: Sequence[str], *, num_samples: int = 1, **limits: Unpack[LimitOptions]
    ) -> list[str]:
        """Continues many prompts side by side, which is many times faster than one after the other.

        Args and errors as in `generate`, and:

        Args:
            prompts: What the texts begin with.
            num_samples: Texts for each prompt; the first of them is the one that `generate` gives.
            **limits: When each text is finished.

        Returns:
            The texts: all of the first prompt, then all of the second, and so on.
        """
        starts, _, drawn = self._write_side_by_side(prompts, num_samples, Limits(**limits))
        tokens = self._drawer.tokens
        return [
            prompt + "".join(tokens[token_id] for token_id, _ in pairs)
            for prompt, pairs in zip(starts, drawn, strict=True)
        ]

    def generate_result(
        self, prompt: str = "", *, state: GenerationState | None = None, **limits: Unpack[LimitOptions]
    ) -> GenerationResult:
        """Continues a prompt, and tells all about it.

        Args and errors as in `generate`, and:

        Args:
            prompt: What the text begins with, or what it goes on with.
            state: What comes before the prompt: the state of an earlier result. The text goes on as if it had not been
                interrupted, with the same random numbers; it holds only what is new, and so do the limits.
            **limits: When the text is finished.
        """
        return self.generate_results([prompt], state=state, **limits)[0]

    def generate_results(
        self,
        prompts: Sequence[str],
        *,
        num_samples: int = 1,
        first_sample: int = 0,
        state: GenerationState | None = None,
        **limits: Unpack[LimitOptions],
    ) -> list[GenerationResult]:
        """Continues many prompts side by side, and tells all about the texts.

        Args and errors as in `generate_batch` and `generate_result`, and:

        Args:
            prompts: What the texts begin with.
            num_samples: Texts for each prompt.
            first_sample: Number of the first of them; each number has random numbers of its own.
            state: What comes before each prompt.
            **limits: When each text is finished.
        """
        starts, texts, drawn = self._write_side_by_side(
            prompts, num_samples, Limits(**limits), first_sample=first_sample, state=state, with_log_probs=True
        )
        return [self._result(*each) for each in zip(starts, texts, drawn, strict=True)]

    def best_of(self, prompt: str = "", *, num_samples: int = 5, **limits: Unpack[LimitOptions]) -> GenerationResult:
        """Draws several texts and gives the one that the model itself finds likeliest, by log-probability a token.

        Args and errors as in `generate_batch`.
        """
        results = self.generate_results([prompt], num_samples=num_samples, **limits)
        return max(results, key=lambda result: result.mean_log_prob)

    def beam_search(
        self,
        prompt: str = "",
        *,
        num_beams: int = 5,
        length_penalty: float = 1.0,
        num_return_sequences: int = 1,
        **limits: Unpack[LimitOptions],
    ) -> list[GenerationResult]:
        """Looks for the likeliest texts, keeping several beginnings at a time; nothing is drawn at random.

        The scores are those after penalties, bans, biases, processors and the rules of punctuation; temperature and
        cut-offs have no part in them.

        Args and errors as in `generate`, and:

        Args:
            prompt: What the texts begin with.
            num_beams: Beginnings that are kept; 1 takes the likeliest token each time.
            length_penalty: Texts are compared by their log-probability divided by their number of tokens to this power:
                0 compares the log-probabilities themselves, which favours short texts, 1 those a token.
            num_return_sequences: How many of the best texts to give, at most `num_beams`.
            **limits: When a text is finished.

        Returns:
            The texts, the best first.
        """
        check_integer("num_beams", num_beams, minimum=1)
        check_integer("num_return_sequences", num_return_sequences, minimum=1, maximum=num_beams)
        checked = Limits(**limits)
        if checked.max_chapters is not None:
            raise ConfigError("max_chapters is no limit of beam search, which is for short texts; give generate()")
        text = self._text(prompt, checked)
        found = beam_search(
            self._drawer, text, num_beams=num_beams, length_penalty=length_penalty, num_results=num_return_sequences
        )
        return [self._result(prompt, beam.text, beam.drawn) for beam in found]

    def stream(self, prompt: str = "", **limits: Unpack[LimitOptions]) -> Iterator[str]:
        """Continues a prompt piece by piece: the prompt, then word after word as they are drawn.

        Args and errors as in `generate`; they are checked at the call.
        """
        text = self._text(prompt, Limits(**limits))

        def pieces() -> Iterator[str]:
            if prompt:
                yield prompt
            for _, words in write_rounds(self._drawer, [text]):
                for token_id, _ in words:
                    yield self.model.vocabulary.id_to_token(token_id)

        return pieces()

    def astream(self, prompt: str = "", **limits: Unpack[LimitOptions]) -> AsyncIterator[str]:
        """As `stream`, for ``async for``: words are drawn in a thread, so that the event loop goes on meanwhile."""
        pieces = self.stream(prompt, **limits)

        async def taken() -> AsyncIterator[str]:
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield piece

        return taken()

    def write(
        self,
        path: str | PathLike[str],
        *,
        prompt: str = "",
        resume: bool = False,
        progress: Callable[[int], None] | None = None,
        **limits: Unpack[LimitOptions],
    ) -> Path:
        """Writes a text into a UTF-8 file as it is made.

        Until it is complete, it grows in ``PATH.part`` beside its place; a file that was at `path` stays until then.
        Ctrl-C and SIGTERM come between two words, and leave there what was written.
        What is kept in memory does not grow with the text, unless penalties look at all of it (`penalty_window`).

        Args and errors as in `generate`, and:

        Args:
            path: The file.
            prompt: What the text begins with.
            resume: Whether to go on with an interrupted call of the same prompt, options and limits, exactly as if it
                had not been interrupted; where there is none, the text begins as usual.
            progress: Called now and then with the number of characters so far.
            **limits: When the text is finished.

        Returns:
            The path.

        Raises:
            DataError: The file cannot be written, or what was interrupted is another text.
        """
        checked = Limits(**limits)
        told = {name: value for name, value in limits.items() if name != "stop_when"}
        biases = [  # they tell a model from one trained otherwise
            weight.tolist() for name, weight in self.model.named_parameters() if name.endswith("bias_hh_l0")
        ]
        call = [prompt, self.config.to_dict(), told, self.model.vocabulary.fingerprint(), biases]

        def begin(state: GenerationState | None) -> WrittenText:
            return self._text("" if state else prompt, checked, state=state)

        def go_on(text: WrittenText) -> Iterator[str]:
            for _, words in write_rounds(self._drawer, [text]):
                yield "".join(self.model.vocabulary.id_to_token(token_id) for token_id, _ in words)

        return write_text_file(
            Path(path),
            begin,
            go_on,
            prompt=prompt,
            call=hashlib.sha256(repr(call).encode()).hexdigest(),
            resume=resume,
            progress=progress,
            device=self.model.device,
        )

    def _text(
        self, prompt: str, limits: Limits, *, sample: int = 0, state: GenerationState | None = None
    ) -> WrittenText:
        """A text that begins with a prompt."""
        vocabulary = self.model.vocabulary
        check_type("state", state, GenerationState, type(None))
        if state is not None and state.lstm_state[0].shape != self.model.init_state(1)[0].shape:
            raise ConfigError(f"state has the shape {tuple(state.lstm_state[0].shape)}: it is another model's")
        last = vocabulary.bos_id if state is None else state.ids[-1]
        # a generator of its own for each sample of a seed; a number of Python's costs a hundredth of one of PyTorch's
        generator = random.Random(f"{self.config.seed} {sample}")
        if state is not None and sample == 0:
            generator.setstate((3, tuple(state.random.tolist()), None))
        elif state is not None:
            generator.seed(f"{self.config.seed} {sample} {state.random.tolist()}")
        return WrittenText(
            prompt,
            [last, *vocabulary.encode(normalize_text(prompt, vocabulary.normalize))],
            limits,
            generator,
            rules=self._drawer.rules,
            window=self._drawer.window,
            clock=self._clock,
            state=state,
        )

    def _write_side_by_side(
        self,
        prompts: Sequence[str],
        num_samples: int,
        limits: Limits,
        *,
        first_sample: int = 0,
        state: GenerationState | None = None,
        with_log_probs: bool = False,
    ) -> tuple[list[str], list[WrittenText], list[list[tuple[int, float]]]]:
        """Writes texts to their end.

        Returns:
            For each text its prompt, the text, and the ids that were drawn with their log-probabilities (0 where they
            are not asked for, which saves their cost).
        """
        check_integer("num_samples", num_samples, minimum=1)
        check_integer("first_sample", first_sample, minimum=0)
        if isinstance(prompts, str) or not isinstance(prompts, Iterable):
            raise ConfigError(f"prompts must be a list of strings, got {prompts!r:.40}; give [prompt]")
        samples = range(first_sample, first_sample + num_samples)
        starts = [(prompt, sample) for prompt in prompts for sample in samples]
        texts = [self._text(prompt, limits, sample=sample, state=state) for prompt, sample in starts]
        drawn: list[list[tuple[int, float]]] = [[] for _ in texts]
        for place, words in write_rounds(self._drawer, texts, with_log_probs=with_log_probs):
            drawn[place] += words
        return [prompt for prompt, _ in starts], texts, drawn

    def _result(self, prompt: str, text: WrittenText, drawn: Sequence[tuple[int, float]]) -> GenerationResult:
        tokens = tuple(self.model.vocabulary.id_to_token(token_id) for token_id, _ in drawn)
        assert text.finish_reason is not None
        return GenerationResult(
            text=prompt + "".join(tokens),
            tokens=tokens,
            ids=tuple(token_id for token_id, _ in drawn),
            log_probs=tuple(log_prob for _, log_prob in drawn),
            finish_reason=text.finish_reason,
            state=text.state(),
        )
