"""Answers of the completions protocol of OpenAI, as plain JSON values."""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from zh_lstm_lm.evaluation.score import check_log_probs, cut_text, read_values
from zh_lstm_lm.generation.config import SamplerConfig
from zh_lstm_lm.generation.draft import Draft
from zh_lstm_lm.generation.like import sampling_model
from zh_lstm_lm.generation.limits import Limits
from zh_lstm_lm.generation.next_token import NextTokenSampler
from zh_lstm_lm.generation.result import random_numbers
from zh_lstm_lm.integrations.batching import Piece, Text, Work, likeliest
from zh_lstm_lm.integrations.completion_request import Request, RequestError, ServerLimits, parse_request
from zh_lstm_lm.models.base import LanguageModel

__all__ = ["Completion", "Completions"]

# JSON has no infinity.
_LEAST_LOG_PROB = -9999.0


class Completions:
    """A model's side of the protocol; `sampling_model` is the model in its form for sampling."""

    def __init__(self, model: LanguageModel, name: str, limits: ServerLimits) -> None:
        self.model: LanguageModel = model
        self.name: str = name
        self.limits: ServerLimits = limits
        self.defaults: dict[str, Any] = dict(getattr(model, "generation_config", {}))
        config = SamplerConfig.from_dict(self.defaults)
        self.sampling_model: LanguageModel = sampling_model(model, config.cache_weight)
        # The tables of a sampler take a moment for a large vocabulary, and few settings are in use.
        self.sampler: Callable[[SamplerConfig], NextTokenSampler] = lru_cache(maxsize=8)(
            lambda config: NextTokenSampler(self.sampling_model, config)
        )
        self.created: int = int(time.time())
        self.texts: list[str] = list(model.vocabulary.texts())

    def parse(self, body: bytes) -> Request:
        """Checks a request; see `parse_request`."""
        return parse_request(body, name=self.name, defaults=self.defaults, limits=self.limits)


class _Recorder:
    """A sampler that also notes the likeliest tokens of each step, for a single request."""

    def __init__(self, sampler: NextTokenSampler, texts: Sequence[Text], count: int) -> None:
        self._sampler, self._count = sampler, count
        self._texts = {text.draft: text for text in texts}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sampler, name)

    def sample(self, drafts: Sequence[Draft], log_probs: Tensor) -> list[int | None]:
        for draft, top in zip(drafts, likeliest(log_probs, self._count), strict=True):
            self._texts[draft].tops.append(top)
        return self._sampler.sample(drafts, log_probs)


class Completion(Work):
    """The work of one request, and the values of its answer; `deliver` takes pieces in the batcher's thread."""

    def __init__(self, completions: Completions, request: Request, deliver: Callable[[Any], None]) -> None:
        super().__init__(deliver)
        self.completions: Completions = completions
        self.request: Request = request
        self.num_texts: int = len(request.prompts) * request.n
        self._head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": completions.name,
        }
        self._num_prompt_tokens = 0
        # The log-probabilities of each prompt, if they are wanted.
        self._echoed: list[dict[str, list[Any]] | None] = []

    def start(self) -> tuple[list[Text], NextTokenSampler]:
        """See `Work.start`."""
        request, vocabulary = self.request, self.completions.model.vocabulary
        # A seed is that of a draft; requests that differ in nothing else share a sampler.
        sampler = self.completions.sampler(SamplerConfig.from_dict({**request.config.to_dict(), "seed": 0}))
        limits = Limits(max_new_tokens=request.max_tokens, max_time=self.completions.limits.max_time)
        cuts = [cut_text(vocabulary, prompt, end=False) if prompt else None for prompt in request.prompts]
        self._num_prompt_tokens = sum(len(cut.ids) for cut in cuts if cut is not None)
        self._echoed = [None] * len(cuts)
        if request.echo and request.logprobs is not None:
            self._score([(cut.ids, [start for start, _ in cut.offsets]) if cut else ([], []) for cut in cuts])
        texts = []
        for number, (prompt, cut) in enumerate(zip(request.prompts, cuts, strict=True)):
            for sample in range(request.n):
                draft = Draft(
                    prompt,
                    [vocabulary.bos_id, *(cut.ids if cut is not None else ())],
                    limits,
                    random_numbers(request.config.seed, sample, None),
                    rules=sampler.rules,
                    window=sampler.window,
                )
                texts.append(Text(number * request.n + sample, draft, request.stop))
        if request.logprobs is None:
            return texts, sampler
        recorder: Any = _Recorder(sampler, texts, request.logprobs)
        return texts, recorder

    def _score(self, prompts: Sequence[tuple[list[int], list[int]]]) -> None:
        """Computes the log-probabilities of the prompts, of their ids and offsets."""
        model, count = self.completions.model, self.request.logprobs or 0

        def predict(context: Any, targets: Tensor) -> Tensor:
            if self.cancelled:
                raise RequestError("the client has gone")
            log_probs = model.log_probs(context)
            top = log_probs.topk(min(count, log_probs.shape[1]))
            own = log_probs.gather(1, targets[:, None])
            return torch.cat([own.double(), top.values.double(), top.indices.double()], dim=1).T

        read = iter(read_values(model, [ids for ids, _ in prompts if ids], predict=predict))
        for number, (ids, offsets) in enumerate(prompts):
            values = next(read)[0].T.tolist() if ids else []
            own = check_log_probs([row[0] for row in values])
            size = len(values[0]) // 2 if values else 0
            tops = [{int(top): row[1 + rank] for rank, top in enumerate(row[1 + size :])} for row in values]
            self._echoed[number] = self._logprobs(ids, own, tops, offsets)

    def _logprobs(
        self, ids: Sequence[int], own: Sequence[float], tops: Sequence[Mapping[int, float]], offsets: Sequence[int]
    ) -> dict[str, list[Any]]:
        token = self.completions.model.vocabulary.id_to_token
        of_all = [{**top, token_id: value} for token_id, value, top in zip(ids, own, tops, strict=False)]
        return {
            "tokens": [token(token_id) for token_id in ids],
            "token_logprobs": [max(value, _LEAST_LOG_PROB) for value in own],
            "top_logprobs": [
                {token(other): max(value, _LEAST_LOG_PROB) for other, value in top.items()} for top in of_all
            ],
            "text_offset": list(offsets),
        }

    def choice(self, piece: Piece) -> dict[str, Any]:
        """Returns a part of a text as an element of ``choices``; the first one begins with the prompt if it is echoed."""
        prompt = self.request.prompts[piece.number // self.request.n] if self.request.echo else ""
        logprobs = None
        if self.request.logprobs is not None:
            offsets = [len(prompt) + piece.offset]
            for token in piece.tokens:
                offsets.append(offsets[-1] + len(token.text))
            ids = [token.id for token in piece.tokens]
            own = check_log_probs([token.log_prob for token in piece.tokens])
            logprobs = self._logprobs(ids, own, piece.tops, offsets[:-1])
        return {"text": piece.text, "index": piece.number, "logprobs": logprobs, "finish_reason": piece.finish_reason}

    def echo(self) -> list[dict[str, Any]]:
        """Returns the echoed prompts as elements of ``choices``; empty prompts, where nothing is echoed."""
        return [
            {
                "text": prompt if self.request.echo else "",
                "index": number * self.request.n + sample,
                "logprobs": self._echoed[number],
                "finish_reason": None,
            }
            for number, prompt in enumerate(self.request.prompts)
            for sample in range(self.request.n)
        ]

    def chunk(self, choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Returns a chunk of a stream."""
        return {**self._head, "choices": list(choices)}

    def answer(self, pieces: Sequence[Piece]) -> dict[str, Any]:
        """Returns the whole answer."""
        choices = self.echo()
        for choice in map(self.choice, pieces):
            joined = choices[choice["index"]]
            joined["text"] += choice["text"]
            joined["finish_reason"] = choice["finish_reason"]
            if choice["logprobs"] is not None:
                before = joined["logprobs"] or {field: [] for field in choice["logprobs"]}
                joined["logprobs"] = {name: before[name] + values for name, values in choice["logprobs"].items()}
        written = sum(len(piece.tokens) for piece in pieces)
        usage = {
            "prompt_tokens": self._num_prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self._num_prompt_tokens + written,
        }
        return {**self.chunk(choices), "usage": usage}
