"""`Idempotency-Key`: what a key is, and whose."""

import hashlib

from fastapi import Request

from conversation.ids import new_id
from producers.http.principal import Principal

KEY_HEADER = "idempotency-key"


def key_of_send(request: Request, principal: Principal, thread_id: str) -> str | None:
    """The idempotency key of a send, for its transaction: other clients and threads have keys of their own."""
    key = request.headers.get(KEY_HEADER)
    if key is None:
        return None
    text = "\n".join([principal.credential, principal.user or "", thread_id, key])
    return "http-" + hashlib.sha256(text.encode()).hexdigest()


def made_id_of(request: Request) -> str:  # noqa: ARG001 - the record of a request knows it
    """The id of what a request makes: the same when it is run again after it broke off."""
    return new_id()


def is_repeat(request: Request) -> bool:  # noqa: ARG001 - the record of a request knows it
    """Whether a run of the same request broke off before, so that what it makes may be there."""
    return False
