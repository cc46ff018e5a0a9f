"""The sampler: generates text with a model."""

import asyncio
import functools
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal, overload

from typing_extensions import Unpack

from zh_lstm_lm._config import check_integer, check_list, check_number, check_text, check_type
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.generation.beam_search import beam_search
from zh_lstm_lm.generation.config import SamplerConfig
from zh_lstm_lm.generation.draft import Draft
from zh_lstm_lm.generation.forms.names import Names
from zh_lstm_lm.generation.like import LIKE_WEIGHT, model_like, sampling_model
from zh_lstm_lm.generation.limits import NO_LIMIT, LimitOptions, Limits
from zh_lstm_lm.generation.logits_processors import LogitsProcessor
from zh_lstm_lm.generation.loop import Token, generate_tokens, make_result, text_of, warn_of_unmet
from zh_lstm_lm.generation.next_token import NextTokenSampler
from zh_lstm_lm.generation.result import GenerationResult, GenerationState, random_numbers
from zh_lstm_lm.generation.resumable_file import call_identity, write_text_file
from zh_lstm_lm.models.base import LanguageModel, TextState, check_model, check_state, decoding_model
from zh_lstm_lm.runtime.batch_invariant import warn_if_batch_dependent
from zh_lstm_lm.text.normalization import normalize_text

__all__ = ["Sampler"]

# Texts that are generated side by side; more of them only take more memory.
_BATCH_SIZE = 256
_MAX_BEAMS = 1000


class Sampler:
    """Generates text with a model (it samples text, not data as the samplers of `torch.utils.data` do).

    Each call starts from the seed, so the same call gives the same text. The training mode of the model and PyTorch's
    random state are left unchanged. ``<bos>``, ``<unk>`` and single bytes are never sampled.

    Attributes:
        names: The names of `SamplerConfig.rename`; ``names.left(text)`` counts those of the corpus in a text.

    Example:
        >>> print(Sampler(model, SamplerConfig(seed=1)).generate("话说", max_new_tokens=200))  # doctest: +SKIP
    """

    def __init__(
        self,
        model: LanguageModel,
        config: SamplerConfig | None = None,
        *,
        processors: Sequence[LogitsProcessor] = (),
        like: TokenStream | Sequence[str] | None = None,
        like_weight: float = LIKE_WEIGHT,
    ) -> None:
        """Creates a sampler.

        Args:
            model: Any `LanguageModel`.
            config: The options; None takes the model's `generation_config`, or the defaults if it has none.
            processors: Logits processors of your own, called before temperature and cut-offs with the ids so far,
                **Shape:** (texts, time), shorter texts padded with ``<bos>`` on the left, and the scores of the next
                token, **Shape:** (texts, vocab_size); see `zh_lstm_lm.generation.logits_processors`.
            like: A book whose persons and style the texts keep to, as a stream or a list of texts. Its n-grams are mixed
                into the model, and the cache is filled with its last words; nothing is trained. None for no book.
            like_weight: Weight of the n-gram model of the book, from 0 to 1.

        Raises:
            ConfigError: An argument has the wrong type or is out of range, or the options leave no token to write.
            DataError: The book has fewer than four tokens.
            NonFiniteError: A weight of the model is not a finite number.
        """
        check_model("model", model)
        check_type("config", config, SamplerConfig, type(None))
        check_type("processors", processors, list, tuple)
        self.config: SamplerConfig = config or SamplerConfig.from_dict(getattr(model, "generation_config", {}))
        check_number("like_weight", like_weight, maximum=1.0)
        written = model if like is None else model_like(model, like, weight=like_weight)
        self.model: LanguageModel = sampling_model(written, self.config.cache_weight)
        self.processors: tuple[LogitsProcessor, ...] = tuple(processors)
        self._next_token = NextTokenSampler(self.model, self.config, processors)
        self.names: Names = self._next_token.names
        decoding_model(self.model)  # which the model keeps until its weights change

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles the arguments alone; what depends on the weights is made again."""
        return functools.partial(type(self), processors=self.processors), (self.model, self.config)

    @overload
    def generate(
        self,
        prompt: str = "",
        *,
        state: TextState | None = None,
        return_results: Literal[False] = False,
        **limits: Unpack[LimitOptions],
    ) -> str: ...

    @overload
    def generate(
        self,
        prompt: str = "",
        *,
        state: TextState | None = None,
        return_results: Literal[True],
        **limits: Unpack[LimitOptions],
    ) -> GenerationResult: ...

    @overload
    def generate(
        self,
        prompt: str | list[str] | tuple[str, ...] = "",
        *,
        num_samples: int | None = None,
        first_sample: int = 0,
        state: TextState | None = None,
        return_results: Literal[False] = False,
        **limits: Unpack[LimitOptions],
    ) -> list[str]: ...

    @overload
    def generate(
        self,
        prompt: str | list[str] | tuple[str, ...] = "",
        *,
        num_samples: int | None = None,
        first_sample: int = 0,
        state: TextState | None = None,
        return_results: Literal[True],
        **limits: Unpack[LimitOptions],
    ) -> list[GenerationResult]: ...

    def generate(
        self,
        prompt: str | Iterable[str] = "",
        *,
        num_samples: int | None = None,
        first_sample: int = 0,
        state: TextState | None = None,
        return_results: bool = False,
        **limits: Unpack[LimitOptions],
    ) -> Any:
        """Continues one or more prompts.

        A list of prompts is generated in a batch, which is many times faster than one by one. Where the processor
        allows it, each text equals the one that is generated alone, to the last bit (see docs/reliability.md).

        Args:
            prompt: The start of the text, or a list of them; empty for the start of a document. It is kept in the text
                as it is given, and the model reads it in its own normalisation.
            num_samples: Number of texts for each prompt; the first one is the text that is generated without it.
            first_sample: Number of the first text; each number has random numbers of its own.
            state: The state before the prompt: that of an earlier `GenerationResult`, which continues as if it had not
                been interrupted, or of a `Score`. The text and the limits cover only what is new.
            return_results: Returns `GenerationResult` objects in place of texts.
            **limits: See `LimitOptions`.

        Returns:
            The text with its prompt. With a list of prompts or with `num_samples`, a list: all samples of the first
            prompt, then all of the second, and so on.

        Raises:
            ConfigError: A limit is out of range, contradicts another one, or is smaller than the prompt.
            DataError: A prompt is not text.
            NonFiniteError: The model's log-probabilities are NaN.
        """
        check_integer("num_samples", num_samples, minimum=1, maximum=NO_LIMIT, optional=True)
        check_integer("first_sample", first_sample, minimum=0, maximum=NO_LIMIT)
        check_type("return_results", return_results, bool)
        given = check_list("prompt", prompt, "a string or a list of strings", single=str, error=ConfigError)
        checked = Limits(**limits)
        check_state(self.model, state)
        prompts = [(each, self._encode(each, checked)) for each in given]
        samples = range(first_sample, first_sample + (num_samples or 1))
        starts = iter((each, ids, sample) for each, ids in prompts for sample in samples)
        model = decoding_model(self.model)
        if len(prompts) * len(samples) > 1:
            warn_if_batch_dependent(model)
        results: list[Any] = []
        while batch := list(itertools.islice(starts, _BATCH_SIZE)):
            drafts = [self._draft(each, checked, ids=ids, sample=sample, state=state) for each, ids, sample in batch]
            texts: list[list[Token]] = [[] for _ in drafts]
            for position, latest in generate_tokens(model, self._next_token, drafts):
                texts[position] += latest
            for (each, _, _), draft, tokens in zip(batch, drafts, texts, strict=True):
                result = make_result(each, draft, tokens, self.names) if return_results else text_of(each, tokens)
                results.append(result)
                if not return_results:
                    warn_of_unmet(draft)
        return results[0] if isinstance(prompt, str) and num_samples is None else results

    def beam_search(
        self,
        prompt: str = "",
        *,
        num_beams: int = 5,
        length_penalty: float = 1.0,
        num_return_sequences: int = 1,
        **limits: Unpack[LimitOptions],
    ) -> list[GenerationResult]:
        """Searches for the likeliest texts, keeping several beginnings at a time; nothing is random.

        The scores are those after penalties, bans, biases, processors and the rules of punctuation, before temperature
        and cut-offs. Errors are those of `generate`.

        Args:
            prompt: The start of the text.
            num_beams: Number of beginnings that are kept, at most 1,000; 1 takes the likeliest token each time.
            length_penalty: Texts are compared by their log-probability divided by their number of tokens to this power:
                0 compares the log-probabilities, which favours short texts, 1 the mean per token.
            num_return_sequences: Number of texts to return, at most `num_beams`.
            **limits: See `LimitOptions`.

        Returns:
            The texts, the best first.
        """
        check_integer("num_beams", num_beams, minimum=1, maximum=_MAX_BEAMS)
        check_integer("num_return_sequences", num_return_sequences, minimum=1, maximum=num_beams)
        checked = Limits(**limits)
        if checked.max_chapters is not None:
            raise ConfigError("max_chapters is not a limit of beam search, which is for short texts; call generate()")
        found = beam_search(
            decoding_model(self.model),
            self._next_token,
            self._draft(prompt, checked),
            num_beams=num_beams,
            length_penalty=length_penalty,
            num_results=num_return_sequences,
        )
        return [
            make_result(prompt, beam.draft, beam.tokens[: len(beam.tokens) - beam.draft.surplus], self.names)
            for beam in found
        ]

    def stream(
        self, prompt: str = "", *, state: TextState | None = None, **limits: Unpack[LimitOptions]
    ) -> Iterator[str]:
        """Continues a prompt piece by piece: yields the prompt, then word after word.

        Args and errors are those of `generate`; they are checked at the call.
        """
        checked = Limits(**limits)
        check_state(self.model, state)
        draft = self._draft(prompt, checked, state=state)

        def pieces() -> Iterator[str]:
            if prompt:
                yield prompt
            for latest in self._tokens(draft):
                yield from (token.text for token in latest)

        return pieces()

    def astream(
        self, prompt: str = "", *, state: TextState | None = None, **limits: Unpack[LimitOptions]
    ) -> AsyncIterator[str]:
        """Does the same as `stream` for ``async for``, in a thread beside the event loop."""
        pieces = self.stream(prompt, state=state, **limits)

        async def awaited() -> AsyncIterator[str]:
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield piece

        return awaited()

    def write(
        self,
        path: str | PathLike[str],
        *,
        prompt: str = "",
        resume: bool = False,
        progress: Callable[[int], None] | None = None,
        **limits: Unpack[LimitOptions],
    ) -> Path:
        """Writes a text into a UTF-8 file while it is generated.

        The text grows in ``PATH.part``. A file at `path` is kept as ``PATH.~1~``, or with the next free number, unless the
        text begins with it. Ctrl-C and SIGTERM take effect between two words and keep what was written. Memory does not
        grow with the text, unless penalties look at all of it (`penalty_window`). Errors are those of `generate`, and:

        Args:
            path: The file.
            prompt: The start of the text.
            resume: Whether to continue an interrupted call of the same prompt, options and limits, exactly as if it had
                not been interrupted; if there is none, a new text is started.
            progress: Called now and then with the number of characters so far.
            **limits: See `LimitOptions`.

        Returns:
            The path.

        Raises:
            DataError: The file cannot be written, or the interrupted text is another one.
        """
        checked = Limits(**limits)
        compared = {name: value for name, value in limits.items() if name != "stop_when"}

        def start(state: GenerationState | None, counts: Mapping[str, int]) -> tuple[Draft, Iterator[str]]:
            draft = self._draft("" if state else prompt, checked, state=state, counts=counts)
            return draft, (text_of("", latest) for latest in self._tokens(draft))

        check_text("prompt", prompt)
        call = call_identity(self.model, prompt, self.config.to_dict(), compared)
        return write_text_file(path, start, self.model, prompt=prompt, call=call, resume=resume, progress=progress)

    def _encode(self, prompt: str, limits: Limits) -> list[int]:
        """Returns the ids of a prompt, after it was checked against the limits."""
        check_text("prompt", prompt)
        vocabulary = self.model.vocabulary
        ids: list[int] = vocabulary.encode(self.names.read(normalize_text(prompt, vocabulary.normalize)))
        limits.room_after(prompt)
        return ids

    def _draft(
        self,
        prompt: str,
        limits: Limits,
        *,
        ids: Sequence[int] | None = None,
        sample: int = 0,
        state: TextState | None = None,
        counts: Mapping[str, int] | None = None,
    ) -> Draft:
        """Starts a draft with a prompt, whose ids may be known already, or goes on from a state with its counts."""
        last = self.model.vocabulary.bos_id if state is None else state.last_id
        draft = Draft(
            prompt,
            [last, *(self._encode(prompt, limits) if ids is None else ids)],
            limits,
            random_numbers(self.config.seed, sample, state),
            rules=self._next_token.rules,
            window=self._next_token.window,
            state=state,
        )
        draft.form = self._next_token.form(limits, replace(draft.place, tail="") if counts else draft.place)
        draft.restore_counts(counts or {})
        return draft

    def _tokens(self, draft: Draft) -> Iterator[list[Token]]:
        """Generates one text; yields its latest tokens."""
        for _, latest in generate_tokens(decoding_model(self.model), self._next_token, [draft]):
            yield latest
        warn_of_unmet(draft)
