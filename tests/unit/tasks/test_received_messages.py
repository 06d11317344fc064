"""A message of the broker is ours or refused: each odd part, by its kind."""

import json
import random
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conversation.task_contract import (
    FILES_QUEUE,
    MAINTENANCE_QUEUE,
    MESSAGE_MAX_BYTES,
    QUARANTINE_QUEUE,
    SWEEP_TURNS,
    TASKS_OF_QUEUES,
    TURNS_QUEUE,
)
from tasks.received_messages import MessageRefused, read_task
from tasks.refusals import KINDS
from tests.malformed_messages import FOLLOWER, Raw, encode, honest_message, malform

QUEUES = sorted(TASKS_OF_QUEUES)
DELETE = object()


def kind_of(raw: bytes, queue: str = TURNS_QUEUE) -> str:
    try:
        read_task(raw, queue=queue)
    except MessageRefused as refused:
        return refused.kind
    return "taken"


def with_changes(changes: dict[str, Any], queue: str = TURNS_QUEUE) -> bytes:
    """An honest message with other values at these places, each named by its path."""
    message = honest_message(queue, random.Random(1))
    for path, value in changes.items():
        *above, name = path.split("/")
        part: Any = message
        for each in above:
            part = part[int(each) if isinstance(part, list) else each]
        if value is DELETE:
            del part[name]
        else:
            part[int(name) if isinstance(part, list) else name] = value
    return encode(message)


@pytest.mark.parametrize("queue", QUEUES)
def test_an_honest_message_is_read(queue: str) -> None:
    message = honest_message(queue, random.Random(1))

    task = read_task(encode(message), queue=queue)

    assert (task.task, task.task_id) == (message["headers"]["task"], message["headers"]["id"])
    assert (task.payload, task.priority) == (message["body"][1], message["properties"]["priority"])


@pytest.mark.parametrize("queue", QUEUES)
def test_two_thousand_malformed_messages_are_refused_by_a_known_kind_or_are_honest_after_all(queue: str) -> None:
    kinds = {kind_of(raw, queue) for raw in malform(queue, 2000, seed=2)}

    assert kinds <= {*KINDS, "taken"}
    assert kinds >= {"no_json", "wrong_form", "too_large", "compressed", "other_task", "delayed", "wrong_arguments"}


ODD = {
    "other_task": [
        *({"headers/task": name} for name in ("celery.map", "celery.chain", "os.system", "files.prepare", 5, [], {})),
        {"headers/task": DELETE},
    ],
    "delayed": [
        *({"headers/eta": when} for when in ("2099-01-01T00:00:00+00:00", "2001-01-01", 0, [], {}, "")),
        *({"headers/retries": count} for count in (1, -1, "0", 10**18, True, 0.0)),
    ],
    "expired": [
        {"headers/expires": when}
        for when in ("2001-01-01T00:00:00+00:00", "2999-01-01", "never", 5, [], "", Raw("1e999"))
    ],
    "compressed": [{"headers/compression": name} for name in ("zlib", "application/x-gzip", "", 5, {})],
    "with_followers": [
        *({f"body/2/{name}": [FOLLOWER]} for name in ("callbacks", "errbacks", "chain")),
        *({"body/2/chord": FOLLOWER}, {"body/2/chain": []}, {"body/2/other": None}, {"headers/group": "g"}),
        *({"headers/group_index": 0}, {"headers/chord": "c"}, {"headers/replaced_task_nesting": 1}),
    ],
    "wrong_arguments": [
        *({"body/1": {}}, {"body/1/v": 2}, {"body/1/v": True}, {"body/1/v": "1"}, {"body/1/more": 1}),
        *({"body/1/tenant": name} for name in ("", "a/b", "..", 5, None, "é", "x" * 64, ["default"], "a\x00")),
        *({"body/1/thread": name} for name in ("", "a b", "a/", "/b", "a/b/c", "\x00", "\ud800", "x" * 256)),
        *({"body/1/thread": name} for name in (5, None, {"id": "x"})),
        *({"body/1/turn": name} for name in ("", "t", 5, None, "0" * 36, {}, "\ud800")),
        {"body/1/turn": DELETE},
    ],
    "wrong_form": [
        *({f"headers/{name}": DELETE} for name in ("id",)),
        *({"headers/id": value} for value in (None, 5, {}, [], "", "a b", "x" * 65, "\x1b[2J", "\ud800")),
        *({"headers": value} for value in (None, [], "x", 5)),
        *({"properties": value} for value in (None, [], "x", 5, {})),
        *({"headers/timelimit": value} for value in ([None], [1, 2, 3], "ab", {}, 5, [True, None], [[], None])),
        *({f"headers/{name}": value} for name in ("root_id", "parent_id") for value in (5, {}, "a b", "x" * 65)),
        *({f"headers/{name}": value} for name in ("argsrepr", "kwargsrepr", "origin", "lang") for value in (5, [], {})),
        *({"headers/shadow": "x"}, {"headers/meth": "x"}, {"headers/ignore_result": 1}),
        *({"headers/stamps": {"a": 1}}, {"headers/stamped_headers": ["a"]}, {"headers/stamps": "x"}),
        *({"properties/delivery_tag": value} for value in (None, {}, [], 5, "", "x" * 65)),
        *({"properties/delivery_info": value} for value in (None, [], "x", {}, {"exchange": 5, "routing_key": "x"})),
        *({"properties/priority": value} for value in (None, -1, 10, "0", True, 0.0, {}, 2**70)),
        *({"properties/body_encoding": value} for value in (None, "utf-8", "zlib", 5, {})),
        *({"properties/correlation_id": value} for value in (5, {}, "a b")),
        *({"properties/reply_to": value} for value in (5, {}, [])),
        *({"properties/delivery_mode": value} for value in ("2", {}, True)),
        *({"content-type": value} for value in ("", None, "application/data", "application/x-yaml", 5, [])),
        *({"content-encoding": value} for value in ("", None, "binary", "utf-16", 5, {})),
        *({"body": value} for value in (None, 5, "é", "x", "e30=", "bnVsbA==", "NQ==", True)),
        *({"body/0": value} for value in ([1], {}, None, "x")),
        *({"body/1": value} for value in ([], None, 5, "x")),
        *({"body/2": value} for value in ([], None, 5, "x")),
    ],
    "no_json": [
        {"headers/origin": Raw("9" * 5000)},
        {"headers/origin": Raw("NaN")},
        {"headers/origin": Raw("-Infinity")},
        {"headers/x": Raw("[" * 2000 + "]" * 2000)},
        {"body": b64encode(b"[" * 3000).decode()},
        {"body": b64encode(b"\xff").decode()},
        {"body": b64encode(b'[[], {"v": 1, "v": 2}, {}]').decode()},
    ],
    "too_large": [{"headers/x": "a" * MESSAGE_MAX_BYTES}, {"body": "A" * 2 * MESSAGE_MAX_BYTES}],
}


@pytest.mark.parametrize("kind", ODD)
def test_each_odd_part_is_refused_by_its_kind(kind: str) -> None:
    kinds = {json.dumps(changes, default=str)[:100]: kind_of(with_changes(changes)) for changes in ODD[kind]}

    assert {changes: other for changes, other in kinds.items() if other != kind} == {}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"5",
        b'"x"',
        b"\xff\xfe",
        b"[" * 9000,
        encode(5),
        b"{}",
        b"\xef\xbb\xbf{}",
        b'{"a": 1, "a": 1}',
    ],
)
def test_what_is_no_message_at_all_is_refused(raw: bytes) -> None:
    assert kind_of(raw) in {"no_json", "wrong_form"}


def test_what_a_later_celery_or_a_tracer_adds_is_taken_and_not_passed_on() -> None:
    raw = with_changes(
        {"headers/traceparent": "00-x", "properties/type": "x", "more": {}, "headers/timelimit": [150.0, None]}
    )

    assert kind_of(raw) == "taken"


def test_a_message_is_worth_running_until_it_expires() -> None:
    soon, over = (datetime.now(UTC) + timedelta(seconds=seconds) for seconds in (60, -1))

    assert kind_of(with_changes({"headers/expires": soon.isoformat()})) == "taken"
    assert kind_of(with_changes({"headers/expires": over.isoformat()})) == "expired"
    for odd in ("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"):
        assert kind_of(with_changes({"headers/expires": odd})) in {"expired", "taken"}


def test_the_id_of_a_refused_message_is_told_where_it_has_one() -> None:
    for changes, message_id in (({"headers/eta": 1}, True), ({"headers/eta": 1, "headers/id": "a b"}, False)):
        with pytest.raises(MessageRefused) as refused:
            read_task(with_changes(changes), queue=TURNS_QUEUE)
        assert bool(refused.value.message_id) is message_id


@pytest.mark.parametrize(("queue", "task"), [(MAINTENANCE_QUEUE, "turns.run"), (FILES_QUEUE, SWEEP_TURNS)])
def test_a_task_runs_in_its_own_queue_alone(queue: str, task: str) -> None:
    assert kind_of(with_changes({"headers/task": task}, queue), queue) == "other_task"
    assert kind_of(with_changes({}, TURNS_QUEUE), QUARANTINE_QUEUE) == "taken"
