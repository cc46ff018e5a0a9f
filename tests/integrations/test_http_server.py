"""The completions endpoint: what it answers, beside the library's own results, and what it refuses."""

import asyncio
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zh_lstm_lm import LSTMLanguageModel, Sampler, SamplerConfig, score
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.integrations.completion_request import ServerLimits
from zh_lstm_lm.integrations.http_server import create_app, listen, run_server

pytest.importorskip("starlette", reason="starlette is not installed (extra 'serve')")

Post = Callable[..., Any]
LIMITS = ServerLimits(max_body=4000, max_tokens=100, max_texts=8, max_time=30.0)


@pytest.fixture(scope="module")
def app(trained: LSTMLanguageModel) -> Any:
    return create_app(trained, name="wuxia", limits=LIMITS)


def written(model: LSTMLanguageModel, prompt: str, length: int, sample: int = 0, **options: Any) -> str:
    """What the library's sampler adds to a prompt."""
    texts = Sampler(model, SamplerConfig(**options)).generate(
        prompt, num_samples=1, first_sample=sample, max_new_tokens=length
    )
    return texts[0].removeprefix(prompt)


def test_a_text_is_that_of_the_sampler(app: Any, post: Post, trained: LSTMLanguageModel) -> None:
    options: dict[str, Any] = {"temperature": 1.1, "top_p": 0.9, "seed": 7}
    reply = post(app, {"model": "wuxia", "prompt": ["展昭道：", ""], "max_tokens": 12, "n": 2, **options})
    assert reply.status == 200
    answer = reply.json
    assert (answer["object"], answer["model"]) == ("text_completion", "wuxia")
    expected = [written(trained, prompt, 12, sample, **options) for prompt in ("展昭道：", "") for sample in (0, 1)]
    assert [choice["text"] for choice in answer["choices"]] == expected
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert {choice["finish_reason"] for choice in answer["choices"]} == {"length"}
    prompt_tokens = len(trained.vocabulary.encode("展昭道："))
    assert answer["usage"] == {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": 48,
        "total_tokens": 48 + prompt_tokens,
    }


@pytest.mark.usefixtures("exact_products")
def test_a_text_among_others_is_the_text_alone(app: Any, post: Post) -> None:
    prompts: list[tuple[str, dict[str, Any]]] = [
        ("展昭", {}),
        ("夜里三更，", {"logprobs": 2}),
        ("", {"frequency_penalty": 1.0}),
        ("展昭", {"n": 2, "top_p": 0.5}),
    ]
    bodies = [
        {"prompt": prompt, "max_tokens": 5 + 7 * seed, "seed": seed, "temperature": 0.5 + seed / 4, **more}
        for seed, (prompt, more) in enumerate(prompts)
    ]
    together = post(app, bodies)
    for body, among in zip(bodies, together, strict=True):
        assert post(app, body).json["choices"] == among.json["choices"]


def test_without_a_seed_texts_differ(app: Any, post: Post) -> None:
    body = {"prompt": "展昭", "max_tokens": 20, "temperature": 1.5, "top_p": 1}
    assert post(app, body).json["choices"] != post(app, body).json["choices"]


def test_a_text_ends_before_a_stop_string(app: Any, post: Post, trained: LSTMLanguageModel) -> None:
    body = {"prompt": "展昭道：", "max_tokens": 60, "seed": 3, "temperature": 1.0}
    whole = post(app, body).json["choices"][0]["text"]
    assert len(whole) > 30
    for stop in (whole[20:22], [whole[10:14], whole[25:27]], [whole + "无"]):
        found = [whole.find(string) for string in ([stop] if isinstance(stop, str) else stop)]
        end = min((position for position in found if position >= 0), default=len(whole))
        reply = post(app, {**body, "stop": stop, "logprobs": 0})
        choice = reply.json["choices"][0]
        assert choice["text"] == whole[:end]
        assert choice["finish_reason"] == ("stop" if end < len(whole) else "length")
        assert all(offset < end for offset in choice["logprobs"]["text_offset"])
        streamed = post(app, {**body, "stop": stop, "stream": True}).events
        assert "".join(event["choices"][0]["text"] for event in streamed) == whole[:end]
        assert streamed[-1]["choices"][0]["finish_reason"] == choice["finish_reason"]


def test_a_stop_string_in_the_prompt_does_not_end_the_text(app: Any, post: Post) -> None:
    body = {"prompt": "展昭道", "max_tokens": 10, "seed": 1, "stop": "展昭道"}
    assert len(post(app, body).json["choices"][0]["logprobs"] or "x" * 9) >= 9
    assert post(app, body).json["usage"]["completion_tokens"] > 0


def test_echo_with_logprobs_gives_the_scores_of_the_prompt(app: Any, post: Post, trained: LSTMLanguageModel) -> None:
    prompt = "白玉堂笑道：“雪大，酒才好喝。”a𠮷１"
    body = {"prompt": [prompt, ""], "max_tokens": 0, "echo": True, "logprobs": 3}
    choices = post(app, body).json["choices"]
    expected = score(trained, prompt)
    found = choices[0]["logprobs"]
    assert choices[0]["text"] == prompt
    assert found["tokens"] == list(expected.tokens)
    assert found["token_logprobs"] == pytest.approx(list(expected.log_probs), abs=1e-4)
    assert found["text_offset"] == [start for start, _ in expected.offsets]
    for token, value, top in zip(found["tokens"], found["token_logprobs"], found["top_logprobs"], strict=True):
        assert top[token] == value
        assert 3 <= len(top) <= 4
        assert max(top.values()) >= value
    assert (choices[1]["text"], choices[1]["logprobs"]["tokens"]) == ("", [])


def test_logprobs_of_what_is_written_are_its_scores(app: Any, post: Post, trained: LSTMLanguageModel) -> None:
    body = {"prompt": "展昭道：", "max_tokens": 8, "echo": True, "logprobs": 1, "temperature": 0}
    choice = post(app, body).json["choices"][0]
    found = choice["logprobs"]
    assert "".join(found["tokens"]) == choice["text"]
    assert [choice["text"].find(t, at) == at for t, at in zip(found["tokens"], found["text_offset"], strict=True)]
    result = Sampler(trained, SamplerConfig(temperature=0)).generate("展昭道：", max_new_tokens=8, return_results=True)
    assert found["token_logprobs"][-8:] == pytest.approx(list(result.log_probs), abs=1e-6)


def test_a_stream_has_the_text_of_the_whole_answer(app: Any, post: Post) -> None:
    body = {"prompt": ["展昭", "白玉堂"], "max_tokens": 9, "seed": 2, "echo": True, "logprobs": 2, "n": 2}
    whole = post(app, body).json["choices"]
    reply = post(app, {**body, "stream": True})
    assert reply.headers["content-type"].startswith("text/event-stream")
    parts = [choice for event in reply.events for choice in event["choices"]]
    assert len(reply.events) > 9
    for choice in whole:
        own = [part for part in parts if part["index"] == choice["index"]]
        assert "".join(part["text"] for part in own) == choice["text"]
        tokens = [token for part in own if part["logprobs"] for token in part["logprobs"]["tokens"]]
        assert tokens == choice["logprobs"]["tokens"]
        assert [part["finish_reason"] for part in own if part["finish_reason"]] == [choice["finish_reason"]]


def test_the_models_are_listed(app: Any, post: Post) -> None:
    listed = post(app, b"", "/v1/models", "GET").json
    assert (listed["object"], [model["id"] for model in listed["data"]]) == ("list", ["wuxia"])
    assert post(app, b"", "/v1/models/wuxia", "GET").json == listed["data"][0]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "not valid JSON"),
        (b"{", 400, "not valid JSON"),
        (b'{"prompt": NaN}', 400, "no finite number"),
        (b'{"prompt": "\xff"}', 400, "not valid JSON"),
        (b"[" * 3000, 400, "not valid JSON"),
        ([], 400, "must be a JSON object"),
        ({}, 400, "prompt must be a string or a list of strings, got None"),
        ({"prompt": 3}, 400, "prompt must be a string"),
        ({"prompt": [1, 2]}, 400, "prompt must be a string"),
        ({"prompt": []}, 400, "prompt must hold 1 to 8 strings"),
        ({"prompt": ["x"] * 5, "n": 2}, 400, "prompt must hold 1 to 4 strings times n"),
        ({"prompt": "\ud800"}, 400, "prompt: character 0 is a lone surrogate"),
        ({"prompt": "x", "max_tokens": 101}, 400, "max_tokens must be from 0 to 100, got 101"),
        ({"prompt": "x", "max_tokens": True}, 400, "max_tokens must be an integer"),
        ({"prompt": "x", "n": 0}, 400, "n must be from 1 to 8"),
        ({"prompt": "x", "temperature": -1}, 400, "temperature must be at least 0"),
        ({"prompt": "x", "top_p": 0}, 400, "top_p must be above 0"),
        ({"prompt": "x", "seed": "one"}, 400, "seed must be an integer"),
        ({"prompt": "x", "logprobs": 21}, 400, "logprobs must be from 0 to 20"),
        ({"prompt": "x", "stop": [""]}, 400, "stop must hold strings of 1 to 256"),
        ({"prompt": "x", "stop": ["x"] * 17}, 400, "stop must hold 0 to 16 strings"),
        ({"prompt": "x", "stream": 1}, 400, "stream must be true or false"),
        ({"prompt": "x", "temperatur": 1}, 400, "did you mean 'temperature'"),
        ({"prompt": "x", "logit_bias": {"5": 1}}, 400, "there is no option 'logit_bias'"),
        ({"prompt": "x", "model": "other"}, 404, "only 'wuxia'"),
        ({"prompt": "雪" * 2000}, 413, "at most 4,000 bytes"),
    ],
)
def test_a_bad_request_is_refused_with_its_reason(app: Any, post: Post, body: Any, status: int, message: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = post(app, data)
    assert reply.status == status
    error = reply.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert message in error["message"]
    assert error["type"] == "invalid_request_error"
    named = message.partition(" ")[0].rstrip(":")
    assert error["param"] == (named if isinstance(body, dict) and named in {"prompt", *body} else None)


def test_options_that_change_nothing_are_accepted(app: Any, post: Post) -> None:
    body = {"prompt": "展昭", "max_tokens": 2.0, "n": 2, "best_of": 2, "suffix": None, "user": "me", "logit_bias": {}}
    assert post(app, {**body, "presence_penalty": 0, "stop": None}).status == 200
    assert post(app, {**body, "frequency_penalty": 10**30}).status == 200


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/v1/chat/completions", "POST", 404), ("/v1/completions", "GET", 405)]
)
def test_other_addresses_are_refused_in_the_same_form(
    app: Any, post: Post, path: str, method: str, status: int
) -> None:
    reply = post(app, b"{}", path, method)
    assert (reply.status, reply.json["error"]["type"]) == (status, "invalid_request_error")
    assert post(app, b"", "/v1/models/other", "GET").json["error"]["code"] == "model_not_found"


def test_a_key_is_asked_for_everywhere(trained: LSTMLanguageModel, post: Post) -> None:
    app = create_app(trained, name="wuxia", key="geheim-1")
    for path, method in (("/v1/models", "GET"), ("/v1/completions", "POST"), ("/other", "GET")):
        for wrong in ({}, {"authorization": "Bearer geheim-2"}, {"authorization": "geheim-1"}):
            reply = post(app, b"{}", path, method, **wrong)
            assert (reply.status, reply.json["error"]["code"]) == (401, "invalid_api_key")
            assert reply.headers["www-authenticate"] == "Bearer"
    assert post(app, b"", "/v1/models", "GET", authorization="Bearer geheim-1").status == 200
    for bad in ("", "雪", "a\nb"):
        with pytest.raises(ConfigError, match="one line of ASCII"):
            create_app(trained, name="wuxia", key=bad)


def test_a_text_ends_when_its_time_is_over(trained: LSTMLanguageModel, post: Post) -> None:
    app = create_app(trained, name="wuxia", limits=ServerLimits(max_time=0.05, max_tokens=10**6))
    answer = post(app, {"prompt": "展昭", "max_tokens": 10**6}).json
    assert 0 < answer["usage"]["completion_tokens"] < 10**5
    assert answer["choices"][0]["finish_reason"] == "length"


def test_too_many_waiting_texts_are_refused(trained: LSTMLanguageModel, post: Post) -> None:
    app = create_app(trained, name="wuxia", limits=ServerLimits(max_texts=1))
    replies = post(app, [{"prompt": "展昭", "max_tokens": 40}] * 30)
    assert {reply.status for reply in replies} == {200, 503}
    assert {reply.json["error"]["type"] for reply in replies if reply.status == 503} == {"server_error"}
    assert post(app, {"prompt": "展昭"}).status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_ends_its_work(
    trained: LSTMLanguageModel, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    steps = 0
    read = LSTMLanguageModel.for_decoding(trained).__class__.read

    def counted(self: Any, ids: Any, state: Any = None) -> Any:
        nonlocal steps
        steps += 1
        return read(self, ids, state)

    monkeypatch.setattr(LSTMLanguageModel.for_decoding(trained).__class__, "read", counted)
    app = create_app(trained, name="wuxia", limits=ServerLimits(max_tokens=10**6))
    body = json.dumps({"prompt": "展昭", "max_tokens": 10**6, "stream": stream}).encode()
    sent: list[Any] = []

    async def go() -> None:
        messages = [{"type": "http.request", "body": body}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await asyncio.sleep(0.05)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": [], "query_string": b""}
        await asyncio.wait_for(app(scope, receive, send), 20)

    loop.run_until_complete(go())
    time.sleep(0.1)
    after = steps
    time.sleep(0.1)
    assert 0 < after == steps
    assert bool(sent) is stream


def test_an_error_inside_the_server_ends_one_request(
    app: Any, post: Post, trained: LSTMLanguageModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("zh_lstm_lm.generation.loop.read_prompts", lambda *_: 1 / 0)
        reply = post(app, {"prompt": "展昭"})
    assert (reply.status, reply.json["error"]["type"]) == (500, "server_error")
    assert "division" not in reply.json["error"]["message"]
    assert "ZeroDivisionError" in caplog.text
    assert post(app, {"prompt": "展昭"}).status == 200


def random_body(numbers: random.Random) -> bytes:
    """Bytes, JSON, or nearly a request."""
    if numbers.random() < 0.3:
        return numbers.randbytes(numbers.randrange(40))
    values: list[Any] = [
        None,
        True,
        0,
        1,
        -1,
        2.5,
        1e300,
        10**30,
        "展昭",
        "\ud800",
        "",
        [],
        {},
        ["a", "b"],
        [[1]],
        {"a": {"b": []}},
    ]
    names = [
        "prompt",
        "max_tokens",
        "n",
        "stop",
        "logprobs",
        "echo",
        "stream",
        "temperature",
        "top_p",
        "seed",
        "best_of",
    ]
    body: dict[str, Any] = {"prompt": "展昭", "max_tokens": 1}
    for _ in range(numbers.randrange(4)):
        body[numbers.choice([*names, "frequency_penalty", "suffix", "x"])] = numbers.choice(values)
    data = bytearray(json.dumps(body, ensure_ascii=numbers.random() < 0.5).encode("utf-8", "surrogatepass"))
    if numbers.random() < 0.3:
        data[numbers.randrange(len(data))] = numbers.randrange(256)
    return bytes(data)


def test_the_server_stays_up_under_random_bodies(app: Any, post: Post) -> None:
    numbers = random.Random(5)
    statuses = [reply.status for _ in range(10) for reply in post(app, [random_body(numbers) for _ in range(50)])]
    assert set(statuses) <= {200, 400, 404, 413}
    assert statuses.count(400) > 100
    assert statuses.count(200) > 20
    assert post(app, {"prompt": "展昭"}).status == 200


# --- over a socket --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(trained: LSTMLanguageModel) -> Iterator[str]:
    """The address of a server in a thread."""
    uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed (extra 'serve')")
    servers: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        run = uvicorn.Server.run

        def noted(self: Any, **options: Any) -> None:
            servers.append(self)
            run(self, **options)

        patch.setattr(uvicorn.Server, "run", noted)
        listening = listen("127.0.0.1", 0)
        app = create_app(trained, name="wuxia", key="geheim")
        thread = threading.Thread(target=run_server, args=(app, listening))
        thread.start()
        # A test may end before the thread has begun.
        while not (servers and servers[0].started):
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        servers[0].should_exit = True
        thread.join(20)
        listening.close()
        assert not thread.is_alive()


def test_the_official_client_speaks_with_it(address: str, trained: LSTMLanguageModel) -> None:
    openai = pytest.importorskip("openai", reason="the package openai is not installed")
    with openai.OpenAI(base_url=address, api_key="geheim", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["wuxia"]
        answer = client.completions.create(
            model="wuxia", prompt="展昭道：", max_tokens=10, seed=4, temperature=1, top_p=1
        )
        expected = written(trained, "展昭道：", 10, temperature=1.0, top_p=1.0, seed=4)
        assert answer.choices[0].text == expected
        stream = client.completions.create(
            model="wuxia", prompt="展昭道：", max_tokens=10, seed=4, temperature=1, top_p=1, stream=True
        )
        assert "".join(chunk.choices[0].text for chunk in stream) == expected
        scored = client.completions.create(model="wuxia", prompt="展昭道：", max_tokens=0, echo=True, logprobs=1)
        assert sum(scored.choices[0].logprobs.token_logprobs) == pytest.approx(
            score(trained, "展昭道：").log_prob, abs=1e-4
        )
        with pytest.raises(openai.BadRequestError, match="temperature"):
            client.completions.create(model="wuxia", prompt="展昭", temperature=-1)
        with pytest.raises(openai.NotFoundError, match="only 'wuxia'"):
            client.completions.create(model="gpt-3.5-turbo-instruct", prompt="展昭")
    with (
        openai.OpenAI(base_url=address, api_key="other", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="key"),
    ):
        client.models.list()


def test_an_address_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1 port {port}"):
            listen("127.0.0.1", port)
