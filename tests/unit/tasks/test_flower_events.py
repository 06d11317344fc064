"""What Flower takes of events that anybody may have published: those of a worker's form, a field at a time."""

import json
from base64 import b64encode
from typing import Any

import pytest

from tasks.control import events
from tasks.control.events import (
    EVENTS_MAX,
    MESSAGE_MAX_BYTES,
    TEXT_MAX_CHARS,
    CheckedEventReceiver,
    make_anew,
    read_events,
)
from tests.tries import check_tries

EVENT: dict[str, Any] = {
    "type": "task-succeeded",
    "uuid": "0197",
    "hostname": "one@vm",
    "timestamp": 1_790_000_000.5,
    "utcoffset": 0,
    "clock": 7,
    "pid": 5,
    "name": "turns.run",
    "result": "completed",
    "runtime": 1.5,
    "traceback": None,
}
#: Values that no field of a worker's has.
ODD_VALUES: tuple[Any, ...] = (
    {},
    {"a": 1},
    [],
    [1],
    [[]],
    True,
    False,
    -1,
    1 << 70,
    1e308,
    float("inf"),
    "",
    "x" * 9_000,
    None,
    "\0",
)
ODD_MESSAGES: tuple[bytes, ...] = (
    *(b"", b"\xff\xfe", b"null", b"5", b"[]", b"{}", b"[" * 100_000, b'{"body": 5}', b"x" * (MESSAGE_MAX_BYTES + 1)),
    *(b'{"properties": {"body_encoding": "base64"}, "body": "%s"}' % body for body in (b"/", b"//8=", b"W1tb")),
)


def wrap(body: Any) -> bytes:
    text = b64encode(json.dumps(body).encode()).decode()
    return json.dumps({"body": text, "properties": {"body_encoding": "base64"}}).encode()


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What a receiver hands to Flower."""
    taken: list[dict[str, Any]] = []
    monkeypatch.setattr(CheckedEventReceiver, "process", lambda _self, _type, event: taken.append(event))
    monkeypatch.setattr(CheckedEventReceiver, "event_from_message", lambda _self, event: (event["type"], event))
    return taken


@pytest.fixture
def receiver() -> CheckedEventReceiver:
    made = CheckedEventReceiver.__new__(CheckedEventReceiver)
    made._budget, made._names = events.MessageBudget(100_000), {}
    return made


def test_an_event_of_a_worker_is_taken_as_it_is(receiver: CheckedEventReceiver, taken: list[dict[str, Any]]) -> None:
    heartbeat = {
        "type": "worker-heartbeat",
        "hostname": "one@vm",
        "timestamp": 1.0,
        "freq": 2,
        "loadavg": [0.1, 0.2, 0.3],
    }
    receiver._take(wrap([EVENT, heartbeat]))
    receiver._take(wrap(EVENT))

    assert taken == [EVENT, heartbeat, EVENT]


def test_whatever_is_published_is_an_event_of_known_fields_or_none(
    receiver: CheckedEventReceiver, taken: list[dict[str, Any]]
) -> None:
    odd_events = [EVENT | {name: value} for name in (*EVENT, "loadavg", "unknown") for value in ODD_VALUES]
    odd_bodies = [None, 5, "text", [], [5, None, []], {}, {"type": "task-received"}, *ODD_VALUES, *odd_events]
    successes = 0
    for message in (*ODD_MESSAGES, *map(wrap, odd_bodies)):
        try:
            receiver._take(message)
        except Exception:  # noqa: BLE001 - it would end Flower's hearing
            successes += 1
    for event in taken:
        loads = event.pop("loadavg", None)
        successes += not (loads is None or all(isinstance(load, int | float) for load in loads))
        texts = [value for value in event.values() if isinstance(value, str)]
        is_well_formed = all(isinstance(value, str | int | float | None) for value in event.values())
        is_well_formed &= all(len(text) <= TEXT_MAX_CHARS for text in texts) and event.keys() <= EVENT.keys()
        successes += not is_well_formed
    check_tries("events at Flower, malformed", tries=len(ODD_MESSAGES) + len(odd_bodies), successes=successes)


def test_names_and_numbers_of_events_are_bounded(
    receiver: CheckedEventReceiver, taken: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "NAMES_MAX", 10)
    for number in range(100):
        receiver._take(wrap(EVENT | {"hostname": f"w{number}@vm"}))
    assert len({event["hostname"] for event in taken}) == 9
    assert len(read_events(wrap([{"type": "task-sent"}] * 5_000))) == EVENTS_MAX

    # Workers come and go.
    monkeypatch.setattr(events, "NAME_SECONDS", 0.0)
    receiver._take(wrap(EVENT | {"hostname": "late@vm"}))
    assert taken[-1]["hostname"] == "late@vm"

    monkeypatch.setattr(receiver, "_budget", events.MessageBudget(5))
    before = len(taken)
    for _ in range(1_000):
        receiver._take(wrap(EVENT))
    assert len(taken) - before < 50


def test_a_field_of_the_wrong_kind_is_left_out() -> None:
    assert make_anew(EVENT | {"runtime": "long", "result": {"a": 1}, "pid": None}) == {
        **{name: value for name, value in EVENT.items() if name not in ("runtime", "result")},
        "pid": None,
    }
    assert make_anew(EVENT | {"hostname": "x" * 300}) is None
