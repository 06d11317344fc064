"""Webhooks as their receivers see them: the kinds of events, the body of one, its signature, its addresses.

What stays true: signatures are those of Standard Webhooks (https://www.standardwebhooks.com), version 1: HMAC-SHA256 of
the delivery's id, the second and the body, by each key that is good. A body holds ids and what somebody needs to decide
something; what was said in a thread is read over HTTP, by whoever may.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import string
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import quote as encode_part
from urllib.parse import urlsplit

from conversation.errors import InvalidInput
from conversation.quotation import quote
from conversation.validation import check_text

#: The beginning of each key, for people and for scanners of secrets.
SECRET_PREFIX = "whsec_"  # noqa: S105 - says what it is
#: Bytes of a key: of one of ours, and the bounds of one that is brought along.
SECRET_BYTES, SECRET_MIN_BYTES, SECRET_MAX_BYTES = 32, 24, 64
#: Characters of an address, at most: what browsers and servers carry without trouble.
URL_MAX_CHARS = 2_000
#: What a template of a link may have in braces.
LINK_FIELDS = ("tenant", "thread_id", "turn_id", "call_id")


class WebhookKind(StrEnum):
    """The kind of an event that a webhook is told of."""

    TURN_COMPLETED = "turn.completed"
    TURN_FAILED = "turn.failed"
    TURN_CANCELLED = "turn.cancelled"
    #: A turn waits for a person, or for a tool that its client runs.
    TURN_WAITING = "turn.waiting"
    #: Another branch of a thread was chosen.
    THREAD_SWITCHED = "thread.switched"


def make_secret() -> str:
    """Make a key that signs: 256 random bits."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def check_secret(field: str, value: object) -> str:
    """A key that signs, as Standard Webhooks writes it. Raises `InvalidInput`, which does not quote it."""
    fix = f"pass {SECRET_PREFIX} and {SECRET_MIN_BYTES} to {SECRET_MAX_BYTES} bytes in base64, or leave it out"
    text = check_text(field, value, max_chars=200)
    try:
        size = len(base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if not text.startswith(SECRET_PREFIX) or not SECRET_MIN_BYTES <= size <= SECRET_MAX_BYTES:
        raise InvalidInput(field, "is no key of Standard Webhooks", fix)
    return text


def sign(keys: Iterable[str], delivery_id: str, seconds: int, body: bytes) -> str:
    """The `webhook-signature` of a body: one signature by each key, with a space between them."""
    signed = f"{delivery_id}.{seconds}.".encode() + body
    return " ".join(f"v1,{_sign_once(key, signed)}" for key in keys)


def _sign_once(key: str, signed: bytes) -> str:
    key_bytes = base64.b64decode(key.removeprefix(SECRET_PREFIX))
    return base64.b64encode(hmac.new(key_bytes, signed, hashlib.sha256).digest()).decode()


def write_body(kind: str, moment: datetime, data: Mapping[str, Any]) -> str:
    """The body of an event: its kind, when it happened, and what it tells."""
    timestamp = moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"type": kind, "timestamp": timestamp, "data": data}, ensure_ascii=False, separators=(",", ":"))


def check_webhook_url(field: str, value: object) -> str:
    """An address that events can be sent to. Where it leads is judged when it is connected to, each time."""
    text = _check_url(field, value)
    if any(character in text for character in "{}"):
        raise InvalidInput(field, "holds a brace", "pass the address of your endpoint as it is")
    return text


def _check_url(field: str, value: object) -> str:
    text, fix = check_text(field, value, max_chars=URL_MAX_CHARS), "pass one like https://example.org/hooks"
    if not text.isascii() or any(character in text for character in string.whitespace) or not text.isprintable():
        raise InvalidInput(field, "holds white space, or characters that no URL has", fix)
    try:
        parts = urlsplit(text)
        # Read: a port that is no number is refused then.
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise InvalidInput(field, "is no web address", fix)
    if "@" in parts.netloc:
        raise InvalidInput(field, "holds a user name or password", "verify the signature instead")
    return text


def check_link_template(field: str, value: object) -> str:
    """A template of the address at which a person decides, like `https://example.org/decide/{turn_id}/{call_id}`."""
    text, fix = _check_url(field, value), f"use some of {', '.join(f'{{{name}}}' for name in LINK_FIELDS)}"
    try:
        names = [
            (name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(text) if name is not None
        ]
    except ValueError:
        raise InvalidInput(field, "has a brace too many", fix) from None
    for name, spec, conversion in names:
        if name not in LINK_FIELDS or spec or conversion:
            raise InvalidInput(field, f"has {quote(name)} in braces", fix)
    return text


def fill_link(template: str, values: Mapping[str, str]) -> str:
    """The address of one decision: each value is encoded, so that it stays one part of a path or query."""
    return template.format_map({name: encode_part(values.get(name, ""), safe="") for name in LINK_FIELDS})
