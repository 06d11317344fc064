"""The routes of events, on a real server: what a reader has seen last, and what it may see at all."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, connect_sse
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware

from conversation.events import ThreadDeleted, TurnEnded, TurnQueued
from conversation.turn import TurnState
from producers.http.streams import MAX_NUMBER
from tests.integration.streams.conftest import Stage
from tests.integration.streams.scripted_gateway import ADA, THREAD, delta, make_app, serve

KEY = {"Authorization": "secret"}


@contextmanager
def client(app: Any) -> Iterator[httpx.Client]:
    with serve(app) as address, httpx.Client(base_url=address, headers=KEY, timeout=10) as opened:
        yield opened


def end(number: int | None) -> TurnEnded:
    return TurnEnded(thread_id=THREAD, turn_id="t", number=number, state=TurnState.CANCELLED)


def read(http: httpx.Client, path: str, count: int | None = None, **options: Any) -> list[ServerSentEvent]:
    """So many events of a stream, or all; then leave it."""
    events: list[ServerSentEvent] = []
    with connect_sse(http, "GET", path, **options) as source:
        source.response.raise_for_status()
        for event in source.iter_sse():
            events.append(event)
            if len(events) == count:
                break
    return events


def until(condition: Any) -> None:
    give_up_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


def test_a_reader_goes_on_behind_what_it_has_seen(stage: Stage) -> None:
    stage.hub.events = [TurnQueued(thread_id=THREAD, turn_id="t"), delta(5), delta(6), delta(7), end(8)]
    stage.hub.is_over = True
    thread, turn = f"/v1/threads/{THREAD}/events", f"/v1/turns/{stage.turn_id}/events"
    # A notice has the id of what was seen before it.
    cases: list[tuple[str, dict[str, Any], list[str]]] = [
        (thread, {}, ["0", "5", "6", "7", "8"]),
        (turn, {"params": {"after": "6"}}, ["6", "7", "8"]),
        (turn, {"headers": {"Last-Event-ID": "7"}}, ["7", "8"]),
        (thread, {"params": {"after": "5"}, "headers": {"Last-Event-ID": "7"}}, ["7", "8"]),
        (thread, {"params": {"after": "7"}, "headers": {"Last-Event-ID": ""}}, ["7", "8"]),
        (thread, {"params": {"after": "7"}, "headers": {"Last-Event-ID": "0"}}, ["0", "5", "6", "7", "8"]),
        ("/v1/events", {"params": {"after": "u7"}}, ["u0", "u8"]),
        ("/v1/events", {"params": {"after": "u1"}, "headers": {"Last-Event-ID": "u7"}}, ["u0", "u8"]),
    ]
    with client(stage.app) as http:
        for path, options, ids in cases:
            lines = http.get(path, **options).text.splitlines()
            assert [line.removeprefix("id: ") for line in lines if line.startswith("id: ")] == ids
            assert lines.count("event: turn.queued") == 1
        answer = http.get(thread)
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"
    assert ("default", "ada", "u7") in stage.hub.asked


@pytest.mark.parametrize(
    "value", ["abc", "-1", "+1", "1.5", "1e3", "0x1", "1_0", " 1", "١", "９", str(2**53), "9" * 40]
)
def test_an_id_that_no_event_has_is_refused_by_name(stage: Stage, value: str, request: pytest.FixtureRequest) -> None:
    from fastapi.testclient import TestClient

    http = TestClient(stage.app, headers=KEY)
    for path in (f"/v1/threads/{THREAD}/events", f"/v1/turns/{stage.turn_id}/events"):
        by_query = http.get(path, params={"after": value})
        by_header = http.get(path, headers={"Last-Event-ID": value.encode()})
        assert (by_query.status_code, by_query.json()["field"]) == (400, "after")
        assert (by_header.status_code, by_header.json()["field"]) == (400, "Last-Event-ID")


def test_what_a_stream_does_not_know_is_refused(stage: Stage) -> None:
    from fastapi.testclient import TestClient

    http = TestClient(stage.app, headers=KEY)
    thread, turn = f"/v1/threads/{THREAD}/events", f"/v1/turns/{stage.turn_id}/events"
    for path, query, name in (
        (thread, "wait=61", "wait"),
        (thread, "wait=-1", "wait"),
        (thread, "wait=nan", "wait"),
        (turn, "wait=x", "wait"),
        (turn, "token=secret", "token"),
        (turn, "since=1", "since"),
        ("/v1/events", "after=%0aevent:x", "after"),
        ("/v1/events", "after=7", "after"),
        ("/v1/events", "token=secret", "token"),
    ):
        assert http.get(f"{path}?{query}").json()["field"] == name


def test_a_turn_that_is_over_and_seen_has_no_content(stage: Stage) -> None:
    path = f"/v1/turns/{stage.turn_id}/events"
    stage.producer.find_turn(stage.turn_id).cancel()
    stage.hub.is_over = True
    with client(stage.app) as http:
        assert http.get(path, params={"after": 9}).status_code == 204
        # The end of a turn that no worker began has no number; its reader comes again nevertheless, once.
        stage.hub.events = [end(None)]
        (event,) = read(http, path)
        assert (event.event, event.id, event.json()["id"]) == ("turn.ended", str(MAX_NUMBER), None)
        assert http.get(path, headers={"Last-Event-ID": event.id}).status_code == 204
        answer = http.get(path, params={"after": event.id, "wait": 5}).json()
        assert answer == {"events": [], "after": MAX_NUMBER, "is_over": True}


def test_a_long_poll_answers_as_soon_as_there_is_news(stage: Stage) -> None:
    path = f"/v1/threads/{THREAD}/events"
    stage.hub.events = [TurnQueued(thread_id=THREAD, turn_id="t"), delta(5), delta(6)]
    with client(stage.app) as http:
        first = http.get(path, params={"wait": 30}).json()
        assert ([event["id"] for event in first["events"]], first["after"]) == ([None, 5, 6], 6)
        # A notice comes with each answer, and is nothing to answer for.
        began = time.monotonic()
        notice = http.get(path, params={"wait": 1.2, "after": 6}).json()
        assert ([event["type"] for event in notice["events"]], notice["after"]) == (["turn.queued"], 6)
        assert time.monotonic() - began >= 1.2
        stage.hub.events.append(ThreadDeleted(thread_id=THREAD))
        assert http.get(path, params={"wait": 30, "after": 6}).json()["is_over"] is True
        user = http.get("/v1/events", params={"wait": 30, "after": "u5"}).json()
        assert user["after"] == "u0"


def test_a_long_poll_ends_with_its_client_and_with_the_gateway(stage: Stage) -> None:
    path = f"/v1/threads/{THREAD}/events?wait=60"
    with client(stage.app) as http:
        with pytest.raises(httpx.ReadTimeout):
            http.get(path, timeout=0.2)
        until(lambda: not stage.hub.followers and not len(stage.streams))

        stage.streams.hear_stop()
        assert http.get(path).status_code == 503


def test_only_who_may_read_may_follow(stage: Stage) -> None:
    thread, turn = f"/v1/threads/{THREAD}/events", f"/v1/turns/{stage.turn_id}/events"
    token = replace(ADA, user=None, thread_id=THREAD)
    cases = [
        (ADA, {thread: 200, turn: 200, "/v1/events": 200, "/v1/events?user=bob": 400}),
        (replace(ADA, user=None), {thread: 200, "/v1/events": 400, "/v1/events?user=bob": 200}),
        (replace(ADA, scopes=frozenset({"write"})), {thread: 403, turn: 403, "/v1/events": 403}),
        (token, {thread: 200, turn: 403, "/v1/events": 403}),
        (replace(token, thread_id="other"), {thread: 403, turn: 403}),
    ]
    stage.hub.events, stage.hub.is_over = [end(1)], True
    with client(stage.app) as http:
        for principal, statuses in cases:
            stage.admit(principal)
            assert {path: http.get(path).status_code for path in statuses} == statuses
        stage.admit(token)
        del http.headers["Authorization"]
        assert http.get(f"{thread}?token=secret").status_code == 200
        assert http.get(thread).status_code == 401


async def _pass_on(request: Any, call_next: Any) -> Any:
    return await call_next(request)


@pytest.mark.parametrize("wrap", ["nothing", "gzip", "eager gzip", "base"])
def test_the_first_byte_comes_at_once_and_who_leaves_is_noticed_behind_any_middleware(stage: Stage, wrap: str) -> None:
    app: Any = stage.app
    if wrap == "gzip":
        app = GZipMiddleware(app)
    if wrap == "eager gzip":
        # As older middlewares do, which leave no type alone.
        app = GZipMiddleware(app, minimum_size=0, exclude_content_types=())
    if wrap == "base":
        app = BaseHTTPMiddleware(app, dispatch=_pass_on)
    with client(app) as http:
        with http.stream("GET", f"/v1/threads/{THREAD}/events") as stream:
            chunks = stream.iter_raw()
            assert next(chunks).startswith(b":\n")
            until(lambda: stage.hub.followers == [0])
            stage.hub.events.append(delta(5))
            assert b"id: 5\n" in next(chunks)
        until(lambda: not stage.hub.followers and not len(stage.streams))


def test_a_reader_that_takes_nothing_costs_others_nothing(stage: Stage) -> None:
    """What it has not read stays unmade: neither the gateway nor the system holds more than a few megabytes for it."""
    text = "x" * 100_000
    app = make_app(stage.producer, stage.hub, gateway_stream_send_timeout_seconds=1)
    with client(app) as http, socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect((http.base_url.host, http.base_url.port))
        stalled.sendall(
            f"GET /v1/threads/{THREAD}/events HTTP/1.1\r\nHost: x\r\nAuthorization: secret\r\n\r\n".encode()
        )
        until(lambda: stage.hub.followers)
        stage.hub.events = [delta(number, text) for number in range(1, 300)]
        until(lambda: stage.hub.shown >= 1)

        events = read(http, f"/v1/threads/{THREAD}/events", 299)

        assert [int(event.id) for event in events] == list(range(1, 300))
        # All of the other's, and of this one what fits on its way.
        assert stage.hub.shown < 299 + 150
        until(lambda: not stage.hub.followers)
