"""When a verb's requests are sent again: played through without a network."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from threadmill_client import (
    Conflict,
    ConnectionLost,
    GatewayFailed,
    InvalidRequest,
    NotFound,
    PreconditionFailed,
    Problem,
    RateLimited,
    UnexpectedAnswer,
    calls,
)
from threadmill_client.retries import Retries
from threadmill_client.run import Run
from threadmill_client.wire import Answer, Pause, Plan, Request, idempotency

RETRIES = Retries(limit=4, draw=lambda: 1.0)
TURN = {"turn": {"id": "t1", "thread_id": "a", "state": "queued"}}
THREAD: dict[str, Any] = {"id": "a", "title": "New", "metadata": {"plan": "pro"}}
LOST = "lost"


def answer(status: int, body: object = None, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, headers=named, body=json.dumps(body).encode())


def problem(status: int, *, retryable: bool | None = None, **headers: str) -> Answer:
    fields = {} if retryable is None else {"retryable": retryable}
    return answer(status, {"title": "No", "status": status, **fields}, **headers)


class Played:
    """A verb, played with these answers: what it sent, how long it paused, how it ended."""

    def __init__(self, plan: Plan[Any], answers: Iterable[Answer | str], retries: Retries = RETRIES) -> None:
        self.requests: list[Request] = []
        self.pauses: list[float] = []
        self.result: Any = None
        left = iter(answers)
        run = Run(plan, retries)
        while run.step is not None:
            if isinstance(run.step, Pause):
                self.pauses.append(run.step.seconds)
                run.resume(None)
                continue
            assert isinstance(run.step, Request)
            self.requests.append(run.step)
            given = next(left)
            if isinstance(given, str):
                run.fail(ConnectionLost("no answer"))
            else:
                run.resume(given)
        self.result = run.result
        assert list(left) == []


def send() -> Plan[Any]:
    return calls.send_message("a", "Where is my parcel?")


@pytest.mark.parametrize(
    "first",
    [
        LOST,
        problem(408),
        problem(409, retryable=True),
        problem(429),
        problem(500),
        problem(502),
        problem(503, retryable=True),
        Answer(status=504, body=b"<html>"),
    ],
)
def test_what_may_pass_is_sent_again_with_the_same_bytes_under_the_same_key(first: Answer | str) -> None:
    played = Played(send(), [first, first, answer(202, TURN)])

    assert played.result.id == "t1"
    assert len({json.dumps([dict(each.headers), str(each.body)]) for each in played.requests}) == 1
    assert len(played.requests[0].headers["Idempotency-Key"]) >= 32
    assert played.pauses == [0.25, 0.5]


def test_each_call_has_a_key_of_its_own_or_the_callers() -> None:
    keys = [Played(send(), [answer(202, TURN)]).requests[0].headers["Idempotency-Key"] for _ in range(2)]
    own = Played(calls.send_message("a", "Hi", idempotency_key="order-1"), [answer(202, TURN)])

    assert len(set(keys)) == 2
    assert own.requests[0].headers["Idempotency-Key"] == "order-1"


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (problem(400), InvalidRequest),
        (problem(404), NotFound),
        (problem(409), Conflict),
        (problem(409, retryable=False), Conflict),
        (problem(422), InvalidRequest),
        (problem(418), Problem),
        (problem(500, retryable=False), GatewayFailed),
        (problem(501), GatewayFailed),
        (answer(308, None, location="https://elsewhere.example"), UnexpectedAnswer),
    ],
)
def test_what_stays_is_raised_at_once(refusal: Answer, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        Played(send(), [refusal])


@pytest.mark.parametrize(("last", "kind"), [(LOST, ConnectionLost), (problem(503), GatewayFailed)])
def test_tries_are_bounded(last: Answer | str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        Played(send(), [last] * 5)


@pytest.mark.parametrize("is_date", [False, True])
def test_the_time_that_the_gateway_asks_for_is_waited(is_date: bool) -> None:
    value = format_datetime(datetime.now(UTC) + timedelta(seconds=7.9), usegmt=True) if is_date else "7"

    played = Played(send(), [problem(429, retry_after=value), answer(202, TURN)])

    assert 1 < played.pauses[0] < 9


def test_a_longer_time_than_is_patient_is_the_callers_to_wait() -> None:
    with pytest.raises(RateLimited) as caught:
        Played(send(), [problem(429, retry_after="3600")])

    assert caught.value.retry_after_seconds == 3600


def test_pauses_grow_to_a_bound_and_are_drawn_by_chance() -> None:
    lazy = Retries(limit=20, longest_pause_seconds=2, draw=lambda: 0.0)

    assert [lazy.pause_before(n) for n in (1, 2, 4, 9)] == [0.125, 0.25, 1, 1]
    assert [RETRIES.pause_before(n) for n in (1, 5)] == [0.25, None]


def test_a_deletion_whose_answer_was_lost_is_one() -> None:
    Played(calls.delete_thread("a"), [LOST, problem(404)])
    Played(calls.delete_context("a", "place"), [problem(502), problem(404)])

    with pytest.raises(NotFound):
        Played(calls.delete_thread("a"), [problem(404)])


@pytest.mark.parametrize(
    ("key", "header"), [("order-1", "order-1"), ("a b", '"a b"'), ('a"b\\', '"a\\"b\\\\"'), ("a,b", '"a,b"')]
)
def test_a_key_of_several_words_goes_in_quotes(key: str, header: str) -> None:
    assert idempotency(key) == {"Idempotency-Key": header}


@pytest.mark.parametrize("key", ["", "a\r\nX-Other: b", "ä", "a\0"])
def test_a_key_that_no_header_has_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="idempotency_key"):
        idempotency(key)


def test_a_change_whose_answer_was_lost_is_no_conflict_with_itself() -> None:
    change = {"title": "New", "metadata": {"plan": "pro", "old": None}}
    lost = [LOST, problem(412)]

    played = Played(calls.update_thread("a", **change, etag='"1"'), [*lost, answer(200, THREAD, etag='"2"')])

    assert (played.result.title, played.result.etag) == ("New", '"2"')
    for answers in ([problem(412)], [*lost, answer(200, {**THREAD, "title": "Theirs"})]):
        with pytest.raises(PreconditionFailed):
            Played(calls.update_thread("a", **change, etag='"1"'), answers)


def test_a_title_is_removed_by_none_and_left_by_nothing() -> None:
    removed = Played(calls.update_thread("a", title=None), [answer(200, THREAD)])
    left = Played(calls.update_thread("a", metadata={}), [answer(200, THREAD)])

    assert (removed.requests[0].body, left.requests[0].body) == (b'{"title": null}', b'{"metadata": {}}')


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_an_id_that_would_be_another_address_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no path can have it"):
        Run(calls.delete_thread(name), RETRIES)


def test_an_id_is_one_segment_of_the_address() -> None:
    played = Played(calls.get_thread("a/b?c=ä#"), [answer(200, THREAD)])

    assert played.requests[0].path == "/v1/threads/a%2Fb%3Fc%3D%C3%A4%23"


def test_moments_without_a_time_zone_are_refused() -> None:
    with pytest.raises(ValueError, match="not_before has no time zone"):
        Run(calls.send_message("a", "Hi", not_before=datetime(2030, 1, 1)), RETRIES)  # noqa: DTZ001
