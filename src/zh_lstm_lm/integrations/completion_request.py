"""Requests of the completions protocol of OpenAI, checked."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zh_lstm_lm._config import Config, check_integer, check_number, check_text, nearest_name, shown
from zh_lstm_lm.errors import DataError, ZhLstmLmError
from zh_lstm_lm.generation.config import SamplerConfig
from zh_lstm_lm.storage.strict_json import parse_json

__all__ = ["OPTIONS", "Request", "RequestError", "ServerLimits", "parse_request"]

_MAX_LOGPROBS = 20
_MAX_STOPS, _MAX_STOP_LENGTH = 16, 256
_SAMPLING = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed")
OPTIONS = ("model", "prompt", "max_tokens", "stop", "n", "logprobs", "echo", "stream", *_SAMPLING)
"""The options of a request."""


class RequestError(DataError):
    """A request that cannot be answered, with its HTTP status and a code for the reason, None for any other."""

    def __init__(self, message: str, *, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.status: int = status
        self.code: str | None = code


@dataclass(frozen=True)
class ServerLimits(Config):
    """Bounds on what a request may ask for.

    Attributes:
        max_body: Bytes of a request; they also bound the length of its prompts.
        max_tokens: Tokens to generate for each text.
        max_texts: Texts of a request, and texts that are generated at once; 16 times as many may wait.
        max_time: Seconds in which a request has to arrive, and in which its texts are generated; a text that takes longer
            ends there.
    """

    max_body: int = 1 << 18
    max_tokens: int = 4096
    max_texts: int = 64
    max_time: float = 120.0

    def __post_init__(self) -> None:
        for name in ("max_body", "max_tokens", "max_texts"):
            check_integer(name, getattr(self, name), minimum=1, maximum=1 << 31)
        check_number("max_time", self.max_time, maximum=1e9, exclusive=True)


@dataclass(frozen=True)
class Request:
    """A checked request; the attributes are the options of the protocol, `prompts` is a list, `config` those of sampling."""

    prompts: tuple[str, ...]
    max_tokens: int
    n: int
    stop: tuple[str, ...]
    logprobs: int | None
    echo: bool
    stream: bool
    config: SamplerConfig


def parse_request(body: bytes, *, name: str, defaults: Mapping[str, Any], limits: ServerLimits) -> Request:
    """Checks a request, whose sampling options replace the `defaults`.

    Raises RequestError if it is malformed or asks for too much or another model, ConfigError for a wrong option.
    """
    try:
        values = parse_json(body, name="the request")
    except ZhLstmLmError as error:
        raise RequestError(str(error).partition("; ")[0]) from error
    if not isinstance(values, dict):
        raise RequestError(f"the request must be a JSON object, got {shown(values)}")
    # Null stands for the default throughout the protocol.
    values = {option: _whole(value) for option, value in values.items() if value is not None and option != "user"}
    # Clients also send options that change nothing.
    neutral = {"suffix": "", "best_of": values.get("n", 1), "logit_bias": {}}
    for option, value in values.items():
        if option not in OPTIONS and (option not in neutral or value != neutral[option]):
            hint = nearest_name(option, OPTIONS)
            raise RequestError(f"there is no option {shown(option)} here{hint}; there are {', '.join(OPTIONS)}")
    if values.get("model", name) != name:
        raise RequestError(
            f"there is no model {shown(values['model'])}, only {name!r}", status=404, code="model_not_found"
        )
    number = {"max_tokens": 16, "n": 1, **values}
    check_integer("max_tokens", number["max_tokens"], minimum=0, maximum=limits.max_tokens)
    check_integer("n", number["n"], minimum=1, maximum=limits.max_texts)
    check_integer("logprobs", values.get("logprobs"), minimum=0, maximum=_MAX_LOGPROBS, optional=True)
    for option in ("echo", "stream"):
        if not isinstance(values.get(option, False), bool):
            raise RequestError(f"{option} must be true or false, got {shown(values[option])}")
    prompts = _strings(values.get("prompt"), "prompt", limits.max_texts // number["n"], minimum=1)
    stop = _strings(values.get("stop", []), "stop", _MAX_STOPS)
    if not all(0 < len(string) <= _MAX_STOP_LENGTH for string in stop):
        raise RequestError(f"stop must hold strings of 1 to {_MAX_STOP_LENGTH} characters, got {shown(values['stop'])}")
    sampling = {option: values[option] for option in _SAMPLING if option in values}
    config = SamplerConfig.from_dict({**defaults, "seed": secrets.randbits(48), **sampling})
    echo, stream = values.get("echo", False), values.get("stream", False)
    return Request(prompts, number["max_tokens"], number["n"], stop, values.get("logprobs"), echo, stream, config)


def _whole(value: Any) -> Any:
    """Turns 2.0 into 2, as some clients know one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53 else value


def _strings(value: object, name: str, most: int, *, minimum: int = 0) -> tuple[str, ...]:
    strings = (value,) if isinstance(value, str) else value
    if not isinstance(strings, (list, tuple)) or not all(isinstance(string, str) for string in strings):
        raise RequestError(f"{name} must be a string or a list of strings, got {shown(value)}")
    if not minimum <= len(strings) <= most:
        each = " times n" if minimum else ""
        raise RequestError(
            f"{name} must hold {minimum} to {most} strings{each}, got {len(strings)}; ask for fewer at once"
        )
    return tuple(check_text(name, string) for string in strings)
