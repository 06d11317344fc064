"""Requests of remote control, read out of what anybody may have published.

What stays true: a request names a verb and a list for the answer, and nothing else of it is used: neither its
arguments nor its clock. The list has the form of Celery's reply queues, so that no answer lands in a queue of ours.
"""

import json
import re
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

#: Bytes of a published command: one of Flower's has 700.
REQUEST_MAX_BYTES = 16_384
#: Workers that one command may name.
DESTINATIONS_MAX = 200
#: The exchange of answers, which ends the name of each list that they are put into.
REPLY_EXCHANGE = "reply.celery.pidbox"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class InvalidRequest(Exception):
    """A message that is no request."""


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """One request."""

    verb: str
    #: The workers that are asked; empty for all.
    destinations: tuple[str, ...]
    #: Where the answer goes; None where nobody waits for one.
    reply_to: str | None
    ticket: str | None

    @property
    def reply_list(self) -> str:
        """The name of the list that the answer is put into."""
        return f"{self.reply_to}.{REPLY_EXCHANGE}"


def read_request(data: bytes) -> ControlRequest:
    """Read what was published. Raises `InvalidRequest`."""
    if len(data) > REQUEST_MAX_BYTES:
        raise InvalidRequest
    try:
        message = json.loads(data)
        if message["content-type"] != "application/json" or message["properties"]["body_encoding"] != "base64":
            raise InvalidRequest
        return _read_body(json.loads(b64decode(message["body"], validate=True)))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise InvalidRequest from None


def _read_body(body: dict[str, Any]) -> ControlRequest:
    # A pattern over names would be matched by us: whoever sends one decides how long that takes.
    if body.get("pattern") is not None or body.get("matcher") is not None:
        raise InvalidRequest
    destinations = body.get("destination") or []
    if not isinstance(destinations, list) or len(destinations) > DESTINATIONS_MAX:
        raise InvalidRequest
    reply_to = body.get("reply_to")
    if reply_to is not None and reply_to["exchange"] != REPLY_EXCHANGE:
        raise InvalidRequest
    return ControlRequest(
        verb=_read_text(body["method"]),
        destinations=tuple(map(_read_text, destinations)),
        reply_to=None if reply_to is None else _read_uuid(reply_to["routing_key"]),
        ticket=None if reply_to is None else _read_uuid(body["ticket"]),
    )


def _read_text(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidRequest
    return value


def _read_uuid(value: object) -> str:
    if not isinstance(value, str) or _UUID.fullmatch(value) is None:
        raise InvalidRequest
    return value
