"""The `Idempotency-Key` of a send: as the IETF's draft writes it, a string in quotes, or as it is.

What stays true: the key of a tenant's credential is the same key for all of its backends, in whichever way they send;
that of a user's credential is this user's own, so that nobody meets or spoils another's.
"""

import hashlib
import re

from conversation.errors import InvalidInput
from conversation.validation import ID_MAX_CHARS, check_id
from producers.http.principal import Principal

FIELD = "Idempotency-Key"
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_KEY = re.compile(rf"[\x20-\x7e]{{1,{ID_MAX_CHARS}}}")


def read_key(header: str | None, principal: Principal) -> str | None:
    """The key under which a message is stored. Raises `InvalidInput`."""
    if header is None:
        return None
    quoted = _QUOTED.fullmatch(header.strip())
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else header.strip()
    if not _KEY.fullmatch(key):
        problem = f"is no text of 1 to {ID_MAX_CHARS} plain characters"
        raise InvalidInput(FIELD, problem, "send a new UUID with each new message")
    if principal.user is None and _is_id(key):
        return key
    return "http:" + hashlib.sha256(f"{principal.user or ''}\n{key}".encode()).hexdigest()


def _is_id(key: str) -> bool:
    try:
        check_id(FIELD, key)
    except InvalidInput:
        return False
    return not key.startswith("http:")
