"""Messages as an enemy writes them into the broker: an honest one, changed at each level, and bytes that are none.

What stays true: the same seed makes the same messages, in form: ids are new each time, so that none of them is an
honest turn's. A number that no JSON encoder would write is put in as text.
"""

import json
import random
from base64 import b64encode
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from gzip import compress
from typing import Any
from uuid import UUID
from zlib import compress as deflate

from conversation.task_contract import (
    FILES_QUEUE,
    MAINTENANCE_QUEUE,
    PREPARE_FILE,
    QUARANTINE_QUEUE,
    RUN_SUMMARIES_NOW,
    RUN_TURNS,
    TURNS_QUEUE,
)
from store.live.task_messages import compose_message, encode_body

TASKS = {
    TURNS_QUEUE: RUN_TURNS,
    QUARANTINE_QUEUE: RUN_TURNS,
    FILES_QUEUE: PREPARE_FILE,
    MAINTENANCE_QUEUE: RUN_SUMMARIES_NOW,
}
DEEP = 3000


class Raw(str):
    """A piece of a message that is written as it stands here."""

    __slots__ = ()


#: Stands in for a value of any other type, or one that is out of bounds.
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1.5, 2**31, 2**63, -(2**70), Raw("1e400"), Raw("NaN"), Raw("9" * 5000)),
    *("", "x", " ", "\x00", "\ud800", "\u202e", "é" * 300, "a" * 9000, "1; DROP TABLE turns", "../../etc/passwd"),
    *([], {}, [[]], [None] * 3, {"a": 1}, {"__type__": "datetime", "__value__": "x"}, ["x"] * 500),
    *(Raw("[" * DEEP + "]" * DEEP), Raw('{"a":' * DEEP + "1" + "}" * DEEP)),
    *("2099-01-01T00:00:00+00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "yesterday"),
)
#: What a message may not say anywhere, each under its name in the headers.
ODD_HEADERS: tuple[tuple[str, Any], ...] = (
    *(("compression", name) for name in ("application/x-gzip", "application/x-bz2", "gzip", "no-such", 5)),
    *(("eta", when) for when in ("2099-01-01T00:00:00+00:00", "2001-01-01T00:00:00", 5, {}, "never")),
    *(("expires", when) for when in ("2001-01-01T00:00:00+00:00", 5, [], "never", {"a": 1})),
    *(("timelimit", limits) for limits in ([0.001, None], [None], {}, "ab", [None, -1], [[], {}], 5)),
    *(("task", name) for name in ("celery.map", "celery.chain", "celery.backend_cleanup", "os.system", [], {}, None)),
    *(("chord", {"task": RUN_TURNS}), ("group", "g"), ("group_index", 0), ("replaced_task_nesting", 5)),
    *(("stamped_headers", ["a"]), ("stamps", {"a": "b"}), ("retries", 10**9), ("shadow", "\x1b[2J"), ("meth", "x")),
)
FOLLOWER = {"task": RUN_TURNS, "args": [], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}


def honest_message(queue: str, randomness: random.Random) -> dict[str, Any]:
    """A message as we publish it, of a thread or file that is not there; its body is not encoded yet."""
    task = TASKS[queue]
    payload: dict[str, Any] = {"v": 1}
    if task == RUN_TURNS:
        payload |= {"tenant": "nobody", "thread": "no-thread", "turn": str(UUID(int=randomness.getrandbits(128)))}
    elif task == PREPARE_FILE:
        payload |= {"tenant": "nobody", "sha256": randomness.randbytes(32).hex()}
    task_id = str(UUID(int=randomness.getrandbits(128)))
    message = compose_message(task, task_id, payload, queue=queue, priority=randomness.randrange(10))
    return {**encode_body(message), "body": message["body"]}


def malform(queue: str, count: int, seed: int) -> Iterator[bytes]:
    """Malformed messages for a queue; a few are well-formed still, and ring for what is not there."""
    randomness = random.Random(f"{queue} {seed}")
    for number in range(count):
        # Each way as often as any other, so that a few hundred try them all.
        way = WAYS[number % len(WAYS)]
        changed = way(honest_message(queue, randomness), randomness)
        yield changed if isinstance(changed, bytes) else encode(changed)


def encode(message: Any) -> bytes:
    """A message as it waits in the list. Of a body that is encoded already nothing is changed."""
    if isinstance(message, dict) and isinstance(message.get("body"), list | dict):
        message = {**message, "body": b64encode(_dump(message["body"])).decode()}
    return _dump(message)


def _dump(value: Any) -> bytes:
    raws: list[str] = []

    def mark(part: Any) -> Any:
        if isinstance(part, Raw):
            raws.append(part)
            return f"raw piece {len(raws) - 1}"
        if isinstance(part, dict):
            return {name: mark(each) for name, each in part.items()}
        return [mark(each) for each in part] if isinstance(part, list) else part

    text = json.dumps(mark(value))
    for number, raw in reversed(list(enumerate(raws))):
        text = text.replace(f'"raw piece {number}"', raw)
    return text.encode("utf-8", "surrogatepass")


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all parts of a message, its own included."""
    paths = [path]
    if isinstance(value, dict):
        names: Any = value
    elif isinstance(value, list):
        names = range(len(value))
    else:
        return paths
    return paths + [below for name in names for below in _places(value[name], (*path, name))]


def _change(message: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    part = message
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    return message


def _odd(randomness: random.Random) -> Any:
    # A copy: what is put into a message may be changed there once more.
    return deepcopy(randomness.choice(ODD_VALUES))


def _replace(message: dict[str, Any], randomness: random.Random) -> Any:
    return _change(message, randomness.choice(_places(message)), _odd(randomness))


def _replace_many(message: dict[str, Any], randomness: random.Random) -> Any:
    for _ in range(randomness.randrange(2, 6)):
        message = _replace(message, randomness)
        if not isinstance(message, dict):
            break
    return message


def _replace_in_headers(message: dict[str, Any], randomness: random.Random) -> Any:
    message["headers"][randomness.choice(list(message["headers"]))] = _odd(randomness)
    return message


def _replace_in_properties(message: dict[str, Any], randomness: random.Random) -> Any:
    message["properties"][randomness.choice(list(message["properties"]))] = _odd(randomness)
    return message


def _say_in_headers(message: dict[str, Any], randomness: random.Random) -> Any:
    name, value = randomness.choice(ODD_HEADERS)
    message["headers"][name] = value
    return message


def _leave_out(message: dict[str, Any], randomness: random.Random) -> Any:
    *above, name = randomness.choice([path for path in _places(message) if path])
    part: Any = message
    for each in above:
        part = part[each]
    del part[name]
    return message


def _replace_body(message: dict[str, Any], randomness: random.Random) -> Any:
    body = randomness.choice([None, 5, "text", "AA==", "é", Raw("[[[["), "bnVsbA==", "NQ==", "e30=", "AAAA" * 3000])
    return {**message, "body": body}


def _replace_arguments(message: dict[str, Any], randomness: random.Random) -> Any:
    body = message["body"]
    body[randomness.randrange(3)] = _odd(randomness)
    body[1] = body[1] if randomness.random() < 0.5 else {**_or_empty(body[1]), "more": _odd(randomness)}
    return message


def _or_empty(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _let_tasks_follow(message: dict[str, Any], randomness: random.Random) -> Any:
    follower = randomness.choice([[FOLLOWER] * 50, FOLLOWER, [FOLLOWER], "x", [5]])
    message["body"][2] = {randomness.choice(["callbacks", "errbacks", "chain", "chord", "other"]): follower}
    return message


def _compress(message: dict[str, Any], randomness: random.Random) -> Any:
    body = _packed(randomness.choice([compress, deflate]))
    message["headers"]["compression"] = randomness.choice(["application/x-gzip", "application/x-deflate", "zlib"])
    return {**message, "body": body}


@cache
def _packed(pack: Callable[[bytes], bytes]) -> str:
    """A body that is a thousand times as long once it is unpacked."""
    return b64encode(pack(b"[[], {}, {}]" + b" " * 10**6)).decode()


def _declare_otherwise(message: dict[str, Any], randomness: random.Random) -> Any:
    name = randomness.choice(["content-type", "content-encoding"])
    values = ("", None, "application/data", "application/x-python-serialize", "binary", "utf-16", "no-such", [], 5)
    return {**message, name: randomness.choice(values)}


def _speak_protocol_1(message: dict[str, Any], randomness: random.Random) -> Any:
    headers = message["headers"]
    old = {"task": headers["task"], "id": headers["id"], "args": [], "kwargs": message["body"][1], "retries": 0}
    return {**message, "headers": randomness.choice([{}, None]), "body": old}


def _name_twice(message: dict[str, Any], randomness: random.Random) -> Any:
    text = encode(message)
    name = randomness.choice([b'"headers": ', b'"properties": ', b'"task": ', b'"body": ', b'"id": '])
    return text.replace(name, name + b"null, " + name, 1)


def _tear(message: dict[str, Any], randomness: random.Random) -> Any:
    text = bytearray(encode(message))
    for _ in range(randomness.randrange(1, 5)):
        text[randomness.randrange(len(text))] = randomness.randrange(256)
    return bytes(text[: randomness.randrange(len(text))]) if randomness.random() < 0.5 else bytes(text)


def _write_anything(message: dict[str, Any], randomness: random.Random) -> Any:
    text = encode(message)
    return randomness.choice(
        [
            *(b"", b"null", b"5", b'"text"', b"[]", b"{}", b"\x80\x04N.", b"\xff\xfe", b"1" * 6000, b"NaN", b"-"),
            *(b"[" * 5000, b'{"a":' * 5000, b"[" * 100_000, b"\xef\xbb\xbf" + text, text.decode().encode("utf-16")),
            *(b"[" + text + b"]", text + text, b" " * 20_000 + text, randomness.randbytes(500), b"x" * 300_000),
        ]
    )


WAYS = (
    *(_replace, _replace_many, _replace_in_headers, _replace_in_properties, _say_in_headers, _leave_out),
    *(_replace_body, _replace_arguments, _let_tasks_follow, _compress, _declare_otherwise, _speak_protocol_1),
    *(_name_twice, _tear, _write_anything),
)
