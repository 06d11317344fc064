"""What each answer of a gateway has, whatever its route does: ids, limits, problems, and nothing of secrets."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.applications import Starlette
from starlette.routing import Mount
from structlog.testing import capture_logs

from conversation import errors
from conversation.errors import InvalidInput, ThreadmillError
from producers.http.app import run_gateway
from producers.http.principal import Principal
from producers.http.problems import Problem, describe_problem, invalid_request
from producers.http.rate_limits import RateLimiter
from store.settings import load
from tests.docs.pages import ROOT
from tests.unit.http.gateways import SECRET, client_of, make_gateway, make_settings, show

PROBLEM = "application/problem+json"
IS_JSON = {"Content-Type": "application/json"}


def raise_(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (Problem(412, "Precondition Failed", "the thread changed"), 412, {"type": "about:blank", "retryable": False}),
        (
            InvalidInput("title", "is too long", "at most 3 fit"),
            400,
            {"field": "title", "problem": "is too long", "fix": "at most 3 fit", "retryable": False},
        ),
        (errors.ThreadNotFound("no thread"), 404, {"title": "Thread not found", "detail": "no thread"}),
        (errors.UnknownAgent("agent: none is x; pass y"), 400, {"field": "agent", "problem": "none is x"}),
        (errors.LimitReached("too many turns"), 429, {"retryable": True}),
        (errors.IdempotencyConflict(SECRET), 422, {"field": "Idempotency-Key"}),
        (errors.UploadsNotSupported(SECRET), 409, {"retryable": False}),
        (errors.FileRejected("too large"), 422, {"retryable": False}),
        (errors.DatabaseUnavailable("host db.internal"), 503, {"retryable": True}),
        (errors.DatabaseRefused("column x"), 500, {"retryable": False}),
        (ValueError(SECRET), 500, {"title": "Internal Server Error"}),
        (ExceptionGroup("many", [KeyError(SECRET)]), 500, {}),
    ],
)
async def test_whatever_a_route_raises_is_answered_with_a_problem(
    error: Exception, status: int, expected: dict[str, Any]
) -> None:
    with capture_logs() as logs:
        async with client_of(make_gateway(on_call=lambda: raise_(error))) as client:
            answer = await client.get("/v1/try", headers={"X-Request-Id": "mine-1"})

    body = answer.json()
    assert (answer.status_code, answer.headers["Content-Type"], body["status"]) == (status, PROBLEM, status)
    assert body.items() >= (expected | {"request_id": "mine-1"}).items()
    assert body.keys() >= {"type", "title", "detail", "retryable"}
    assert ("Retry-After" in answer.headers) == body["retryable"]
    assert SECRET not in show(answer) + str(logs)
    if status >= 500:
        assert str(error) not in show(answer)
        assert [log["event"] for log in logs if log["log_level"] == "error"] != []


async def test_an_error_is_described_as_the_table_of_statuses_says() -> None:
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, ThreadmillError) and kind is not InvalidInput:
            error = kind.__new__(kind)
            async with client_of(make_gateway(on_call=lambda error=error: raise_(error))) as client:
                assert 400 <= (await client.get("/v1/try")).status_code < 600, name


@pytest.mark.parametrize(
    ("method", "path", "extra", "status", "field"),
    [
        ("GET", "/v1/try?limit=x", {}, 400, "limit"),
        ("GET", "/v1/try?limit=1&mistake=2", {}, 400, "mistake"),
        ("GET", f"/v1/try?{'x' * 5000}=2", {}, 400, "x" * 80),
        ("POST", "/v1/try", {"json": {"text": "a", "numbre": 1}}, 400, "numbre"),
        ("POST", "/v1/try", {"json": {"number": 1}}, 400, "text"),
        ("POST", "/v1/try", {"json": {"text": "a", "y" * 5000: 1}}, 400, "y" * 80),
        ("POST", "/v1/try", {"json": {"text": "a", "number": "1" * 9000}}, 400, "number"),
        ("POST", "/v1/try", {"content": b'{"text": "a", "\\ud800": 1}', "headers": IS_JSON}, 400, "body"),
        ("POST", "/v1/try", {"json": [1]}, 400, "body"),
        ("POST", "/v1/try", {"content": b"{", "headers": IS_JSON}, 400, "body"),
        ("POST", "/v1/try", {"content": b"\xff", "headers": IS_JSON}, 400, None),
        ("POST", "/v1/try", {"content": b"[" * 100_000, "headers": IS_JSON}, 400, None),
        ("POST", "/v1/try", {"content": b"text=a"}, 400, "body"),
        ("POST", "/v1/try", {}, 400, "body"),
        ("GET", "/v1/other", {}, 404, None),
        ("DELETE", "/v1/try", {}, 405, None),
    ],
)
async def test_a_request_that_cannot_be_read_is_told_which_field_is_wrong(
    method: str, path: str, extra: dict[str, Any], status: int, field: str | None
) -> None:
    async with client_of(make_gateway()) as client:
        answer = await client.request(method, path, **extra)

    body = answer.json()
    assert (answer.status_code, body.get("field"), answer.headers["Content-Type"]) == (status, field, PROBLEM)
    assert len(answer.content) < 1500
    if field is not None:
        assert body["problem"]
        assert "jSON" not in body["problem"]
        assert body["fix"]
    if status == 405:
        assert answer.headers["Allow"] == "GET, POST"


def test_the_page_shows_a_problem_as_it_is_answered() -> None:
    page = (ROOT / "docs" / "how-to" / "serve-the-gateway.md").read_text()
    shown = json.loads(page.partition("```json")[2].partition("```")[0])
    message = "Input should be less than or equal to 200"

    problem = invalid_request([{"type": "less_than_equal", "loc": ("query", "limit"), "msg": message}])

    assert describe_problem(problem, shown["request_id"]) == shown


async def test_without_a_key_there_is_no_answer() -> None:
    async with client_of(make_gateway(), name=None) as client:
        answer = await client.get("/v1/try?mistake=1")

    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    ("asked", "is_kept"), [("web-1.a:b_c", True), ("", False), ("a b", False), ("x" * 129, False), ("é", False)]
)
async def test_an_answer_names_its_request(asked: str, is_kept: bool) -> None:
    async with client_of(make_gateway()) as client:
        answer = await client.get("/v1/none", headers=[(b"X-Request-Id", asked.encode())])

    name = answer.headers["X-Request-Id"]
    assert (name == asked) == is_kept
    assert answer.json()["request_id"] == name
    assert (answer.headers["X-Content-Type-Options"], answer.headers["Cache-Control"]) == ("nosniff", "no-store")


async def test_a_body_that_is_too_large_is_refused_before_it_is_read() -> None:
    pieces_sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal pieces_sent
        for _ in range(1000):
            pieces_sent += 1
            yield b" " * 1024

    settings = make_settings(gateway_max_body_bytes=4096, gateway_max_form_bytes=8192)
    is_form = {"Content-Type": "Multipart/Form-Data; boundary=x"}
    async with client_of(make_gateway(settings)) as client:
        answers = [
            await client.post("/v1/try", content=b" " * 4097, headers=IS_JSON),
            await client.post("/v1/try", content=pieces(), headers=IS_JSON),
            await client.post("/v1/try", content=b" " * 8193, headers=is_form),
            await client.post("/v1/try", content=b"", headers={"Content-Length": "9" * 5000}),
        ]
        fits = await client.post("/v1/try", content=b'{"text": "%s"}' % (b"x" * 4083), headers=IS_JSON)

    assert [answer.status_code for answer in answers] == [413] * 4
    assert {answer.headers["Connection"] for answer in answers} == {"close"}
    assert pieces_sent <= 6
    assert fits.status_code == 201


async def test_a_request_that_takes_too_long_is_given_up_and_a_stream_is_not() -> None:
    async def stalled_body() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    settings = make_settings(gateway_request_timeout_seconds=0.2, gateway_max_wait_seconds=0)
    async with client_of(make_gateway(settings)) as client:
        slow = await client.get("/v1/try/slow/60")
        stalled = await client.post("/v1/try", content=stalled_body(), headers=IS_JSON)
        stream = await client.get("/v1/try/stream")

    assert (slow.status_code, slow.json()["retryable"]) == (504, True)
    assert (stalled.status_code, stalled.headers["Connection"]) == (408, "close")
    assert stream.text == "data: 0\n\ndata: 1\n\ndata: 2\n\n"


async def test_a_stream_that_breaks_is_logged_without_its_words() -> None:
    with capture_logs() as logs:
        async with client_of(make_gateway(on_call=lambda: raise_(ValueError(SECRET)))) as client:
            with pytest.raises(AssertionError):  # its transport minds an answer without an end
                await client.get("/v1/try/stream")

    assert "http_request_broke" in [log["event"] for log in logs]
    assert SECRET not in str(logs)


async def test_the_access_log_has_the_route_and_nothing_of_what_was_said() -> None:
    with capture_logs() as logs:
        async with client_of(make_gateway(), name="acme/anna") as client:
            await client.post("/v1/try", json={"text": SECRET})
            await client.get(f"/v1/try?limit=2&token={SECRET}")
            await client.get(f"/v1/try/place/{SECRET}")
            await client.get(f"/{SECRET}")
            await client.request("ODD", "/v1/try")
            await client.get("/health/live")

    lines = [log for log in logs if log["event"] == "http_request"]
    assert [(line["method"], line["route"], line["status"], line["log_level"]) for line in lines] == [
        ("POST", "/v1/try", 201, "info"),
        ("GET", "/v1/try", 400, "info"),
        ("GET", "/v1/try/place/{name}", 200, "info"),
        ("GET", None, 404, "info"),
        ("OTHER", "/v1/try", 405, "info"),
        ("GET", "/health/live", 200, "debug"),
    ]
    assert {(line["tenant"], line["credential"]) for line in lines[:3]} == {("acme", "key-acme/anna")}
    assert SECRET not in str(logs)


async def test_pages_of_other_origins_may_call_it_where_a_setting_says_so() -> None:
    asks = {"Origin": "https://app.example", "Access-Control-Request-Method": "PATCH"}
    asks["Access-Control-Request-Headers"] = "authorization, idempotency-key, if-match, last-event-id"
    closed, open_to = make_gateway(), make_gateway(make_settings(gateway_cors_origins="https://app.example"))
    async with client_of(closed) as client:
        refused = await client.options("/v1/try", headers=asks)
    async with client_of(open_to) as client:
        allowed = await client.options("/v1/try", headers=asks)
        problem = await client.get("/v1/try?mistake=1", headers={"Origin": "https://app.example"})
        foreign = await client.get("/v1/try", headers={"Origin": "https://evil.example"})

    assert "Access-Control-Allow-Origin" not in refused.headers
    assert (allowed.status_code, allowed.headers["Access-Control-Allow-Origin"]) == (200, "https://app.example")
    assert problem.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert {"X-Request-Id", "Location", "ETag", "RateLimit"} <= set(
        problem.headers["Access-Control-Expose-Headers"].split(", ")
    )
    assert "Access-Control-Allow-Origin" not in foreign.headers


async def test_requests_are_let_through_soon_where_the_broker_of_the_limits_is_away() -> None:
    settings = make_settings(gateway_credential_requests_per_minute=1, notify_timeout_seconds=0.5)
    began = time.monotonic()

    async with client_of(make_gateway(settings)) as client:
        answers = [await client.get("/v1/try") for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200] * 5
    assert time.monotonic() - began < 20


async def test_a_limit_that_hangs_is_waited_for_once() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    limiter = RateLimiter(
        load(broker_url=f"redis://127.0.0.1:{port}", gateway_tenant_requests_per_minute=1, notify_timeout_seconds=0.2)
    )
    began = time.monotonic()

    assert [await limiter.check(Principal(tenant="acme")) for _ in range(20)] == [{}] * 20
    assert time.monotonic() - began < 4
    await limiter.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("outer", ["fastapi", "starlette"])
async def test_it_works_mounted_in_another_app_whether_its_lifespan_runs_or_not(outer: str) -> None:
    gateway = make_gateway(on_call=lambda: raise_(errors.TurnNotFound("no turn")))
    app: Any = Starlette(routes=[Mount("/ai/api", gateway)])
    if outer == "fastapi":
        app = FastAPI()
        app.mount("/ai/api", gateway)
    async with client_of(app, prefix="/ai/api") as client:
        place = await client.get("/v1/try/place/a%20b")
        problem = await client.get("/v1/try")
        method = await client.delete("/v1/try")
        document = (await client.get("/openapi.json")).json()

    assert place.json() == {"location": "/ai/api/v1/try/place/a%20b"}
    assert (problem.status_code, problem.headers["Content-Type"]) == (404, PROBLEM)
    assert method.headers["Allow"] == "GET, POST"
    assert document["servers"] == [{"url": "/ai/api"}]
    async with run_gateway(gateway), client_of(app, prefix="/ai/api") as client:
        assert (await client.get("/health/live")).json() == {"status": "ok"}


def test_the_description_is_valid_and_has_each_status() -> None:
    document = make_gateway().openapi()

    OpenAPIV31SpecValidator(document).validate()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            place = f"{method} {path}"
            assert operation["operationId"].isidentifier(), place
            assert operation["tags"], place
            assert "HTTPValidationError" not in str(operation), place
            if path.startswith("/v1/"):
                assert operation["responses"].keys() >= {"400", "401", "403", "429", "500", "503", "504"}, place
                # What comes in there is signed by its sender.
                assert bool(operation["security"]) is not path.startswith("/v1/inbound/"), place
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(ids)) == len(ids)


async def test_answers_that_no_route_gives_are_problems_too() -> None:
    async with client_of(make_gateway()) as client:
        answers: list[httpx.Response] = [await client.get("/"), await client.put("/health/live")]

    assert [answer.headers["Content-Type"] for answer in answers] == [PROBLEM] * 2
    assert [answer.json()["title"] for answer in answers] == [HTTPStatus(404).phrase, HTTPStatus(405).phrase]
