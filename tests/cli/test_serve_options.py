"""Each option of ``serve``, held to its effect on the server that is started."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from zh_lstm_lm.integrations import http_server

pytest.importorskip("starlette", reason="starlette is not installed (extra 'serve')")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The application and the address of each server that would have run."""
    servers: list[Any] = []
    monkeypatch.setattr(
        http_server, "run_server", lambda app, listening: servers.append((app, listening.getsockname()[:2]))
    )
    return servers


def ask(app: Any, **values: Any) -> tuple[int, Any]:
    """The status and the values of an answer."""
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": json.dumps({"prompt": "展昭", **values}).encode()}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": [], "query_string": b""}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_every_option_is_held(check_all_held: Callable[..., None]) -> None:
    check_all_held("serve")


@pytest.mark.options("serve", "--host", "--port", "--quiet")
def test_it_listens_on_this_machine_unless_told_otherwise(place: Any, started: list[Any]) -> None:
    shown = place.run("serve", "model", "--port", "0", "--quiet")
    app, (host, port) = started[0]
    assert (host, shown) == ("127.0.0.1", f"model at http://127.0.0.1:{port}/v1\n")
    assert place.err == ""
    assert ask(app, model="model")[0] == 200
    place.run("serve", "model", "--port", "0", "--host", "0.0.0.0")
    assert started[1][1][0] == "0.0.0.0"
    assert "--key-file" in place.err
    place.run("serve", "model", "--port", "70000", status=2)
    assert "--port must be from 0 to 65535" in place.err


@pytest.mark.options("serve", "--key-file")
def test_the_key_is_read_from_a_file(place: Any, started: list[Any]) -> None:
    (place.folder / "key").write_text("geheim\n", encoding="utf-8")
    place.run("serve", "model", "--port", "0", "--host", "0.0.0.0", "--key-file", "key")
    assert place.err == ""
    assert ask(started[0][0])[0] == 401


@pytest.mark.options("serve", "--max-body", "--max-tokens", "--max-texts", "--max-time")
def test_the_limits_are_those_of_the_options(place: Any, started: list[Any]) -> None:
    place.run("serve", "model", "--port", "0", "--max-body", "90", "--max-tokens", "9", "--max-texts", "2")
    app = started[0][0]
    assert ask(app, max_tokens=9, n=2)[0] == 200
    assert ask(app, stop="x" * 90)[0] == 413
    assert "from 0 to 9" in ask(app, max_tokens=10)[1]["error"]["message"]
    assert "from 1 to 2" in ask(app, max_tokens=1, n=3)[1]["error"]["message"]
    place.run("serve", "model", "--port", "0", "--max-time", "0.02", "--max-tokens", "1000000")
    assert 0 < ask(started[1][0], max_tokens=1000000)[1]["usage"]["completion_tokens"] < 1000000
    place.run("serve", "model", "--max-time", "0", status=2)
    assert "--max-time must be greater than 0" in place.err or "between" in place.err


@pytest.mark.parametrize(("host", "shown"), [("::1", "[::1]"), ("localhost", "localhost")])
def test_other_names_of_this_machine(
    host: str, shown: str, place: Any, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    listening = SimpleNamespace(getsockname=lambda: (host, 5000))
    monkeypatch.setattr(http_server, "listen", lambda host, port: contextlib.nullcontext(listening))
    assert place.run("serve", "model", "--host", host) == f"model at http://{shown}:5000/v1\n"
    assert place.err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_ends_the_server_without_a_traceback(place: Any, name: str) -> None:
    pytest.importorskip("uvicorn", reason="uvicorn is not installed (extra 'serve')")
    command = [sys.executable, "-u", "-m", "zh_lstm_lm", "serve", "model", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        for _ in range(600):
            # The address is printed before the server runs.
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/models", timeout=30):
                break
            time.sleep(0.1)
        process.send_signal(getattr(signal, name))
        _, messages = process.communicate(timeout=60)
    assert process.returncode in (-getattr(signal, name), 130)
    assert "Traceback" not in messages
