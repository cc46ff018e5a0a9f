"""An HTTP server with the completions endpoint of OpenAI (extra ``serve``).

zh-lstm-lm serve wuxia-lstm
"""

import asyncio
import contextlib
import hmac
import json
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator
from types import FrameType
from typing import Any

from zh_lstm_lm._config import check_integer
from zh_lstm_lm.errors import ConfigError, NonFiniteError, ZhLstmLmError
from zh_lstm_lm.integrations.batching import Batcher, Piece
from zh_lstm_lm.integrations.completion_request import OPTIONS, RequestError, ServerLimits
from zh_lstm_lm.integrations.completions import Completion, Completions
from zh_lstm_lm.models.base import LanguageModel, check_model
from zh_lstm_lm.runtime.optional import require

__all__ = ["create_app", "listen", "run_server"]

_EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
# Texts that may wait for each that is generated at once.
_WAITING = 16
_GRACE = 5  # seconds for open requests when the server stops

_log = logging.getLogger(__name__)


class _GoneError(Exception):
    """The client has gone away."""


def create_app(model: LanguageModel, *, name: str, key: str | None = None, limits: ServerLimits | None = None) -> Any:
    """Makes the ASGI application.

    Args:
        model: Any `LanguageModel`.
        name: Its name.
        key: What ``Authorization: Bearer …`` has to hold; None for no key.
        limits: The bounds on requests.

    Raises:
        MissingDependencyError: Starlette is not installed.
        ConfigError: The key is empty or not ASCII, or the model is none.
    """
    applications = require("starlette.applications", extra="serve")
    exceptions = require("starlette.exceptions", extra="serve")
    routing = require("starlette.routing", extra="serve")
    respond = require("starlette.responses", extra="serve").JSONResponse
    check_model("model", model)
    if key is not None and not (key and key.isascii() and key.isprintable() and key == key.strip()):
        raise ConfigError("the key must be one line of ASCII characters, without spaces around it; write another one")
    completions = Completions(model, name, limits or ServerLimits())
    batcher = Batcher(completions.sampling_model, max_texts=completions.limits.max_texts)
    described = {"id": name, "object": "model", "created": completions.created, "owned_by": "zh-lstm-lm"}

    async def models(request: Any) -> Any:
        return respond({"object": "list", "data": [described]})

    async def one_model(request: Any) -> Any:
        if request.path_params["name"] == name:
            return respond(described)
        error = RequestError(f"there is no such model, only {name!r}", status=404, code="model_not_found")
        return respond(_error(error), 404)

    async def refuse(request: Any, error: Any) -> Any:
        found = RequestError(f"{request.method} {request.url.path}: {error.detail}", status=error.status_code)
        return respond(_error(found), error.status_code, headers=error.headers)

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        try:
            yield
        finally:
            batcher.close()

    app = applications.Starlette(
        routes=[
            routing.Route("/v1/completions", _Endpoint(completions, batcher, respond), methods=["POST"]),
            routing.Route("/v1/models", models),
            routing.Route("/v1/models/{name:path}", one_model),
        ],
        exception_handlers={exceptions.HTTPException: refuse},
        lifespan=lifespan,
    )

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        given = dict(scope.get("headers", ())).get(b"authorization", b"")
        if key is None or scope["type"] != "http" or hmac.compare_digest(given, f"Bearer {key}".encode()):
            await app(scope, receive, send)
            return
        error = RequestError("give the key of this server, as 'Authorization: Bearer …'", code="invalid_api_key")
        await respond(_error(error), 401, headers={"WWW-Authenticate": "Bearer"})(scope, receive, send)

    return guarded


class _Endpoint:
    """The completions endpoint, as an ASGI application."""

    def __init__(self, completions: Completions, batcher: Batcher, respond: Any) -> None:
        self._completions, self._batcher, self._respond = completions, batcher, respond

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        begun = False

        async def noting(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._answer(scope, receive, noting)
        except _GoneError:
            pass
        except Exception as error:
            status, values = _status(error), _error(error)
            if status == 500:
                _log.exception("a request failed")
            if begun:
                await send({"type": "http.response.body", "body": _event(values)})
            else:
                await self._respond(values, status)(scope, receive, send)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        limits = self._completions.limits
        try:
            body = await asyncio.wait_for(_body(receive, limits.max_body), limits.max_time)
        except asyncio.TimeoutError:
            raise RequestError(f"the request took longer than {limits.max_time:g} s to arrive", status=408) from None
        request = self._completions.parse(body)
        queue: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def deliver(item: object) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, item)

        work = Completion(self._completions, request, deliver)
        if self._batcher.num_waiting + work.num_texts > _WAITING * limits.max_texts:
            raise RequestError("too many texts wait already; try again later", status=503)
        watch = asyncio.ensure_future(_watch(receive, queue))
        try:
            self._batcher.submit(work, work.num_texts)
            pieces = _pieces(queue, work.num_texts)
            if request.stream:
                await _stream(work, pieces, send)
            else:
                answer = work.answer([piece async for piece in pieces])
                await self._respond(answer)(scope, receive, send)
        finally:
            work.cancelled = True
            watch.cancel()


async def _body(receive: Any, most: int) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        body += message.get("body", b"")
        if len(body) > most:
            raise RequestError(f"a request has at most {most:,} bytes; send less text at once", status=413)
        more = message.get("more_body", False)
    return body


async def _watch(receive: Any, queue: asyncio.Queue[Any]) -> None:
    """Waits until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    queue.put_nowait(_GoneError())


async def _pieces(queue: asyncio.Queue[Any], num_texts: int) -> AsyncIterator[Piece]:
    """Yields the pieces of all texts of a request."""
    while num_texts:
        item = await queue.get()
        if isinstance(item, Exception):
            raise item
        num_texts -= item.finish_reason is not None
        yield item


async def _stream(work: Completion, pieces: AsyncIterator[Piece], send: Any) -> None:
    """Sends server-sent events."""

    async def write(data: bytes, more: bool = True) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": more})

    started = False
    async for piece in pieces:
        if not started:
            # What is wrong with a request has shown by now, and has a status of its own.
            await send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
            if work.request.echo:
                await write(_event(work.chunk(work.echo())))
            started = True
        if piece.tokens or piece.text or piece.finish_reason:
            await write(_event(work.chunk([work.choice(piece)])))
    await write(b"data: [DONE]\n\n", more=False)


def _event(values: Any) -> bytes:
    return b"data: " + json.dumps(values, ensure_ascii=False, allow_nan=False).encode() + b"\n\n"


def _status(error: Exception) -> int:
    if isinstance(error, RequestError):
        return error.status
    return 400 if isinstance(error, ZhLstmLmError) and not isinstance(error, NonFiniteError) else 500


def _error(error: Exception) -> dict[str, Any]:
    """Returns an error in OpenAI's layout; what is wrong inside the server is told to its log alone."""
    inside = _status(error) >= 500 and not isinstance(error, ZhLstmLmError)
    message = "an error inside the server; its log has the details" if inside else str(error)
    kind = "server_error" if _status(error) >= 500 else "invalid_request_error"
    named = message.partition(" ")[0].partition("[")[0].rstrip(":")
    param = named if named in OPTIONS else None
    return {"error": {"message": message, "type": kind, "param": param, "code": getattr(error, "code", None)}}


def listen(host: str, port: int) -> socket.socket:
    """Opens the socket of a server; raises ConfigError if the address cannot be used."""
    check_integer("port", port, minimum=0, maximum=65535)
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host} port {port} ({error}); give another --host or --port") from error


def run_server(app: Any, listening: socket.socket) -> None:
    """Serves until SIGINT, SIGTERM or SIGHUP; raises MissingDependencyError without Uvicorn."""
    uvicorn = require("uvicorn", extra="serve")
    config = uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=_GRACE)
    server = uvicorn.Server(config)
    hangup = getattr(signal, "SIGHUP", None)
    before = signal.getsignal(hangup) if hangup is not None else signal.SIG_IGN
    if hangup is None or before == signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        server.run(sockets=[listening])
        return
    received: list[int] = []

    def leave(signum: int, frame: FrameType | None) -> None:
        # Uvicorn handles the other two itself, and prints a traceback for an exception inside its loop.
        received.append(signum)
        server.should_exit = True

    signal.signal(hangup, leave)
    try:
        server.run(sockets=[listening])
    finally:
        signal.signal(hangup, before)
    if received:
        signal.raise_signal(hangup)
