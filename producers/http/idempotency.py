"""`Idempotency-Key`: what a key is, and whose.

What stays true: a key is a word of the client's own, in quotes as its draft has it or without; one that breaks that
is refused, and never taken for another. The key of a send is unique in the database, with its turn.
"""

import hashlib
import re

from fastapi import Request
from starlette.datastructures import Headers

from conversation.errors import InvalidInput
from conversation.ids import new_id
from producers.http.principal import Principal
from producers.http.request_record import record_of

KEY_HEADER = "idempotency-key"
KEY_MAX_CHARS = 255
#: Ends of paths of requests that make a secret: it is new each time, and no answer with one is stored.
MAKES_SECRET_ENDS = ("/stream-tokens", "/webhooks", "/inbound-sources", "/rotate-secret")
#: A string of RFC 8941, as the draft has it; parameters have no meaning here.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
#: Without quotes, as most clients send it: what no list and no string could be.
_BARE = re.compile(r"[!#-+\--:<-~]+")


def read_key(headers: Headers) -> str:
    """The key of a request that has one. Raises `InvalidInput` for one that is malformed."""
    values = headers.getlist(KEY_HEADER)
    text = values[0].strip(" \t")
    key = None
    if quoted := _QUOTED.fullmatch(text):
        key = re.sub(r'\\(["\\])', r"\1", quoted[1])
    elif _BARE.fullmatch(text):
        key = text
    if len(values) != 1 or not key or len(key) > KEY_MAX_CHARS:
        fix = f"send one of 1 to {KEY_MAX_CHARS} printable ASCII characters, as a UUID, in quotes or without spaces"
        raise InvalidInput("Idempotency-Key", "is no key", fix)
    return key


def key_of_send(request: Request, principal: Principal, thread_id: str) -> str | None:
    """The idempotency key of a send, for its transaction: other clients and threads have keys of their own.

    None for a request without one. Raises `InvalidInput`.
    """
    if KEY_HEADER not in request.headers:
        return None
    parts = (scope_of(principal), thread_id, read_key(request.headers))
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return "http:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def made_id_of(request: Request) -> str:
    """The id of what a request makes: the same when it is run again after it broke off."""
    return record_of(request).made_id or new_id()


def is_repeat(request: Request) -> bool:
    """Whether a run of the same request broke off before, so that what it makes may be there."""
    return record_of(request).is_repeat


def scope_of(principal: Principal) -> str:
    """The owner of a key: a user, by whichever credential, or a credential of the whole tenant."""
    return f"user:{principal.user}" if principal.user is not None else f"credential:{principal.credential}"
