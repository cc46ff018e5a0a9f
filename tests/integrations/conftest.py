"""A trained model, and requests to the application without a network."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, TokenStream, Trainer, TrainerConfig, Vocabulary

Call = Callable[..., "Reply"]


class Reply(NamedTuple):
    """An answer to a request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The values of a stream, which ends as it should."""
        *events, last, rest = self.body.decode("utf-8").split("\n\n")
        assert (last, rest) == ("data: [DONE]", "")
        return [json.loads(event.removeprefix("data: ")) for event in events]


@pytest.fixture(scope="session")
def trained(texts: list[str]) -> LSTMLanguageModel:
    """A model of words, trained a little; its spellings show what a split word is."""
    stream = TokenStream.from_texts(texts * 8, tokenizer="jieba")
    model = LSTMLanguageModel(
        Vocabulary.from_stream(stream), ModelConfig(embedding_dim=16, hidden_size=32, output="full")
    )
    config = TrainerConfig(max_steps=80, batch_size=4, bptt_len=12, learning_rate=0.02)
    Trainer(model, stream, None, config, progress=False).fit()
    return model


async def request(app: Any, method: str, path: str, body: bytes, headers: dict[str, str]) -> Reply:
    """Makes a request to an ASGI application."""
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": body}]
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": encoded, "query_string": b"", "root_path": ""}
    await asyncio.wait_for(app(scope, receive, send), 60)
    start, *parts = sent
    given = {name.decode(): value.decode() for name, value in start["headers"]}
    return Reply(start["status"], given, b"".join(part.get("body", b"") for part in parts))


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The event loop of all requests."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="session")
def post(loop: asyncio.AbstractEventLoop) -> Call:
    """Posts one request, or a list of them at once, to an application."""

    def call(app: Any, body: Any, path: str = "/v1/completions", method: str = "POST", **headers: str) -> Any:
        def one(value: Any) -> Any:
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            return request(app, method, path, data, headers)

        async def several() -> Any:
            return await asyncio.gather(*map(one, body))

        return loop.run_until_complete(several() if isinstance(body, list) else one(body))

    return call
