"""The straight road's own cares: connections, certificates, proxies, redirections, sizes, odd servers."""

import asyncio
import gc
import gzip
import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent.models.http import call, session
from agent.models.http.session import close_session, open_session
from agent.models.protocol import ModelReply
from agent.models.provider_model import ProviderModel
from conversation.errors import ModelError
from tests.certificates import make_certificate
from tests.stub_openai import API_KEY, Behaviour, Exchange, StubOpenAI, reply, stream, text_delta

HELLO = {"id": "x", "choices": [{"index": 0, "message": {"content": "Hi."}, "finish_reason": "stop"}]}
PIECE = json.dumps({"choices": [{"index": 0, "delta": {"content": "Hi."}, "finish_reason": None}]})
LAST = json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
#: Of another shape than the format's, wherever it has one.
ODD = b'{"choices": [5, {"index": 0, "finish_reason": {}, "message": {"content": 5, "tool_calls": [1, null]}}]}'


@pytest.fixture
def model() -> ProviderModel:
    return ProviderModel(backoff_initial_seconds=0.001, backoff_max_seconds=0.002, idle_timeout_seconds=0.3)


def raw(data: bytes, content_type: str = "text/event-stream", **headers: str) -> Behaviour:
    """Answer 200 with these bytes, and close the connection."""

    def behave(exchange: Exchange) -> None:
        handler = exchange._handler
        handler.send_response(200)
        for name, value in {"Content-Type": content_type, "Connection": "close", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)
        exchange.cut()

    return behave


def redirect(target: str, code: int = 307) -> Behaviour:
    return lambda exchange: exchange.send_json(code, {}, {"Location": target})


async def streamed(model: ProviderModel, question: Any) -> ModelReply:
    *_, last = [item async for item in model.stream(question)]
    assert isinstance(last, ModelReply)
    return last


@pytest.mark.parametrize(
    "body",
    [
        f"data: {PIECE}\n\ndata: {LAST}\n\ndata: [DONE]\n\n",
        f"data:{PIECE}\r\n\r\ndata:{LAST}\r\n\r\n",
        f": ping\n\nevent: x\ndata: {PIECE}\ndata: {LAST}\ndata: [DONE]",
        f"\ufeffdata: {PIECE}\n\ndata: nonsense\n\ndata: [1]\n\ndata: {{}}\n\ndata: {LAST}",
    ],
    ids=["standard", "CRLF without space and done", "no blank lines", "nonsense between"],
)
async def test_streams_of_servers_with_other_habits_are_read(provider, model, question, body):
    provider.enqueue(raw(body.encode()))

    assert (await streamed(model, question)).content == "Hi."


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "text/event-stream", "text/plain"])
async def test_a_server_that_answers_whole_whatever_was_asked_is_understood(provider, model, question, content_type):
    provider.enqueue(raw(json.dumps(HELLO).encode(), content_type))

    assert (await streamed(model, question)).content == "Hi."


async def test_a_stream_is_one_whatever_its_type_says(provider, model, question):
    provider.enqueue(raw(f"data: {PIECE}\n\ndata: {LAST}\n\n".encode(), "application/json"))

    assert (await streamed(model, question)).content == "Hi."


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "Slow down.", "code": 429}, "rate_limited"),
        ({"message": "Bad key.", "code": 401}, "unauthorized"),
        ({"message": "This model's maximum context length is 10 tokens.", "code": 400}, "context_length"),
        ({"message": "odd"}, "unavailable"),
        ("odd", "unavailable"),
    ],
)
@pytest.mark.parametrize("is_streamed", [True, False])
async def test_an_error_that_comes_with_200_is_an_error(provider, model, question, *, error, kind, is_streamed):
    body = json.dumps({"error": error})
    provider.answer_with(
        lambda _: raw(f"data: {body}\n\n".encode()) if is_streamed else raw(body.encode(), "application/json")
    )

    with pytest.raises(ModelError) as raised:
        await (streamed(model, question) if is_streamed else model.complete(question))

    assert raised.value.kind == kind


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"", b"\xff", b"[" * 100_000, b'{"choices": 5}', b"{}", ODD])
async def test_an_answer_that_is_no_answer_is_tried_again(provider, model, question, body):
    provider.enqueue(raw(body, "application/json"), reply("Hi."))

    assert (await model.complete(question)).content == "Hi."


async def test_what_a_provider_behind_a_gateway_says_is_told(provider, model, question):
    error = {"message": "Provider returned error", "code": 400, "metadata": {"raw": "odd tokens", "provider_name": "X"}}
    provider.answer_with(lambda _: lambda exchange: exchange.send_json(400, {"error": error}))

    with pytest.raises(ModelError) as raised:
        await model.complete(question)

    assert raised.value.provider_text == "Provider returned error: odd tokens"


async def test_counts_that_are_none_are_not_counted(provider, model, question):
    usage = {"prompt_tokens": "many", "completion_tokens": -5, "prompt_tokens_details": [1]}
    provider.enqueue(raw(json.dumps(HELLO | {"usage": usage}).encode(), "application/json"))

    answer = await model.complete(question)

    assert (answer.usage.total_tokens, answer.cost) == (0, None)


@pytest.mark.parametrize("is_packed", [True, False], ids=["packed", "plain"])
async def test_an_answer_is_read_to_a_bound_alone(provider, model, question, is_packed, monkeypatch):
    monkeypatch.setattr(call, "ANSWER_MAX_BYTES", 1_000_000)
    data = b" " * 50_000_000 if is_packed else b" " * 2_000_000
    body = gzip.compress(data) if is_packed else data
    provider.answer_with(lambda _: raw(body, "application/json", **({"Content_Encoding": "gzip"} if is_packed else {})))

    with pytest.raises(ModelError) as raised:
        await model.complete(question)

    assert (raised.value.kind, len(provider.requests)) == ("reply_too_large", 1)


async def test_a_refusal_is_read_to_a_bound_alone(provider, model, question):
    provider.answer_with(lambda _: lambda exchange: exchange.send_json(400, "x" * 5_000_000))

    with pytest.raises(ModelError) as raised:
        await model.complete(question)

    assert raised.value.kind == "refused"
    assert len(raised.value.provider_text) < 400


async def test_a_redirection_is_followed_on_its_own_host_alone(provider, model, question):
    with StubOpenAI() as stranger:
        stranger.answer_with(lambda _: reply("Give me keys."))
        provider.enqueue(redirect("/v1/other?x=1", 308), reply("Hi."))
        assert (await model.complete(question)).content == "Hi."
        assert provider.requests[1].path == "/v1/other?x=1"
        assert provider.requests[1].headers["authorization"] == f"Bearer {API_KEY}"

        provider.enqueue(redirect(f"{stranger.base_url}/chat/completions"))
        with pytest.raises(ModelError) as raised:
            await model.complete(question)
        assert (raised.value.kind, stranger.requests) == ("refused", [])

        provider.answer_with(lambda _: redirect("/v1/round"))
        with pytest.raises(ModelError, match="redirected again and again"):
            await model.complete(question)


async def test_a_connection_is_kept_for_the_next_call(provider, model, question):
    places: list[Any] = []

    def answer(_: object) -> Behaviour:
        def behave(exchange: Exchange) -> None:
            places.append(exchange._handler.client_address)
            (stream(text_delta("Hi."), pause_seconds=0.01) if len(places) % 2 else reply("Hi."))(exchange)

        return behave

    provider.answer_with(answer)
    for number in range(4):
        await (model.complete(question) if number % 2 else streamed(model, question))

    assert len(set(places)) == 1


async def test_a_loop_that_ends_closes_its_connections(provider, question):
    def ask_in_a_loop_of_its_own() -> None:
        asyncio.run(ProviderModel().complete(question))

    provider.answer_with(lambda _: reply("Hi."))
    before = len(session._sessions)
    await asyncio.to_thread(ask_in_a_loop_of_its_own)

    await asyncio.to_thread(provider.wait_for_no_connections)
    assert len(session._sessions) == before


@pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning", "ignore:unclosed:ResourceWarning")
async def test_a_loop_that_was_only_closed_is_forgotten():
    def end_badly() -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(open_session())
        loop.close()
        return loop

    ended_loop = await asyncio.to_thread(end_badly)
    assert ended_loop in session._sessions
    await open_session()

    assert ended_loop not in session._sessions
    gc.collect()


async def test_many_tasks_share_one_session():
    sessions = await asyncio.gather(*(open_session() for _ in range(20)))

    assert len(set(map(id, sessions))) == 1
    await close_session()
    assert await open_session() is not sessions[0]


@pytest.mark.parametrize(("scheme", "no_proxy"), [("http://", ""), ("", ""), ("http://", "127.0.0.1")])
async def test_the_proxy_of_the_environment_is_taken(provider, model, question, monkeypatch, *, scheme, no_proxy):
    with StubOpenAI() as proxy:
        for stub, text in ((proxy, "By proxy."), (provider, "Straight.")):
            stub.answer_with(lambda _, text=text: reply(text))
        monkeypatch.setenv("HTTP_PROXY", scheme + proxy.base_url.removesuffix("/v1").removeprefix("http://"))
        monkeypatch.setenv("NO_PROXY", no_proxy)

        assert (await model.complete(question)).content == ("Straight." if no_proxy else "By proxy.")


async def test_nothing_is_read_out_of_netrc_and_no_cookie_is_kept(provider, model, question, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login someone password netrc-secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    provider.answer_with(lambda _: raw(json.dumps(HELLO).encode(), "application/json", Set_Cookie="session=1; Path=/"))

    await model.complete(question)
    await model.complete(question)

    assert [received.headers["authorization"] for received in provider.requests] == [f"Bearer {API_KEY}"] * 2
    assert "cookie" not in provider.requests[1].headers


@pytest.mark.parametrize("address", ["nonsense", "ftp://x.test/v1", "http://", "http://[::1/v1"])
async def test_an_address_that_is_none_is_refused(model, question, address):
    asked = replace(question, model="openai/our-own", parameters={"api_base": address, "api_key": API_KEY})
    with pytest.raises(ModelError, match="no address of HTTP") as raised:
        await model.complete(asked)

    assert raised.value.kind == "refused"


async def test_a_missing_key_is_told_before_anything_is_sent(model, question, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    with pytest.raises(ModelError, match="set OPENAI_API_KEY") as raised:
        await model.complete(replace(question, parameters={}))

    assert (raised.value.kind, raised.value.retryable) == ("unauthorized", False)


@pytest.mark.parametrize("end", ["", "/", "/chat/completions", "?api-version=1"])
async def test_an_address_may_end_as_people_write_it(provider, model, question, end):
    provider.enqueue(reply("Hi."))

    await model.complete(replace(question, parameters={**question.parameters, "api_base": provider.base_url + end}))

    assert provider.requests[0].path == "/v1/chat/completions" + (end if end.startswith("?") else "")


@pytest.mark.parametrize("value", [float("nan"), object()], ids=["nan", "object"])
async def test_a_parameter_that_is_no_json_is_refused(provider, model, question, value):
    with pytest.raises(ModelError) as raised:
        await model.complete(replace(question, parameters={**question.parameters, "logit_bias": value}))

    assert (raised.value.kind, provider.requests) == ("refused", [])


class _Hello(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(HELLO).encode())

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def encrypted(tmp_path: Path) -> Any:
    """The address of a server whose certificate nobody knows, and the file that vouches for it."""
    file = make_certificate(tmp_path / "own.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = HTTPServer(("127.0.0.1", 0), _Hello)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"https://localhost:{server.server_address[1]}/v1", file
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("variables", "is_trusted"),
    [
        (lambda _file: {}, False),
        (lambda file: {"SSL_CERT_FILE": str(file)}, True),
        (lambda file: {"SSL_VERIFY": str(file)}, True),
        (lambda _file: {"SSL_VERIFY": "False"}, True),
    ],
    ids=["unknown", "SSL_CERT_FILE", "SSL_VERIFY file", "SSL_VERIFY false"],
)
async def test_certificates_are_trusted_as_the_environment_says(
    model, question, encrypted, monkeypatch, *, variables: Callable[[Path], dict[str, str]], is_trusted
):
    address, file = encrypted
    for name, value in variables(file).items():
        monkeypatch.setenv(name, value)
    asked = replace(question, parameters={"api_base": address, "api_key": API_KEY}, max_attempts=1)

    if is_trusted:
        assert (await model.complete(asked)).content == "Hi."
    else:
        with pytest.raises(ModelError) as raised:
            await model.complete(asked)
        assert raised.value.kind == "unavailable"
