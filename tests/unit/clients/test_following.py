"""What a stream does between its connections: played through without a network."""

import json
import time
from typing import Any

import pytest
from threadmill_client import (
    ConnectionLost,
    Event,
    GatewayFailed,
    NotFound,
    RateLimited,
    ThreadDeleted,
    Unauthorized,
    UnexpectedAnswer,
)
from threadmill_client.following import Feed, Follower, thread_events, turn_events, user_events
from threadmill_client.retries import Retries
from threadmill_client.wire import Answer

RETRIES = Retries(limit=2, draw=lambda: 0.0)
QUEUED = {"type": "turn.queued", "thread_id": "a", "turn_id": "t", "position": 1}


def follow(feed: Feed, *, patience_seconds: float = 60) -> Follower:
    return Follower(feed, RETRIES, patience_seconds=patience_seconds)


def delta(number: int, thread_id: str = "a") -> dict[str, Any]:
    return {"type": "message.delta", "id": number, "thread_id": thread_id, "turn_id": "t", "text": "x"}


def connect(follower: Follower, *events: dict[str, Any], before: str = "", cursor: str = "") -> list[Event]:
    """One connection that brings these events, and is cut."""
    follower.open(200, "text/event-stream; charset=utf-8")
    sent = [
        (f"id: {cursor or event['id']}\n" if event.get("id") else "") + f"data: {json.dumps(event)}\n\n"
        for event in events
    ]
    return list(follower.feed((before + "".join(sent)).encode()))


def asked(follower: Follower) -> str | None:
    return follower.request().headers.get("Last-Event-ID")


def test_it_goes_on_behind_the_last_event() -> None:
    follower = follow(thread_events("a", after=3))
    first = asked(follower)

    connect(follower, delta(4), delta(5))

    assert (first, asked(follower)) == ("3", "5")
    assert asked(follow(thread_events("a"))) is None


def test_what_comes_twice_is_passed_over() -> None:
    follower = follow(user_events("ada"))
    connect(follower, QUEUED, delta(4), delta(9, "b"), cursor="c1")

    again = connect(follower, QUEUED, delta(4), delta(9, "b"), delta(5), delta(8, "b"), delta(10, "b"), cursor="c2")

    assert [event.number for event in again] == [None, 5, 10]
    assert (asked(follower), follower.request().query) == ("c2", {"user": "ada"})


def test_a_notice_comes_anew_when_it_says_something_else() -> None:
    follower = follow(thread_events("a"))

    notices = [*connect(follower, QUEUED), *connect(follower, QUEUED), *connect(follower, {**QUEUED, "position": 0})]

    assert [event.raw["position"] for event in notices] == [1, 0]


def test_a_thread_that_is_made_again_counts_from_the_beginning() -> None:
    follower = follow(user_events())
    connect(follower, delta(7), {"type": "thread.deleted", "thread_id": "a", "turn_id": None})

    assert [event.number for event in connect(follower, delta(1))] == [1]


@pytest.mark.parametrize(
    ("feed", "last"),
    [
        (turn_events("t"), {"type": "turn.ended", "id": None, "thread_id": "a", "turn_id": "t", "state": "cancelled"}),
        (thread_events("a"), {"type": "thread.deleted", "thread_id": "a"}),
    ],
)
def test_it_ends_with_what_it_follows(feed: Feed, last: dict[str, Any]) -> None:
    follower = follow(feed)

    events = connect(follower, last, delta(9))

    assert (len(events), follower.is_over) == (1, True)


def test_it_ends_where_nothing_follows_but_not_with_what_it_only_sees() -> None:
    follower = follow(user_events())

    (deleted,) = connect(follower, {"type": "thread.deleted", "thread_id": "a"})
    was_over = follower.is_over
    follower.open(204, "")

    assert (isinstance(deleted, ThreadDeleted), was_over, follower.is_over) == (True, False, True)


def test_pauses_are_as_the_gateway_asks_and_grow_while_it_is_away() -> None:
    follower = follow(thread_events("a"))
    connect(follower, delta(1), before="retry: 2000\n")

    away = [follower.pause(ConnectionLost()) for _ in range(4)]
    connect(follower, delta(2))

    assert away == [2, 4, 8, 10]
    assert follower.pause(None) == 2
    assert follower.pause(RateLimited(429, {}, retry_after_seconds=7)) == 7


def test_many_clients_do_not_come_back_at_once() -> None:
    pauses = {Follower(thread_events("a"), Retries(), patience_seconds=9).pause(None) for _ in range(9)}

    assert len(pauses) > 5


def test_one_that_was_never_heard_gives_up_after_some_tries() -> None:
    follower = follow(thread_events("a"))
    for _ in range(RETRIES.limit):
        follower.open(200, "text/event-stream")
        follower.pause(None)

    with pytest.raises(ConnectionLost, match="ended as soon as it began"):
        follower.pause(None)


def test_one_that_was_heard_is_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    follower = follow(thread_events("a"), patience_seconds=60)
    connect(follower, delta(1))
    for _ in range(9):
        follower.pause(ConnectionLost())
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)

    with pytest.raises(GatewayFailed):
        follower.pause(GatewayFailed(503, {}))


def test_a_longer_time_than_is_patient_is_the_callers_to_wait() -> None:
    with pytest.raises(RateLimited):
        follow(thread_events("a")).pause(RateLimited(429, {}, retry_after_seconds=3600))


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Unauthorized), (404, NotFound), (200, UnexpectedAnswer), (302, UnexpectedAnswer)]
)
def test_a_refusal_that_stays_ends_it(status: int, kind: type[Exception]) -> None:
    follower = follow(thread_events("a"))

    with pytest.raises(kind):
        follower.refuse(Answer(status=status), follower.request())


def test_a_refusal_that_passes_is_waited_for() -> None:
    follower = follow(thread_events("a"))

    assert isinstance(follower.refuse(Answer(status=503), follower.request()), GatewayFailed)


@pytest.mark.parametrize("data", ["{", "[]", '"a"', "1"])
def test_data_that_is_no_event_is_told(data: str) -> None:
    follower = follow(thread_events("a"))
    follower.open(200, "text/event-stream")

    with pytest.raises(UnexpectedAnswer):
        list(follower.feed(f"data: {data}\n\n".encode()))


def test_what_is_no_stream_is_told() -> None:
    with pytest.raises(UnexpectedAnswer, match="text/html"):
        follow(thread_events("a")).open(200, "text/html")


def test_ids_of_any_letters_are_sent_back_as_they_came() -> None:
    follower = follow(user_events())

    connect(follower, delta(1), cursor="ä🧵")

    assert asked(follower) == "ä🧵"
