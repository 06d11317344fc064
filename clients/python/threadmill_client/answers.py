"""Answers as several verbs read them, and the deletion that several verbs are."""

from typing import Any

from threadmill_client.decoding import read_model
from threadmill_client.errors import NotFound, UnexpectedAnswer
from threadmill_client.models import Thread, Turn
from threadmill_client.wire import Answer, Plan, Request


def read_thread(answer: Answer) -> Thread:
    """Read a thread, with its ETag."""
    return read_model(Thread, answer.json(), etag=answer.headers.get("etag"))


def read_turn(answer: Answer) -> Turn:
    """Read a turn, which stands in an object of its own where it was just made."""
    body = answer.json()
    inner = body.get("turn") if isinstance(body, dict) else None
    return read_model(Turn, inner if isinstance(inner, dict) else body)


def take(answer: Answer, name: str) -> Any:
    """A field that each answer has. Raises `UnexpectedAnswer`."""
    body = answer.json()
    if not isinstance(body, dict) or name not in body:
        raise UnexpectedAnswer(f"the answer lacks {name!r}")
    return body[name]


def delete(where: str) -> Plan[None]:
    """Delete what is at a path. Raises `NotFound`, unless an earlier try, whose answer was lost, may have done it."""
    try:
        yield Request(method="DELETE", path=where)
    except NotFound as error:
        if error.attempts == 1:
            raise
